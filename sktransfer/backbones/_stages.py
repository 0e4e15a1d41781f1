"""A network as a chain: stem, stages, final layers.

Training only the last stages on cached features needs a network that can be entered in the middle. timm's families
keep their parts under a few names, in execution order; the chain read off those names is believed only after it gave
the same output as the network's own forward pass.
"""

import copy
import threading
from operator import attrgetter
from typing import Any, NamedTuple

import torch
from torch import nn

from sktransfer.backbones._own import STAGE_RUNS, one_tensor
from sktransfer.modalities import Modality
from sktransfer.utils._batch import Batch, to_device

__all__ = ["Chain", "find_chain", "forward_features", "pre_logits", "stage_number", "strip_classifier"]

_CONTAINERS = ("blocks", "stages", "layers")
_HEADS = {"global_pool", "head", "fc", "classifier", "fc_norm", "head_drop", "attn_pool"}


class Chain(NamedTuple):
    """Names of the parts of a network, in the order in which they run.

    Each name is an attribute path of the network; applied one after another they are its ``forward_features``.
    """

    stem: tuple[str, ...]
    stages: tuple[str, ...]
    tail: tuple[str, ...]

    def run(
        self,
        model: nn.Module,
        x: torch.Tensor,
        *,
        start: int = 0,
        stop: int | None = None,
        keep: list[torch.Tensor] | None = None,
    ) -> torch.Tensor:
        """Run `model` from boundary `start` to boundary `stop`.

        Boundary ``k`` lies before stage ``k``; ``0`` as `start` includes the stem, ``None`` as `stop` the final layers.
        The outputs of the stages are appended to `keep` where it is given.
        """
        own = getattr(model, "run", None)
        if own is not None and hasattr(model, "chain_parts"):  # a network whose parts need more than one tensor
            return own(x, start=start, stop=stop, keep=keep)
        steps = (() if start else self.stem) + self.stages[start:stop] + (self.tail if stop is None else ())
        for step in steps:
            x = attrgetter(step)(model)(x)
            if keep is not None and step in self.stages:
                keep.append(x)
        return x

    def steps_before(self, start: int) -> tuple[str, ...]:
        """Names of the parts that run before boundary `start`."""
        return self.stem + self.stages[:start] if start else ()


def find_chain(model: nn.Module, modality: Modality) -> Chain | None:
    """Read the chain off a network's parts and verify it; None where the network is no such chain.

    Parameters
    ----------
    model : torch.nn.Module
        In eval mode.
    modality : Modality
        What it takes.
    """
    candidates: Any
    if hasattr(model, "chain_parts"):
        parts: Any = model.chain_parts
        candidates = [] if parts is None else [Chain(parts[0], parts[1], ())]
    else:
        candidates = _own_chains(model) if hasattr(model, "_sktransfer_layout") else [_read_chain(model)]
    return next((chain for chain in candidates if chain is not None and _agrees(chain, model, modality)), None)


def _agrees(chain, model, modality):
    """Whether a chain gives what the network's own forward pass gives; of a network of one's own, its features."""
    x = modality.example(1, seed=0)
    first = next(model.parameters(), None)
    x = x if first is None else to_device(x, first.device)
    with torch.inference_mode():
        expected = forward_features(model, x)
        try:
            got = chain.run(model, x)
            if hasattr(model, "chain_parts"):
                got = chain.run(model, chain.run(model, x, stop=1), start=1)[:, : got.shape[1]]
        except (RuntimeError, TypeError, ValueError, AssertionError, AttributeError, IndexError):
            return False  # parts that do not take each other's output: not a chain
        if hasattr(model, "_sktransfer_layout") and isinstance(got, torch.Tensor):
            expected, got = pre_logits(model, expected), pre_logits(model, got)
    same = isinstance(expected, torch.Tensor) and isinstance(got, torch.Tensor) and got.shape == expected.shape
    return same and torch.allclose(got, expected, rtol=1e-4, atol=1e-5)


