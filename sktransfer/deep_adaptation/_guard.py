"""Standing back: a network that was adapted against one that was not, by evidence that needs no target label."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import clone
from sklearn.exceptions import FitFailedWarning

from sktransfer.domains import Domains, read_source_labels
from sktransfer.exceptions import NegativeTransferWarning
from sktransfer.metrics import fell_back_message, transfer_evidence
from sktransfer.utils._messages import caller_level

if TYPE_CHECKING:
    from collections.abc import Callable

    from sktransfer.modalities import Samples

__all__ = ["forget_evidence", "stand_back"]

_REPORT = ("evidence_", "fell_back_")


def forget_evidence(estimator: Any) -> None:
    """Drop what an earlier fit with a guard left."""
    for name in _REPORT:
        estimator.__dict__.pop(name, None)


def stand_back(estimator: Any, fit: Callable[[Any], Any], samples: Samples, y: np.ndarray, domains: Domains) -> None:
    """Give a fitted classifier the network of the source alone, unless the evidence speaks for adaptation.

    Parameters
    ----------
    estimator : classifier
        Fitted; gets ``evidence_`` and ``fell_back_``.
    fit : callable
        Fits another one to the same rows.
    samples : Samples
        All rows.
    y : ndarray of shape (n_samples,)
        Labels; those of target rows are not read.
    domains : Domains
        Roles of the rows.
    """
    estimator.evidence_, estimator.fell_back_ = None, False
    try:
        baseline = fit(_alone(estimator))
        labels, source = read_source_labels(y, domains)
        table = _numbers(estimator, samples)
        found = [_classes(model, samples)[domains.target_rows] for model in (estimator, baseline)]
        evidence = transfer_evidence(
            table[source], labels, table[domains.target_rows], y_pred=found[0], y_baseline=found[1]
        )
    except Exception as error:
        # The adapted network is trained; that it cannot be compared is no reason to lose it.
        warnings.warn(
            f"There is no evidence for or against adaptation, which is kept: {error!r}",
            FitFailedWarning,
            stacklevel=caller_level(),
        )
        return
    fell_back = bool(evidence.disagreement > 0 and not evidence.helps)
    if fell_back:
        message = fell_back_message(type(estimator).__name__, evidence)
        warnings.warn(message, NegativeTransferWarning, stacklevel=caller_level())
        learned = {name: value for name, value in vars(baseline).items() if name.endswith("_") and name[0] != "_"}
        estimator.__dict__.update(learned)
    estimator.evidence_, estimator.fell_back_ = dict(evidence), fell_back


def _alone(estimator: Any) -> Any:
    """Make the same training without adaptation, and with one and the same normalisation for all rows."""
    other = clone(estimator).set_params(guard=False, trade_off=0.0, callbacks=None)
    if estimator.checkpoint_dir is not None:
        other.checkpoint_dir = Path(os.fspath(estimator.checkpoint_dir)) / "source_alone"
    if estimator._is_adversarial:
        other.statistics = "shared"
    return other


def _numbers(estimator: Any, samples: Samples) -> np.ndarray:
    """Give the features that the network has before it is trained, or the columns of a table."""
    parts = estimator.backbone_.modality.parts(samples)
    if parts is not None:
        return parts.mean(estimator._frozen.features(parts.samples, None))
    return estimator._frozen.features(samples, None)


def _classes(model: Any, samples: Samples) -> np.ndarray:
    return model.classes_[model._outputs_of_samples(samples, "scores", False).argmax(1)]
