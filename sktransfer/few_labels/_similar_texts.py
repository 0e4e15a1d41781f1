"""Pairs of texts that say the same in nearly the same words."""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Hashable, Sequence

import numpy as np
from sklearn.feature_extraction.text import HashingVectorizer
from sklearn.preprocessing import normalize

from sktransfer.few_labels._similar_rows import check_number

__all__ = ["equal_pairs", "plain_text", "similar_texts"]

_WORDS = 3
_BLOCK = 500
# Sequences of words in more texts than this are figures of speech.
_LEAST_FREQUENT, _SHARE = 50, 0.002
_NOT_OF_WORDS = re.compile(r"[\W_]+")


def plain_text(text: str) -> str:
    """Return the words of a text, without case, punctuation and forms of writing of the same letter."""
    return _NOT_OF_WORDS.sub(" ", unicodedata.normalize("NFKC", text).casefold()).strip()


def _sequences(text: str) -> list[str]:
    words = text.split()
    if len(words) <= _WORDS:
        return [text]
    return [" ".join(words[start : start + _WORDS]) for start in range(len(words) - _WORDS + 1)]


def equal_pairs(names: Sequence[Hashable]) -> tuple[np.ndarray, np.ndarray]:
    """Return all pairs of equal names, and ones."""
    places = defaultdict(list)
    for place, name in enumerate(names):
        places[name].append(place)
    groups = [np.array(group) for group in places.values() if len(group) > 1]
    check_number(sum(len(group) * (len(group) - 1) // 2 for group in groups), 1.0)
    pairs = [np.column_stack([group[part] for part in np.triu_indices(len(group), 1)]) for group in groups]
    found = np.vstack([np.empty((0, 2), dtype=int), *pairs])
    return found, np.ones(len(found))


def similar_texts(texts: Sequence[str], threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """Return pairs whose sequences of three words have a cosine of at least `threshold`.

    Parameters
    ----------
    texts : sequence of str
        Texts.
    threshold : float
        The least cosine; 1 for texts of the same words.

    Returns
    -------
    pairs : ndarray of int of shape (n_pairs, 2)
        Positions, the first being less.
    similarity : ndarray of shape (n_pairs,)
        Cosines.
    """
    plain = [plain_text(text) for text in texts]
    distinct, group = np.unique(np.array(plain, dtype=object), return_inverse=True)
    pairs, similarity = equal_pairs(plain)
    if len(distinct) == 1:
        return pairs, similarity
    counts = HashingVectorizer(
        analyzer=_sequences, n_features=2**24, norm=None, alternate_sign=False, binary=True
    ).transform(distinct)
    counts = counts[:, np.unique(counts.indices)]
    frequent = np.bincount(counts.indices, minlength=counts.shape[1]) > max(_LEAST_FREQUENT, _SHARE * len(distinct))
    rows = normalize(counts)[:, ~frequent]
    members: list[list[int]] = [[] for _ in distinct]
    for place, number in enumerate(group.tolist()):
        members[number].append(place)
    found, values = [pairs], [similarity]
    for start in range(0, len(distinct), _BLOCK):
        products = (rows[start : start + _BLOCK] @ rows.T).tocoo()
        kept = (products.data >= threshold) & (products.col > products.row + start)
        near = zip(products.row[kept] + start, products.col[kept], products.data[kept], strict=True)
        for first, second, value in near:
            both = np.array([sorted((a, b)) for a in members[first] for b in members[second]])
            found.append(both)
            values.append(np.full(len(both), value))
        check_number(sum(map(len, found)), threshold)
    return np.vstack(found), np.concatenate(values)
