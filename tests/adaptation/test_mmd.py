import pickle
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import linalg, sparse
from scipy.spatial.distance import cdist
from sklearn.base import clone
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer

from sktransfer.adaptation import AdaptedClassifier, MMDAdapter
from sktransfer.datasets import make_domain_shift
from sktransfer.metrics import mmd_distance

KERNELS = ["linear", "rbf", "poly"]


@pytest.fixture
def data():
    X, _, d = make_domain_shift(25, 20, n_features=5, shift="subspace", random_state=0)
    return X, d


def kernel_matrix(X, Y, adapter):
    """Kernels by definition, apart from the package's code."""
    if adapter.kernel == "linear":
        return X @ Y.T
    if adapter.kernel == "rbf":
        return np.exp(-adapter.gamma_ * cdist(X, Y, "sqeuclidean"))
    return (adapter.gamma_ * X @ Y.T + adapter.coef0) ** adapter.degree


def textbook_matrices(X, target, adapter):
    """K H K and K L K + mu I of the paper, L of Frobenius norm 1."""
    n = len(X)
    K = kernel_matrix(X, X, adapter)
    H = np.eye(n) - 1 / n
    e = np.where(target, -1 / target.sum(), 1 / (~target).sum())
    L = np.outer(e, e)
    L /= np.linalg.norm(L)
    return K, K @ H @ K, K @ L @ K + adapter.mu * np.eye(n)


@pytest.mark.parametrize("mu", [1e-2, 1.0, 1e3])
@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("n_features", [3, 60])
def test_components_are_those_of_the_textbook_problem(kernel, mu, n_features):
    """Objective and constraint of the dual problem over all n coefficients, also where the primal one was solved."""
    X, _, d = make_domain_shift(25, 20, n_features=n_features, shift="subspace", random_state=0)
    target = d == "target"
    adapter = MMDAdapter(3, kernel=kernel, degree=2, mu=mu)
    Z = adapter.fit_transform(X, sample_domain=d)
    K, B, A = textbook_matrices(X, target, adapter)
    best = linalg.eigh(B, A, eigvals_only=True)[::-1][:3]
    W = linalg.lstsq(K, Z)[0]
    assert_allclose(K @ W, Z, atol=1e-6 * np.abs(Z).max())
    assert_allclose(W.T @ A @ W, np.eye(3), atol=1e-5)
    assert_allclose(np.diag(W.T @ B @ W), best, rtol=1e-5)


@pytest.mark.parametrize("mu", [0.1, 1000.0])
def test_objective_beats_the_symmetric_solver_on_a_product(mu):
    """What two peers do: eigh of A^-1 B, which is not symmetric."""
    X, _, d = make_domain_shift(60, 40, n_features=20, shift="subspace", random_state=0)
    adapter = MMDAdapter(5, kernel="rbf", mu=mu).fit(X, sample_domain=d)
    _, B, A = textbook_matrices(X, d == "target", adapter)

    def objective(W):
        return np.trace(np.linalg.solve(W.T @ A @ W, W.T @ B @ W))

    _, wrong = linalg.eigh(np.linalg.solve(A, B))
    assert objective(adapter.coef_) >= objective(wrong[:, -5:])
    assert_allclose(objective(adapter.coef_), linalg.eigh(B, A, eigvals_only=True)[-5:].sum())


