"""One row of features an object: what a network has of the pixels under a mask."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image
from sklearn.utils.validation import check_is_fitted

from sktransfer.dense._align import between, weights_of_cells
from sktransfer.dense._layers import Layers
from sktransfer.dense._maps import PixelMaps, cut_for
from sktransfer.domains import check_length
from sktransfer.modalities import Images, labels_of, picture_sizes

if TYPE_CHECKING:
    from sktransfer.dense._maps import TileMaps
    from sktransfer.dense._tiling import Tile

__all__ = ["object_features"]


def object_features(
    extractor: Any,
    X: Any,
    masks: Any,
    *,
    scale: float = 1.0,
    tile: int = 1024,
    overlap: int = 128,
) -> tuple[np.ndarray, np.ndarray]:
    """Average the features of a network under each object of a picture: one row an object.

    Objects come of any tool that segments or detects; their rows go into any classifier. A picture passes the network
    once at its own size, however many objects are in it, and its maps are cached as the extractor says.

    Parameters
    ----------
    extractor : PretrainedFeatureExtractor
        Fitted, of pictures. Its `layer` says which maps are averaged (None is the last one); its `pooling` and
        `image_size` have no meaning here.
    X : pictures
        Of the kind on which the extractor was fitted.
    masks : sequence
        For each picture its objects: a label picture (array, PIL image or path) of the size of the picture, in which
        0 and -1 are no object; an array ``(n_objects, height, width)`` of masks that may overlap; or boxes
        ``(n_objects, 4)`` of left, top, right and bottom in pixels, as detectors give them. An empty list is no object.
    scale : float, default=1.0
        How many times larger the network sees the pictures.
    tile : int, default=1024
        Longest side that passes the network at once, in pixels after `scale`.
    overlap : int, default=128
        Pixels that a tile sees beyond those that are answered from it.

    Returns
    -------
    features : ndarray of shape (n_objects, n_features), float32
        Features, object by object.
    index : ndarray of shape (n_objects, 2), int
        Position of the picture in `X`, and of the object in it: its label in a label picture, else its number from 0.

    See Also
    --------
    PixelClassifier : A label for every pixel.

    Examples
    --------
    >>> import numpy as np
    >>> from sktransfer import PretrainedFeatureExtractor, object_features
    >>> X = np.random.default_rng(0).integers(0, 256, (2, 48, 64, 3), dtype=np.uint8)
    >>> extractor = PretrainedFeatureExtractor("sktransfer_mini", layer=3).fit(X)
    >>> boxes = [[(0, 0, 20, 20), (30, 10, 60, 40)], [(5, 5, 50, 40)]]
    >>> features, index = object_features(extractor, X, boxes)
    >>> features.shape[0], index.tolist()
    (3, [[0, 0], [0, 1], [1, 0]])
    """
    check_is_fitted(extractor)
    backbone = extractor.backbone_
    if not isinstance(backbone.modality, Images):
        raise ValueError(f"The extractor sees a {backbone.modality.noun}, which has no objects: pass one of pictures.")
    samples = extractor._samples(X)
    check_length(masks, len(samples), name="masks")
    layers = _layers_of(extractor)
    tiling = cut_for(backbone, layers, tile=tile, overlap=overlap, scale=scale)
    options = {name: getattr(extractor, name) for name in ("batch_size", "device", "precision", "cache", "n_jobs")}
    maps = PixelMaps(backbone, layers, tiling, False, options)
    sizes = picture_sizes(samples).tolist()
    found = [dict(_objects(masks[row], row, size)) for row, size in enumerate(sizes)]
    tiles = [cut for row, size in enumerate(sizes) if found[row] for cut in tiling.tiles(row, *size)]
    index = [(row, number) for row, objects in enumerate(found) for number in objects]
    sums = dict.fromkeys(index, 0.0)
    for part in maps.each(samples, tiles, verbose=extractor.verbose):
        row = part.tile.picture
        for number, mask in found[row].items():
            sums[row, number] = sums[row, number] + _sum_under(part, mask) / mask.sum()
    width = sum(shape[0] for shape in maps.shapes())
    features = np.array([sums[place] for place in index], dtype=np.float32).reshape(len(index), width)
    return features, np.array(index, dtype=np.intp).reshape(-1, 2)


def _layers_of(extractor):
    """Give the layers of an extractor as maps: its own pooled features are of the last map."""
    from sktransfer.backbones import Tap

    taps = tuple(dict.fromkeys(Tap("map") if tap.kind == "features" else tap for tap in extractor.taps_))
    return Layers(taps, tuple(range(len(taps))))


def _sum_under(part: TileMaps, mask: np.ndarray) -> np.ndarray | float:
    """Sum the features of the pixels of a mask that are answered from a tile."""
    cut: Tile = part.tile
    inside = mask[np.ix_(cut.rows, cut.columns)]
    if not (n := np.count_nonzero(inside)):
        return 0.0
    sums = []
    for maps in part.maps:
        lines = [
            between(along, side / cells, cells)
            for along, side, cells in zip(cut.positions(cut.rows, cut.columns), cut.padded, maps.shape[1:], strict=True)
        ]
        weights = weights_of_cells(inside, lines[0], lines[1], maps.shape[1:])
        sums.append(n * (maps.reshape(len(maps), -1) @ weights.ravel()))
    return np.concatenate(sums)


def _objects(masks: Any, row: int, size: list[int]) -> Iterator[tuple[int, np.ndarray]]:
    """Give the objects of one picture: their numbers, and masks ``(height, width)``."""
    is_file = isinstance(masks, Image.Image | str) or hasattr(masks, "__fspath__")
    values = labels_of(masks) if is_file else np.asarray(masks)
    if values.size == 0:
        return
    if values.shape == tuple(size):
        yield from _of_labels(values, row)
    elif values.ndim == 3 and values.shape[1:] == tuple(size):
        for number, mask in enumerate(values.astype(bool)):
            yield _present(mask, row, number)
    elif values.ndim == 2 and values.shape[1] == 4 and values.dtype.kind in "iuf":
        for number, box in enumerate(values.tolist()):
            yield _present(_of_box(box, row, number, size), row, number)
    else:
        raise ValueError(
            f"Row {row} of masks is of shape {values.shape}, and its picture of {size[0]} x {size[1]} pixels (height x "
            "width): expected a label picture of that size, masks (n_objects, height, width), or boxes (n_objects, 4)."
        )


def _of_labels(values, row):
    if values.dtype.kind not in "biu":
        raise ValueError(f"Row {row} of masks is of dtype {values.dtype}: expected whole numbers, one an object.")
    for label in np.unique(values).tolist():
        if label not in (0, -1):
            yield int(label), values == label


def _of_box(box, row, number, size):
    left, top, right, bottom = box
    if not (np.isfinite(box).all() and left < right and top < bottom):
        raise ValueError(
            f"Box {number} of row {row} of masks is {tuple(box)}: expected left, top, right and bottom in pixels, the "
            "left before the right and the top above the bottom."
        )
    mask = np.zeros(size, dtype=bool)
    # A pixel is under a box that holds its middle.
    first = [max(0, int(np.ceil(edge - 0.5))) for edge in (top, left)]
    last = [max(0, int(np.ceil(edge - 0.5))) for edge in (bottom, right)]
    mask[first[0] : last[0], first[1] : last[1]] = True
    return mask


def _present(mask, row, number):
    if not mask.any():
        raise ValueError(
            f"Object {number} of row {row} of masks has no pixel in its picture of {mask.shape[0]} x {mask.shape[1]} "
            "pixels (height x width). Leave it out."
        )
    return number, mask
