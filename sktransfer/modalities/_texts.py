"""Texts as X: read, checked and cut into tokens."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from numbers import Number
from typing import Any

import numpy as np
import xxhash
from sklearn.utils.validation import validate_data

from sktransfer.exceptions import InvalidTextError
from sktransfer.modalities._containers import is_missing
from sktransfer.modalities._modality import Modality
from sktransfer.modalities._parts import Parts
from sktransfer.modalities._samples import LazyItems, Samples
from sktransfer.modalities._whole_sets import refuse_whole_set
from sktransfer.utils._messages import caller_level, shorten

__all__ = ["Texts", "open_texts"]

_ACCEPTED = (
    "Accepted are: a list, tuple, array, Series or one-column data frame of str, a sequence that makes its texts when "
    "asked, and a Hugging Face datasets column."
)
# Words for `augment`: the share of the tokens that is left out.
_DROPPED = {"light": 0.1, "default": 0.2}
_ROWS_NAMED = 5


class _TextReader:
    """Reads and names one text.

    Attributes
    ----------
    tokens : dict
        By rows of X, those that were made to know their number, until they are wanted.
    cut : set of int
        Rows of X of which something was left out.
    """

    spec = None
    noun = "text"
    error = InvalidTextError
    errors = (ValueError, TypeError)

    def __init__(self):
        self.tokens: dict[int, np.ndarray] = {}
        self.cut: set[int] = set()

    def __getstate__(self):
        return {"tokens": {}, "cut": set()}

    def read(self, item: Any, *, note: Any = None) -> str:
        """Give the text of an entry."""
        if isinstance(item, tuple) and item:  # (text, label), as a Dataset gives them
            item = item[0]
        if is_missing(item):
            raise InvalidTextError("it is missing (None or NaN). Fill it in, or leave the row out")
        if isinstance(item, bytes | bytearray):
            raise InvalidTextError("it is bytes: decode them first, value.decode('utf-8')")
        if not isinstance(item, str):
            what = "number" if isinstance(item, Number) else type(item).__name__
            raise InvalidTextError(f"it is a {what}, {shorten(item)}, and no text")
        if not item.strip():
            raise InvalidTextError("it is empty. Fill it in, or leave the row out")
        return str(item)  # of a subclass, such as numpy's, the plain text

    def digest(self, item: Any, by: str = "file") -> bytes:
        """Name a text by its content, 16 bytes."""
        return xxhash.xxh3_128_digest(self.read(item).encode("utf-8", "surrogatepass"))


class TextWindows(Samples):
    """Windows of long texts, as tokens; messages are those of the texts.

    Parameters
    ----------
    whole : Samples
        The texts.
    owner : ndarray of shape (n_windows,), int
        Position of the text that each window is of.
    windows : list
        Tokens of each, or the error of a text that cannot be read.
    """

    def __init__(self, whole: Samples, owner: np.ndarray, windows: list[Any]):
        super().__init__(windows, whole.reader)
        self.whole, self.owner = whole, owner

    def take(self, indices: np.ndarray | Sequence[int] | slice) -> TextWindows:
        """Select windows."""
        chosen = np.arange(len(self))[indices if isinstance(indices, slice) else np.asarray(indices, dtype=np.intp)]
        return TextWindows(self.whole, self.owner[chosen], [self.items[i] for i in chosen])

    def __getstate__(self):
        kept = np.unique(self.owner)  # the texts that are meant and no others
        return {"whole": self.whole.take(kept), "owner": np.searchsorted(kept, self.owner), "windows": self.items}

    def __setstate__(self, state):
        self.__init__(**state)  # type: ignore[misc]  # it is written for this

    def read(self, i: int, **options: Any) -> Any:
        """Give the tokens of one window."""
        if isinstance(self.items[i], Exception):
            raise self.items[i]
        return self.items[i]

    def digest(self, i: int, by: str = "file") -> bytes:
        """Name one window by its tokens."""
        return xxhash.xxh3_128_digest(self.read(i).tobytes())

    def wholes(self, positions: Sequence[int] | np.ndarray) -> tuple[Samples, np.ndarray]:
        """Give the texts, and the positions of those that the windows at some positions are of."""
        return self.whole, np.unique(self.owner[np.asarray(positions, dtype=np.intp)])


class Texts(Modality):
    """Texts, cut into the tokens that a network knows.

    Parameters
    ----------
    tokenizer : str
        Of the package tokenizers, as JSON.
    max_length : int
        Tokens that the network takes at once, those that begin and end a text included.
    prompt : str, default=""
        Put before each text.
    long_texts : {"truncate", "chunk"}, default="truncate"
        Whether the end of a longer text is left out, or becomes further windows.
    special_tokens : bool, default=True
        Whether tokens that begin and end a text are added, as the tokenizer says.
    left_out : int or None, default=None
        A token that counts as none, such as that of unknown words.
    batch_tokens : int, default=512
        Tokens that a CPU takes at once: what is made of more no longer fits into its caches.
    filler : float, default=0.1
        By how much of its length a text may be filled up to that of others in such a batch.
    """

    noun = "text"

    def __init__(
        self,
        tokenizer: str,
        *,
        max_length: int,
        prompt: str = "",
        long_texts: str = "truncate",
        special_tokens: bool = True,
        left_out: int | None = None,
        batch_tokens: int = 512,
        filler: float = 0.1,
    ):
        self.tokenizer = tokenizer
        self.max_length = max_length
        self.prompt = prompt
        self.long_texts = long_texts
        self.special_tokens = special_tokens
        self.left_out = left_out
        self.batch_tokens = batch_tokens
        self.filler = filler
        self._digest = xxhash.xxh3_128_hexdigest(tokenizer.encode())
        self._read: Any = None

    def __getstate__(self):
        return {**self.__dict__, "_read": None}

    @property
    def _tokenizer(self):
        if self._read is None:
            from tokenizers import Tokenizer

            tokenizer = Tokenizer.from_str(self.tokenizer)
            tokenizer.no_padding()
            tokenizer.enable_truncation(self.max_length)
            self._read = tokenizer
        return self._read

    @property
    def n_tokens(self) -> int:
        """Number of tokens that there are."""
        return self._tokenizer.get_vocab_size()

    def open(self, estimator: Any, X: Any, *, reset: bool, **told: Any) -> Samples:
        """Check that X holds texts; see :meth:`Modality.open` and :func:`open_texts`."""
        return open_texts(estimator, X, reset=reset)

    def prepare(self, samples: Samples, i: int) -> np.ndarray:
        """Cut one text into tokens: their numbers ``(n_tokens,)``."""
        if isinstance(samples, TextWindows):
            return samples.read(i)
        reader: Any = samples.reader
        kept = reader.tokens.pop(int(samples.rows[i]), None)
        return self._tokens(samples, i) if kept is None else kept

    def _tokens(self, samples, i):
        windows = self._windows(samples.read(i))
        if len(windows) > 1:
            samples.reader.cut.add(int(samples.rows[i]))
        return windows[0]

    def _windows(self, text):
        encoded = self._tokenizer.encode(self.prompt + text, add_special_tokens=self.special_tokens)
        windows = [np.array(window.ids, dtype=np.int32) for window in (encoded, *encoded.overflowing)]
        return windows if self.left_out is None else [tokens[tokens != self.left_out] for tokens in windows]

    def words(self, text: str) -> list[list[tuple[str, int]]]:
        """Give the words of a text, window by window: of each token the word that it is of, and the number of the word.

        Tokens that begin and end a text, and those of the prompt, are of the word "".
        """
        encoded = self._tokenizer.encode(self.prompt + text, add_special_tokens=self.special_tokens)
        found = []
        for window in (encoded, *encoded.overflowing)[: 1 if self.long_texts == "truncate" else None]:
            kept = [token != self.left_out for token in window.ids]
            found.append([w for w, keep in zip(self._words_of(window, text), kept, strict=True) if keep])
        return found

    def _words_of(self, window, text):
        before = len(self.prompt)
        spans: dict[int, list[int]] = {}
        for number, (start, end) in zip(window.word_ids, window.offsets, strict=True):
            if number is not None and start >= before:
                span = spans.setdefault(number, [start - before, end - before])
                span[:] = min(span[0], start - before), max(span[1], end - before)
        return [(text[slice(*spans[number])], number) if number in spans else ("", -1) for number in window.word_ids]

    def parts(self, samples: Samples) -> Parts | None:
        """Cut texts into windows where they are to be read whole."""
        if self.long_texts == "truncate" or isinstance(samples, TextWindows):
            return None
        windows, owner = [], []
        for i in range(len(samples)):
            try:
                found: list[Any] = self._windows(samples.read(i))
            except InvalidTextError as error:
                found = [error]  # raised where the window is read
            windows += found
            owner += [i] * len(found)
        return Parts(TextWindows(samples, np.array(owner, dtype=np.intp), windows), np.array(owner, dtype=np.intp))

    def batches(self, samples: Samples, rows: Sequence[int] | np.ndarray, size: int) -> list[np.ndarray]:
        """Group texts of nearly equal lengths, so that few are filled up."""
        reader: Any = samples.reader
        lengths = np.ones(len(rows), dtype=np.intp)
        for at, i in enumerate(rows):
            try:
                tokens = self.prepare(samples, int(i))
            except InvalidTextError:
                continue  # is said when it is prepared
            if not isinstance(samples, TextWindows):
                reader.tokens[int(samples.rows[i])] = tokens
            lengths[at] = max(tokens.size, 1)
        order = np.argsort(lengths, kind="stable")
        groups, start = [], 0
        for end in range(1, len(order) + 1):
            full = end == len(order) or self._is_full(lengths[order[start]], lengths[order[end]], end - start)
            if full:
                groups.append(np.asarray(rows, dtype=np.intp)[order[start:end]])
                start = end
        return groups

    def _is_full(self, shortest, following, n):
        return shortest < (1 - self.filler) * following or (n + 1) * following > self.batch_tokens

    def report(self, samples: Samples) -> None:
        """Say how many texts were cut, once."""
        reader: Any = samples.reader
        cut, reader.cut = reader.cut, set()
        if not cut:
            return
        rows = [*map(str, sorted(cut)[:_ROWS_NAMED]), *["..."] * (len(cut) > _ROWS_NAMED)]
        warnings.warn(
            f"{len(cut)} of {len(samples)} texts have more than {self.max_length} tokens, and what is behind those was "
            f"left out: rows {', '.join(rows)}. TextBackbone(name, long_texts='chunk') reads them whole, max_length= "
            "more of them.",
            UserWarning,
            stacklevel=caller_level(),
        )

    def collate(self, entries: Sequence[np.ndarray]) -> Mapping[str, Any]:
        """Put tokens of texts together, the shorter ones filled up.

        Returns
        -------
        dict of str to torch.Tensor
            ``"input_ids"`` and ``"attention_mask"``, ``(n, n_tokens)``.
        """
        import torch

        lengths = np.array([len(entry) for entry in entries])
        mask = np.arange(max(lengths.max(), 1)) < lengths[:, None]
        ids = np.zeros(mask.shape, dtype=np.int64)
        ids[mask] = np.concatenate(entries)
        return {"input_ids": torch.from_numpy(ids), "attention_mask": torch.from_numpy(mask)}

    def blank(self) -> np.ndarray:
        """Give the tokens of a text without any."""
        tokens = np.array(self._tokenizer.encode("", add_special_tokens=self.special_tokens).ids, dtype=np.int64)
        return tokens if len(tokens) else np.zeros(1, dtype=np.int64)

    def example(self, n: int, seed: int | None = None) -> Mapping[str, Any]:
        """Make a batch of `n` texts without a token, or of tokens drawn by a seed."""
        if seed is None:
            return self.collate([self.blank()] * n)
        tokens = np.random.default_rng(seed).integers(0, self.n_tokens, (n, min(8, self.max_length)))
        # Of different lengths: some are filled up.
        return self.collate([row[: len(row) - i % len(row)] for i, row in enumerate(tokens)])

    def described(self, spec: Any) -> dict[str, Any]:
        """Say how texts are cut into tokens; see :meth:`Modality.described`."""
        names = ("tokenizer", "max_length", "prompt", "special_tokens", "left_out", "long_texts")
        return {name: getattr(self, name) for name in names}

    def key(self, samples: Samples) -> str:
        """Name tokenizer, length, prompt, and what becomes of long texts."""
        return f"tokens {self._digest} {self.max_length} {self.long_texts} {self.special_tokens} {self.prompt!r}"

    @property
    def input_key(self) -> str:
        """Name the tokens."""
        return f"tokens {self._digest}"

    def changed(self, samples: Samples, how: Any) -> tuple[Callable[[int], Any], Callable[[Any], Any]]:
        """Leave words out at random, or let a function of the user's change the text; see :meth:`Modality.changed`."""
        if callable(how):
            if isinstance(samples, TextWindows):
                raise ValueError(
                    "augment=a function changes whole texts, and long_texts='chunk' reads them in windows."
                )
            return (lambda i: samples.read(i)), (lambda text: self._of_changed(how, text))
        if how not in _DROPPED:
            raise ValueError(
                f"augment={how!r} is of pictures. A text takes 'light' or 'default' (one token of ten or of five is "
                "left out at random), a function that changes a str, or 'none'."
            )
        share = _DROPPED[how]
        return (lambda i: self.prepare(samples, i)), (lambda tokens: _dropped(tokens, share, self.special_tokens))

    def _of_changed(self, how, text):
        changed = how(text)
        if not isinstance(changed, str):
            raise TypeError(f"augment gave a {type(changed).__name__} for a text: it is to give a str.")
        return self._windows(changed)[0] if changed.strip() else self._windows(text)[0]


