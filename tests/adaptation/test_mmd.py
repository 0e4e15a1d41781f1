import pickle
import subprocess
import sys
import tracemalloc

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import linalg
from scipy.spatial.distance import cdist
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer

from sktransfer.adaptation import AdaptedClassifier, MMDAdapter, _mmd
from sktransfer.adaptation._mmd import transfer_components
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


@pytest.fixture(scope="module")
def many():
    """Rows for which the leading eigenvectors are searched for by products in single precision."""
    X, y, d = make_domain_shift(650, 450, n_features=8, n_classes=3, shift="subspace", random_state=0)
    return X, y, d


@pytest.mark.parametrize("mu", [1e-2, 1.0])
@pytest.mark.parametrize("kernel", ["rbf", "poly"])
def test_many_rows_reach_the_objective_of_all_eigenvectors(many, kernel, mu):
    X, _, d = many
    adapter = MMDAdapter(5, kernel=kernel, degree=2, mu=mu)
    Z = adapter.fit_transform(X, sample_domain=d)
    K, B, A = textbook_matrices(X, d == "target", adapter)
    best = linalg.eigh(B, A, eigvals_only=True, subset_by_index=[1095, 1099])
    W = adapter.coef_
    assert_allclose(np.trace(np.linalg.solve(W.T @ A @ W, W.T @ B @ W)), best.sum(), rtol=1e-6)
    assert_allclose(np.diag(W.T @ B @ W), best[::-1], rtol=1e-4)
    # The kernel in single precision maps rows as that in double precision does, in any company.
    assert_allclose(Z, K @ W, atol=1e-5 * np.abs(Z).max())
    assert_allclose(adapter.transform(X[:3]), Z[:3], atol=1e-6 * np.abs(Z).max())


def test_rounds_by_products_end_as_those_of_all_eigenvectors(many, monkeypatch):
    X, y, d = many
    params = {"n_components": 5, "kernel": "rbf", "conditional": 0.5, "n_iter": 3}
    guessed = MMDAdapter(**params).fit(X, y, sample_domain=d).pseudo_labels_
    monkeypatch.setattr(_mmd, "_DENSE_ROWS", 2000)
    assert_array_equal(MMDAdapter(**params).fit(X, y, sample_domain=d).pseudo_labels_, guessed)


def test_landmarks_keep_the_objective(many):
    """Of the weights of all rows that the landmarks stand for, by the exact kernel."""
    X, _, d = many
    adapter = MMDAdapter(5, kernel="rbf", mu=100.0, solver="nystroem", n_landmarks=200, random_state=0)
    adapter.fit(X, sample_domain=d)
    K, B, A = textbook_matrices(X, d == "target", adapter)
    C, S = K[:, adapter.landmarks_], K[np.ix_(adapter.landmarks_, adapter.landmarks_)]
    W = C @ np.linalg.lstsq(C.T @ C, S @ adapter.coef_, rcond=1e-6)[0]
    best = linalg.eigh(B, A, eigvals_only=True, subset_by_index=[1095, 1099]).sum()
    assert np.trace(np.linalg.solve(W.T @ A @ W, W.T @ B @ W)) > 0.9999 * best


@pytest.mark.parametrize(("solver", "matrices"), [("exact", 1.5), ("nystroem", 0.5)])
def test_memory_of_many_rows(solver, matrices):
    """In units of the kernel matrix in single precision, which "exact" holds once and "nystroem" never."""
    X, _, d = make_domain_shift(2000, 1000, n_features=8, shift="subspace", random_state=0)
    tracemalloc.start()
    MMDAdapter(5, kernel="rbf", gamma=0.05, solver=solver, n_landmarks=100).fit(X, sample_domain=d)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < matrices * 4 * 3000**2


def accuracy_of(adapter, data):
    """The published protocol scales the components to unit length before the nearest neighbour, too."""
    X, y, yt = data
    model = AdaptedClassifier(make_pipeline(Normalizer(), KNeighborsClassifier(1)), adapter)
    return round(100 * model.fit(X, y).score(X[y == -1], yt), 2)


def test_published_accuracy_of_tca(office_caltech):
    """Caltech to amazon with 30 components, mu = 1 and a linear kernel: 45.62 % (437 of 958)."""
    X, y, yt = office_caltech("caltech", "amazon", unit_length=True)
    assert accuracy_of(MMDAdapter(30, kernel="linear", mu=1.0), (X, y, yt)) == 45.62
    no_transfer = KNeighborsClassifier(1).fit(X[y != -1], y[y != -1]).score(X[y == -1], yt)
    assert no_transfer < 0.37


