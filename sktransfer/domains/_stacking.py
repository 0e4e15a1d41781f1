"""Samples of several domains in one container, with their labels and the names of their domains."""

import difflib
import itertools
import re
import sys
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy import sparse

from sktransfer.domains._labels import as_labels, is_missing, label_kind, mask_labels, missing_labels, plain_labels
from sktransfer.domains._rows import check_length, n_rows
from sktransfer.exceptions import DomainError
from sktransfer.utils._messages import caller_level

__all__ = ["pack_domains", "stack_samples"]

_MOST_PAIRS = 10_000
_NEAR = 0.85  # of 1: a letter too many in a word of three is 0.857, another letter in one of six 0.833


def pack_domains(source: Any, target: Any) -> tuple[Any, np.ndarray, np.ndarray]:
    """Stack source and target samples into the ``X, y, sample_domain`` that every estimator here takes.

    Parameters
    ----------
    source : tuple ``(Xs, ys)`` or dict of name to ``(Xs, ys)``
        Labelled samples of one source domain (named ``"source"``), or of several by name. Samples may be lists (of
        paths, pictures, texts), arrays, sparse matrices, tensors, Series or DataFrames.
    target : Xt, tuple ``(Xt, yt)``, or dict of name to either
        Target samples (named ``"target"``), without labels, or with labels of which some may be missing. Use a list,
        not a tuple, for two paths. A dict names the target domains; pass these names as `target_domain`.

    Returns
    -------
    X : same container as the samples, n_samples rows
        Source rows in the order given, then target rows; a new object. Frames of which only some columns have the same
        names give all columns, with missing values where a domain has none: see :class:`ColumnMappingAdapter`. Names
        that differ in a letter or two, or in case, are warned of.
    y : ndarray of shape (n_samples,)
        Labels; where unknown NaN (float labels), -1 (integer labels) or None (strings, booleans, others).
    sample_domain : ndarray of shape (n_samples,)
        Name of the domain of each row.

    Raises
    ------
    DomainError
        If a source label is missing or is the integer -1, if shapes, containers or kinds of labels of the domains do
        not agree, or if frames of source and target have no column in common and no target row has a label.

    Notes
    -----
    scikit-learn's ``cross_validate(model, X, y, cv=5)`` and ``GridSearchCV(cv=5)`` stratify the folds of a classifier
    by ``y``, and cannot where some labels are None or NaN: "'<' not supported between instances of 'NoneType' and
    'str'", "Input y contains NaN". With classes of strings, booleans or floats pass a splitter that does not read the
    labels of target rows: :class:`SourceTargetShuffleSplit`, :class:`StratifiedDomainShuffleSplit`,
    :class:`DomainKFold` or :class:`LeaveOneDomainOut`; or :class:`sklearn.model_selection.KFold` with
    ``shuffle=True``. With integer classes from 0 on, an integer `cv` and scikit-learn's stratified splitters work: they
    take -1 for one more class, and so give each fold its share of the target.

    Examples
    --------
    >>> from sktransfer import pack_domains
    >>> X, y, sample_domain = pack_domains(source=(["a.png", "b.png"], ["cat", "dog"]), target=["c.png"])
    >>> X
    ['a.png', 'b.png', 'c.png']
    >>> y.tolist(), sample_domain.tolist()
    (['cat', 'dog', None], ['source', 'source', 'target'])
    """
    sources = _as_named_parts(source, "source", needs_labels=True)
    targets = _as_named_parts(target, "target", needs_labels=False)
    both = [name for name in sources if name in targets]
    if both:
        raise DomainError(f"The names {both!r} stand in both source and target; a domain has one role.")
    parts = list(sources.items()) + list(targets.items())
    lengths = [n_rows(samples) for _, (samples, _) in parts]
    for (name, (_, labels)), length in zip(parts, lengths, strict=True):
        if labels is not None:
            check_length(labels, length, name=f"the labels of domain {name!r}")
    names = as_labels([name for (name, _), length in zip(parts, lengths, strict=True) for _ in range(length)], name="")
    n_source = sum(lengths[: len(sources)])
    y = _stack_labels([labels for _, (_, labels) in parts], lengths, n_source)
    labelled = not missing_labels(y[n_source:]).all()
    samples = [part for _, (part, _) in parts]
    _check_connected(samples[: len(sources)], samples[len(sources) :], labelled=labelled)
    X = stack_samples(samples, [name for name, _ in parts])
    return X, y, names


def _as_named_parts(given: Any, role: str, *, needs_labels: bool) -> dict:
    named = given if isinstance(given, Mapping) else {role: given}
    if not named:
        raise DomainError(f"{role} is an empty dict; give at least one domain.")
    parts: dict[Any, tuple[Any, np.ndarray | None]] = {}
    for name, part in named.items():
        is_pair = isinstance(part, tuple) and len(part) == 2
        if is_pair and not any(isinstance(item, str | bytes) or not hasattr(item, "__len__") for item in part):
            parts[name] = (part[0], as_labels(part[1], name=f"the labels of domain {name!r}"))
        elif needs_labels or isinstance(part, tuple):
            expected = "a tuple (X, y)" if needs_labels else "X (a list, array or DataFrame, not a tuple) or (X, y)"
            raise DomainError(f"{role} domain {name!r} must be {expected}, got {type(part).__name__}.")
        else:
            parts[name] = (part, None)
    return parts


