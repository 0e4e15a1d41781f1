"""Correlation alignment: source rows get the covariance of the target."""

from numbers import Real
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.base import OneToOneFeatureMixin

from sktransfer.base import BaseAdapter
from sktransfer.domains import Domains
from sktransfer.utils._compat import Interval, StrOptions
from sktransfer.utils._linalg import RowAxes, center_rows, ledoit_wolf_weight, principal_axes, sparse_axes
from sktransfer.utils._sparse import CenteredRows, column_means

__all__ = ["CORALAdapter", "apply_power", "coral_map", "covariance_power"]


def covariance_power(
    X: Any, power: float, *, reg: float = 1.0, shrinkage: float | str | None = None
) -> tuple[float, Any, np.ndarray]:
    """Return a power of the regularised covariance of `X` as c I + R diag(w) R'.

    Parameters
    ----------
    X : {ndarray, CSR array} of shape (n_samples, n_features)
        Rows.
    power : float
        The power, such as 0.5 or -0.5.
    reg : float, default=1.0
        Added to the diagonal. Where it is 0 and there is no shrinkage, negative powers are those of the pseudo-inverse.
    shrinkage : float, "auto" or None, default=None
        Share a of the mean variance m in (1 - a) C + a m I; "auto" is that of Ledoit and Wolf.

    Returns
    -------
    c : float
        Factor of the identity.
    R : {ndarray, RowAxes} of shape (n_features, rank)
        Orthonormal columns; no matrix of n_features squared is held where there are fewer rows, and of sparse rows none
        but the rows themselves.
    w : ndarray of shape (rank,)
        Weights of the columns.
    """
    n, d = X.shape
    if sparse.issparse(X):
        centered: Any = CenteredRows(X)
        s, R = sparse_axes(centered)
        squared_norms = centered.squared_norms()
    else:
        centered = center_rows(X)
        s, R = principal_axes(centered)
        squared_norms = np.einsum("ij,ij->i", centered, centered)
    variances = s**2 / max(n - 1, 1)
    ridge = float(reg)
    # One row has no covariance to shrink.
    if shrinkage is not None and n > 1:
        share = ledoit_wolf_weight(squared_norms, s**2 / n, d) if shrinkage == "auto" else float(shrinkage)
        ridge += share * float(variances.sum()) / d
        variances = (1.0 - share) * variances
    c = ridge**power if ridge > 0 else 0.0
    values = variances + ridge
    w = np.where(values > 0, np.where(values > 0, values, 1.0) ** power, 0.0) - c
    return c, R, w


def apply_power(X: Any, power: tuple[float, Any, np.ndarray]) -> np.ndarray:
    """Return X (c I + R diag(w) R'), an ndarray of the shape of `X` (ndarray or CSR array), for `power` = (c, R, w)."""
    c, R, w = power
    Z = (c * X).toarray() if sparse.issparse(X) else c * X
    if isinstance(R, RowAxes):
        return Z + R.rows.combine((R.project(X) * w) @ R.coef.T)
    return Z + ((X @ R) * w) @ R.T


def coral_map(Xs: np.ndarray, Xt: np.ndarray, *, reg: float = 1.0, shrinkage: float | str | None = None) -> np.ndarray:
    """Return A = Cs^(-1/2) Ct^(1/2), the map of source rows that brings their covariance to that of the target.

    Parameters
    ----------
    Xs : ndarray of shape (n_source, n_features)
        Source rows.
    Xt : ndarray of shape (n_target, n_features)
        Target rows.
    reg : float, default=1.0
        Added to the diagonals of both covariances.
    shrinkage : float, "auto" or None, default=None
        See :func:`covariance_power`.

    Returns
    -------
    A : ndarray of shape (n_features, n_features)
        ``Xs @ A`` are the aligned rows.
    """
    whiten = covariance_power(Xs, -0.5, reg=reg, shrinkage=shrinkage)
    color = covariance_power(Xt, 0.5, reg=reg, shrinkage=shrinkage)
    return apply_power(apply_power(np.eye(Xs.shape[1]), whiten), color)


