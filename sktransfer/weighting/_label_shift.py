"""Weights for target shift: classes that are more or less frequent in the target."""

from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.utils import assert_all_finite, check_random_state
from sklearn.utils.multiclass import check_classification_targets

from sktransfer.base import BaseWeighter
from sktransfer.domains import Domains, as_labels, check_length, read_source_labels, take_rows
from sktransfer.metrics import (
    class_mean_products,
    class_weights_from_confusion,
    class_weights_from_means,
    cross_fit_confusion,
    predict_class_shares,
)
from sktransfer.utils._compat import EstimatorOf, Interval, StrOptions
from sktransfer.utils._cost import announce, pair_seconds
from sktransfer.utils._kernels import resolve_gamma
from sktransfer.utils._missing import inner_complete_reason
from sktransfer.utils._sparse import inner_dense_reason
from sktransfer.utils._threads import small_algebra
from sktransfer.weighting._common import check_rows_of, nearest_rows

__all__ = ["LabelShiftWeighter"]


class LabelShiftWeighter(BaseWeighter):
    """Weigh source rows by how much more frequent their class is in the target.

    For target shift (label shift): classes look the same in both domains, but their frequencies differ. Reads source
    labels; labels of target rows are not read. There are two methods.

    "confusion" [1]_: with C_ij the share of source rows that a classifier takes for class i and that are of class j,
    counted on rows it was not fitted on, and m_i the share of target rows that it takes for class i, the weights of the
    classes are w = C^-1 m. The classifier need not be good or calibrated, only better than chance.

    "kernel" [2]_: with the share p_c and the kernel mean mu_c of each class in the source, and the kernel mean mu_t of
    the target, the weights of the classes bring the means together:

        min |sum_c w_c p_c mu_c - mu_t|^2  subject to  w >= 0 and sum_c w_c p_c = 1.

    It needs no classifier. In [2]_ weights are a function of y in the space of a kernel on labels; classes have one
    value each, so that all such kernels lead to these weights.

    Parameters
    ----------
    estimator : classifier or None, default=None
        Any classifier, for "confusion". Missing values reach it where it takes them, and frames with categories as
        they are. None takes a logistic regression on standardised features.
    method : {"confusion", "kernel"}, default="confusion"
        By a classifier or by kernel means.
    cv : int, default=5
        Number of folds of the source rows, at least 2; lowered to the number of rows of the rarest class. Where that
        has one row, the confusion is counted on the rows of the fit. For "confusion".
    soft : bool, default=False
        Whether predicted probabilities are summed instead of predicted classes, which takes fewer rows. For
        "confusion".
    kernel : {"rbf", "linear", "poly"}, default="rbf"
        Kernel, for "kernel". The linear one compares means only, and tells no more classes apart than there are
        features and one.
    gamma : float or None, default=None
        Coefficient of the RBF kernel exp(-gamma |x - y|^2), in units of one over squared feature units, or of the
        polynomial kernel (gamma x'y + coef0)^degree. None takes the median distance s of training rows, gamma =
        1 / (2 s^2), for RBF, and 1 / n_features for the polynomial kernel. The linear kernel ignores it.
    degree : float, default=3
        Degree of the polynomial kernel.
    coef0 : float, default=1.0
        Constant of the polynomial kernel.
    random_state : int, RandomState or None, default=None
        Seed of the folds, and of the classifier where its own `random_state` is None.
    target_domain : label or list of labels, default="target"
        Which labels of `sample_domain` are the target; all others are sources, taken together as one.

    Attributes
    ----------
    weights_ : ndarray of shape (n_source,)
        Weights of the source rows, in their order; their mean is one.
    classes_ : ndarray of shape (n_classes,)
        Class labels of the source rows.
    class_weights_ : ndarray of shape (n_classes,)
        Target share of each class divided by its source share.
    target_proportions_ : ndarray of shape (n_classes,)
        Estimated shares of the classes in the target.
    confusion_ : ndarray of shape (n_classes, n_classes) or None
        The matrix C; None for "kernel".
    estimators_ : list of classifier
        The classifiers of the folds, fitted on class numbers; none for one class or for "kernel".
    gamma_ : float or None
        The coefficient used; None for "confusion".
    X_fit_ : {ndarray, CSR array} of shape (n_source, n_features) or None
        Training source rows, for :meth:`predict_weights` without classes; None for "confusion".
    source_domains_ : list
        Names of the source domains.
    n_features_in_ : int
        Number of features seen in fit.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of features seen in fit, where all are strings.

    See Also
    --------
    class_proportions : The estimate alone.
    DomainClassifierWeighter : For covariate shift.
    KMMWeighter : Matches kernel means by one weight a row.

    Notes
    -----
    Time of "kernel" grows with the square of the number of rows, memory does not: the kernel matrix is summed by
    classes in blocks. A class of few source rows gets a little less weight than it should, as each row is also compared
    with itself.

    References
    ----------
    .. [1] Z. C. Lipton, Y.-X. Wang, A. J. Smola, "Detecting and Correcting for Label Shift with Black Box Predictors",
       ICML 2018.
    .. [2] K. Zhang, B. Schoelkopf, K. Muandet, Z. Wang, "Domain Adaptation under Target and Conditional Shift", ICML
       2013.

    Examples
    --------
    >>> from sktransfer.datasets import make_domain_shift
    >>> from sktransfer.weighting import LabelShiftWeighter
    >>> X, y, sample_domain = make_domain_shift(400, 400, shift="target", strength=2.0, random_state=0)
    >>> weighter = LabelShiftWeighter(random_state=0).fit(X, y, sample_domain=sample_domain)
    >>> weighter.target_proportions_.round(1)
    array([0.2, 0.8])
    >>> weighter.set_params(method="kernel").fit(X, y, sample_domain=sample_domain).target_proportions_.round(1)
    array([0.2, 0.8])
    """

    _parameter_constraints: dict = {
        **BaseWeighter._parameter_constraints,
        "estimator": [EstimatorOf(("classifier",)), None],
        "method": [StrOptions({"confusion", "kernel"})],
        "cv": [Interval(Integral, 2, None, closed="left")],
        "soft": ["boolean"],
        "kernel": [StrOptions({"rbf", "linear", "poly"})],
        "gamma": [Interval(Real, 0, None, closed="neither"), None],
        "degree": [Interval(Real, 0, None, closed="neither")],
        "coef0": [Interval(Real, None, None, closed="neither")],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        estimator: Any = None,
        *,
        method: str = "confusion",
        cv: int = 5,
        soft: bool = False,
        kernel: str = "rbf",
        gamma: float | None = None,
        degree: float = 3,
        coef0: float = 1.0,
        random_state: int | np.random.RandomState | None = None,
        target_domain: Any = "target",
    ) -> None:
        self.estimator = estimator
        self.method = method
        self.cv = cv
        self.soft = soft
        self.kernel = kernel
        self.gamma = gamma
        self.degree = degree
        self.coef0 = coef0
        self.random_state = random_state
        self.target_domain = target_domain

    def _dense_reason(self) -> str | None:
        return inner_dense_reason(self.estimator if self.method == "confusion" else None)

    def _complete_reason(self) -> str | None:
        if self.method == "kernel":
            return "the kernel compares all features of all rows"
        if self.estimator is None:
            return "its logistic regression does not; HistGradientBoostingClassifier() as estimator would"
        return inner_complete_reason(self.estimator)

    def _check_table(self, X: Any, *, reset: bool) -> Any:
        return check_rows_of(self, X, self.estimator if self.method == "confusion" else None, reset=reset)

    def _fit_rows(self, X: Any, domains: Domains, y: Any) -> None:
        if y is None:
            raise ValueError("LabelShiftWeighter requires y to be passed, but the target y is None.")
        labels, rows = read_source_labels(as_labels(y, name="y"), domains)
        if labels.dtype.kind == "f":
            assert_all_finite(labels, input_name="y")
        check_classification_targets(labels)
        self.classes_, codes = np.unique(labels, return_inverse=True)
        Xs, Xt = take_rows(X, rows), take_rows(X, domains.target_rows)
        self.estimators_: list[Any] = []
        self.confusion_, self.gamma_, self.X_fit_ = None, None, None
        if self.method == "kernel":
            pairs = len(rows) * (len(rows) / 2.0 + len(domains.target_rows))
            announce(
                "LabelShiftWeighter(method='kernel')",
                seconds=pair_seconds(1, pairs, X.shape[1]) + 1e-8 * pairs,
                why=f"it compares {len(rows)} source rows with each other and {len(domains.target_rows)} target rows",
                instead="method='confusion' grows with the number of rows only.",
            )
            self.gamma_, self.X_fit_ = resolve_gamma(self.gamma, X, kernel=self.kernel), Xs
            params: dict[str, Any] = {
                "kernel": self.kernel,
                "gamma": self.gamma_,
                "degree": self.degree,
                "coef0": self.coef0,
            }
            A, b = class_mean_products(Xs, codes, Xt, **params)
            self.class_weights_ = class_weights_from_means(A, b, np.bincount(codes) / len(codes))
        elif len(self.classes_) == 1:
            # One class cannot be more or less frequent than itself.
            self.confusion_, self.class_weights_ = np.ones((1, 1)), np.ones(1)
        else:
            params = {"estimator": self.estimator, "cv": self.cv, "soft": self.soft}
            self.confusion_, mu, self.estimators_ = cross_fit_confusion(
                Xs, codes, Xt, rng=check_random_state(self.random_state), **params
            )
            self.class_weights_ = class_weights_from_confusion(self.confusion_, mu)
        self.target_proportions_ = self.class_weights_ * np.bincount(codes) / len(codes)
        self.weights_ = self.class_weights_[codes]

    @small_algebra
    def predict_weights(self, X: Any, y: Any = None) -> np.ndarray:
        """Weigh source rows that were not in the training data.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Source rows.
        y : array-like of shape (n_samples,) or None, default=None
            Their classes, of which the weights are. None takes the classes as the classifiers predict them, and weighs
            a row on which they disagree by the mean; for "kernel", the class of the nearest training source row.

        Returns
        -------
        weights : ndarray of shape (n_samples,)
            Non-negative weights.

        Raises
        ------
        ValueError
            If a class was not among the source rows of the fit.
        """
        X = self._check_rows(X)
        if y is None:
            return self._weigh_rows(X)
        labels = as_labels(y, name="y")
        check_length(labels, X.shape[0], name="y")
        unknown = sorted(set(labels.tolist()) - set(self.classes_.tolist()), key=str)
        if unknown:
            raise ValueError(
                f"y holds the classes {unknown!r}, of which fit saw no source row; it saw {self.classes_.tolist()!r}."
            )
        return self.class_weights_[np.searchsorted(self.classes_, labels)]

    def _weigh_rows(self, X: np.ndarray) -> np.ndarray:
        if self.X_fit_ is not None:
            return self.weights_[nearest_rows(X, self.X_fit_)]
        if not self.estimators_:
            return np.ones(X.shape[0])
        params: dict[str, Any] = {"n_classes": len(self.classes_), "soft": self.soft}
        return np.mean([predict_class_shares(e, X, **params) @ self.class_weights_ for e in self.estimators_], axis=0)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        return tags
