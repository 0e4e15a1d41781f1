"""RuLSIF: the relative density ratio of target to source by least squares."""

from numbers import Integral, Real
from typing import Any

import numpy as np
from scipy import linalg

from sktransfer.base import BaseWeighter
from sktransfer.domains import Domains
from sktransfer.utils._compat import Interval
from sktransfer.utils._kernels import median_gamma
from sktransfer.weighting._common import (
    candidate_gammas,
    gaussian_features,
    gaussian_mixture,
    mean_weight,
    spread_rows,
)

__all__ = ["RuLSIFWeighter", "rulsif_coefficients", "rulsif_leave_one_out"]

_REGS = (1e-3, 1e-2, 1e-1, 1.0, 10.0)


def rulsif_coefficients(
    source_features: np.ndarray, target_features: np.ndarray, *, alpha: float, reg: float
) -> np.ndarray:
    """Minimise J(theta) = alpha/2 E_t w^2 + (1 - alpha)/2 E_s w^2 - E_t w + reg/2 |theta|^2 with w = theta'phi.

    Parameters
    ----------
    source_features : ndarray of shape (n_source, n_centers)
        phi at the source rows.
    target_features : ndarray of shape (n_target, n_centers)
        phi at the target rows.
    alpha : float
        Share of the target in the denominator p_t / (alpha p_t + (1 - alpha) p_s).
    reg : float
        Weight of the ridge, positive.

    Returns
    -------
    theta : ndarray of shape (n_centers,)
        (H + reg I)^-1 h with H = alpha E_t phi phi' + (1 - alpha) E_s phi phi' and h = E_t phi.
    """
    H, h = _moments(source_features, target_features, alpha)
    H[np.diag_indices_from(H)] += reg
    return linalg.solve(H, h, assume_a="pos", check_finite=False)


def rulsif_leave_one_out(
    source_features: np.ndarray, target_features: np.ndarray, *, alpha: float, regs: np.ndarray
) -> np.ndarray:
    """Return J on held-out rows, without the ridge, for each `reg`, leaving out one row at a time.

    Leaving a row out takes its term out of the sums H and h, whose divisors n_source and n_target stay. With
    B = H + reg I, q = phi'B^-1 phi and p = phi'B^-1 h, the formula of Sherman and Morrison then gives the weight of a
    left-out target row as (p - q / n_t) / (1 - alpha q / n_t), that of a source row as p / (1 - (1 - alpha) q / n_s).

    Parameters
    ----------
    source_features : ndarray of shape (n_source, n_centers)
        phi at the source rows.
    target_features : ndarray of shape (n_target, n_centers)
        phi at the target rows.
    alpha : float
        Share of the target in the denominator.
    regs : ndarray of shape (n_candidates,)
        Weights of the ridge.

    Returns
    -------
    losses : ndarray of shape (n_candidates,)
        Lower is better.
    """
    n_s, n_t = len(source_features), len(target_features)
    H, h = _moments(source_features, target_features, alpha)
    eigenvalues, V = linalg.eigh(H, check_finite=False)
    S, T, h = source_features @ V, target_features @ V, V.T @ h
    losses = np.empty(len(regs))
    for position, reg in enumerate(regs):
        inverse = 1.0 / (np.maximum(eigenvalues, 0.0) + reg)
        q_s, q_t = S**2 @ inverse, T**2 @ inverse
        p_s, p_t = S @ (inverse * h), T @ (inverse * h)
        w_s = p_s / (1.0 - (1.0 - alpha) * q_s / n_s)
        w_t = (p_t - q_t / n_t) / (1.0 - alpha * q_t / n_t)
        losses[position] = alpha / 2 * np.mean(w_t**2) + (1 - alpha) / 2 * np.mean(w_s**2) - np.mean(w_t)
    return losses


def _moments(source_features, target_features, alpha):
    H = alpha / len(target_features) * (target_features.T @ target_features)
    H += (1.0 - alpha) / len(source_features) * (source_features.T @ source_features)
    return H, target_features.mean(axis=0)


