"""Manifold embedded distribution alignment: a kernel classifier learned together with the alignment."""

from numbers import Integral, Real
from typing import Any

import numpy as np
from scipy import linalg, sparse
from sklearn.base import clone
from sklearn.neighbors import kneighbors_graph
from sklearn.preprocessing import normalize

from sktransfer.adaptation._domain_classifier import DomainClassifier
from sktransfer.adaptation._gfk import geodesic_flow_map
from sktransfer.adaptation._pseudo_labels import balance_factor, domain_distance, mean_differences, nearest_neighbor
from sktransfer.adaptation._subspace import around, principal_subspaces
from sktransfer.domains import Domains
from sktransfer.utils._compat import EstimatorOf, Interval, StrOptions
from sktransfer.utils._cost import announce, pair_seconds
from sktransfer.utils._kernels import (
    by_landmarks,
    draw_landmarks,
    kernel_blocks,
    kernel_factor,
    pairwise_kernel,
    resolve_gamma,
    row_blocks,
)

__all__ = ["AlignedLeastSquares", "MEDAClassifier", "cosine_laplacian"]


def cosine_laplacian(X: np.ndarray, n_neighbors: int) -> sparse.csr_array:
    """Return the normalised Laplacian I - D^(-1/2) W D^(-1/2) of the graph of nearest neighbours.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Rows of unit length.
    n_neighbors : int
        Number of neighbours; a row is joined with its own, and with those whose neighbour it is. Weights are cosines,
        and each row is joined with itself.

    Returns
    -------
    laplacian : CSR array of shape (n_samples, n_samples)
        Symmetric.
    """
    n = len(X)
    graph = kneighbors_graph(X, min(n_neighbors, n - 1), mode="connectivity", include_self=False)
    graph = sparse.coo_array(graph.maximum(graph.T))
    i, j = graph.coords
    keep = i != j  # of equal rows one may be the other's neighbour in place of itself
    i, j = i[keep], j[keep]
    cosines = np.maximum(np.einsum("ij,ij->i", X[i], X[j]), 0.0)
    W = sparse.csr_array((cosines, (i, j)), shape=(n, n)) + sparse.eye_array(n, format="csr")
    # Rows of zeros have no direction, but they have themselves: no degree is zero.
    scale = sparse.diags_array(1.0 / np.sqrt(np.ravel(W.sum(axis=1))))
    return sparse.csr_array(sparse.eye_array(n) - scale @ W @ scale)


class AlignedLeastSquares:
    """Least squares on source rows that are smooth over all rows, for any alignment of the domains.

    With the values f = Phi v of the rows, Phi the kernel matrix K or a factor F of an approximation F F' to it, A the
    diagonal matrix that takes source rows, M = E E' and L the Laplacian, v minimises

        |A (Y - f)|^2 + eta |v|^2 + lambda f'M f + rho f'L f,

    where |v|^2 stands for v'K v if Phi = K. Only M changes from round to round: what does not is factored once, and the
    few columns of E are a small correction to it, by the identity of Woodbury.

    Parameters
    ----------
    values : ndarray of shape (n_samples, size)
        Phi.
    Y : ndarray of shape (n_samples, n_classes)
        One-hot labels; rows of the target are not looked at.
    is_source : ndarray of bool of shape (n_samples,)
        Which rows are source rows.
    laplacian : CSR array of shape (n_samples, n_samples) or None
        rho L.
    reg : float
        Weight eta of the ridge.
    factored : bool
        Whether Phi is a factor F; otherwise it is the kernel matrix.
    """

    def __init__(
        self,
        values: np.ndarray,
        Y: np.ndarray,
        is_source: np.ndarray,
        laplacian: Any,
        *,
        reg: float,
        factored: bool = False,
    ) -> None:
        self.values, self.factored = values, factored
        fitted = np.where(is_source[:, np.newaxis], Y, 0.0)
        # A + rho L; for the kernel matrix the solution in the paper, K itself cancelled from the left.
        weights = sparse.diags_array(is_source.astype(np.float64), format="csr")
        weights = weights if laplacian is None else sparse.csr_array(laplacian + weights)
        if factored:
            left, fitted = np.zeros((values.shape[1],) * 2), values.T @ fitted
            for rows in row_blocks(*values.shape, memory=64):
                left += values[rows].T @ (weights[rows] @ values)
        else:
            left = weights @ values
        left[np.diag_indices_from(left)] += reg
        if factored:
            factor = linalg.cho_factor(left, overwrite_a=True, check_finite=False)
            self._solve = lambda B: linalg.cho_solve(factor, B, check_finite=False)
        else:
            factor = linalg.lu_factor(left, overwrite_a=True, check_finite=False)
            self._solve = lambda B: linalg.lu_solve(factor, B, check_finite=False)
        self._unaligned = self._solve(fitted)

    def solve(self, E: np.ndarray, *, weight: float) -> np.ndarray:
        """Return v, shape (size, n_classes), for the factor `E` of the MMD matrix and its weight lambda."""
        V = E.T @ self.values
        U = self._solve(V.T if self.factored else E)
        inner = np.eye(E.shape[1]) + weight * (V @ U)
        return self._unaligned - weight * (U @ linalg.solve(inner, V @ self._unaligned, check_finite=False))


