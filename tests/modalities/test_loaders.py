"""Batches keep their order, their memory bound and their errors, whatever the number of threads."""

import threading
import time
import warnings

import joblib
import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from PIL import Image
from sklearn.base import BaseEstimator

from sktransfer.exceptions import InvalidImageError, InvalidImageWarning
from sktransfer.modalities import (
    Images,
    iter_batches,
    map_ahead,
    open_images,
    resolve_threads,
    warn_unreadable,
)

MODALITY = Images({"input_size": (8, 6), "mean": 0, "std": 1 / 255})


@pytest.fixture
def samples():
    """Ten pictures of one grey level each, the number of their row."""
    return open_images(BaseEstimator(), [Image.new("L", (9, 9), row) for row in range(10)], reset=True)


@pytest.fixture
def damaged():
    """Rows 2 and 5 of seven cannot be read."""
    X = [Image.new("L", (9, 9), row) for row in range(7)]
    X[2] = X[5] = "missing.png"
    return open_images(BaseEstimator(), X, reset=True)


def threads_of_ours():
    return [thread for thread in threading.enumerate() if thread.name.startswith("sktransfer-read")]


@pytest.mark.parametrize("n_threads", [0, 1, 3])
def test_batches_in_order(n_threads, samples):
    order = [9, 0, 0, 4, 7, 1, 3]
    batches = list(iter_batches(samples, order, MODALITY, batch_size=3, n_threads=n_threads))
    assert [len(indices) for indices, _, _ in batches] == [3, 3, 1]
    assert_array_equal(np.concatenate([indices for indices, _, _ in batches]), order)
    pixels = torch.cat([batch for _, batch, _ in batches])
    assert pixels.shape == (7, 3, 8, 6) and pixels.dtype == torch.float32
    assert_array_equal(pixels[:, 0, 0, 0].round().numpy(), order)
    assert not np.concatenate([failed for _, _, failed in batches]).any()
    assert not threads_of_ours()


def test_all_and_none(samples):
    assert sum(len(i) for i, _, _ in iter_batches(samples, None, MODALITY, batch_size=4, n_threads=2)) == 10
    assert list(iter_batches(samples, [], MODALITY, batch_size=4, n_threads=2)) == []


@pytest.mark.parametrize("n_threads", [1, 3])
def test_an_unreadable_sample_raises_at_its_place(n_threads, damaged):
    batches = iter_batches(damaged, None, MODALITY, batch_size=1, n_threads=n_threads)
    assert [int(next(batches)[0][0]) for _ in range(2)] == [0, 1]
    with pytest.raises(InvalidImageError, match=r"Row 2 of X .*missing.png"):
        next(batches)
    assert not threads_of_ours()


@pytest.mark.parametrize("n_threads", [1, 3])
def test_or_is_marked(n_threads, damaged):
    batches = list(iter_batches(damaged, None, MODALITY, batch_size=3, n_threads=n_threads, on_error="mark"))
    failed = np.concatenate([failed for _, _, failed in batches])
    assert_array_equal(np.flatnonzero(failed), [2, 5])
    pixels = torch.cat([batch for _, batch, _ in batches])[:, 0, 0, 0]
    assert_array_equal(pixels.round().numpy(), [0, 1, 0, 3, 4, 0, 6])
    alone = next(iter_batches(damaged, [2], MODALITY, batch_size=3, n_threads=n_threads, on_error="mark"))
    assert alone[1].shape == (1, 3, 8, 6) and alone[2].all()


def test_one_warning_counts_the_marked_rows_and_tells_why(damaged):
    with pytest.warns(InvalidImageWarning, match=r"2 of 7 samples .*rows 2, 5. Row 2 of X .*missing.png") as caught:
        warn_unreadable(damaged, [2, 5])
    assert len(caught) == 1


def test_warning_names_the_first_rows_of_x(damaged):
    many = damaged.take([5] * 20)
    with pytest.warns(InvalidImageWarning, match=r"20 of 20 samples .*rows 5, 5, 5, 5, 5, \.\.\."):
        warn_unreadable(many, range(20))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_unreadable(many, [])


