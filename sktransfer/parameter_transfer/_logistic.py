"""TransferredLogisticRegression: logistic regression that shrinks towards the coefficients of a source model."""

import warnings
from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any

import numpy as np
from scipy.special import log_softmax, softmax
from sklearn.base import ClassifierMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.utils import check_array, compute_sample_weight

from sktransfer.base import LabelledScoreMixin
from sktransfer.domains import check_class_weight, labels_of_fit
from sktransfer.parameter_transfer._base import TransferBase
from sktransfer.parameter_transfer._labels import ClassesMixin, class_folds
from sktransfer.parameter_transfer._logistic_fit import (
    LogisticFit,
    LogisticRows,
    class_scores,
    fit_logistic,
    match_classes,
)
from sktransfer.utils._compat import EstimatorOf, Interval, StrOptions, fit_context
from sktransfer.utils._messages import caller_level
from sktransfer.utils._threads import small_algebra

__all__ = ["TransferredLogisticRegression"]

# Scales of the source that "auto" weighs.
_SCALES = (1.0, 0.5, 0.0)
# Decades by which C may well be off from a tenth, before any row is held out.
_SPREAD = 0.5


class TransferredLogisticRegression(LabelledScoreMixin, ClassesMixin, ClassifierMixin, TransferBase):
    """Logistic regression on a few labelled target rows that shrinks towards the coefficients of a source model.

    Minimises ``C sum_i w_i loss(y_i, x_i W + b) + 1/2 ||W - c W_source||^2`` [1]_, [2]_: the penalty of scikit-learn's
    ``LogisticRegression``, around the source in the place of zero. `C` says how far the coefficients may leave the
    source, and c, from 0 to 1, how much of the source there is to leave; both are found by cross-validation on target
    rows, so that with many rows, or beside a useless source, little is left of it. **Labels of target rows are read**:
    this method exists to use them, and needs at least one; target rows without a label are left out.

    Parameters
    ----------
    source : classifier, fitted or not, or None, default=None
        A linear model (one with ``coef_``, ``intercept_`` and ``classes_``), or a pipeline that ends in one, whose
        other steps then prepare the rows here too, or a search or a `TransferredLogisticRegression` of such. Where it
        is fitted, `X` and `y` of ``fit`` are target rows. Where it is not, a clone is fitted on the source rows. None
        takes ``LogisticRegression(max_iter=1000)``.
    C : "auto" or float, default="auto"
        Inverse of the strength of the pull towards the source, as in ``LogisticRegression``; infinity has none.
        ``"auto"`` lets target rows that are held out vote: values from 0.001 to 10 weigh as much as the likelihood of
        these rows says, those near 0.1 more beforehand, and the mean of their logarithms is taken. So few rows hardly
        move it, and many decide. Where all are of one class, none
        is held out.
    Cs : int or array-like of shape (n_Cs,), default=5
        How many values are weighed; or values of which the best is taken.
    cv : int or splitter, default=5
        Folds of the target rows; an integer deals the rows of each class out in turn, and with fewer rows leaves out
        one at a time.
    source_scale : "auto" or float, default="auto"
        What the coefficients and intercepts of the source are multiplied by. ``"auto"`` weighs 1, 0.5 and 0 by the same
        rows where C is ``"auto"`` too, and 1 where it is given.
    fit_intercept : bool, default=True
        Whether to fit the intercepts on target rows; False keeps those of the source.
    intercept_scaling : float, default=5.0
        Intercepts are pulled too, by 1 over the square of it: how frequent classes are changes more easily than what
        tells them apart. Infinity has none, as in ``LogisticRegression``; intercepts of classes without a target row
        then run away.
    class_weight : dict, "balanced" or None, default=None
        Weights of the classes of target rows.
    max_iter : int, default=1000
        Most steps of L-BFGS.
    tol : float, default=1e-4
        Largest entry of the gradient at which it stops.
    target_domain : label or list of labels, default="target"
        Which labels of `sample_domain` are the target; all others are sources, taken together as one.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Class labels of the source and of target rows.
    coef_ : ndarray of shape (1, n_features) or (n_classes, n_features)
        Coefficients, of the rows as the last step of the source takes them.
    intercept_ : ndarray of shape (1,) or (n_classes,)
        Intercepts.
    C_ : float
        Inverse of the strength.
    source_scale_ : float
        Scale of the source.
    n_iter_ : int
        Steps of the last fit.
    source_ : object
        The fitted source.
    source_coef_ : ndarray, shaped as coef_
        Its coefficients; 0 for classes that it does not know.
    source_intercept_ : ndarray, shaped as intercept_
        Its intercepts, likewise.
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
    TransferredRidge : The same for numbers.
    TrAdaBoostClassifier : Boosting on source rows and labelled target rows.

    Notes
    -----
    A fitted source is shared by clones, not copied and never changed, so that searches and cross-validation keep it.

    Classes are matched by label. Target rows may have classes that the source does not know, whose coefficients start
    at 0; classes without a target row keep what the source knows of them, as far as the pull holds them there. Margins
    of other linear classifiers, such as ``LinearSVC``, are taken for logits.

    References
    ----------
    .. [1] C. Chelba, A. Acero, "Adaptation of Maximum Entropy Capitalizer: Little Data Can Help a Lot", EMNLP 2004.
    .. [2] J. Yang, R. Yan, A. Hauptmann, "Adapting SVM Classifiers to Data with Shifted Distributions", ICDM Workshops
       2007.

    Examples
    --------
    >>> from sktransfer import TransferredLogisticRegression, make_domain_shift
    >>> X, y, sample_domain = make_domain_shift(200, 120, shift="concept", random_state=0)
    >>> model = TransferredLogisticRegression().fit(X[:220], y[:220], sample_domain=sample_domain[:220])
    >>> model.score(X[220:], y[220:]) > model.source_.score(X[220:], y[220:])
    True
    """

    _fitted_marks = ("coef_",)
    _allowed_source = (
        "pass a linear model, such as LogisticRegression, LinearSVC or SGDClassifier, or a pipeline that ends in one, "
        "fitted or not."
    )
    _parameter_constraints: dict = {
        "source": [EstimatorOf(("classifier",), otherwise="TransferredRidge takes regressors"), None],
        "C": [StrOptions({"auto"}), Interval(Real, 0, None, closed="right")],
        "Cs": [Interval(Integral, 1, None, closed="left"), "array-like"],
        "cv": ["cv_object"],
        "source_scale": [StrOptions({"auto"}), Interval(Real, None, None, closed="neither")],
        "fit_intercept": ["boolean"],
        "intercept_scaling": [Interval(Real, 0, None, closed="right")],
        "class_weight": [Mapping, StrOptions({"balanced"}), None],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="neither")],
        "target_domain": "no_validation",
    }

    def __init__(
        self,
        source: Any = None,
        *,
        C: float | str = "auto",
        Cs: Any = 5,
        cv: Any = 5,
        source_scale: float | str = "auto",
        fit_intercept: bool = True,
        intercept_scaling: float = 5.0,
        class_weight: Mapping[Any, float] | str | None = None,
        max_iter: int = 1000,
        tol: float = 1e-4,
        target_domain: Any = "target",
    ) -> None:
        self.source = source
        self.C = C
        self.Cs = Cs
        self.cv = cv
        self.source_scale = source_scale
        self.fit_intercept = fit_intercept
        self.intercept_scaling = intercept_scaling
        self.class_weight = class_weight
        self.max_iter = max_iter
        self.tol = tol
        self.target_domain = target_domain

    @fit_context(prefer_skip_nested_validation=False)
    @small_algebra
    def fit(
        self, X: Any, y: Any, *, sample_domain: Any = None, sample_weight: Any = None
    ) -> "TransferredLogisticRegression":
        """Learn from labelled target rows, and from source rows where the source is not fitted.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
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
        ValueError
            If there is one class only, or if the source has no coefficients, or others than the rows need.
        """
        check_class_weight(self.class_weight)
        y = labels_of_fit(y, caller=type(self).__name__)
        rows = self._read(X, y, sample_domain, sample_weight)
        start = self._match(rows.y)
        codes = np.searchsorted(self.classes_, rows.y)
        weights = rows.weights * compute_sample_weight(self.class_weight, rows.y)
        if not weights.any():
            raise ValueError("class_weight is zero for every labelled target row; give a class of theirs a weight.")
        data = LogisticRows(rows.X, codes, weights, len(self.classes_))
        self.C_, self.source_scale_ = self._strength(data, start)
        start = self.source_scale_ * start
        fit = self._fit_one(data, start, self.C_, start)
        if not fit.converged:
            warnings.warn(
                f"L-BFGS stopped after {fit.n_iter} steps ({fit.message}). Scale the features, e.g. by "
                "StandardScaler() in a pipeline as source, or raise max_iter.",
                ConvergenceWarning,
                stacklevel=caller_level(),
            )
        self.n_iter_ = fit.n_iter
        self.coef_, self.intercept_ = fit.coef[:, :-1], fit.coef[:, -1]
        return self

    def _match(self, labels: np.ndarray) -> np.ndarray:
        """Set classes, and return the coefficients of the source for them, intercepts last."""
        start = match_classes(self._known_coef_, self._match_classes(labels), self.classes_)
        self.source_coef_, self.source_intercept_ = start[:, :-1], start[:, -1]
        return start

    def _fit_one(self, rows: LogisticRows, start: np.ndarray, C: float, first: np.ndarray) -> LogisticFit:
        pull = np.full(start.shape[1], 1.0 / C)
        pull[-1] /= self.intercept_scaling**2
        return fit_logistic(
            rows,
            start,
            pull,
            first=first,
            fit_intercept=self.fit_intercept,
            max_iter=self.max_iter,
            tol=self.tol,
        )

    def _strength(self, rows: LogisticRows, start: np.ndarray) -> tuple[float, float]:
        scales = _SCALES if self.source_scale == "auto" else (float(self.source_scale),)
        if self.C != "auto":
            return float(self.C), 1.0 if self.source_scale == "auto" else scales[0]
        Cs, prior = self._candidates()
        folds = class_folds(self.cv, rows.X, rows.codes)
        if not folds and prior is None:
            return float(Cs[0]), scales[0]
        losses = np.zeros((len(scales), len(Cs)))
        for train, test in folds:
            for of_scale, scale in zip(losses, scales, strict=True):
                of_scale += self._path(rows.take(train), rows.take(test), scale * start, Cs)
        if prior is None:
            i, j = np.unravel_index(np.argmin(losses), losses.shape)
            return float(Cs[j]), scales[int(i)]
        shares = prior * np.exp(losses.min() - losses)
        shares /= shares.sum()
        return float(np.exp(shares.sum(axis=0) @ np.log(Cs))), float(shares.sum(axis=1) @ scales)

    def _candidates(self) -> tuple[np.ndarray, np.ndarray | None]:
        """Return values of C, ascending, and what each is worth before a row is held out; None takes the best."""
        if not isinstance(self.Cs, Integral):
            Cs = np.sort(check_array(self.Cs, ensure_2d=False, input_name="Cs").ravel())
            if Cs[0] <= 0:
                raise ValueError(f"Cs must be above 0, got {float(Cs[0])!r}.")
            return Cs, None
        n_values = int(self.Cs)
        exponents = np.linspace(-3.0, 1.0, n_values) if n_values > 1 else np.array([-1.0])
        return 10.0**exponents, np.exp(-0.5 * ((exponents + 1.0) / _SPREAD) ** 2)

    def _path(self, train: LogisticRows, test: LogisticRows, start: np.ndarray, Cs: np.ndarray) -> np.ndarray:
        """Return the loss on held-out rows for each of `Cs`, ascending; each fit begins where the last ended."""
        found, losses = start, np.zeros(len(Cs))
        for j, C in enumerate(Cs):
            found = self._fit_one(train, start, C, found).coef
            log_p = log_softmax(class_scores(test.X, found), axis=1)
            losses[j] = -test.weights @ log_p[np.arange(len(test.codes)), test.codes]
        return losses

    def _default_source(self, X: Any) -> LogisticRegression:
        return LogisticRegression(max_iter=1000)

    def _learn_model(self, model: Any) -> None:
        coef, classes = np.atleast_2d(np.asarray(model.coef_, dtype=np.float64)), np.asarray(model.classes_)
        if len(coef) not in (1, len(classes)):
            raise ValueError(
                f"source has {len(coef)} rows of coefficients for {len(classes)} classes; {self._allowed_source}"
            )
        intercept = np.broadcast_to(np.asarray(model.intercept_, dtype=np.float64).ravel(), len(coef))
        self._known_, self._known_coef_ = classes, np.column_stack([coef, intercept])

    def decision_function(self, X: Any) -> np.ndarray:
        """Return the logits.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        scores : ndarray of shape (n_samples,) or (n_samples, n_classes)
            Of two classes the logit of the second.
        """
        scores = self._logits(X)
        return scores[:, 1] if len(self.classes_) == 2 else scores

    def _logits(self, X: Any) -> np.ndarray:
        features = self._new_features(X)
        return class_scores(features, np.column_stack([self.coef_, self.intercept_]))

    @small_algebra
    def predict_proba(self, X: Any) -> np.ndarray:
        """Predict class probabilities.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        proba : ndarray of shape (n_samples, n_classes)
            Probabilities, in the order of ``classes_``.
        """
        return softmax(self._logits(X), axis=1)
