"""Pictures and labels changed together: what was labelled stays so, wherever it goes."""

import random

import numpy as np
import pytest
from PIL import Image

from sktransfer.modalities._together import change_together
from sktransfer.utils._random import isolated_rng


def painted():
    """A picture of two grey levels, 40 x 60 pixels, and the labels that they stand for."""
    labels = np.zeros((40, 60), dtype=np.int8)
    labels[10:30, 25:55] = 1
    return Image.fromarray((60 + 120 * labels).astype(np.uint8)).convert("RGB"), labels


@pytest.mark.parametrize("how", ["light", "default"])
def test_labels_go_with_their_pixels(how):
    picture, labels = painted()
    change, crops = change_together(how), set()
    with isolated_rng(0):
        for _ in range(10):
            changed, marked = change(picture, labels)
            grey = np.asarray(changed.convert("L"), dtype=float)
            assert changed.size == picture.size
            assert marked.shape == labels.shape
            middle = (grey[marked == 0].mean() + grey[marked == 1].mean()) / 2
            assert ((grey > middle) == marked).mean() > 0.98  # all but pixels on the border
            crops.add(int(marked.sum()))
    assert len(crops) > 5


def test_random_numbers_are_those_of_the_training():
    picture, labels = painted()
    found = []
    for _ in range(2):
        with isolated_rng(3):
            found.append(change_together("default")(picture, labels))
    assert found[0][0].tobytes() == found[1][0].tobytes()
    assert (found[0][1] == found[1][1]).all()
    before = random.getstate()
    with isolated_rng(0):
        change_together("light")(picture, labels)
    assert random.getstate() == before


def test_a_function_of_ones_own():
    picture, labels = painted()

    def cut(picture, labels):
        return picture.crop((0, 0, 20, 10)), labels[:10, :20]

    changed, marked = change_together(cut)(picture, labels)
    assert changed.size == (20, 10)
    assert marked.shape == (10, 20)


@pytest.mark.parametrize(
    ("function", "error", "message"),
    [
        (lambda picture, labels: picture, TypeError, "augment returned a Image: expected the picture and the labels"),
        (lambda picture, labels: (picture, labels[1:]), ValueError, r"40 x 60 pixels .* labels of shape \(39, 60\)"),
        (lambda picture, labels: (picture, labels / 2), ValueError, "labels of dtype float"),
        (lambda picture, labels: (None, labels), TypeError, "augment returned None, which is no picture"),
    ],
)
def test_what_a_function_must_return(function, error, message):
    with pytest.raises(error, match=message):
        change_together(function)(*painted())


def test_words():
    with pytest.raises(ValueError, match="augment='randaug' does not change a picture and the labels"):
        change_together("randaug")
