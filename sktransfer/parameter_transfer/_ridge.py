"""TransferredRidge: ridge regression that shrinks towards the coefficients of a source model."""

from collections.abc import Callable
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
from scipy import linalg, sparse
from sklearn.base import MultiOutputMixin, RegressorMixin
from sklearn.linear_model import Ridge
from sklearn.utils import check_array
from sklearn.utils.extmath import safe_sparse_dot

from sktransfer.base import LabelledScoreMixin
from sktransfer.domains import labels_of_fit
from sktransfer.parameter_transfer._base import TransferBase
from sktransfer.parameter_transfer._labels import NumbersMixin
from sktransfer.utils._compat import EstimatorOf, Interval, StrOptions, fit_context
from sktransfer.utils._threads import small_algebra

__all__ = ["RidgeAxes", "TransferredRidge", "choose_strength"]

# Singular values below this share of the largest are those of rounding.
_ROUNDING = 1e-10
# Logarithms of the strengths that "auto" weighs, in units of the mean square of a feature; 2 is what is believed before
# any row is seen, give or take the spread.
_EXPONENTS = np.linspace(-2.0, 5.0, 29)
_SPREAD = 0.5
_SCALES = np.array([1.0, 0.75, 0.5, 0.25, 0.0])


@dataclass(frozen=True)
class RidgeAxes:
    """The singular value decomposition A = U diag(s) V' of weighted, centred rows; V is not formed.

    Attributes
    ----------
    U : ndarray of shape (n_samples, rank)
        Left singular vectors.
    s : ndarray of shape (rank,)
        Singular values, all positive.
    weights : ndarray of shape (n_samples,)
        Weights of the rows.
    mean : ndarray of shape (n_features,)
        Weighted mean that was taken off; zeros where rows were not centred.
    transposed_product : callable
        Gives A'B for B of shape (n_samples, k).
    centred : bool
        Whether the mean was taken off.
    """

    U: np.ndarray
    s: np.ndarray
    weights: np.ndarray
    mean: np.ndarray
    transposed_product: Callable[[np.ndarray], np.ndarray]
    centred: bool

    @classmethod
    def of(cls, X: Any, weights: np.ndarray, *, center: bool) -> "RidgeAxes":
        """Decompose rows `X`, an ndarray or a CSR array, of which none weighs nothing."""
        roots, total = np.sqrt(weights), weights.sum()
        mean = np.ravel(X.T @ weights) / total if center else np.zeros(X.shape[1])
        if not sparse.issparse(X):
            A = (X - mean) * roots[:, np.newaxis]
            U, s, _ = linalg.svd(A, full_matrices=False, check_finite=False)
            product = A.T.__matmul__
        else:
            B = sparse.csr_array(X.multiply(roots[:, np.newaxis]))
            U, s = _sparse_axes(B, roots, mean)

            def product(V: np.ndarray) -> np.ndarray:
                return B.T @ V - np.outer(mean, roots @ V)

        kept = s > _ROUNDING * s[0] if len(s) and s[0] > 0 else np.zeros(len(s), dtype=bool)
        return cls(U[:, kept], s[kept], weights, mean, product, center)

    def coef(self, Y: np.ndarray, alpha: float) -> np.ndarray:
        """Return (A'A + alpha I)^-1 A'D Y, shape (n_features, n_targets), D of the roots of the weights."""
        along = self.U.T @ (Y * np.sqrt(self.weights)[:, np.newaxis])
        return self.transposed_product(self.U @ (along / (self.s**2 + alpha)[:, np.newaxis]))

    def left_out(self, Y: np.ndarray, alpha: float) -> np.ndarray:
        """Return what remains of `Y`, shape (n_samples, n_targets), where each row is predicted without itself.

        Of a row that weighs more than 1, a weight of 1 is left out: it stands for so many equal rows.
        """
        roots = np.sqrt(self.weights)[:, np.newaxis]
        shares = self.s**2 / (self.s**2 + alpha)
        residual = Y - (self.weights @ Y) / self.weights.sum() if self.centred else Y
        residual = residual - self.U @ (shares[:, np.newaxis] * (self.U.T @ (residual * roots))) / roots
        leverage = (self.U**2 @ shares) / self.weights + (1.0 / self.weights.sum() if self.centred else 0.0)
        rest = 1.0 - np.minimum(self.weights, 1.0) * leverage
        return residual / np.maximum(rest, _ROUNDING)[:, np.newaxis]


