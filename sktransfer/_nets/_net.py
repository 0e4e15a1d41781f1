"""The training engine: skorch's loop with our batches and optimizers. The only file that imports skorch's nets."""

import copy
from collections.abc import Sequence

import numpy as np
import torch
from skorch import NeuralNet
from skorch.callbacks import Callback, EarlyStopping
from skorch.helper import predefined_split
from torch import nn
from torch.utils.data import Dataset

from sktransfer._nets._batches import BatchIterator
from sktransfer._nets._callbacks import DivergenceGuard, EpochBar
from sktransfer.backbones import create_optimizer
from sktransfer.utils._device import autocast, forward_in_micro_batches, resolve_precision, torch_threads

__all__ = ["TransferNet", "train_net"]


class TransferNet(NeuralNet):
    """skorch's net with timm's optimizers, autocast, and pickles without the optimizer's state.

    Parameters
    ----------
    optimizer_name : str
        One of timm's optimizers.
    weight_decay : float
    precision : {"float32", "bfloat16", "float16"}
    **kwargs
        Passed to :class:`skorch.NeuralNet`.
    """

    def __init__(self, *args, optimizer_name="adamw", weight_decay=0.0, precision="float32", **kwargs):
        super().__init__(*args, **kwargs)
        self.optimizer_name = optimizer_name
        self.weight_decay = weight_decay
        self.precision = precision

    def initialize_optimizer(self, triggered_directly=None):
        """Create the optimizer over what learns."""
        self.optimizer_ = create_optimizer(
            self.module_, self.optimizer_name, lr=self.lr, weight_decay=self.weight_decay
        )
        return self

    def infer(self, x, **fit_params):
        """Run the module, in the precision asked for."""
        with autocast(self.precision, torch.device(self.device)):
            return super().infer(x, **fit_params)

    def get_loss(self, y_pred, y_true, *args, **kwargs):
        """Compute the loss in float32."""
        return super().get_loss(y_pred.float(), y_true, *args, **kwargs)

    def scores(self, features: np.ndarray, device: torch.device) -> np.ndarray:
        """Run the trained module on rows of features: ``(n, n_outputs)`` float32.

        `device` may be another than that of the training: a model travels.
        """
        return forward_in_micro_batches(
            self.module_.eval().to(device),
            torch.from_numpy(features),
            batch_size=self.batch_size,
            device=device,
            precision=resolve_precision(self.precision, device),
        )

    def __getstate__(self):
        # The optimizer's moments, and skorch's second hold on the module, would multiply the pickle; prediction needs
        # neither.
        slim = object.__new__(type(self))
        slim.__dict__.update(self.__dict__, optimizer_=None, module=None)
        return super(TransferNet, slim).__getstate__()


def train_net(
    module: nn.Module,
    train: Dataset,
    valid: Dataset | None,
    *,
    criterion: nn.Module,
    max_epochs: int,
    batch_size: int,
    lr: float,
    optimizer: str,
    weight_decay: float,
    device: torch.device,
    precision: str,
    patience: int | None,
    callbacks: Sequence[Callback],
    verbose: int,
) -> TransferNet:
    """Train `module` and return the net that holds it.

    Parameters
    ----------
    module : torch.nn.Module
        Trained in place.
    train, valid : FeatureSet or PictureSet
        `valid` may be None.
    criterion : torch.nn.Module
        Loss of ``(scores, targets)``.
    max_epochs, batch_size, lr, optimizer, weight_decay
        As in :class:`~sktransfer.FineTunedClassifier`.
    device : torch.device
    precision : {"float32", "bfloat16", "float16"}
    patience : int or None
        Epochs without a lower validation loss after which training ends, the best weights being restored. None trains
        all epochs and keeps the last weights.
    callbacks : sequence of skorch callbacks
        Copied: what they remember stays in the copies, reachable through the net.
    verbose : int
        Show a progress bar if not 0.
    """
    own = [DivergenceGuard()]
    if patience is not None:
        own.append(EarlyStopping(monitor="valid_loss", patience=patience, load_best=True, sink=_silent))
    if verbose:
        own.append(EpochBar())
    net = TransferNet(
        module,
        criterion=criterion,
        optimizer_name=optimizer,
        weight_decay=weight_decay,
        precision=precision,
        lr=lr,
        max_epochs=max_epochs,
        batch_size=batch_size,
        iterator_train=BatchIterator,
        iterator_train__shuffle=True,
        iterator_valid=BatchIterator,
        train_split=None if valid is None else predefined_split(valid),
        callbacks=[*own, *(copy.deepcopy(callback) for callback in callbacks)],
        device=str(device),
        verbose=0,
    )
    # A head alone is too little work to share: threads would only wait for one another.
    alone = not any(parameter.requires_grad for parameter in module.body.parameters())
    with torch_threads(1 if alone else torch.get_num_threads()):
        net.fit(train, y=None)
    net.train_split = None  # it holds the validation pictures
    net.module_.eval()
    return net


def _silent(*_args):
    """Take skorch's messages and say nothing."""
