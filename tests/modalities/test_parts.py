import numpy as np
import pytest
from numpy.testing import assert_array_equal

from sktransfer.modalities import Modality, Parts, Samples


@pytest.fixture
def parts():
    return Parts(Samples(list("abcdef"), reader=None), np.array([0, 1, 1, 1, 2, 2]))


def test_a_sample_has_the_mean_of_its_parts(parts):
    rows = np.array([[4.0, 0], [1, 0], [2, 0], [6, 3], [5, 5], [7, 5]], dtype=np.float32)
    found = parts.mean(rows)
    assert_array_equal(found, [[4, 0], [3, 1], [6, 5]])
    assert found.dtype == np.float32
    assert_array_equal(parts.mean(rows.reshape(6, 2, 1))[:, :, 0], found)


def test_a_part_that_is_missing_makes_its_sample_missing_and_no_other(parts):
    rows = np.ones((6, 2))
    rows[2] = np.nan
    assert_array_equal(np.isnan(parts.mean(rows)).all(axis=1), [False, True, False])


def test_the_parts_of_a_sample_weigh_as_much_as_it(parts):
    shares = parts.shares(np.array([1.0, 2.0, 0.5]))
    assert shares.mean() == pytest.approx(3.5 / 3)
    assert_array_equal(shares[parts.owner == 1], shares[1])
    assert shares[parts.owner == 1].sum() / shares[parts.owner == 2].sum() == pytest.approx(4)


def test_no_samples():
    rows = np.empty((0, 3), dtype=np.float32)
    assert Parts(Samples([], reader=None), np.array([], dtype=int)).mean(rows).shape == (0, 3)


def test_other_kinds_of_data_pass_whole():
    assert Modality.parts(None, None) is None
