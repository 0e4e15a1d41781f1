import threading
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import pytest
import torch
from common_frozen import count_pictures, make_pictures, write_pictures
from common_pictures import TINY
from numpy.testing import assert_array_equal
from sklearn.base import BaseEstimator

from sktransfer import clear_cache, load_backbone
from sktransfer._frozen import Boundary, PooledLayers, _extract, extract
from sktransfer.backbones import Identity
from sktransfer.exceptions import InvalidImageError, InvalidImageWarning
from sktransfer.modalities import open_images


class MeanColour(NamedTuple):
    """The cheapest computation there is: three numbers a picture."""

    identity: Identity = Identity("mean colour")
    cpu_rows: int = 4

    def __call__(self, x):
        return x.mean((2, 3))

    def shape(self):
        return (3,)


def network():
    backbone = load_backbone(**TINY)
    return PooledLayers(backbone, (backbone.tap(None, "avg"),), "avg")


def features(X, compute=None, *, cache=None, **options):
    samples = open_images(BaseEstimator(), X, reset=True)
    modality = load_backbone(**TINY).modality
    return extract(samples, MeanColour() if compute is None else compute, modality, cache=cache, **options)


@pytest.fixture(autouse=True)
def empty_cache():
    clear_cache()


@pytest.fixture(params=[1, 2])
def torch_threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.fixture
def some_unreadable(tmp_path):
    """Seven files: row 1 is no picture, row 3 is truncated, row 5 does not exist, row 6 is a copy of row 3."""
    paths = write_pictures(tmp_path, make_pictures(7, size=30))
    (tmp_path / "1.png").write_text("not a picture")
    half = (tmp_path / "3.png").read_bytes()[:500]
    (tmp_path / "3.png").write_bytes(half)
    (tmp_path / "6.png").write_bytes(half)
    (tmp_path / "5.png").unlink()
    return paths


def test_rows_come_in_the_order_of_the_samples():
    X = make_pictures(9)
    one_by_one = np.concatenate([features(X[i : i + 1]) for i in range(9)])
    assert_array_equal(features(X), one_by_one)


@pytest.mark.parametrize("rows", [[0], [8, 2, 5], range(1, 7), range(10, 0, -1)], ids=str)
def test_features_of_a_subset_are_the_subset_of_features_bit_for_bit(rows, torch_threads):
    X = make_pictures(11)
    assert_array_equal(features(X[list(rows)], network()), features(X, network())[list(rows)])


@pytest.mark.parametrize("batch_size", [1, 2, 3, 5, 64])
def test_batch_size_changes_no_bit(batch_size, torch_threads):
    X = make_pictures(11)
    assert_array_equal(features(X, network(), batch_size=batch_size), features(X, network()))


def test_stage_boundaries_have_the_subset_property_too():
    X = make_pictures(6)
    compute = Boundary(load_backbone(**TINY), 3)
    assert_array_equal(features(X[4:], compute), features(X, compute)[4:])


@pytest.mark.parametrize("cache", [None, "memory", "folder"])
def test_result_is_float32_of_the_stated_shape_and_the_same_with_any_cache(cache, tmp_path):
    X = make_pictures(5)
    result = features(X, network(), cache=tmp_path if cache == "folder" else cache)
    assert result.dtype == np.float32
    assert result.shape == (5, *network().shape())
    assert_array_equal(result, features(X, network()))


@pytest.mark.parametrize("cache", ["memory", "folder"])
def test_pictures_in_the_cache_do_not_pass_the_network(cache, tmp_path):
    X = make_pictures(9)
    options = {"cache": tmp_path if cache == "folder" else cache}
    with count_pictures() as first:
        expected = features(X[:6], network(), **options)
    with count_pictures() as second:
        result = features(X[::-1], network(), **options)
    assert (sum(first), sum(second)) == (6, 3)
    assert_array_equal(result[::-1][:6], expected)


@pytest.mark.parametrize("block", [2, 1024])
def test_pictures_of_equal_content_are_computed_once(block, monkeypatch):
    monkeypatch.setattr(_extract, "_BLOCK", block)
    X = make_pictures(4)
    rows = [0, 1, 0, 2, 2, 2, 3, 1]
    with count_pictures() as seen:
        result = features(X[rows], network(), cache="memory")
    assert sum(seen) == 4
    assert_array_equal(result, features(X, network())[rows])


def test_a_file_is_computed_once_under_all_its_names(tmp_path):
    (path,) = write_pictures(tmp_path, make_pictures(1))
    with count_pictures() as seen:
        features([path, tmp_path / "." / "0.png", tmp_path / "0.png"], network(), cache="memory")
    assert sum(seen) == 1


def test_a_file_written_anew_is_computed_anew(tmp_path):
    paths = write_pictures(tmp_path, make_pictures(2))
    before = features(paths, cache="memory")
    write_pictures(tmp_path, make_pictures(2, seed=1))
    assert not np.isclose(features(paths, cache="memory"), before).any()


