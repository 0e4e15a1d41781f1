"""What a method of deep adaptation does in a training: a loss of source and target rows beside that of the labels."""

import itertools
import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn import functional

from sktransfer._nets import TARGET, Outputs, Penalty, PenaltySetup, Rows, TunedModule
from sktransfer.deep_adaptation._statistics import ApartStatistics
from sktransfer.utils._batch import Batch, take_rows_of

__all__ = ["Alignment", "Side", "discriminator", "domain_accuracy", "domain_loss", "ramp", "reverse_gradient"]


class Side(NamedTuple):
    """Rows of the source or of the target in a batch.

    Attributes
    ----------
    features : torch.Tensor of shape (n, d)
        What the head takes.
    scores : torch.Tensor of shape (n, n_outputs)
        What it gives.
    inputs : torch.Tensor of shape (n, ...), or a mapping of such
        What the network was given, of boundary ``module.entry``.
    values : torch.Tensor of shape (n,) or (n, n_outputs)
        Class numbers or scaled targets; of target rows without meaning.
    weights : torch.Tensor of shape (n,)
        In the loss of the labels.
    """

    features: torch.Tensor
    scores: torch.Tensor
    inputs: Batch
    values: torch.Tensor
    weights: torch.Tensor


class Alignment(Penalty):
    """The part of a method that brings the domains together; a subclass writes :meth:`align`.

    Parameters
    ----------
    trade_off : float
        Weight of the loss, or of the reversed gradient of an adversary.
    trade_off_schedule : {"ramp", "constant"}
        Whether the weight grows from 0 over the training.
    separate : bool
        Whether each source domain is aligned by itself, with a `part` of its own.
    apart : bool, default=False
        Whether BatchNorm normalises source and target by themselves; see :class:`ApartStatistics`.
    smoothness : float, default=0.0
        Of :class:`Penalty`.
    """

    def __init__(
        self,
        trade_off: float,
        trade_off_schedule: str,
        separate: bool,
        apart: bool = False,
        smoothness: float = 0.0,
    ):
        self.trade_off = trade_off
        self.trade_off_schedule = trade_off_schedule
        self.separate = separate
        self.apart = apart
        self.smoothness = smoothness
        self._seen: dict[str, list[float]] = {}

    def build(self, n_features: int, n_outputs: int) -> nn.Module | None:
        """Build what the method trains beside the network, such as a discriminator; None for nothing."""
        return None

    def align(
        self, part: nn.Module | None, source: Side, target: Side, strength: float, module: TunedModule
    ) -> torch.Tensor:
        """Compute what the alignment of a batch adds to the loss.

        Parameters
        ----------
        part : torch.nn.Module or None
            From :meth:`build`.
        source, target : Side
            At least two rows each.
        strength : float
            The trade-off at this step.
        module : TunedModule
            In training mode.

        Returns
        -------
        torch.Tensor of shape ()
        """
        raise NotImplementedError

    def attach(self, module: TunedModule, setup: PenaltySetup) -> None:
        """Give `module` what the method trains beside it."""
        self.n_groups = setup.n_sources if self.separate else 1
        built = (self.build(module.head.in_features, setup.n_outputs) for _ in range(self.n_groups))
        parts = [part for part in built if part is not None]
        module.alignment = nn.ModuleList(parts) if parts else None
        self._statistics = ApartStatistics((module.body, module.neck)) if self.apart else None

    def begin_step(self, rows: Rows) -> None:
        """Tell BatchNorm whose rows they are."""
        if self._statistics is not None:
            domains: Any = rows.domain
            self._statistics.begin_step(domains == TARGET)

    @property
    def follows_progress(self) -> bool:  # type: ignore[override]  # nobody sets it
        """Whether the trade-off grows over the training."""
        return self.trade_off_schedule == "ramp"

    def strength(self, module: TunedModule) -> float:
        """Give the trade-off at this step."""
        return self.trade_off * (ramp(module.progress) if self.trade_off_schedule == "ramp" else 1.0)

    def __call__(self, module: TunedModule, inputs: torch.Tensor, outputs: Outputs, rows: Rows) -> torch.Tensor:
        """Compute what a training step adds to its loss: the mean over the groups of sources in the batch."""
        everything = Side(outputs.features, outputs.scores, inputs, rows.values, rows.weights)
        labelled, target = (
            Side(*(take_rows_of(part, side) for part in everything)) for side in (rows.labelled, rows.target)
        )
        domains: Any = rows.domain  # given, where domains are aligned
        domain = domains[rows.labelled]
        losses, self._seen = [], {}
        for group in range(self.n_groups):
            chosen = domain == group + 1 if self.separate else domain != TARGET
            if chosen.sum() > 1:
                source = Side(*(take_rows_of(part, chosen) for part in labelled))
                part = None if module.alignment is None else module.alignment[group]
                losses.append(self.align(part, source, target, self.strength(module), module))
        return torch.stack(losses).mean() if losses else outputs.scores.sum() * 0

    def note(self, name: str, value: torch.Tensor) -> None:
        """Keep a figure of the step for the history: the mean over the groups of sources."""
        self._seen.setdefault(name, []).append(value.item())

    @property
    def figures(self) -> dict[str, float]:  # type: ignore[override]  # nobody sets it
        """Figures of the last step."""
        return {name: sum(values) / len(values) for name, values in self._seen.items()}

    def detach(self, module: TunedModule) -> None:
        """Drop what was trained for the alignment alone."""
        module.alignment = None
        if self._statistics is not None:
            self._statistics.end()


