"""Low-rank adaptation by peft: added while training, merged into the weights at its end."""

import re
from collections.abc import Collection

from torch import nn

from sktransfer.utils._optional import import_optional

__all__ = ["add_adapters", "merge_adapters"]


def add_adapters(model: nn.Module, layers: Collection[str], rank: int) -> None:
    """Add to each of `layers` the product of two matrices of `rank`, zero at first, in place.

    Parameters
    ----------
    model : torch.nn.Module
    layers : collection of str
        Paths of linear layers and ungrouped convolutions.
    rank : int
        A layer with fewer inputs or outputs gets as many as these.

    References
    ----------
    .. [1] Hu, E. J. et al. "LoRA: Low-Rank Adaptation of Large Language Models", ICLR 2022.
    """
    peft = import_optional("peft", extra="lora", caller="trainable='lora'")
    parts = dict(model.named_modules())
    # Longest names first: peft takes the first that a layer's name ends with.
    ranks = {
        re.escape(layer): min(rank, *parts[layer].weight.shape[:2]) for layer in sorted(layers, key=len, reverse=True)
    }
    # alpha = rank: the addition counts in full, whatever its rank.
    exactly_these = "|".join(re.escape(layer) for layer in sorted(layers))
    config = peft.LoraConfig(target_modules=exactly_these, rank_pattern=ranks, alpha_pattern=ranks, lora_dropout=0.0)
    peft.inject_adapter_in_model(config, model)


def merge_adapters(model: nn.Module) -> None:
    """Add the products to the weights and put the plain layers back, in place."""
    for path, module in list(model.named_modules()):
        if hasattr(module, "base_layer") and hasattr(module, "merge"):
            module.merge()
            parent, _, name = path.rpartition(".")
            setattr(model.get_submodule(parent), name, module.get_base_layer())
    vars(model).pop("peft_config", None)
