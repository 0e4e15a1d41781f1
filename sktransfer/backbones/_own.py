"""Networks of one's own: where their features, their classifier and their stages are, seen in one forward pass."""

import copy
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import nn

from sktransfer.utils._messages import first_line
from sktransfer.utils._random import isolated_rng

__all__ = ["STAGE_RUNS", "Layout", "one_tensor", "own_copy", "single_tensor", "with_layout"]

# Names of stages one after another.
STAGE_RUNS: tuple[tuple[str, ...], ...] = (("layer1", "layer2", "layer3", "layer4"), ("s1", "s2", "s3", "s4"))

_RUNS_WRONG = (RuntimeError, TypeError, ValueError, AssertionError, ArithmeticError, LookupError, AttributeError)
_ENTRIES = ("logits", "pooler_output", "last_hidden_state")  # of outputs that are objects, as transformers gives them
_SHARE = 0.9  # of the weights: a part that holds more of them is gone into in the search for stages
_TRUNK = 0.4  # likewise, where that part alone has like blocks one after another
_MOST_PREFIX_TOKENS = 16


class Layout(NamedTuple):
    """What was seen of a network; names are those of its modules.

    Attributes
    ----------
    classifier : str or None
        The last linear layer (or 1 x 1 convolution), whose input are the features; None where the output is.
    stages : tuple of str
    last_map : str or None
        Module that gives the last output with positions.
    n_prefix : int
        Tokens in front of those of the patches.
    grid : tuple of int or None
        Height and width of the grid of patches, where there are tokens.
    """

    classifier: str | None
    stages: tuple[str, ...]
    last_map: str | None
    n_prefix: int
    grid: tuple[int, int] | None


class _Call(NamedTuple):
    name: str
    module: nn.Module
    given: torch.Tensor | None
    output: torch.Tensor | None


def own_copy(module: nn.Module) -> nn.Module:
    """Copy a network without what wraps it (DataParallel, averages, ``torch.compile``), on the CPU, in float32.

    Raises
    ------
    ValueError
        If it cannot be copied, or is a compiled graph that cannot be looked into.
    """
    wrappers = nn.parallel.DataParallel, nn.parallel.DistributedDataParallel, torch.optim.swa_utils.AveragedModel
    while isinstance(module, wrappers) or isinstance(getattr(module, "_orig_mod", None), nn.Module):
        module = getattr(module, "module" if isinstance(module, wrappers) else "_orig_mod")
    name = type(module).__name__
    scripted = [part for part in module.modules() if isinstance(part, torch.jit.ScriptModule)]
    if any(True for part in scripted for _ in part.parameters()):
        raise ValueError(
            f"backbone is a {name} of TorchScript, whose features before its last layer cannot be taken. Pass the "
            "network that it was made from: network.load_state_dict(scripted.state_dict()), then backbone=network."
        )
    tensors = [*module.parameters(), *module.buffers()]
    if any(nn.parameter.is_lazy(tensor) or tensor.is_meta for tensor in tensors):
        raise ValueError(
            f"backbone is a {name} with weights that are not there yet (lazy, or on the device 'meta'). Run it once on "
            "a picture, or load its weights, before it is passed."
        )
    try:
        return copy.deepcopy(module).float().cpu()
    except _RUNS_WRONG as error:
        raise ValueError(
            f"backbone is a {name} that cannot be copied: {first_line(error)}. Pass a network whose attributes can be."
        ) from error


def one_tensor(output: Any) -> torch.Tensor | None:
    """Find the one tensor that is meant in what a network gives: of several maps the last; None where there is none.

    Of an object or dictionary the entry "logits", "pooler_output" or "last_hidden_state", or else its last tensor; of
    a tuple or list the first if it is ``(n, d)``, and else the last.
    """
    if output is None or isinstance(output, torch.Tensor):
        return output
    entry = _entry(output)
    if entry is not None:
        return output[entry] if isinstance(output, Mapping) else getattr(output, entry)
    values = output.values() if isinstance(output, Mapping) else output
    if not isinstance(values, tuple | list) and not isinstance(output, Mapping):
        return None
    tensors = [tensor for tensor in map(one_tensor, values) if tensor is not None]
    if not tensors:
        return None
    return tensors[0] if tensors[0].ndim == 2 and not isinstance(output, Mapping) else tensors[-1]


