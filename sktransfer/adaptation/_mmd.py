"""Components that keep variance while means agree: transfer components, joint and balanced distribution adaptation."""

from collections.abc import Callable
from numbers import Integral, Real
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.base import clone

from sktransfer.adaptation._pseudo_labels import balance_factor, mean_differences, nearest_neighbor, read_classes
from sktransfer.base import BaseAdapter
from sktransfer.domains import Domains
from sktransfer.utils._compat import EstimatorOf, Interval, StrOptions
from sktransfer.utils._cost import announce, pair_seconds
from sktransfer.utils._kernels import (
    by_landmarks,
    draw_landmarks,
    kernel_blocks,
    kernel_frame,
    kernel_matrix,
    move_rows,
    nystroem_product,
    pairwise_kernel,
    resolve_gamma,
)
from sktransfer.utils._linalg import (
    center_rows,
    principal_axes,
    span_of_axes,
    sparse_axes,
    top_eigenvectors_by_products,
    top_generalized_eigenvectors,
)
from sktransfer.utils._sparse import CenteredRows

__all__ = ["MMDAdapter", "transfer_components"]

_FEATURE_KERNELS = ("linear", "primal")
# Of so few rows, all eigenvectors are found as fast as the leading ones, in double precision.
_DENSE_ROWS = 500


def transfer_components(B: np.ndarray, M: np.ndarray, *, mu: float, n_components: int) -> np.ndarray:
    """Solve max tr(Q' B Q) subject to Q' (M M' + mu I) Q = I.

    With B = K H K and M = K E, where L = E E', this is transfer component analysis with W = Q. Where K = P F' for some
    P of orthonormal columns, no w outside their span gains anything; then W = P Q, B = F' H F and M = F' E give the
    same components K W = F Q from a problem of the size of F.

    Parameters
    ----------
    B : ndarray of shape (size, size)
        Scatter of all rows.
    M : ndarray of shape (size, n_terms)
        Differences of means; one column for each pair of means compared.
    mu : float
        Weight of the ridge, positive.
    n_components : int
        How many components to return at most.

    Returns
    -------
    Q : ndarray of shape (size, n_kept)
        Coefficients of the components.
    """
    return top_generalized_eigenvectors(B, M, mu, n_components)[1]