def _stack_labels(labels: list, lengths: list[int], n_source: int) -> np.ndarray:
    source = [part for part, stop in zip(labels, np.cumsum(lengths), strict=True) if stop <= n_source]
    source = [part for part in source if part is not None]
    kinds = {label_kind(part) for part in source if len(part)}
    if len(kinds) > 1 and kinds != {"i", "f"}:
        dtypes = [str(part.dtype) for part in source]
        raise DomainError(f"The source domains have labels of different kinds: dtypes {dtypes}.")
    y_source = plain_labels(np.concatenate(source))
    if len(y_source) == 0:
        raise DomainError("The source has no samples.")
    if is_missing(y_source).any():
        raise DomainError("A source label is missing (NaN or None); give these samples as target, or leave them out.")
    if label_kind(y_source) == "i" and any(label == -1 for label in y_source.tolist()):
        raise DomainError(
            "A source label is the integer -1, which marks missing labels in integer y. Give the labels as strings or "
            "floats, or number the classes from 0."
        )
    total = sum(lengths)
    known, known_rows = [y_source], [np.arange(n_source)]
    start = n_source
    for part, length in zip(labels[len(source) :], lengths[len(source) :], strict=True):
        if part is not None:
            rows = np.flatnonzero(~missing_labels(part))
            known.append(_like_source(plain_labels(part[rows]), y_source))
            known_rows.append(start + rows)
        start += length
    values, rows = np.concatenate(known), np.concatenate(known_rows)
    # Any label may stand in the rows that are masked next.
    y = np.full(total, values[0], dtype=values.dtype) if len(values) else np.empty(total, dtype=values.dtype)
    y[rows] = values
    mask = np.ones(total, dtype=bool)
    mask[rows] = False
    return mask_labels(y, mask) if mask.any() else y


def _like_source(labels: np.ndarray, y_source: np.ndarray) -> np.ndarray:
    kind, expected = label_kind(labels), label_kind(y_source)
    if len(labels) == 0 or kind == expected:
        return labels.astype(y_source.dtype) if len(labels) == 0 else labels
    # Integer labels with some missing come as floats with NaN, or as objects with None.
    if expected == "i" and kind == "f" and all(float(label).is_integer() for label in labels):
        return labels.astype(np.float64).astype(np.int64)
    if expected == "f" and kind == "i":
        return labels.astype(y_source.dtype)
    raise DomainError(
        f"Target labels such as {labels[0]!r} are of another kind than source labels such as {y_source[0]!r}."
    )


def stack_samples(parts: list, names: list) -> Any:
    """Return one new container with the rows of all `parts`, in their order.

    Parameters
    ----------
    parts : list of containers
        Lists, arrays, sparse matrices, torch tensors, pandas or polars Series and DataFrames.
    names : list of labels
        Names of the domains, for the messages.

    Returns
    -------
    samples : the container of the parts
        A list where lists and one-dimensional arrays meet.

    Raises
    ------
    DomainError
        If containers, columns or row shapes do not agree.
    """
    kinds = [_container(part) for part in parts]
    if set(kinds) == {"list", "array"}:
        one_dimensional = all(kind == "list" or part.ndim == 1 for part, kind in zip(parts, kinds, strict=True))
        if one_dimensional:
            return [sample for part in parts for sample in part]
        parts, kinds = [np.asarray(part) for part in parts], ["array"] * len(parts)
    if len(set(kinds)) != 1:
        found = ", ".join(f"{name!r}: {type(part).__name__}" for name, part in zip(names, parts, strict=True))
        raise DomainError(f"The domains come in containers that do not stack ({found}); give all in the same one.")
    return _STACK[kinds[0]](parts, names)


def _container(part: Any) -> str:
    if isinstance(part, list):
        return "list"
    if sparse.issparse(part):
        return "sparse"
    library = type(part).__module__.split(".")[0]
    if library in {"torch", "pandas", "polars"}:
        return "tensor" if library == "torch" else f"{library} {'frame' if len(part.shape) == 2 else 'series'}"
    if hasattr(part, "__array__"):
        return "array"
    raise DomainError(
        f"Samples must be a list, an array, a sparse matrix, a tensor, a Series or a DataFrame, got "
        f"{type(part).__name__}."
    )


def _stack_lists(parts, names):
    return [sample for part in parts for sample in part]


def _stack_arrays(parts, names):
    arrays = [np.asarray(part) for part in parts]
    _check_row_shapes(arrays, names)
    if len({array.dtype.kind in "USO" for array in arrays}) > 1:
        found = ", ".join(f"{name!r}: {array.dtype}" for name, array in zip(names, arrays, strict=True))
        raise DomainError(f"The domains hold text or objects here and numbers there ({found}); bring all to one type.")
    return np.concatenate(arrays)