# Of a published notebook, round by round. Its BDA takes a wrong term from the third round on, W-BDA does not.
@pytest.mark.parametrize(
    ("n_iter", "conditional", "expected"),
    [(1, 0.5, 46.66), (2, 0.5, 45.93), (2, 1.0, 46.35), (3, 1.0, 45.20), (7, 1.0, 45.72), (10, 1.0, 45.93)],
)
def test_published_accuracy_of_bda_and_weighted_bda(office_caltech, n_iter, conditional, expected):
    adapter = MMDAdapter(
        30, kernel="primal", conditional=conditional, class_weighting=conditional == 1.0, n_iter=n_iter
    )
    assert accuracy_of(adapter, office_caltech("caltech", "amazon", unit_length=True)) == expected


def test_published_rounds_of_bda(office_caltech):
    """All ten, with the notebook's wrong term: the last class's difference of the round before for the marginal one."""
    X, y, yt = office_caltech("caltech", "amazon", unit_length=True)
    source, guess, found = y != -1, None, []
    marginal = np.where(source, 1 / source.sum(), -1 / (~source).sum())
    centered = X - X.mean(axis=0)
    for _ in range(10):
        columns = [np.sqrt(10) * marginal]
        for c in range(10) if guess is not None else ():
            marginal = np.where(
                source, (guess == c) / sum(guess[source] == c), (guess == c) / -sum(guess[~source] == c)
            )
            columns.append(marginal)
        E = np.column_stack(columns)
        E /= np.sqrt(np.linalg.norm(E.T @ E))
        A = transfer_components(centered.T @ centered, X.T @ E, mu=1.0, n_components=30)
        Z = Normalizer().transform(X @ (A / np.linalg.norm(A, axis=0)))
        guess = np.where(source, y, 0)
        guess[~source] = KNeighborsClassifier(1).fit(Z[source], y[source]).predict(Z[~source])
        found.append(round(100 * np.mean(guess[~source] == yt), 2))
    assert found == [46.66, 45.93, 46.56, 46.24, 46.66, 46.66, 46.56, 46.56, 46.56, 46.56]


def textbook_difference(target, labels, mu):
    """The MMD matrix of joint and balanced distribution adaptation, summed entry by entry."""
    n, classes = len(target), np.unique(labels[~target])
    e = np.where(target, -1 / target.sum(), 1 / (~target).sum())
    L = (1 - mu) * len(classes) * np.outer(e, e)
    for c in classes:
        e = np.zeros(n)
        e[~target & (labels == c)] = 1 / np.sum(~target & (labels == c))
        e[target & (labels == c)] = -1 / np.sum(target & (labels == c))
        L += mu * np.outer(e, e)
    return L / np.linalg.norm(L)


@pytest.mark.parametrize("kernel", [*KERNELS, "primal"])
@pytest.mark.parametrize("conditional", [0.4, 1.0])
def test_second_round_is_the_textbook_problem(kernel, conditional):
    """Guess by the components of the first round, then solve with the class-wise matrix: objective and constraint."""
    X, y, d = make_domain_shift(30, 25, n_features=5, n_classes=3, shift="subspace", random_state=0)
    target = d == "target"
    first = MMDAdapter(3, kernel=kernel, degree=2, mu=0.1).fit_transform(X, sample_domain=d)
    unit = Normalizer().transform(first)
    guess = KNeighborsClassifier(1).fit(unit[~target], y[~target]).predict(unit[target])
    adapter = MMDAdapter(3, kernel=kernel, degree=2, mu=0.1, conditional=conditional, n_iter=2)
    Z = adapter.fit_transform(X, y, sample_domain=d)
    assert_array_equal(adapter.pseudo_labels_, guess)
    assert (adapter.n_iter_, adapter.conditional_) == (2, conditional)
    labels = y.copy()
    labels[target] = guess
    K = X.T if kernel == "primal" else kernel_matrix(X, X, adapter)
    L, H = textbook_difference(target, labels, conditional), np.eye(55) - 1 / 55
    B, A = K @ H @ K.T, K @ L @ K.T + 0.1 * np.eye(len(K))
    best = linalg.eigh(B, A, eigvals_only=True)[::-1][:3]
    W = adapter.coef_ if kernel == "primal" else linalg.lstsq(K, Z)[0]
    assert_allclose(np.diag(W.T @ B @ W) / np.diag(W.T @ A @ W), best, rtol=1e-5)
    if kernel == "primal":
        assert_allclose(np.linalg.norm(W, axis=0), 1.0)


@pytest.fixture
def classes_moved():
    """Three far classes, each moved to a side of its own in the target, by nothing on average."""
    rng = np.random.default_rng(0)
    y, d = np.arange(120) % 3, np.repeat(["source", "target"], 60)
    X = 0.2 * rng.normal(size=(120, 5))
    X[:, :3] += 4 * np.eye(3)[y]
    X[:, 3:] += np.where(d == "target", 1.5, 0.0)[:, np.newaxis] * np.array([[1, 0], [-0.5, 0.9], [-0.5, -0.9]])[y]
    return X, y, d