def test_an_array_written_anew_is_computed_anew():
    X = make_pictures(2)
    before = features(X, cache="memory")
    X[0] = 255 - X[0]
    after = features(X, cache="memory")
    assert not np.isclose(after[0], before[0]).any()
    assert_array_equal(after[1], before[1])


def test_the_caller_may_write_into_the_result_without_harming_the_cache():
    X = make_pictures(2)
    expected = features(X, cache="memory").copy()
    features(X, cache="memory")[:] = 0
    assert_array_equal(features(X, cache="memory"), expected)


@pytest.mark.parametrize("cache", [None, "memory"])
@pytest.mark.parametrize("block", [1, 3, 7, 10])
def test_block_borders_do_not_show(block, cache, monkeypatch):
    X = make_pictures(10)
    expected = features(X)
    monkeypatch.setattr(_extract, "_BLOCK", block)
    assert_array_equal(features(X, cache=cache, batch_size=2), expected)


def test_results_beyond_memory_go_to_a_file_that_leaves_nothing_behind(monkeypatch, tmp_path):
    X = make_pictures(5)
    expected = features(X)
    monkeypatch.setattr(_extract, "_IN_MEMORY", 0)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    result = features(X, cache="memory")
    assert isinstance(result, np.memmap)
    assert_array_equal(result, expected)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("n_jobs", [1, 2, -1])
def test_number_of_reading_threads_changes_nothing(n_jobs, tmp_path):
    paths = write_pictures(tmp_path, make_pictures(9))
    assert_array_equal(features(paths, n_jobs=n_jobs), features(paths))


def test_unreadable_pictures_raise_naming_row_and_path(some_unreadable):
    with pytest.raises(InvalidImageError, match=r"Row 1 of X.*1\.png"):
        features(some_unreadable)


@pytest.mark.parametrize("cache", [None, "memory"])
@pytest.mark.parametrize("block", [2, 1024])
def test_unreadable_pictures_become_nan_with_one_warning_that_names_the_rows(
    some_unreadable, cache, block, monkeypatch
):
    monkeypatch.setattr(_extract, "_BLOCK", block)
    with pytest.warns(InvalidImageWarning, match="rows 1, 3, 5, 6") as warned:
        result = features(some_unreadable, on_error="nan", cache=cache)
    assert len(warned) == 1
    assert_array_equal(np.isnan(result).all(1), [False, True, False, True, False, True, True])
    assert not np.isnan(result[[0, 2, 4]]).any()


def test_readable_pictures_among_unreadable_ones_keep_their_features(some_unreadable):
    expected = features([some_unreadable[i] for i in (0, 2, 4)], network())
    with pytest.warns(InvalidImageWarning):
        result = features(some_unreadable, network(), on_error="nan")
    assert_array_equal(result[[0, 2, 4]], expected)


def test_a_picture_mended_later_is_not_remembered_as_nan(some_unreadable, tmp_path):
    with pytest.warns(InvalidImageWarning):
        features(some_unreadable, on_error="nan", cache="memory")
    write_pictures(tmp_path, make_pictures(7, size=30))
    assert not np.isnan(features(some_unreadable, on_error="nan", cache="memory")).any()


def test_no_warning_where_all_pictures_can_be_read():
    assert not np.isnan(features(make_pictures(3), on_error="nan")).any()


@pytest.mark.parametrize("cache", [None, "memory"])
def test_progress_bar_counts_every_picture_once(cache, capsys):
    X = make_pictures(7)
    features(X[[0, 0, 1, 2, 3, 4, 5]], cache=cache, verbose=1)
    features(X, cache=cache, verbose=1)
    lines = capsys.readouterr().err.replace("\r", "\n").splitlines()
    assert len([line for line in lines if line.startswith("features: 100%") and "7/7" in line]) == 2


def test_silent_by_default(capsys):
    features(make_pictures(2))
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("cache", [None, "memory", "folder"])
def test_threads_extract_side_by_side(cache, tmp_path):
    sets = [make_pictures(8, seed=seed) for seed in (0, 1, 0)]
    results = [None] * len(sets)

    def work(i):
        results[i] = features(sets[i], network(), cache=tmp_path if cache == "folder" else cache)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(sets))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for X, result in zip(sets, results, strict=True):
        assert_array_equal(result, features(X, network()))


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_features_that_threads_compute_at_once_are_those_of_one_bit_for_bit(n_jobs, torch_threads):
    X = make_pictures(24)
    expected = features(X, network(), n_jobs=n_jobs)
    begin = threading.Barrier(4)

    def work(start):
        begin.wait(10)
        return features(X[start:], network(), n_jobs=n_jobs)

    for _ in range(3):
        clear_cache()  # the threads load the network, and make it ready, at once too
        with ThreadPoolExecutor(4) as pool:
            for start, result in enumerate(pool.map(work, range(4))):
                assert_array_equal(result, expected[start:])


def test_number_of_torch_threads_is_left_as_it_was(torch_threads):
    features(make_pictures(9), network())
    assert torch.get_num_threads() == torch_threads
