"""Prediction sets of classes that hold the truth as often as promised, in the target domain."""

from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.linear_model import LogisticRegression
from sklearn.utils import check_random_state

from sktransfer.base import LabelledScoreMixin
from sktransfer.domains import check_class_labels, holds_minus_one
from sktransfer.utils._compat import EstimatorOf, StrOptions, fit_context
from sktransfer.utils._threads import small_algebra
from sktransfer.weighting._conformal import adaptive_scores
from sktransfer.weighting._conformal_base import ConformalBase

__all__ = ["WeightedConformalClassifier"]

# The same probability of the same row may come out of another batch with other last digits.
_DIGITS = 1e-12


class WeightedConformalClassifier(LabelledScoreMixin, ClassifierMixin, ConformalBase):
    """Predict sets of classes that hold the true one as often as promised, for target rows.

    Source rows are split: some teach the classifier, the others calibrate it. A score says how little a class fits a
    row, and the set of a row holds the classes whose score is at most a quantile of the scores of the calibration rows
    (split conformal prediction). Where source and target differ, calibration rows count by their weights, and the row
    to predict by its own weight among them:

    - covariate shift: with a weighter of rows, the quantile is one of the scores weighed by density ratios, the row to
      predict among them [1]_; it differs from row to row, and is infinite (the set is full) for rows that are so unlike
      the source that nothing can be said;
    - label shift: with :class:`LabelShiftWeighter` rows weigh by class, and there is one quantile for each class [2]_;
    - a few target labels: with ``use_target_labels=True``, target rows that have one calibrate.

    Parameters
    ----------
    estimator : classifier or None, default=None
        Any classifier with ``predict_proba``, those that take `sample_domain`, such as :class:`AdaptedClassifier`,
        among them: they see the target rows without their labels. As ``FrozenEstimator(fitted)``, it is used as it is,
        and all source rows calibrate: give rows that it was not fitted on. None takes
        ``LogisticRegression(max_iter=1000)``.
    weighter : weighter or None, default=None
        Weighs rows by how much more frequent they, or their classes, are in the target. It is fitted on all source rows
        and on the target rows, or is ``FrozenEstimator(fitted)``. None takes ``DomainClassifierWeighter()`` where there
        are target rows, and no weights where there are none, or where ``use_target_labels=True``.
    confidence_level : float, default=0.9
        Share of the rows whose set holds the true class, between 0 and 1.
    method : {"lac", "aps"}, default="lac"
        The score: one minus the probability of the class (sets are as small as can be in the mean, and may be empty),
        or the sum of the probabilities down to that of the class ("adaptive": sets are large where the classifier is
        unsure [3]_).
    randomized : bool, default=False
        Whether the last class of an adaptive set is put in or left out by chance, so that coverage is exact and not
        more. Draws come from `random_state`, row by row in the order of the call. For "aps".
    use_target_labels : bool, default=False
        Whether target rows that have a label calibrate; they do not teach. Without a weighter they do so alone, with no
        assumption about the shift, and all source rows teach. With one, calibration rows of the source join them, all
        weighed as rows of a mixture of both domains, so that no weight is above one over the share of target rows.
    calibration_size : float or int, default=0.5
        Share or number of source rows that calibrate, taken class by class. Without effect where none teach or none
        calibrate.
    random_state : int, RandomState or None, default=None
        Seed of the split and of chance in sets, and of estimator and weighter where their own is None.
    target_domain : label or list of labels, default="target"
        Which labels of `sample_domain` are the target; all others are sources, taken together as one. Handed to the
        weighter too.

    Attributes
    ----------
    estimator_ : classifier
        The fitted classifier.
    weighter_ : weighter or None
        The fitted weighter.
    classes_ : ndarray of shape (n_classes,)
        Class labels.
    calibration_rows_ : ndarray of int of shape (n_calibration,)
        Which rows of X calibrate: those of the source, then those of the target.
    calibration_scores_ : ndarray of shape (n_calibration,)
        Their scores; infinite where the classifier does not know the class.
    calibration_weights_ : ndarray of shape (n_calibration,)
        Their weights.
    effective_sample_size_ : float
        How many calibration rows of equal weight these are worth.
    report_ : str
        What was done, what it assumes, whether the coverage can be promised, and how large the sets of the unlabelled
        target rows of ``fit`` are, how many of them empty or full.
    minus_one_is_missing_ : bool
        Whether -1 in integer labels means "no label" in :meth:`score`; not where a source label is -1.
    n_features_in_ : int
        Number of features seen in fit.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of features seen in fit, where all are strings.

    See Also
    --------
    WeightedConformalRegressor : Intervals of numbers.
    CoverageDisplay : Draws coverage and size of sets.

    Notes
    -----
    The promise is for the mean over rows and over calibrations, not for every class or every kind of row. Weights are
    estimates, and as good as these: in many dimensions, where the domains hardly overlap, few rows carry all weight,
    ``fit`` warns, and some target labels are worth more. Ratios are not clipped here; a weighter that clips
    (``DomainClassifierWeighter(max_weight=)``, ``KMMWeighter(B=)``) gives smaller sets, and a promise for a target
    nearer to the source. A weighter may take the target rows that it was fitted on for more typical of the target than
    new ones; their sets are then larger than they need be.

    Calibration rows are scored as if they were target rows, since the score must be one function for all; an estimator
    that maps source and target rows differently maps them by the target's map.

    References
    ----------
    .. [1] R. J. Tibshirani, R. Foygel Barber, E. J. Candes, A. Ramdas, "Conformal Prediction Under Covariate Shift",
       NeurIPS 2019.
    .. [2] A. Podkopaev, A. Ramdas, "Distribution-Free Uncertainty Quantification for Classification Under Label Shift",
       UAI 2021.
    .. [3] Y. Romano, M. Sesia, E. J. Candes, "Classification with Valid and Adaptive Coverage", NeurIPS 2020.

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sktransfer.datasets import make_domain_shift
    >>> from sktransfer.weighting import WeightedConformalClassifier
    >>> X, y, sample_domain = make_domain_shift(600, 600, shift="covariate", strength=0.3, random_state=0)
    >>> model = WeightedConformalClassifier(LogisticRegression(), random_state=0)
    >>> sets = model.fit(X, y, sample_domain=sample_domain).predict_set(X[sample_domain == "target"])
    >>> sets.shape
    (600, 2)
    >>> sets.dtype
    dtype('bool')
    """

    _everything = "full sets"

    _parameter_constraints: dict = {
        **ConformalBase._parameter_constraints,
        "estimator": [
            EstimatorOf(("classifier",), ("predict_proba",), otherwise="WeightedConformalRegressor takes regressors"),
            None,
        ],
        "method": [StrOptions({"aps", "lac"})],
        "randomized": ["boolean"],
    }

    def __init__(
        self,
        estimator: Any = None,
        weighter: Any = None,
        *,
        confidence_level: float = 0.9,
        method: str = "lac",
        randomized: bool = False,
        use_target_labels: bool = False,
        calibration_size: float | int = 0.5,
        random_state: int | np.random.RandomState | None = None,
        target_domain: Any = "target",
    ) -> None:
        self.estimator = estimator
        self.weighter = weighter
        self.confidence_level = confidence_level
        self.method = method
        self.randomized = randomized
        self.use_target_labels = use_target_labels
        self.calibration_size = calibration_size
        self.random_state = random_state
        self.target_domain = target_domain

    @fit_context(prefer_skip_nested_validation=False)
    @small_algebra
    def fit(self, X: Any, y: Any, *, sample_domain: Any = None) -> "WeightedConformalClassifier":
        """Fit the classifier on some source rows and calibrate it on the others, or on labelled target rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows of all domains; whatever estimator and weighter take.
        y : array-like of shape (n_samples,)
            Labels. Those of target rows are not read, unless ``use_target_labels=True``. Without `sample_domain`, rows
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

    def _default_estimator(self) -> LogisticRegression:
        return LogisticRegression(max_iter=1000)

    def _check_labels(self, labels: np.ndarray) -> None:
        check_class_labels(labels)

    @staticmethod
    def _holds_minus_one(labels: np.ndarray) -> bool:
        return holds_minus_one(labels)

    def _strata(self, labels: np.ndarray) -> np.ndarray:
        return np.unique(labels, return_inverse=True)[1]

    def _score_rows(self, X: Any, labels: np.ndarray, rng: np.random.RandomState) -> np.ndarray:
        u = rng.uniform(size=len(labels)) if self._draws() else None
        self._seed_ = int(rng.randint(2**31 - 1)) if self._draws() else 0
        self.classes_ = self.estimator_.classes_
        column = {label: i for i, label in enumerate(self.classes_.tolist())}
        scores = self._scores(self.estimator_.predict_proba(X), u)
        scores = np.column_stack([scores, np.full(len(scores), np.inf)])  # classes that it does not know
        return scores[np.arange(len(scores)), [column.get(label, -1) for label in labels.tolist()]]

    def _draws(self) -> bool:
        return self.method == "aps" and self.randomized

    def _scores(self, proba: np.ndarray, u: np.ndarray | None) -> np.ndarray:
        proba = np.asarray(proba, dtype=np.float64)
        return 1.0 - proba if self.method == "lac" else adaptive_scores(proba, u)

    def _say_target(self, X: Any) -> str:
        sizes = self._sets(X, None).sum(axis=1)
        n_classes = len(self.classes_)
        return (
            f"Of {len(sizes)} unlabelled target rows of fit, sets hold {sizes.mean():.2f} of {n_classes} classes in "
            f"the mean, {np.mean(sizes == 0):.0%} none and {np.mean(sizes == n_classes):.0%} all."
        )

    def _sets(self, X: Any, confidence_level: float | None) -> np.ndarray:
        proba = self.estimator_.predict_proba(X)
        u = check_random_state(self._seed_).uniform(size=len(proba)) if self._draws() else None
        # Not "at most": a row without probabilities (NaN) can be of any class.
        return ~(self._scores(proba, u) > self._thresholds(X, confidence_level) + _DIGITS)

    @small_algebra
    def predict_set(self, X: Any, *, confidence_level: float | None = None) -> np.ndarray:
        """Predict the set of classes of each row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Target rows.
        confidence_level : float or None, default=None
            Share of the rows whose set holds the true class; None takes that of the estimator. Nothing is fitted anew.

        Returns
        -------
        sets : ndarray of bool of shape (n_samples, n_classes)
            Whether the set holds the class, in the order of ``classes_``.
        """
        self._check_predicting()
        return self._sets(X, confidence_level)

    @small_algebra
    def predict(self, X: Any) -> np.ndarray:
        """Predict one class for each row, as the classifier does.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        y_pred : ndarray of shape (n_samples,)
            Class labels.
        """
        self._check_predicting()
        return self.estimator_.predict(X)

    @small_algebra
    def predict_proba(self, X: Any) -> np.ndarray:
        """Predict class probabilities, as the classifier does.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        proba : ndarray of shape (n_samples, n_classes)
            As the classifier returns them.
        """
        self._check_predicting()
        return self.estimator_.predict_proba(X)
