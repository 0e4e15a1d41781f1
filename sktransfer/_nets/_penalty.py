"""What a method that stays near the source does during one training: the protocol, one class a method."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from sktransfer._nets._batches import Rows
from sktransfer._nets._module import Outputs, TunedModule
from sktransfer._nets._penalties import (
    bss_penalty,
    category_relation,
    delta_penalty,
    distillation_loss,
    l2_sp_penalty,
    plain_norms,
    rkd_angle_loss,
    rkd_distance_loss,
    soft_cross_entropy,
    stochastic_norms,
)
from sktransfer.backbones import Backbone

__all__ = [
    "BSSPenalty",
    "CoTuningPenalty",
    "DELTAPenalty",
    "L2SPPenalty",
    "LwFPenalty",
    "Penalty",
    "PenaltySetup",
    "RKDPenalty",
    "StochNormPenalty",
]


@dataclass(frozen=True)
class PenaltySetup:
    """What a penalty may know before training.

    Attributes
    ----------
    backbone : Backbone
        The source network.
    targets : torch.Tensor of shape (n,) or (n, n_outputs)
        Of the training rows: class numbers (integers), else values or an indicator matrix (floats).
    n_outputs : int
        Classes or targets.
    source_proba : callable
        Gives the probabilities of the source classes of the training rows, ndarray ``(n, n_source_classes)``.
    source_features : callable
        Gives their pooled features from the source network, ndarray ``(n, d)``.
    n_sources : int
        Source domains; 0 where the rows are of one domain.
    """

    backbone: Backbone
    targets: torch.Tensor
    n_outputs: int
    source_proba: Callable[[], np.ndarray]
    source_features: Callable[[], np.ndarray]
    n_sources: int = 0


class Penalty:
    """What is added to the loss of a training; this one adds nothing.

    Attributes
    ----------
    follows_progress : bool
        Whether it changes with the share of the training that is over, and so with the length of the training.
    """

    follows_progress = False

    def attach(self, module: TunedModule, setup: PenaltySetup) -> None:
        """Prepare `module` for training."""

    def weigh(self, module: TunedModule, outputs: Outputs, rows: Rows) -> torch.Tensor:
        """Weights of the rows of a batch in the loss of the task: ``(n,)``."""
        return rows.weights

    def __call__(self, module: TunedModule, inputs: torch.Tensor, outputs: Outputs, rows: Rows) -> torch.Tensor:
        """Compute what a training step adds to its loss.

        Parameters
        ----------
        module : TunedModule
            In training mode.
        inputs : torch.Tensor
            What the module was given, of boundary ``module.entry``.
        outputs : Outputs
            What it gave.
        rows : Rows
            What the rows of the batch should give.

        Returns
        -------
        torch.Tensor of shape ()
        """
        return outputs.scores.new_zeros(())

    def detach(self, module: TunedModule) -> None:
        """Leave `module` as a training without penalty would have left it, but for what it learned."""


class _NearSource(Penalty):
    """A penalty that needs the source network beside the trained one."""

    def attach(self, module, setup):
        # Not a copy of the body: that one may have been trained before (partial_fit), or carry low-rank matrices.
        self.source = None if isinstance(module.body, nn.Identity) else setup.backbone.suffix(module.body.start)
        if self.source is not None:
            self.source.eval().requires_grad_(False)
            if module.channels_last:
                self.source.to(memory_format=torch.channels_last)

    def detach(self, module):
        self.source = None

    def _run_source(self, module, inputs, keep=None):
        """Pooled features of the source network for a batch, and in `keep` the outputs of its stages."""
        if module.entry is None:
            return inputs
        _move(self.source, inputs.device)
        with torch.no_grad():
            return self.source(module.arranged(inputs), module.entry, keep)


class L2SPPenalty(_NearSource):
    """alpha / 2 ||w - w0||^2 of the weights of the body that learn + beta / 2 ||v||^2 of the weights of the head."""

    def __init__(self, alpha: float, beta: float):
        self.alpha = alpha
        self.beta = beta

    def __call__(self, module, inputs, outputs, rows):
        """Compute the penalty of the weights; inputs and rows do not matter."""
        total = self.beta / 2 * module.head.weight.square().sum()
        if self.source is None:
            return total
        _move(self.source, module.head.weight.device)
        source = dict(self.source.model.named_parameters())
        pairs = [(p, source[name]) for name, p in module.names.items() if p.requires_grad and name in source]
        # A product of thin matrices is itself the distance from the source.
        products = [product for layer in module.body.modules() for product in _learning_products(layer)]
        pairs += [(product, torch.zeros_like(product)) for product in products]
        return total + self.alpha * l2_sp_penalty(*zip(*pairs, strict=True)) if pairs else total


class DELTAPenalty(_NearSource):
    """alpha times the change of the outputs of the stages + beta / 2 ||v||^2 of the weights of the head."""

    def __init__(self, alpha: float, beta: float):
        self.alpha = alpha
        self.beta = beta

    def attach(self, module, setup):
        """Ask the module for the outputs of its stages."""
        super().attach(module, setup)
        module.keep_maps = True

    def __call__(self, module, inputs, outputs, rows):
        """Compute the penalty of a batch."""
        total = self.beta / 2 * module.head.weight.square().sum()
        if module.entry is None:
            return total
        maps = []
        features = self._run_source(module, inputs, maps)
        if not maps:  # entered behind the last stage: the pooled features are all that changes
            return total + self.alpha * delta_penalty([outputs.features], [features])
        return total + self.alpha * delta_penalty(outputs.maps, maps)

    def detach(self, module):
        """Want no more outputs of stages."""
        super().detach(module)
        module.keep_maps = False


class BSSPenalty(Penalty):
    """alpha times the k smallest squared singular values of the features of a batch."""

    def __init__(self, alpha: float, n_singular_values: int):
        self.alpha = alpha
        self.n_singular_values = n_singular_values

    def __call__(self, module, inputs, outputs, rows):
        """Compute the penalty of a batch; 0 where features do not learn."""
        if module.entry is None:
            return super().__call__(module, inputs, outputs, rows)
        return self.alpha * bss_penalty(outputs.features, self.n_singular_values)


class StochNormPenalty(Penalty):
    """No addition to the loss: BatchNorm mixes the statistics of batch and source during training."""

    def __init__(self, p: float):
        self.p = p

    def attach(self, module, setup):
        """Replace the BatchNorm layers that learn."""
        if module.frozen_batch_norm:
            raise ValueError(
                "regularizer='stochnorm' mixes statistics of the batch into those of the source, which "
                "batch_norm='frozen' forbids. Pass batch_norm='train' or another regularizer."
            )
        if not stochastic_norms(module.body, self.p) and not isinstance(module.body, nn.Identity):
            raise ValueError(
                f"regularizer='stochnorm': no BatchNorm layer of {setup.backbone.name} learns, so that it would change "
                "nothing. Pass a backbone with BatchNorm, a trainable= that reaches such layers, or another "
                "regularizer."
            )

    def detach(self, module):
        """Put plain BatchNorm back."""
        plain_norms(module.body)


class LwFPenalty(_NearSource):
    """alpha times the distillation of the source classifier's answers to the training pictures."""

    def __init__(self, alpha: float, temperature: float):
        self.alpha = alpha
        self.temperature = temperature

    def attach(self, module, setup):
        """Give the module a copy of the source classifier that learns."""
        super().attach(module, setup)
        self.classifier = copy_classifier(setup.backbone, "lwf").requires_grad_(False)
        module.source_head = copy_classifier(setup.backbone, "lwf")

    def __call__(self, module, inputs, outputs, rows):
        """Compute the penalty of a batch."""
        _move(self.classifier, outputs.features.device)
        with torch.no_grad():
            expected = self.classifier(self._run_source(module, inputs))
        scores = module.source_head(outputs.features)
        return self.alpha * distillation_loss(scores, expected, self.temperature)

    def detach(self, module):
        """Drop the classifiers of the source task."""
        super().detach(module)
        self.classifier = module.source_head = None


