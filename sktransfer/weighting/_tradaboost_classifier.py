"""TrAdaBoost: boosting in which source rows that contradict the target lose weight."""

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.metrics import accuracy_score
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils import assert_all_finite, check_random_state
from sklearn.utils.multiclass import check_classification_targets

from sktransfer.domains import holds_minus_one, take_rows
from sktransfer.utils._compat import EstimatorOf, fit_context
from sktransfer.utils._threads import small_algebra
from sktransfer.weighting._tradaboost_base import (
    SMALLEST_ERROR,
    TrAdaBoostBase,
    first_weights,
    second_half,
    source_factor,
)

__all__ = ["TrAdaBoostClassifier", "tradaboost"]


def tradaboost(
    fit_round: Callable[[np.ndarray], np.ndarray],
    weights: np.ndarray,
    *,
    n_source: int,
    n_classes: int,
    n_estimators: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Run the rounds of TrAdaBoost.

    With the weighted error e of a round on the target rows, a wrong target row gains the factor exp(vote), where vote =
    ln((1 - e) / e) + ln(n_classes - 1), which for two classes is the 1 / beta_t of the paper; a wrong source row is
    multiplied by beta. A round no better than chance, which the paper excludes, has no vote, and a wrong target row
    gains the factor 1 / beta: otherwise learners that fit many source rows without an error would stay as they are for
    ever.

    Parameters
    ----------
    fit_round : callable
        Takes the weights, shape (n_source + n_target,), source rows first, and returns which rows the learner that is
        fitted with them gets wrong.
    weights : ndarray of shape (n_source + n_target,)
        Weights of the first round.
    n_source : int
        Number of source rows.
    n_classes : int
        Number of classes.
    n_estimators : int
        Number of rounds.

    Returns
    -------
    weights : ndarray of shape (n_source + n_target,)
        Weights after the last round, of sum one.
    votes : ndarray of shape (n_estimators,)
        Votes of the rounds.
    errors : ndarray of shape (n_estimators,)
        Weighted target errors of the rounds.
    """
    weights = weights / weights.sum()
    log_beta = np.log(source_factor(n_source, n_estimators))
    votes, errors = np.zeros(n_estimators), np.zeros(n_estimators)
    for t in range(n_estimators):
        wrong = fit_round(weights)
        in_target = weights[n_source:]
        errors[t] = in_target[wrong[n_source:]].sum() / in_target.sum()
        error, gain = max(errors[t], SMALLEST_ERROR), -log_beta
        if error < 1.0 - 1.0 / n_classes:
            gain = votes[t] = np.log1p(-error) - np.log(error) + np.log(n_classes - 1.0)
        weights[:n_source] *= np.exp(log_beta * wrong[:n_source])
        weights[n_source:] *= np.exp(gain * wrong[n_source:])
        weights /= weights.sum()
    return weights, votes, errors


class TrAdaBoostClassifier(ClassifierMixin, TrAdaBoostBase):
    """Boost a classifier on source rows and a few labelled target rows [1]_.

    In every round target rows that the learner gets wrong gain weight, as in AdaBoost, and source rows that it gets
    wrong lose weight for good: they follow another rule than the target. The learners of the second half of the rounds
    vote. **Labels of target rows are read**: this method exists to use them, and needs at least one; target rows
    without a label are left out.

    Parameters
    ----------
    estimator : classifier or None, default=None
        Any classifier whose ``fit`` takes `sample_weight`, or a pipeline that ends in one. It must be too simple to
        learn the rows by heart: where it is right in all target rows, none gains weight, and a warning says so. None
        takes ``DecisionTreeClassifier(max_depth=3)``.
    n_estimators : int, default=50
        Number of rounds.
    target_share : float or None, default=None
        Share of all weight that labelled target rows have together in the first round, between 0 and 1. None weighs all
        rows alike, as in the paper. Set it, e.g. to 0.5, where few target rows stand against many source rows of
        another rule, so that the first rounds are not spent on raising their weight.
    random_state : int, RandomState or None, default=None
        Seed of the learners whose own `random_state` is None.
    target_domain : label or list of labels, default="target"
        Which labels of `sample_domain` are the target; all others are sources, taken together as one.

    Attributes
    ----------
    weights_ : ndarray of shape (n_source,)
        Weights of the source rows after the last round, in their order; their mean is one.
    target_weights_ : ndarray of shape (n_labelled_target,)
        Weights of the labelled target rows after the last round, on the same scale.
    estimators_ : list of classifier
        The learners of all rounds.
    estimator_weights_ : ndarray of shape (n_estimators,)
        Their votes; zero for the first half of the rounds and for those no better than chance. Where that leaves no
        vote, the second half votes evenly.
    estimator_errors_ : ndarray of shape (n_estimators,)
        Weighted errors on the target rows.
    scale_ : float
        What the weights of source rows, 1 in the first round, are divided by to have mean one.
    classes_ : ndarray of shape (n_classes,)
        Class labels of source and target rows.
    minus_one_is_missing_ : bool
        Whether -1 in integer labels of target rows means "no label"; not where a source label is -1.
    source_domains_ : list
        Names of the source domains.
    n_features_in_ : int
        Number of features seen in fit.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of features seen in fit, where all are strings.

    See Also
    --------
    TrAdaBoostRegressor : The same for numbers.
    KMMWeighter : Weighs source rows without labels of target rows.

    Notes
    -----
    The paper is about two classes; for more, votes gain ln(n_classes - 1), as in SAMME [2]_, so that a learner better
    than chance has a vote. The paper excludes rounds no better than chance on the target; here they have no vote, and
    wrong target rows gain as much weight as wrong source rows lose.

    References
    ----------
    .. [1] W. Dai, Q. Yang, G.-R. Xue, Y. Yu, "Boosting for Transfer Learning", ICML 2007.
    .. [2] J. Zhu, H. Zou, S. Rosset, T. Hastie, "Multi-class AdaBoost", Statistics and Its Interface 2(3), 2009.

    Examples
    --------
    >>> import numpy as np
    >>> from sktransfer.datasets import make_domain_shift
    >>> from sktransfer.weighting import TrAdaBoostClassifier
    >>> X, y, sample_domain = make_domain_shift(200, 100, shift="concept", random_state=0)
    >>> known = np.r_[:220]
    >>> model = TrAdaBoostClassifier(target_share=0.5, random_state=0)
    >>> model = model.fit(X[known], y[known], sample_domain=sample_domain[known])
    >>> model.score(X[220:], y[220:]) > 0.8
    True
    """

    _parameter_constraints: dict = {
        **TrAdaBoostBase._parameter_constraints,
        "estimator": [EstimatorOf(("classifier",), otherwise="TrAdaBoostRegressor takes regressors"), None],
    }

    def __init__(
        self,
        estimator: Any = None,
        *,
        n_estimators: int = 50,
        target_share: float | None = None,
        random_state: int | np.random.RandomState | None = None,
        target_domain: Any = "target",
    ) -> None:
        self.estimator = estimator
        self.n_estimators = n_estimators
        self.target_share = target_share
        self.random_state = random_state
        self.target_domain = target_domain

    @fit_context(prefer_skip_nested_validation=False)
    @small_algebra
    def fit(self, X: Any, y: Any, *, sample_domain: Any = None) -> "TrAdaBoostClassifier":
        """Fit the learners on source rows and labelled target rows.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows of all domains.
        y : array-like of shape (n_samples,)
            Labels, those of target rows included; target rows without one (NaN, None, or -1 for integers) are left out.
        sample_domain : array-like of shape (n_samples,) or None, default=None
            Domain label of each row; rows whose label is in `target_domain` are the target, all others the source.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        DomainError
            If there is no source row or no labelled target row, or if a source row has no label.
        ValueError
            If the estimator takes no sample_weight.
        """
        data = self._labelled_rows(X, y, sample_domain)
        self.classes_ = np.unique(data.y)
        rng = check_random_state(self.random_state)
        self.estimators_: list[Any] = []
        times_wrong = np.zeros(len(data.y))

        def fit_round(weights: np.ndarray) -> np.ndarray:
            self.estimators_.append(self._fit_learner(data.X, data.y, weights, rng))
            wrong = self.estimators_[-1].predict(data.X) != data.y
            np.add(times_wrong, wrong, out=times_wrong)
            return wrong

        first = first_weights(data.n_source, data.n_target, self.target_share)
        weights, votes, self.estimator_errors_ = tradaboost(
            fit_round,
            first,
            n_source=data.n_source,
            n_classes=len(self.classes_),
            n_estimators=self.n_estimators,
        )
        self._warn_of_standstill(data, first, weights, self.estimator_errors_, rng)
        self.estimator_weights_ = second_half(votes)
        mean = weights[: data.n_source].mean()
        self.weights_, self.target_weights_ = weights[: data.n_source] / mean, weights[data.n_source :] / mean
        factor = source_factor(data.n_source, self.n_estimators)
        self.scale_ = float(np.mean(factor ** times_wrong[: data.n_source]))
        return self

    def _default_estimator(self) -> DecisionTreeClassifier:
        return DecisionTreeClassifier(max_depth=3)

    def _check_labels(self, labels: np.ndarray) -> None:
        if labels.dtype.kind == "f":
            assert_all_finite(labels, input_name="y")
        check_classification_targets(labels)

    @staticmethod
    def _holds_minus_one(labels: np.ndarray) -> bool:
        return holds_minus_one(labels)

    def predict_weights(self, X: Any, y: Any) -> np.ndarray:
        """Weigh source rows that were not in the training data, by the rounds that get their label wrong.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Source rows.
        y : array-like of shape (n_samples,)
            Their labels.

        Returns
        -------
        weights : ndarray of shape (n_samples,)
            Weights on the scale of ``weights_``.
        """
        X, y = self._check_labelled_rows(X, y)
        wrong = np.sum([learner.predict(X) != y for learner in self.estimators_], axis=0)
        return source_factor(len(self.weights_), len(self.estimators_)) ** wrong / self.scale_

    def predict(self, X: Any) -> np.ndarray:
        """Predict the class with the most votes.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        y_pred : ndarray of shape (n_samples,)
            Class labels.
        """
        shares = self.predict_proba(X)
        return self.classes_[np.argmax(shares, axis=1)]

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the share of the votes for each class.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        proba : ndarray of shape (n_samples, n_classes)
            Shares, in the order of ``classes_``; they are not calibrated.
        """
        X = self._check_new_rows(X)
        shares = np.zeros((X.shape[0], len(self.classes_)))
        for learner, vote in zip(self.estimators_, self.estimator_weights_, strict=True):
            if vote > 0:
                shares[np.arange(X.shape[0]), np.searchsorted(self.classes_, learner.predict(X))] += vote
        return shares / self.estimator_weights_.sum()

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the accuracy on the rows that have a label.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows.
        y : array-like of shape (n_samples,)
            Labels; rows where they are missing are left out.
        sample_weight : array-like of shape (n_samples,) or None, default=None
            Weights of the rows.

        Returns
        -------
        score : float
            Accuracy.
        """
        rows, labels = self._scored_rows(y)
        weights = None if sample_weight is None else take_rows(sample_weight, rows)
        return float(accuracy_score(labels, self.predict(take_rows(X, rows)), sample_weight=weights))
