"""What estimators that label pixels share: label pictures, and how well they are met."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from sktransfer.dense._answers import together
from sktransfer.dense._labels import LabelPictures
from sktransfer.dense._scores import confusion_of, iou_of
from sktransfer.modalities import Samples, picture_sizes

__all__ = ["LabelsPixelsMixin"]


class LabelsPixelsMixin:
    """Predictions and scores of pictures, of which a subclass answers one after the other."""

    ignore_index: Any
    label_colors: Any
    _samples: Callable[[Any], Samples]  # opens X as `fit` did

    @abstractmethod
    def _answers_of(self, samples: Samples, sizes: np.ndarray, method: str) -> Iterator[tuple[int, np.ndarray]]:
        """Answer picture by picture; see :func:`each_answer`."""

    def _labels(self, y: Any, n: int) -> LabelPictures:
        """Open y."""
        return LabelPictures(
            y, n, ignore_index=self.ignore_index, label_colors=self.label_colors, caller=type(self).__name__
        )

    def _each_answer(self, X: Any, method: str) -> Iterator[tuple[int, np.ndarray]]:
        check_is_fitted(self)
        samples = self._samples(X)
        return self._answers_of(samples, picture_sizes(samples), method)

    def predict(self, X: Any) -> np.ndarray:
        """Label every pixel.

        Parameters
        ----------
        X : pictures
            Of the kind seen in :meth:`fit`.

        Returns
        -------
        ndarray of shape (n_pictures, height, width)
            Class labels; where pictures are of several sizes an object array of shape (n_pictures,) of arrays.
        """
        return together(found for _, found in self._each_answer(X, "predict"))

    def confusion(self, X: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
        """Count labelled pixels by their label and by what is predicted.

        Parameters
        ----------
        X : pictures
            Of the kind seen in :meth:`fit`.
        y : label pictures
            As in :meth:`fit`.

        Returns
        -------
        classes : ndarray of shape (n_classes,)
            Labels that occur in `y` or in the prediction.
        counts : ndarray of shape (n_classes, n_classes), int
            Pixels with the label of a row and the prediction of a column.
        """
        check_is_fitted(self)
        samples = self._samples(X)
        labels, sizes = self._labels(y, len(samples)), picture_sizes(samples)
        answers = self._answers_of(samples, sizes, "predict")
        return confusion_of((labels.read(picture, sizes[picture]), found) for picture, found in answers)

    def score(self, X: Any, y: Any) -> float:
        """Score predictions by the mean of intersection over union, over all classes that occur in `y` or are given.

        Parameters
        ----------
        X : pictures
            Of the kind seen in :meth:`fit`.
        y : label pictures
            As in :meth:`fit`; pixels without a label do not count.

        Returns
        -------
        float
            Between 0 and 1.
        """
        return float(np.mean(iou_of(self.confusion(X, y)[1])))
