"""Two domains as arrays of doubles."""

import numpy as np
import pytest

from sktransfer.metrics._validation import check_pair


def test_both_domains_become_doubles():
    Xs, Xt = check_pair([[1, 2]], np.ones((3, 2), dtype=np.float32), min_rows=1)
    assert Xs.dtype == Xt.dtype == np.float64
    assert (Xs.shape, Xt.shape) == ((1, 2), (3, 2))


@pytest.mark.parametrize(
    ("Xs", "Xt", "message"),
    [
        (np.ones((2, 2)), np.ones((2, 3)), "Xs has 2 features but Xt has 3"),
        (np.ones((1, 2)), np.ones((2, 2)), "Found array with 1 sample"),
        (np.ones((2, 2)), np.full((2, 2), np.nan), "Xt contains NaN"),
    ],
)
def test_domains_that_cannot_be_compared(Xs, Xt, message):
    with pytest.raises(ValueError, match=message):
        check_pair(Xs, Xt, min_rows=2)
