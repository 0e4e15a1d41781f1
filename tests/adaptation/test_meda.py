import numpy as np
import pytest
import scipy.linalg
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.linear_model import LogisticRegression
from sklearn.metrics.pairwise import rbf_kernel

from sktransfer.adaptation import GFKAdapter, MEDAClassifier
from sktransfer.adaptation._meda import AlignedLeastSquares, cosine_laplacian
from sktransfer.adaptation._pseudo_labels import mean_differences
from sktransfer.datasets import make_domain_shift
from sktransfer.utils import _kernels
from sktransfer.utils._kernels import kernel_factor


@pytest.fixture
def data():
    return make_domain_shift(40, 30, n_features=6, n_classes=3, shift="subspace", random_state=0)


def unit(X):
    return X / np.linalg.norm(X, axis=1, keepdims=True)


def test_laplacian_by_hand():
    """Two pairs of close rows: each row has itself and its partner."""
    angles = np.deg2rad([0, 10, 80, 95])
    X = np.column_stack([np.cos(angles), np.sin(angles)])
    a, b = np.cos(np.deg2rad(10)), np.cos(np.deg2rad(15))
    expected = np.zeros((4, 4))
    expected[:2, :2] = np.eye(2) - np.array([[1, a], [a, 1]]) / (1 + a)
    expected[2:, 2:] = np.eye(2) - np.array([[1, b], [b, 1]]) / (1 + b)
    assert_allclose(cosine_laplacian(X, 1).toarray(), expected, atol=1e-12)


def test_laplacian_is_positive_semidefinite():
    L = cosine_laplacian(unit(np.random.default_rng(0).normal(size=(30, 3))), 5).toarray()
    assert_allclose(L, L.T)
    assert np.linalg.eigvalsh(L).min() > -1e-10


def test_coefficients_minimise_the_objective():
    """|A (Y - K b)|^2 + eta tr(b'K b) + lambda tr(b'K M K b) + tr(b'K L K b), by its gradient."""
    rng = np.random.default_rng(0)
    X = unit(rng.normal(size=(12, 4)))
    target, labels = np.arange(12) >= 7, np.arange(12) % 2
    K, Y, L = rbf_kernel(X, gamma=0.5), np.eye(2)[labels], cosine_laplacian(X, 3)
    E = mean_differences(target, labels, conditional=0.4)
    b = AlignedLeastSquares(K, Y, ~target, 0.7 * L, reg=0.1).solve(E, weight=3.0)
    A = np.diag((~target).astype(float))
    gradient = -K @ A @ (Y - K @ b) + 0.1 * K @ b + 3.0 * K @ (E @ E.T) @ K @ b + 0.7 * K @ L @ K @ b
    assert_allclose(gradient, 0.0, atol=1e-10)


def test_a_factor_of_the_kernel_matrix_gives_the_same_classifier():
    rng = np.random.default_rng(0)
    X = unit(rng.normal(size=(12, 4)))
    target, labels = np.arange(12) >= 7, np.arange(12) % 2
    K, Y, L = rbf_kernel(X, gamma=0.5), np.eye(2)[labels], 0.7 * cosine_laplacian(X, 3)
    E = mean_differences(target, labels, conditional=0.4)
    F, to_coef = kernel_factor(X, X, kernel="rbf", gamma=0.5)
    v = AlignedLeastSquares(F, Y, ~target, L, reg=0.1, factored=True).solve(E, weight=3.0)
    expected = K @ AlignedLeastSquares(K, Y, ~target, L, reg=0.1).solve(E, weight=3.0)
    assert_allclose(F @ v, expected, atol=1e-9)
    assert_allclose(K @ to_coef(v), expected, atol=1e-7)


def test_landmarks_stand_for_all_rows():
    X, y, d = make_domain_shift(200, 150, n_features=6, n_classes=3, shift="subspace", random_state=0)
    exact = MEDAClassifier(3).fit(X, y, sample_domain=d)
    few = MEDAClassifier(3, solver="nystroem", n_landmarks=120, random_state=0).fit(X, y, sample_domain=d)
    assert exact.landmarks_ is None
    assert few.coef_.shape == (120, 3)
    assert few.X_fit_.shape == (120, 6)
    assert np.mean(few.predict(X) == exact.predict(X)) > 0.97
    assert_array_equal(few.predict(X[d == "target"]), few.pseudo_labels_)
    # All rows as landmarks are no approximation.
    same = MEDAClassifier(3, solver="nystroem", n_landmarks=350).fit(X, y, sample_domain=d)
    assert_array_equal(same.coef_, exact.coef_)


