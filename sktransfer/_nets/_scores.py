"""Scores of held-out rows after each epoch."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from skorch.callbacks import Callback

from sktransfer._nets._module import Outputs

__all__ = ["HeldOutScores"]


class HeldOutScores(Callback):
    """Score what the network says of the held-out rows, by the passes in which their loss is computed.

    Parameters
    ----------
    score : callable
        Maps the network's scores ``(n, n_outputs)`` of all rows, in their order, to figures by name.
    """

    def __init__(self, score: Callable[[np.ndarray], Mapping[str, float]]):
        self.score = score

    def on_epoch_begin(self, net: Any, **kwargs: Any) -> None:
        """Begin anew."""
        self.seen_: list[np.ndarray] = []

    def on_batch_end(self, net: Any, training: bool = False, y_pred: Any = None, **kwargs: Any) -> None:
        """Keep what the network says of a batch."""
        if not training:
            scores = y_pred.scores if isinstance(y_pred, Outputs) else y_pred  # as callbacks of the user take it
            self.seen_.append(scores.detach().float().cpu().numpy())

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Record the scores."""
        for name, value in self.score(np.concatenate(self.seen_)).items():
            net.history.record(name, float(value))
        self.seen_ = []
