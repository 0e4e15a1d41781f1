import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.stats import norm

from sktransfer.datasets import make_domain_shift
from sktransfer.weighting import RuLSIFWeighter
from sktransfer.weighting._rulsif import rulsif_coefficients, rulsif_leave_one_out


@pytest.fixture
def features():
    rng = np.random.default_rng(0)
    return rng.uniform(size=(12, 4)), rng.uniform(size=(9, 4))


@pytest.mark.parametrize("alpha", [0.0, 0.3])
def test_coefficients_minimise_the_loss(features, alpha):
    S, T = features
    theta = rulsif_coefficients(S, T, alpha=alpha, reg=0.1)
    slope = alpha * T.T @ (T @ theta) / 9 + (1 - alpha) * S.T @ (S @ theta) / 12 - T.mean(axis=0) + 0.1 * theta
    assert_allclose(slope, 0, atol=1e-12)


def test_hand_computed_case():
    """One feature, 1 at source rows and 2 at target rows: (0.5 * 4 + 0.5 * 1 + 0.5) theta = 2."""
    theta = rulsif_coefficients(np.ones((3, 1)), np.full((2, 1), 2.0), alpha=0.5, reg=0.5)
    assert_allclose(theta, 2 / 3)


@pytest.mark.parametrize("alpha", [0.0, 0.1, 0.7])
def test_leave_one_out_against_refitting(features, alpha):
    S, T = features
    regs = np.array([0.01, 1.0])
    expected = []
    for reg in regs:
        H = alpha * T.T @ T / 9 + (1 - alpha) * S.T @ S / 12 + reg * np.eye(4)
        h = T.mean(axis=0)
        w_t = [phi @ np.linalg.solve(H - alpha * np.outer(phi, phi) / 9, h - phi / 9) for phi in T]
        w_s = [phi @ np.linalg.solve(H - (1 - alpha) * np.outer(phi, phi) / 12, h) for phi in S]
        expected.append(alpha / 2 * np.mean(np.square(w_t)) + (1 - alpha) / 2 * np.mean(np.square(w_s)) - np.mean(w_t))
    assert_allclose(rulsif_leave_one_out(S, T, alpha=alpha, regs=regs), expected)


@pytest.mark.parametrize("alpha", [0.0, 0.1, 0.5])
@pytest.mark.parametrize(("mean", "scale"), [(0.5, 1.0), (0.8, 0.7)])
def test_recovers_a_known_gaussian_ratio(alpha, mean, scale):
    rng = np.random.default_rng(0)
    Xs, Xt = rng.normal(size=(1000, 1)), rng.normal(size=(1000, 1)) * scale + mean
    X, d = np.vstack([Xs, Xt]), np.repeat(["source", "target"], 1000)
    weighter = RuLSIFWeighter(alpha).fit(X, sample_domain=d)
    p_s, p_t = norm.pdf(Xs)[:, 0], norm.pdf(Xs, mean, scale)[:, 0]
    true = p_t / (alpha * p_t + (1 - alpha) * p_s)
    true /= true.mean()
    assert np.mean((weighter.weights_ - true) ** 2) < 0.05 * true.var() + 0.02
    # Before the division by the mean, the relative ratio is at most 1 / alpha.
    if alpha:
        assert weighter.weights_.max() * weighter.scale_ < 1.3 / alpha


def test_leave_one_out_decides():
    X, _, d = make_domain_shift(200, 200, random_state=0)
    weighter = RuLSIFWeighter(gamma=[1e-3, 0.5, 1e4], reg=[1e-2, 1e4]).fit(X, sample_domain=d)
    assert weighter.loo_losses_.shape == (3, 2)
    assert (weighter.gamma_, weighter.reg_) == (0.5, 1e-2)


def test_larger_alpha_gives_flatter_weights():
    X, _, d = make_domain_shift(200, 200, random_state=0)
    spreads = [RuLSIFWeighter(a, gamma=0.5, reg=0.01).fit(X, sample_domain=d).weights_.std() for a in (0.0, 0.3, 0.9)]
    assert spreads[0] > spreads[1] > spreads[2]


def test_domains_that_do_not_overlap_at_this_width():
    X = np.array([[0.0], [1.0], [1e6], [1e6 + 1]])
    with pytest.warns(UserWarning, match="RuLSIFWeighter finds no source row that looks like the target"):
        weighter = RuLSIFWeighter(gamma=1.0).fit(X, sample_domain=["s", "s", "target", "target"])
    assert_allclose(weighter.weights_, 1.0)
    assert_allclose(weighter.predict_weights(X), 1.0)


def test_errors():
    X, _, d = make_domain_shift(30, 20, random_state=0)
    with pytest.raises(ValueError, match="The 'alpha' parameter of RuLSIFWeighter"):
        RuLSIFWeighter(1.0).fit(X, sample_domain=d)
    with pytest.raises(ValueError, match="reg must be a positive number, a sequence of such"):
        RuLSIFWeighter(reg=[0.1, 0.0]).fit(X, sample_domain=d)
    with pytest.raises(ValueError, match="gamma must be a positive number, a sequence of such"):
        RuLSIFWeighter(gamma=[]).fit(X, sample_domain=d)
