"""Adversarial adaptation of a second encoder to that of the source, which stands still."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.func import functional_call
from torch.nn import functional

from sktransfer._nets import TARGET
from sktransfer.deep_adaptation._alignment import Alignment, discriminator, domain_loss, ramp
from sktransfer.deep_adaptation._base import DeepClassifier
from sktransfer.utils._compat import Interval

if TYPE_CHECKING:
    from sklearn.base import BaseEstimator

__all__ = ["ADDAClassifier", "fooling_loss"]


def fooling_loss(scores: torch.Tensor) -> torch.Tensor:
    """Loss of who wants target rows to be taken for source rows: the mean of ``log(1 + exp(-score))``.

    Where the discriminator is sure of itself, the reversed gradient of its own loss vanishes, and this one does not.

    Parameters
    ----------
    scores : torch.Tensor of shape (n, 1)
        Log-odds of being a source row, of target rows.

    Returns
    -------
    torch.Tensor of shape ()
    """
    return functional.softplus(-scores).mean()


class _SourceEncoder(nn.Module):
    """A copy of body and neck that never learns, with the statistics of its BatchNorm layers as they were."""

    def __init__(self, body: nn.Module, neck: nn.Module):
        super().__init__()
        self.body, self.neck = copy.deepcopy(body), copy.deepcopy(neck)
        self.requires_grad_(False)
        self.train()

    def train(self, mode=True):
        """Stay in eval mode."""
        return super().train(False)

    def take(self, body, neck):
        """Take over weights and statistics."""
        self.body.load_state_dict(body.state_dict())
        self.neck.load_state_dict(neck.state_dict())

    def forward(self, inputs: torch.Tensor, entry: int | None) -> torch.Tensor:
        """Map the input of boundary `entry` to features."""
        return self.neck(inputs if entry is None else self.body(inputs, entry))


class _Parts(nn.Module):
    """The source encoder, whether it has been taken over, and a discriminator for each group of sources."""

    def __init__(self, source_encoder: nn.Module, discriminators: list[nn.Module]):
        super().__init__()
        self.source_encoder = source_encoder
        self.discriminators = nn.ModuleList(discriminators)
        # A buffer: a training that goes on from a checkpoint must not take the encoder over once more.
        self.register_buffer("started", torch.tensor(False))

    def __getitem__(self, group):
        return self.discriminators[group]


class _ADDA(Alignment):
    """The source first; then the target encoder against a discriminator, source encoder and head standing still.

    Parameters
    ----------
    hidden : int or sequence of int
        Widths of the hidden layers of the discriminator.
    source_share : float
        Share of the training that is for the source.
    **options
        Of :class:`Alignment`.
    """

    def __init__(self, hidden: int | Sequence[int], source_share: float, **options: Any):
        super().__init__(**options)
        self.hidden = hidden
        self.source_share = source_share

    follows_progress = True  # a share of the training is the source's

    def build(self, n_features, n_outputs):
        """Build the discriminator."""
        return discriminator(n_features, self.hidden)

    def attach(self, module, setup):
        """Give `module` a copy of its encoder and the discriminators, and hold its head still after the source."""
        super().attach(module, setup)
        module.alignment = _Parts(_SourceEncoder(module.body, module.neck), list(module.alignment))
        # Not by weights of 0 alone: a gradient of 0 lets momentum and weight decay move the head on.
        self._hooks = [module.register_forward_pre_hook(self._begin), module.register_forward_hook(_release_head)]

    def _begin(self, module, _inputs):
        parts = module.alignment
        is_over = self.trade_off > 0 and module.progress >= self.source_share
        if is_over and not parts.started:
            parts.source_encoder.take(module.body, module.neck)
            parts.started.fill_(True)
        module.head.requires_grad_(not parts.started)

    def strength(self, module):
        """Give the trade-off at this step, which grows from the end of the source's share."""
        if self.trade_off_schedule == "constant":
            return self.trade_off
        return self.trade_off * ramp((module.progress - self.source_share) / (1 - self.source_share))

    def weigh(self, module, outputs, rows):
        """Weights of the rows in the loss of the labels: none for the source, once the target encoder learns."""
        return rows.weights * (rows.domain == TARGET) if module.alignment.started else rows.weights

    def __call__(self, module, inputs, outputs, rows):
        """Compute what a training step adds to its loss: nothing while the source is learned."""
        if not module.alignment.started:
            return outputs.scores.new_zeros(())
        return super().__call__(module, inputs, outputs, rows)

    def align(self, part, source, target, strength, module):
        """Compute the discriminator's loss, which stops at the features, and the target encoder's, at theirs."""
        with torch.no_grad():
            features = module.alignment.source_encoder(source.inputs, module.entry)
        learned = domain_loss(part(features), part(target.features.detach()))
        held = {name: parameter.detach() for name, parameter in part.named_parameters()}
        return learned + strength * fooling_loss(functional_call(part, held, (target.features,)))

    def detach(self, module):
        """Drop what was trained for the alignment alone."""
        super().detach(module)
        for hook in self._hooks:
            hook.remove()
        module.head.requires_grad_(True)