def test_many_rows_take_landmarks_by_themselves(monkeypatch):
    X, y, d = make_domain_shift(60, 50, n_features=4, random_state=0)
    monkeypatch.setattr(_kernels, "EXACT_ROWS", 100)
    assert len(MEDAClassifier(2, n_landmarks=30).fit(X, y, sample_domain=d).landmarks_) == 30
    assert MEDAClassifier(2, n_landmarks=30, solver="exact").fit(X, y, sample_domain=d).landmarks_ is None


def test_nothing_as_large_as_the_square_of_the_rows_is_factored_each_round(data, monkeypatch):
    X, y, d = data
    calls, lu_factor = [], scipy.linalg.lu_factor
    monkeypatch.setattr(
        scipy.linalg, "lu_factor", lambda *args, **params: calls.append(1) or lu_factor(*args, **params)
    )
    model = MEDAClassifier(3).fit(X, y, sample_domain=d)
    assert model.n_iter_ > 1
    assert len(calls) == 1


def test_without_alignment_it_is_kernel_ridge_regression(data):
    X, y, d = data
    source = d == "source"
    model = MEDAClassifier(3, alignment_weight=0.0, laplacian_weight=0.0, reg=0.2).fit(X, y, sample_domain=d)
    Z = unit(GFKAdapter(3).fit_transform(X, sample_domain=d))
    K = rbf_kernel(Z[source], gamma=0.5)
    dual = np.linalg.solve(K + 0.2 * np.eye(40), np.eye(3)[y[source]])
    assert_allclose(model.coef_[source], dual, atol=1e-8)
    assert_allclose(model.coef_[~source], 0.0, atol=1e-10)
    target_rows = X[~source]
    assert_allclose(model.decision_function(target_rows), rbf_kernel(Z[~source], Z[source], gamma=0.5) @ dual)


def test_rounds_end_where_nothing_changes(data):
    X, y, d = data
    model = MEDAClassifier(3, conditional=0.5, n_iter=200).fit(X, y, sample_domain=d)
    assert model.n_iter_ < 200
    assert_array_equal(model.predict(X[d == "target"]), model.pseudo_labels_)
    again = MEDAClassifier(3, conditional=0.5, n_iter=model.n_iter_ + 5).fit(X, y, sample_domain=d)
    assert_array_equal(again.coef_, model.coef_)


def test_estimator_makes_the_first_guess(data):
    X, y, d = data
    model = MEDAClassifier(3, estimator=LogisticRegression(), n_iter=1).fit(X, y, sample_domain=d)
    assert model.n_iter_ == 1
    assert 0 <= model.conditional_ <= 1


def test_order_and_rotation(data):
    X, y, d = data
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(6, 6)))[0]
    order = np.random.default_rng(0).permutation(len(X))
    expected = MEDAClassifier(3, conditional=0.5).fit(X, y, sample_domain=d).decision_function(X)
    turned = MEDAClassifier(3, conditional=0.5).fit(X @ rotation, y, sample_domain=d).decision_function(X @ rotation)
    again = MEDAClassifier(3, conditional=0.5).fit(X[order], y[order], sample_domain=d[order]).decision_function(X)
    assert_allclose(turned, expected, atol=1e-8)
    assert_allclose(again, expected, atol=1e-8)


def test_published_accuracy(office_caltech):
    """Webcam to dslr: 88.5 % in the paper."""
    X, y, yt = office_caltech("webcam", "dslr")
    assert round(100 * MEDAClassifier().fit(X, y).score(X[y == -1], yt), 1) == 88.5


@pytest.mark.parametrize(
    "params",
    [
        {"n_components": 0},
        {"kernel": "cosine"},
        {"reg": 0.0},
        {"alignment_weight": -1.0},
        {"laplacian_weight": -1.0},
        {"conditional": 2.0},
        {"n_neighbors": 0},
        {"n_iter": 0},
        {"solver": "fast"},
        {"n_landmarks": 0},
        {"estimator": "knn"},
    ],
)
def test_parameter_errors(data, params):
    X, y, d = data
    with pytest.raises(ValueError, match=f"The '{next(iter(params))}' parameter of MEDAClassifier"):
        MEDAClassifier(**params).fit(X, y, sample_domain=d)
