"""The names of ``__init__.py``, which are lazy there, for type checkers; tests/test_types.py compares the two."""

from sktransfer.backbones._audio import AudioBackbone
from sktransfer.backbones._backbone import Backbone, Tap
from sktransfer.backbones._describe import describe, described_by_word, means_table
from sktransfer.backbones._holder import BackboneDescription, BackboneHolderMixin
from sktransfer.backbones._identity import Identity
from sktransfer.backbones._image import ImageBackbone
from sktransfer.backbones._load import forget_backbones, load_backbone
from sktransfer.backbones._onnx import given_to, to_onnx
from sktransfer.backbones._plain import check_sizes, to_plain
from sktransfer.backbones._saved import (
    build_network,
    describe_network,
    description_class,
    name_of,
    read_saved,
    reading_saved,
    write_saved,
)
from sktransfer.backbones._split import last_map, outputs_from
from sktransfer.backbones._suffix import Suffix
from sktransfer.backbones._table import columns_as_features
from sktransfer.backbones._text import TextBackbone
from sktransfer.backbones._timm import create_average, create_mixer, create_optimizer, list_backbones, train_transform

__all__ = [
    "AudioBackbone",
    "Backbone",
    "BackboneDescription",
    "BackboneHolderMixin",
    "Identity",
    "ImageBackbone",
    "Suffix",
    "Tap",
    "TextBackbone",
    "build_network",
    "check_sizes",
    "columns_as_features",
    "create_average",
    "create_mixer",
    "create_optimizer",
    "describe",
    "describe_network",
    "described_by_word",
    "description_class",
    "forget_backbones",
    "given_to",
    "last_map",
    "list_backbones",
    "load_backbone",
    "means_table",
    "name_of",
    "outputs_from",
    "read_saved",
    "reading_saved",
    "to_onnx",
    "to_plain",
    "train_transform",
    "write_saved",
]
