"""Twins and near-twins, within a set and between two."""

import mimetypes
import os
from collections.abc import Sequence
from numbers import Real
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xxhash
from scipy import sparse

from sktransfer.domains import n_rows
from sktransfer.few_labels._similar_rows import similar_rows, standard_rows
from sktransfer.few_labels._similar_texts import equal_pairs, similar_texts
from sktransfer.few_labels._thumbnails import similar_thumbnails, thumbnails
from sktransfer.utils._messages import shorten, unknown_option
from sktransfer.utils._tables import check_table
from sktransfer.utils._threads import small_algebra

__all__ = ["DuplicatePairs", "digest", "duplicate_pairs", "items_of", "kind_of"]

# Planted twins were found and others were not on the sets that benchmarks/accuracy/duplicates.md names.
_THRESHOLDS = {"rows": 0.95, "texts": 0.7, "pictures": 0.97, "files": 1.0}


class DuplicatePairs(NamedTuple):
    """Pairs of rows that are alike.

    Attributes
    ----------
    pairs : ndarray of int of shape (n_pairs, 2)
        Positions in `X`, the first being less; with `X_other` those in `X` and those in `X_other`.
    similarity : ndarray of shape (n_pairs,)
        From the threshold to 1; the pairs are in descending order.
    """

    pairs: np.ndarray
    similarity: np.ndarray


@small_algebra
def duplicate_pairs(
    X: Any, X_other: Any = None, *, threshold: float | None = None, kind: str = "auto", n_jobs: int | None = None
) -> DuplicatePairs:
    """Find twins and near-twins within a set, or between two such as training and test, or source and target.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features), or list of texts, pictures or files
        Rows of numbers (features of a network), texts, pictures in any form that
        :class:`PretrainedFeatureExtractor` takes, or paths and bytes of other files.
    X_other : as X, or None, default=None
        A second set; None looks for pairs within `X`.
    threshold : float or None, default=None
        The least similarity, above 0 and at most 1. None takes 0.95 for rows, 0.7 for texts and 0.97 for pictures.
    kind : {"auto", "rows", "texts", "pictures", "files"}, default="auto"
        What `X` holds, and so what is compared. ``"rows"``: the cosine of standardised rows. ``"texts"``: words without
        case and punctuation, by sequences of three. ``"pictures"``: what is seen, whatever its encoding and its size,
        and with up to a tenth of the height and the width cut off. ``"files"``: content, byte by byte; so recordings
        are compared. ``"auto"`` takes a table of numbers for rows, and tells paths from texts by whether the first one
        is there.
    n_jobs : int or None, default=None
        Threads that read pictures; None takes one, or as many as ``joblib.parallel_config`` says, -1 all cores.

    Returns
    -------
    found : DuplicatePairs
        ``pairs`` and ``similarity``, the most similar first; unpacks as a tuple of both.

    Raises
    ------
    ValueError
        If the two sets are of different kinds, or more than ten million pairs are alike.

    See Also
    --------
    select_for_labeling : Refuses near-twins by itself.

    Notes
    -----
    Of rows no pair is missed: most are ruled out by a bound from few columns. Two rows of few features are soon alike;
    what is meant are the hundreds of features of a network. Pictures that are turned, mirrored, recoloured or cropped
    by more are found by their features, made by a :class:`PretrainedFeatureExtractor`.

    Examples
    --------
    >>> from sktransfer import duplicate_pairs
    >>> texts = ["Good value, arrived in time.", "Broke after a week.", "GOOD VALUE - arrived in time!"]
    >>> duplicate_pairs(texts).pairs
    array([[0, 2]])
    """
    told, kind = kind, kind_of(X, kind, "X")
    other = kind if X_other is None else kind_of(X_other, told, "X_other")
    if other != kind:
        raise ValueError(f"X holds {kind} and X_other {other}: pass two sets of one kind, or say which by kind=.")
    if threshold is not None and not (isinstance(threshold, Real) and 0 < threshold <= 1):
        raise ValueError(f"threshold must be a number above 0 and at most 1, got {shorten(threshold)}.")
    threshold = _THRESHOLDS[kind] if threshold is None else float(threshold)
    pairs, similarity = _FINDERS[kind](X, X_other, threshold, n_jobs)
    similarity = np.minimum(similarity.astype(np.float64), 1.0)
    order = np.lexsort((pairs[:, 1], pairs[:, 0], -similarity))
    return DuplicatePairs(pairs[order], similarity[order])


