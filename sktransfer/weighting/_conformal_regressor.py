"""Intervals of numbers that hold the truth as often as promised, in the target domain."""

from typing import Any

import numpy as np
from sklearn.base import RegressorMixin, clone
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import Ridge
from sklearn.model_selection import KFold

from sktransfer.base import LabelledScoreMixin
from sktransfer.domains import check_number_labels, take_rows
from sktransfer.utils._compat import EstimatorOf, fit_context
from sktransfer.utils._seeds import set_random_states
from sktransfer.utils._threads import small_algebra
from sktransfer.weighting._conformal_base import ConformalBase, Parts
from sktransfer.weighting._label_shift import LabelShiftWeighter

__all__ = ["WeightedConformalRegressor"]

_FOLDS = 5


class WeightedConformalRegressor(LabelledScoreMixin, RegressorMixin, ConformalBase):
    """Predict intervals that hold the true number as often as promised, for target rows.

    Source rows are split: some teach the regressor, the others calibrate it. The interval of a row is its prediction,
    more or less a quantile of the absolute residuals of the calibration rows (split conformal prediction). Where source
    and target differ by where rows lie (covariate shift), the quantile is one of residuals weighed by density ratios,
    the row to predict with its own weight among them [1]_; it differs from row to row, and is infinite for rows that
    are so unlike the source that nothing can be said. With ``use_target_labels=True``, target rows that have a label
    calibrate.

    Parameters
    ----------
    estimator : regressor or None, default=None
        Any regressor of one output, those that take `sample_domain`, such as :class:`AdaptedRegressor`, among them:
        they see the target rows without their labels. As ``FrozenEstimator(fitted)``, it is used as it is, and all
        source rows calibrate: give rows that it was not fitted on. None takes ``Ridge()``.
    weighter : weighter or None, default=None
        Weighs rows by how much more frequent they are in the target. It is fitted on all source rows and on the target
        rows, or is ``FrozenEstimator(fitted)``. None takes ``DomainClassifierWeighter()`` where there are target rows,
        and no weights where there are none, or where ``use_target_labels=True``.
    confidence_level : float, default=0.9
        Share of the rows whose interval holds the true number, between 0 and 1.
    spread_estimator : regressor or None, default=None
        Predicts the size of the residuals from the row, so that intervals are wide where the regressor errs much: the
        score is the residual over that size [2]_. It is fitted on residuals of rows that the regressor was not fitted
        on, in five folds of those that teach. None takes one width for all rows of one weight.
    use_target_labels : bool, default=False
        Whether target rows that have a label calibrate; they do not teach. Without a weighter they do so alone, with no
        assumption about the shift, and all source rows teach. With one, calibration rows of the source join them, all
        weighed as rows of a mixture of both domains, so that no weight is above one over the share of target rows.
    calibration_size : float or int, default=0.5
        Share or number of source rows that calibrate. Without effect where none teach or none calibrate.
    random_state : int, RandomState or None, default=None
        Seed of the split, and of estimators and weighter where their own is None.
    target_domain : label or list of labels, default="target"
        Which labels of `sample_domain` are the target; all others are sources, taken together as one. Handed to the
        weighter too.

    Attributes
    ----------
    estimator_ : regressor
        The fitted regressor.
    spread_estimator_ : regressor or None
        The fitted regressor of the size of residuals.
    weighter_ : weighter or None
        The fitted weighter.
    calibration_rows_ : ndarray of int of shape (n_calibration,)
        Which rows of X calibrate: those of the source, then those of the target.
    calibration_scores_ : ndarray of shape (n_calibration,)
        Their scores: absolute residuals, over the spread where there is one.
    calibration_weights_ : ndarray of shape (n_calibration,)
        Their weights.
    effective_sample_size_ : float
        How many calibration rows of equal weight these are worth.
    least_spread_ : float
        What spreads are raised to where they are predicted to be less: a hundredth of the mean size of the residuals.
    report_ : str
        What was done, what it assumes, whether the coverage can be promised, and how wide the intervals of the
        unlabelled target rows of ``fit`` are, how many of them infinite.
    minus_one_is_missing_ : bool
        Whether -1 in integer y means "no label" in :meth:`score`; not where a source label is negative.
    n_features_in_ : int
        Number of features seen in fit.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of features seen in fit, where all are strings.

    See Also
    --------
    WeightedConformalClassifier : Sets of classes.
    CoverageDisplay : Draws coverage and width of intervals.

    Notes
    -----
    The promise is for the mean over rows and over calibrations. Weights are estimates, and as good as these: where the
    domains hardly overlap, few rows carry all weight, ``fit`` warns, and some target labels are worth more. Ratios are
    not clipped here; a weighter that clips (``DomainClassifierWeighter(max_weight=)``, ``KMMWeighter(B=)``) gives
    narrower intervals and a promise for a target nearer to the source. Calibration rows are predicted as if they were
    target rows, since the score must be one function for all.

    References
    ----------
    .. [1] R. J. Tibshirani, R. Foygel Barber, E. J. Candes, A. Ramdas, "Conformal Prediction Under Covariate Shift",
       NeurIPS 2019.
    .. [2] J. Lei, M. G'Sell, A. Rinaldo, R. J. Tibshirani, L. Wasserman, "Distribution-Free Predictive Inference for
       Regression", Journal of the American Statistical Association 113, 2018.

    Examples
    --------
    >>> from sklearn.linear_model import Ridge
    >>> from sktransfer.datasets import make_domain_shift
    >>> from sktransfer.weighting import WeightedConformalRegressor
    >>> X, y, sample_domain = make_domain_shift(
    ...     600, 600, shift="covariate", strength=0.3, n_classes=None, random_state=0
    ... )
    >>> model = WeightedConformalRegressor(Ridge(), random_state=0).fit(X, y, sample_domain=sample_domain)
    >>> model.predict_interval(X[sample_domain == "target"]).shape
    (600, 2)
    """

    _everything = "infinite intervals"

    _parameter_constraints: dict = {
        **ConformalBase._parameter_constraints,
        "estimator": [EstimatorOf(("regressor",), otherwise="WeightedConformalClassifier takes classifiers"), None],
        "spread_estimator": [EstimatorOf(("regressor",)), None],
    }

    def __init__(
        self,
        estimator: Any = None,
        weighter: Any = None,
        *,
        confidence_level: float = 0.9,
        spread_estimator: Any = None,
        use_target_labels: bool = False,
        calibration_size: float | int = 0.5,
        random_state: int | np.random.RandomState | None = None,
        target_domain: Any = "target",
    ) -> None:
        self.estimator = estimator
        self.weighter = weighter
        self.confidence_level = confidence_level
        self.spread_estimator = spread_estimator
        self.use_target_labels = use_target_labels
        self.calibration_size = calibration_size
        self.random_state = random_state
        self.target_domain = target_domain

    @fit_context(prefer_skip_nested_validation=False)
    @small_algebra
    def fit(self, X: Any, y: Any, *, sample_domain: Any = None) -> "WeightedConformalRegressor":
        """Fit the regressor on some source rows and calibrate it on the others, or on labelled target rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows of all domains; whatever estimator and weighter take.
        y : array-like of shape (n_samples,)
            Numbers. Those of target rows are not read, unless ``use_target_labels=True``. Without `sample_domain`, rows
            with a missing label (NaN, None, or -1 for integers) are the target.
        sample_domain : array-like of shape (n_samples,) or None, default=None
            Domain label of each row; rows whose label is in `target_domain` are the target, all others the source.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        DomainError
            If there is no source row, if a source row has no label, or if there is no target row where there must be
            one: for a weighter to fit, or labelled for ``use_target_labels=True``.
        ValueError
            If there are too few rows to teach and to calibrate, or weights are none.
        """
        self._fit_parts(X, y, sample_domain)
        return self

    def _default_estimator(self) -> Ridge:
        return Ridge()

    def _check_labels(self, labels: np.ndarray) -> None:
        check_number_labels(labels)

    @staticmethod
    def _holds_minus_one(labels: np.ndarray) -> bool:
        # Signed numbers: -1 is as good a value as the others.
        return bool((labels < 0).any())

    def _check_weighter(self, weighter: Any) -> None:
        if isinstance(weighter, LabelShiftWeighter):
            raise ValueError(
                "weighter=LabelShiftWeighter weighs classes, and numbers have none. Pass a weighter of rows, e.g. "
                "DomainClassifierWeighter()."
            )

    def _learns(self) -> bool:
        spread = self.spread_estimator
        return super()._learns() or not (spread is None or isinstance(spread, FrozenEstimator))

    def _fit_estimator(self, X: Any, parts: Parts, rng: np.random.RandomState) -> None:
        super()._fit_estimator(X, parts, rng)
        self.spread_estimator_, self.least_spread_ = None, 0.0
        if self.spread_estimator is None:
            return
        self.spread_estimator_ = clone(self.spread_estimator)
        rows = parts.train if len(parts.train) else parts.source
        residuals = self._held_out_residuals(X, parts, rows, rng)
        self.least_spread_ = max(0.01 * float(residuals.mean()), np.finfo(np.float64).tiny)
        if not isinstance(self.spread_estimator_, FrozenEstimator):
            set_random_states(self.spread_estimator_, rng).fit(take_rows(X, rows), residuals)

    def _held_out_residuals(self, X: Any, parts: Parts, rows: np.ndarray, rng: np.random.RandomState) -> np.ndarray:
        """Return absolute residuals of source rows, by regressors that were not fitted on them if a spread is."""
        residuals = np.empty(len(rows))
        labels = parts.labels[rows].astype(np.float64)
        if isinstance(self.estimator_, FrozenEstimator) or isinstance(self.spread_estimator_, FrozenEstimator):
            return np.abs(labels - self.estimator_.predict(take_rows(X, rows)))
        if len(rows) < 2:
            raise ValueError(
                f"spread_estimator learns from residuals of rows held out, and {len(rows)} row of X teaches. Give more "
                "rows, or leave spread_estimator=None."
            )
        folds = KFold(min(_FOLDS, len(rows)), shuffle=True, random_state=rng.randint(2**31 - 1))
        for kept, left in folds.split(rows):
            fitted = self._fit_one(X, parts, rows[kept], rng)
            residuals[left] = np.abs(labels[left] - fitted.predict(take_rows(X, rows[left])))
        return residuals

    def _spread(self, X: Any) -> np.ndarray | float:
        if self.spread_estimator_ is None:
            return 1.0
        return np.maximum(self.spread_estimator_.predict(X), self.least_spread_)

    def _score_rows(self, X: Any, labels: np.ndarray, rng: np.random.RandomState) -> np.ndarray:
        return np.abs(labels.astype(np.float64) - self.estimator_.predict(X)) / self._spread(X)

    def _say_target(self, X: Any) -> str:
        interval = self._intervals(X, None)
        infinite = np.isinf(interval[:, 1])
        text = f"Of {len(interval)} unlabelled target rows of fit, intervals are infinite for {infinite.mean():.0%}"
        if infinite.all():
            return f"{text}."
        return f"{text}; the others are {np.diff(interval[~infinite]).mean():.3g} wide in the mean."

    def _intervals(self, X: Any, confidence_level: float | None) -> np.ndarray:
        predicted = self.estimator_.predict(X)
        half = self._thresholds(X, confidence_level)[:, 0] * self._spread(X)
        return np.column_stack([predicted - half, predicted + half])

    @small_algebra
    def predict_interval(self, X: Any, *, confidence_level: float | None = None) -> np.ndarray:
        """Predict the interval of each row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Target rows.
        confidence_level : float or None, default=None
            Share of the rows whose interval holds the true number; None takes that of the estimator. Nothing is fitted
            anew.

        Returns
        -------
        intervals : ndarray of shape (n_samples, 2)
            Lower and upper end; -inf and inf where nothing can be said.
        """
        self._check_predicting()
        return self._intervals(X, confidence_level)

    @small_algebra
    def predict(self, X: Any) -> np.ndarray:
        """Predict a number for each row, as the regressor does.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        y_pred : ndarray of shape (n_samples,)
            Numbers.
        """
        self._check_predicting()
        return self.estimator_.predict(X)
