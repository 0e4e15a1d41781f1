"""Score by whether predictions follow the neighbourhoods of the target."""

from numbers import Integral
from typing import Any

import numpy as np

from sktransfer.metrics import neighborhood_agreement_score
from sktransfer.model_selection._scorers import DomainScorer
from sktransfer.utils._compat import HasMethods, Interval
from sktransfer.utils._domains import Domains
from sktransfer.utils._features import need_table
from sktransfer.utils._stacking import take_rows

__all__ = ["NeighborhoodAgreementScorer"]


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
    transfer_evidence : Two models compared by this and by the way back.
    InformationMaximizationScorer : Certain and spread predictions.

    Notes
    -----
    Over classical adapters on matched, partial and mismatched domains it chose best of all the scorers here
    (benchmarks/accuracy/label_free_selection.md).

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
