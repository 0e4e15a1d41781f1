"""Scorers that try the estimator out: backwards, and on mixtures of target rows."""

from collections.abc import Callable
from numbers import Real
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.base import clone, is_regressor
from sklearn.dummy import DummyClassifier
from sklearn.metrics import get_scorer
from sklearn.utils import check_random_state

from sktransfer.domains import (
    Domains,
    as_labels,
    check_domains,
    fit_on_domains,
    mask_labels,
    read_source_labels,
    take_rows,
)
from sktransfer.model_selection._scorers import DomainScorer
from sktransfer.utils._compat import Interval
from sktransfer.utils._features import as_table
from sktransfer.utils._seeds import set_random_states

__all__ = ["CircularValidationScorer", "MixValScorer"]


class CircularValidationScorer(DomainScorer):
    """Score by the way back: from predicted target labels to the known source labels [1]_, [2]_.

    Called as ``scorer(estimator, X, y, sample_domain=...)``. Target rows are labelled by the estimator's predictions; a
    clone of it is fitted with the roles swapped, these rows as the source, the source rows as the target; and its
    predictions of the source rows are scored by their labels. Labels of target rows are not read.

    Parameters
    ----------
    scoring : str or callable, default="accuracy"
        A scorer of scikit-learn, by name or as an object; for regressors such as "r2".
    random_state : int, RandomState or None, default=0
        Seeds each `random_state` of the clone that is None, so that two calls give the same score.
    target_domain : label or list of labels, default="target"
        Which labels of `sample_domain` are the target; the same as that of the estimator.

    See Also
    --------
    MixValScorer : Needs no fitting.

    Notes
    -----
    Costs one fit on the rows of the call: a test fold, smaller than what the estimator itself was fitted on, must be
    large enough for it. An estimator that takes no domains is fitted on the target rows alone.

    Where all target rows are predicted to be of one class, nothing can be fitted: the way back then predicts this class
    for every source row, and is scored like that.

    References
    ----------
    .. [1] L. Bruzzone, M. Marconcini, "Domain Adaptation Problems: A DASVM Classification Technique and a Circular
       Validation Strategy", IEEE Transactions on Pattern Analysis and Machine Intelligence 32(5), 2010.
    .. [2] E. Zhong, W. Fan, Q. Yang, O. Verscheure, J. Ren, "Cross Validation Framework to Choose amongst Models and
       Datasets for Transfer Learning", ECML PKDD 2010.

    Examples
    --------
    >>> from sktransfer import AdaptedClassifier, CircularValidationScorer, make_domain_shift
    >>> X, y, sample_domain = make_domain_shift(random_state=0)
    >>> model = AdaptedClassifier().fit(X, y, sample_domain=sample_domain)
    >>> 0 <= CircularValidationScorer()(model, X, y, sample_domain=sample_domain) <= 1
    True
    """

    _parameter_constraints: dict = {
        **DomainScorer._parameter_constraints,
        "scoring": [str, callable],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        scoring: str | Callable = "accuracy",
        *,
        random_state: int | np.random.RandomState | None = 0,
        target_domain: Any = "target",
    ) -> None:
        self.scoring = scoring
        self.random_state = random_state
        self.target_domain = target_domain

    def _score(self, estimator: Any, X: Any, y: np.ndarray | None, domains: Domains) -> float:
        scorer = get_scorer(self.scoring)
        labels, rows = read_source_labels(self._source_labels(y), domains)
        predicted = as_labels(estimator.predict(take_rows(X, domains.target_rows)), name="the prediction")
        X_source = take_rows(X, rows)
        if not is_regressor(estimator) and len(np.unique(predicted)) == 1:
            way_back = DummyClassifier(strategy="constant", constant=predicted[0])
            way_back.fit(np.zeros((len(labels) + 1, 1)), np.append(labels, predicted[:1]))
        else:
            way_back = self._fit_backwards(estimator, X, predicted, domains)
        return scorer(way_back, X_source, labels)

    def _fit_backwards(self, estimator: Any, X: Any, predicted: np.ndarray, domains: Domains) -> Any:
        # Only the roles are swapped: several sources become one target, under the name that the estimator knows.
        target = domains.target_names[0]
        source = next(name for name in ("source", "not_target", "other") if name not in domains.target_names)
        names = np.empty(len(domains.names), dtype=object)
        names[domains.is_source], names[domains.is_target] = target, source
        y = np.full(len(names), predicted[0], dtype=predicted.dtype)
        y[domains.is_target] = predicted
        way_back = set_random_states(clone(estimator), check_random_state(self.random_state))
        reverse = check_domains(as_labels(names.tolist(), name="sample_domain"), target_domain=[target])
        return fit_on_domains(way_back, X, mask_labels(y, domains.is_source), reverse)


