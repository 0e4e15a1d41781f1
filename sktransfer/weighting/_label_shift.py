"""Weights for target shift: classes that are more or less frequent in the target, by black-box shift estimation."""

from numbers import Integral
from typing import Any

import numpy as np
from sklearn.utils import assert_all_finite, check_consistent_length, check_random_state
from sklearn.utils.multiclass import check_classification_targets

from sktransfer.base import BaseWeighter
from sktransfer.utils._compat import HasMethods, Interval
from sktransfer.utils._domains import Domains, read_source_labels
from sktransfer.utils._label_shift import class_weights_from_confusion, cross_fit_confusion, predict_class_shares
from sktransfer.utils._labels import as_labels

__all__ = ["LabelShiftWeighter"]


class LabelShiftWeighter(BaseWeighter):
    """Weigh source rows by how much more frequent their class is in the target [1]_.

    For target shift (label shift): classes look the same in both domains, but their frequencies differ. With C_ij the
    share of source rows that a classifier takes for class i and that are of class j, counted on rows it was not fitted
    on, and mu_i the share of target rows that it takes for class i, the weights of the classes are w = C^-1 mu. The
    classifier need not be good or calibrated, only better than chance. Reads source labels; labels of target rows are
    not read.

    Parameters
    ----------
    estimator : classifier or None, default=None
        Any classifier. None takes a logistic regression on standardised features.
    cv : int, default=5
        Number of folds of the source rows, at least 2; lowered to the number of rows of the rarest class. Where that
        has one row, the confusion is counted on the rows of the fit.
    soft : bool, default=False
        Whether predicted probabilities are summed instead of predicted classes, which takes fewer rows.
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
    confusion_ : ndarray of shape (n_classes, n_classes)
        The matrix C.
    estimators_ : list of classifier
        The classifiers of the folds, fitted on class numbers; none for one class.
    source_domains_ : list
        Names of the source domains.
    n_features_in_ : int
        Number of features seen in fit.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of features seen in fit, where all are strings.

    See Also
    --------
    sktransfer.metrics.class_proportions : The estimate alone.
    DomainClassifierWeighter : For covariate shift.

    References
    ----------
    .. [1] Z. C. Lipton, Y.-X. Wang, A. J. Smola, "Detecting and Correcting for Label Shift with Black Box Predictors",
       ICML 2018.

    Examples
    --------
    >>> from sktransfer.datasets import make_domain_shift
    >>> from sktransfer.weighting import LabelShiftWeighter
    >>> X, y, sample_domain = make_domain_shift(400, 400, shift="target", strength=2.0, random_state=0)
    >>> weighter = LabelShiftWeighter(random_state=0).fit(X, y, sample_domain=sample_domain)
    >>> weighter.target_proportions_.round(1)
    array([0.2, 0.8])
    """

    _parameter_constraints: dict = {
        **BaseWeighter._parameter_constraints,
        "estimator": [HasMethods(["fit", "predict"]), None],
        "cv": [Interval(Integral, 2, None, closed="left")],
        "soft": ["boolean"],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        estimator: Any = None,
        *,
        cv: int = 5,
        soft: bool = False,
        random_state: int | np.random.RandomState | None = None,
        target_domain: Any = "target",
    ) -> None:
        self.estimator = estimator
        self.cv = cv
        self.soft = soft
        self.random_state = random_state
        self.target_domain = target_domain

    def _fit_rows(self, X: np.ndarray, domains: Domains, y: Any) -> None:
        if y is None:
            raise ValueError("LabelShiftWeighter requires y to be passed, but the target y is None.")
        check_consistent_length(X, y)
        labels, rows = read_source_labels(as_labels(y, name="y"), domains)
        if labels.dtype.kind == "f":
            assert_all_finite(labels, input_name="y")
        check_classification_targets(labels)
        self.classes_, codes = np.unique(labels, return_inverse=True)
        k = len(self.classes_)
        if k == 1:
            # One class cannot be more or less frequent than itself.
            self.confusion_, self.estimators_, self.class_weights_ = np.ones((1, 1)), [], np.ones(1)
        else:
            params = {"estimator": self.estimator, "cv": self.cv, "soft": self.soft}
            self.confusion_, mu, self.estimators_ = cross_fit_confusion(
                X[rows], codes, X[domains.target_rows], rng=check_random_state(self.random_state), **params
            )
            self.class_weights_ = class_weights_from_confusion(self.confusion_, mu)
        self.target_proportions_ = self.class_weights_ * np.bincount(codes) / len(codes)
        self.weights_ = self.class_weights_[codes]

    def predict_weights(self, X: Any, y: Any = None) -> np.ndarray:
        """Weigh source rows that were not in the training data.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Source rows.
        y : array-like of shape (n_samples,) or None, default=None
            Their classes, of which the weights are. None takes the classes as the classifiers predict them, and weighs
            a row on which they disagree by the mean.

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
        check_consistent_length(X, labels)
        unknown = sorted(set(labels.tolist()) - set(self.classes_.tolist()), key=str)
        if unknown:
            raise ValueError(
                f"y holds the classes {unknown!r}, of which fit saw no source row; it saw {self.classes_.tolist()!r}."
            )
        return self.class_weights_[np.searchsorted(self.classes_, labels)]

    def _weigh_rows(self, X: np.ndarray) -> np.ndarray:
        if not self.estimators_:
            return np.ones(len(X))
        params = {"n_classes": len(self.classes_), "soft": self.soft}
        return np.mean([predict_class_shares(e, X, **params) @ self.class_weights_ for e in self.estimators_], axis=0)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        return tags
