"""What ``backbone`` describes, together with the short forms beside it."""

from types import SimpleNamespace

import pytest
from common_series import SeriesBackbone
from sklearn.base import BaseEstimator

from sktransfer import ImageBackbone
from sktransfer.backbones import describe, means_table
from sktransfer.modalities import Tables

SILENT = {"weights": "pretrained", "image_size": None, "image_shape": None}


def test_a_name_is_a_network_for_pictures():
    found = describe(SimpleNamespace(backbone="resnet18", **{**SILENT, "image_size": 64}))
    assert isinstance(found, ImageBackbone)
    assert (found.name, found.image_size) == ("resnet18", 64)


def test_a_description_stands_for_itself():
    given = ImageBackbone("resnet18", channels=(0, 1))
    assert describe(SimpleNamespace(backbone=given, **SILENT)) is given


def test_what_is_said_twice_is_named():
    given = ImageBackbone("resnet18", image_size=64)
    with pytest.raises(ValueError, match=r"image_size=32 is given beside .* Give it once"):
        describe(SimpleNamespace(backbone=given, **{**SILENT, "image_size": 32}))


def test_short_forms_are_of_pictures():
    assert isinstance(describe(SimpleNamespace(backbone=SeriesBackbone(), **SILENT)), SeriesBackbone)
    with pytest.raises(ValueError, match="weights=None is of networks for pictures"):
        describe(SimpleNamespace(backbone=SeriesBackbone(), **{**SILENT, "weights": None}))


def test_none_is_a_table_where_one_is_taken():
    assert means_table(None) and not means_table("resnet18")
    estimator = BaseEstimator()
    estimator.backbone = None
    description = describe(estimator, or_table=True)
    backbone = description.load()
    samples = backbone.modality.open(estimator, [[1.0, 2.0]], reset=True)
    assert isinstance(backbone.modality, Tables)
    assert description.fitted(backbone, samples).n_features == 2
    with pytest.raises(ValueError, match="backbone=None is a NoneType"):
        describe(SimpleNamespace(backbone=None, **SILENT)).load()
