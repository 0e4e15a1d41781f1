"""What penalties share: the source network beside the trained one, its classifier, and exact numbers."""

import torch
from torch import nn

from sktransfer._nets import Penalty
from sktransfer.backbones import Backbone

__all__ = ["NearSource", "Penalty", "copy_classifier", "exact", "move", "precise"]


class NearSource(Penalty):
    """A penalty that needs the source network beside the trained one."""

    def attach(self, module, setup):
        """Build the source network behind the frozen part: ``source``, or None where there is nothing behind it."""
        # Not a copy of the body: that one may have been trained before (partial_fit), or carry low-rank matrices.
        self.source = None if isinstance(module.body, nn.Identity) else setup.backbone.suffix(module.body.start)
        if self.source is not None:
            self.source.eval().requires_grad_(False)
            if module.channels_last:
                self.source.to(memory_format=torch.channels_last)

    def detach(self, module):
        """Drop the source network."""
        self.source = None

    def run_source(self, module, inputs, keep=None):
        """Pooled features of the source network for a batch, and in `keep` the outputs of its stages."""
        if module.entry is None:
            return inputs
        move(self.source, inputs.device)
        with torch.no_grad():
            return self.source(module.arranged(inputs), module.entry, keep)


def copy_classifier(backbone: Backbone, regularizer: str) -> nn.Linear:
    """Copy the linear classifier of the source task of `backbone`, to learn.

    Parameters
    ----------
    backbone : Backbone
    regularizer : str
        Who needs it, for messages.

    Raises
    ------
    ValueError
        If the weights came without one, or it is not one linear layer on the pooled features.
    """
    others = "or a regularizer that needs no classifier: 'l2-sp', 'delta', 'bss', 'stochnorm' or 'rkd'"
    if not backbone.has_source_classifier:
        raise ValueError(
            f"regularizer={regularizer!r} needs the classifier of the source task, and the weights of {backbone.name} "
            f"came without one. Pass a backbone whose weights hold it (published ImageNet weights do), {others}."
        )
    get = getattr(backbone.module, "get_classifier", None)
    part = get() if get is not None else None
    if not isinstance(part, nn.Linear) or part.in_features != backbone.n_features:
        found = f"a {type(part).__name__}" if not isinstance(part, nn.Linear) else f"on {part.in_features} inputs"
        raise ValueError(
            f"regularizer={regularizer!r} needs a source classifier that is one linear layer on the "
            f"{backbone.n_features} pooled features; that of {backbone.name} is {found}. Pass another backbone, "
            f"{others}."
        )
    copy = nn.Linear(part.in_features, part.out_features, bias=part.bias is not None)
    copy.load_state_dict(part.state_dict())
    return copy


def move(module: nn.Module, device: torch.device) -> None:
    """Bring a module to the device of what it is given."""
    if next(module.parameters()).device != device:
        module.to(device)


def precise(x: torch.Tensor) -> torch.Tensor:
    """Take half precision to single: squares and exponentials of half precision overflow."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def exact(x: torch.Tensor) -> torch.autocast:
    """Switch autocast off: products in half precision would drown what is small."""
    return torch.autocast(x.device.type, enabled=False)
