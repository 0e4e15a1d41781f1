"""FeatureCache: where features are kept, and what a file is known by."""

import mmap
import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from common_frozen import count_pictures, make_pictures, write_pictures
from common_pictures import TINY
from numpy.testing import assert_array_equal
from PIL import Image
from sklearn.base import clone

import sktransfer.modalities._digests as digests_module
from sktransfer import FeatureCache, FineTunedClassifier, PretrainedFeatureExtractor, clear_cache, rank_backbones

N = 4


@pytest.fixture
def paths(tmp_path):
    (tmp_path / "pictures").mkdir()
    return write_pictures(tmp_path / "pictures", make_pictures(N))


@pytest.fixture(params=["file", "content"])
def by(request):
    return request.param


def extract(paths, cache):
    return PretrainedFeatureExtractor(**TINY, cache=cache).fit_transform(paths)


def n_computed(paths, cache):
    with count_pictures() as seen:
        extract(paths, cache)
    return sum(seen)


def test_a_plain_folder_is_a_cache_by_file(paths, tmp_path):
    extract(paths, tmp_path / "cache")
    assert n_computed(paths, FeatureCache(tmp_path / "cache")) == 0
    assert n_computed(paths, FeatureCache(str(tmp_path / "cache"), by="file")) == 0


def test_a_folder_that_moved_is_known_by_content_and_not_by_file(paths, tmp_path, by):
    cache = FeatureCache(tmp_path / "cache", by=by)
    extract(paths, cache)
    moved = tmp_path / "moved"
    (tmp_path / "pictures").rename(moved)
    there = [str(moved / Path(path).name) for path in paths]
    assert n_computed(there, cache) == (0 if by == "content" else N)


def test_copies_and_touched_files_are_known_by_content_and_not_by_file(paths, tmp_path, by):
    cache = FeatureCache(tmp_path / "cache", by=by)
    extract(paths, cache)
    copy = shutil.copy(paths[0], tmp_path / "copy.png")
    os.utime(paths[1])
    assert n_computed([copy, paths[1]], cache) == (0 if by == "content" else 2)


def test_bytes_of_a_file_are_the_file_by_content(paths, tmp_path):
    cache = FeatureCache(tmp_path / "cache", by="content")
    extract(paths, cache)
    assert n_computed([Path(path).read_bytes() for path in paths], cache) == 0


def replaced(path, picture):
    other = path.with_name("other.png")
    Image.fromarray(picture).save(other)
    other.replace(path)


def written_over(path, picture):
    Image.fromarray(picture).save(path)


def with_the_old_times(path, picture):
    status = path.stat()
    Image.fromarray(picture).save(path)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def through_a_flushed_map(path, picture):
    new = path.with_name("new.png")
    Image.fromarray(picture).save(new)
    content = new.read_bytes()
    os.truncate(path, len(content))
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as view:
        view[:] = content
        view.flush()


@pytest.mark.parametrize("replace", [replaced, written_over, with_the_old_times, through_a_flushed_map])
def test_a_file_whose_content_was_replaced_is_computed_anew(replace, paths, tmp_path, by):
    cache = FeatureCache(tmp_path / "cache", by=by)
    before = extract(paths, cache)
    replace(Path(paths[0]), make_pictures(1, seed=9)[0])
    after = extract(paths, cache)
    assert_array_equal(after, extract(paths, None))
    assert not np.array_equal(after[0], before[0])


def test_a_file_is_read_once_a_process_to_know_its_content(paths, tmp_path, monkeypatch):
    cache = FeatureCache(tmp_path / "cache", by="content")
    extract(paths, cache)
    monkeypatch.setattr(digests_module, "Path", None)
    assert n_computed(paths, cache) == 0


def test_memory_may_be_known_by_content_too(paths, tmp_path):
    cache = FeatureCache("memory", by="content")
    extract(paths, cache)
    assert n_computed([shutil.copy(paths[0], tmp_path / "copy.png")], cache) == 0


def test_every_door_takes_a_feature_cache(paths, tmp_path):
    cache = FeatureCache(tmp_path / "cache", by="content")
    options = {"weights": TINY["weights"], "image_size": TINY["image_size"]}
    FineTunedClassifier(TINY["backbone"], **options, max_epochs=1, cache=cache, random_state=0).fit(paths, [0, 1, 0, 1])
    with count_pictures() as seen:
        FineTunedClassifier(TINY["backbone"], **options, max_epochs=1, cache=cache, random_state=0).fit(
            paths, [0, 1, 0, 1]
        )
    assert sum(seen) == 0
    rank_backbones({"tiny": (TINY["backbone"], None)}, paths, [0, 1, 0, 1], cache=cache, image_size=TINY["image_size"])


def test_it_is_an_ordinary_parameter_object(tmp_path):
    extractor = PretrainedFeatureExtractor(**TINY, cache=FeatureCache("here"))
    extractor.set_params(cache__folder=tmp_path / "there", cache__by="content")
    for cache in (extractor.cache, clone(extractor).cache, pickle.loads(pickle.dumps(extractor)).cache):
        assert cache.get_params() == {"folder": tmp_path / "there", "by": "content"}
    assert repr(FeatureCache("here", by="content")) == "FeatureCache(by='content', folder='here')"


def test_clear_cache_takes_what_the_estimators_take(paths, tmp_path):
    cache = FeatureCache(tmp_path / "cache")
    extract(paths, cache)
    clear_cache(cache)
    assert n_computed(paths, cache) == N


@pytest.mark.parametrize(
    ("cache", "message"),
    [
        (FeatureCache("here", by="name"), r"by='name'\): expected 'file' .* or 'content'"),
        (FeatureCache(None), "has no folder"),
        (FeatureCache(""), "cache='' is no folder"),
        (FeatureCache(3), "expected the path of a folder"),
        (7, "'cache' parameter"),
    ],
    ids=str,
)
def test_what_is_no_cache_is_refused(cache, message, paths):
    with pytest.raises((ValueError, TypeError), match=message):
        extract(paths, cache)
