import pickle
import platform

import joblib
import numpy as np
import pandas as pd
import pytest
from common_cluster import (
    KillsItsWorker,
    MeanColour,
    counts,
    local_cluster,
    new_pages_and_what_is_given_back,
    start_counting,
)
from common_frozen import count_pictures, make_pictures, write_pictures
from common_pictures import TINY
from common_process import run_code
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import BaseEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.pipeline import make_pipeline

from sktransfer import BackboneSearch, PretrainedFeatureExtractor, TransferSearchCV, clear_cache, load_backbone
from sktransfer._frozen import TrainedNet, _elsewhere, _extract, extract, freed_memory_kept
from sktransfer._frozen._elsewhere import n_workers, pack
from sktransfer.exceptions import InvalidImageError, InvalidImageWarning
from sktransfer.modalities import open_images

# One process for all, so that there is one cluster.
pytestmark = pytest.mark.xdist_group("cluster")


@pytest.fixture(scope="module")
def cluster():
    with local_cluster() as client:
        yield client


@pytest.fixture(autouse=True)
def empty_cache():
    clear_cache()


@pytest.fixture
def paths(tmp_path):
    return write_pictures(tmp_path, make_pictures(40, size=20))


def tiny(**options):
    return PretrainedFeatureExtractor(**TINY, **options)


def mean_colours(X, compute=None, **options):
    samples = open_images(BaseEstimator(), X, reset=True)
    modality = load_backbone(**TINY).modality
    return extract(samples, compute or MeanColour(), modality, cache=None, **options)


class Bar:
    """Stands for the progress bar and keeps how far it came."""

    def __init__(self, total=0, **_):
        self.total, self.steps = total, []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def update(self, n=1):
        self.steps.append(n)


def test_no_workers_without_a_word_of_the_user():
    assert n_workers() == 1


@pytest.mark.parametrize("backend", ["threading", "sequential", "multiprocessing"])
def test_no_workers_where_nothing_is_to_leave_the_process(backend):
    with joblib.parallel_config(backend=backend, n_jobs=1 if backend == "sequential" else 2):
        assert n_workers() == 1


def test_workers_of_loky():
    with joblib.parallel_config(backend="loky", n_jobs=3):
        assert n_workers() == 3
    with joblib.parallel_config(backend="loky"):
        assert n_workers() == 1


def test_no_workers_in_a_worker():
    inner = joblib.parallel_config(backend="loky", n_jobs=3)
    inner.parallel_config["backend"].nesting_level = 1
    with inner:
        assert n_workers() == 1


def test_no_workers_in_a_task_of_dask(cluster):
    with joblib.parallel_config(backend="dask"):
        assert n_workers() == 2
        inside = joblib.Parallel()(joblib.delayed(n_workers)() for _ in range(3))
    assert inside == [1, 1, 1]


def test_workers_load_the_network_once_and_see_each_picture_once(cluster, paths):
    extractor = tiny().fit(paths)
    here = extractor.transform(paths)
    clear_cache()
    cluster.run(start_counting)
    with count_pictures() as seen_here, joblib.parallel_config(backend="dask"):
        there = extractor.transform(paths)
        again = extractor.transform(paths)
    assert_array_equal(there, here)
    assert_array_equal(again, here)
    pictures, networks = zip(*cluster.run(counts).values(), strict=True)
    assert sum(pictures) == len(paths)
    assert sum(seen_here) == 0
    assert max(networks) == 1


@pytest.mark.parametrize("kind", ["bag", "dataframe"])
def test_lazy_pictures_are_computed_once_by_workers_that_load_the_network_once(cluster, paths, kind):
    dask = pytest.importorskip("dask")
    made = pytest.importorskip(f"dask.{kind}")
    if kind == "bag":
        X = made.from_sequence(paths, npartitions=5)
    else:
        X = made.from_pandas(pd.Series(paths, name="path"), npartitions=5)
    extractor = tiny().fit(paths)
    here = extractor.transform(paths)
    cluster.run(start_counting)
    (there,) = dask.compute(extractor.transform(X))
    assert_array_equal(np.stack(there) if kind == "bag" else there, here)
    pictures, networks = zip(*cluster.run(counts).values(), strict=True)
    assert sum(pictures) == len(paths)
    assert max(networks) == 1


def test_equal_pictures_are_computed_once(cluster, paths):
    extractor = tiny().fit(paths)
    cluster.run(start_counting)
    with joblib.parallel_config(backend="dask"):
        features = extractor.transform(paths + paths[::-1])
    assert_array_equal(features[:40], features[:39:-1])
    assert sum(pictures for pictures, _ in cluster.run(counts).values()) == len(paths)


def test_few_pictures_stay_here(cluster, paths):
    extractor = tiny().fit(paths)
    cluster.run(start_counting)
    with count_pictures() as seen, joblib.parallel_config(backend="dask"):
        extractor.transform(paths[:8])
    assert sum(seen) == 8
    assert sum(pictures for pictures, _ in cluster.run(counts).values()) == 0


def test_dataset_stays_here(cluster):
    class Lazy:
        pictures = make_pictures(20)

        def __len__(self):
            return 20

        def __getitem__(self, row):
            return self.pictures[row]

    with count_pictures() as seen, joblib.parallel_config(backend="dask"):
        tiny().fit_transform(Lazy())
    assert sum(seen) == 20


def test_arrays_travel(cluster):
    X = np.random.default_rng(0).random((30, 8, 8, 3))
    extractor = tiny().fit(X)
    here = extractor.transform(X)
    clear_cache()
    with joblib.parallel_config(backend="dask"):
        assert_array_equal(extractor.transform(X), here)


