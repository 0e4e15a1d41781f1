import io

import numpy as np
import pytest
from numpy.testing import assert_allclose
from PIL import Image
from scipy.ndimage import map_coordinates

from sktransfer.few_labels._thumbnails import _windows, similar_thumbnails, thumbnails


@pytest.fixture(scope="module")
def pictures():
    """Blots of several sizes and colours; no two alike."""
    rng = np.random.default_rng(0)
    made = []
    for _ in range(60):
        small = rng.integers(0, 256, size=(6, 7, 3)).astype(np.uint8)
        made.append(Image.fromarray(small).resize((140, 120), Image.Resampling.BICUBIC))
    return made


def encoded(picture):
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=40)
    return Image.open(io.BytesIO(stream.getvalue())).convert("RGB")


def cropped(picture, part, place):
    width, height = picture.size
    left, top = (round((1 - part) * side * at) for side, at in zip(picture.size, place, strict=True))
    return picture.crop((left, top, left + round(part * width), top + round(part * height)))


CHANGES = {
    "encoded anew": encoded,
    "smaller": lambda picture: picture.resize((70, 60)),
    "of other proportions": lambda picture: picture.resize((100, 200)),
    "a corner cut off": lambda picture: cropped(picture, 0.95, (1.0, 0.0)),
    "a twentieth cut off": lambda picture: cropped(picture, 0.95, (0.3, 0.6)),
    "a tenth cut off": lambda picture: cropped(picture, 0.9, (0.5, 0.5)),
    "all of it": lambda picture: encoded(cropped(picture, 0.95, (0.7, 0.2)).resize((90, 80))),
}


@pytest.mark.parametrize("change", CHANGES)
def test_all_planted_are_found_and_no_others(pictures, change):
    changed = thumbnails([CHANGES[change](picture) for picture in pictures[:30]])
    pairs, similarity = similar_thumbnails(changed, thumbnails(pictures), 0.97)
    assert pairs.tolist() == [[row, row] for row in range(30)]
    assert (similarity <= 1 + 1e-6).all()


def test_within_a_set_each_pair_comes_once(pictures):
    twin = cropped(pictures[4], 0.95, (0.0, 1.0))
    for both in ([*pictures, twin], [twin, *pictures]):
        pairs, _ = similar_thumbnails(thumbnails(both), None, 0.97)
        assert pairs.tolist() == [[4, 60] if both[-1] is twin else [0, 5]]


def test_windows_are_interpolated_linearly():
    thumb = np.random.default_rng(0).normal(size=(1, 32, 32)).astype(np.float32)
    y, x = ((start + 0.9 * (np.arange(16) + 0.5) / 16) * 32 - 0.5 for start in (0.02, 0.1))
    expected = map_coordinates(thumb[0], np.stack(np.meshgrid(y, x, indexing="ij")), order=1, mode="nearest").ravel()
    expected -= expected.mean()
    found = _windows(thumb, [(0.9, 0.02, 0.1)])[0, 0]
    assert_allclose(found, expected / np.linalg.norm(expected), atol=1e-5)


def test_pictures_of_one_colour(pictures):
    blank = [Image.new("RGB", (40, 40), colour) for colour in ("white", "red", "white")]
    pairs, similarity = similar_thumbnails(thumbnails([*blank, pictures[0]]), None, 0.97)
    assert pairs.tolist() == [[0, 2]]
    assert similarity.tolist() == [1.0]


def test_threads_make_the_same(pictures):
    assert_allclose(thumbnails(pictures, n_jobs=2), thumbnails(pictures))
