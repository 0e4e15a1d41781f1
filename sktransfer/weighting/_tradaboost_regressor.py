"""TrAdaBoost.R2 and its two-stage variant: boosting for numbers, on source rows and a few labelled target rows."""

from numbers import Integral
from typing import Any

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.metrics import r2_score
from sklearn.model_selection import KFold
from sklearn.tree import DecisionTreeRegressor
from sklearn.utils import assert_all_finite, check_random_state

from sktransfer.domains import take_rows
from sktransfer.utils._compat import EstimatorOf, Interval, StrOptions, fit_context
from sktransfer.utils._threads import small_algebra
from sktransfer.weighting._tradaboost_base import (
    LabelledRows,
    TrAdaBoostBase,
    first_weights,
    second_half,
    source_factor,
)
from sktransfer.weighting._tradaboost_r2 import (
    adaboost_r2,
    adjusted_errors,
    share_factor,
    tradaboost_r2,
    weighted_median,
)

__all__ = ["TrAdaBoostRegressor"]


class TrAdaBoostRegressor(RegressorMixin, TrAdaBoostBase):
    """Boost a regressor on source rows and a few labelled target rows [1]_.

    In every round target rows that the learner gets wrong gain weight and source rows that it gets wrong lose weight,
    each by the size of its error (TrAdaBoost.R2); the weighted median of the second half of the rounds predicts. With
    ``two_stage=True`` source rows lose weight in steps, boosting on target rows follows each step with the source
    weights held fixed, and the step with the least cross-validated error on target rows is kept. **Labels of target
    rows are read**: this method exists to use them, and needs at least one (two-stage: two); target rows without a
    label are left out.

    Parameters
    ----------
    estimator : regressor or None, default=None
        Any regressor whose ``fit`` takes `sample_weight`, or a pipeline that ends in one. It must be too simple to
        learn the rows by heart: where it is right in all target rows, none gains weight, and a warning says so. None
        takes ``DecisionTreeRegressor(max_depth=3)``.
    n_estimators : int, default=50
        Number of rounds; of each boosting in two stages, the most.
    target_share : float or None, default=None
        Share of all weight that labelled target rows have together in the first round, between 0 and 1. None weighs all
        rows alike. Set it, e.g. to 0.5, where few target rows stand against many source rows of another rule, so that
        the first rounds are not spent on raising their weight.
    loss : {"linear", "square", "exponential"}, default="linear"
        How the size of an error counts, relative to the largest.
    two_stage : bool, default=False
        Whether to run the two-stage variant, which overfits few target rows less, at about ``n_steps * (cv + 1)``
        times the cost.
    n_steps : int, default=10
        Number of steps of the source weights in two stages, at least 2; from all rows alike to target rows alone.
    cv : int, default=5
        Number of folds of target rows in two stages, at least 2; lowered to their number.
    random_state : int, RandomState or None, default=None
        Seed of the folds, and of the learners whose own `random_state` is None.
    target_domain : label or list of labels, default="target"
        Which labels of `sample_domain` are the target; all others are sources, taken together as one.

    Attributes
    ----------
    weights_ : ndarray of shape (n_source,)
        Weights of the source rows after the last round, or of the kept step, in their order; their mean is one. All
        zero where the kept step leaves the source out.
    estimators_ : list of regressor
        The learners that predict, of all rounds.
    estimator_weights_ : ndarray of shape (n_estimators,)
        Their votes; zero for the first half of the rounds of TrAdaBoost.R2 and for those with a mean error of half or
        more. Where that leaves no vote, the second half votes evenly.
    estimator_errors_ : ndarray of shape (n_estimators,)
        Weighted mean errors, of target rows (TrAdaBoost.R2) or all rows (two stages).
    step_errors_ : ndarray of shape (n_steps,) or None
        Cross-validated mean squared errors of the steps; None without two stages.
    step_ : int or None
        The kept step; None without two stages.
    scale_ : float
        What the weights of source rows, 1 at the start, are divided by to have mean one.
    minus_one_is_missing_ : bool
        Whether -1 in integer labels of target rows means "no label"; not where a source label is negative.
    source_domains_ : list
        Names of the source domains.
    n_features_in_ : int
        Number of features seen in fit.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of features seen in fit, where all are strings.

    See Also
    --------
    TrAdaBoostClassifier : The same for classes.
    KMMWeighter : Weighs source rows without labels of target rows.

    References
    ----------
    .. [1] D. Pardoe, P. Stone, "Boosting for Regression Transfer", ICML 2010.
    .. [2] H. Drucker, "Improving Regressors Using Boosting Techniques", ICML 1997.

    Examples
    --------
    >>> import numpy as np
    >>> from sktransfer.datasets import make_domain_shift
    >>> from sktransfer.weighting import TrAdaBoostRegressor
    >>> X, y, sample_domain = make_domain_shift(200, 100, n_classes=None, shift="concept", random_state=0)
    >>> known = np.r_[:230]
    >>> model = TrAdaBoostRegressor(random_state=0).fit(X[known], y[known], sample_domain=sample_domain[known])
    >>> model.score(X[230:], y[230:]) > 0.7
    True
    """

    _parameter_constraints: dict = {
        **TrAdaBoostBase._parameter_constraints,
        "estimator": [EstimatorOf(("regressor",), otherwise="TrAdaBoostClassifier takes classifiers"), None],
        "loss": [StrOptions({"linear", "square", "exponential"})],
        "two_stage": ["boolean"],
        "n_steps": [Interval(Integral, 2, None, closed="left")],
        "cv": [Interval(Integral, 2, None, closed="left")],
    }

    def __init__(
        self,
        estimator: Any = None,
        *,
        n_estimators: int = 50,
        target_share: float | None = None,
        loss: str = "linear",
        two_stage: bool = False,
        n_steps: int = 10,
        cv: int = 5,
        random_state: int | np.random.RandomState | None = None,
        target_domain: Any = "target",
    ) -> None:
        self.estimator = estimator
        self.n_estimators = n_estimators
        self.target_share = target_share
        self.loss = loss
        self.two_stage = two_stage
        self.n_steps = n_steps
        self.cv = cv
        self.random_state = random_state
        self.target_domain = target_domain

    @fit_context(prefer_skip_nested_validation=False)
    @small_algebra
    def fit(self, X: Any, y: Any, *, sample_domain: Any = None) -> "TrAdaBoostRegressor":
        """Fit the learners on source rows and labelled target rows.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows of all domains.
        y : array-like of shape (n_samples,)
            Numbers, those of target rows included; target rows without one (NaN, None, or -1 for integers) are left
            out.
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
            If the estimator takes no sample_weight, or two stages meet a single labelled target row.
        """
        data = self._labelled_rows(X, y, sample_domain)
        rng = check_random_state(self.random_state)
        first = first_weights(data.n_source, data.n_target, self.target_share)
        fit_weights = self._fit_two_stage if self.two_stage else self._fit_rounds
        raw_weights, last, target_errors = fit_weights(data, first.copy(), rng)
        self._warn_of_standstill(data, first, last / last.sum(), target_errors, rng)
        self.scale_ = float(raw_weights.mean())
        self.weights_ = raw_weights / self.scale_ if self.scale_ else raw_weights
        return self

    def _fit_rounds(self, data: LabelledRows, weights: np.ndarray, rng: np.random.RandomState) -> tuple:
        """Return the weights of source rows that were 1 at first, those of all rows, and the target errors."""
        self.estimators_: list[Any] = []
        n = data.n_source
        fit_round = self._make_round(data, self.estimators_, rng)
        params: dict[str, Any] = {"n_estimators": self.n_estimators, "loss": self.loss}
        last, votes, self.estimator_errors_, largest = tradaboost_r2(fit_round, weights, n_source=n, **params)
        self.estimator_weights_ = second_half(votes)
        self.step_errors_: np.ndarray | None = None
        self.step_: int | None = None
        beta = source_factor(n, self.n_estimators)
        self._source_steps_ = [(*step, beta) for step in zip(self.estimators_, largest, strict=True)]
        return self._replay(data.X[:n], data.y[:n]), last, self.estimator_errors_

    def _fit_two_stage(self, data: LabelledRows, weights: np.ndarray, rng: np.random.RandomState) -> tuple:
        """Return what :meth:`_fit_rounds` does, with the weights of the last step and the errors of all steps."""
        if data.n_target < 2:
            raise ValueError(
                "two_stage=True cross-validates over labelled target rows and needs at least two, got one. Label more, "
                "or set two_stage=False."
            )
        n, m = data.n_source, data.n_target
        splitter = KFold(min(self.cv, m), shuffle=True, random_state=rng.randint(2**31 - 1))
        folds = [(np.r_[:n, n + train], n + test) for train, test in splitter.split(np.arange(m))]
        errors, steps, weights_of_step, target_errors = [], [], [], []
        first_share = weights[n:].sum()
        for position in range(self.n_steps):
            weights_of_step.append(weights.copy())
            errors.append(np.mean(np.concatenate([self._held_out(data, weights, *fold, rng) for fold in folds]) ** 2))
            if position + 1 < self.n_steps:
                share = first_share + (position + 1) / (self.n_steps - 1) * (1.0 - first_share)
                step, target_error = self._lower_source(data, weights, share, rng)
                steps.append(step)
                target_errors.append(target_error)
        self.step_errors_, self.step_ = np.array(errors), int(np.argmin(errors))
        self._source_steps_, last = steps[: self.step_], weights
        weights, self.estimators_ = weights_of_step[self.step_], []
        self.estimator_weights_, self.estimator_errors_ = adaboost_r2(
            self._make_round(data, self.estimators_, rng),
            weights,
            n_source=n,
            n_estimators=self.n_estimators,
            loss=self.loss,
        )
        return self._replay(data.X[:n], data.y[:n]), last, np.array(target_errors)

    def _lower_source(self, data, weights, share, rng):
        """Lower source weights in place until the target has its share.

        Return learner, largest error and beta, and the mean error of target rows.
        """
        learner, n = self._fit_learner(data.X, data.y, weights, rng), data.n_source
        residuals = learner.predict(data.X) - data.y
        largest = float(np.abs(residuals).max())
        errors = adjusted_errors(residuals, largest, loss=self.loss)
        beta = share_factor(weights[:n], errors[:n], float(weights[n:].sum()), share)
        weights[:n] *= beta ** errors[:n]
        return (learner, largest, beta), errors[n:].mean()

    def _held_out(self, data, weights, train, test, rng):
        """Return the errors at the rows `test` of a boosted model fitted on the rows `train`."""
        part, learners = LabelledRows(data.X[train], data.y[train], data.n_source), []
        votes, _ = adaboost_r2(
            self._make_round(part, learners, rng),
            weights[train],
            n_source=data.n_source,
            n_estimators=self.n_estimators,
            loss=self.loss,
        )
        values = np.column_stack([learner.predict(data.X[test]) for learner in learners])
        return weighted_median(values, votes) - data.y[test]

    def _make_round(self, data: LabelledRows, learners: list, rng: np.random.RandomState) -> Any:
        def fit_round(weights: np.ndarray) -> np.ndarray:
            learners.append(self._fit_learner(data.X, data.y, weights, rng))
            return learners[-1].predict(data.X) - data.y

        return fit_round

    def _replay(self, X: Any, y: np.ndarray) -> np.ndarray:
        weights = np.ones(X.shape[0])
        for learner, largest, beta in self._source_steps_:
            weights *= beta ** adjusted_errors(learner.predict(X) - y, largest, loss=self.loss)
        return weights

    def _default_estimator(self) -> DecisionTreeRegressor:
        return DecisionTreeRegressor(max_depth=3)

    def _check_labels(self, labels: np.ndarray) -> None:
        if labels.dtype.kind == "c":
            raise ValueError(f"Complex data not supported: y is of dtype {labels.dtype}.")
        if labels.dtype.kind not in "iufb":
            raise ValueError(f"A regressor needs numbers as y, got {labels.tolist()[0]!r} (dtype {labels.dtype}).")
        assert_all_finite(labels, input_name="y")

    @staticmethod
    def _holds_minus_one(labels: np.ndarray) -> bool:
        return bool((labels < 0).any())

    def predict_weights(self, X: Any, y: Any) -> np.ndarray:
        """Weigh source rows that were not in the training data, by the errors of the rounds at their labels.

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
        weights = self._replay(*self._check_labelled_rows(X, y))
        return weights / self.scale_ if self.scale_ else weights

    def predict(self, X: Any) -> np.ndarray:
        """Predict by the weighted median of the learners.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        y_pred : ndarray of shape (n_samples,)
            Numbers.
        """
        X = self._check_new_rows(X)
        voting = np.flatnonzero(self.estimator_weights_)
        values = np.column_stack([self.estimators_[position].predict(X) for position in voting])
        return weighted_median(values, self.estimator_weights_[voting])

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return R^2 on the rows that have a label.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows.
        y : array-like of shape (n_samples,)
            Numbers; rows where they are missing are left out.
        sample_weight : array-like of shape (n_samples,) or None, default=None
            Weights of the rows.

        Returns
        -------
        score : float
            R^2.
        """
        rows, labels = self._scored_rows(y)
        weights = None if sample_weight is None else take_rows(sample_weight, rows)
        return float(r2_score(labels, self.predict(take_rows(X, rows)), sample_weight=weights))
