"""What trains: from the parameter ``trainable`` to a plan of what runs frozen and what learns, and when."""

import difflib
import fnmatch
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral

from torch import nn

from sktransfer.backbones import Backbone

__all__ = ["Phase", "TrainingPlan", "is_batch_norm", "plan_phases", "plan_training"]


@dataclass(frozen=True)
class TrainingPlan:
    """Where the frozen part of a backbone ends, and which parameters behind it learn.

    Attributes
    ----------
    start : int or None
        Stage boundary at which training begins: everything before it is frozen and can be computed once per picture.
        0 for the picture itself (nothing is certain to be frozen), None for the pooled features (only the head learns).
    learns : frozenset of str
        timm names of the backbone's parameters that learn.
    lora : bool, default=False
        Whether they learn through an added product of two thin matrices instead of changing themselves.
    """

    start: int | None
    learns: frozenset[str]
    lora: bool = False

    @property
    def has_frozen_prefix(self) -> bool:
        """Whether a part of the network runs before anything that learns."""
        return self.start != 0


@dataclass(frozen=True)
class Phase:
    """A stretch of epochs in which the same parameters learn.

    Attributes
    ----------
    name : str
        ``"probe"``, ``"unfreeze k"`` or ``"train"``.
    first_epoch : int
        Counted from 1.
    plan : TrainingPlan
    """

    name: str
    first_epoch: int
    plan: TrainingPlan

    @property
    def is_probe(self) -> bool:
        """Whether the head is fitted to features of the unchanged network, before training proper."""
        return self.name == "probe"


def plan_training(backbone: Backbone, trainable: "str | int | Sequence[str]") -> TrainingPlan:
    """Resolve ``trainable``: a word, the number of last stages, or patterns of parameter names.

    Words are "head", "all", "norm" (weights and biases of normalisation layers), "bias" (biases) and "lora" (low-rank
    additions to linear layers and ungrouped convolutions).

    Raises
    ------
    ValueError
        If the backbone has fewer stages, or nothing of the kind.
    """
    if isinstance(trainable, bool):
        meant = "'all' for the whole network" if trainable else "'head' for the new head alone"
        raise ValueError(
            f"trainable={trainable}: say how much of {backbone.name} learns; pass {meant}, a number of last stages or "
            "patterns of parameter names."
        )
    names = [name for name, _ in backbone.module.named_parameters()]
    if isinstance(trainable, str):
        if trainable == "head":
            return TrainingPlan(None, frozenset())
        if trainable == "all":
            return TrainingPlan(0 if names else None, frozenset(names))
        if trainable in _KINDS:
            return _of_kind(backbone, trainable)
        return _matching(backbone, names, [trainable])
    if isinstance(trainable, int | Integral):
        return _last_stages(backbone, names, int(trainable))
    return _matching(backbone, names, list(trainable))


def plan_phases(
    backbone: Backbone, plan: TrainingPlan, *, probe_epochs: int, unfreeze_every: int | None
) -> list[Phase]:
    """Order the training: the probe of the head, the stages from the top, everything that the plan lets learn.

    Parameters
    ----------
    backbone : Backbone
    plan : TrainingPlan
        What learns in the end.
    probe_epochs : int
        Epochs of the head alone before training proper.
    unfreeze_every : int or None
        Epochs after which the next stage from the top begins to learn; the head is the first, unless it was probed.
        None for everything at once.
    """
    head = TrainingPlan(None, frozenset())
    phases = [Phase("probe", 1, head)] if probe_epochs else []
    epoch = 1 + probe_epochs
    if unfreeze_every and plan.learns:
        steps = [_from_stage(backbone, plan, stage) for stage in _stages_from_the_top(backbone, plan)[:-1]]
        steps = steps if probe_epochs else [head, *steps]
        for number, step in enumerate(steps):
            phases.append(Phase(f"unfreeze {number}", epoch + number * unfreeze_every, step))
        epoch += len(steps) * unfreeze_every
    return [*phases, Phase("train", epoch, plan)]


def is_batch_norm(module: nn.Module) -> bool:
    """Whether a layer normalises by statistics of the batch."""
    return isinstance(module, nn.modules.batchnorm._BatchNorm)  # the public classes differ by dimension alone


