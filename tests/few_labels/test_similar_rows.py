import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from sktransfer.few_labels import _similar_rows
from sktransfer.few_labels._similar_rows import similar_rows, standard_rows


def by_force(U, V, threshold):
    cosines = U @ (U if V is None else V).T
    found = np.argwhere(np.triu(cosines, 1) >= threshold if V is None else cosines >= threshold)
    return found, cosines[found[:, 0], found[:, 1]]


@pytest.mark.parametrize("n_features", [5, 300])
@pytest.mark.parametrize("within", [True, False])
@pytest.mark.parametrize("threshold", [0.05, 0.5, 0.9])
def test_no_pair_is_missed(n_features, within, threshold):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(90, n_features)) * np.linspace(0.1, 2, n_features)
    X[60:] = X[:30] + 0.3 * rng.normal(size=(30, n_features))
    U, V = standard_rows(X[:70], X[70:])
    U, V = (U, None) if within else (U, V)
    pairs, products = similar_rows(U, V, threshold)
    expected, values = by_force(U, V, threshold)
    order = np.lexsort((pairs[:, 1], pairs[:, 0]))
    assert_array_equal(pairs[order], expected)
    assert_allclose(products[order], values, atol=1e-5)


def test_most_pairs_are_ruled_out_by_few_columns(monkeypatch):
    looked_at = []
    products = _similar_rows._products
    monkeypatch.setattr(
        _similar_rows,
        "_products",
        lambda U, V, first, *a, **k: looked_at.append(len(first)) or products(U, V, first, *a, **k),
    )
    X = np.random.default_rng(0).normal(size=(400, 50)) @ np.random.default_rng(1).normal(size=(50, 400))
    X[200:220] = X[:20]
    pairs, _ = similar_rows(standard_rows(X)[0], None, 0.95)
    assert len(pairs) == 20
    assert sum(looked_at) < 100


def test_rows_of_zeros_are_equal():
    (rows,) = standard_rows(np.full((3, 4), 0.1))
    assert len(similar_rows(rows, None, 0.99)[0]) == 3


def test_too_many_pairs_are_an_error(monkeypatch):
    monkeypatch.setattr(_similar_rows, "MOST_PAIRS", 10)
    with pytest.raises(ValueError, match=r"threshold=0.9 makes more than 10 pairs of rows twins; raise it"):
        similar_rows(standard_rows(np.ones((6, 4)))[0], None, 0.9)
