"""KLIEP: the density ratio of target to source by maximum likelihood."""

import warnings
from numbers import Integral, Real
from typing import Any

import numpy as np
from scipy.linalg import LinAlgError, solve_triangular
from scipy.optimize import nnls
from sklearn.exceptions import ConvergenceWarning

from sktransfer.base import BaseWeighter
from sktransfer.domains import Domains
from sktransfer.utils._compat import Interval
from sktransfer.utils._cost import announce
from sktransfer.utils._kernels import median_gamma
from sktransfer.utils._messages import caller_level
from sktransfer.utils._sparse import distinct_rows
from sktransfer.weighting._common import (
    candidate_gammas,
    deal_rows,
    gaussian_features,
    gaussian_mixture,
    mean_weight,
    spread_rows,
)

__all__ = ["KLIEPWeighter", "kliep_coefficients", "likelihood_cross_validation"]

# What a fit takes of each kernel value, in seconds: measured on 16,000 rows.
_SECONDS_A_VALUE = 5e-8

_TINY = np.finfo(np.float64).tiny
_EM_STEPS = 10  # before each step of Newton's method, which costs about as much
_RIDGE = 1e-10  # times the mean of the diagonal


def kliep_coefficients(
    target_features: np.ndarray, source_mean: np.ndarray, *, tol: float = 1e-3, max_iter: int = 5000
) -> tuple[np.ndarray, float]:
    """Maximise mean_j log(sum_l alpha_l phi_l(z_j)) over target rows subject to mean_i w(x_i) = 1 and alpha >= 0.

    With p_l = alpha_l mean_i phi_l(x_i) the constraint reads sum_l p_l = 1: these are the proportions of a mixture
    whose components are the phi_l divided by their source means, and the EM steps of a mixture climb to the one
    maximum; slowly, so that each tenth step is followed by a step of Newton's method under alpha >= 0. By concavity,
    max_l (gradient_l) - 1 bounds what is missing from above.

    Parameters
    ----------
    target_features : ndarray of shape (n_target, n_centers)
        phi_l(z_j), not negative.
    source_mean : ndarray of shape (n_centers,)
        Means of phi_l over source rows. Where one is zero, its centre is left out.
    tol : float, default=1e-3
        Largest bound on the missing mean log-likelihood at which to stop.
    max_iter : int, default=5000
        Most steps.

    Returns
    -------
    alpha : ndarray of shape (n_centers,)
        Coefficients.
    gap : float
        The bound at the end.
    """
    used = source_mean > _TINY
    if not used.any():
        return np.zeros(len(source_mean)), 0.0
    components = target_features[:, used] / source_mean[used]
    # Only the ratios within a row matter for the steps; the largest entry of each is scaled to 1.
    components = components / np.maximum(components.max(axis=1, keepdims=True), _TINY)
    p, gap = np.full(used.sum(), 1.0 / used.sum()), np.inf
    for step in range(1, max_iter + 1):
        gradient = components.T @ (1.0 / np.maximum(components @ p, _TINY)) / len(components)
        gap = float(gradient.max() - 1.0)
        if gap <= tol:
            break
        p = p * gradient
        p /= p.sum()
        if step % _EM_STEPS == 0:
            p = _climb(components, p)
    alpha = np.zeros(len(source_mean))
    alpha[used] = p / source_mean[used]
    return alpha, gap


def _climb(components: np.ndarray, p: np.ndarray) -> np.ndarray:
    """Go from proportions p towards the maximum of the likelihood's quadratic approximation, as far as it rises.

    Without the constraint on the sum the objective is sum_l p_l - mean_j log (C p)_j, with the same minimum. Its
    approximation at p is q' B'B q / 2 - (2 mean(B) - 1)' q with B_jl = C_jl / (C p)_j / sqrt(n): least squares, q >= 0.
    """
    relative = components / np.maximum(components @ p, _TINY)[:, None]
    curvature = relative.T @ relative / len(relative)
    curvature.flat[:: len(p) + 1] += _RIDGE * np.trace(curvature) / len(p)
    try:
        root = np.linalg.cholesky(curvature).T
        goal = solve_triangular(root, 2 * relative.mean(axis=0) - 1, trans="T")
        found = nnls(root, goal, maxiter=30 * len(p))[0]
    except (LinAlgError, RuntimeError, ValueError):  # ill-conditioned beyond the ridge; the EM steps need none of it
        return p
    if not found.sum() > 0:
        return p
    found /= found.sum()
    level = np.log(np.maximum(components @ p, _TINY)).mean()
    for part in (1.0, 0.5, 0.25):
        moved = p + part * (found - p)
        if np.log(np.maximum(components @ moved, _TINY)).mean() > level:
            return moved
    return p