def ramp(progress: float) -> float:
    """Grow from 0 to 1 over a training: ``2 / (1 + exp(-10 p)) - 1`` [1]_.

    References
    ----------
    .. [1] Ganin, Y. et al. "Domain-Adversarial Training of Neural Networks", JMLR 17, 2016.
    """
    return 2 / (1 + math.exp(-10 * progress)) - 1


class _Reversal(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, x: torch.Tensor, strength: float) -> torch.Tensor:
        context.strength = strength
        return x.view_as(x)

    @staticmethod
    def backward(context: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        return -context.strength * gradient, None


def reverse_gradient(x: torch.Tensor, strength: float) -> torch.Tensor:
    """Give `x`, but its gradient times ``-strength``: what made it learns the opposite of what uses it."""
    return _Reversal.apply(x, strength)


def discriminator(n_inputs: int, hidden: int | Sequence[int], n_outputs: int = 1) -> nn.Sequential:
    """Build layers (linear, BatchNorm, ReLU) of the widths `hidden` and a linear one that gives domain scores.

    Where each domain is passed by itself, BatchNorm takes its mean and variance away, so that the discriminator has to
    find more than these and learns no faster than the features can follow. Where the domains differ in their classes,
    these means are no shift, and both belong into one pass.
    """
    widths = [n_inputs, *(hidden if isinstance(hidden, Iterable) else [hidden])]
    layers: list[nn.Module] = []
    for n_in, n_out in itertools.pairwise(widths):
        layers += [nn.Linear(n_in, n_out), nn.BatchNorm1d(n_out), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(widths[-1], n_outputs))


def domain_loss(
    source_scores: torch.Tensor,
    target_scores: torch.Tensor,
    source_weights: torch.Tensor | None = None,
    target_weights: torch.Tensor | None = None,
) -> torch.Tensor:
    """Binary cross-entropy of a discriminator, each domain counting one half.

    Parameters
    ----------
    source_scores, target_scores : torch.Tensor of shape (n, 1) and (m, 1)
        Log-odds of being a source row.
    source_weights, target_weights : torch.Tensor of shape (n,) and (m,) or None, default=None
        Weights of the rows within their domain.

    Returns
    -------
    torch.Tensor of shape ()
    """

    def mean(losses, weights):
        losses = losses.squeeze(1)
        return losses.mean() if weights is None else (losses * weights).sum() / weights.sum().clamp_min(1e-12)

    source = mean(functional.softplus(-source_scores), source_weights)
    return (source + mean(functional.softplus(target_scores), target_weights)) / 2


def domain_accuracy(source_scores: torch.Tensor, target_scores: torch.Tensor) -> torch.Tensor:
    """Share of right decisions of a discriminator, each domain counting one half: 0.5 where it is fooled.

    Parameters
    ----------
    source_scores, target_scores : torch.Tensor of shape (n, 1) and (m, 1)
        Log-odds of being a source row.

    Returns
    -------
    torch.Tensor of shape ()
    """
    return ((source_scores > 0).float().mean() + (target_scores <= 0).float().mean()) / 2
