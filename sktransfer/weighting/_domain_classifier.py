"""Weights from a classifier that tells target rows from source rows."""

from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.utils import check_random_state

from sktransfer.base import BaseWeighter
from sktransfer.domains import Domains, take_rows
from sktransfer.utils._compat import EstimatorOf, Interval, StrOptions
from sktransfer.utils._deviations import ColumnScaler
from sktransfer.utils._missing import inner_complete_reason
from sktransfer.utils._seeds import set_random_states
from sktransfer.utils._sparse import inner_dense_reason
from sktransfer.weighting._common import check_rows_of, mean_weight

__all__ = ["DomainClassifierWeighter", "LogOddsCalibration"]

# Log-odds of probabilities of 0 and 1.
_MOST_LOG_ODDS = 30.0


class LogOddsCalibration:
    """A map from the log-odds of a classifier to those of the rows it was not fitted on.

    Parameters
    ----------
    log_odds : ndarray of shape (n_samples,)
        Log-odds of being a target row, of held-out rows of both domains.
    is_target : ndarray of bool of shape (n_samples,)
        What the rows are.
    method : {"sigmoid", "isotonic"}
        A rising line in the log-odds (Platt), or any rising function of them.
    """

    def __init__(self, log_odds: np.ndarray, is_target: np.ndarray, *, method: str) -> None:
        n_target, n_source = int(is_target.sum()), int((~is_target).sum())
        # Platt's targets: as if each domain had one row more on the other side. They keep the odds finite where the
        # domains do not overlap.
        low, high = 1.0 / (n_source + 2.0), (n_target + 1.0) / (n_target + 2.0)
        share = np.where(is_target, high, low)
        self.isotonic = None
        if method == "isotonic":
            self.isotonic = IsotonicRegression(y_min=low, y_max=high, out_of_bounds="clip").fit(log_odds, share)
        self.slope, self.offset = 0.0, float(np.log(n_target / n_source))
        spread = float(log_odds.std())
        if spread > 0.0:
            doubled = np.tile(log_odds / spread, 2)[:, np.newaxis]
            sides, weights = np.repeat([1, 0], len(share)), np.concatenate([share, 1.0 - share])
            line = LogisticRegression(C=1e6, max_iter=1000).fit(doubled, sides, sample_weight=weights)
            # A classifier that did worse than chance on held-out rows tells nothing; a falling line would turn it
            # round.
            if line.coef_[0, 0] > 0:
                self.slope, self.offset = float(line.coef_[0, 0]) / spread, float(line.intercept_[0])

    def __call__(self, log_odds: np.ndarray) -> np.ndarray:
        """Return calibrated log-odds, finite, of the shape of `log_odds`."""
        if self.isotonic is not None:
            return _log_odds(self.isotonic.predict(log_odds))
        return np.clip(self.slope * log_odds + self.offset, -_MOST_LOG_ODDS, _MOST_LOG_ODDS)