def test_killed_worker_is_replaced(cluster, paths, tmp_path):
    with joblib.parallel_config(backend="dask"):
        there = mean_colours(paths, KillsItsWorker(str(tmp_path / "killed")))
    assert (tmp_path / "killed").exists()
    assert_array_equal(there, mean_colours(paths))
    cluster.wait_for_workers(2)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another allocator")
def test_tasks_of_dask_get_new_pages_once_and_give_them_back(cluster):
    n_pages, given_back = cluster.submit(new_pages_and_what_is_given_back, pure=False).result()
    assert n_pages < 20 * 2**21 / 4096 / 10
    assert given_back == [2**16]  # Dask's own setting


def test_allocator_is_left_alone_outside_of_tasks():
    with freed_memory_kept():
        assert _elsewhere._running == 0


def test_bar_moves_with_the_tasks(cluster, paths, monkeypatch):
    bars = []
    monkeypatch.setattr(_extract, "tqdm", lambda **options: bars.append(Bar(**options)) or bars[-1])
    with joblib.parallel_config(backend="dask"):
        mean_colours(paths, verbose=1)
    assert len(bars[0].steps) == 5  # of eight pictures each
    assert sum(bars[0].steps) == bars[0].total == 40


def test_unreadable_picture_is_named_by_its_row(cluster, paths, tmp_path):
    (tmp_path / "23.png").write_text("no picture")
    with joblib.parallel_config(backend="dask"), pytest.raises(InvalidImageError, match=r"Row 23 of X .*23\.png"):
        mean_colours(paths)


def test_unreadable_pictures_become_rows_of_nan(cluster, paths, tmp_path):
    for row in (3, 23):
        (tmp_path / f"{row}.png").write_text("no picture")
    with joblib.parallel_config(backend="dask"), pytest.warns(InvalidImageWarning, match="2 of 40.*: rows 3, 23"):
        features = mean_colours(paths, on_error="nan")
    assert np.flatnonzero(np.isnan(features).any(1)).tolist() == [3, 23]


def test_network_of_ones_own_is_sent_once_to_each_worker(cluster, paths):
    module = load_backbone("sktransfer_mini").module  # 2 MB, which do not travel with each task
    extractor = PretrainedFeatureExtractor(module, image_size=32).fit(paths)
    here = extractor.transform(paths)
    clear_cache()
    cluster.run(start_counting)
    with joblib.parallel_config(backend="dask"):
        assert_array_equal(extractor.transform(paths), here)
    assert len(pack((extractor.backbone_,))) > _elsewhere._SMALL
    assert max(cluster.run(lambda: len(_elsewhere._unpacked)).values()) == 1


def test_on_processes_of_joblib(paths):
    module = load_backbone("sktransfer_mini").module
    extractor = PretrainedFeatureExtractor(module, image_size=32).fit(paths)
    here = extractor.transform(paths)
    clear_cache()
    with count_pictures() as seen, joblib.parallel_config(backend="loky", n_jobs=2):
        assert_array_equal(extractor.transform(paths), here)
    assert sum(seen) == 0


def test_parcel_opens_in_a_bare_process(tmp_path):
    backbone = load_backbone(**TINY)
    net = TrainedNet(backbone.module, "features", 10, 4)  # a network of timm's, not behind an object of ours
    (tmp_path / "parcel").write_bytes(pack((net, backbone)))
    code = f"""
        import pickle, sys
        assert not {{"timm", "torchvision"}} & set(sys.modules)
        print(len(pickle.load(open({str(tmp_path / "parcel")!r}, "rb"))))
    """
    assert run_code(code) == (0, "3\n", "")


def test_samples_pickle_the_rows_that_are_meant(paths):
    samples = open_images(BaseEstimator(), [*paths, "missing.png"], reset=True)
    some = pickle.loads(pickle.dumps(samples.take([40, 7])))
    assert len(some.items) == 2
    assert_array_equal(some.read(1), samples.read(7))
    with pytest.raises(InvalidImageError, match=r"Row 40 of X .*missing\.png"):
        some.read(0)


def searches(y):
    pipe = make_pipeline(tiny(), LogisticRegression(max_iter=1000))
    yield GridSearchCV(pipe, {"logisticregression__C": [0.01, 1.0]}, cv=2)
    yield BackboneSearch(backbones={"a": "test_efficientnet", "b": "test_resnet"}, weights=None, image_size=32, cv=2)
    names = ["frozen_linear", "frozen_knn"]
    yield TransferSearchCV(**TINY, strategies=names, cv=2, random_state=0)


@pytest.mark.parametrize("place", [0, 1, 2], ids=["GridSearchCV", "BackboneSearch", "TransferSearchCV"])
def test_searches_find_the_same_on_a_cluster(cluster, paths, place):
    y = np.arange(40) % 2
    here = list(searches(y))[place].fit(paths, y)
    clear_cache()
    cluster.run(start_counting)
    with joblib.parallel_config(backend="dask"):
        there = list(searches(y))[place].fit(paths, y)
    assert sum(pictures for pictures, _ in cluster.run(counts).values()) >= len(paths)
    assert_allclose(there.predict_proba(paths), here.predict_proba(paths), rtol=1e-6)
    results = "ranking_" if place == 1 else "cv_results_"
    names = {0: "mean_test_score", 1: "cv_score", 2: "mean_test_score"}
    assert_allclose(getattr(there, results)[names[place]], getattr(here, results)[names[place]])


def test_cross_validation_on_a_cluster(cluster, paths):
    y = np.arange(40) % 2
    pipe = make_pipeline(tiny(), LogisticRegression(max_iter=1000))
    here = cross_validate(pipe, paths, y, cv=4)["test_score"]
    with joblib.parallel_config(backend="dask"):
        assert_array_equal(cross_validate(pipe, paths, y, cv=4)["test_score"], here)
