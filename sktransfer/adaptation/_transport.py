"""Optimal transport: source rows move to where a transport plan carries them."""

import warnings
from collections.abc import Callable
from functools import partial
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import DTypeLike
from scipy import sparse
from sklearn.base import OneToOneFeatureMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import pairwise_distances, pairwise_distances_argmin

from sktransfer.adaptation._pseudo_labels import read_classes
from sktransfer.base import BaseAdapter
from sktransfer.domains import Domains
from sktransfer.utils._compat import Interval, StrOptions
from sktransfer.utils._cost import announce
from sktransfer.utils._kernels import move_rows, row_blocks, squared_distances
from sktransfer.utils._messages import caller_level
from sktransfer.utils._optional import import_optional
from sktransfer.utils._sparse import column_means, stack_rows

__all__ = ["OTAdapter", "barycenters", "transport_plan"]

_CLASS_METHODS = ("l1l2", "lpl1")
# From this many pairs on, costs of "sinkhorn" are kept in single precision: half of the memory, and of the time.
_MANY_PAIRS = 2**20
# Costs, kernel, plan and a copy; and about how many times a solver passes over the pairs.
_HELD_PAIRS, _STEPS = 4, 200
# exp(-cost / reg) must not vanish, which it does in single precision near exp(-88).
_MAX_SINGLE_EXPONENT = 80.0


def transport_plan(
    cost: np.ndarray,
    *,
    method: str = "sinkhorn",
    reg: float = 0.1,
    reg_class: float = 0.1,
    codes: np.ndarray | None = None,
) -> np.ndarray:
    """Return the plan that carries equal masses of source rows to equal masses of target rows, computed by POT.

    Parameters
    ----------
    cost : ndarray of shape (n_source, n_target)
        Cost of each pair; the plan is computed in its precision.
    method : {"emd", "sinkhorn", "lpl1", "l1l2"}, default="sinkhorn"
        Exact; with an entropy; with an entropy and a group penalty that keeps rows of different classes apart.
    reg : float, default=0.1
        Weight of the entropy, in units of `cost`.
    reg_class : float, default=0.1
        Weight of the group penalty.
    codes : ndarray of int of shape (n_source,) or None, default=None
        Class numbers of source rows, for the group penalties.

    Returns
    -------
    plan : ndarray of shape (n_source, n_target)
        Its rows sum to 1 / n_source, its columns to 1 / n_target.

    Raises
    ------
    ImportError
        If POT is not installed.
    ValueError
        If the plan is not finite, because `reg` is too small for such costs.
    """
    ot = import_optional("ot", extra="transport", caller="OTAdapter")
    n, m = cost.shape
    a, b = np.full(n, 1.0 / n, dtype=cost.dtype), np.full(m, 1.0 / m, dtype=cost.dtype)
    with warnings.catch_warnings():
        # POT warns of every inner loop; what counts is whether the plan carries all mass, which is looked at below.
        warnings.simplefilter("ignore")
        if method == "emd":
            plan = ot.emd(a, b, cost, numItermax=1_000_000)
        elif method == "sinkhorn":
            # By how much the plan may miss b, in norm; rounding does not let single precision come nearer.
            stop = 1e-9 if cost.dtype == np.float64 else 1e-5 / np.sqrt(m)
            plan = ot.sinkhorn(a, b, cost, reg, numItermax=2000, stopThr=stop)
        elif method == "lpl1":
            plan = ot.da.sinkhorn_lpl1_mm(a, codes, b, cost, reg, eta=reg_class)
        else:
            # POT's own limit of ten steps may end above the plan without classes.
            plan = ot.da.sinkhorn_l1l2_gl(a, codes, b, cost, reg, eta=reg_class, numItermax=100)
    plan = np.asarray(plan)
    if not np.isfinite(plan).all() or not (plan.sum(axis=1) > 0).all():
        raise ValueError(
            f"The transport plan is not finite: reg={reg!r} is too small for costs up to {cost.max():.3g}. Raise reg, "
            f"or take method='emd', which needs none."
        )
    missed = max(np.abs(plan.sum(axis=1) * n - 1).max(), np.abs(plan.sum(axis=0) * m - 1).max())
    if missed > 0.05:
        warnings.warn(
            f"The transport plan misses up to {missed:.0%} of the mass of a row; raise reg (now {reg!r}).",
            ConvergenceWarning,
            stacklevel=caller_level(),
        )
    return plan