class RuLSIFWeighter(BaseWeighter):
    """Weigh source rows by relative unconstrained least-squares importance fitting [1]_.

    The relative density ratio p_t / (alpha p_t + (1 - alpha) p_s) of target to source is modelled as a sum of Gaussian
    kernels at target rows and fitted by least squares, in closed form. It is at most 1 / alpha, so single rows cannot
    take all the weight. With ``alpha=0`` it is the density ratio itself (uLSIF [2]_). Labels are not used.

    Parameters
    ----------
    alpha : float, default=0.1
        Share of the target in the denominator, from 0 (the plain ratio) to less than 1 (where all weights are equal).
    gamma : float, sequence of float or None, default=None
        Coefficient of the kernels exp(-gamma |x - c|^2), in units of one over squared feature units. None tries widths
        from a sixteenth of the median distance of training rows to four times that distance.
    reg : float, sequence of float or None, default=None
        Weight of the ridge on the coefficients, positive; None tries 0.001, 0.01, 0.1, 1 and 10. Of several `gamma` and
        `reg`, the pair with the least leave-one-out error is taken, which has a closed form, too.
    n_centers : int, default=100
        Number of kernel centres: target rows, spread evenly over their distances from the target mean; all of them
        where there are not more.
    target_domain : label or list of labels, default="target"
        Which labels of `sample_domain` are the target; all others are sources, taken together as one.

    Attributes
    ----------
    weights_ : ndarray of shape (n_source,)
        Weights of the source rows, in their order; their mean is one. Fitted values below zero are zero.
    coef_ : ndarray of shape (n_centers,)
        Coefficients of the kernels.
    centers_ : {ndarray, CSR array} of shape (n_centers, n_features)
        Kernel centres.
    gamma_ : float
        The kernel coefficient used.
    reg_ : float
        The weight of the ridge used.
    loo_losses_ : ndarray of shape (n_gammas, n_regs)
        Leave-one-out errors of the candidates.
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
    KLIEPWeighter : A maximum-likelihood fit of the plain ratio.

    Notes
    -----
    Distances count all features alike, so scale the features first. Time and memory grow linearly with the number of
    rows.

    References
    ----------
    .. [1] M. Yamada, T. Suzuki, T. Kanamori, H. Hachiya, M. Sugiyama, "Relative Density-Ratio Estimation for Robust
       Distribution Comparison", Neural Computation 25(5), 2013.
    .. [2] T. Kanamori, S. Hido, M. Sugiyama, "A Least-squares Approach to Direct Importance Estimation", Journal of
       Machine Learning Research 10, 2009.

    Examples
    --------
    >>> from sktransfer.datasets import make_domain_shift
    >>> from sktransfer.weighting import RuLSIFWeighter
    >>> X, y, sample_domain = make_domain_shift(random_state=0)
    >>> weighter = RuLSIFWeighter().fit(X, sample_domain=sample_domain)
    >>> weighter.predict_weights(X[:3]).shape
    (3,)
    """

    _parameter_constraints: dict = {
        **BaseWeighter._parameter_constraints,
        "alpha": [Interval(Real, 0, 1, closed="left")],
        "gamma": [Interval(Real, 0, None, closed="neither"), "array-like", None],
        "reg": [Interval(Real, 0, None, closed="neither"), "array-like", None],
        "n_centers": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(
        self,
        alpha: float = 0.1,
        *,
        gamma: Any = None,
        reg: Any = None,
        n_centers: int = 100,
        target_domain: Any = "target",
    ) -> None:
        self.alpha = alpha
        self.gamma = gamma
        self.reg = reg
        self.n_centers = n_centers
        self.target_domain = target_domain

    def _dense_reason(self) -> str | None:
        return None

    def _fit_rows(self, X: Any, domains: Domains, y: Any) -> None:
        rows = X.astype(np.float64, copy=False)
        Xs, Xt = rows[domains.source_rows], rows[domains.target_rows]
        gammas = candidate_gammas(self.gamma, lambda: median_gamma(rows))
        regs = _positive_numbers(_REGS if self.reg is None else self.reg, given=self.reg)
        self.centers_ = spread_rows(Xt, self.n_centers)
        self.loo_losses_ = np.empty((len(gammas), len(regs)))
        for position, gamma in enumerate(gammas):
            features = gaussian_features(Xs, self.centers_, gamma), gaussian_features(Xt, self.centers_, gamma)
            self.loo_losses_[position] = rulsif_leave_one_out(*features, alpha=self.alpha, regs=regs)
        best = np.unravel_index(np.argmin(self.loo_losses_), self.loo_losses_.shape)
        self.gamma_, self.reg_ = float(gammas[best[0]]), float(regs[best[1]])
        features = gaussian_features(Xs, self.centers_, self.gamma_), gaussian_features(Xt, self.centers_, self.gamma_)
        self.coef_ = rulsif_coefficients(*features, alpha=self.alpha, reg=self.reg_)
        weights = gaussian_mixture(Xs, self.centers_, self.gamma_, self.coef_)
        self.scale_ = mean_weight(weights, caller="RuLSIFWeighter")
        self.weights_ = weights / self.scale_ if self.scale_ else np.ones(Xs.shape[0])

    def _weigh_rows(self, X: np.ndarray) -> np.ndarray:
        if not self.scale_:
            return np.ones(X.shape[0])
        return gaussian_mixture(X.astype(np.float64, copy=False), self.centers_, self.gamma_, self.coef_) / self.scale_


def _positive_numbers(values: Any, *, given: Any) -> np.ndarray:
    numbers = np.ravel(np.asarray(values, dtype=np.float64))
    if len(numbers) == 0 or not np.isfinite(numbers).all() or (numbers <= 0).any():
        raise ValueError(f"reg must be a positive number, a sequence of such, or None, got {given!r}.")
    return numbers