def single_tensor(output: Any, layer: int | str) -> torch.Tensor:
    """Give the tensor that is meant in the output of a layer, or say that it has none."""
    found = one_tensor(output)
    if found is None:
        raise ValueError(f"layer={layer!r} gives {type(output).__name__}, not one tensor; pass another layer.")
    return found


def with_layout(module: nn.Module, name: str, size: tuple[int, int] | None) -> nn.Module:
    """Look at a network in a forward pass and note in it what was seen, as timm notes it of its own.

    Parameters
    ----------
    module : torch.nn.Module
        Owned by the caller, in eval mode.
    name : str
        For messages.
    size : tuple of int or None
        Height and width of the pictures; None for what the network says, else 224.

    Raises
    ------
    ValueError
        If it does not take pictures, or gives no tensor.
    """
    if hasattr(module, "forward_features"):  # timm's own, or made after it
        return module
    first = next(((n, m) for n, m in module.named_modules() if isinstance(m, nn.Conv2d)), None)
    channels = 3 if first is None else first[1].in_channels
    config = dict(getattr(module, "pretrained_cfg", None) or {})
    given = config.get("input_size") or (channels, *_own_size(module))
    input_size = (channels, *(size or tuple(given)[1:]))
    # In a copy: what a pass changes of a network, a counter for instance, is not to be changed of this one.
    weights = {id(parameter): parameter for parameter in module.parameters()}
    with isolated_rng(0):
        calls, output = _watch(copy.deepcopy(module, weights), name, input_size)
    x = one_tensor(output)
    if x is None or x.ndim not in (2, 3, 4):
        shown = type(output).__name__ if x is None else f"a tensor of shape {tuple(x.shape)}"
        raise ValueError(
            f"backbone={name} gives {shown}; expected features (n, d) or a map. Wrap it in a torch.nn.Module whose "
            "forward returns one of them."
        )
    classifier = _classifier(calls, x, output)
    config.update(input_size=given, first_conv=None if first is None else first[0])
    if channels not in (1, 3):  # one number for all, as for a picture whose channels are alike
        config.update({key: (sum(values) / len(values),) * channels for key, values in _scales(config).items()})
    if classifier is not None and isinstance(module.get_submodule(classifier), nn.Linear):
        config["classifier"] = classifier
    noted: Any = module  # torch declares no other attributes than tensors and modules
    noted.pretrained_cfg = config
    called = {call.name for call in calls}
    before = calls[: next((i for i, call in enumerate(calls) if call.name == classifier), len(calls))]
    stages = tuple(_stages(module, "", called, classifier))
    inside = tuple(f"{stage}." for stage in stages)
    maps = [
        call
        for call in before
        if call.name
        and not call.name.startswith(inside)
        and _has_positions(call.output, 1 if call.name in stages else 2)
    ]
    grid, n_prefix = _tokens(calls, maps[-1].output if maps else x)
    noted._sktransfer_layout = Layout(classifier, stages, maps[-1].name if maps else None, n_prefix, grid)
    return module


def _scales(config):
    """Mean and standard deviation that a network says, ImageNet's where it says none."""
    return {"mean": config.get("mean") or (0.485, 0.456, 0.406), "std": config.get("std") or (0.229, 0.224, 0.225)}


def _own_size(module) -> tuple[int, int]:
    """Height and width that a network says it takes, as torchvision's and transformers' do."""
    for holder in (getattr(module, "config", None), module):
        size = getattr(holder, "image_size", None)
        if isinstance(size, int) and size > 0:
            return size, size
        if isinstance(size, tuple | list) and len(size) == 2 and all(isinstance(side, int) for side in size):
            return tuple(size)
    return 224, 224


def _watch(module, name, input_size):
    """Run one random picture through; give what each part was given and gave, in the order in which they ended."""
    calls = []

    def see(part, inputs, output, path):
        given = one_tensor(inputs) if inputs else None
        calls.append(_Call(path, part, given, one_tensor(output)))

    handles = [
        part.register_forward_hook(lambda part, inputs, output, path=path: see(part, inputs, output, path))
        for path, part in module.named_modules()
        if not isinstance(part, torch.jit.ScriptModule)  # takes no hooks
    ]
    x = torch.randn((1, *input_size), generator=torch.Generator().manual_seed(0))
    try:
        with torch.no_grad():
            return calls, module(x)
    except _RUNS_WRONG as error:
        raise ValueError(_not_taken(module, name, input_size, error)) from error
    finally:
        for handle in handles:
            handle.remove()