def test_other_errors_are_never_swallowed(samples):
    class Broken(Images):
        def prepare(self, samples, i):
            raise RuntimeError("a mistake")

    with pytest.raises(RuntimeError, match="a mistake"):
        list(iter_batches(samples, None, Broken({}), batch_size=2, n_threads=2, on_error="mark"))


def test_leaving_early_ends_the_threads(samples):
    batches = iter_batches(samples, None, MODALITY, batch_size=1, n_threads=3)
    next(batches)
    batches.close()
    assert not threads_of_ours()


def test_min_source_size_reaches_the_decoder(encode, make_photograph):
    content = encode(Image.fromarray(make_photograph(400, 400)), "JPEG")
    sizes = []

    class Noting(Images):
        def prepare(self, samples, i):
            preprocess = self.preprocessor(samples.spec.resize)
            sizes.append(samples.read(i, min_size=preprocess.min_source_size).size)
            return super().prepare(samples, i)

    for resize in ("fast", "exact"):
        samples = open_images(BaseEstimator(), [content], reset=True, resize=resize)
        next(iter_batches(samples, None, Noting({"input_size": (20, 20)}), batch_size=1, n_threads=1))
    assert sizes == [(50, 50), (400, 400)]


def test_the_code_of_a_dataset_runs_in_one_thread_at_a_time():
    class Fragile:
        inside = 0

        def __len__(self):
            return 30

        def __getitem__(self, i):
            self.inside += 1
            time.sleep(0.001)
            alone = self.inside == 1
            self.inside -= 1
            return np.full((4, 4), 200 if alone else 0, dtype=np.uint8)

    samples = open_images(BaseEstimator(), Fragile(), reset=True)
    for _, batch, _ in iter_batches(samples, None, MODALITY, batch_size=10, n_threads=8):
        assert (batch.round() == 200).all()


def test_map_ahead_is_bounded_and_parallel():
    begun, running, most, lock = [], set(), [0], threading.Lock()

    def slow(item):
        with lock:
            begun.append(item)
            running.add(item)
            most[0] = max(most[0], len(running))
        time.sleep(0.01)
        with lock:
            running.discard(item)
        return -item

    results = map_ahead(slow, iter(range(100)), 3, 5)
    assert next(results) == 0
    time.sleep(0.1)
    assert len(begun) <= 6
    assert [next(results) for _ in range(20)] == [-i for i in range(1, 21)]
    assert len(begun) <= 26 and 2 <= most[0] <= 3
    results.close()
    assert not threads_of_ours()


def test_map_ahead_takes_items_as_they_are_needed():
    taken = []

    def items():
        for i in range(50):
            taken.append(i)
            yield i

    results = map_ahead(abs, items(), 2, 4)
    next(results)
    assert len(taken) <= 6
    results.close()
    assert list(map_ahead(abs, [-1, 2], 1)) == list(map_ahead(abs, [-1, 2], 4)) == [1, 2]


def test_map_ahead_raises_at_the_right_item():
    results = map_ahead(lambda x: 1 / x, [1, 2, 0, 4], 2, 10)
    assert [next(results), next(results)] == [1, 0.5]
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_resolve_threads(monkeypatch):
    monkeypatch.setattr(joblib, "cpu_count", lambda: 6)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    assert [resolve_threads(n) for n in (None, 1, 3, 99, -1, -2, -99)] == [4, 1, 3, 6, 6, 5, 1]
    with pytest.raises(ValueError, match="n_jobs=0"):
        resolve_threads(0)


@pytest.mark.parametrize("backend", ["loky", "multiprocessing", "threading"])
def test_threads_of_all_workers_are_never_more_than_the_cores(backend, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)  # which is the user's own word, for workers too
    n_cores = joblib.cpu_count()
    for workers in (2, n_cores + 1):
        tasks = [joblib.delayed(resolve_threads)(n_jobs) for n_jobs in (None, -1, 8)]
        threads = joblib.Parallel(n_jobs=workers, backend=backend)(tasks)
        assert max(threads) <= max(1, n_cores // workers)