def likelihood_cross_validation(
    Xs: np.ndarray, Xt: np.ndarray, gammas: np.ndarray, *, n_centers: int, cv: int, tol: float, max_iter: int
) -> np.ndarray:
    """Return the mean log weight of held-out target rows for each candidate width.

    The centres of each fold are rows of its training part, and equal rows are in one fold. A held-out row that stayed a
    centre, or whose double did, would lie on top of a kernel, and the narrowest one would look best.

    Parameters
    ----------
    Xs : ndarray of shape (n_source, n_features)
        Source rows.
    Xt : ndarray of shape (n_target, n_features)
        Target rows, at least two different ones.
    gammas : ndarray of shape (n_candidates,)
        Candidate coefficients.
    n_centers : int
        Number of kernel centres, see :func:`spread_rows`.
    cv : int
        Number of folds of the target rows, see :func:`deal_rows`.
    tol, max_iter : float, int
        As in :func:`kliep_coefficients`.

    Returns
    -------
    scores : ndarray of shape (n_candidates,)
        Mean log-likelihoods.
    """
    folds = deal_rows(Xt, cv)
    held_out = np.empty((len(gammas), Xt.shape[0]))
    for fold in range(folds.max() + 1):
        out = folds == fold
        centers = spread_rows(Xt[~out], n_centers)
        for position, gamma in enumerate(gammas):
            source_mean = gaussian_features(Xs, centers, gamma).mean(axis=0)
            features = gaussian_features(Xt, centers, gamma)
            alpha, _ = kliep_coefficients(features[~out], source_mean, tol=tol, max_iter=max_iter)
            # Of weights with mean one none is above the number of rows: what is more tells of rows that are nearly
            # equal, a few of which would decide.
            held_out[position, out] = np.log(np.clip(features[out] @ alpha, _TINY, Xs.shape[0]))
    return held_out.mean(axis=1)


