"""Image estimators as scikit-learn's checks can run them: a row of d numbers is a picture of 1 x d pixels.

And timm's preprocessing, which ours is compared with.
"""

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.neighbors import KNeighborsRegressor
from torch import nn

from sktransfer import (
    BackboneSearch,
    FineTunedClassifier,
    FineTunedRegressor,
    FineTunedSegmenter,
    PixelClassifier,
    PretrainedFeatureExtractor,
    SelfSupervisedBackbone,
)
from sktransfer.domains import check_class_labels, check_length, labels_of_fit
from sktransfer.modalities import Images

# After sktransfer, which mends torchvision builds that timm could not import.
from sktransfer.utils._compat import load_torchvision_operators
from sktransfer.utils._random import isolated_rng

load_torchvision_operators()
from timm.data import create_transform  # noqa: E402
from timm.data.transforms import ResizeKeepRatio, str_to_interp_mode  # noqa: E402

# The smallest of timm's own test networks, with random weights.
TINY = {"backbone": "test_efficientnet", "weights": None, "image_size": 32}


def images(input_size):
    """Pictures ``(channels, height, width)`` as X."""
    return Images({"input_size": input_size[1:], "in_chans": input_size[0]})


def timms_transform(*, interpolation, **options):
    """Build timm's transform, with the filter that was asked for."""
    transform = create_transform(interpolation=interpolation, **options)
    for step in transform.transforms:
        if isinstance(step, ResizeKeepRatio):  # before timm 1.0.31 bilinear where the input is not square
            step.interpolation = str_to_interp_mode(interpolation)
    return transform


class _RowsArePictures:
    """Reads tables of any width; everything behind is the real code."""

    def _open(self, X, *args, **options):
        shape = np.asarray(X).shape
        given, self.image_shape = self.image_shape, ((1, shape[1]) if len(shape) == 2 and shape[1] else None)
        try:
            return super()._open(X, *args, **options)
        finally:
            self.image_shape = given


class RowsExtractor(_RowsArePictures, PretrainedFeatureExtractor):
    pass


class RowsClassifier(_RowsArePictures, FineTunedClassifier):
    pass


class RowsRegressor(_RowsArePictures, FineTunedRegressor):
    pass


class RowsSelfSupervised(_RowsArePictures, SelfSupervisedBackbone):
    pass


class _LabelsOfRows(_RowsArePictures, ClassifierMixin):
    """A row is a picture of one line, and its label that of all of its pixels."""

    def fit(self, X, y, **others):
        y = labels_of_fit(y, caller=type(self).__bases__[1].__name__)
        check_class_labels(y)
        if hasattr(X, "shape") and len(X.shape) == 2:
            check_length(y, X.shape[0], name="y")
        labels, places = np.unique(y, return_inverse=True)
        n_columns = ([1, *np.asarray(X).shape[1:]])[-1]
        super().fit(X, [np.full((1, n_columns), place) for place in places], **others)
        self.classes_ = labels
        return self

    def predict_proba(self, X):
        return super().predict_proba(X).mean(axis=(1, 2))

    def predict(self, X):
        found = self.predict_proba(X).argmax(1)
        return self.classes_[found]

    score = ClassifierMixin.score


class RowsPixelClassifier(_LabelsOfRows, PixelClassifier):
    pass


class RowsSegmenter(_LabelsOfRows, FineTunedSegmenter):
    pass


class RowsBackboneSearch(BackboneSearch):
    """Searches among networks of which each sees rows as pictures."""

    def _extractor(self, candidate):
        return RowsExtractor(**super()._extractor(candidate).get_params())


def _block(n_in, n_out):
    return nn.Sequential(nn.Conv2d(n_in, n_out, 3, stride=2, padding=1), nn.BatchNorm2d(n_out), nn.ReLU())


class _Small(nn.Sequential):
    """A network of three stages, which an estimator that holds it prints as one word."""

    def __repr__(self):
        return "small"


with isolated_rng(0):
    # Where more than the head is trained; timm's networks are trained by the others and in tests/fine_tuning.
    SMALL = {"backbone": _Small(_block(3, 8), _block(8, 16), _block(16, 16)), "image_size": 8}
SEARCHED = {"backbones": ["test_efficientnet", "test_resnet"], "weights": None, "image_size": 32, "refine": 0}

ESTIMATORS = [
    RowsExtractor(**TINY),
    RowsClassifier(**TINY, max_epochs=5, lr=0.1, random_state=0),
    RowsClassifier(**SMALL, trainable=1, max_epochs=6, lr=0.05, random_state=0),
    RowsClassifier(**SMALL, trainable="all", max_epochs=3, lr=0.05, random_state=0),
    RowsRegressor(**TINY, max_epochs=15, lr=0.5, batch_size=64, random_state=0),
    RowsRegressor(**SMALL, trainable=1, max_epochs=8, lr=0.1, loss="huber", random_state=0),
    RowsPixelClassifier("test_efficientnet", weights=None, random_state=0),
    RowsSegmenter(
        "test_efficientnet", weights=None, layers=(0, 1), batch_size=64, max_epochs=4, lr=0.2, random_state=0
    ),
    RowsSelfSupervised(**SMALL, trainable=1, max_epochs=1, n_views=2, augment="light", random_state=0),
    RowsBackboneSearch(**SEARCHED),
    RowsBackboneSearch(KNeighborsRegressor(3), **SEARCHED),
]
