import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import sparse
from sklearn.decomposition import PCA
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from sktransfer.utils._features import apply_features, as_table, check_features, need_table


def pictures(X):
    """Rows as pictures of one line, which are no table."""
    return X[:, np.newaxis, :]


def flat(P):
    return P[:, 0, :]


def test_tables():
    expected = np.array([[1.0, 2.0], [3.0, 4.0]])
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": [1, 3], "b": [2.0, 4.0]})
    for X in (
        expected,
        expected.astype(int),
        expected.astype(object),
        [[1, 2], [3, 4]],
        [(1, 2), (3, 4)],
        sparse.csr_matrix(expected),
        frame,
    ):
        np.testing.assert_array_equal(as_table(X), expected)
        assert as_table(X).dtype == np.float64
    frame["a"] = frame["a"].astype("Int64")
    np.testing.assert_array_equal(as_table(frame), expected)


@pytest.mark.parametrize(
    "X",
    [
        ["a.png", "b.png"],
        [b"", b""],
        [],
        np.zeros((2, 3, 3)),
        np.zeros(3),
        [np.zeros((3, 3)), np.zeros((3, 3))],
        [[1, 2], [3]],
        [["a"], ["b"]],
        np.array([["a.png"], ["b.png"]]),
        np.array([["a.png"], ["b.png"]], dtype=object),
    ],
)
def test_no_tables(X):
    assert as_table(X) is None


def test_features():
    X = np.arange(12.0).reshape(4, 3)
    np.testing.assert_array_equal(apply_features(flat, pictures(X)), X)
    np.testing.assert_array_equal(apply_features(FunctionTransformer(flat), pictures(X)), X)
    unfitted = StandardScaler()
    scaled = apply_features(unfitted, X)
    np.testing.assert_allclose(scaled.mean(axis=0), 0.0, atol=1e-12)
    assert not hasattr(unfitted, "mean_")
    fitted = StandardScaler().fit(X + 5)
    np.testing.assert_allclose(apply_features(fitted, X), fitted.transform(X))
    check_features(None)
    check_features(flat)
    with pytest.raises(ValueError, match=r"features must be a transformer, a function or None, got 'resnet18'"):
        check_features("resnet18")
    with pytest.raises(ValueError, match=r"features must give a table of numbers .*, got ndarray"):
        apply_features(pictures, X)


def test_seeds_of_what_is_fitted():
    X = np.random.default_rng(0).normal(size=(40, 30))
    pca = PCA(2, svd_solver="randomized", iterated_power=0)
    assert_allclose(apply_features(pca, X, random_state=3), apply_features(pca, X, random_state=3))


def test_needed_tables():
    X = np.arange(12).reshape(4, 3)
    assert_allclose(need_table(X, caller="It", purpose="to count"), X)
    assert_allclose(need_table(pictures(X), flat, caller="It", purpose="to count"), X)
    with pytest.raises(ValueError, match=r"It needs rows of numbers to count, got ndarray of shape \(4, 1, 3\)"):
        need_table(pictures(X), caller="It", purpose="to count")
    with pytest.raises(ValueError, match="features contains NaN"):
        need_table(X, lambda rows: rows * np.nan, caller="It", purpose="to count")
