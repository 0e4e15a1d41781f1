"""Networks that turn pictures into features: timm's, a bundled one, or the user's own."""

from sktransfer.backbones._backbone import Backbone, Suffix, Tap
from sktransfer.backbones._load import forget_backbones, load_backbone
from sktransfer.backbones._timm import create_optimizer, list_backbones, train_transform

__all__ = [
    "Backbone",
    "Suffix",
    "Tap",
    "create_optimizer",
    "forget_backbones",
    "list_backbones",
    "load_backbone",
    "train_transform",
]
