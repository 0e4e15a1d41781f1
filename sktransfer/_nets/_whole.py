"""All of a fitted network as one module: frozen part, trained part and head or decoder."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from sktransfer.utils._batch import Batch

__all__ = ["WholeMapNetwork", "WholeNetwork"]


class WholeNetwork(nn.Module):
    """A copy of the network of a fitted estimator, from prepared samples on.

    Parameters
    ----------
    estimator : NetEstimator
        Fitted.
    outcome : callable, default=None
        Maps scores to what is given; None gives the scores.
    """

    def __init__(self, estimator: Any, outcome: Callable[[torch.Tensor], torch.Tensor] | None = None):
        super().__init__()
        self.backbone, self.start, self.outcome = estimator.backbone_, estimator.plan_.start, outcome
        is_frozen_first = estimator.plan_.has_frozen_prefix and not estimator._is_of_a_table
        # All estimators on one network share its weights: what is done to these must not reach them.
        self.frozen = copy.deepcopy(self.backbone.module_on(torch.device("cpu"))) if is_frozen_first else None
        self.trained = copy.deepcopy(estimator.net_.module_).cpu()
        self.eval()

    def forward(self, x: Batch) -> torch.Tensor:
        """Map prepared samples to scores, or what is made of them."""
        if self.frozen is not None:
            x = self.backbone.boundary(x, self.start, self.frozen)
        scores = self.trained(x).scores
        return scores if self.outcome is None else self.outcome(scores)


class WholeMapNetwork(nn.Module):
    """A copy of the network of a fitted estimator that labels pixels, from prepared tiles to probabilities.

    Parameters
    ----------
    estimator : NetEstimator
        Fitted.
    """

    def __init__(self, estimator: Any):
        super().__init__()
        self.backbone = estimator._as_backbone()
        self.network = self.backbone.module_on(torch.device("cpu"))
        self.decoder = copy.deepcopy(estimator.net_.module_).cpu()
        self.eval()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map prepared tiles ``(n, channels, height, width)`` to ``(n, n_classes, height, width)``."""
        outputs = self.backbone.outputs(x, list(self.decoder.taps))
        return self.decoder.scores_of(outputs, x.shape[2:]).softmax(1)
