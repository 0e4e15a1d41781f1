import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.linalg import null_space
from sklearn.decomposition import PCA
from sklearn.neighbors import KNeighborsClassifier

from sktransfer.adaptation import AdaptedClassifier, GFKAdapter
from sktransfer.adaptation._gfk import geodesic_flow_map
from sktransfer.datasets import make_domain_shift


def flow_kernel(Ps, Pt, n_steps=2000):
    """The integral of the paper by the midpoint rule, with the complement of the source basis written out."""
    U1, cosines, Vt = np.linalg.svd(Ps.T @ Pt)
    theta = np.arccos(np.clip(cosines, -1, 1))
    Rs = null_space(Ps.T)
    # Rs'Pt = -U2 sin(theta) V'.
    U2 = -(Rs.T @ Pt) @ Vt.T / np.maximum(np.sin(theta), 1e-12)
    G = 0
    for t in (np.arange(n_steps) + 0.5) / n_steps:
        Phi = Ps @ U1 @ np.diag(np.cos(t * theta)) - Rs @ U2 @ np.diag(np.sin(t * theta))
        G = G + Phi @ Phi.T / n_steps
    return G


@pytest.fixture
def bases():
    rng = np.random.default_rng(0)
    return [np.linalg.qr(rng.normal(size=(10, 3)))[0] for _ in range(2)]


def test_map_is_a_root_of_the_integral(bases):
    S = geodesic_flow_map(*bases)
    assert S.shape == (10, 6)
    assert_allclose(S @ S.T, flow_kernel(*bases), atol=1e-6)


def test_two_lines_in_a_plane():
    """Closed form: lines at angle t; G = integral of the projections on all lines between them."""
    t = 0.7
    S = geodesic_flow_map(np.array([[1.0], [0.0]]), np.array([[np.cos(t)], [np.sin(t)]]))
    expected = [
        [0.5 + np.sin(2 * t) / (4 * t), (1 - np.cos(2 * t)) / (4 * t)],
        [(1 - np.cos(2 * t)) / (4 * t), 0.5 - np.sin(2 * t) / (4 * t)],
    ]
    assert_allclose(S @ S.T, expected)


@pytest.mark.parametrize("angle", [0.0, 1e-9, 1e-5])
def test_close_subspaces_give_the_projection(angle):
    Pt = np.array([[np.cos(angle)], [np.sin(angle)], [0.0]])
    S = geodesic_flow_map(np.array([[1.0], [0.0], [0.0]]), Pt)
    assert_allclose(S @ S.T, np.diag([1.0, 0.0, 0.0]), atol=1e-5)
    assert np.isfinite(S).all()


def test_kernel_is_symmetric_in_the_domains(bases):
    S, T = geodesic_flow_map(*bases), geodesic_flow_map(*bases[::-1])
    assert_allclose(S @ S.T, T @ T.T, atol=1e-10)


def test_subspaces_of_more_than_half_of_the_features():
    rng = np.random.default_rng(0)
    bases = [np.linalg.qr(rng.normal(size=(5, 4)))[0] for _ in range(2)]
    S = geodesic_flow_map(*bases)
    assert np.isfinite(S).all()
    assert np.trace(S @ S.T) == pytest.approx(4.0)


def test_identical_domains_give_inner_products_of_principal_components():
    X = np.random.default_rng(0).normal(size=(20, 5)) * [5, 4, 3, 2, 1]
    d = np.repeat(["s", "target"], 20)
    Z = GFKAdapter(2, center=True).fit_transform(np.vstack([X, X]), sample_domain=d)
    P = PCA(2).fit_transform(X)
    assert_allclose(Z[:20] @ Z[:20].T, P @ P.T, atol=1e-8)
    assert_allclose(Z[:20], Z[20:], atol=1e-8)


def test_rotation_and_order_of_rows():
    X, _, d = make_domain_shift(40, 30, n_features=6, shift="subspace", random_state=0)
    Z = GFKAdapter(3).fit_transform(X, sample_domain=d)
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(6, 6)))[0]
    order = np.random.default_rng(0).permutation(len(X))
    turned = GFKAdapter(3).fit_transform(X @ rotation, sample_domain=d)
    again = GFKAdapter(3).fit_transform(X[order], sample_domain=d[order])
    assert_allclose(turned @ turned.T, Z @ Z.T, atol=1e-8)
    assert_allclose(again @ again.T, (Z @ Z.T)[np.ix_(order, order)], atol=1e-8)


def test_centering():
    X, _, d = make_domain_shift(40, 30, n_features=6, shift="subspace", random_state=0)
    target = d == "target"
    centered = GFKAdapter(3, center=True).fit_transform(X, sample_domain=d)
    for role in (target, ~target):
        assert_allclose(centered[role].mean(axis=0), 0.0, atol=1e-10)
    plain = GFKAdapter(3).fit(X, sample_domain=d)
    assert_allclose(plain.transform(X), X @ plain.coef_)


def test_office_caltech_accuracy(office_caltech):
    """Published, webcam to dslr, nearest neighbour: 85.4 %."""
    X, y, yt = office_caltech("webcam", "dslr", unit_length=True)
    model = AdaptedClassifier(KNeighborsClassifier(1), GFKAdapter()).fit(X, y)
    assert 100 * model.score(X[y == -1], yt) == pytest.approx(85.4, abs=1.5)


@pytest.mark.parametrize("params", [{"n_components": 0}, {"n_components": "all"}, {"center": "yes"}])
def test_parameter_errors(params):
    with pytest.raises(ValueError, match=f"The '{next(iter(params))}' parameter of GFKAdapter"):
        GFKAdapter(**params).fit(np.eye(4), sample_domain=["s", "s", "target", "target"])
