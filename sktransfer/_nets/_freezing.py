"""What trains: from the parameter ``trainable`` to a plan of what runs frozen and what learns."""

import difflib
import fnmatch
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral

from torch import nn

from sktransfer.backbones import Backbone

__all__ = ["TrainingPlan", "evaluate_frozen_parts", "plan_training"]


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
    """

    start: int | None
    learns: frozenset[str]

    @property
    def has_frozen_prefix(self) -> bool:
        """Whether a part of the network runs before anything that learns."""
        return self.start != 0


def plan_training(backbone: Backbone, trainable: "str | int | Sequence[str]") -> TrainingPlan:
    """Resolve ``trainable``: "head", "all", the number of last stages, or patterns of parameter names.

    Raises
    ------
    ValueError
        If the backbone has fewer stages, or a pattern fits none of its parameters.
    """
    names = [name for name, _ in backbone.module.named_parameters()]
    if isinstance(trainable, str) and trainable == "head":
        return TrainingPlan(None, frozenset())
    if isinstance(trainable, str) and trainable == "all":
        return TrainingPlan(0, frozenset(names))
    if isinstance(trainable, Integral):
        return _last_stages(backbone, names, int(trainable))
    return _matching(backbone, names, [trainable] if isinstance(trainable, str) else list(trainable))


def _last_stages(backbone, names, k):
    stages = backbone.stage_names
    if k > len(stages):
        raise ValueError(
            f"trainable={k}: {backbone.name} has {len(stages)} stages {stages}. Pass a number up to {len(stages)}, "
            "'head', 'all' or patterns of parameter names."
        )
    start = len(stages) - k
    if backbone.chain is None:
        # No way in in the middle: parameters are registered in the order in which they run.
        first = next(i for i, name in enumerate(names) if name.startswith(f"{stages[start]}."))
        return TrainingPlan(0, frozenset(names[first:]))
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


def evaluate_frozen_parts(module: nn.Module) -> None:
    """Put every part that learns nothing into eval mode, so that frozen BatchNorm keeps its statistics too."""
    for child in module.children():
        parameters = list(child.parameters())
        if parameters and not any(parameter.requires_grad for parameter in parameters):
            child.eval()
        else:
            evaluate_frozen_parts(child)
