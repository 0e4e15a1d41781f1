"""Rows without a label in fine-tuning: which they are, and what two models of the others take them for."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse import issparse
from scipy.special import softmax

from sktransfer._nets import Recipe
from sktransfer.domains import missing_labels, plain_labels
from sktransfer.fine_tuning._labels import check_labels, encode

if TYPE_CHECKING:
    from sktransfer.backbones import Backbone
    from sktransfer.modalities import Samples

__all__ = ["known_labels", "pseudo_labels", "refuse_self_training", "settled"]

_PROBE_EPOCHS = 60  # those of the recipe "lp-ft"
_DECAY = 0.9  # of the averaged weights


def known_labels(estimator: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
    """Give the labels of all rows, and which are there; the others have some class in their place.

    Parameters
    ----------
    estimator : FineTunedClassifier
        Its `unlabeled` says whether -1, None and NaN mean "no label".
    y : array-like of shape (n_samples,) or (n_samples, n_labels)

    Raises
    ------
    ValueError
        If no row has a label, or a row may have several.
    """
    if estimator.warm_start:
        refuse_self_training(estimator, "warm_start=True")
    if estimator.unlabeled is None:
        labels = check_labels(estimator, y)
        return labels, np.ones(len(labels), dtype=bool)
    array = y if issparse(y) else np.asarray(y)
    if array.ndim == 2 and array.shape[1] > 1:
        raise ValueError(
            f"unlabeled={estimator.unlabeled!r} is of one label a picture, and y has {array.shape[1]} columns. Pass "
            "unlabeled=None, and leave out the rows that have no labels."
        )
    array = array.reshape(-1)
    known = ~missing_labels(array)
    if not known.any():
        raise ValueError(
            f"unlabeled={estimator.unlabeled!r}: none of the {len(array)} rows of y has a label (-1, None and NaN mean "
            "that there is none). Give labels of at least two classes."
        )
    labels = check_labels(estimator, plain_labels(array[known]))
    filled = np.full(len(array), labels[0], dtype=labels.dtype)
    filled[known] = labels
    return filled, known


def refuse_self_training(estimator: Any, what: str) -> None:
    """Refuse what goes on from an earlier training."""
    if estimator.unlabeled == "self-training":
        raise ValueError(
            f"unlabeled='self-training' trains a network anew from the source, and {what} goes on with one. Use fit "
            "with warm_start=False, or unlabeled='ignore'."
        )


def settled(
    estimator: Any,
    rows: tuple[Samples, np.ndarray, np.ndarray],
    known: np.ndarray,
    valid: tuple[Samples, np.ndarray, np.ndarray] | None,
    backbone: Backbone,
    seed: int,
) -> tuple[Samples, np.ndarray, np.ndarray, tuple[Samples, np.ndarray, np.ndarray] | None]:
    """Leave out rows without a label, or label them: the rows that are learned from, and those held out.

    Parameters
    ----------
    estimator : FineTunedClassifier
        Gets ``transduction_``.
    rows : tuple of (Samples, ndarray, ndarray)
        With labels and weights.
    known : ndarray of bool of shape (n_samples,)
        Which labels are there.
    valid : tuple of (Samples, ndarray, ndarray) or None
        What is held out, with class numbers; where nothing is and early stopping wants some, it is taken of the
        labelled.
    backbone : Backbone
    seed : int
    """
    samples, y, weights = rows
    if estimator.unlabeled == "ignore":
        return samples.take(np.flatnonzero(known)), y[known], weights[known], valid
    labeled, others = np.flatnonzero(known & (weights > 0)), np.flatnonzero(~known & (weights > 0))
    values, of_class = encode(estimator, y), weights.copy()
    of_class[labeled] = estimator._row_weights(weights[labeled], y[labeled])
    if valid is None and estimator.early_stopping:
        kept, held_out = (labeled[part] for part in estimator._split(len(labeled), values[labeled], seed))
        labeled, valid = kept, (samples.take(held_out), values[held_out], of_class[held_out])
    y, weights = y.copy(), weights.copy()
    if len(others):
        known_rows = samples.take(labeled), values[labeled], of_class[labeled]
        classes, confidence = pseudo_labels(estimator, backbone, known_rows, samples.take(others), seed)
        y[others] = estimator.classes_[classes]
        weights[others] *= confidence
    estimator.transduction_ = y
    estimator._take_recipe()  # of all rows now
    learned_from = np.sort(np.concatenate([labeled, others]))
    return samples.take(learned_from), y[learned_from], weights[learned_from], valid


def pseudo_labels(
    estimator: Any,
    backbone: Backbone,
    labeled: tuple[Samples, np.ndarray, np.ndarray],
    samples: Samples,
    seed: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Label samples by the mean of two models of the labelled ones: a probe, and the network tuned and averaged.

    The probe keeps all that the source knew, the tuned network fits the task better; where they disagree, the mean is
    unsure of its class, and the row weighs little.

    Parameters
    ----------
    estimator : FineTunedClassifier
        Is trained twice for that.
    backbone : Backbone
    labeled : tuple of (Samples, ndarray, ndarray)
        With class numbers and weights.
    samples : Samples
        Without labels.
    seed : int

    Returns
    -------
    classes, confidence : ndarray of shape (n_samples,)
        Numbers of the classes, and their mean probabilities.

    References
    ----------
    .. [1] Lee, D.-H. "Pseudo-Label: The Simple and Efficient Semi-Supervised Learning Method for Deep Neural Networks",
       ICML Workshop on Challenges in Representation Learning, 2013.
    .. [2] Tarvainen, A. & Valpola, H. "Mean teachers are better role models", NeurIPS 2017.
    """
    from sktransfer._nets import Targets

    learned_from, values, weights = labeled
    estimator._suit_recipe(backbone, n_rows=len(learned_from))
    tuned = estimator.recipe_.get_params(deep=False)
    probe = Recipe(max_epochs=_PROBE_EPOCHS, batch_size=tuned["batch_size"], lr=tuned["probe_lr"], schedule="cosine")
    averaged = Recipe(**{**tuned, "ema_decay": tuned["ema_decay"] or _DECAY, "interpolate": None})
    proba = []
    for recipe in (probe, averaged):
        settings = replace(estimator._settings(), recipe=recipe, early_stopping=False, callbacks=None)
        targets = Targets(values, weights / weights.mean(), estimator._draw(values))
        estimator._train(backbone, (learned_from, targets), settings=settings, checkpoint=None, seed=seed)
        scores = estimator._outputs_of_samples(samples, "scores", with_gaps=False)
        proba.append(softmax(scores.astype(np.float64), axis=1))
    mean = np.mean(proba, axis=0)
    return mean.argmax(1), mean.max(1)