class MixValScorer(DomainScorer):
    """Score a classifier by how it takes mixtures of two target rows [1]_.

    Called as ``scorer(estimator, X, y, sample_domain=...)``. Each target row a is mixed with another one b to
    ``mix * a + (1 - mix) * b``, and the mixture ought to be predicted like a, the larger part. The score is the mean of
    two shares of mixtures for which this holds: those of rows that are predicted to be of one class (within clusters)
    and those of rows of different classes (between clusters). No label is read.

    Parameters
    ----------
    mix : float, default=0.55
        Share of the first row, above one half and below one.
    random_state : int, RandomState or None, default=0
        Seed of the pairs; an integer gives every call on the same predictions the same pairs.
    target_domain : label or list of labels, default="target"
        Which labels of `sample_domain` are the target; the same as that of the estimator.

    See Also
    --------
    CircularValidationScorer : For rows that cannot be mixed.

    Notes
    -----
    Rows must be numbers: tables, and pictures as an array of one size (mixtures of uint8 are rounded). Paths, bytes and
    PIL images cannot be mixed.

    In [1]_ candidates are ranked by each of the two shares, and the ranks averaged. A scorer sees one candidate at a
    time, and averages the shares instead.

    Where all rows are predicted to be of one class there is no pair between clusters, and that share counts as 0. Where
    no class is predicted for two rows, the share between clusters is the score.

    References
    ----------
    .. [1] D. Hu, J. Liang, J. H. Liew, C. Xue, S. Bai, X. Wang, "Mixed Samples as Probes for Unsupervised Model
       Selection in Domain Adaptation", NeurIPS 2023.

    Examples
    --------
    >>> from sktransfer import AdaptedClassifier, MixValScorer, make_domain_shift
    >>> X, y, sample_domain = make_domain_shift(random_state=0)
    >>> model = AdaptedClassifier().fit(X, y, sample_domain=sample_domain)
    >>> 0.5 < MixValScorer()(model, X, sample_domain=sample_domain) < 1
    True
    """

    _parameter_constraints: dict = {
        **DomainScorer._parameter_constraints,
        "mix": [Interval(Real, 0.5, 1, closed="neither")],
        "random_state": ["random_state"],
    }
    _needs_source = False

    def __init__(
        self,
        *,
        mix: float = 0.55,
        random_state: int | np.random.RandomState | None = 0,
        target_domain: Any = "target",
    ) -> None:
        self.mix = mix
        self.random_state = random_state
        self.target_domain = target_domain

    def _score(self, estimator: Any, X: Any, y: np.ndarray | None, domains: Domains) -> float:
        rows = take_rows(X, domains.target_rows)
        values = _numbers(rows)
        predicted = np.asarray(estimator.predict(rows))
        codes = np.unique(predicted, return_inverse=True)[1]
        within, between = _partners(codes, check_random_state(self.random_state))
        agreements = []
        for partner in (within, between):
            first = np.flatnonzero(partner >= 0)
            if len(first):
                mixed = _like(rows, _mixture(values[first], values[partner[first]], self.mix))
                agreements.append(float(np.mean(np.asarray(estimator.predict(mixed)) == predicted[first])))
            elif partner is between:
                agreements.append(0.0)
        return sum(agreements) / len(agreements)


def _numbers(rows: Any) -> Any:
    """Return target rows as an array or a CSR matrix of numbers."""
    if sparse.issparse(rows):
        return rows.tocsr()
    is_array = hasattr(rows, "__array__")
    values = np.asarray(rows) if is_array else as_table(rows)
    if values is None or values.dtype.kind not in "buif" or values.ndim < 2:
        raise ValueError(
            f"MixValScorer mixes rows by arithmetic, so X must be an array of numbers with one row a sample, got "
            f"{type(rows).__name__}{'' if values is None else f' of {values.dtype}, shape {values.shape}'}. Pass "
            f"pictures as one array, or features of them; otherwise use another scorer."
        )
    return values


def _mixture(first: Any, second: Any, mix: float) -> Any:
    mixed = mix * first + (1.0 - mix) * second
    # Pictures stay pictures: a float array would be read in another value range.
    return np.rint(mixed).astype(np.uint8) if first.dtype == np.uint8 else mixed


def _like(rows: Any, values: Any) -> Any:
    """Return `values` in the container of `rows` where that has names of columns, which estimators compare."""
    return type(rows)(values, columns=rows.columns) if hasattr(rows, "iloc") and values.ndim == 2 else values


def _partners(codes: np.ndarray, rng: np.random.RandomState) -> tuple[np.ndarray, np.ndarray]:
    """Return for each row another one of its class, and one of another class; -1 where there is none.

    Parameters
    ----------
    codes : ndarray of int of shape (n_samples,)
        Classes, from 0.
    rng : RandomState
        Draws.

    Returns
    -------
    within, between : ndarray of int of shape (n_samples,)
        Row numbers.
    """
    order = rng.permutation(len(codes))
    order = order[np.argsort(codes[order], kind="stable")]
    counts = np.bincount(codes)
    starts = np.cumsum(counts) - counts
    within, between = np.full((2, len(codes)), -1)
    for start, count in zip(starts, counts, strict=True):
        rows, others = order[start : start + count], len(codes) - count
        if count > 1:
            within[rows] = np.roll(rows, -1)
        if others:
            # Places of the other classes: those before this class, and those after it.
            places = rng.randint(others, size=count)
            between[rows] = order[np.where(places < start, places, places + count)]
    return within, between