def kind_of(X: Any, kind: str, name: str) -> str:
    """Return what `X` holds."""
    if kind != "auto" and kind not in _THRESHOLDS:
        raise ValueError(unknown_option("kind", kind, ("auto", *_THRESHOLDS)))
    if isinstance(X, str | bytes):
        raise ValueError(f"{name} is one {type(X).__name__}, {shorten(X)}: pass a list of samples, [{name}].")
    if kind != "auto":
        return kind
    if sparse.issparse(X) or n_rows(X) == 0 or (hasattr(X, "columns") and X.shape[1] > 1):
        return "rows"
    first = items_of(X)[0]
    if isinstance(first, str | os.PathLike):
        return _kind_of_name(first)
    if isinstance(first, bytes):
        return "files"
    return "pictures" if hasattr(first, "getbands") or np.ndim(first) > 1 else "rows"


def _kind_of_name(first: str | os.PathLike) -> str:
    """Return whether a string is a text or the path of a picture or of another file."""
    try:
        there = isinstance(first, os.PathLike) or Path(first).is_file()
    except (OSError, ValueError):  # longer than a path may be, or with a character that none has
        there = False
    if not there:
        return "texts"
    return "pictures" if (mimetypes.guess_type(Path(first).name)[0] or "").startswith("image/") else "files"


def items_of(X: Any) -> Sequence:
    """Return what holds the samples as a sequence of them."""
    if hasattr(X, "columns"):
        return np.asarray(X)[:, 0].tolist()
    return X if isinstance(X, list | tuple) or getattr(X, "ndim", 1) > 1 else list(X)


def _rows(X, X_other, threshold, n_jobs):
    named = {"X": X} if X_other is None else {"X": X, "X_other": X_other}
    tables = [check_table(rows, name=name, dtype=[np.float64, np.float32]) for name, rows in named.items()]
    if tables[0].shape[1] != tables[-1].shape[1]:
        raise ValueError(f"X has {tables[0].shape[1]} features, but X_other has {tables[1].shape[1]}.")
    rows = standard_rows(*tables)
    return similar_rows(rows[0], rows[1] if X_other is not None else None, threshold)


def _between(find, X, X_other):
    """Return pairs of the first and the second set, of those in both together."""
    first = items_of(X)
    if X_other is None:
        return find(first)
    pairs, similarity = find([*first, *items_of(X_other)])
    kept = (pairs[:, 0] < len(first)) & (pairs[:, 1] >= len(first))
    return pairs[kept] - [0, len(first)], similarity[kept]


def _texts(X, X_other, threshold, n_jobs):
    for name, texts in (("X", X), ("X_other", [] if X_other is None else X_other)):
        wrong = next((text for text in items_of(texts) if not isinstance(text, str)), "")
        if wrong != "":
            raise ValueError(f"{name} holds {shorten(wrong)}, which is no text, beside others.")
    return _between(lambda texts: similar_texts(texts, threshold), X, X_other)


def _files(X, X_other, threshold, n_jobs):
    return _between(lambda items: equal_pairs([digest(item) for item in items]), X, X_other)


def digest(item: Any) -> bytes:
    """Return what stands for the content of a file, of bytes or of an array."""
    if isinstance(item, str | os.PathLike):
        item = Path(item).read_bytes()
    if not isinstance(item, bytes):
        array = np.ascontiguousarray(item)
        item = repr((array.shape, array.dtype.str)).encode() + array.tobytes()
    return xxhash.xxh3_128_digest(item)


def _seen(X, X_other, threshold, n_jobs):
    return similar_thumbnails(
        thumbnails(X, n_jobs), None if X_other is None else thumbnails(X_other, n_jobs), threshold
    )


_FINDERS = {"rows": _rows, "texts": _texts, "pictures": _seen, "files": _files}