def _stack_sparse(parts, names):
    _check_row_shapes(parts, names)
    return sparse.vstack(parts, format=parts[0].format)


def _stack_tensors(parts, names):
    _check_row_shapes(parts, names)
    # A tensor exists only where torch is already imported.
    return sys.modules["torch"].cat(parts)


def _stack_pandas_frames(parts, names):
    return sys.modules["pandas"].concat(_align_columns(parts, names), ignore_index=True)[_all_columns(parts)]


def _stack_pandas_series(parts, names):
    series = sys.modules["pandas"].Series  # an Index or an extension array becomes one
    return sys.modules["pandas"].concat([series(part) for part in parts], ignore_index=True)


def _stack_polars_frames(parts, names):
    frames = _align_columns(parts, names)
    first: dict[str, tuple] = {}
    for name, frame in zip(names, frames, strict=True):
        for column in frame.columns:
            if column not in first:
                first[column] = name, frame[column].dtype
            if frame[column].dtype.is_numeric() != first[column][1].is_numeric():
                raise DomainError(
                    f"Column {column!r} is {frame[column].dtype} in domain {name!r} and {first[column][1]} in domain "
                    f"{first[column][0]!r}; bring both to one type."
                )
    if all(frame.columns == frames[0].columns for frame in frames):
        return sys.modules["polars"].concat(frames, how="vertical_relaxed")
    return sys.modules["polars"].concat(frames, how="diagonal_relaxed")


def _stack_polars_series(parts, names):
    frames = [part.alias(parts[0].name).to_frame() for part in parts]
    return _stack_polars_frames(frames, names).to_series()


def _align_columns(frames, names):
    """Return the frames, those of the same columns in one order; others keep what they have."""
    columns = _all_columns(frames)
    for name, frame in zip(names, frames, strict=True):
        if len(set(frame.columns)) != len(frame.columns):
            raise DomainError(f"Domain {name!r} has several columns of one name: {list(frame.columns)}.")
        different = set(columns) ^ set(frame.columns)
        if not all(isinstance(column, str) for column in different):
            raise DomainError(
                f"Domain {name!r} has other columns than domain {names[0]!r}; only in one of them: "
                f"{sorted(map(str, different))}. Give columns names that say what they hold, or the same columns."
            )
    _warn_of_names_that_are_near(frames, names)
    return [frame[[column for column in columns if column in set(frame.columns)]] for frame in frames]


def _warn_of_names_that_are_near(frames, names):
    """Warn of a column that another domain may have by another spelling, and that would be missing in both."""
    for (name, frame), (other_name, other) in itertools.combinations(zip(names, frames, strict=True), 2):
        own, others = ([*set(a.columns) - set(b.columns)] for a, b in ((frame, other), (other, frame)))
        if len(own) * len(others) > _MOST_PAIRS:
            continue  # other tables, and not the same one misspelt
        for column, found in itertools.product(sorted(own), sorted(others)):
            if _may_be_one(column, found):
                warnings.warn(
                    f"Column {column!r} is in domain {name!r} alone and {found!r} in domain {other_name!r} alone, so "
                    "that each is missing in the other. If they are one, give them one name.",
                    stacklevel=caller_level(),
                )


def _may_be_one(name: str, other: str) -> bool:
    """Say whether two names differ in a letter or two, or in case and signs, and in no number."""
    plain, other_plain = (re.sub(r"[\W_]", "", word).lower() for word in (name, other))
    if re.findall(r"\d+", plain) != re.findall(r"\d+", other_plain):
        return False
    return bool(plain) and difflib.SequenceMatcher(None, plain, other_plain).ratio() >= _NEAR


def _all_columns(frames):
    return list(dict.fromkeys(column for frame in frames for column in frame.columns))


def _check_connected(source: list, target: list, *, labelled: bool) -> None:
    """Raise a DomainError where frames of source and target have no column in common and no target row has a label."""
    shown, other = (_all_columns([part for part in parts if hasattr(part, "columns")]) for parts in (source, target))
    if shown and other and not labelled and not set(shown) & set(other):
        raise DomainError(
            f"Nothing connects source and target: they have no column in common (only in one of them: "
            f"{sorted(map(str, {*shown, *other}))}), and no target row has a label. Name columns that mean the same "
            "alike."
        )


def _check_row_shapes(parts, names):
    for name, part in zip(names, parts, strict=True):
        if tuple(part.shape[1:]) != tuple(parts[0].shape[1:]):
            raise DomainError(
                f"Rows of domain {name!r} have shape {tuple(part.shape[1:])}, rows of domain {names[0]!r} "
                f"{tuple(parts[0].shape[1:])}; the domains need the same features."
            )


_STACK = {
    "list": _stack_lists,
    "array": _stack_arrays,
    "sparse": _stack_sparse,
    "tensor": _stack_tensors,
    "pandas frame": _stack_pandas_frames,
    "pandas series": _stack_pandas_series,
    "polars frame": _stack_polars_frames,
    "polars series": _stack_polars_series,
}