def _dropped(tokens: np.ndarray, share: float, special_tokens: bool) -> np.ndarray:
    """Leave out tokens at random, never the first and last that frame a text, and never all."""
    import torch

    stays = torch.rand(len(tokens)).numpy() >= share
    if special_tokens and len(stays):
        stays[[0, -1]] = True
    return tokens[stays] if stays.sum() > 2 * special_tokens else tokens


def open_texts(estimator: Any, X: Any, *, reset: bool) -> Samples:
    """Check texts and make them readable one by one; a text that is none is said when it is read.

    Parameters
    ----------
    estimator : estimator
        Gets or has ``n_features_in_`` and ``feature_names_in_`` of a data frame.
    X : object
    reset : bool
        True in ``fit``, False in ``predict`` and ``transform``.

    Returns
    -------
    Samples

    Raises
    ------
    TypeError
        X is no collection of texts.
    ValueError
        X is empty, or a data frame with more than one column.
    """
    if isinstance(X, Samples):
        return X
    if reset and hasattr(estimator, "input_spec_"):
        del estimator.input_spec_  # of an earlier fit to something else
    _refuse(X)
    is_frame = hasattr(X, "columns")
    if is_frame:
        validate_data(estimator, X, reset=reset, skip_check_array=True)
    elif reset:
        for name in ("n_features_in_", "feature_names_in_"):
            if hasattr(estimator, name):
                delattr(estimator, name)
    items = _entries(X)
    if len(items) == 0:
        raise ValueError(f"Found array with 0 sample(s): X is an empty {type(X).__name__}. {_ACCEPTED}")
    return Samples(items, _TextReader())


