"""One row of features an object, whatever says where it is."""

import numpy as np
import pytest
from common_frozen import count_pictures
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image

from sktransfer import PretrainedFeatureExtractor, clear_cache, object_features
from sktransfer.exceptions import DomainError


@pytest.fixture(scope="module")
def pictures():
    return np.random.default_rng(0).integers(0, 256, (2, 96, 96, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def extractor(pictures):
    return PretrainedFeatureExtractor("sktransfer_mini", layer=(1, 3)).fit(pictures)


def test_an_object_of_the_whole_picture_has_the_features_of_the_picture(pictures, extractor):
    """At the network's own size; the mean over pixels is that over cells but at the borders."""
    features, index = object_features(extractor, pictures, [[(0, 0, 96, 96)]] * 2)
    assert index.tolist() == [[0, 0], [1, 0]]
    expected = extractor.transform(pictures)
    assert features.shape == expected.shape
    assert np.corrcoef(features.ravel(), expected.ravel())[0, 1] > 0.98


def test_labels_masks_and_boxes_say_the_same(pictures, extractor, tmp_path):
    labels = np.zeros((96, 96), dtype=np.uint8)
    labels[10:30, 20:50], labels[60:90, 5:15] = 3, 7
    boxes = [(20, 10, 50, 30), (5, 60, 15, 90)]
    masks = np.stack([labels == 3, labels == 7])
    Image.fromarray(labels).save(tmp_path / "labels.png")
    features, index = object_features(extractor, pictures, [boxes, []])
    assert index.tolist() == [[0, 0], [0, 1]]
    for given in (labels, Image.fromarray(labels), tmp_path / "labels.png", masks):
        same, found = object_features(extractor, pictures, [given, []])
        assert_allclose(same, features, atol=1e-5)
        assert found[:, 1].tolist() == ([0, 1] if given is masks else [3, 7])


def test_features_are_means_of_what_is_interpolated(pictures, extractor):
    """The mean over two halves, weighed by their pixels, is that of the whole."""
    mask = np.random.default_rng(1).random((96, 96)) < 0.3
    left = mask & (np.arange(96) < 40)
    features, _ = object_features(extractor, pictures[:1], [np.stack([mask, left, mask & ~left])])
    share = left.sum() / mask.sum()
    assert_allclose(features[0], share * features[1] + (1 - share) * features[2], atol=1e-5)


def test_tiles_make_no_difference_but_at_their_borders(pictures, extractor):
    masks = np.zeros((1, 96, 96), dtype=bool)
    masks[:, 20:80, 10:90] = True
    whole, _ = object_features(extractor, pictures[:1], [masks])
    tiled, _ = object_features(extractor, pictures[:1], [masks], tile=64, overlap=16)
    assert np.corrcoef(whole.ravel(), tiled.ravel())[0, 1] > 0.9


def test_a_picture_passes_once(pictures, extractor):
    clear_cache()
    with count_pictures() as seen:
        object_features(extractor, pictures, [[(0, 0, 20, 20)] * 5, [(3, 3, 50, 60)]])
        object_features(extractor, pictures, [[(5, 0, 20, 20)], [(3, 3, 9, 9)]])
    assert sum(seen) == 2


def test_no_objects_at_all(pictures, extractor):
    features, index = object_features(extractor, pictures, [[], []])
    assert features.shape == (0, extractor.n_features_out_)
    assert index.shape == (0, 2)


def test_the_last_map_where_no_layer_is_named(pictures):
    extractor = PretrainedFeatureExtractor("sktransfer_mini").fit(pictures)
    features, _ = object_features(extractor, pictures, [[(0, 0, 96, 96)]] * 2)
    assert features.shape == (2, extractor.n_features_out_)


@pytest.mark.parametrize(
    ("masks", "error", "message"),
    [
        ([[(0, 0, 1, 1)]], DomainError, "masks has 1 rows, but X has 2"),
        ([np.zeros((3, 3), dtype=int), []], ValueError, r"Row 0 of masks is of shape \(3, 3\), and its picture of 96"),
        ([[], [(5, 5, 2, 9)]], ValueError, r"Box 0 of row 1 of masks is \(5, 5, 2, 9\): expected left, top"),
        ([[], [(200, 5, 220, 9)]], ValueError, "Object 0 of row 1 of masks has no pixel in its picture"),
        ([np.full((96, 96), 0.5), []], ValueError, "Row 0 of masks is of dtype float64: expected whole numbers"),
    ],
)
def test_errors(pictures, extractor, masks, error, message):
    with pytest.raises(error, match=message):
        object_features(extractor, pictures, masks)


def test_same_rows_in_any_company(pictures, extractor):
    boxes = [[(0, 0, 20, 20)], [(3, 3, 50, 60)]]
    features, _ = object_features(extractor, pictures, boxes)
    assert_array_equal(object_features(extractor, pictures[1:], boxes[1:])[0], features[1:])