def _release_head(module, _inputs, outputs):
    # Held while a step records what its gradient goes to, and no longer: the optimizer asks what learns at other times.
    module.head.requires_grad_(True)


class ADDAClassifier(DeepClassifier):
    """Classify target samples by an encoder that makes them look as the source looks to its own (ADDA).

    The first share of the training learns the source. Its encoder (what learns of the backbone, and the bottleneck) and
    the head then stand still, and a copy of the encoder learns features of target samples that a discriminator takes
    for features of source samples [1]_. Predictions are those of the target encoder, for samples of any domain.

    Parameters
    ----------
    [[backbone]]
    source_share : float, default=0.5
        Share in (0, 1) of the training that learns the source.
    discriminator_hidden : int or sequence of int, default=(256, 256)
        Widths of the hidden layers of the discriminator.
    trade_off : float, default=0.003
        Weight of the loss by which the target encoder learns; with 0 all of the training learns the source. Nothing
        ties that encoder to the classes: over many steps a greater weight mixes them up, few steps want 0.1.
    [[training]]

    Attributes
    ----------
    [[attributes]]

    See Also
    --------
    DANNClassifier : One encoder for both domains, which goes on learning the labels of the source.

    Notes
    -----
    ``trade_off_schedule="ramp"`` grows from the end of the source's share. With ``use_target_labels=True`` the target
    encoder also learns the labels of target rows.

    References
    ----------
    .. [1] Tzeng, E. et al. "Adversarial Discriminative Domain Adaptation", CVPR 2017.

    Examples
    --------
    >>> from sktransfer import ADDAClassifier, make_domain_shift
    >>> X, y, sample_domain = make_domain_shift(100, 100, shift="covariate", random_state=0)
    >>> clf = ADDAClassifier(None, bottleneck=32, max_epochs=5, random_state=0)
    >>> clf.fit(X, y, sample_domain=sample_domain).predict(X[:3]).shape
    (3,)
    """

    _parameter_constraints = {
        **DeepClassifier._parameter_constraints,
        "source_share": [Interval(Real, 0, 1, closed="neither")],
        "discriminator_hidden": [Interval(Integral, 1, None, closed="left"), tuple, list],
    }

    def __init__(
        self,
        backbone: str | nn.Module | BaseEstimator | None = "resnet18",
        *,
        source_share: float = 0.5,
        discriminator_hidden: int | Sequence[int] = (256, 256),
        trade_off: float = 0.003,
        **training: Any,
    ):
        super().__init__(backbone, trade_off=trade_off, **training)
        self.source_share = source_share
        self.discriminator_hidden = discriminator_hidden

    def _alignment(self, **options):
        return _ADDA(self.discriminator_hidden, self.source_share, **options)
