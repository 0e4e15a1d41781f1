"""Networks that turn pictures into features: timm's, a bundled one, or the user's own."""

from sktransfer.backbones._backbone import Backbone, Tap
from sktransfer.backbones._load import forget_backbones, load_backbone
from sktransfer.backbones._onnx import to_onnx
from sktransfer.backbones._plain import to_plain
from sktransfer.backbones._saved import (
    build_network,
    describe_network,
    network_from_state,
    network_state,
    read_saved,
    write_saved,
)
from sktransfer.backbones._split import last_map, outputs_from
from sktransfer.backbones._suffix import Suffix
from sktransfer.backbones._timm import (
    create_average,
    create_mixer,
    create_optimizer,
    list_backbones,
    train_transform,
)

__all__ = [
    "Backbone",
    "Suffix",
    "Tap",
    "build_network",
    "create_average",
    "create_mixer",
    "create_optimizer",
    "describe_network",
    "forget_backbones",
    "last_map",
    "list_backbones",
    "load_backbone",
    "network_from_state",
    "network_state",
    "outputs_from",
    "read_saved",
    "to_onnx",
    "to_plain",
    "train_transform",
    "write_saved",
]
