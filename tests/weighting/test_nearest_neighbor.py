import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.spatial.distance import cdist

from sktransfer.datasets import make_domain_shift
from sktransfer.weighting import NearestNeighborWeighter
from sktransfer.weighting._nearest_neighbor import voronoi_counts


@pytest.mark.parametrize("n_neighbors", [1, 3])
@pytest.mark.parametrize("n_features", [2, 40])
def test_counts_against_all_distances(n_neighbors, n_features):
    rng = np.random.default_rng(0)
    Xs, Xt = rng.normal(size=(30, n_features)), rng.normal(size=(50, n_features))
    nearest = np.argsort(cdist(Xt, Xs), axis=1)[:, :n_neighbors]
    expected = np.bincount(nearest.ravel(), minlength=30) / n_neighbors
    assert_allclose(voronoi_counts(Xs, Xt, n_neighbors=n_neighbors), expected)
    assert expected.sum() == pytest.approx(50)


def test_hand_computed_case():
    X, d = [[0.0], [1.0], [0.9], [1.2], [0.1]], ["a", "b", "target", "target", "target"]
    weighter = NearestNeighborWeighter().fit(X, sample_domain=d)
    assert_allclose(weighter.counts_, [1, 2])
    assert_allclose(weighter.weights_, [4 / 5, 6 / 5])
    assert_allclose(weighter.predict_weights([[0.4], [0.6], [9.0]]), [4 / 5, 6 / 5, 6 / 5])
    assert_allclose(NearestNeighborWeighter(smoothing=0).fit(X, sample_domain=d).weights_, [2 / 3, 4 / 3])
    assert_allclose(NearestNeighborWeighter(9, smoothing=0).fit(X, sample_domain=d).weights_, [1, 1])


def test_equal_source_rows_share_their_cell():
    Xs = np.array([[0.0], [0.0], [5.0]])
    assert_allclose(voronoi_counts(Xs, np.array([[0.1], [0.2], [4.0], [-1.0]])), [1.5, 1.5, 1.0])


def test_smoothing_flattens():
    X, _, d = make_domain_shift(60, 40, random_state=0)
    spreads = [NearestNeighborWeighter(smoothing=s).fit(X, sample_domain=d).weights_.std() for s in (0, 1, 10)]
    assert spreads[0] > spreads[1] > spreads[2]


def test_errors():
    X, _, d = make_domain_shift(30, 20, random_state=0)
    with pytest.raises(ValueError, match="The 'n_neighbors' parameter of NearestNeighborWeighter"):
        NearestNeighborWeighter(0).fit(X, sample_domain=d)
    with pytest.raises(ValueError, match="The 'smoothing' parameter of NearestNeighborWeighter"):
        NearestNeighborWeighter(smoothing=-1.0).fit(X, sample_domain=d)