def test_classes_come_closer_than_by_domains_alone(classes_moved):
    X, y, d = classes_moved
    target = d == "target"

    def distance(adapter):
        Z = adapter.fit_transform(X, y, sample_domain=d)
        Z /= np.sqrt(Z.var(axis=0).sum())
        return sum(mmd_distance(Z[~target & (y == c)], Z[target & (y == c)], kernel="linear") for c in range(3))

    assert distance(MMDAdapter(4, mu=0.1, conditional=0.5)) < 0.1 * distance(MMDAdapter(4, mu=0.1))


def test_rounds_end_where_nothing_changes(classes_moved):
    X, y, d = classes_moved
    adapter = MMDAdapter(3, conditional=0.5, n_iter=100).fit(X, y, sample_domain=d)
    assert adapter.n_iter_ < 10
    assert_array_equal(adapter.pseudo_labels_, y[d == "target"])
    again = MMDAdapter(3, conditional=0.5, n_iter=adapter.n_iter_).fit(X, y, sample_domain=d)
    assert_array_equal(again.coef_, adapter.coef_)


def test_estimator_makes_the_guess(data):
    X, y, d = make_domain_shift(40, 40, n_features=5, n_classes=3, random_state=0)
    target = d == "target"
    Z = MMDAdapter(3).fit_transform(X, sample_domain=d)
    expected = LogisticRegression().fit(Z[~target], y[~target]).predict(Z[target])
    adapter = MMDAdapter(3, conditional=0.5, n_iter=2, estimator=LogisticRegression()).fit(X, y, sample_domain=d)
    assert_array_equal(adapter.pseudo_labels_, expected)
    assert not hasattr(adapter.estimator, "coef_")


def test_automatic_weight():
    X, y, d = make_domain_shift(60, 60, n_features=5, shift="subspace", random_state=0)
    adapter = MMDAdapter(3, conditional="auto", n_iter=3).fit(X, y, sample_domain=d)
    assert 0 < adapter.conditional_ < 1


@pytest.mark.parametrize("kernel", ["rbf", "poly"])
@pytest.mark.parametrize("conditional", [0.0, 0.5])
def test_nystroem_with_all_rows_is_exact(kernel, conditional):
    X, y, d = make_domain_shift(30, 25, n_features=5, n_classes=3, shift="subspace", random_state=0)
    params = {"kernel": kernel, "degree": 2, "conditional": conditional}
    Z = MMDAdapter(3, **params).fit_transform(X, y, sample_domain=d)
    approximate = MMDAdapter(3, solver="nystroem", **params)
    assert_allclose(np.abs(approximate.fit_transform(X, y, sample_domain=d)), np.abs(Z), atol=1e-5 * np.abs(Z).max())
    assert_array_equal(approximate.landmarks_, np.arange(55))


def test_nystroem_comes_close_and_is_seeded():
    X, _, d = make_domain_shift(300, 300, n_features=5, shift="subspace", random_state=0)
    adapter = MMDAdapter(4, kernel="rbf", solver="nystroem", n_landmarks=100, random_state=0)
    Z = adapter.fit_transform(X, sample_domain=d)
    exact = MMDAdapter(4, kernel="rbf").fit_transform(X, sample_domain=d)
    assert np.abs(np.diag(np.corrcoef(Z.T, exact.T)[:4, 4:])).min() > 0.99
    assert adapter.X_fit_.shape == (100, 5)
    assert_array_equal(adapter.X_fit_, X[adapter.landmarks_])
    assert_array_equal(clone(adapter).fit_transform(X, sample_domain=d), Z)


def test_tens_of_thousands_of_rows():
    X, y, d = make_domain_shift(15000, 10000, n_features=10, shift="subspace", random_state=0)
    adapter = MMDAdapter(5, kernel="rbf", solver="nystroem", n_landmarks=100, conditional=0.5, n_iter=2, random_state=0)
    adapter.set_params(estimator=LogisticRegression())
    assert adapter.fit_transform(X, y, sample_domain=d).shape == (25000, 5)


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
        ({"conditional": 1.5}, "conditional"),
        ({"class_weighting": "yes"}, "class_weighting"),
        ({"estimator": "knn"}, "estimator"),
        ({"n_iter": 0}, "n_iter"),
        ({"solver": "fast"}, "solver"),
        ({"n_landmarks": 0}, "n_landmarks"),
    ],
)
def test_parameter_errors(data, params, message):
    with pytest.raises(ValueError, match=f"The '{message}' parameter of MMDAdapter"):
        MMDAdapter(**params).fit(data[0], sample_domain=data[1])


def test_input_errors(data):
    X, d = data
    with pytest.raises(ValueError, match="NaN"):
        MMDAdapter().fit(np.where(X > 1, np.nan, X), sample_domain=d)
    with pytest.raises(ValueError, match="4 features, but MMDAdapter is expecting 5"):
        MMDAdapter().fit(X, sample_domain=d).transform(X[:, :4])


def test_room_imports_no_torch():
    code = "import sktransfer.adaptation, sktransfer.metrics, sktransfer.datasets, sys; print('torch' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "False"
