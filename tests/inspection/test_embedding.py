import numpy as np
import pytest
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from sktransfer import AdaptedClassifier, CORALAdapter, KMMWeighter, make_domain_shift
from sktransfer.inspection._embedding import before_and_after, embed


@pytest.fixture
def shifted():
    return make_domain_shift(30, 30, n_features=4, random_state=0)


def test_principal_components(shifted):
    X, _, _ = shifted
    points, (first, second) = embed(X, method="pca", seed=0)
    Z = X - X.mean(axis=0)
    _, s, Vt = np.linalg.svd(Z, full_matrices=False)
    np.testing.assert_allclose(np.abs(points), np.abs(Z @ Vt[:2].T))
    share = s**2 / np.sum(s**2)
    assert first == f"component 1 ({100 * share[0]:.0f} % of variance)"
    assert second == f"component 2 ({100 * share[1]:.0f} % of variance)"


def test_tsne(shifted):
    X, _, _ = shifted
    points, labels = embed(X, method="tsne", seed=0)
    assert points.shape == (60, 2)
    assert np.isfinite(points).all()
    np.testing.assert_array_equal(points, embed(X, method="tsne", seed=0)[0])
    assert labels == ["t-SNE 1", "t-SNE 2"]
    assert embed(X[:5], method="tsne", seed=0)[0].shape == (5, 2)


def test_one_feature_and_rows_all_alike(shifted):
    X, _, _ = shifted
    points, labels = embed(X[:, :1], method="pca", seed=0)
    np.testing.assert_array_equal(points[:, 0], X[:, 0])
    assert labels[1] == "at random"
    with np.errstate(invalid="ignore"):
        points, labels = embed(np.ones((6, 3)), method="pca", seed=0)
    assert np.isfinite(points).all()
    assert "0 % of variance" in labels[0]


def test_adapters_map_each_domain_as_what_it_is(shifted):
    X, y, names = shifted
    adapter = CORALAdapter().fit(X, sample_domain=names)
    expected = adapter.transform(X, sample_domain=names)
    before, after = before_and_after(adapter, X, names, None)
    np.testing.assert_array_equal(before, X)
    np.testing.assert_array_equal(after, expected)
    adapted = AdaptedClassifier(LogisticRegression(), CORALAdapter()).fit(X, y, sample_domain=names)
    np.testing.assert_array_equal(before_and_after(adapted, X, names, None)[1], expected)


def test_pipelines(shifted):
    X, y, names = shifted
    pipe = make_pipeline(StandardScaler(), "passthrough", CORALAdapter(), LogisticRegression())
    pipe.fit(X, y, coraladapter__sample_domain=names)
    before, after = before_and_after(pipe, X, names, None)
    scaled = pipe[0].transform(X)
    np.testing.assert_array_equal(before, scaled)
    np.testing.assert_array_equal(after, pipe[2].transform(scaled, sample_domain=names))
    plain = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y)
    before, after = before_and_after(plain, X, names, None)
    np.testing.assert_array_equal(before, X)
    np.testing.assert_array_equal(after, plain[0].transform(X))


def test_rows_that_are_no_table(shifted):
    X, _, names = shifted
    P = X[:, np.newaxis, :]
    flatten = FunctionTransformer(_flat)
    _, after = before_and_after(flatten, P, names, features=_flat)
    np.testing.assert_array_equal(after, X)
    with pytest.raises(ValueError, match=r"X is no table of numbers.*Pass features="):
        before_and_after(flatten, P, names, None)
    with pytest.raises(ValueError, match=r"transform of FunctionTransformer gives no table"):
        before_and_after(FunctionTransformer(), P, names, features=_flat)


def _flat(P):
    return P[:, 0, :]


def test_nothing_to_draw(shifted):
    X, y, names = shifted
    with pytest.raises(NotFittedError):
        before_and_after(CORALAdapter(), X, names, None)
    weighted = AdaptedClassifier(LogisticRegression(), KMMWeighter()).fit(X, y, sample_domain=names)
    for estimator in (weighted, LogisticRegression().fit(X, y)):
        with pytest.raises(TypeError, match=r"estimator must have transform.*from_arrays"):
            before_and_after(estimator, X, names, None)
