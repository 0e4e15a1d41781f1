"""A label for every pixel, by frozen features of a pretrained network or by one that is trained for it."""

from sktransfer.dense._classifier import PixelClassifier
from sktransfer.dense._labels import LabelPicture, LabelPictures
from sktransfer.dense._objects import object_features
from sktransfer.dense._scores import confusion_of, iou_of, mean_iou_scorer, pixel_accuracy_scorer
from sktransfer.dense._segmenter import FineTunedSegmenter

__all__ = [
    "FineTunedSegmenter",
    "LabelPicture",
    "LabelPictures",
    "PixelClassifier",
    "confusion_of",
    "iou_of",
    "mean_iou_scorer",
    "object_features",
    "pixel_accuracy_scorer",
]