def barycenters(plan: np.ndarray, Xt: Any) -> Any:
    """Return the mean of `Xt`, shape (n_target, n_features), as each row of the plan weighs it.

    Sparse rows stay sparse where the plan carries to few of them, as an exact one does.
    """
    if sparse.issparse(Xt):
        shares = plan / plan.sum(axis=1, keepdims=True)
        few = np.count_nonzero(shares) <= shares.shape[0] + shares.shape[1]
        return sparse.csr_array(shares) @ Xt if few else shares @ Xt
    # Around the mean, rows lose no digits to a plan in single precision.
    origin = Xt.mean(axis=0)
    return plan @ move_rows(Xt, origin, plan.dtype) / plan.sum(axis=1, keepdims=True) + origin


class OTAdapter(OneToOneFeatureMixin, BaseAdapter):
    """Carry source rows to the target by optimal transport [1]_.

    A plan carries the mass of the source rows to the target rows at least cost; each source row moves to the mean of
    the target rows that it is carried to. Target rows stay as they are. A source row that was not in the training data
    moves as its nearest source row did. Needs the package POT (``pip install 'sktransfer[transport]'``).

    Parameters
    ----------
    method : {"sinkhorn", "emd", "lpl1", "l1l2"}, default="sinkhorn"
        "emd" is exact; "sinkhorn" smooths the plan by an entropy; "lpl1" and "l1l2" also keep source rows of different
        classes from going to the same target row, and read the labels of source rows.
    reg : float, default=0.1
        Weight of the entropy, in units of the scaled cost. "emd" ignores it.
    reg_class : float, default=0.1
        Weight of the class penalty of "lpl1" and "l1l2".
    metric : {"sqeuclidean", "euclidean", "cosine", "cityblock"}, default="sqeuclidean"
        Cost of carrying a row.
    cost_scale : {"median", "max"} or None, default="median"
        What costs are divided by, so that `reg` has no units; None leaves them.
    target_domain : label or list of labels, default="target"
        Which labels of `sample_domain` are the target; all others are sources, taken together as one.

    Attributes
    ----------
    X_source_ : {ndarray, CSR array} of shape (n_source, n_features)
        Source rows of the training data.
    shift_ : {ndarray, CSR array} of shape (n_source, n_features)
        How each of them moves.
    cost_ : float
        Total cost of the plan, in units of the metric.
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
    CORALAdapter : A linear map, for many rows.

    Notes
    -----
    Memory grows with n_source times n_target. "sinkhorn" works in single precision from a million pairs on, unless
    costs of more than 80 times `reg` occur.

    Of a sparse matrix costs are computed as it is. "emd" carries a source row to few target rows, and gives a CSR array
    back; the other methods carry it to nearly all of them, and give a dense one.

    References
    ----------
    .. [1] N. Courty, R. Flamary, D. Tuia, A. Rakotomamonjy, "Optimal Transport for Domain Adaptation", IEEE
       Transactions on Pattern Analysis and Machine Intelligence 39(9), 2017.

    Examples
    --------
    >>> import numpy as np
    >>> from sktransfer.adaptation import OTAdapter
    >>> X = np.array([[0.0], [1.0], [5.0], [6.0]])
    >>> adapter = OTAdapter(method="emd")
    >>> adapter.fit_transform(X, sample_domain=["source"] * 2 + ["target"] * 2)  # doctest: +SKIP
    array([[5.], [6.], [5.], [6.]])
    """

    _parameter_constraints: dict = {
        **BaseAdapter._parameter_constraints,
        "method": [StrOptions({"emd", "sinkhorn", "lpl1", "l1l2"})],
        "reg": [Interval(Real, 0, None, closed="neither")],
        "reg_class": [Interval(Real, 0, None, closed="left")],
        "metric": [StrOptions({"sqeuclidean", "euclidean", "cosine", "cityblock"})],
        "cost_scale": [StrOptions({"median", "max"}), None],
    }

    def __init__(
        self,
        method: str = "sinkhorn",
        *,
        reg: float = 0.1,
        reg_class: float = 0.1,
        metric: str = "sqeuclidean",
        cost_scale: str | None = "median",
        target_domain: Any = "target",
    ) -> None:
        self.method = method
        self.reg = reg
        self.reg_class = reg_class
        self.metric = metric
        self.cost_scale = cost_scale
        self.target_domain = target_domain

    def _dense_reason(self) -> str | None:
        return None

    def _fit_rows(self, X: Any, domains: Domains, y: Any) -> None:
        by_class = self.method in _CLASS_METHODS
        codes = read_classes(X, y, domains, caller=f"OTAdapter(method={self.method!r})")[1] if by_class else None
        rows = X.astype(np.float64, copy=False)
        Xs, Xt = rows[domains.is_source], rows[domains.is_target]
        n_pairs = Xs.shape[0] * Xt.shape[0]
        single = self.method == "sinkhorn" and n_pairs >= _MANY_PAIRS
        announce(
            "OTAdapter",
            n_bytes=_HELD_PAIRS * n_pairs * (4 if single else 8),
            seconds=_STEPS * n_pairs / 1e9,
            why=f"it holds several numbers for each pair of {Xs.shape[0]} source rows and {Xt.shape[0]} target rows",
            instead="Fit it on some thousand rows of each domain, and transform all; or take CORALAdapter.",
        )
        cost, scale = self._costs(Xs, Xt, np.float32 if single else np.float64)
        if single and cost.max() > _MAX_SINGLE_EXPONENT * self.reg:
            cost, scale = self._costs(Xs, Xt, np.float64)
        plan = transport_plan(cost, method=self.method, reg=self.reg, reg_class=self.reg_class, codes=codes)
        self.cost_ = scale * float(np.einsum("ij,ij->", plan, cost, dtype=np.float64))
        self.X_source_ = Xs
        self.shift_ = barycenters(plan, Xt) - Xs
        self.n_features_out_ = X.shape[1]

    def _costs(self, Xs: Any, Xt: Any, dtype: DTypeLike) -> tuple[np.ndarray, float]:
        """Return the scaled costs and their scale."""
        cost = np.empty((Xs.shape[0], Xt.shape[0]), dtype=dtype)
        measure: Callable[[np.ndarray, np.ndarray], np.ndarray] = partial(pairwise_distances, metric=self.metric)
        if self.metric == "sqeuclidean":
            # pairwise_distances would go through it pair by pair, at ten times the time of products.
            origin, measure = column_means(Xt), squared_distances
            Xs, Xt = move_rows(Xs, origin, dtype), move_rows(Xt, origin, dtype)
        for rows in row_blocks(*cost.shape):
            cost[rows] = measure(Xs[rows], Xt)
        scale = self._scale(cost)
        cost /= scale
        return cost, scale

    def _scale(self, cost: np.ndarray) -> float:
        if self.cost_scale is None:
            return 1.0
        scale = float(np.median(cost) if self.cost_scale == "median" else np.max(cost))
        # Where half of the pairs are of equal rows, the median says nothing.
        return scale if scale > 0 else float(np.max(cost)) or 1.0

    def _transform_rows(self, X: Any, is_target: np.ndarray) -> Any:
        source_rows = np.flatnonzero(~is_target)
        rows = X[source_rows].astype(np.float64, copy=False)
        if len(source_rows):
            rows = rows + self.shift_[pairwise_distances_argmin(rows, self.X_source_)]
        if sparse.issparse(self.shift_) and sparse.issparse(X):
            order = np.argsort(np.concatenate([np.flatnonzero(is_target), source_rows]))
            return stack_rows(X[is_target], sparse.csr_array(rows).astype(X.dtype))[order]
        Z = X.toarray() if sparse.issparse(X) else X.copy()
        Z[source_rows] = rows.toarray() if sparse.issparse(rows) else rows
        return Z

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = self.method in _CLASS_METHODS
        return tags
