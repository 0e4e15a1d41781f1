"""Boosting of classes that goes on from a source model on labelled target rows."""

from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.utils import check_random_state

from sktransfer.base import LabelledScoreMixin
from sktransfer.domains import labels_of_fit
from sktransfer.parameter_transfer._boost import ClassLoss
from sktransfer.parameter_transfer._boosting import TransferredBoosting
from sktransfer.parameter_transfer._labels import ClassesMixin, class_folds
from sktransfer.utils._compat import EstimatorOf, fit_context

__all__ = ["TransferredGradientBoostingClassifier"]

# Probabilities of the source below this are taken for it: a forest is certain of what it has seen a few times.
_LEAST_PROBABILITY = 1e-3


class TransferredGradientBoostingClassifier(LabelledScoreMixin, ClassesMixin, ClassifierMixin, TransferredBoosting):
    """Gradient boosting that goes on from a source model on a few labelled target rows.

    The first round shifts the scores of the source for all rows alike, each further one adds a small regression tree by
    a Newton step [1]_, as boosting that is continued does [2]_. How many rounds there are, none included, and how much
    of the source there is to begin with, is weighed by cross-validation on target rows. **Labels of target rows are
    read**: this method exists to use them, and needs at least one; target rows without a label are left out.

    Parameters
    ----------
    source : classifier, fitted or not, or None, default=None
        Any classifier with ``predict_proba``, or a pipeline that ends in one, whose other steps then prepare the rows
        for the new trees too. Where it is fitted, `X` and `y` of ``fit`` are target rows. Where it is not, a clone is
        fitted on the source rows. None takes ``HistGradientBoostingClassifier()``.
    learning_rate : float, default=0.1
        What the steps of the trees are multiplied by.
    max_iter : int, default=50
        Most rounds.
    max_depth : int or None, default=3
        Depth of the trees; None has no limit.
    min_samples_leaf : int, default=5
        Fewest target rows in a leaf.
    l2_regularization : float, default=1.0
        Added to the curvature in each leaf, so that leaves of few rows step less.
    early_stopping : bool, default=True
        Whether rounds count as much as held-out rows say: each number of rounds weighs by their likelihood, and the
        mean is predicted. False takes all of `max_iter`.
    cv : int or splitter, default=5
        Folds of the target rows; an integer deals the rows of each class out in turn, and with fewer rows leaves out
        one at a time.
    source_scale : "auto" or float, default="auto"
        What the logits of the source are multiplied by. ``"auto"`` weighs 1, 0.5 and 0 by the same folds, and takes 1
        without early stopping.
    random_state : int, RandomState or None, default=None
        Seed of the trees, and of a source whose own `random_state` is None.
    target_domain : label or list of labels, default="target"
        Which labels of `sample_domain` are the target; all others are sources, taken together as one.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Class labels of the source and of target rows.
    n_iter_ : float
        Mean number of rounds; 0 leaves the source as it is.
    source_scale_ : float
        Scale of the source.
    boosted_ : object
        What the rounds add.
    source_ : object
        The fitted source.
    preprocessing_ : Pipeline or None
        Its steps before the last.
    minus_one_is_missing_ : bool
        Whether -1 in integer labels of target rows means "no label"; not where -1 is a class of the source.
    source_domains_ : list
        Names of the source domains; empty without `sample_domain`.
    n_features_in_ : int
        Number of features seen in fit.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of features seen in fit, where all are strings.

    See Also
    --------
    TransferredGradientBoostingRegressor : The same for numbers.
    TransferredForestClassifier : Changes the trees of the source.

    Notes
    -----
    ``warm_start=True`` of ``HistGradientBoostingClassifier`` cuts the features of new rows into bins anew and reads the
    trees that it has by these bins, so that on rows of another domain it does not go on from where it was. Here the
    source predicts by itself, in the units of the features.

    Missing values are taken where the source takes them. Where target rows have one class only, nothing can be held
    out, and the scores are shifted alone.

    References
    ----------
    .. [1] J. Friedman, "Greedy Function Approximation: A Gradient Boosting Machine", Annals of Statistics 29(5), 2001.
    .. [2] T. Chen, C. Guestrin, "XGBoost: A Scalable Tree Boosting System", KDD 2016.

    Examples
    --------
    >>> from sktransfer import TransferredGradientBoostingClassifier, make_domain_shift
    >>> X, y, sample_domain = make_domain_shift(200, 160, shift="concept", random_state=0)
    >>> model = TransferredGradientBoostingClassifier(random_state=0)
    >>> model = model.fit(X[:260], y[:260], sample_domain=sample_domain[:260])
    >>> model.score(X[260:], y[260:]) > model.source_.score(X[260:], y[260:])
    True
    """

    _allowed_source = "pass a classifier with predict_proba, or a pipeline that ends in one, fitted or not."
    _parameter_constraints: dict = {
        **TransferredBoosting._parameter_constraints,
        "source": [
            EstimatorOf(("classifier",), ("predict_proba",), "TransferredGradientBoostingRegressor takes regressors"),
            None,
        ],
    }

    def __init__(
        self,
        source: Any = None,
        *,
        learning_rate: float = 0.1,
        max_iter: int = 50,
        max_depth: int | None = 3,
        min_samples_leaf: int = 5,
        l2_regularization: float = 1.0,
        early_stopping: bool = True,
        cv: Any = 5,
        source_scale: float | str = "auto",
        random_state: int | np.random.RandomState | None = None,
        target_domain: Any = "target",
    ) -> None:
        self.source = source
        self.learning_rate = learning_rate
        self.max_iter = max_iter
        self.max_depth = max_depth
        self.min_samples_leaf = min_samples_leaf
        self.l2_regularization = l2_regularization
        self.early_stopping = early_stopping
        self.cv = cv
        self.source_scale = source_scale
        self.random_state = random_state
        self.target_domain = target_domain

    @fit_context(prefer_skip_nested_validation=False)
    def fit(
        self, X: Any, y: Any, *, sample_domain: Any = None, sample_weight: Any = None
    ) -> "TransferredGradientBoostingClassifier":
        """Learn from labelled target rows, and from source rows where the source is not fitted.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Target rows, or rows of all domains; a frame or whatever the first step of a pipeline as source takes.
        y : array-like of shape (n_samples,)
            Labels, those of target rows included; target rows without one (NaN, None, or -1 for integers) are left out.
        sample_domain : array-like of shape (n_samples,) or None, default=None
            Domain label of each row; rows whose label is in `target_domain` are the target, all others the source,
            which are left out where the source is fitted. None, with a fitted source, takes all rows for the target.
        sample_weight : array-like of shape (n_samples,) or None, default=None
            Weights of the rows.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        DomainError
            If no target row has a label; or, with a source that is not fitted, if there is no source row or one without
            a label.
        """
        y = labels_of_fit(y, caller=type(self).__name__)
        self._rng_ = check_random_state(self.random_state)
        rows = self._read(X, y, sample_domain, sample_weight)
        self._match_classes(rows.y)
        codes = np.searchsorted(self.classes_, rows.y)
        targets = np.eye(len(self.classes_))[codes]
        self._fit_rows(rows, targets, ClassLoss, class_folds(self.cv, rows.X, codes))
        return self

    def _default_source(self, X: Any) -> HistGradientBoostingClassifier:
        return HistGradientBoostingClassifier()

    def _learn_model(self, model: Any) -> None:
        super()._learn_model(model)
        self._known_ = np.asarray(model.classes_)
        if len(self._known_) < 2:
            raise ValueError(
                f"source knows one class only, {self._known_.tolist()[0]!r}; boosting goes on from the probabilities "
                "of at least two classes in the data of the source."
            )

    def _source_scores(self, features: Any) -> np.ndarray:
        proba = np.zeros((len(features), len(self.classes_)))
        proba[:, np.searchsorted(self.classes_, self._known_)] = self._ask("predict_proba", features)
        log_p = np.log(np.maximum(proba, _LEAST_PROBABILITY))
        return log_p[:, 1:] - log_p[:, :1] if proba.shape[1] == 2 else log_p

    def predict_proba(self, X: Any) -> np.ndarray:
        """Predict class probabilities.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        proba : ndarray of shape (n_samples, n_classes)
            Probabilities, in the order of ``classes_``.
        """
        return np.exp(ClassLoss.log_proba(self._scores(X)))