def _is_norm(module):
    # timm has norm layers of its own (RmsNorm, LayerNorm2d, ...), all of them named so.
    return is_batch_norm(module) or "norm" in type(module).__name__.lower()


def _is_adaptable(module):
    # No other subclasses: what they do with their weight besides (standardise it) an addition would escape.
    plain = type(module) in (nn.Linear, nn.Conv2d) or type(module).__name__ == "Conv2dSame"
    return plain and getattr(module, "groups", 1) == 1


_KINDS = {
    "norm": (_is_norm, ("weight", "bias")),
    "bias": (lambda module: True, ("bias",)),
    "lora": (_is_adaptable, ("weight",)),
}


def _of_kind(backbone, kind):
    is_kind, names = _KINDS[kind]
    classifier = _classifier_parameters(backbone)
    learns = {
        f"{path}.{name}" if path else name
        for path, module in backbone.module.named_modules()
        if is_kind(module) and (kind != "lora" or path in backbone.called_modules)
        for name, _ in module.named_parameters(recurse=False)
        if name in names
    } - classifier
    if not learns:
        raise ValueError(
            f"trainable={kind!r}: {backbone.name} has no such parameters. Pass 'head', 'all', a number of stages or "
            "patterns of parameter names."
        )
    return TrainingPlan(_first_trained_boundary(backbone, learns), frozenset(learns), lora=kind == "lora")


def _classifier_parameters(backbone):
    """Parameters of the source classifier, which the new head takes the place of."""
    return {name for name in backbone.stage_of if _inside(name, backbone.classifier_names)}


def _last_stages(backbone, names, k):
    stages = backbone.stage_names
    if k > len(stages):
        raise ValueError(
            f"trainable={k}: {backbone.name} has {len(stages)} stages {stages}. Pass a number up to {len(stages)}, "
            "'head', 'all' or patterns of parameter names."
        )
    start = len(stages) - k
    if backbone.chain is None:
        # No way in in the middle.
        return TrainingPlan(0, frozenset(name for name in names if backbone.stage_of[name] >= start))
    trained = stages[start:] + backbone.chain.tail
    # What comes after the chain (a pooling layer with weights of its own) belongs to the last stage.
    chain_parts = backbone.chain.stem + stages + backbone.chain.tail
    learns = {name for name in names if _inside(name, trained) or not _inside(name, chain_parts)}
    direct = {name for name, _ in backbone.module.named_parameters(recurse=False)}
    return TrainingPlan(start, frozenset(learns - direct))


def _matching(backbone, names, patterns):
    learns = set()
    for pattern in patterns:
        hits = {name for name in names if fnmatch.fnmatchcase(name, pattern) or _inside(name, (pattern,))}
        if not hits:
            close = difflib.get_close_matches(str(pattern), [*names, *dict(backbone.module.named_modules())], n=3)
            hint = f" Close ones are {', '.join(map(repr, close))}." if close else ""
            raise ValueError(
                f"trainable: {pattern!r} fits no parameter of {backbone.name}.{hint} Patterns are parameter or module "
                "names, * standing for anything, e.g. 'layer4' or '*.norm*'."
            )
        learns |= hits
    return TrainingPlan(_first_trained_boundary(backbone, learns), frozenset(learns))


def _stages_from_the_top(backbone, plan):
    """Numbers of the stages with something to learn, last first; the stem goes with the first stage."""
    last = max(len(backbone.stage_names) - 1, 0)
    return sorted({min(max(backbone.stage_of[name], 0), last) for name in plan.learns}, reverse=True)


def _from_stage(backbone, plan, stage):
    learns = frozenset(name for name in plan.learns if backbone.stage_of[name] >= stage)
    return TrainingPlan(_first_trained_boundary(backbone, learns), learns, plan.lora)


def _first_trained_boundary(backbone, learns):
    chain = backbone.chain
    direct = {name for name, _ in backbone.module.named_parameters(recurse=False)}
    if chain is None or learns & direct or any(_inside(name, chain.stem) for name in learns):
        return 0
    for boundary, stage in enumerate(chain.stages):
        if any(_inside(name, (stage,)) for name in learns):
            return boundary
    return len(chain.stages)


def _inside(name, parts):
    return any(name == part or name.startswith(f"{part}.") for part in parts)