class CoTuningPenalty(Penalty):
    """alpha times the cross-entropy of the source classifier from what its classes have to do with the targets.

    Parameters
    ----------
    alpha : float
    on_relation : callable or None, default=None
        Is told the relation, an ndarray ``(n_classes, n_source_classes)``, before training.
    """

    def __init__(self, alpha: float, on_relation: Callable[[np.ndarray], None] | None = None):
        self.alpha = alpha
        self.on_relation = on_relation

    def attach(self, module, setup):
        """Learn the relation, and give the module a copy of the source classifier that learns."""
        if setup.targets.is_floating_point():
            raise ValueError(
                "regularizer='co-tuning' relates classes of the source to classes of the target: it needs one class a "
                "picture, got targets of shape "
                f"{tuple(setup.targets.shape)} that are no class numbers. Pass 'lwf', 'l2-sp' or another regularizer "
                "for regression and for several labels a picture."
            )
        module.source_head = copy_classifier(setup.backbone, "co-tuning")
        proba = torch.as_tensor(setup.source_proba())
        self.relation = category_relation(proba, setup.targets, setup.n_outputs).float()
        if self.on_relation is not None:
            self.on_relation(self.relation.numpy())

    def __call__(self, module, inputs, outputs, rows):
        """Compute the penalty of a batch; of mixed targets, by their shares."""
        self.relation = self.relation.to(outputs.scores.device)
        values = rows.values
        proba = self.relation[values.long()] if values.ndim == 1 else values.float() @ self.relation
        return self.alpha * soft_cross_entropy(module.source_head(outputs.features), proba)

    def detach(self, module):
        """Drop the classifier of the source task."""
        self.relation = module.source_head = None


class RKDPenalty(_NearSource):
    """alpha times the change of distances + angle times alpha the change of angles between the rows of a batch."""

    def __init__(self, alpha: float, angle: float):
        self.alpha = alpha
        self.angle = angle

    def __call__(self, module, inputs, outputs, rows):
        """Compute the penalty of a batch; 0 where features do not learn."""
        if module.entry is None:
            return super().__call__(module, inputs, outputs, rows)
        pair = outputs.features, self._run_source(module, inputs)
        return self.alpha * (rkd_distance_loss(*pair) + (self.angle * rkd_angle_loss(*pair) if self.angle else 0))


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


def _learning_products(layer):
    """Products of thin matrices that peft adds to the weight of a layer."""
    if not hasattr(layer, "get_delta_weight"):
        return
    for adapter in layer.active_adapters:
        yield layer.get_delta_weight(adapter)


def _move(module, device):
    if next(module.parameters()).device != device:
        module.to(device)
