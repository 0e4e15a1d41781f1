"""Backbones in the order in which their frozen features fit labelled rows."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from sklearn.exceptions import FitFailedWarning
from sklearn.utils import Bunch, check_consistent_length, check_random_state

from sktransfer._frozen import FeatureCache
from sktransfer.domains import as_labels, is_missing, label_kind, plain_labels, take_rows
from sktransfer.exceptions import WeightsMismatchError, WeightsNotFoundError
from sktransfer.feature_extraction import PretrainedFeatureExtractor
from sktransfer.metrics import (
    gbc_score,
    h_score,
    leep_score,
    logme_score,
    nce_score,
    nleep_score,
    parc_score,
    sfda_score,
    transrate_score,
)
from sktransfer.utils._messages import caller_level, unknown_option
from sktransfer.utils._threads import small_algebra

__all__ = ["SCORES", "NamedBackbone", "Ranked", "as_ranking", "best_first", "rank", "rank_backbones", "read_backbones"]

# The probabilities of the source classes take the place of features.
_OF_SOURCE_CLASSES = {"leep", "nce"}
SCORES = ("auto", "gbc", "h_score", "leep", "logme", "nce", "nleep", "parc", "sfda", "transrate")
# PARC compares all pairs of rows; of so many it costs less than features do.
_ENOUGH_ROWS = 2000
_TASKS = ("auto", "classification", "regression")


class NamedBackbone(NamedTuple):
    """A backbone to be tried: its name in the ranking, and what :func:`load_backbone` takes."""

    name: str
    backbone: Any
    weights: Any


class Ranked(NamedTuple):
    """A row of the ranking, with what it was computed from (None for a backbone that could not be loaded)."""

    named: NamedBackbone
    score: float
    seconds: float
    parameters: int
    n_features: int
    extractor: PretrainedFeatureExtractor | None = None
    features: np.ndarray | None = None


@small_algebra
def rank_backbones(
    backbones: Sequence[Any] | Mapping[str, Any],
    X: Any,
    y: Any,
    *,
    score: str | Callable[[np.ndarray, np.ndarray], float] = "auto",
    task: str = "auto",
    weights: str | os.PathLike[str] | None = "pretrained",
    layer: int | str | Sequence[int | str | None] | None = None,
    pooling: str = "avg",
    image_size: int | tuple[int, int] | None = None,
    image_shape: tuple[int, ...] | None = None,
    batch_size: int = 32,
    device: Any = "auto",
    precision: str = "auto",
    cache: str | os.PathLike[str] | FeatureCache | None = "memory",
    n_jobs: int | None = None,
    on_error: str = "raise",
    random_state: int | np.random.RandomState | None = None,
    verbose: int = 0,
) -> Bunch:
    """Rank backbones by how well their frozen features fit labelled pictures, without training any of them.

    Every picture passes every network once; its features are cached, so that a second ranking, or a
    :class:`BackboneSearch` with the same `cache`, computes none of them again.

    Parameters
    ----------
    backbones : list or dict
        Backbones as :func:`load_backbone` takes them (timm names, ``"local-dir:folder"``, networks, fitted
        estimators, :class:`ImageBackbone`), or pairs ``(backbone, weights)``. A dict gives them names of your own.
    X : pictures
        Paths, encoded bytes, PIL images, arrays, flattened arrays or a torch Dataset.
    y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        Classes, or numbers to be predicted. Rows without a label are left out: NaN or None, and -1 of integers that
        hold at least two other classes.
    score : str or callable, default="auto"
        "auto" takes "parc" for classes, on at most 2,000 rows drawn by `random_state`, and "logme" for numbers. Or
        "logme", "h_score" (shrunk), "nleep", "transrate", "parc", "gbc" or "sfda" of the features; "leep" or "nce" of
        the classes of the source task, for backbones that came with their classifier; or a callable
        ``(features, y) -> float``, higher for better.
    task : {"auto", "classification", "regression"}, default="auto"
        What `y` is. "auto" takes floats with fractions and several columns for numbers, everything else for classes;
        say "regression" where numbers have no fractions. Numbers are scored by "auto", "logme" or a callable.
    weights : str, path-like or None, default="pretrained"
        Weights of the backbones that come without their own, as in :func:`load_backbone`.
    layer : None, int, str or list of these, default=None
        Where the features are taken, as in :class:`PretrainedFeatureExtractor`.
    pooling : {"avg", "max", "avgmax", "gem", "cls", "flatten"}, default="avg"
        How a feature map becomes a vector.
    image_size : int, tuple of int or None, default=None
        Height and width in pixels at which all networks see the pictures; None takes each one's own.
    image_shape : tuple of int or None, default=None
        Shape of flattened pictures, or of arrays whose channel axis cannot be told.
    batch_size : int, default=32
        Pictures decoded together.
    device : str or torch.device, default="auto"
        "auto" takes cuda, mps or cpu, whichever there is.
    precision : {"auto", "float32", "bfloat16", "float16"}, default="auto"
        Number format of the networks.
    cache : {"memory"}, path-like, FeatureCache or None, default="memory"
        Where features are kept; see :class:`FeatureCache`.
    n_jobs : int or None, default=None
        Threads that decode pictures ahead of the network.
    on_error : {"raise", "skip"}, default="raise"
        What a backbone does that cannot be loaded, or whose features cannot be scored: raise, or become a last row with
        NaN as its score, and a warning.
    random_state : int, RandomState or None, default=None
        Seed of "nleep" and of the rows of "auto"; the same for all backbones.
    verbose : int, default=0
        Show a progress bar for each backbone if not 0.

    Returns
    -------
    ranking : Bunch
        Columns of a table, best row first (``pandas.DataFrame(ranking)``): ``backbone``, list of names; ``score``;
        ``seconds`` for loading, features and score; ``parameters``, number of weights without the classifier of the
        source task; ``n_features``, columns that the score saw.

    Raises
    ------
    ValueError
        If a parameter is not one of those above, if two backbones have one name, if no backbone could be loaded, or if
        the score cannot be computed from these labels.
    WeightsNotFoundError
        If weights cannot be had and ``on_error="raise"``.

    See Also
    --------
    BackboneSearch : Ranks, cross-validates the best few, and fits the winner.
    TransferabilityDisplay : Draws the ranking.
    logme_score : The score, and others beside it.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sktransfer import rank_backbones
    >>> X, y = load_digits(return_X_y=True)
    >>> backbones = {"trained": "sktransfer_mini", "random": ("sktransfer_mini", None)}
    >>> ranking = rank_backbones(backbones, X[:200], y[:200])
    >>> ranking.backbone
    ['trained', 'random']
    """
    labels, rows, task = _read_targets(y, task)
    check_consistent_length(X, np.asarray(y))
    named = read_backbones(backbones, weights)
    if len(rows) < len(X):
        X = take_rows(X, rows)

    def extractor_of(named):
        return PretrainedFeatureExtractor(
            named.backbone,
            weights=named.weights,
            layer=layer,
            pooling=pooling,
            image_size=image_size,
            image_shape=image_shape,
            batch_size=batch_size,
            device=device,
            precision=precision,
            cache=cache,
            n_jobs=n_jobs,
            verbose=verbose,
        )

    ranked = rank(named, extractor_of, X, labels, score=score, task=task, on_error=on_error, random_state=random_state)
    return as_ranking(best_first([row._replace(extractor=None, features=None) for row in ranked]))


def read_backbones(backbones: Any, weights: Any) -> list[NamedBackbone]:
    """Give every backbone a name and its weights.

    Raises
    ------
    ValueError
        If there is none, or if two have one name.
    """
    expected = "expected a list of backbones or of pairs (backbone, weights), or a dict of names to these"
    if isinstance(backbones, Mapping):
        given = list(backbones.items())
    elif isinstance(backbones, Iterable) and not isinstance(backbones, str | os.PathLike):
        given = [(None, entry) for entry in backbones]
    else:
        raise ValueError(f"backbones={backbones!r}: {expected}.")
    if not given:
        raise ValueError(f"backbones is empty: {expected}.")
    found = [_read_backbone(name, entry, weights) for name, entry in given]
    names = [named.name for named in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"backbones has more than one named {twice[0]!r}; pass a dict with a name for each.")
    return found


def _read_backbone(name, entry, weights):
    if isinstance(entry, tuple):
        if len(entry) != 2:
            raise ValueError(f"backbones: {entry!r} has {len(entry)} entries; expected a pair (backbone, weights).")
        backbone, own = entry
        suffix = f" ({'random' if own is None else os.fspath(own)})" if own != "pretrained" else ""
    else:
        backbone, own, suffix = entry, weights, ""
        if not isinstance(entry, str | os.PathLike):
            own = "pretrained"  # networks and fitted estimators bring their own
    if name is None:
        origin = getattr(backbone, "name", backbone)  # of a description
        name = os.fspath(origin) if isinstance(origin, str | os.PathLike) else type(origin).__name__
        name += suffix
    return NamedBackbone(str(name), backbone, own)


def rank(
    backbones: Sequence[NamedBackbone],
    extractor_of: Callable[[NamedBackbone], PretrainedFeatureExtractor],
    X: Any,
    y: np.ndarray,
    *,
    score: str | Callable[[np.ndarray, np.ndarray], float],
    task: str,
    on_error: str,
    random_state: int | np.random.RandomState | None,
) -> Iterator[Ranked]:
    """Score one backbone after the other; `task` is "classification" or "regression", and all rows have a label."""
    if on_error not in ("raise", "skip"):
        raise ValueError(unknown_option("on_error", on_error, ("raise", "skip")))
    compute = _score_function(score, task, random_state)
    n_loaded = 0
    for named in backbones:
        start = time.perf_counter()
        extractor = extractor_of(named)
        try:
            _load(extractor)
        except (WeightsNotFoundError, WeightsMismatchError, ValueError) as error:
            if on_error == "raise":
                raise
            warnings.warn(f"Backbone {named.name!r} is left out: {error}", UserWarning, stacklevel=caller_level())
            yield Ranked(named, np.nan, time.perf_counter() - start, 0, 0)
            continue
        n_loaded += 1
        features = extractor.fit_transform(X)
        try:
            seen = _source_proba(extractor, X, named) if score in _OF_SOURCE_CLASSES else features
            value = float(compute(seen, y))
        except Exception as error:
            if on_error == "raise":
                raise
            warnings.warn(
                f"Backbone {named.name!r} has no score: {error!r}", FitFailedWarning, stacklevel=caller_level()
            )
            seen, value = features, np.nan
        seconds = time.perf_counter() - start
        yield Ranked(named, value, seconds, _n_parameters(extractor.backbone_), seen.shape[1], extractor, features)
    if not n_loaded:
        raise ValueError(f"None of the {len(backbones)} backbones could be loaded; the warnings say why.")


def best_first(rows: Iterable[Ranked]) -> list[Ranked]:
    """Sort rows by score, those without one last, those not loaded after them; equal ones stay in their order."""
    return sorted(rows, key=lambda row: (row.n_features == 0, np.inf if np.isnan(row.score) else -row.score))


def as_ranking(rows: Sequence[Ranked], **columns: Any) -> Bunch:
    """Columns of a table with these rows; `columns` stand behind the score."""
    return Bunch(
        backbone=[row.named.name for row in rows],
        score=np.array([row.score for row in rows], dtype=np.float64),
        **columns,
        seconds=np.array([row.seconds for row in rows], dtype=np.float64),
        parameters=np.array([row.parameters for row in rows], dtype=np.int64),
        n_features=np.array([row.n_features for row in rows], dtype=np.int64),
    )


def _score_function(score, task, random_state):
    if callable(score):
        return score
    if score not in SCORES:
        raise ValueError(unknown_option("score", score, SCORES, others="a callable (features, y) -> float"))
    if score == "logme" or (score == "auto" and task == "regression"):
        return lambda features, y: logme_score(features, y, task=task)
    if task == "regression":
        raise ValueError(
            f"score={score!r} is of classes, and y holds numbers. Use score='auto', 'logme' or a callable, or say "
            "task='classification'."
        )
    seed = check_random_state(random_state).randint(2**31 - 1)
    return {
        "auto": lambda features, y: _parc_of_some(features, y, seed),
        "gbc": gbc_score,
        "h_score": lambda features, y: h_score(features, y, shrinkage=True),
        "leep": leep_score,
        "nce": lambda proba, y: nce_score(proba.argmax(axis=1), y),
        "nleep": lambda features, y: nleep_score(features, y, random_state=seed),
        "parc": parc_score,
        "sfda": sfda_score,
        "transrate": transrate_score,
    }[score]


def _parc_of_some(features, y, seed):
    rows = np.arange(len(y))
    if len(rows) > _ENOUGH_ROWS:
        rows = np.sort(np.random.RandomState(seed).permutation(rows)[:_ENOUGH_ROWS])
    return parc_score(features[rows], y[rows])


def _read_targets(y, task):
    """Return the labels of the rows that have one, these rows, and what the labels are."""
    if task not in _TASKS:
        raise ValueError(unknown_option("task", task, _TASKS))
    table = np.asarray(y)
    if table.ndim == 2 and table.shape[1] > 1:
        if task == "classification":
            raise ValueError(f"y has {table.shape[1]} columns; task='classification' expects one, of classes.")
        table = table.astype(np.float64)
        rows = np.flatnonzero(~np.isnan(table).any(axis=1))
        return table[rows], rows, "regression"
    labels = as_labels(y, name="y")
    rows = np.flatnonzero(~is_missing(labels))
    values = plain_labels(labels[rows])
    kind = label_kind(values)
    if task == "auto":
        task = "regression" if kind == "f" and (values != np.round(values.astype(float))).any() else "classification"
    if task == "classification" and kind == "i":
        known = values.astype(np.int64) != -1
        if len(np.unique(values[known])) > 1:
            rows, values = rows[known], values[known]
    if len(rows) == 0:
        raise ValueError(f"None of the {len(labels)} rows of y has a label.")
    return values, rows, task


def _load(extractor):
    """Load the backbone alone, so that what is wrong with it is not taken for what is wrong with the pictures."""
    from sktransfer.backbones import load_backbone

    backbone = load_backbone(extractor.backbone, weights=extractor.weights, image_size=extractor.image_size)
    layers = extractor.layer if isinstance(extractor.layer, list | tuple | np.ndarray) else [extractor.layer]
    backbone.probe([backbone.tap(layer, extractor.pooling) for layer in layers])


def _source_proba(extractor, X, named):
    from sktransfer._frozen import FrozenPart

    backbone = extractor.backbone_
    if not backbone.has_source_classifier:
        raise ValueError(
            f"Backbone {named.name!r} has no classifier of its source task, which 'leep' and 'nce' need. Load "
            "weights that hold it (published ImageNet weights do), or take another score, such as 'logme'."
        )
    frozen = FrozenPart(
        backbone,
        batch_size=extractor.batch_size,
        device=extractor.device,
        precision=extractor.precision,
        cache=extractor.cache,
        n_jobs=extractor.n_jobs,
        verbose=extractor.verbose,
    )
    return frozen.source_proba(backbone.modality.open(extractor, X, reset=False))


def _n_parameters(backbone):
    heads = tuple(f"{name}." for name in backbone.classifier_names)
    named = backbone.module.named_parameters()
    return sum(values.numel() for name, values in named if not (heads and name.startswith(heads)))
