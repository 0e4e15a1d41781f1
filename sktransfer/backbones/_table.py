"""No network: the columns of a table are the features."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sktransfer.backbones._holder import BackboneDescription
from sktransfer.modalities import Samples, Tables

if TYPE_CHECKING:
    from sktransfer.backbones._backbone import Backbone

__all__ = ["TableBackbone", "columns_as_features"]


class TableBackbone(BackboneDescription):
    """What ``backbone=None`` stands for where X is a table."""

    name = None

    def load(self, *, random_state: int = 0) -> Backbone:
        """Give a network of one column; :meth:`fitted` knows how many there are."""
        return columns_as_features(1)

    def fitted(self, backbone: Backbone, samples: Samples) -> Backbone:
        """Give a network that hands on as many columns as the table has."""
        return columns_as_features(samples.items.shape[1])


def columns_as_features(n: int) -> Backbone:
    """Make a backbone whose pooled features are the `n` columns of a table."""
    from torch import nn

    from sktransfer.backbones._backbone import Backbone

    return Backbone(nn.Identity(), name="a table", reference={"columns": n}, modality=Tables(n))