def _log_odds(probabilities: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore"):
        log_odds = np.log(probabilities) - np.log1p(-probabilities)
    return np.clip(log_odds, -_MOST_LOG_ODDS, _MOST_LOG_ODDS)


class DomainClassifierWeighter(BaseWeighter):
    """Weigh source rows by the odds that a classifier takes them for target rows [1]_.

    With p(x) the probability that a row at x is a target row, the density ratio of target to source is
    p(x) / (1 - p(x)) n_source / n_target. The probability of each source row comes from a classifier that was not
    fitted on it (cross-fitting), and is calibrated on all held-out rows. Labels are not used.

    Parameters
    ----------
    estimator : classifier or None, default=None
        Any classifier with ``predict_proba``, or with ``decision_function`` if `calibration` is not None. Missing
        values reach it where it takes them, and frames with categories as they are. None takes a logistic regression
        on standardised features (of a sparse matrix on scaled ones, whose means stay).
    cv : int, default=5
        Number of folds, at least 2; lowered to the number of rows of the smaller domain. Where that has one row only,
        nothing can be held out: one classifier is fitted on all rows and not calibrated.
    calibration : {"sigmoid", "isotonic"} or None, default="sigmoid"
        How held-out probabilities are calibrated: by a line in the log-odds, or by any rising function of them (for
        thousands of rows). None takes them as they are; they must be those of the rows as given then, without
        ``class_weight``.
    max_weight : float or None, default=None
        Largest weight, before all are divided by their mean; larger ones are cut. None cuts nothing.
    random_state : int, RandomState or None, default=None
        Seed of the folds, and of the classifier where its own `random_state` is None.
    target_domain : label or list of labels, default="target"
        Which labels of `sample_domain` are the target; all others are sources, taken together as one.

    Attributes
    ----------
    weights_ : ndarray of shape (n_source,)
        Weights of the source rows, in their order; their mean is one.
    estimators_ : list of classifier
        The classifiers of the folds. A new row gets the mean of their log-odds.
    scale_ : float
        What weights are divided by to have mean one.
    source_domains_ : list
        Names of the source domains.
    n_features_in_ : int
        Number of features seen in fit.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of features seen in fit, where all are strings.

    See Also
    --------
    proxy_a_distance : How well a classifier tells the domains apart.
    RuLSIFWeighter : The ratio fitted directly.

    Notes
    -----
    Because training rows are weighed by classifiers that have not seen them, :meth:`predict_weights` gives a training
    row a slightly different weight than ``weights_`` holds.

    References
    ----------
    .. [1] S. Bickel, M. Brueckner, T. Scheffer, "Discriminative Learning Under Covariate Shift", Journal of Machine
       Learning Research 10, 2009.

    Examples
    --------
    >>> from sktransfer.datasets import make_domain_shift
    >>> from sktransfer.weighting import DomainClassifierWeighter
    >>> X, y, sample_domain = make_domain_shift(random_state=0)
    >>> weighter = DomainClassifierWeighter(random_state=0).fit(X, sample_domain=sample_domain)
    >>> weighter.predict_weights(X[:3]).shape
    (3,)
    """

    _parameter_constraints: dict = {
        **BaseWeighter._parameter_constraints,
        "estimator": [EstimatorOf(("classifier",), ("predict_proba", "decision_function")), None],
        "cv": [Interval(Integral, 2, None, closed="left")],
        "calibration": [StrOptions({"sigmoid", "isotonic"}), None],
        "max_weight": [Interval(Real, 0, None, closed="neither"), None],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        estimator: Any = None,
        *,
        cv: int = 5,
        calibration: str | None = "sigmoid",
        max_weight: float | None = None,
        random_state: int | np.random.RandomState | None = None,
        target_domain: Any = "target",
    ) -> None:
        self.estimator = estimator
        self.cv = cv
        self.calibration = calibration
        self.max_weight = max_weight
        self.random_state = random_state
        self.target_domain = target_domain

    def _dense_reason(self) -> str | None:
        return inner_dense_reason(self.estimator)

    def _complete_reason(self) -> str | None:
        if self.estimator is None:
            return "its logistic regression does not; HistGradientBoostingClassifier() as estimator would"
        return inner_complete_reason(self.estimator)

    def _check_table(self, X: Any, *, reset: bool) -> Any:
        return check_rows_of(self, X, self.estimator, reset=reset)

    def _fit_rows(self, X: Any, domains: Domains, y: Any) -> None:
        is_target, rng = domains.is_target, check_random_state(self.random_state)
        self._balance_ = float(np.log(np.mean(~is_target) / np.mean(is_target)))
        folds = min(self.cv, int(is_target.sum()), int((~is_target).sum()))
        if folds < 2:
            self.estimators_, self._calibration_ = [self._fit_classifier(X, is_target, rng)], None
            log_odds = self._read_log_odds(self.estimators_[0], X)
        else:
            self.estimators_, log_odds = self._cross_fit(X, is_target, folds, rng)
            self._calibration_ = None
            if self.calibration is not None:
                self._calibration_ = LogOddsCalibration(log_odds, is_target, method=self.calibration)
        weights = self._weigh_log_odds(log_odds[~is_target])
        self.scale_ = mean_weight(weights, caller="DomainClassifierWeighter")
        self.weights_ = weights / self.scale_ if self.scale_ else np.ones(len(weights))

    def _cross_fit(self, X, is_target, n_splits, rng):
        splitter = StratifiedKFold(n_splits, shuffle=True, random_state=rng.randint(2**31 - 1))
        estimators, log_odds = [], np.empty(X.shape[0])
        for train, test in splitter.split(is_target, is_target):
            estimators.append(self._fit_classifier(take_rows(X, train), is_target[train], rng))
            log_odds[test] = self._read_log_odds(estimators[-1], take_rows(X, test))
        return estimators, log_odds

    def _fit_classifier(self, X, is_target, rng):
        if self.estimator is None:
            classifier = make_pipeline(ColumnScaler(), LogisticRegression(max_iter=1000))
        else:
            classifier = clone(self.estimator)
        return set_random_states(classifier, rng).fit(X, is_target.astype(int))

    def _read_log_odds(self, classifier: Any, X: np.ndarray) -> np.ndarray:
        if hasattr(classifier, "predict_proba"):
            return _log_odds(classifier.predict_proba(X)[:, 1])
        if self.calibration is None:
            raise ValueError(
                f"{type(classifier).__name__} has no predict_proba, and calibration=None cannot turn its "
                f"decision_function into probabilities; set calibration='sigmoid'."
            )
        return classifier.decision_function(X)

    def _weigh_log_odds(self, log_odds: np.ndarray) -> np.ndarray:
        if self._calibration_ is not None:
            log_odds = self._calibration_(log_odds)
        weights = np.exp(log_odds + self._balance_)
        return weights if self.max_weight is None else np.minimum(weights, self.max_weight)

    def _weigh_rows(self, X: np.ndarray) -> np.ndarray:
        if not self.scale_:
            return np.ones(X.shape[0])
        log_odds = np.mean([self._read_log_odds(classifier, X) for classifier in self.estimators_], axis=0)
        return self._weigh_log_odds(log_odds) / self.scale_