def _not_taken(module, name, input_size, error):
    parts = list(module.modules())
    linear = next((part for part in parts if isinstance(part, nn.Linear)), None)
    if linear is not None and not any(isinstance(part, nn.Conv2d) for part in parts):
        return (
            f"backbone={name} takes rows of {linear.in_features} numbers, not pictures of shape {input_size}: "
            f"{first_line(error)}. For flattened pictures pass torch.nn.Sequential(torch.nn.Flatten(), network) with "
            "the image_size whose pixels are as many; for a table a scikit-learn estimator does."
        )
    return (
        f"backbone={name} does not take pictures of shape {input_size} (channels, height, width): {first_line(error)}. "
        "Pass another image_size."
    )


def _classifier(calls, x, output) -> str | None:
    """Name of the last layer with weights where it makes the scores; what has weights behind it makes features."""
    if x.ndim != 2 or _entry(output) not in (None, "logits"):
        return None
    layers = [call for call in calls if not any(True for _ in call.module.children())]
    leaves = [call for call in layers if any(True for _ in call.module.parameters())]
    if not leaves or leaves[-1].output is None or leaves[-1].given is None:
        return None
    name, layer, _, scores = leaves[-1]
    if isinstance(layer, nn.Linear) and name and scores.shape[-1] == x.shape[-1]:
        return name
    is_pointwise = isinstance(layer, nn.Conv2d) and layer.kernel_size == (1, 1)
    return name if is_pointwise and name and scores.shape[1] == x.shape[1] else None


def _entry(output) -> str | None:
    """Name of the entry of an object that :func:`one_tensor` takes."""
    for entry in _ENTRIES:
        value = output.get(entry) if isinstance(output, Mapping) else getattr(output, entry, None)
        if isinstance(value, torch.Tensor):
            return entry
    return None


def _has_positions(output, least) -> bool:
    if output is None or output.ndim not in (3, 4):
        return False
    return (output.shape[1] if output.ndim == 3 else output[0, 0].numel()) >= least


def _tokens(calls, last):
    """Grid of the patches, and how many tokens stand before them."""
    if last.ndim != 3:
        return None, 0
    for call in calls:
        if isinstance(call.module, nn.Conv2d) and call.output is not None and call.output.ndim == 4:
            grid = tuple(call.output.shape[2:])
            rest = last.shape[1] - grid[0] * grid[1]
            if 0 <= rest <= _MOST_PREFIX_TOKENS:
                return grid, rest
    return None, 0


def _stages(node, path, called, classifier) -> Iterator[str]:
    """Parts that run one after another: children with weights, of the part that holds nearly all of them."""
    kids = list(_kids(node, path, called, classifier))
    sizes = [sum(p.numel() for p in part.parameters()) for _, part in kids]
    largest = max(range(len(kids)), key=sizes.__getitem__, default=None)
    if largest is None:
        return
    name, part = kids[largest]
    is_sequence = isinstance(node, nn.Sequential | nn.ModuleList) and len(kids) > 1
    # The only part with like blocks one after another is the trunk of a transformer, however large its patches are.
    trunks = [name for name, part in kids if any(_is_run(inner) for inner in part.modules())]
    share = _TRUNK if trunks == [name] else _SHARE
    if not is_sequence and sizes[largest] >= share * sum(sizes) and any(_kids(part, name, called, classifier)):
        yield from _stages(part, name, called, classifier)
        return
    last_names = {name.rpartition(".")[2]: name for name, _ in kids}
    known = next((run for run in STAGE_RUNS if last_names.keys() >= set(run)), None)
    if known is not None:
        yield from (last_names[name] for name in known)
        return
    runs = [name for name, part in kids if any(True for _ in part.children())]
    yield from runs if len(runs) > 1 else [name for name, _ in kids]


def _is_run(part) -> bool:
    kinds = [type(block) for block in part.children()]
    return isinstance(part, nn.Sequential | nn.ModuleList) and len(kinds) > 1 and len(set(kinds)) == 1


def _kids(node, path, called, classifier):
    """Children with weights that run; the one with the classifier only where it is alone."""
    kids = [
        (f"{path}.{name}" if path else name, part)
        for name, part in node.named_children()
        if any(True for _ in part.parameters())
    ]
    kids = [(name, part) for name, part in kids if any(f"{c}.".startswith(f"{name}.") for c in called)]
    rest = [(name, part) for name, part in kids if classifier is None or not f"{classifier}.".startswith(f"{name}.")]
    return rest or [(name, part) for name, part in kids if name != classifier]
