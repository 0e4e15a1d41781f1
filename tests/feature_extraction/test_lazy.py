"""Dask collections in one process; tests/_frozen/test_elsewhere.py has a cluster, which one of them meets too."""

import numpy as np
import pandas as pd
import pytest
import sklearn
from common_frozen import count_pictures, make_pictures, write_pictures
from common_pictures import TINY
from numpy.testing import assert_array_equal
from sklearn.exceptions import NotFittedError

from sktransfer import PretrainedFeatureExtractor, clear_cache
from sktransfer.exceptions import InvalidImageError

dask = pytest.importorskip("dask", reason="the extra dask is not installed")
bags = pytest.importorskip("dask.bag", reason="the extra dask is not installed")
frames = pytest.importorskip("dask.dataframe", reason="the extra dask is not installed")


@pytest.fixture(autouse=True)
def in_this_process():
    clear_cache()
    with dask.config.set(scheduler="synchronous"):
        yield


@pytest.fixture
def paths(tmp_path):
    return write_pictures(tmp_path, make_pictures(20, size=20))


@pytest.fixture
def frame(paths):
    table = pd.DataFrame({"path": paths, "price": np.arange(20.0)}, index=np.arange(100, 140, 2))
    return frames.from_pandas(table, npartitions=3)


@pytest.fixture
def nothing_is_computed():
    def refuse(*_, **__):
        raise AssertionError("something was computed")

    with dask.config.set(scheduler=refuse):
        yield


def tiny(**options):
    return PretrainedFeatureExtractor(**TINY, **options)


def test_bag_gives_a_bag_of_arrays(paths):
    extractor = tiny().fit(paths)
    features = extractor.transform(bags.from_sequence(paths, npartitions=3))
    assert isinstance(features, bags.Bag)
    assert features.npartitions == 3
    assert_array_equal(np.stack(features.compute()), extractor.transform(paths))


def test_bag_of_arrays_and_of_bytes(paths):
    pictures = make_pictures(6)
    extractor = tiny().fit(pictures)
    features = extractor.transform(bags.from_sequence(list(pictures), npartitions=2))
    assert_array_equal(np.stack(features.compute()), extractor.transform(pictures))


def test_bag_with_an_empty_partition(paths):
    bag = bags.from_sequence(paths, npartitions=4).filter(lambda path: path not in paths[:5])
    features = tiny().fit(bag).transform(bag)
    assert_array_equal(np.stack(features.compute()), tiny().fit_transform(paths[5:]))


def test_bag_of_maps(paths):
    extractor = tiny(pooling=None).fit(paths)
    maps = extractor.transform(bags.from_sequence(paths[:2])).compute()
    assert_array_equal(np.stack(maps), extractor.transform(paths[:2]))


def test_column_gives_a_frame_with_its_index_and_divisions(paths, frame):
    extractor = tiny().fit(paths)
    features = extractor.transform(frame["path"])
    assert isinstance(features, frames.DataFrame)
    assert features.divisions == frame.divisions == (100, 114, 128, 138)
    computed = features.compute()
    assert (computed.dtypes == features.dtypes).all()
    assert (computed.dtypes == np.float32).all()
    assert list(computed) == extractor.get_feature_names_out().tolist()
    assert computed.index.tolist() == list(range(100, 140, 2))
    assert_array_equal(computed, extractor.transform(paths))


def test_frame_of_one_column(paths, frame):
    extractor = tiny().fit(frame[["path"]])
    assert extractor.feature_names_in_ == ["path"]
    assert_array_equal(extractor.transform(frame[["path"]]).compute(), extractor.transform(paths))


def test_features_stand_beside_other_columns(frame):
    joined = frame.join(tiny().fit_transform(frame["path"]))
    assert list(joined.columns[:3]) == ["path", "price", "pretrainedfeatureextractor0"]
    computed = joined[joined.price > 4].compute()
    assert len(computed) == 15
    assert computed.notna().all(axis=None)


def test_table_of_pixels(digits):
    X = pd.DataFrame(digits[0][:12]).add_prefix("pixel")
    lazy = frames.from_pandas(X, npartitions=2)
    extractor = tiny().fit(lazy)
    assert extractor.n_features_in_ == 64
    assert_array_equal(extractor.transform(lazy).compute(), extractor.transform(X))


def test_empty_partition_of_a_frame(paths, frame):
    some = frame[frame.price >= 7]
    assert_array_equal(tiny().fit(some["path"]).transform(some["path"]).compute(), tiny().fit_transform(paths[7:]))


def test_transform_computes_nothing(paths, frame, nothing_is_computed):
    extractor = tiny().fit(paths)
    with count_pictures() as seen:
        extractor.transform(frame["path"])
        extractor.transform(bags.from_sequence(paths))
    assert sum(seen) == 0


def test_fit_computes_the_first_partition_alone(paths):
    met = []
    bag = bags.from_sequence(paths, npartitions=4).map(lambda path: met.append(path) or path)
    with count_pictures() as seen:
        extractor = tiny().fit(bag)
    assert met == paths[:5]
    assert sum(seen) == 0
    assert extractor.input_spec_ == tiny().fit(paths).input_spec_


def test_folder_of_features_is_filled_by_workers(paths, tmp_path):
    bag = bags.from_sequence(paths, npartitions=2)
    tiny(cache=tmp_path / "features").fit_transform(bag).compute()
    with count_pictures() as seen:
        tiny(cache=tmp_path / "features").fit_transform(paths)
    assert sum(seen) == 0


def test_unreadable_picture_is_named(paths, tmp_path):
    (tmp_path / "11.png").write_text("no picture")
    features = tiny().fit_transform(bags.from_sequence(paths, npartitions=2))
    with pytest.raises(InvalidImageError, match=r"Row 1 of X .*11\.png"):
        features.compute()


def test_estimator_is_as_it_was(paths):
    extractor = tiny(n_jobs=2, verbose=1).fit(paths)
    before = extractor.get_params()
    extractor.transform(bags.from_sequence(paths))
    assert extractor.get_params() == before


def test_other_collections_are_refused(frame):
    with pytest.raises(TypeError, match=r"X is a dask Array: expected a dask bag .* Pass X\.compute\(\)"):
        tiny().fit(frame["price"].to_dask_array())


def test_two_columns_are_refused(paths, frame):
    with pytest.raises(ValueError, match=r"X has 2 columns \(path, price, \.\.\.\): .* such as X\['path'\]"):
        tiny().fit(paths).transform(frame)


def test_maps_are_no_columns(paths, frame):
    with pytest.raises(ValueError, match=r"pooling=None gives maps.*X\.to_bag\(\)"):
        tiny(pooling=None).fit(paths).transform(frame["path"])


def test_other_containers_are_refused(paths, frame):
    with pytest.raises(ValueError, match=r"set_output asks for pandas output.*set_output\(transform='default'\)"):
        tiny().fit(paths).set_output(transform="pandas").transform(frame["path"])
    with sklearn.config_context(transform_output="pandas"), pytest.raises(ValueError, match="set_output asks"):
        tiny().fit(paths).transform(bags.from_sequence(paths))


def test_unfitted(frame):
    with pytest.raises(NotFittedError):
        tiny().transform(frame["path"])
