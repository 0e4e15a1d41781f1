"""Manifold embedded distribution alignment: a kernel classifier learned together with the alignment."""

from numbers import Integral, Real
from typing import Any

import numpy as np
from scipy import linalg
from sklearn.base import clone
from sklearn.neighbors import kneighbors_graph
from sklearn.preprocessing import normalize

from sktransfer.adaptation._domain_classifier import DomainClassifier
from sktransfer.adaptation._gfk import geodesic_flow_map
from sktransfer.adaptation._pseudo_labels import balance_factor, domain_distance, mean_differences, nearest_neighbor
from sktransfer.adaptation._subspace import around, principal_subspaces
from sktransfer.domains import Domains
from sktransfer.utils._compat import EstimatorOf, Interval, StrOptions
from sktransfer.utils._kernels import kernel_blocks, pairwise_kernel, resolve_gamma

__all__ = ["MEDAClassifier", "alignment_coefficients", "cosine_laplacian"]


def cosine_laplacian(X: np.ndarray, n_neighbors: int) -> np.ndarray:
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
    laplacian : ndarray of shape (n_samples, n_samples)
        Symmetric.
    """
    n = len(X)
    graph = kneighbors_graph(X, min(n_neighbors, n - 1), mode="connectivity", include_self=False)
    graph = graph.maximum(graph.T).tocoo()
    W = np.zeros((n, n))
    W[graph.row, graph.col] = np.maximum(np.einsum("ij,ij->i", X[graph.row], X[graph.col]), 0.0)
    W[np.diag_indices(n)] = 1.0
    # Rows of zeros have no direction, but they have themselves: no degree is zero.
    scale = 1.0 / np.sqrt(W.sum(axis=1))
    return np.eye(n) - W * scale[:, np.newaxis] * scale


def alignment_coefficients(
    K: np.ndarray, Y: np.ndarray, is_source: np.ndarray, E: np.ndarray, R: np.ndarray, *, reg: float, weight: float
) -> np.ndarray:
    """Return beta of f = K beta: the least squares on source rows, aligned and smooth.

    ((A + lambda M) K + R + eta I) beta = A Y, with A the diagonal matrix that takes source rows, M = E E' and R = rho
    times the Laplacian times K, which does not change from round to round: the solution in the paper.

    Parameters
    ----------
    K : ndarray of shape (n_samples, n_samples)
        Kernel matrix.
    Y : ndarray of shape (n_samples, n_classes)
        One-hot labels; rows of the target are not looked at.
    is_source : ndarray of bool of shape (n_samples,)
        Which rows are source rows.
    E : ndarray of shape (n_samples, n_terms)
        Factor of the MMD matrix.
    R : ndarray of shape (n_samples, n_samples)
        Laplacian part of the left side.
    reg : float
        Weight eta of the ridge.
    weight : float
        Weight lambda of the alignment.

    Returns
    -------
    beta : ndarray of shape (n_samples, n_classes)
        Coefficients.
    """
    left = R + weight * (E @ (E.T @ K))
    left[is_source] += K[is_source]
    left[np.diag_indices_from(left)] += reg
    return linalg.solve(left, np.where(is_source[:, np.newaxis], Y, 0.0), check_finite=False)


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
    target_domain : label or list of labels, default="target"
        Which labels of `sample_domain` are the target; all others are sources, taken together as one.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Class labels.
    coef_ : ndarray of shape (n_samples, n_classes)
        beta.
    X_fit_ : ndarray of shape (n_samples, n_mapped)
        Mapped training rows.
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
    Time grows with the cube, memory with the square, of n_samples. The published comparisons standardise each domain.
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
        self.target_domain = target_domain

    def _dense_reason(self) -> str | None:
        return None

    def _fit_classes(self, X: Any, domains: Domains, codes: np.ndarray) -> None:
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

    def _align(self, mapped: np.ndarray, labels: np.ndarray, is_target: np.ndarray) -> None:
        """Solve for beta and guess the labels of target rows, in place, until nothing changes."""
        K = pairwise_kernel(self.X_fit_, **self._kernel_params())
        Y = np.eye(len(self.classes_))[labels]
        R = np.zeros_like(K)
        if self.laplacian_weight > 0:
            R = self.laplacian_weight * cosine_laplacian(self.X_fit_, self.n_neighbors) @ K
        marginal = domain_distance(mapped[~is_target], mapped[is_target]) if self.conditional == "auto" else None
        self.n_iter_ = 0
        while self.n_iter_ < self.n_iter:
            if self.conditional == "auto":
                weight = balance_factor(mapped, is_target, labels, marginal=marginal)
            else:
                weight = float(self.conditional)
            E = mean_differences(is_target, labels, conditional=weight)
            self.coef_ = alignment_coefficients(K, Y, ~is_target, E, R, reg=self.reg, weight=self.alignment_weight)
            self.n_iter_, self.conditional_ = self.n_iter_ + 1, weight
            guess = np.argmax(K[is_target] @ self.coef_, axis=1)
            if np.array_equal(guess, labels[is_target]):
                break
            labels[is_target] = guess

    def _class_scores(self, X: Any) -> np.ndarray:
        Z = normalize(around(X, self.target_mean_, self.map_))
        scores = np.empty((len(Z), len(self.classes_)))
        for rows, K in kernel_blocks(Z, self.X_fit_, **self._kernel_params()):
            scores[rows] = K @ self.coef_
        return scores

    def _kernel_params(self) -> dict:
        return {"kernel": self.kernel, "gamma": self.gamma_}