def _refuse(X):
    refuse_whole_set(X, "text")
    if isinstance(X, str):
        raise TypeError(f"X is a single text ({shorten(X)}), not a collection of texts: pass [X]. {_ACCEPTED}")
    if isinstance(X, bytes | bytearray | Mapping | set | frozenset) or not hasattr(X, "__len__"):
        raise TypeError(
            f"X is a {type(X).__name__}, which is no collection of texts with an order and a length: pass list(X) or "
            f"a list. {_ACCEPTED}"
        )
    shape = getattr(X, "shape", None)
    if shape is not None and (len(shape) == 0 or len(shape) > 2 or (len(shape) == 2 and shape[1] != 1)):
        raise ValueError(
            f"X has the shape {tuple(shape)}: expected one column of texts, such as X[['text']]; a ColumnTransformer "
            "sends each column where it belongs."
        )
    if np.asarray(X if shape is not None else ()).dtype.kind in "buifcmM" and shape is not None and shape[0]:
        raise TypeError(f"X is a {type(X).__name__} of numbers, and the network reads texts. {_ACCEPTED}")


def _entries(X):
    if hasattr(X, "to_pylist"):
        return X.to_pylist()
    if isinstance(X, list | tuple):
        first = next((x for x in X if not is_missing(x)), "")
        if isinstance(first, list | np.ndarray) and len(first) == 1:
            return [x[0] if isinstance(x, list | np.ndarray) and len(x) == 1 else x for x in X]
        return X
    if hasattr(X, "to_numpy") or hasattr(X, "__array__"):
        return np.asarray(X.to_numpy() if hasattr(X, "to_numpy") else X, dtype=object).ravel()
    return LazyItems(X)
