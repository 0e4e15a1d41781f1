"""Training of the last part of a network on views of samples without a label."""

from __future__ import annotations

import itertools
import math
from typing import Any

import torch
from skorch import NeuralNet
from skorch.callbacks import Callback
from torch import nn

from sktransfer._nets._freezing import TrainingPlan
from sktransfer._nets._module import TunedModule
from sktransfer._nets._view_losses import simsiam_loss, vicreg_loss
from sktransfer.backbones import Backbone
from sktransfer.exceptions import DivergenceError
from sktransfer.utils._device_forward import forward_in_micro_batches

__all__ = ["ViewPairs", "ViewsModule", "train_on_views", "views_at"]

_WIDTH = 512  # of the projection
_HEAD_RATE = 1e-3
_WARM_UP = 0.1  # share of the steps in which the projection learns alone
_WEIGHT_DECAY = 1e-4


class ViewPairs(torch.utils.data.Dataset):
    """Two different views of each sample, drawn anew every time they are asked for.

    Parameters
    ----------
    views : torch.Tensor of shape (n_views, n, ...)
        Where they enter the part that learns.
    """

    def __init__(self, views: torch.Tensor):
        self.views = views

    def __len__(self) -> int:
        return self.views.shape[1]

    def __getitem__(self, row: int) -> tuple[torch.Tensor, torch.Tensor]:
        first, second = torch.randperm(len(self.views))[:2].tolist()
        pair = torch.stack([self.views[first, row], self.views[second, row]])
        return pair, torch.zeros(0)  # skorch wants a target


class ViewsModule(nn.Module):
    """The part of a backbone that learns, and what stands on it while it does.

    Parameters
    ----------
    backbone : Backbone
    plan : TrainingPlan
    method : {"vicreg", "simsiam"}
    """

    def __init__(self, backbone: Backbone, plan: TrainingPlan, method: str):
        super().__init__()
        # Statistics of a few hundred samples, and of views of them, did harm.
        self.tuned = TunedModule(backbone, plan, 1, frozen_batch_norm=True)
        self.tuned.head = nn.Identity()
        self.project = _layers(backbone.n_features, _WIDTH, _WIDTH)
        self.predict = _layers(_WIDTH, _WIDTH // 4, _WIDTH) if method == "simsiam" else None

    def forward(self, pairs: torch.Tensor) -> torch.Tensor:
        """Map pairs of views ``(n, 2, ...)`` to the loss."""
        embedded = self.project(self.tuned(pairs.transpose(0, 1).flatten(0, 1)).features)
        a, b = embedded.chunk(2)
        if self.predict is None:
            return vicreg_loss(a, b)
        predicted_a, predicted_b = self.predict(embedded).chunk(2)
        return simsiam_loss(predicted_a, predicted_b, a, b)


class _Schedule(Callback):
    """The projection learns alone first; rates fall along half a cosine."""

    def __init__(self, lr: float, n_steps: int):
        self.lr, self.n_steps = lr, n_steps

    def on_train_begin(self, net: Any, **kwargs: Any) -> None:
        """Begin to count."""
        self.step_ = 0

    def on_batch_begin(self, net: Any, **kwargs: Any) -> None:
        """Set the rates of both groups."""
        done = self.step_ / self.n_steps
        body, head = net.optimizer_.param_groups
        falling = (1 + math.cos(math.pi * done)) / 2
        is_warm = self.step_ >= int(_WARM_UP * self.n_steps)
        body["lr"], head["lr"] = self.lr * falling * is_warm, _HEAD_RATE * falling
        self.step_ += 1

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Stop where the loss is no number."""
        epoch, loss = net.history[-1, "epoch"], net.history[-1, "train_loss"]
        if not math.isfinite(loss):
            raise DivergenceError(
                f"Training diverged: the loss of epoch {epoch} is {loss} at lr={self.lr}. Pass a smaller lr."
            )


class _ViewsNet(NeuralNet):
    """Trains a :class:`ViewsModule`, whose output is the loss."""

    def get_loss(self, y_pred: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Give what the module gave."""
        return y_pred

    def initialize_optimizer(self, *args: Any, **kwargs: Any) -> _ViewsNet:
        """Give the network and what stands on it a rate each."""
        module = self.module_
        body = [parameter for parameter in module.tuned.parameters() if parameter.requires_grad]
        head = [parameter for name, parameter in module.named_parameters() if not name.startswith("tuned.")]
        groups = [{"params": body}, {"params": head}]
        self.optimizer_ = torch.optim.AdamW(groups, lr=self.lr, weight_decay=_WEIGHT_DECAY)
        return self


def views_at(
    backbone: Backbone, start: int, batch: torch.Tensor, *, device: torch.device, batch_size: int
) -> torch.Tensor:
    """Compute what enters at boundary `start` of prepared samples ``(n, ...)``."""
    if start == 0:
        return batch
    options: dict[str, Any] = {"batch_size": batch_size, "device": device, "precision": "float32"}
    return torch.from_numpy(forward_in_micro_batches(lambda x: backbone.boundary(x, start), batch, **options))


def train_on_views(
    module: ViewsModule,
    views: torch.Tensor,
    *,
    max_epochs: int,
    batch_size: int,
    lr: float,
    device: torch.device,
    verbose: int,
) -> list[dict[str, Any]]:
    """Train, and give the history: an entry an epoch."""
    n = views.shape[1]
    batch_size = min(batch_size, n)
    net = _ViewsNet(
        module,
        criterion=nn.Identity,
        max_epochs=max_epochs,
        lr=lr,
        batch_size=batch_size,
        iterator_train__shuffle=True,
        iterator_train__drop_last=True,  # statistics of a few rows would lead astray
        train_split=None,
        callbacks=[_Schedule(lr, max_epochs * (n // batch_size))],
        device=str(device),
        verbose=verbose,
    )
    net.fit(ViewPairs(views), None)
    return [{"epoch": e["epoch"], "train_loss": float(e["train_loss"]), "dur": e["dur"]} for e in net.history]


def _layers(*widths: int) -> nn.Sequential:
    """Linear layers with BatchNorm and ReLU between them."""
    found: list[nn.Module] = []
    for place, (n_in, n_out) in enumerate(itertools.pairwise(widths)):
        found += [nn.BatchNorm1d(n_in), nn.ReLU()] if place else []
        found.append(nn.Linear(n_in, n_out, bias=False))
    return nn.Sequential(*found)
