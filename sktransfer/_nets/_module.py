"""The module that trains: the last part of a backbone and a new head."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import nn

from sktransfer._nets._freezing import TrainingPlan, is_batch_norm
from sktransfer._nets._lora import add_adapters, merge_adapters
from sktransfer.backbones import Backbone
from sktransfer.utils._batch import Batch

__all__ = ["Outputs", "TunedModule", "is_convolutional"]


class Outputs(NamedTuple):
    """What a :class:`TunedModule` gives: scores ``(n, n_outputs)``, what the head saw ``(n, d)``, outputs of stages."""

    scores: torch.Tensor
    features: torch.Tensor
    maps: list[torch.Tensor]


class TunedModule(nn.Module):
    """A head on the trainable part of a backbone.

    Parameters
    ----------
    backbone : Backbone
        Its part behind the plan's boundary is copied.
    plan : TrainingPlan
    n_outputs : int
        Classes or targets.
    frozen_batch_norm : bool, default=False
        Whether BatchNorm keeps the statistics of the source where its parameters learn too.
    neck : sequence of int, default=()
        Widths of new layers between pooled features and head.

    Attributes
    ----------
    entry : int or None
        Boundary at which inputs enter; None for pooled features.
    keep_maps : bool
        Whether outputs hold the outputs of the stages.
    source_head : torch.nn.Linear or None
        A copy of the classifier of the source task that learns too, while a penalty needs one.
    alignment : torch.nn.Module or None
        What else learns while a penalty needs it, such as a discriminator of domains.
    progress : float
        Share of the training that is over, from 0 to 1.
    feature_scale : float
        By what pooled features are multiplied, for a head that learns as fast whatever the network.
    channels_last : bool
        Whether weights and maps lie in memory channel by channel of a pixel, rather than plane by plane.
    """

    def __init__(
        self,
        backbone: Backbone,
        plan: TrainingPlan,
        n_outputs: int,
        *,
        frozen_batch_norm: bool = False,
        neck: Sequence[int] = (),
    ):
        super().__init__()
        widths = [backbone.n_features, *neck]
        layers = nn.Sequential(*(_neck_layer(*pair) for pair in itertools.pairwise(widths)))
        self._put_together(backbone, plan, layers, nn.Linear(widths[-1], n_outputs), frozen_batch_norm)

    def _put_together(
        self, backbone: Backbone, plan: TrainingPlan, neck: nn.Module, head: nn.Module, frozen_batch_norm: bool
    ) -> None:
        self.body = nn.Identity() if plan.start is None else backbone.suffix(plan.start)
        self.neck = neck
        self.head: Any = head  # a linear layer, unless a subclass has another
        self.source_head = None
        self.alignment: nn.ModuleList | None = None
        self.progress = 0.0
        self.keep_maps = False
        self.channels_last = False
        self.frozen_batch_norm = frozen_batch_norm
        is_of_length_1 = getattr(backbone.module, "normalize", False) is True
        self.feature_scale = backbone.n_features**0.5 if is_of_length_1 else 1.0
        self.stage_of = backbone.stage_of
        self.n_stages = len(backbone.stage_names)
        self.enter(plan)

    @property
    def neck_widths(self) -> list[int]:
        """Widths of the layers between pooled features and head."""
        return [layer.out_features for layer in self.neck.modules() if isinstance(layer, nn.Linear)]

    @property
    def names(self) -> dict[str, nn.Parameter]:
        """Parameters of the body by their timm names."""
        return {} if isinstance(self.body, nn.Identity) else dict(self.body.model.named_parameters())

    def enter(self, plan: TrainingPlan) -> None:
        """Let the parameters of `plan` learn, and no others of the body, inputs coming in at its boundary."""
        self.entry = plan.start
        for name, parameter in self.names.items():
            owner, adapter, _ = name.partition(".lora_")
            learns = adapter and f"{owner}.weight" in plan.learns if plan.lora else name in plan.learns
            parameter.requires_grad_(bool(learns))
        self.train(self.training, refresh=True)

    @property
    def told(self) -> dict[str, Any] | None:
        """Say, in plain values for a file, what is put on the backbone; None for a linear layer on pooled features."""
        return None

    def example(self, backbone: Backbone) -> Batch:
        """Make what one blank sample is where it enters."""
        x = backbone.modality.example(1)
        return x if self.entry == 0 else backbone.boundary(x, self.entry)

    def adapt(self, plan: TrainingPlan, rank: int) -> None:
        """Add low-rank matrices to the layers that `plan` names."""
        add_adapters(self.body.get_submodule("model"), {name.removesuffix(".weight") for name in plan.learns}, rank)
        self.enter(plan)

    def merge(self) -> None:
        """Add what low-rank matrices learned to the weights that they belong to, and drop them."""
        if self.names:
            merge_adapters(self.body.get_submodule("model"))

    def arrange(self, channels_last: bool) -> None:
        """Let the weights lie in memory as convolutions are fastest, or (the default) as everyone expects them."""
        self.channels_last = channels_last
        layout = torch.channels_last if channels_last else torch.contiguous_format
        self.to(memory_format=layout)  # type: ignore[call-overload]  # unknown to torch's stubs

    def arranged(self, x: torch.Tensor) -> torch.Tensor:
        """Let pictures or maps lie in memory as the weights do."""
        return x.contiguous(memory_format=torch.channels_last) if self.channels_last and x.ndim == 4 else x

    def forward(self, x: Any) -> Outputs:
        """Map boundary features (or pictures) ``(n, ...)`` to scores and features."""
        return self.run(x, self.entry)

    def run(self, x: Any, entry: int | None) -> Outputs:
        """Map the input of boundary `entry` to scores and features."""
        maps: list[torch.Tensor] | None = [] if self.keep_maps and self.training else None
        pooled = x if entry is None else self.body(self.arranged(x), entry, maps)
        features = self.neck(pooled if self.feature_scale == 1 else pooled * self.feature_scale)
        return Outputs(self.head(features), features, maps or [])

    def train(self, mode: bool = True, refresh: bool = False) -> "TunedModule":
        """Switch to training mode; what learns nothing stays in eval mode, frozen BatchNorm with its statistics."""
        if mode == self.training and not refresh:
            return self  # once a step, and going through all layers takes its time
        super().train(mode)
        if mode:
            _evaluate_frozen_parts(self.body)
            for module in self.body.modules() if self.frozen_batch_norm else ():
                if is_batch_norm(module):
                    module.eval()
        return self

    def group_matcher(self, coarse: bool = False) -> Callable[[str], tuple[int]]:
        """Tell timm the order of the layers: stem, stages (what follows the last goes with it), head."""

        def ordinal(name):
            if not name.startswith("body.model."):
                return (self.n_stages,)
            # An adapted layer keeps its weight as a base layer beside the added matrices.
            layer, adapted, _ = name.removeprefix("body.model.").replace(".base_layer.", ".").partition(".lora_")
            stage = self.stage_of[f"{layer}.weight" if adapted else layer]
            return (min(stage, self.n_stages - 1),)

        return ordinal


def is_convolutional(module: nn.Module) -> bool:
    """Whether a network consists of convolutions more than of products of matrices, as transformers do."""
    kinds = [type(layer) for layer in module.modules()]
    return sum(issubclass(kind, nn.Conv2d) for kind in kinds) > sum(issubclass(kind, nn.Linear) for kind in kinds)


def _neck_layer(n_in, n_out):
    # Statistics of source and target rows together, as both are in every batch.
    return nn.Sequential(nn.Linear(n_in, n_out, bias=False), nn.BatchNorm1d(n_out), nn.ReLU())


def _evaluate_frozen_parts(module: nn.Module) -> None:
    for child in (module, *module.children()):
        parameters = list(child.parameters())
        if parameters and not any(parameter.requires_grad for parameter in parameters):
            child.eval()
        elif child is not module:
            _evaluate_frozen_parts(child)