class CORALAdapter(OneToOneFeatureMixin, BaseAdapter):
    """Align the covariance of source rows to that of the target rows [1]_.

    Source rows are whitened by their own covariance and coloured by that of the target, x -> x Cs^(-1/2) Ct^(1/2);
    target rows stay as they are. Labels are not used.

    Parameters
    ----------
    reg : float, default=1.0
        Added to the diagonal of both covariances, in squared feature units. The default is that of the paper, for
        standardised features; 0 aligns the covariances exactly.
    shrinkage : float, "auto" or None, default=None
        Share, 0 to 1, of the mean variance that replaces a covariance, before `reg` is added; "auto" is the share of
        Ledoit and Wolf [2]_, for each domain its own. Together with ``reg=0`` it needs no units.
    align_means : bool, default=False
        Whether source rows also move to the mean of the target. The paper standardises each domain first, so that both
        means are zero.
    target_domain : label or list of labels, default="target"
        Which labels of `sample_domain` are the target; all others are sources, taken together as one.

    Attributes
    ----------
    source_mean_ : ndarray of shape (n_features,)
        Mean of the source rows; zero unless ``align_means=True``.
    target_mean_ : ndarray of shape (n_features,)
        Mean of the target rows; zero unless ``align_means=True``.
    n_features_out_ : int
        Number of features, as many as came in.
    source_domains_ : list
        Names of the source domains.
    n_features_in_ : int
        Number of features seen in fit.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of features seen in fit, where all are strings.

    See Also
    --------
    coral_distance : The difference of covariances.
    DomainStandardizer : Aligns means and variances only.

    Notes
    -----
    Time grows with n_samples, n_features and the square of the smaller of the two; memory likewise. Set
    ``align_means=True`` for features that are not centred.

    A sparse matrix, such as words by TF-IDF, is taken as it is: of more features than rows, all that is computed is
    inner products of rows. Rows come back as a dense array, those of the target too, for whitening fills them: a
    hundred rows of 20 000 features take 16 MB.

    References
    ----------
    .. [1] B. Sun, J. Feng, K. Saenko, "Return of Frustratingly Easy Domain Adaptation", AAAI 2016.
    .. [2] O. Ledoit, M. Wolf, "A Well-Conditioned Estimator for Large-Dimensional Covariance Matrices", Journal of
       Multivariate Analysis 88(2), 2004.

    Examples
    --------
    >>> import numpy as np
    >>> from sktransfer.adaptation import CORALAdapter
    >>> X = np.array([[-1.0, 0.0], [1.0, 0.0], [0.0, -1.0], [0.0, 1.0]])
    >>> adapter = CORALAdapter(reg=0).fit(np.vstack([X, 3 * X]), sample_domain=["source"] * 4 + ["target"] * 4)
    >>> adapter.transform([[1.0, 0.0]], sample_domain=["source"]).round(6)
    array([[3., 0.]])
    """

    _parameter_constraints: dict = {
        **BaseAdapter._parameter_constraints,
        "reg": [Interval(Real, 0, None, closed="left")],
        "shrinkage": [Interval(Real, 0, 1, closed="both"), StrOptions({"auto"}), None],
        "align_means": ["boolean"],
    }

    def __init__(
        self,
        reg: float = 1.0,
        *,
        shrinkage: float | str | None = None,
        align_means: bool = False,
        target_domain: Any = "target",
    ) -> None:
        self.reg = reg
        self.shrinkage = shrinkage
        self.align_means = align_means
        self.target_domain = target_domain

    def _dense_reason(self) -> str | None:
        return None

    def _fit_rows(self, X: Any, domains: Domains, y: Any) -> None:
        rows = X.astype(np.float64, copy=False)
        Xs, Xt = rows[domains.is_source], rows[domains.is_target]
        self._whiten = covariance_power(Xs, -0.5, reg=self.reg, shrinkage=self.shrinkage)
        self._color = covariance_power(Xt, 0.5, reg=self.reg, shrinkage=self.shrinkage)
        zero = np.zeros(X.shape[1])
        self.source_mean_ = column_means(Xs) if self.align_means else zero
        self.target_mean_ = column_means(Xt) if self.align_means else zero
        self.n_features_out_ = X.shape[1]

    def _transform_rows(self, X: Any, is_target: np.ndarray) -> np.ndarray:
        Z = X.toarray() if sparse.issparse(X) else X.copy()
        is_source = ~is_target
        if is_source.any():
            Z[is_source] = self._align(X[is_source].astype(np.float64, copy=False))
        return Z

    def _align(self, rows: Any) -> np.ndarray:
        if not sparse.issparse(rows):
            return apply_power(apply_power(rows - self.source_mean_, self._whiten), self._color) + self.target_mean_
        # The map is linear: what the mean would fill is taken off its image.
        mean = apply_power(apply_power(self.source_mean_[np.newaxis], self._whiten), self._color)
        return apply_power(apply_power(rows, self._whiten), self._color) + (self.target_mean_ - mean)
