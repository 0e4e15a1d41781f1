"""The last part of a backbone, to be trained."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import nn

from sktransfer.backbones._stages import Chain, forward_features, pre_logits, strip_classifier
from sktransfer.backbones._timm import reset_classifier
from sktransfer.backbones._weights import classifier_names
from sktransfer.utils._hooks import forward_hooks

if TYPE_CHECKING:
    from sktransfer.backbones._backbone import Tap

__all__ = ["Suffix", "put_classifier"]


class Suffix(nn.Module):
    """The last part of a backbone, from a stage boundary (or the picture, ``start=0``) to its pooled features.

    Parameters of the copied network keep their timm names under ``model.``.
    """

    def __init__(self, module: nn.Module, chain: Chain | None, start: int, n_features: int):
        super().__init__()
        self.chain = chain
        self.start = start
        self.n_features = n_features
        drop = () if chain is None or not start else chain.steps_before(start)
        self.model = strip_classifier(module, classifier_names(module), drop)

    def forward(
        self, x: torch.Tensor, start: int | None = None, keep: list[torch.Tensor] | None = None
    ) -> torch.Tensor:
        """Map boundary features ``(n, ...)`` to pooled features ``(n, n_features)``.

        Parameters
        ----------
        x : torch.Tensor
            Output of the stages before `start`.
        start : int or None, default=None
            Boundary at which to enter, not before the suffix's own, which None stands for.
        keep : list or None, default=None
            Takes the outputs of the stages; of a network that does not tell its stages, the last feature map.
        """
        start = self.start if start is None else start
        if self.chain is not None and (start or keep is not None):
            last = self.chain.run(self.model, x, start=start, keep=keep)
        else:
            last = forward_features(self.model, x)
            if keep is not None:
                keep.append(last)
        return pre_logits(self.model, last)

    def outputs(self, x: torch.Tensor, start: int, taps: "Sequence[Tap]") -> list[torch.Tensor]:
        """Give what layers put out, as they lay it out, of a pass that goes no further than it must.

        Parameters
        ----------
        x : torch.Tensor
            Output of the stages before `start`.
        start : int
            Boundary at which to enter, not before the suffix's own; 0 unless all of `taps` are stages.
        taps : sequence of Tap
        """
        if all(tap.kind == "stage" for tap in taps) and self.chain is not None:
            keep: list[torch.Tensor] = []
            last = max(int(tap.where) for tap in taps)
            self.chain.run(self.model, x, start=start, stop=last + 1, keep=keep)
            return [keep[int(tap.where) - start] for tap in taps]
        found: dict[Tap, torch.Tensor] = {}
        parts = {self.model.get_submodule(str(tap.where)): tap for tap in taps if tap.kind == "module"}
        with forward_hooks(parts, lambda part, _inputs, output: found.update({parts[part]: output})):
            last_map = forward_features(self.model, x)
        found.update({tap: last_map for tap in taps if tap.kind == "map"})
        return [found[tap] for tap in taps]


def put_classifier(module: nn.Module, head: nn.Linear) -> bool:
    """Put a trained layer in place of the classifiers of a network, unless it has none or they see other features."""
    names = classifier_names(module)
    if names:
        reset_classifier(module, head.out_features)
    parts = [part for name, part in module.named_modules() if name in names]
    fits = bool(parts) and all(isinstance(p, nn.Linear) and p.in_features == head.in_features for p in parts)
    for part in parts if fits else ():
        part.load_state_dict(head.state_dict())
    return fits
