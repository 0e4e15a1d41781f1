"""The trained network of an estimator, built again from its tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["restore_net"]


def restore_net(
    estimator: Any, plan: Mapping[str, Any], tensors: Mapping[str, Any], settings: Mapping[str, Any]
) -> None:
    """Set ``plan_`` and ``net_`` of an estimator that has its ``backbone_`` and ``history_`` already."""
    import torch

    from sktransfer._nets import MapHead, Recipe, TrainingPlan, TrainingSettings, TransferNet, TunedModule
    from sktransfer.utils._random import isolated_rng

    estimator.plan_ = TrainingPlan(**{**plan, "learns": frozenset(plan["learns"])})
    # For predictions alone; and the device of the training may not be here.
    recipe = Recipe(batch_size=settings["batch_size"], batch_norm=settings["batch_norm"])
    neck = tuple(settings["bottleneck"])
    used = TrainingSettings(recipe, torch.device("cpu"), settings["precision"], neck=neck)
    frozen, n_outputs = recipe.batch_norm == "frozen", len(tensors["head.bias"])
    with isolated_rng(0):  # layers are drawn and then filled
        if settings.get("head") is None:
            module = TunedModule(estimator.backbone_, estimator.plan_, n_outputs, frozen_batch_norm=frozen, neck=neck)
        else:
            head = MapHead.of(settings["head"])
            module = head.module(estimator.backbone_, estimator.plan_, n_outputs, frozen_batch_norm=frozen)
    module.load_state_dict(tensors)
    estimator.net_ = TransferNet(module.eval(), settings=used, criterion=estimator._criterion(), verbose=0)
    estimator.net_.initialize()
    estimator.net_.optimizer_ = None  # it has no moments to go on from
    estimator.net_.history.extend(dict(epoch) for epoch in getattr(estimator, "history_", ()))