def _own_chains(model):
    """Guess chains of a network of one's own: what stands before its stages, them, and what stands behind or not."""
    stages, classifier = model._sktransfer_layout.stages, model._sktransfer_layout.classifier
    children = [name for name, _ in model.named_children()]
    head, _, layer = (classifier or "").partition(".")
    end = children.index(head) if head else len(children)
    if isinstance(model, nn.Sequential):
        yield Chain((), tuple(children[:end]), ())
    if not stages:
        return
    first, last = (children.index(stages[i].partition(".")[0]) for i in (0, -1))
    if first == last and "." in stages[0]:
        whole = tuple(f"{children[first]}.{name}" for name, _ in getattr(model, children[first]).named_children())
    else:
        whole = tuple(children[first : last + 1])
    if whole == stages:
        between = tuple(children[last + 1 : end])
        inside = [name for name, _ in getattr(model, head).named_children()] if layer else []
        before = tuple(f"{head}.{name}" for name in inside[: inside.index(layer)]) if layer in inside else ()
        for tail in (between + before, between, ()):
            yield Chain(tuple(children[:first]), stages, tail)


def _read_chain(model: nn.Module) -> Chain | None:
    children = [name for name, _ in model.named_children()]
    if isinstance(model, nn.Sequential):
        return Chain((), tuple(children), ()) if children else None
    run = next((run for run in STAGE_RUNS if set(run) <= set(children)), None)
    container = next((name for name in _CONTAINERS if name in children), None)
    if run is not None:
        first, last, stages = run[0], run[-1], run
    elif container is not None:
        first = last = container
        stages = tuple(f"{container}.{name}" for name, _ in getattr(model, container).named_children())
    else:
        return None
    stem = tuple(children[: children.index(first)])
    if hasattr(model, "_pos_embed"):  # a method of vision transformers, between the patches and the blocks
        stem = tuple("_pos_embed" if name == "pos_drop" else name for name in stem)
    after = children[children.index(last) + 1 :]
    tail = tuple(after[: next((i for i, name in enumerate(after) if name in _HEADS), len(after))])
    return Chain(stem, stages, tail)


def forward_features(model: nn.Module, x: Batch) -> torch.Tensor:
    """Last feature map of a timm network; of another what its classifier takes, or its output where it has none."""
    own = getattr(model, "forward_features", None)
    if own is not None:
        return own(x)
    layout = getattr(model, "_sktransfer_layout", None)
    if layout is None or layout.classifier is None:
        output: Any = one_tensor(model(x))  # there is one, or with_layout would have refused the network
        return output
    taken, thread = [], threading.get_ident()

    def take(_layer, inputs):
        if threading.get_ident() == thread:  # the module is shared: other threads' pictures pass the hook too
            taken.append(inputs[0])

    handle = model.get_submodule(layout.classifier).register_forward_pre_hook(take)
    try:
        model(x)
    finally:
        handle.remove()
    return taken[-1]


def pre_logits(model: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Turn the output of :func:`forward_features` into ``(n, d)`` features, as the network itself does it."""
    forward_head = getattr(model, "forward_head", None)
    if forward_head is not None:
        x = forward_head(x, pre_logits=True)
    if isinstance(x, tuple | list):  # distilled transformers give one feature a token
        x = torch.stack(list(x)).mean(0)
    if x.ndim == 4:
        x = x.mean((2, 3))
    return x.mean(1) if x.ndim == 3 else x


def stage_number(layer: str, stages: tuple[str, ...], name: str) -> int:
    """Find a stage by its name, of a network where only stages tell where a sample ends.

    Raises
    ------
    ValueError
        If it is none.
    """
    if layer not in stages:
        raise ValueError(f"layer={layer!r} of {name}: pass the number of a block, or one of {stages}.")
    return stages.index(layer)


def strip_classifier(model: nn.Module, names: tuple[str, ...], drop: tuple[str, ...]) -> nn.Module:
    """Copy a network without its classifier and without the parts named in `drop` (they become identities)."""
    memo = {}
    for name in (*names, *drop):
        part = attrgetter(name)(model)
        if isinstance(part, nn.Module):
            memo[id(part)] = nn.Identity()  # deepcopy takes this for the part's copy: its weights are never copied
    return copy.deepcopy(model, memo)
