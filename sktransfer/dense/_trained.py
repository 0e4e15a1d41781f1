"""Pictures to scores at every place, by a network that was trained for it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy.special import softmax

from sktransfer.dense._maps import PixelMaps, TileMaps

if TYPE_CHECKING:
    from sktransfer.backbones import Identity

__all__ = ["TrainedMaps", "answers_of_tile", "held_out_scores"]


class _ScoresOfPictures(NamedTuple):
    """Scores of pictures of one size by a network that learned from the picture on; nothing is kept."""

    module: Any
    row_shape: tuple[int, ...]
    cpu_rows: int = 1

    @property
    def identity(self) -> Identity:
        """Nothing that it computes is kept."""
        from sktransfer.backbones import Identity

        return Identity(None)

    def __call__(self, x: Any) -> Any:
        """Compute the scores of a batch."""
        return self.module.eval().run(x, 0).scores

    def shape(self) -> tuple[int, ...]:
        """Shape of one picture's scores."""
        return self.row_shape


@dataclass(frozen=True)
class TrainedMaps(PixelMaps):
    """A trained network in place of a frozen one: its maps are scores ``(n_classes, height, width)``.

    Attributes
    ----------
    net : TransferNet
    device : torch.device
    """

    net: Any = None
    device: Any = None

    def _computation(self, padded):
        from sktransfer._frozen import LayerMaps
        from sktransfer._nets import FrozenMaps

        module = self.net.module_
        if module.entry != 0:
            return FrozenMaps.before(module.entry, self.backbone, module.taps, padded).computation
        finest = max((shape[1:] for shape in LayerMaps(self.backbone, module.taps, padded).shapes()), key=np.prod)
        return _ScoresOfPictures(module.to(self.device), (len(module.head.bias), *finest))

    def _maps_of(self, rows: np.ndarray, padded: tuple[int, int]) -> Iterator[list[np.ndarray]]:
        import torch

        from sktransfer._nets import FrozenMaps

        module = self.net.module_
        if module.entry == 0:
            yield from ([row] for row in rows)
            return
        maps = FrozenMaps.before(module.entry, self.backbone, module.taps, padded)
        for row in rows:  # scores of one are small beside its maps
            inputs = maps.by_name(torch.from_numpy(np.array(row[np.newaxis])))
            yield [self.net.run(inputs, self.device, module.entry)[0]]


def answers_of_tile(maps: TileMaps, classes: np.ndarray, method: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Give the rows of a tile, and what its scores say of the pixels there."""
    (scores,) = maps.values()
    if method == "predict":
        yield maps.tile.rows, classes[scores.argmax(0)]
    else:
        yield maps.tile.rows, np.moveaxis(softmax(scores, axis=0), 0, -1)


def held_out_scores(scores: np.ndarray, values: np.ndarray) -> dict[str, float]:
    """Score what a network says of held-out tiles.

    Parameters
    ----------
    scores : ndarray of shape (n, n_classes, h, w)
    values : ndarray of shape (n, height, width), int
        Class numbers, -1 where there is no label.
    """
    import torch

    from sktransfer._nets import resized
    from sktransfer.dense._labels import LabelPicture
    from sktransfer.dense._scores import confusion_of, iou_of

    def pairs():
        for part, true in zip(scores, values, strict=True):
            found = resized(torch.from_numpy(part[np.newaxis]), true.shape)[0].argmax(0).numpy()
            yield LabelPicture(true, true >= 0), found

    confusion = confusion_of(pairs())[1]
    return {
        "valid_mean_iou": float(np.mean(iou_of(confusion))),
        "valid_pixel_accuracy": float(np.trace(confusion) / confusion.sum()),
    }
