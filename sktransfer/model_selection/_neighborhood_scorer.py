"""Scores by whether predictions follow the neighbourhoods of the target, and lead back to the source."""

from numbers import Integral, Real
from typing import Any

import numpy as np

from sktransfer.domains import Domains, read_source_labels, take_rows
from sktransfer.metrics import neighborhood_agreement_score, return_accuracy_score
from sktransfer.model_selection._scorers import DomainScorer
from sktransfer.utils._compat import HasMethods, Interval
from sktransfer.utils._features import need_table

__all__ = ["NeighborhoodAgreementScorer", "TransferEvidenceScorer"]


class NeighborhoodAgreementScorer(DomainScorer):
    """Score by how often target rows are predicted to be of the class of their nearest neighbours, beyond chance.

    Called as ``scorer(estimator, X, y, sample_domain=...)``; see :func:`neighborhood_agreement_score`. Neighbours are
    those of the target rows before any adaptation. No labels are read, and no probabilities are needed.

    Parameters
    ----------
    n_neighbors : int, default=5
        Number of neighbours, by cosine.
    features : transformer, callable or None, default=None
        Makes the rows of numbers that have neighbours. A fitted transformer is taken as it is; of any other a clone is
        fitted to the target rows of each call. A callable is given them. None takes the rows themselves, which must be
        a numeric table then.
    target_domain : label or list of labels, default="target"
        Which labels of `sample_domain` are the target; the same as that of the estimator.

    See Also
    --------
    TransferEvidenceScorer : This, and the way back to the source.
    InformationMaximizationScorer : Certain and spread predictions.

    References
    ----------
    .. [1] O. Chapelle, A. Zien, "Semi-Supervised Classification by Low Density Separation", AISTATS 2005: classes do
       not part where rows lie close together.

    Examples
    --------
    >>> from sktransfer import AdaptedClassifier, NeighborhoodAgreementScorer, make_domain_shift
    >>> X, y, sample_domain = make_domain_shift(random_state=0)
    >>> model = AdaptedClassifier().fit(X, y, sample_domain=sample_domain)
    >>> 0 < NeighborhoodAgreementScorer()(model, X, sample_domain=sample_domain) <= 1
    True
    """

    _parameter_constraints: dict = {
        **DomainScorer._parameter_constraints,
        "n_neighbors": [Interval(Integral, 1, None, closed="left")],
        "features": [HasMethods(["fit", "transform"]), callable, None],
    }
    _needs_source = False

    def __init__(self, *, n_neighbors: int = 5, features: Any = None, target_domain: Any = "target") -> None:
        self.n_neighbors = n_neighbors
        self.features = features
        self.target_domain = target_domain

    def _score(self, estimator: Any, X: Any, y: np.ndarray | None, domains: Domains) -> float:
        target = take_rows(X, domains.target_rows)
        rows = need_table(target, self.features, caller=type(self).__name__, purpose="to find neighbours")
        return neighborhood_agreement_score(rows, estimator.predict(target), n_neighbors=self.n_neighbors)


class TransferEvidenceScorer(NeighborhoodAgreementScorer):
    """Score by agreement with the neighbours, and by the way back to the source.

    Called as ``scorer(estimator, X, y, sample_domain=...)``: :func:`neighborhood_agreement_score` of the predictions on
    the target rows, plus `weight` times :func:`return_accuracy_score`, which reads the labels of the source rows. It is
    what :class:`TransferSearchCV` decides by where the target has no labels. Labels of target rows are not read.

    Parameters
    ----------
    weight : float, default=0.5
        Weight of the way back.
    n_neighbors : int, default=5
        Number of neighbours, by cosine.
    features : transformer, callable or None, default=None
        Makes rows of numbers of the samples. A fitted transformer is taken as it is; of any other a clone is fitted to
        the rows of each call. A callable is given them. None takes the rows themselves, which must be a numeric table
        then.
    target_domain : label or list of labels, default="target"
        Which labels of `sample_domain` are the target; the same as that of the estimator.

    See Also
    --------
    transfer_evidence : Two models compared by both, with thresholds.
    NeighborhoodAgreementScorer : The first part alone, without any labels.

    Notes
    -----
    The first part alone is taken in by predictions that are smooth and wrong, the second by such that spread over
    classes which the target does not have. `weight` was chosen on benchmark tasks, of 0.5, 1 and 2.

    References
    ----------
    .. [1] L. Bruzzone, M. Marconcini, "Domain Adaptation Problems: A DASVM Classification Technique and a Circular
       Validation Strategy", IEEE Transactions on Pattern Analysis and Machine Intelligence 32(5), 2010.

    Examples
    --------
    >>> from sktransfer import AdaptedClassifier, TransferEvidenceScorer, make_domain_shift
    >>> X, y, sample_domain = make_domain_shift(random_state=0)
    >>> model = AdaptedClassifier().fit(X, y, sample_domain=sample_domain)
    >>> 0 < TransferEvidenceScorer()(model, X, y, sample_domain=sample_domain) <= 1.5
    True
    """

    _parameter_constraints: dict = {
        **NeighborhoodAgreementScorer._parameter_constraints,
        "weight": [Interval(Real, 0, None, closed="left")],
    }
    _needs_source = True

    def __init__(
        self, *, weight: float = 0.5, n_neighbors: int = 5, features: Any = None, target_domain: Any = "target"
    ) -> None:
        super().__init__(n_neighbors=n_neighbors, features=features, target_domain=target_domain)
        self.weight = weight

    def _score(self, estimator: Any, X: Any, y: np.ndarray | None, domains: Domains) -> float:
        labels, source = read_source_labels(self._source_labels(y), domains)
        rows = need_table(X, self.features, caller=type(self).__name__, purpose="to find neighbours")
        target = domains.target_rows
        predicted = estimator.predict(take_rows(X, target))
        agreement = neighborhood_agreement_score(rows[target], predicted, n_neighbors=self.n_neighbors)
        return agreement + self.weight * return_accuracy_score(rows[source], labels, rows[target], predicted)
