"""Damaged files: an error with the row, or a picture, and nothing else."""

import warnings

import numpy as np
import pytest
from PIL import Image
from sklearn.base import BaseEstimator

from sktransfer.exceptions import InvalidImageError
from sktransfer.modalities import ImagePreprocessor, open_images
from tests.common_damage import damaged


@pytest.mark.parametrize("seed", range(4))
def test_damaged_files_are_pictures_or_invalid_images(seed):
    X = [content for _, content in damaged(150, seed)]
    preprocess = ImagePreprocessor((32, 32))
    samples = open_images(BaseEstimator(), X, reset=True)
    n_named = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, of damaged tags
        for row in range(len(X)):
            try:
                picture = samples.read(row, min_size=preprocess.min_source_size)
            except InvalidImageError as error:
                assert str(error).startswith(f"Row {row} of X cannot be read as a picture: ")
                n_named += 1
                continue
            assert not isinstance(picture, Image.Image) or picture.mode == "RGB"
            assert np.isfinite(preprocess(picture)).all()
    assert 40 < n_named < len(X)