def test_office_caltech_accuracy(shared_data):
    """Published for C -> A with 30 components, mu = 1 and a linear kernel: 45.62 % (437 of 958)."""
    path = shared_data / "data" / "office_caltech10_surf" / "surf_l10.npz"
    if not path.exists():
        pytest.skip(f"no {path}")
    arrays = np.load(path)

    def prepared(name):
        X = arrays[f"{name}_X"].astype(float)
        X /= X.sum(axis=1, keepdims=True)
        X = (X - X.mean(axis=0)) / np.maximum(X.std(axis=0, ddof=1), 1e-12)
        return X / np.linalg.norm(X, axis=1, keepdims=True)

    Xs, ys, Xt, yt = prepared("caltech"), arrays["caltech_y"], prepared("amazon"), arrays["amazon_y"]
    # The published protocol scales the components to unit length before the nearest neighbour, too.
    classifier = make_pipeline(Normalizer(), KNeighborsClassifier(1))
    model = AdaptedClassifier(classifier, MMDAdapter(30, kernel="linear", mu=1.0))
    model.fit(np.vstack([Xs, Xt]), np.r_[ys, np.full(len(yt), -1)])
    assert round(100 * model.score(Xt, yt), 2) == 45.62
    no_transfer = KNeighborsClassifier(1).fit(Xs, ys).score(Xt, yt)
    assert model.score(Xt, yt) > no_transfer + 0.09


@pytest.mark.parametrize("kernel", KERNELS)
def test_new_rows_are_mapped_like_training_rows(data, kernel):
    X, d = data
    adapter = MMDAdapter(3, kernel=kernel)
    Z = adapter.fit_transform(X, sample_domain=d)
    assert_allclose(adapter.transform(X), Z, atol=1e-8 * np.abs(Z).max())
    assert_allclose(adapter.transform(X[3:5]), Z[3:5], atol=1e-8 * np.abs(Z).max())


@pytest.mark.parametrize("kernel", KERNELS)
def test_order_of_rows_is_irrelevant(data, kernel):
    X, d = data
    order = np.random.default_rng(0).permutation(len(X))
    Z = MMDAdapter(3, kernel=kernel).fit_transform(X, sample_domain=d)
    again = MMDAdapter(3, kernel=kernel).fit_transform(X[order], sample_domain=d[order])
    # A component is defined up to its sign.
    assert_allclose(np.abs(again), np.abs(Z[order]), atol=1e-6 * np.abs(Z).max())


@pytest.mark.parametrize("kernel", KERNELS)
def test_rotation_of_features_is_irrelevant(data, kernel):
    X, d = data
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(5, 5)))[0]
    Z = MMDAdapter(3, kernel=kernel).fit_transform(X, sample_domain=d)
    turned = MMDAdapter(3, kernel=kernel).fit_transform(X @ rotation, sample_domain=d)
    assert_allclose(np.abs(turned), np.abs(Z), atol=1e-6 * np.abs(Z).max())


@pytest.mark.parametrize("kernel", KERNELS)
def test_domains_come_closer(data, kernel):
    X, d = data
    target = d == "target"
    Z = MMDAdapter(2, kernel=kernel, mu=0.1).fit_transform(X, sample_domain=d)
    # Both in units of their own spread.
    before = mmd_distance(X[~target], X[target], kernel="linear") / X.var(axis=0).sum()
    after = mmd_distance(Z[~target], Z[target], kernel="linear") / Z.var(axis=0).sum()
    assert after < 0.1 * before


def test_identical_domains_give_principal_components():
    """Without a difference of means and with centred rows, the linear problem is that of kernel PCA."""
    X = np.random.default_rng(0).normal(size=(20, 3)) * [3, 2, 1]
    X -= X.mean(axis=0)
    d = np.repeat(["source", "target"], 20)
    Z = MMDAdapter(3).fit_transform(np.vstack([X, X]), sample_domain=d)
    assert_allclose(Z[:20], Z[20:])
    principal = X @ np.linalg.svd(X)[2].T
    correlation = np.abs(np.corrcoef(Z[:20].T, principal.T)[:3, 3:])
    assert_allclose(correlation, np.eye(3), atol=1e-6)


def test_number_of_components_is_what_there_is():
    X, _, d = make_domain_shift(10, 10, n_features=4, random_state=0)
    assert MMDAdapter(30).fit(X, sample_domain=d).n_features_out_ == 4
    assert MMDAdapter(30, kernel="rbf").fit(X, sample_domain=d).n_features_out_ <= 20
    collinear = np.column_stack([X, X[:, 0] + X[:, 1], np.full(20, 3.0), np.zeros(20)])
    adapter = MMDAdapter(30).fit(collinear, sample_domain=d)
    assert adapter.n_features_out_ == 4
    assert np.isfinite(adapter.transform(collinear)).all()


