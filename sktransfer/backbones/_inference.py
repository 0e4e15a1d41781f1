"""A private copy of a network for inference: BatchNorm folded into convolutions, channels last."""

import copy
from collections import Counter
from typing import NamedTuple

import torch
from torch import nn

from sktransfer.backbones._stages import forward_features, pre_logits
from sktransfer.modalities import Modality
from sktransfer.utils._batch import map_tensors
from sktransfer.utils._hooks import forward_hooks

__all__ = ["InferenceCopy", "inference_copy"]

# Convolutions that compute with their weights as they stand; others derive them anew in each pass.
_CONVOLUTIONS = {"Conv2d", "Conv2dSame"}
# A folded network must agree with the given one to these shares of the largest value of the last feature map and of the
# pooled features: rounding alone moves single values of a map by 2e-5 (MobileNetV2), of features by 2e-6.
_TOLERANCES = 1e-4, 1e-5


class InferenceCopy(NamedTuple):
    """A network that gives the same outputs in less time.

    Attributes
    ----------
    module : torch.nn.Module
    changed : frozenset of str
        Names of modules of the given network that give something else here, or are not here.
    """

    module: nn.Module
    changed: frozenset[str]


def inference_copy(module: nn.Module, modality: Modality) -> InferenceCopy:
    """Copy a network, with each BatchNorm folded into the convolution before it, and its convolutions channels last.

    With gain g, bias b, mean m and variance v of a BatchNorm, the convolution takes the weights W g / sqrt(v + eps) and
    adds b - m g / sqrt(v + eps). Which convolution feeds which BatchNorm alone is seen in a forward pass. A copy whose
    features are not those of the network, to 1e-5 of the largest, is not used.

    Parameters
    ----------
    module : torch.nn.Module
        In eval mode; not changed. All weights but those of convolutions are shared with the copy.
    modality : Modality
        What it takes.

    Returns
    -------
    InferenceCopy
        The network itself where it has no convolution to gain by, or where the copy does not agree.
    """
    x = modality.example(1, seed=0)
    convolutions = [part for part in module.modules() if isinstance(part, nn.Conv2d)]
    # Tensors born in inference mode could never be part of a computation with gradients, such as an explanation.
    with torch.inference_mode(False), torch.no_grad():
        expected, pairs = _trace(module, x)
        if not pairs:
            return InferenceCopy(module, frozenset())
        # What is not folded is shared: deepcopy takes a tensor that it finds here for its own copy.
        own = {id(tensor) for part in convolutions for tensor in (part.weight, part.bias) if tensor is not None}
        tensors = [*module.parameters(), *module.buffers()]
        folded = copy.deepcopy(module, {id(tensor): tensor for tensor in tensors if id(tensor) not in own})
        changed = set()
        for conv, norm in pairs:
            changed |= _fold(folded, conv, norm)
        for part in folded.modules():
            if isinstance(part, nn.Conv2d):
                part.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # unknown to torch's stubs
        got = _outputs(folded, map_tensors(_channels_last, x))
    pairs = zip(expected, got, _TOLERANCES, strict=True)
    if all((theirs - ours).abs().max() <= share * theirs.abs().max() for theirs, ours, share in pairs):
        return InferenceCopy(folded, frozenset(changed))
    return InferenceCopy(module, frozenset())


def _channels_last(x):
    return x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x


def _outputs(module, x):
    """Give the last feature map and the pooled features."""
    last = forward_features(module, x)
    return last, pre_logits(module, last)


def _trace(module, x):
    """Run `module`; return its outputs and the names of convolutions and of the BatchNorms that they feed."""
    names = {part: name for name, part in module.named_modules() if not _has_hooks(part)}
    calls, made_by, pairs, kept = Counter(), {}, [], []

    def see(part, inputs, output):
        calls[part] += 1
        if isinstance(part, nn.BatchNorm2d):
            pairs.append((made_by.get(id(inputs[0])), part))
        else:
            made_by[id(output)] = part
            kept.append(output)  # as long as it lives, no other tensor has its id

    of_interest = [
        part for part in module.modules() if isinstance(part, nn.BatchNorm2d) or type(part).__name__ in _CONVOLUTIONS
    ]
    with forward_hooks(of_interest, see):
        outputs = _outputs(module, x)
    once = [(conv, norm) for conv, norm in pairs if {conv, norm} <= names.keys() and calls[conv] == calls[norm] == 1]
    return outputs, [(names[conv], names[norm]) for conv, norm in once if norm.running_mean is not None]


def _has_hooks(part):
    """Whether something more than its forward pass happens to a module: weights made anew, for instance."""
    return bool(part._forward_hooks or part._forward_pre_hooks)


def _fold(model, conv_name, norm_name):
    """Fold one BatchNorm of `model` into its convolution; return the names of what is no longer what it was."""
    conv, norm = model.get_submodule(conv_name), model.get_submodule(norm_name)
    gain = 1.0 if norm.weight is None else norm.weight.double()
    scale = gain / (norm.running_var.double() + norm.eps).sqrt()
    shift = (0.0 if norm.bias is None else norm.bias.double()) - norm.running_mean.double() * scale
    if conv.bias is not None:
        shift = shift + conv.bias.double() * scale
    weight = conv.weight.double() * scale[:, None, None, None]
    conv.weight = nn.Parameter(weight.to(conv.weight.dtype), requires_grad=False)
    conv.bias = nn.Parameter(shift.to(conv.weight.dtype), requires_grad=False)
    # timm's BatchNorm may carry the activation behind it.
    rest = [part for part in norm.children() if not isinstance(part, nn.Identity)]
    model.set_submodule(norm_name, nn.Sequential(*rest) if rest else nn.Identity())
    # What holds the convolution but not its BatchNorm may end with it.
    parts = conv_name.split(".")
    around = [".".join(parts[:depth]) for depth in range(1, len(parts) + 1)]
    inside = [f"{norm_name}.{name}" for name, _ in norm.named_modules() if name]
    return {*(name for name in around if not f"{norm_name}.".startswith(f"{name}.")), *inside}