class MMDAdapter(BaseAdapter):
    """Adapt features by transfer component analysis or by joint or balanced distribution adaptation.

    Finds components in the span of a kernel that keep as much variance of all rows as they can while the maximum mean
    discrepancy between source and target rows in them is small: with the kernel matrix K over all training rows, the
    centring matrix H and the MMD matrix L (scaled to Frobenius norm 1),

        max tr(W' K H K W)  subject to  W' (K L K + mu I) W = I,

    solved as the symmetric generalised eigenproblem it is. With ``conditional=0`` L compares the domains and no label
    is used: transfer component analysis [1]_. Otherwise L also compares, class by class, source rows with target rows
    whose labels are guessed in the components of the round before: joint distribution adaptation [2]_ with 0.5,
    balanced distribution adaptation [3]_ with other numbers or "auto" [4]_. Labels of target rows are never used. New
    rows are mapped by their kernel values against the training rows, without refitting.

    Parameters
    ----------
    n_components : int, default=30
        Number of components. Fewer are kept where the training rows have fewer: at most n_features for the linear and
        primal kernels, at most n_samples (or `n_landmarks`) for the others.
    kernel : {"linear", "rbf", "poly", "primal"}, default="linear"
        Kernel. With fewer features than rows, the linear one is solved at the size of the features, with the same
        result. "primal" has no kernel: X takes the place of K, the ridge is on the projection A itself, and the columns
        of A have unit length, as in published code of joint and balanced distribution adaptation.
    gamma : float or None, default=None
        Coefficient of the RBF kernel exp(-gamma |x - y|^2), in units of one over squared feature units, or of the
        polynomial kernel (gamma x'y + coef0)^degree. None takes the median distance s of training rows, gamma =
        1 / (2 s^2), for RBF, and 1 / n_features for the polynomial kernel. The other kernels ignore it.
    degree : float, default=3
        Degree of the polynomial kernel.
    coef0 : float, default=1.0
        Constant of the polynomial kernel.
    mu : float, default=1.0
        Weight of the ridge on W. Larger values prefer variance, smaller ones agreement of the domains.
    conditional : float or "auto", default=0.0
        Weight of the classes in L, from 0 (domains only) to 1 (classes only). "auto" takes d_c / (d_c + d_m) in each
        round, with A-distances in the components: d_m of the domains, d_c of the classes on average.
    class_weighting : bool, default=False
        Whether class means of the target are weighted by how much more frequent the class is there, as weighted
        balanced distribution adaptation does (with ``conditional=1``). For domains of unlike class frequencies.
    estimator : classifier or None, default=None
        Guesses target labels in the components. None takes the nearest neighbour among rows scaled to unit length.
    n_iter : int, default=10
        Rounds at most. The first compares the domains only; they end early once a round would repeat the last one.
        With ``conditional=0`` there is one.
    solver : {"auto", "exact", "nystroem"}, default="auto"
        How the "rbf" and "poly" kernels are handled: "nystroem" puts the span of `n_landmarks` training rows in their
        place, so that time and memory grow with n_samples, not with its square. "auto" takes "exact" for up to 4000
        rows, and "nystroem" for more. The other kernels never need it.
    n_landmarks : int, default=1000
        Number of training rows, drawn by chance, for "nystroem". The more, the nearer to the exact components, above
        all for a small `mu`, which asks for exact means; with all rows the result is the exact one.
    random_state : int, RandomState or None, default=None
        Seed of the landmarks.
    target_domain : label or list of labels, default="target"
        Which labels of `sample_domain` are the target; all others are sources, taken together as one.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features, n_features_out_) or (n_rows, n_features_out_)
        For the linear and primal kernels the projection of features, else what multiplies kernel values.
    X_fit_ : {ndarray, CSR array} of shape (n_rows, n_features) or None
        Training rows (for "nystroem" the landmarks) which the RBF and polynomial kernels need, else None.
    landmarks_ : ndarray of int of shape (n_landmarks,) or None
        Which training rows are the landmarks, where the kernel was handled by "nystroem", else None.
    gamma_ : float or None
        The coefficient used.
    n_iter_ : int
        Rounds taken.
    conditional_ : float
        Weight of the classes in the last round.
    pseudo_labels_ : ndarray of shape (n_target,) or None
        Labels of the target rows as guessed before the last round; None where there was one round only.
    n_features_out_ : int
        Number of components kept.
    source_domains_ : list
        Names of the source domains.
    n_features_in_ : int
        Number of features seen in fit.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of features seen in fit, where all are strings.

    See Also
    --------
    AdaptedClassifier : Fits a classifier on adapted source rows.
    MEDAClassifier : Learns the classifier together with the alignment.
    mmd_distance : The discrepancy that is made small.

    Notes
    -----
    Components weigh features by the square of their spread, so scale the features first; directions with less than
    about 1e-4 of the largest spread drown in rounding and are left out.

    For the linear and primal kernels with fewer features than rows, time grows with the cube of n_features. For the
    others, "exact" finds the components of more than 500 rows (and 8 times `n_components`) by a dozen products with the
    kernel matrix, which is held in single precision: 4 n_samples^2 bytes. What that loses of the objective is less than
    1e-6 of it. 10 000 rows of 512 features took 2.4 s of one core and 470 MiB, by "nystroem" with 500 landmarks 0.25 s
    and 57 MiB (``benchmarks/results/bench.md``, which names the machine).
    On the data it was measured on (SURF and GoogLeNet features of Office-Caltech, generated rows), "nystroem" with 500
    landmarks kept 99.9 % of the objective or more for `mu` of the order of n_samples, which is what 1 amounts to with
    the entries of L in [1]_, 1 / n^2; for ``mu=1`` it kept 98.8 to 99.9 %. 1000 landmarks keep 99.6 % of 10 000 rows of
    500 independent features for ``mu=1`` (``benchmarks/results/products.md``).

    A sparse matrix is taken as it is, with every kernel; kernel values and components are dense. The linear and primal
    kernels of more features than rows are solved at the size of the rows.

    The published comparisons on Office-Caltech standardise each domain, scale every row to unit length, and classify
    the components by the nearest neighbour after scaling them to unit length again.

    References
    ----------
    .. [1] S. J. Pan, I. W. Tsang, J. T. Kwok, Q. Yang, "Domain Adaptation via Transfer Component Analysis", IEEE
       Transactions on Neural Networks 22(2), 2011.
    .. [2] M. Long, J. Wang, G. Ding, J. Sun, P. Yu, "Transfer Feature Learning with Joint Distribution Adaptation",
       ICCV 2013.
    .. [3] J. Wang, Y. Chen, S. Hao, W. Feng, Z. Shen, "Balanced Distribution Adaptation for Transfer Learning", ICDM
       2017.
    .. [4] J. Wang, Y. Chen, W. Feng, H. Yu, M. Huang, Q. Yang, "Transfer Learning with Dynamic Distribution
       Adaptation", ACM Transactions on Intelligent Systems and Technology 11(1), 2020.

    Examples
    --------
    >>> from sktransfer import MMDAdapter, make_domain_shift
    >>> X, y, sample_domain = make_domain_shift(shift="subspace", n_features=5, random_state=0)
    >>> adapter = MMDAdapter(n_components=2).fit(X, sample_domain=sample_domain)
    >>> adapter.transform(X[:3]).shape
    (3, 2)

    Joint distribution adaptation reads the labels of source rows:

    >>> MMDAdapter(n_components=2, conditional=0.5).fit(X, y, sample_domain=sample_domain).pseudo_labels_.shape
    (100,)
    """

    _parameter_constraints: dict = {
        **BaseAdapter._parameter_constraints,
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "kernel": [StrOptions({"linear", "rbf", "poly", "primal"})],
        "gamma": [Interval(Real, 0, None, closed="neither"), None],
        "degree": [Interval(Real, 0, None, closed="neither")],
        "coef0": [Interval(Real, None, None, closed="neither")],
        "mu": [Interval(Real, 0, None, closed="neither")],
        "conditional": [Interval(Real, 0, 1, closed="both"), StrOptions({"auto"})],
        "class_weighting": ["boolean"],
        "estimator": [EstimatorOf(("classifier",)), None],
        "n_iter": [Interval(Integral, 1, None, closed="left")],
        "solver": [StrOptions({"auto", "exact", "nystroem"})],
        "n_landmarks": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        n_components: int = 30,
        *,
        kernel: str = "linear",
        gamma: float | None = None,
        degree: float = 3,
        coef0: float = 1.0,
        mu: float = 1.0,
        conditional: float | str = 0.0,
        class_weighting: bool = False,
        estimator: Any = None,
        n_iter: int = 10,
        solver: str = "auto",
        n_landmarks: int = 1000,
        random_state: int | np.random.RandomState | None = None,
        target_domain: Any = "target",
    ) -> None:
        self.n_components = n_components
        self.kernel = kernel
        self.gamma = gamma
        self.degree = degree
        self.coef0 = coef0
        self.mu = mu
        self.conditional = conditional
        self.class_weighting = class_weighting
        self.estimator = estimator
        self.n_iter = n_iter
        self.solver = solver
        self.n_landmarks = n_landmarks
        self.random_state = random_state
        self.target_domain = target_domain

    def _dense_reason(self) -> str | None:
        return None

    def _fit_rows(self, X: Any, domains: Domains, y: Any) -> None:
        by_class = self.conditional != 0
        classes, codes = read_classes(X, y, domains, caller=type(self).__name__) if by_class else (None, None)
        self.landmarks_: np.ndarray | None = None
        self.gamma_ = resolve_gamma(self.gamma, X, kernel=self.kernel)
        problem = self._feature_problem if self.kernel in _FEATURE_KERNELS else self._kernel_problem
        if sparse.issparse(X) and self.kernel in _FEATURE_KERNELS:
            problem = self._sparse_problem
        solve, embed, to_coef = problem(X)
        W = solve(mean_differences(domains.is_target))
        self.n_iter_, self.conditional_, self.pseudo_labels_ = 1, 0.0, None
        if by_class:
            W = self._refine(embed, W, solve, domains.is_target, classes, codes)
        self.X_fit_ = self._kernel_rows(X)
        self.coef_ = to_coef(W)
        self.n_features_out_ = self.coef_.shape[1]

    def _feature_problem(self, X: np.ndarray) -> tuple[Callable, Callable, Callable]:
        """Return what makes W of E, the components Z = X W, and `coef_` of W."""
        rows = X.astype(np.float64, copy=False)
        # X = U diag(s) R' gives K = U G' with G = X R diag(s), so K W = X (R diag(s) Q): no n x n matrix is needed.
        s, R = principal_axes(rows)
        T, centered = R if self.kernel == "primal" else R * s, center_rows(rows)
        B = T.T @ (centered.T @ centered) @ T
        return lambda E: self._scaled(T @ self._components(B, T.T @ (rows.T @ E))), lambda W: rows @ W, lambda W: W

    def _sparse_problem(self, X: Any) -> tuple[Callable, Callable, Callable]:
        """Return what :meth:`_feature_problem` does for a CSR array, without a matrix as wide as its features."""
        rows = X.astype(np.float64, copy=False)
        s, R = sparse_axes(CenteredRows(rows, center=False))
        T = np.ones_like(s) if self.kernel == "primal" else s
        F = (rows @ R if isinstance(R, np.ndarray) else R.project(rows)) * T
        centered = center_rows(F)
        B = centered.T @ centered

        def solve(E: np.ndarray) -> np.ndarray:
            return self._scaled(span_of_axes(R, T[:, np.newaxis] * self._components(B, F.T @ E)))

        return solve, lambda W: rows @ W, lambda W: W

    def _kernel_problem(self, X: Any) -> tuple[Callable, Callable, Callable]:
        """Return what makes W of E, the components Z = K W, and `coef_` of W."""
        params = self._kernel_params()
        rows = move_rows(X, *kernel_frame(X, **params))
        if by_landmarks(self.solver, X.shape[0]):
            self.landmarks_ = draw_landmarks(X.shape[0], self.n_landmarks, self.random_state)
            if len(self.landmarks_) < X.shape[0]:
                product, to_coef = nystroem_product(rows, rows[self.landmarks_], **params)
                # What later blocks add is less than what the landmarks miss.
                return self._search(product, tol=1e-3), product, to_coef
        announce(
            "MMDAdapter(solver='exact')",
            n_bytes=4.0 * X.shape[0] ** 2,
            seconds=pair_seconds(X.shape[0], X.shape[0], X.shape[1]),
            why=f"it holds a number for each pair of {X.shape[0]} rows",
            instead="Set solver='nystroem'.",
        )
        if X.shape[0] > max(_DENSE_ROWS, 8 * self.n_components):
            K = kernel_matrix(rows, **params)

            def product(V: np.ndarray) -> np.ndarray:
                return K @ V.astype(np.float32)

            return self._search(product, tol=1e-9), product, lambda W: W
        K = pairwise_kernel(rows, **params)
        # H is a projection, so K H K = (H K)' (H K).
        centered = center_rows(K)
        B = centered.T @ centered
        return lambda E: self._components(B, K @ E), lambda W: K @ W, lambda W: W

    def _components(self, B: np.ndarray, M: np.ndarray) -> np.ndarray:
        return transfer_components(B, M, mu=self.mu, n_components=self.n_components)

    def _search(self, product: Callable, *, tol: float) -> Callable:
        return lambda E: top_eigenvectors_by_products(product, E, self.mu, self.n_components, tol=tol)

    def _scaled(self, A: np.ndarray) -> np.ndarray:
        if self.kernel != "primal":
            return A
        length = np.linalg.norm(A, axis=0)
        return A / np.where(length > 0, length, 1.0)

    def _refine(self, embed, W, solve, is_target, classes, codes) -> np.ndarray:
        """Guess target labels, compare classes, and solve again, until nothing changes."""
        estimator = nearest_neighbor() if self.estimator is None else self.estimator
        if self.estimator is None:
            pairs = int(is_target.sum()), int((~is_target).sum())
            announce(
                "MMDAdapter",
                seconds=(self.n_iter - 1) * pair_seconds(*pairs, W.shape[1]),
                why=f"in each of up to {self.n_iter - 1} rounds the nearest of {pairs[1]} source rows is sought for "
                f"each of {pairs[0]} target rows",
                instead="Set estimator=LogisticRegression() or a smaller n_iter.",
            )
        labels = np.empty(len(is_target), dtype=int)
        labels[~is_target] = codes
        last = None
        while self.n_iter_ < self.n_iter:
            Z = embed(W)
            guess = clone(estimator).fit(Z[~is_target], classes[codes]).predict(Z[is_target])
            labels[is_target] = np.searchsorted(classes, guess)
            weight = balance_factor(Z, is_target, labels) if self.conditional == "auto" else float(self.conditional)
            if last is not None and last[1] == weight and np.array_equal(last[0], labels):
                break
            last = labels.copy(), weight
            E = mean_differences(is_target, labels, conditional=weight, class_weighting=self.class_weighting)
            W = solve(E)
            self.n_iter_, self.conditional_, self.pseudo_labels_ = self.n_iter_ + 1, weight, classes[labels[is_target]]
        return W

    def _kernel_rows(self, X: Any) -> Any:
        if self.kernel in _FEATURE_KERNELS:
            return None
        return X.copy() if self.landmarks_ is None else X[self.landmarks_]

    def _transform_rows(self, X: Any, is_target: np.ndarray) -> np.ndarray:
        if self.X_fit_ is None:
            return (X.astype(np.float64, copy=False) @ self.coef_).astype(X.dtype, copy=False)
        # Only the training rows decide on the precision: a row is mapped the same in any company.
        frame = kernel_frame(self.X_fit_, **self._kernel_params())
        training_rows, coef = move_rows(self.X_fit_, *frame), self.coef_.astype(frame[1], copy=False)
        Z = np.empty((X.shape[0], self.n_features_out_), dtype=X.dtype)
        for block, K in kernel_blocks(move_rows(X, *frame), training_rows, **self._kernel_params()):
            Z[block] = K @ coef
        return Z

    def _kernel_params(self) -> dict:
        return {"kernel": self.kernel, "gamma": self.gamma_, "degree": self.degree, "coef0": self.coef0}

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = self.conditional != 0
        return tags
