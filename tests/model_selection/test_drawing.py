import numpy as np
import pytest

from sktransfer.exceptions import DomainError
from sktransfer.model_selection._drawing import check_sizes, draw_rows


def parts(*sizes):
    """One part for each size, of strata 0 (the first half) and 1, numbered on."""
    starts = np.cumsum((0, *sizes))
    return {
        f"the part {i}": (np.arange(starts[i], starts[i + 1]), np.arange(size) * 2 // size)
        for i, size in enumerate(sizes)
    }


@pytest.mark.parametrize("seed", range(5))
def test_every_part_and_stratum_has_its_share(seed):
    train, test = draw_rows(parts(20, 7), 0.25, None, np.random.RandomState(seed))
    np.testing.assert_array_equal(np.sort(np.concatenate([train, test])), np.arange(27))
    assert sum(test < 10) + sum((test >= 10) & (test < 20)) == 5
    assert sum(test < 10) in (2, 3)
    assert sum(test >= 20) == 2  # 1.75 rounded up
    assert (np.diff(train) > 0).all()
    assert (np.diff(test) > 0).all()


def test_train_size_leaves_rows_out():
    train, test = draw_rows(parts(20), 0.2, 0.5, np.random.RandomState(0))
    assert len(train) == 10
    assert len(test) == 4
    assert not set(train) & set(test)
    assert sum(train < 10) in (4, 5, 6)


def test_every_row_is_drawn_as_often_as_any_other():
    strata = np.array([0, 0, 0, 0, 0, 0, 1, 1, 1, 2])
    rng, drawn = np.random.RandomState(0), np.zeros(10)
    for _ in range(4000):
        drawn[draw_rows({"the part": (np.arange(10), strata)}, 0.3, None, rng)[1]] += 1
    np.testing.assert_allclose(drawn / 4000, 0.3, atol=0.03)


def test_any_two_rows_of_a_stratum_may_be_drawn_together():
    rng, together = np.random.RandomState(0), np.zeros((6, 6), dtype=int)
    for _ in range(1000):
        test = draw_rows({"the part": (np.arange(6), np.zeros(6, dtype=int))}, 0.5, None, rng)[1]
        together[np.ix_(test, test)] += 1
    pairs = together[np.triu_indices(6, 1)] / 1000
    np.testing.assert_allclose(pairs, 1 / 5, atol=0.05)


def test_too_few_rows():
    with pytest.raises(DomainError, match=r"The part 1 has 1 rows, .* leave 0 to train on and 1 to test"):
        draw_rows(parts(5, 1), 0.2, None, np.random.RandomState(0))
    with pytest.raises(DomainError, match=r"train_size=0.1 leave 0 to train on"):
        draw_rows(parts(5), 0.2, 0.1, np.random.RandomState(0))


@pytest.mark.parametrize("size", [0, 1, 1.0, -0.1, 3, "half", True, None])
def test_sizes_are_shares(size):
    with pytest.raises(ValueError, match="test_size must be a share of the rows, between 0 and 1"):
        check_sizes(size, None)
    if size is not None:
        with pytest.raises(ValueError, match="train_size must be a share"):
            check_sizes(0.5, size)


def test_sizes_fit_together():
    check_sizes(0.3, 0.7)
    with pytest.raises(ValueError, match=r"test_size=0.3 and train_size=0.8 sum to more than 1"):
        check_sizes(0.3, 0.8)
