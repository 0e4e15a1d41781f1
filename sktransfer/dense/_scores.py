"""How well pixels are labelled: confusion, intersection over union, and scorers for a search over pictures."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from sktransfer.dense._labels import LabelPicture

__all__ = ["confusion_of", "iou_of", "mean_iou_scorer", "pixel_accuracy_scorer"]


def confusion_of(pairs: Iterable[tuple[LabelPicture, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Count labelled pixels by their label and by what was predicted.

    Parameters
    ----------
    pairs : iterable
        Label pictures, and predicted labels of the same size.

    Returns
    -------
    classes : ndarray of shape (n_classes,)
        Labels that occur.
    confusion : ndarray of shape (n_classes, n_classes), int
        Pixels with the label of a row and the prediction of a column.

    Raises
    ------
    ValueError
        If no pixel is labelled.
    """
    counts: dict[tuple, int] = {}
    for (labels, known), predicted in pairs:
        true, found = (np.unique(values[known], return_inverse=True) for values in (labels, predicted))
        n = len(found[0])
        numbers = np.bincount(true[1].ravel() * n + found[1].ravel(), minlength=len(true[0]) * n)
        names = true[0].tolist(), found[0].tolist()
        for place in np.flatnonzero(numbers).tolist():
            key = names[0][place // n], names[1][place % n]
            counts[key] = counts.get(key, 0) + int(numbers[place])
    if not counts:
        raise ValueError("No pixel of y is labelled, so there is nothing to score.")
    # 1 and 1.0 are one label; a label and a name are told apart by their types.
    classes = sorted({label for key in counts for label in key}, key=lambda label: (isinstance(label, str), label))
    position = {label: number for number, label in enumerate(classes)}
    confusion = np.zeros((len(classes), len(classes)), dtype=np.int64)
    for (true_label, label), number in counts.items():
        confusion[position[true_label], position[label]] += number
    return np.array(classes), confusion


def iou_of(confusion: np.ndarray) -> np.ndarray:
    """Intersection over union of each class: its right pixels among those that have it, or were given it."""
    right = np.diag(confusion)
    return right / (confusion.sum(0) + confusion.sum(1) - right)


def mean_iou_scorer(estimator: Any, X: Any, y: Any) -> float:
    """Score a fitted estimator by the mean over classes of intersection over union: ``scoring=mean_iou_scorer``.

    Parameters
    ----------
    estimator : PixelClassifier
        Fitted.
    X : pictures
    y : label pictures
        Pixels without a label do not count.

    Returns
    -------
    float
        Between 0 and 1; that of :meth:`PixelClassifier.score`.

    Examples
    --------
    >>> import numpy as np
    >>> from sktransfer import PixelClassifier, mean_iou_scorer
    >>> X = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    >>> y = (X[..., 0] > 127).astype(int)
    >>> model = PixelClassifier("sktransfer_mini", random_state=0).fit(X, y)
    >>> 0 <= mean_iou_scorer(model, X, y) <= 1
    True
    """
    return float(np.mean(iou_of(estimator.confusion(X, y)[1])))


def pixel_accuracy_scorer(estimator: Any, X: Any, y: Any) -> float:
    """Score a fitted estimator by the share of labelled pixels that are right: ``scoring=pixel_accuracy_scorer``.

    Parameters
    ----------
    estimator : PixelClassifier
        Fitted.
    X : pictures
    y : label pictures
        Pixels without a label do not count.

    Returns
    -------
    float
        Between 0 and 1.

    Examples
    --------
    >>> import numpy as np
    >>> from sktransfer import PixelClassifier, pixel_accuracy_scorer
    >>> X = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    >>> y = (X[..., 0] > 127).astype(int)
    >>> model = PixelClassifier("sktransfer_mini", random_state=0).fit(X, y)
    >>> 0 <= pixel_accuracy_scorer(model, X, y) <= 1
    True
    """
    confusion = estimator.confusion(X, y)[1]
    return float(np.trace(confusion) / confusion.sum())
