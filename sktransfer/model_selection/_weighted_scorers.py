"""Scorers that weigh the errors on source rows by how much likelier each row is in the target."""

from abc import abstractmethod
from collections.abc import Callable
from numbers import Real
from typing import Any

import numpy as np
from sklearn.base import is_regressor
from sklearn.metrics import get_scorer
from sklearn.pipeline import Pipeline

from sktransfer.domains import Domains, read_source_labels, take_rows
from sktransfer.model_selection._responses import DomainView, call_by_domain
from sktransfer.model_selection._scorers import DomainScorer
from sktransfer.utils._compat import HasMethods, Interval, StrOptions
from sktransfer.utils._features import need_table
from sktransfer.weighting import DomainClassifierWeighter

__all__ = ["DEVScorer", "ImportanceWeightedScorer", "control_variate_risk"]


def control_variate_risk(losses: np.ndarray, weights: np.ndarray) -> float:
    """Return the weighted risk, its variance lowered by what the mean weight misses of one.

    Parameters
    ----------
    losses : ndarray of shape (n_source,)
        Losses of the source rows.
    weights : ndarray of shape (n_source,)
        Density ratios of target to source at these rows, whose expectation is one.

    Returns
    -------
    risk : float
        mean(w l) + eta (mean(w) - 1) with eta = -Cov(w l, w) / Var(w).
    """
    weighted = weights * losses
    deviations = weights - weights.mean()
    variance = float(deviations @ deviations)
    eta = -float(deviations @ weighted) / variance if variance > 0 else 0.0
    return float(weighted.mean()) + eta * float(weights.mean() - 1.0)


class _WeightedScorer(DomainScorer):
    """Weighs source rows; a subclass writes `_representation` and `_score_weighted`."""

    _parameter_constraints: dict = {
        **DomainScorer._parameter_constraints,
        "features": [HasMethods(["fit", "transform"]), callable, None],
        "max_weight": [Interval(Real, 0, None, closed="neither"), None],
        "random_state": ["random_state"],
    }

    def _score(self, estimator: Any, X: Any, y: np.ndarray | None, domains: Domains) -> float:
        labels, rows = read_source_labels(self._source_labels(y), domains)
        weighter = DomainClassifierWeighter(max_weight=self.max_weight, random_state=self.random_state)
        weighter.fit(
            self._representation(estimator, X, domains),
            sample_domain=np.where(domains.is_target, "target", "source"),
        )
        view = DomainView(estimator, domains.names[rows])
        # The weighter divides by scale_, so that its weights have mean one.
        return self._score_weighted(view, take_rows(X, rows), labels, weighter.weights_ * weighter.scale_)

    def _representation(self, estimator: Any, X: Any, domains: Domains) -> np.ndarray:
        """Return the rows of numbers that the density ratio is of."""
        return self._table(X, self.features)

    def _table(self, X: Any, features: Any = None) -> np.ndarray:
        purpose = "to estimate how much likelier each source row is in the target"
        return need_table(X, features, caller=type(self).__name__, purpose=purpose, random_state=self.random_state)

    @abstractmethod
    def _score_weighted(self, view: DomainView, X: Any, labels: np.ndarray, weights: np.ndarray) -> float:
        """Return the score of source rows; the weights are density ratios as estimated, not normalised."""


class ImportanceWeightedScorer(_WeightedScorer):
    """Score on labelled source rows, weighted by how much likelier each row is in the target [1]_.

    Called as ``scorer(estimator, X, y, sample_domain=...)``. The ratio of the densities of target and source is
    estimated on the rows of the call by :class:`DomainClassifierWeighter`: a logistic regression tells the domains
    apart, each row is weighed by one that was not fitted on it. The score is divided by the sum of the weights
    (self-normalised). Labels of target rows are not read.

    Parameters
    ----------
    scoring : str or callable, default="accuracy"
        A scorer of scikit-learn that takes `sample_weight`, by name or as an object: "balanced_accuracy",
        "neg_log_loss", "r2", ...
    features : transformer, callable or None, default=None
        Makes the rows of numbers that the domains are told apart by. A fitted transformer is taken as it is; of any
        other a clone is fitted to the rows of each call, without labels. A callable is given the rows. None takes the
        rows themselves, which must be a numeric table then.
    max_weight : float or None, default=20.0
        Largest density ratio; larger ones are cut. None cuts nothing.
    random_state : int, RandomState or None, default=0
        Seed of the folds; an integer gives every candidate the same weights.
    target_domain : label or list of labels, default="target"
        Which labels of `sample_domain` are the target; the same as that of the estimator.

    See Also
    --------
    DEVScorer : In the estimator's own representation, with less variance.
    DomainClassifierWeighter : The weights.

    Notes
    -----
    Right under covariate shift: where the label depends on the row in the same way in both domains, and target rows lie
    where there are source rows. Source rows are predicted as source rows by estimators that tell them from target rows.

    References
    ----------
    .. [1] M. Sugiyama, M. Krauledat, K.-R. Mueller, "Covariate Shift Adaptation by Importance Weighted Cross
       Validation", Journal of Machine Learning Research 8, 2007.

    Examples
    --------
    >>> from sktransfer import AdaptedClassifier, ImportanceWeightedScorer, make_domain_shift
    >>> X, y, sample_domain = make_domain_shift(random_state=0)
    >>> model = AdaptedClassifier().fit(X, y, sample_domain=sample_domain)
    >>> 0 <= ImportanceWeightedScorer("accuracy")(model, X, y, sample_domain=sample_domain) <= 1
    True
    """

    _parameter_constraints: dict = {**_WeightedScorer._parameter_constraints, "scoring": [str, callable]}

    def __init__(
        self,
        scoring: str | Callable = "accuracy",
        *,
        features: Any = None,
        max_weight: float | None = 20.0,
        random_state: int | np.random.RandomState | None = 0,
        target_domain: Any = "target",
    ) -> None:
        self.scoring = scoring
        self.features = features
        self.max_weight = max_weight
        self.random_state = random_state
        self.target_domain = target_domain

    def _score_weighted(self, view: DomainView, X: Any, labels: np.ndarray, weights: np.ndarray) -> float:
        scorer = get_scorer(self.scoring)
        try:
            return scorer(view, X, labels, sample_weight=weights)
        except TypeError as error:
            if "sample_weight" not in str(error):
                raise
            raise ValueError(
                f"scoring={self.scoring!r} takes no sample_weight, by which source rows are weighted; take another one."
            ) from error


