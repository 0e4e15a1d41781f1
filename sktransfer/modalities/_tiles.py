"""Pictures at their own size, of which a network sees one rectangle at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import xxhash
from PIL import Image

from sktransfer.modalities._image_files import to_pil
from sktransfer.modalities._images import Images
from sktransfer.modalities._preprocess import ImagePreprocessor
from sktransfer.modalities._samples import Samples
from sktransfer.modalities._together import change_together

__all__ = ["TiledImages", "Tiles", "picture_sizes", "scaled_size"]


def picture_sizes(samples: Samples) -> np.ndarray:
    """Read the ``(height, width)`` of pictures, of files from their heads alone: ``(n, 2)`` int."""
    return np.array([samples._call("size", i) for i in range(len(samples))], dtype=np.intp).reshape(-1, 2)


def scaled_size(height: int, width: int, scale: float) -> tuple[int, int]:
    """Give the size of a picture that is enlarged or made smaller; no side has less than one pixel."""
    return max(1, round(height * scale)), max(1, round(width * scale))


class Tiles(Samples):
    """Rectangles of pictures, each prepared alone; messages are those of the pictures.

    Parameters
    ----------
    whole : Samples
        The pictures.
    owner : ndarray of shape (n_tiles,), int
        Position of the picture that each tile is of.
    boxes : ndarray of shape (n_tiles, 6), int
        Top, left, height and width of each, in pixels of the scaled picture, and the height and width of that.
    padded : tuple of int
        ``(height, width)`` of what the network gets, the same for all: what a tile lacks is its mirror image.
    """

    def __init__(self, whole: Samples, owner: np.ndarray, boxes: np.ndarray, padded: tuple[int, int]):
        super().__init__(whole.items, whole.reader, whole.rows[owner])
        self._digests, self._doubts = whole._digests, whole._doubts
        self.whole = whole
        self.owner = owner
        self.boxes = boxes
        self.padded = padded
        self._opened = threading.local()

    def take(self, indices: np.ndarray | Sequence[int] | slice) -> Tiles:
        """Select tiles without reading them."""
        return Tiles(self.whole, self.owner[indices], self.boxes[indices], self.padded)

    def __getstate__(self):
        kept = np.unique(self.owner)  # the pictures that are meant and no others
        owner = np.searchsorted(kept, self.owner)
        return {"whole": self.whole.take(kept), "owner": owner, "boxes": self.boxes, "padded": self.padded}

    def __setstate__(self, state):
        self.__init__(**state)  # type: ignore[misc]  # it is written for this

    @property
    def can_travel(self) -> bool:
        """Whether the pictures can be sent to another process."""
        return self.whole.can_travel

    def digest(self, i: int, by: str = "file") -> bytes:
        """Name one tile by its picture and where it lies; see :meth:`Samples.digest`."""
        place = np.array([*self.boxes[i], *self.padded], dtype=np.int64).tobytes()
        return xxhash.xxh3_128_digest(super().digest(i, by) + place)

    def opened(self, i: int, open_picture: Callable[[], Any]) -> Any:
        """Open the picture of a tile, or give it as it was opened for the tile before, in the same thread."""
        if getattr(self._opened, "owner", None) != self.owner[i]:
            self._opened.picture, self._opened.owner = open_picture(), self.owner[i]
        return self._opened.picture


class TiledImages(Images):
    """Rectangles of pictures, prepared as a network takes them but for their size.

    Parameters
    ----------
    images : Images
        Of the network.
    """

    def __init__(self, images: Images):
        super().__init__(images.preprocessing)

    def prepare(self, samples: Any, i: int) -> np.ndarray:
        """Read, cut out, normalise and pad one tile: ``(channels, height, width)`` float32."""
        top, left, height, width, *scaled = samples.boxes[i].tolist()
        below, right = top + height, left + width

        def as_network_takes(picture, size):
            options = {**self.preprocessing, "input_size": size, "crop_pct": 1.0, "crop_mode": "squash"}
            return ImagePreprocessor(**options, resize=samples.spec.resize)(picture)

        def read():
            picture = samples.read(i)
            size = picture.size[::-1] if isinstance(picture, Image.Image) else picture.shape[:2]
            return picture if tuple(size) == tuple(scaled) else as_network_takes(picture, scaled)

        whole = samples.opened(i, read)
        if isinstance(whole, Image.Image):
            entry = as_network_takes(whole.crop((left, top, right, below)), (height, width))
        elif whole.shape[:2] == tuple(scaled):  # channels last, in grey levels: as it was read
            entry = as_network_takes(whole[top:below, left:right], (height, width))
        else:
            entry = whole[:, top:below, left:right]
        return _padded(entry, samples.padded)

    def changed_together(
        self, samples: Any, labels: np.ndarray, how: Any
    ) -> tuple[Callable[[int], Any], Callable[[Any], Any]]:
        """Say how tiles and the labels of their pixels are changed at random together; see :meth:`Modality.changed`.

        Parameters
        ----------
        samples : Tiles
        labels : ndarray of shape (n_tiles, height, width), int
            Of the padded tiles; -1 where there is none.
        how : str or callable
            See :func:`change_together`.

        Returns
        -------
        read : callable
            Reads tile i and its labels.
        change : callable
            Makes of that an entry and its labels.
        """
        channels = self.preprocessor().in_chans
        if channels not in (1, 3):
            raise ValueError(
                f"augment={how!r} changes pictures of one or three channels, and the network sees {channels}. Pass "
                "augment='none'."
            )
        change = change_together(how)
        samples = samples.take(slice(None))  # pictures that are open elsewhere are prepared ones
        resample = Image.Resampling.BILINEAR

        def read(i):
            top, left, height, width, *scaled = samples.boxes[i].tolist()
            size = tuple(scaled[::-1])

            def whole():
                picture = to_pil(samples.read(i))
                return picture if picture.size == size else picture.resize(size, resample)

            picture = samples.opened(i, whole).crop((left, top, left + width, top + height))
            return picture, labels[i, :height, :width]

        def finish(pair):
            picture, marked = change(*pair)
            tall, wide = (min(side, most) for side, most in zip(marked.shape, samples.padded, strict=True))
            options = {**self.preprocessing, "input_size": (tall, wide), "crop_pct": 1.0, "crop_mode": "squash"}
            entry = ImagePreprocessor(**options, resize=samples.spec.resize)(picture.crop((0, 0, wide, tall)))
            lacking = [(0, most - side) for side, most in zip((tall, wide), samples.padded, strict=True)]
            marked = np.pad(marked[:tall, :wide], lacking, constant_values=-1)
            return _padded(entry, samples.padded), marked

        return read, finish

    def key(self, samples: Samples) -> str:
        """Name the preprocessing."""
        return f"tiles|{super().key(samples)}"


def _padded(entry: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Continue a tile ``(channels, height, width)`` by its mirror image."""
    lacking = [(0, 0), *((0, want - have) for want, have in zip(size, entry.shape[1:], strict=True))]
    return np.pad(entry, lacking, mode="symmetric")