@pytest.mark.parametrize("kernel", KERNELS)
def test_one_row_domains_and_equal_rows(kernel):
    Z = MMDAdapter(kernel=kernel).fit_transform([[0.0, 1.0], [2.0, 0.0]], sample_domain=["source", "target"])
    assert np.isfinite(Z).all()
    for value in (0.0, 1.0):
        Z = MMDAdapter(kernel=kernel).fit_transform(np.full((4, 2), value), sample_domain=["s", "s", "target", "s"])
        assert Z.shape == (4, 1)
        assert np.isfinite(Z).all()


@pytest.mark.parametrize("kernel", KERNELS)
def test_float32(data, kernel):
    X, d = data
    X32 = X.astype(np.float32)
    adapter = MMDAdapter(3, kernel=kernel).fit(X32, sample_domain=d)
    Z = adapter.transform(X32)
    assert Z.dtype == np.float32
    expected = MMDAdapter(3, kernel=kernel).fit_transform(X32.astype(float), sample_domain=d)
    assert_allclose(Z, expected, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("kernel", KERNELS)
def test_refit_clone_and_pickle(data, kernel):
    X, d = data
    adapter = MMDAdapter(3, kernel=kernel).fit(X[::2], sample_domain=d[::2])
    Z = adapter.fit(X, sample_domain=d).transform(X)
    assert_array_equal(clone(adapter).fit(X, sample_domain=d).transform(X), Z)
    assert_array_equal(pickle.loads(pickle.dumps(adapter)).transform(X), Z)


def test_labels_are_not_used(data):
    X, d = data
    expected = MMDAdapter(3).fit_transform(X, sample_domain=d)
    assert_array_equal(MMDAdapter(3).fit_transform(X, np.arange(len(X)), sample_domain=d), expected)


def test_caller_data_is_not_written(data):
    X, d = data
    X.setflags(write=False)
    d.setflags(write=False)
    for kernel in KERNELS:
        adapter = MMDAdapter(3, kernel=kernel).fit(X, sample_domain=d)
        assert adapter.X_fit_ is None or not np.shares_memory(adapter.X_fit_, X)
        adapter.transform(X)


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_set_output(data, library):
    X, d = data
    adapter = MMDAdapter(2).set_output(transform=library)
    Z = adapter.fit_transform(pd.DataFrame(X, columns=list("abcde")), sample_domain=pd.Series(d))
    assert list(Z.columns) == ["mmdadapter0", "mmdadapter1"]


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"n_components": 0}, "n_components"),
        ({"kernel": "cosine"}, "kernel"),
        ({"gamma": 0.0}, "gamma"),
        ({"mu": 0.0}, "mu"),
        ({"degree": -1}, "degree"),
    ],
)
def test_parameter_errors(data, params, message):
    with pytest.raises(ValueError, match=f"The '{message}' parameter of MMDAdapter"):
        MMDAdapter(**params).fit(data[0], sample_domain=data[1])


def test_input_errors(data):
    X, d = data
    with pytest.raises(TypeError, match=r"[Ss]parse"):
        MMDAdapter().fit(sparse.csr_matrix(X), sample_domain=d)
    with pytest.raises(ValueError, match="NaN"):
        MMDAdapter().fit(np.where(X > 1, np.nan, X), sample_domain=d)
    with pytest.raises(ValueError, match="4 features, but MMDAdapter is expecting 5"):
        MMDAdapter().fit(X, sample_domain=d).transform(X[:, :4])


def test_room_imports_no_torch():
    code = "import sktransfer.adaptation, sktransfer.metrics, sktransfer.datasets, sys; print('torch' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "False"