class KLIEPWeighter(BaseWeighter):
    """Weigh source rows by the Kullback-Leibler importance estimation procedure [1]_.

    The density ratio of target to source is modelled as a sum of Gaussian kernels at target rows,
    w(x) = sum_l alpha_l exp(-gamma |x - c_l|^2) with alpha >= 0, and fitted by maximising the mean of log w over target
    rows while the mean of w over source rows is one. Labels are not used.

    Parameters
    ----------
    gamma : float, sequence of float or None, default=None
        Coefficient of the kernels, in units of one over squared feature units. Of several, the one is taken under which
        held-out target rows, none of them a kernel centre, are likeliest (likelihood cross-validation [1]_). None tries
        widths from a sixteenth of the median distance of training rows to four times that distance.
    n_centers : int, default=100
        Number of kernel centres: target rows, spread evenly over their distances from the target mean; all of them
        where there are not more.
    cv : int, default=5
        Number of folds of the target rows, at least 2; lowered to the number of different target rows.
    tol : float, default=1e-3
        Largest bound on the mean log-likelihood that is still missing at which the solver stops.
    max_iter : int, default=5000
        Most steps of the solver.
    target_domain : label or list of labels, default="target"
        Which labels of `sample_domain` are the target; all others are sources, taken together as one.

    Attributes
    ----------
    weights_ : ndarray of shape (n_source,)
        Weights of the source rows, in their order; their mean is one.
    coef_ : ndarray of shape (n_centers,)
        Coefficients alpha.
    centers_ : {ndarray, CSR array} of shape (n_centers, n_features)
        Kernel centres.
    gamma_ : float
        The coefficient used.
    gammas_ : ndarray of shape (n_candidates,)
        The coefficients that were compared.
    cv_scores_ : ndarray of shape (n_candidates,) or None
        Mean log weight of held-out target rows under each; None where there was nothing to choose, or one target row
        (others that equal it do not count).
    gap_ : float
        Bound on the mean log-likelihood that is still missing.
    scale_ : float
        Mean of the fitted ratio over source rows, by which weights are divided; 0 where all were zero.
    source_domains_ : list
        Names of the source domains.
    n_features_in_ : int
        Number of features seen in fit.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of features seen in fit, where all are strings.

    See Also
    --------
    RuLSIFWeighter : A least-squares fit of the same model, in closed form.
    KMMWeighter : Weights without a model of the ratio.

    Notes
    -----
    Distances count all features alike, so scale the features first. Time and memory grow linearly with the number of
    rows.

    References
    ----------
    .. [1] M. Sugiyama, S. Nakajima, H. Kashima, P. von Buenau, M. Kawanabe, "Direct Importance Estimation with Model
       Selection and Its Application to Covariate Shift Adaptation", NIPS 2007.

    Examples
    --------
    >>> from sktransfer.datasets import make_domain_shift
    >>> from sktransfer.weighting import KLIEPWeighter
    >>> X, y, sample_domain = make_domain_shift(strength=0.5, random_state=0)
    >>> weighter = KLIEPWeighter().fit(X, sample_domain=sample_domain)
    >>> weighter.predict_weights(X[:3]).shape
    (3,)
    """

    _parameter_constraints: dict = {
        **BaseWeighter._parameter_constraints,
        "gamma": [Interval(Real, 0, None, closed="neither"), "array-like", None],
        "n_centers": [Interval(Integral, 1, None, closed="left")],
        "cv": [Interval(Integral, 2, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="neither")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(
        self,
        *,
        gamma: Any = None,
        n_centers: int = 100,
        cv: int = 5,
        tol: float = 1e-3,
        max_iter: int = 5000,
        target_domain: Any = "target",
    ) -> None:
        self.gamma = gamma
        self.n_centers = n_centers
        self.cv = cv
        self.tol = tol
        self.max_iter = max_iter
        self.target_domain = target_domain

    def _dense_reason(self) -> str | None:
        return None

    def _fit_rows(self, X: Any, domains: Domains, y: Any) -> None:
        rows = X.astype(np.float64, copy=False)
        Xs, Xt = rows[domains.source_rows], rows[domains.target_rows]
        self.gammas_ = candidate_gammas(self.gamma, lambda: median_gamma(rows))
        fits = len(self.gammas_) * self.cv if len(self.gammas_) > 1 else 1
        announce(
            "KLIEPWeighter",
            seconds=_SECONDS_A_VALUE * fits * rows.shape[0] * self.n_centers,
            why=f"it is fitted {fits} times to {rows.shape[0]} rows",
            instead="Give one gamma or fewer n_centers, or take RuLSIFWeighter.",
        )
        self.centers_ = spread_rows(Xt, self.n_centers)
        params: dict[str, Any] = {"tol": self.tol, "max_iter": self.max_iter}
        best, self.cv_scores_ = 0, None
        if len(self.gammas_) > 1 and len(distinct_rows(Xt)[0]) > 1:
            self.cv_scores_ = likelihood_cross_validation(
                Xs, Xt, self.gammas_, n_centers=self.n_centers, cv=self.cv, **params
            )
            best = int(np.argmax(self.cv_scores_))
        elif len(self.gammas_) > 1:
            best = len(self.gammas_) // 2
        self.gamma_ = float(self.gammas_[best])
        source_mean = gaussian_features(Xs, self.centers_, self.gamma_).mean(axis=0)
        features = gaussian_features(Xt, self.centers_, self.gamma_)
        self.coef_, self.gap_ = kliep_coefficients(features, source_mean, **params)
        if self.gap_ > self.tol:
            warnings.warn(
                f"KLIEPWeighter stopped after max_iter={self.max_iter} steps with up to {self.gap_:.2g} of the mean "
                f"log-likelihood missing (tol={self.tol:.2g}). Raise max_iter or tol.",
                ConvergenceWarning,
                stacklevel=caller_level(),
            )
        weights = gaussian_mixture(Xs, self.centers_, self.gamma_, self.coef_)
        # The constraint makes the mean one, but for rounding.
        self.scale_ = mean_weight(weights, caller="KLIEPWeighter")
        self.weights_ = weights / self.scale_ if self.scale_ else np.ones(Xs.shape[0])

    def _weigh_rows(self, X: np.ndarray) -> np.ndarray:
        if not self.scale_:
            return np.ones(X.shape[0])
        return gaussian_mixture(X.astype(np.float64, copy=False), self.centers_, self.gamma_, self.coef_) / self.scale_