class MEDAClassifier(DomainClassifier):
    """Classify by manifold embedded distribution alignment [1]_.

    Rows are mapped by the geodesic flow kernel and scaled to unit length. In a kernel space over them, a classifier
    f = K beta is learned that fits the labels of source rows, makes source and target rows agree (as domains and class
    by class, with guessed target labels, balanced by their A-distances) and changes little between neighbours:

        min |Y - f|^2 over source rows + eta f'K^-1 f + lambda f'M f + rho f'L f.

    Labels of target rows are not read. New rows are predicted through their kernel values against the training rows,
    without refitting.

    Parameters
    ----------
    n_components : int or "auto", default=20
        Dimension of the subspaces of the geodesic flow kernel; "auto" takes the dimension where the subspaces stop
        agreeing.
    center : bool, default=False
        Whether rows are taken around the mean of their domain before they are mapped. The paper standardises each
        domain first, so that means are zero.
    kernel : {"rbf", "linear", "poly"}, default="rbf"
        Kernel on the mapped rows of unit length.
    gamma : float or None, default=0.5
        Coefficient of the RBF kernel exp(-gamma |x - y|^2) or of the polynomial kernel (gamma x'y + 1)^3. None takes
        the median distance s of training rows, gamma = 1 / (2 s^2), for RBF, and one over the number of mapped
        features for the polynomial kernel.
    reg : float, default=0.1
        Weight of the ridge, eta in the paper.
    alignment_weight : float, default=10.0
        Weight of the alignment, lambda in the paper.
    laplacian_weight : float, default=1.0
        Weight of the Laplacian, rho in the paper.
    n_neighbors : int, default=10
        Neighbours of a row in the graph of the Laplacian.
    conditional : float or "auto", default="auto"
        Weight of the classes in the alignment, from 0 (domains only) to 1 (classes only); "auto" takes d_c / (d_c +
        d_m) in each round, with the A-distances d_m of the domains and d_c of the classes on average.
    estimator : classifier or None, default=None
        Guesses target labels for the first round; None takes the nearest neighbour.
    n_iter : int, default=10
        Rounds at most; they end early once a round would repeat the last one.
    solver : {"auto", "exact", "nystroem"}, default="auto"
        "exact" has a coefficient for each row; "nystroem" puts the span of the kernel functions of `n_landmarks` rows
        in place of that of all. "auto" takes "exact" for up to 4000 rows, and "nystroem" for more.
    n_landmarks : int, default=1000
        Number of training rows, drawn by chance, for "nystroem"; of not more rows than these, "exact" is taken.
    random_state : int, RandomState or None, default=None
        Seed of the landmarks.
    target_domain : label or list of labels, default="target"
        Which labels of `sample_domain` are the target; all others are sources, taken together as one.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Class labels.
    coef_ : ndarray of shape (n_rows, n_classes)
        beta.
    X_fit_ : ndarray of shape (n_rows, n_mapped)
        Mapped training rows, of unit length; for "nystroem" the landmarks.
    landmarks_ : ndarray of int of shape (n_landmarks,) or None
        Which training rows are the landmarks of "nystroem", else None.
    map_ : ndarray of shape (n_features, n_mapped)
        Square root of the geodesic flow kernel.
    source_mean_ : ndarray of shape (n_features,)
        Mean of the source rows; zero unless ``center=True``.
    target_mean_ : ndarray of shape (n_features,)
        Mean of the target rows; zero unless ``center=True``.
    gamma_ : float or None
        The coefficient used.
    conditional_ : float
        Weight of the classes in the last round.
    n_iter_ : int
        Rounds taken.
    pseudo_labels_ : ndarray of shape (n_target,)
        Labels of the target rows of the training data, as guessed after the last round.
    minus_one_is_missing_ : bool
        Whether -1 in integer labels means "no label" in :meth:`score`; not where a source label is -1.
    source_domains_ : list
        Names of the source domains.
    n_features_in_ : int
        Number of features seen in fit.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of features seen in fit, where all are strings.

    See Also
    --------
    GFKAdapter : The map by itself.
    MMDAdapter : Aligns features, for any classifier.

    Notes
    -----
    Time of "exact" grows with the cube, memory with the square, of n_samples: one factorisation serves all rounds. The
    search for neighbours, in the `2 n_components` mapped features, is what grows with the square of n_samples for
    "nystroem", in time and not in memory. The published comparisons standardise each domain.
    A sparse matrix is taken as it is; what it is mapped to is dense.

    References
    ----------
    .. [1] J. Wang, W. Feng, Y. Chen, H. Yu, M. Huang, P. Yu, "Visual Domain Adaptation with Manifold Embedded
       Distribution Alignment", ACM Multimedia 2018.

    Examples
    --------
    >>> from sktransfer.adaptation import MEDAClassifier
    >>> from sktransfer.datasets import make_domain_shift
    >>> X, y, sample_domain = make_domain_shift(n_features=5, random_state=0)
    >>> model = MEDAClassifier(n_components=2).fit(X, y, sample_domain=sample_domain)
    >>> model.predict(X[:3]).shape
    (3,)
    """

    _parameter_constraints: dict = {
        **DomainClassifier._parameter_constraints,
        "n_components": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "center": ["boolean"],
        "kernel": [StrOptions({"linear", "rbf", "poly"})],
        "gamma": [Interval(Real, 0, None, closed="neither"), None],
        "reg": [Interval(Real, 0, None, closed="neither")],
        "alignment_weight": [Interval(Real, 0, None, closed="left")],
        "laplacian_weight": [Interval(Real, 0, None, closed="left")],
        "n_neighbors": [Interval(Integral, 1, None, closed="left")],
        "conditional": [Interval(Real, 0, 1, closed="both"), StrOptions({"auto"})],
        "estimator": [EstimatorOf(("classifier",)), None],
        "n_iter": [Interval(Integral, 1, None, closed="left")],
        "solver": [StrOptions({"auto", "exact", "nystroem"})],
        "n_landmarks": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        n_components: int | str = 20,
        *,
        center: bool = False,
        kernel: str = "rbf",
        gamma: float | None = 0.5,
        reg: float = 0.1,
        alignment_weight: float = 10.0,
        laplacian_weight: float = 1.0,
        n_neighbors: int = 10,
        conditional: float | str = "auto",
        estimator: Any = None,
        n_iter: int = 10,
        solver: str = "auto",
        n_landmarks: int = 1000,
        random_state: int | np.random.RandomState | None = None,
        target_domain: Any = "target",
    ) -> None:
        self.n_components = n_components
        self.center = center
        self.kernel = kernel
        self.gamma = gamma
        self.reg = reg
        self.alignment_weight = alignment_weight
        self.laplacian_weight = laplacian_weight
        self.n_neighbors = n_neighbors
        self.conditional = conditional
        self.estimator = estimator
        self.n_iter = n_iter
        self.solver = solver
        self.n_landmarks = n_landmarks
        self.random_state = random_state
        self.target_domain = target_domain

    def _dense_reason(self) -> str | None:
        return None

    def _fit_classes(self, X: Any, domains: Domains, codes: np.ndarray) -> None:
        self._announce(X.shape[0])
        is_source, is_target = domains.is_source, domains.is_target
        self.source_mean_, self.target_mean_, Ps, Pt = principal_subspaces(
            X[is_source], X[is_target], self.n_components
        )
        if not self.center:
            self.source_mean_ = self.target_mean_ = np.zeros(X.shape[1])
        self.map_ = geodesic_flow_map(Ps, Pt)
        mapped = np.empty((X.shape[0], self.map_.shape[1]))
        mapped[is_source] = around(X[is_source], self.source_mean_, self.map_)
        mapped[is_target] = around(X[is_target], self.target_mean_, self.map_)
        self.X_fit_ = normalize(mapped)
        self.gamma_ = resolve_gamma(self.gamma, self.X_fit_, kernel=self.kernel)
        estimator = nearest_neighbor() if self.estimator is None else self.estimator
        guess = clone(estimator).fit(self.X_fit_[is_source], self.classes_[codes]).predict(self.X_fit_[is_target])
        labels = np.empty(len(mapped), dtype=int)
        labels[is_source], labels[is_target] = codes, np.searchsorted(self.classes_, guess)
        self._align(mapped, labels, is_target)
        self.pseudo_labels_ = self.classes_[labels[is_target]]

    def _announce(self, n_rows: int) -> None:
        if self.n_landmarks >= n_rows or not by_landmarks(self.solver, n_rows):
            # Kernel matrix, left side and its factors in double precision; a factorisation of n^3 / 3 steps of two.
            params = {"n_bytes": 24.0 * n_rows**2, "seconds": n_rows**3 / 3e10}
            why, instead = f"it solves a system of {n_rows} equations", "Set solver='nystroem'."
        else:
            params = {"n_bytes": 8.0 * n_rows * self.n_landmarks, "seconds": 0.0}
            why, instead = f"it holds {self.n_landmarks} numbers for each of {n_rows} rows", "Set fewer n_landmarks."
            if self.laplacian_weight > 0:
                params["seconds"] = 1.25 * pair_seconds(n_rows, n_rows, 80)
                why = f"it looks for neighbours of each of {n_rows} rows among all others"
                instead = "Set laplacian_weight=0, fit on fewer rows, or take EasyTLClassifier."
        announce("MEDAClassifier", why=why, instead=instead, **params)

    def _align(self, mapped: np.ndarray, labels: np.ndarray, is_target: np.ndarray) -> None:
        """Solve for beta and guess the labels of target rows, in place, until nothing changes."""
        laplacian, to_coef = None, None
        if self.laplacian_weight > 0:
            laplacian = self.laplacian_weight * cosine_laplacian(self.X_fit_, self.n_neighbors)
        self.landmarks_ = self._draw_landmarks(len(mapped))
        if self.landmarks_ is None:
            values = pairwise_kernel(self.X_fit_, **self._kernel_params())
        else:
            landmarks = self.X_fit_[self.landmarks_]
            values, to_coef = kernel_factor(self.X_fit_, landmarks, **self._kernel_params())
            self.X_fit_ = landmarks
        Y = np.eye(len(self.classes_))[labels]
        problem = AlignedLeastSquares(values, Y, ~is_target, laplacian, reg=self.reg, factored=to_coef is not None)
        v = self._rounds(problem, mapped, labels, is_target)
        self.coef_ = v if to_coef is None else to_coef(v)

    def _rounds(self, problem, mapped, labels, is_target) -> np.ndarray:
        marginal = domain_distance(mapped[~is_target], mapped[is_target]) if self.conditional == "auto" else None
        self.n_iter_ = 0
        while self.n_iter_ < self.n_iter:
            if self.conditional == "auto":
                weight = balance_factor(mapped, is_target, labels, marginal=marginal)
            else:
                weight = float(self.conditional)
            E = mean_differences(is_target, labels, conditional=weight)
            v = problem.solve(E, weight=self.alignment_weight)
            self.n_iter_, self.conditional_ = self.n_iter_ + 1, weight
            guess = np.argmax(problem.values[is_target] @ v, axis=1)
            if np.array_equal(guess, labels[is_target]):
                break
            labels[is_target] = guess
        return v

    def _draw_landmarks(self, n_rows: int) -> np.ndarray | None:
        if self.n_landmarks >= n_rows or not by_landmarks(self.solver, n_rows):
            return None
        return draw_landmarks(n_rows, self.n_landmarks, self.random_state)

    def _class_scores(self, X: Any) -> np.ndarray:
        Z = normalize(around(X, self.target_mean_, self.map_))
        scores = np.empty((len(Z), len(self.classes_)))
        for rows, K in kernel_blocks(Z, self.X_fit_, **self._kernel_params()):
            scores[rows] = K @ self.coef_
        return scores

    def _kernel_params(self) -> dict:
        return {"kernel": self.kernel, "gamma": self.gamma_}
