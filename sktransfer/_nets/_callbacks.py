"""skorch callbacks of our own."""

import math
from typing import Any

from skorch.callbacks import Callback
from tqdm.auto import tqdm

__all__ = ["DivergenceGuard", "EpochBar"]


class EpochBar(Callback):
    """Show one progress bar over the epochs, with the last losses."""

    def on_train_begin(self, net: Any, **kwargs: Any) -> None:
        """Open the bar."""
        self.bar_ = tqdm(total=net.max_epochs, desc="epochs", unit="epoch")

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Advance the bar."""
        last = net.history[-1]
        self.bar_.set_postfix({key: f"{last[key]:.4f}" for key in ("train_loss", "valid_loss") if key in last})
        self.bar_.update()

    def on_train_end(self, net: Any, **kwargs: Any) -> None:
        """Close the bar."""
        self.bar_.close()
        del self.bar_


class DivergenceGuard(Callback):
    """End a training whose loss is no longer a number."""

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Look at the loss of the epoch."""
        loss, epoch = net.history[-1, "train_loss"], net.history[-1, "epoch"]
        if not math.isfinite(loss):
            raise RuntimeError(
                f"Training diverged: the loss of epoch {epoch} is {loss} at lr={net.lr}. Pass a smaller lr."
            )