def _sparse_axes(B: Any, roots: np.ndarray, mean: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return U and s of B less the outer product of `roots` and `mean`, from the smaller Gram matrix."""
    n, d = B.shape
    if n <= d:
        across = np.outer(roots, B @ mean)
        G = (B @ B.T).toarray() - across - across.T + np.outer(roots, roots) * (mean @ mean)
        squared, U = linalg.eigh(G, check_finite=False)
        s = np.sqrt(np.maximum(squared[::-1], 0.0))
        return U[:, ::-1], np.where(s > np.sqrt(_ROUNDING**1.2) * s[0], s, 0.0)
    G = (B.T @ B).toarray() - (roots @ roots) * np.outer(mean, mean)
    squared, V = linalg.eigh(G, check_finite=False)
    s = np.sqrt(np.maximum(squared[::-1], 0.0))
    s = np.where(s > np.sqrt(_ROUNDING**1.2) * s[0], s, 0.0)
    U = B @ V[:, ::-1] - np.outer(roots, mean @ V[:, ::-1])
    return U / np.where(s > 0, s, 1.0), s


def _has_columns(y: Any) -> bool:
    """Say whether labels have several columns."""
    shape = np.asarray(y, dtype=object).shape
    return len(shape) == 2 and shape[1] > 1


def choose_strength(
    axes: RidgeAxes,
    Y: np.ndarray,
    F: np.ndarray,
    *,
    alphas: np.ndarray,
    scales: np.ndarray,
    prior: np.ndarray | None = None,
) -> tuple[float, float]:
    """Return the strength and the scale of the source by which rows are predicted that are left out.

    Parameters
    ----------
    axes : RidgeAxes
        Of the rows.
    Y : ndarray of shape (n_samples, n_targets)
        Labels.
    F : ndarray of shape (n_samples, n_targets)
        Predictions of the source.
    alphas : ndarray of shape (n_alphas,)
        Strengths; of equals the first is taken.
    scales : ndarray of shape (n_scales,)
        Scales of the source.
    prior : ndarray of shape (n_alphas,) or None, default=None
        What each strength is worth beforehand. Each pair then weighs as much as this and the likelihood of the rows
        left out say, with noise of a variance that is not known, and the means are returned. None takes the best pair.

    Returns
    -------
    alpha : float
        Strength.
    source_scale : float
        Scale.
    """
    weights, losses = axes.weights, np.empty((len(alphas), len(scales), Y.shape[1]))
    for of_alpha, alpha in zip(losses, alphas, strict=True):
        # What remains is linear in labels and source predictions.
        y, f = axes.left_out(Y, alpha), axes.left_out(F, alpha)
        of_alpha[:] = [weights @ (y - scale * f) ** 2 for scale in scales]
    if prior is None:
        totals = losses.sum(axis=2)
        i, j = np.unravel_index(np.argmax(totals <= totals.min() * (1.0 + 1e-9)), totals.shape)
        return float(alphas[i]), float(scales[j])
    least = np.maximum(losses.min(axis=(0, 1)), np.finfo(float).tiny)
    surprise = 0.5 * weights.sum() * np.log(np.maximum(losses / least, 1.0)).sum(axis=2)
    shares = prior[:, np.newaxis] * np.exp(-surprise)
    shares /= shares.sum()
    return float(np.exp(shares.sum(axis=1) @ np.log(alphas))), float(shares.sum(axis=0) @ scales)


class TransferredRidge(LabelledScoreMixin, NumbersMixin, MultiOutputMixin, RegressorMixin, TransferBase):
    """Ridge regression on a few labelled target rows that shrinks towards the coefficients of a source model.

    Minimises ``sum_i w_i (y_i - x_i w - b)^2 + alpha ||w - c w_source||^2`` [1]_, [2]_: scikit-learn's ``Ridge`` on
    what the source leaves of the labels. `alpha` says how far the coefficients may leave the source, and c, from 0 to
    1, how much of the source there is to leave; both are chosen by leaving rows out, so that with many rows, or beside
    a useless source, little is left of it. **Labels of target rows are read**: this method exists to use them, and
    needs at least one; target rows without a label are left out.

    Parameters
    ----------
    source : regressor, fitted or not, or None, default=None
        A linear model (one with ``coef_`` and ``intercept_``), or a pipeline that ends in one, whose other steps then
        prepare the rows here too, or a search or a `TransferredRidge` of such. Where it is fitted, `X` and `y` of
        ``fit`` are target rows. Where it is not, a clone is fitted on the source rows. None takes ``Ridge()``.
    alpha : "auto" or float, default="auto"
        Strength of the pull towards the source, as in ``Ridge``; 0 has none, infinity keeps the source's coefficients.
        ``"auto"`` lets target rows that are left out vote, in closed form: strengths from 0.01 to 100000 times the mean
        square of a feature weigh as much as the likelihood of these rows says, those near 100 more beforehand, and the
        mean of their logarithms is taken. So few rows hardly move it, and many decide.
    alphas : array-like of shape (n_alphas,) or None, default=None
        Strengths of which ``"auto"`` takes the best instead.
    source_scale : "auto" or float, default="auto"
        What the coefficients and the intercept of the source are multiplied by. ``"auto"`` weighs five values from 1 to
        0 by the same rows where alpha is ``"auto"`` too, and takes 1 where it is given.
    fit_intercept : bool, default=True
        Whether to fit the intercept on target rows, without a penalty; False keeps that of the source.
    target_domain : label or list of labels, default="target"
        Which labels of `sample_domain` are the target; all others are sources, taken together as one.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,) or (n_targets, n_features)
        Coefficients, of the rows as the last step of the source takes them.
    intercept_ : float or ndarray of shape (n_targets,)
        Intercept.
    alpha_ : float
        Strength.
    source_scale_ : float
        Scale of the source.
    source_ : object
        The fitted source.
    source_coef_ : ndarray, shaped as coef_
        Its coefficients.
    source_intercept_ : float or ndarray of shape (n_targets,)
        Its intercept.
    preprocessing_ : Pipeline or None
        Its steps before the last.
    minus_one_is_missing_ : bool
        Whether -1 in integer labels of target rows means "no label"; not where a source label is negative, and not
        where the source came fitted.
    source_domains_ : list
        Names of the source domains; empty without `sample_domain`.
    n_features_in_ : int
        Number of features seen in fit.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of features seen in fit, where all are strings.

    See Also
    --------
    TransferredLogisticRegression : The same for classes.
    FeatureAugmentationAdapter : A linear model of source and target rows with a part for each.

    Notes
    -----
    A fitted source is shared by clones, not copied and never changed, so that searches and cross-validation keep it.

    Leaving rows out takes weights for counts: of a row that weighs more than 1, a weight of 1 is left out.

    References
    ----------
    .. [1] C. Chelba, A. Acero, "Adaptation of Maximum Entropy Capitalizer: Little Data Can Help a Lot", EMNLP 2004.
    .. [2] F. Orabona, C. Castellini, B. Caputo, A. Fiorilla, G. Sandini, "Model Adaptation with Least-Squares SVM for
       Adaptive Hand Prosthetics", ICRA 2009.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import Ridge
    >>> from sktransfer import TransferredRidge
    >>> rng = np.random.default_rng(0)
    >>> Xs, Xt, coef = rng.normal(size=(200, 10)), rng.normal(size=(108, 10)), np.arange(10.0)
    >>> source = Ridge().fit(Xs, Xs @ coef)
    >>> yt = Xt @ (coef + 0.5) + 3.0 + rng.normal(size=108)
    >>> model = TransferredRidge(source).fit(Xt[:8], yt[:8])
    >>> model.score(Xt[8:], yt[8:]) > Ridge().fit(Xt[:8], yt[:8]).score(Xt[8:], yt[8:])
    True
    """

    _fitted_marks = ("coef_",)
    _allowed_source = (
        "pass a linear model, such as Ridge, LinearRegression or Lasso, or a pipeline that ends in one, fitted or not."
    )
    _parameter_constraints: dict = {
        "source": [EstimatorOf(("regressor",), otherwise="TransferredLogisticRegression takes classifiers"), None],
        "alpha": [StrOptions({"auto"}), Interval(Real, 0, None, closed="both")],
        "alphas": ["array-like", None],
        "source_scale": [StrOptions({"auto"}), Interval(Real, None, None, closed="neither")],
        "fit_intercept": ["boolean"],
        "target_domain": "no_validation",
    }

    def __init__(
        self,
        source: Any = None,
        *,
        alpha: float | str = "auto",
        alphas: Any = None,
        source_scale: float | str = "auto",
        fit_intercept: bool = True,
        target_domain: Any = "target",
    ) -> None:
        self.source = source
        self.alpha = alpha
        self.alphas = alphas
        self.source_scale = source_scale
        self.fit_intercept = fit_intercept
        self.target_domain = target_domain

    @fit_context(prefer_skip_nested_validation=False)
    @small_algebra
    def fit(self, X: Any, y: Any, *, sample_domain: Any = None, sample_weight: Any = None) -> "TransferredRidge":
        """Learn from labelled target rows, and from source rows where the source is not fitted.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Target rows, or rows of all domains; a frame or whatever the first step of a pipeline as source takes.
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
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
            If the source has no coefficients, or others than the rows need.
        """
        several = _has_columns(y)
        params: dict[str, Any] = {"dtype": np.float64, "ensure_all_finite": "allow-nan", "input_name": "y"}
        y = check_array(y, **params) if several else labels_of_fit(y, caller=type(self).__name__)
        self._n_targets_ = y.shape[1] if several else 0
        rows = self._read(X, y, sample_domain, sample_weight)
        Y = rows.y.astype(np.float64).reshape(len(rows.y), -1)
        W, b = np.atleast_2d(self.source_coef_), np.atleast_1d(self.source_intercept_)
        F = safe_sparse_dot(rows.X, W.T) + b
        axes = RidgeAxes.of(rows.X, rows.weights, center=self.fit_intercept)
        self.alpha_, scale = self._strength(axes, Y, F)
        self.source_scale_ = scale
        rest = Y - scale * F
        coef = scale * W if np.isinf(self.alpha_) else scale * W + axes.coef(rest, self.alpha_).T
        intercept = scale * b
        if self.fit_intercept:
            intercept = rows.weights @ (Y - safe_sparse_dot(rows.X, coef.T)) / rows.weights.sum()
        single = self._n_targets_ == 0
        self.coef_: np.ndarray = coef[0] if single else coef
        self.intercept_: float | np.ndarray = float(intercept[0]) if single else intercept
        return self

    def _strength(self, axes: RidgeAxes, Y: np.ndarray, F: np.ndarray) -> tuple[float, float]:
        scales = _SCALES if self.source_scale == "auto" else np.array([self.source_scale], dtype=float)
        if self.alpha != "auto":
            return float(self.alpha), 1.0 if self.source_scale == "auto" else float(scales[0])
        if self.alphas is None:
            unit = float(np.sum(axes.s**2)) / (axes.weights.sum() * len(axes.mean))
            alphas = 10.0**_EXPONENTS * (unit if unit > 0 else 1.0)
            prior = np.exp(-0.5 * ((_EXPONENTS - 2.0) / _SPREAD) ** 2)
            return choose_strength(axes, Y, F, alphas=alphas, scales=scales, prior=prior)
        alphas = np.sort(check_array(self.alphas, ensure_2d=False, input_name="alphas").ravel())[::-1]
        if alphas[-1] < 0:
            raise ValueError(f"alphas must be at least 0, got {float(alphas[-1])!r}; alpha=0 means no pull at all.")
        return choose_strength(axes, Y, F, alphas=alphas, scales=scales)

    def _default_source(self, X: Any) -> Ridge:
        # The default solver warns of columns of very different scale, and this one does not mind them.
        return Ridge(solver="auto" if sparse.issparse(X) else "svd")

    def _learn_model(self, model: Any) -> None:
        coef, k = np.asarray(model.coef_, dtype=np.float64), max(self._n_targets_, 1)
        coef = np.atleast_2d(coef)
        if coef.shape[0] != k:
            raise ValueError(
                f"source has coefficients for {coef.shape[0]} outputs, but y has {k}. Pass a source that was fitted "
                "with the same outputs."
            )
        intercept = np.broadcast_to(np.asarray(model.intercept_, dtype=np.float64).ravel(), k).copy()
        single = self._n_targets_ == 0
        self.source_coef_ = coef[0] if single else coef
        self.source_intercept_ = float(intercept[0]) if single else intercept

    @small_algebra
    def predict(self, X: Any) -> np.ndarray:
        """Predict numbers.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        y : ndarray of shape (n_samples,) or (n_samples, n_targets)
            Numbers.
        """
        return safe_sparse_dot(self._new_features(X), self.coef_.T) + self.intercept_

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Score predictions by R^2, on the rows that have a label.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows.
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
            Labels; of several columns all must be there.
        sample_weight : array-like of shape (n_samples,) or None, default=None
            Weights of the rows.

        Returns
        -------
        float
            The score.
        """
        if _has_columns(y):
            return RegressorMixin.score(self, X, y, sample_weight=sample_weight)
        return super().score(X, y, sample_weight=sample_weight)