class DEVScorer(_WeightedScorer):
    """Score by deep embedded validation: weighted errors of source rows with a control variate [1]_.

    Called as ``scorer(estimator, X, y, sample_domain=...)``. With w the density ratio of target to source in the
    representation of the estimator, as :class:`DomainClassifierWeighter` estimates it on the rows of the call, and l
    the losses of the source rows, the score is minus

        mean(w l) + eta (mean(w) - 1),    eta = -Cov(w l, w) / Var(w).

    Labels of target rows are not read.

    Parameters
    ----------
    loss : {"auto", "zero_one", "log", "squared"}, default="auto"
        Loss of a row: whether its class is wrong, minus the logarithm of the probability of its class, or the squared
        error. "auto" takes "squared" for regressors and "zero_one" for all others.
    features : transformer, callable or None, default=None
        Makes the representation, as in :class:`ImportanceWeightedScorer`. None takes the estimator's own: what its
        ``transform`` gives, or in a pipeline the steps before the last; where there is neither, the rows themselves.
    max_weight : float or None, default=20.0
        Largest density ratio; larger ones are cut. None cuts nothing.
    random_state : int, RandomState or None, default=0
        Seed of the folds.
    target_domain : label or list of labels, default="target"
        Which labels of `sample_domain` are the target; the same as that of the estimator.

    See Also
    --------
    ImportanceWeightedScorer : Any metric, and the same weights for all candidates.

    Notes
    -----
    An adapter that mixes the domains perfectly has w = 1, and its score is minus the source error: DEV sees how well
    the domains mix, not whether the classes of one came to lie on those of the other. The value may exceed the range of
    the loss.

    References
    ----------
    .. [1] K. You, X. Wang, M. Long, M. I. Jordan, "Towards Accurate Model Selection in Deep Unsupervised Domain
       Adaptation", ICML 2019.

    Examples
    --------
    >>> from sktransfer import AdaptedClassifier, DEVScorer, make_domain_shift
    >>> X, y, sample_domain = make_domain_shift(random_state=0)
    >>> model = AdaptedClassifier().fit(X, y, sample_domain=sample_domain)
    >>> DEVScorer()(model, X, y, sample_domain=sample_domain) < 0
    True
    """

    _parameter_constraints: dict = {
        **_WeightedScorer._parameter_constraints,
        "loss": [StrOptions({"auto", "zero_one", "log", "squared"})],
    }

    def __init__(
        self,
        loss: str = "auto",
        *,
        features: Any = None,
        max_weight: float | None = 20.0,
        random_state: int | np.random.RandomState | None = 0,
        target_domain: Any = "target",
    ) -> None:
        self.loss = loss
        self.features = features
        self.max_weight = max_weight
        self.random_state = random_state
        self.target_domain = target_domain

    def _representation(self, estimator: Any, X: Any, domains: Domains) -> np.ndarray:
        if self.features is None:
            estimator = getattr(estimator, "best_estimator_", estimator)
            if not hasattr(estimator, "transform") and isinstance(estimator, Pipeline) and len(estimator) > 1:
                estimator = estimator[:-1]
            if hasattr(estimator, "transform"):
                rows = call_by_domain(estimator, "transform", X, domains.names)
                return self._table(rows)
        return super()._representation(estimator, X, domains)

    def _score_weighted(self, view: DomainView, X: Any, labels: np.ndarray, weights: np.ndarray) -> float:
        return -control_variate_risk(self._losses(view, X, labels), weights)

    def _losses(self, view: DomainView, X: Any, labels: np.ndarray) -> np.ndarray:
        loss = self.loss
        if loss == "auto":
            loss = "squared" if is_regressor(view) else "zero_one"
        if loss == "zero_one":
            return (np.asarray(view.predict(X)) != labels).astype(np.float64)
        if loss == "squared":
            return (np.asarray(view.predict(X), dtype=np.float64).ravel() - labels) ** 2
        proba = np.asarray(view.predict_proba(X), dtype=np.float64)
        # A class that the estimator has never seen has no probability.
        hits = np.asarray(view.classes_)[np.newaxis, :] == labels[:, np.newaxis]
        return -np.log(np.maximum((proba * hits).sum(axis=1), np.finfo(np.float64).eps))
