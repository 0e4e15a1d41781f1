"""Batches for training."""

import numpy as np
import pytest
import torch

from sktransfer._nets._batches import BatchIterator, FeatureSet, PictureSet


def features(n):
    return FeatureSet(np.arange(n, dtype=np.float32)[:, None], np.arange(n))


def pictures(n, **options):
    return PictureSet(None, np.arange(n), lambda row: row, lambda row: torch.full((3, 2, 2), float(row)), **options)


def rows(dataset, *args):
    return [targets.tolist() for _, targets in BatchIterator(dataset, *args)]


def test_batches_in_order():
    assert rows(features(5), 2) == [[0, 1], [2, 3, 4]]


@pytest.mark.parametrize(("n", "sizes"), [(1, [1]), (4, [2, 2]), (5, [2, 3]), (6, [2, 2, 2])])
def test_no_batch_of_one_row_but_where_there_is_no_other(n, sizes):
    assert [len(batch) for batch in rows(features(n), 2)] == sizes


def test_shuffle_draws_from_torchs_generator_and_takes_every_row_once():
    def draw(seed):
        torch.manual_seed(seed)
        return rows(features(20), 4, True)

    with torch.random.fork_rng():
        assert draw(0) == draw(0) != draw(1)
        assert sorted(np.concatenate(draw(0))) == list(range(20))


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_inputs_and_targets_stay_together(n_jobs):
    for inputs, targets in BatchIterator(pictures(7, n_jobs=n_jobs), 3):
        assert inputs.shape[1:] == (3, 2, 2)
        assert inputs[:, 0, 0, 0].tolist() == targets.tolist()


def test_prefix_runs_on_whole_batches():
    seen = []

    def prefix(batch):
        seen.append(len(batch))
        return batch.mean((1, 2, 3))

    batches = list(BatchIterator(pictures(5, prefix=prefix), 2))
    assert seen == [2, 3]
    assert batches[1][0].tolist() == [2, 3, 4]


def test_error_of_a_picture_reaches_the_caller():
    def broken(row):
        raise ValueError(f"row {row}")

    dataset = PictureSet(None, np.arange(3), broken, lambda x: x)
    with pytest.raises(ValueError, match="row 0"):
        list(BatchIterator(dataset, 2))
