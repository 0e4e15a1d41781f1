"""Pictures as X: the one door for whatever the user holds, and how they are prepared for a network."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from math import isqrt, prod
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import validate_data

from sktransfer.modalities._arrays import picture_axes
from sktransfer.modalities._containers import ACCEPTED, is_column_frame, open_container
from sktransfer.modalities._image_files import to_pil
from sktransfer.modalities._learn import learn_from_list, learn_from_probes, learn_from_stack
from sktransfer.modalities._modality import Modality
from sktransfer.modalities._pictures import PictureReader
from sktransfer.modalities._preprocess import ImagePreprocessor
from sktransfer.modalities._samples import LazyItems, Samples
from sktransfer.modalities._single import refuse_one_picture
from sktransfer.modalities._spec import InputSpec

__all__ = ["Images", "open_images"]


class Images(Modality):
    """Pictures, prepared as a network of timm's takes them.

    Parameters
    ----------
    preprocessing : mapping
        Arguments of :class:`ImagePreprocessor`.
    transform : callable or None, default=None
        Gives a random change of a PIL image to a tensor, by the word for it.
    mixer : callable or None, default=None
        Gives what mixes a batch, by the strengths of mixup and CutMix.
    """

    noun = "picture"
    spec_type = InputSpec

    def __init__(
        self,
        preprocessing: Mapping[str, Any],
        *,
        transform: Callable[[str], Callable] | None = None,
        mixer: Callable[[float, float], Callable] | None = None,
    ):
        self.preprocessing = dict(preprocessing)
        self.transform = transform
        self.mixer = mixer
        self._preprocessors: dict[str, ImagePreprocessor] = {}

    def preprocessor(self, resize: str = "fast") -> ImagePreprocessor:
        """Give what prepares a picture."""
        if resize not in self._preprocessors:
            self._preprocessors[resize] = ImagePreprocessor(**self.preprocessing, resize=resize)
        return self._preprocessors[resize]

    def open(self, estimator: Any, X: Any, *, reset: bool, **told: Any) -> Samples:
        """Check X and make it readable picture by picture; see :func:`open_images`."""
        return open_images(estimator, X, reset=reset, **told)

    def prepare(self, samples: Samples, i: int) -> np.ndarray:
        """Read, resize and normalise one picture: ``(channels, height, width)`` float32."""
        preprocess = self.preprocessor(samples.spec.resize)
        return preprocess(samples.read(i, min_size=preprocess.min_source_size))

    def blank(self) -> np.ndarray:
        """Give zeros ``(channels, height, width)``, which are a picture of the mean colour."""
        preprocess = self.preprocessor()
        return np.zeros((preprocess.in_chans, *preprocess.input_size), dtype=np.float32)

    def key(self, samples: Samples) -> str:
        """Name the preprocessing."""
        return self.preprocessor(samples.spec.resize).key()

    def views(self, n: int) -> list[Callable[[Any], Any]]:
        """Give mirror images and crops; see :meth:`Modality.views`."""
        from sktransfer.modalities._views import picture_views

        return picture_views(n)

    def changed(self, samples: Samples, how: Any) -> tuple[Callable[[int], Any], Callable[[Any], Any]]:
        """Say how pictures are read and changed at random; see :meth:`Modality.changed`."""
        channels = self.preprocessor().in_chans
        if channels not in (1, 3):
            raise ValueError(
                f"augment={how!r} changes pictures of one or three channels, and the network sees {channels}. Pass "
                "augment='none', or pick three channels: ImageBackbone(name, channels=(0, 1, 2))."
            )

        def read(i):
            return to_pil(samples.read(i))

        if callable(how):
            from sktransfer.modalities._augmented import augmented_by

            preprocess = self.preprocessor(samples.spec.resize)
            return read, (lambda picture: preprocess(augmented_by(how, picture)))
        if self.transform is None:
            return super().changed(samples, how)
        transform = self.transform(how)
        if channels == 1:
            return read, (lambda picture: transform(picture.convert("L")))
        return read, transform

    def check_spec(self, spec: InputSpec, n_columns: int | None) -> None:
        """Refuse a specification that is none; see :meth:`Modality.check_spec`."""
        shape = spec.image_shape or ()
        fits = bool(shape) or spec.kind == "pictures"
        fits = fits and spec.kind in ("pictures", "arrays", "flattened") and spec.channel_axis in (None, 0, 2)
        fits = fits and len(shape) in (0, 3) and all(isinstance(side, int) and side > 0 for side in shape)
        if spec.kind == "flattened":
            fits = fits and spec.n_features == prod(shape) == n_columns
        for low_high in (spec.value_range, spec.stated_range):
            fits = fits and (low_high is None or (len(low_high) == 2 and low_high[0] < low_high[1]))
        chosen = () if spec.select in (None, "all") else spec.select
        fits = fits and spec.resize in ("fast", "exact") and all(isinstance(number, int) for number in chosen)
        if not fits:
            raise ValueError(f"input_spec_ is {spec}, with {n_columns} columns")

    def described(self, spec: InputSpec) -> dict[str, Any]:
        """Say how pictures are prepared; see :meth:`Modality.described`."""
        channels = self.preprocessor().in_chans
        return {
            **self.preprocessing,
            "color": {1: "L", 3: "RGB"}.get(channels, f"{channels} channels"),
            "channels": spec.select,
            "value_range": spec.stated_range or spec.value_range,
        }

    def graph(self, spec: InputSpec, opset: int, caller: str) -> Any:
        """Write the preparation as an ONNX model; see :func:`preparation_graph`."""
        from sktransfer.modalities._onnx_images import preparation_graph

        return preparation_graph(self.preprocessor(), spec, opset, caller)

    def mixed(self, mixup: float, cutmix: float) -> Callable[[Any], Any]:
        """Give timm's mixer of a batch; see :meth:`Modality.mixed`."""
        return super().mixed(mixup, cutmix) if self.mixer is None else self.mixer(mixup, cutmix)


def open_images(
    estimator: BaseEstimator,
    X: object,
    *,
    reset: bool,
    image_shape: tuple[int, ...] | None = None,
    channels: tuple[int, ...] | str | None = None,
    value_range: tuple[float, float] | None = None,
    resize: str = "fast",
) -> Samples:
    """Check pictures and make them readable sample by sample.

    What must be learned from data (shape, channel order and value range of arrays, columns of a table) is learned
    with ``reset=True`` and kept in ``estimator.input_spec_``; with ``reset=False`` X must agree with it. Pictures are
    not decoded here. Of a sequence that makes its entries when asked (a torch Dataset), the first entry is looked at
    with ``reset=True``, and where it is an array of floats 64 evenly spaced ones, to learn the range of values.

    Parameters
    ----------
    estimator : estimator
        Gets or has ``input_spec_``, and for tables ``n_features_in_`` and ``feature_names_in_``.

    X : object
        Paths, encoded bytes, PIL images, arrays, tensors, a table of flattened pictures, or a Dataset.

    reset : bool
        True in ``fit``, False in ``predict`` and ``transform``.

    image_shape : tuple of int, default=None
        ``(height, width)``, ``(height, width, channels)`` or ``(channels, height, width)`` of flattened pictures, and
        of arrays whose channel axis could be either. None reads a row of ``k * k`` numbers as a grey square. With
        ``reset=False`` None stands for what `fit` was told.

    channels : tuple of int, "adapt" or None, default=None
        Channels to take of each picture, counted from 0, or all of them; None makes pictures RGB. Read with
        ``reset=True`` and kept in ``input_spec_``, as are the following two.

    value_range : tuple of float, default=None
        Black and white of arrays and of files with more than 8 bits a channel; values outside are clipped.

    resize : {"fast", "exact"}, default="fast"
        See :class:`ImagePreprocessor`.

    Returns
    -------
    Samples
        One sample per row of X.

    Raises
    ------
    TypeError
        X is no collection of pictures; the message lists what is accepted.
    ValueError
        X is empty, not finite, of an ambiguous shape, or other than what the estimator was fitted on.

    Notes
    -----
    uint8 arrays are grey levels from 0 to 255 and bool arrays black and white. The range of other arrays is learned
    in ``fit``: [0, 1], [-1, 1] or [0, 255] (where a value is above 127) if the values lie in it, else from their
    smallest to their largest. Values beyond it by more than a quarter of its width (by more than its width, where it is
    the values' own) are refused later. Arrays have one channel (grey), three (RGB) or four (RGB and another one, which
    is left out with a warning) unless `channels` says what to take; an axis of size 1 to 4 is the channel axis.

    The code of a Dataset runs in one thread at a time; files, bytes and images are decoded in several.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.base import BaseEstimator
    >>> from sktransfer.modalities import open_images
    >>> estimator = BaseEstimator()
    >>> samples = open_images(estimator, np.zeros((5, 8, 8), dtype=np.uint8), reset=True)
    >>> len(samples), samples.read(0).size, estimator.input_spec_.image_shape
    (5, (8, 8), (8, 8, 1))
    """
    if isinstance(X, Samples):
        if reset:
            estimator.input_spec_ = X.reader.spec
        return X
    learned: InputSpec | None = None if reset else estimator.input_spec_
    told = learned or InputSpec("pictures", **_checked_reading(channels, value_range), resize=resize)
    image_shape = _checked_shape(image_shape, told) or told.stated_shape
    told = replace(told, stated_shape=image_shape)
    form, items = open_container(X)
    refuse_one_picture(form, X, items, told, learned)
    if form == "table":
        return _check_table(estimator, items, told, learned)
    if is_column_frame(X):
        validate_data(estimator, X, reset=reset, skip_check_array=True)
    elif reset:
        _forget_columns(estimator)
    if len(items) == 0:
        raise ValueError(f"Found array with 0 sample(s): X is an empty {type(X).__name__}. {ACCEPTED}")
    name = type(estimator).__name__
    if form == "stack":
        spec = learn_from_stack(items, told, learned, name)
    elif form == "list":
        spec = learn_from_list(items, told, learned, name)
    else:
        items = LazyItems(items)
        spec = learned or learn_from_probes(items, told, name)
    if reset:
        estimator.input_spec_ = spec
    return Samples(items, PictureReader(spec, name))


def _check_table(estimator, X, told, learned):
    try:
        table = validate_data(estimator, X, reset=learned is None)
    except ValueError as error:
        if learned is None or "features" not in str(error):
            raise
        raise ValueError(f"{error} If X is one picture, pass [X].") from None
    n_features = table.shape[1]
    shape = _row_shape(n_features, told.stated_shape, learned)
    stack = table.reshape(len(table), *shape)
    spec = learn_from_stack(stack, told, learned, type(estimator).__name__)
    if learned is None:
        spec = estimator.input_spec_ = replace(spec, kind="flattened", n_features=n_features)
    return Samples(stack, PictureReader(spec, type(estimator).__name__))


def _row_shape(n_features, image_shape, learned):
    if learned is not None and learned.image_shape is not None:
        height, width, channels = learned.image_shape
        shape = {None: (height, width), 0: (channels, height, width), 2: learned.image_shape}[learned.channel_axis]
    elif image_shape is not None:
        shape = image_shape
    elif isqrt(n_features) ** 2 == n_features:
        shape = (isqrt(n_features),) * 2
    else:
        raise ValueError(
            f"X has {n_features} columns, which is not the square of a whole number: pass image_shape=(height, width), "
            f"(height, width, channels) or (channels, height, width), the shape of the picture in a row of X."
        )
    if prod(shape) != n_features:
        raise ValueError(
            f"X has {n_features} columns, but a picture of shape {tuple(shape)} has {prod(shape)} values: pass the "
            f"image_shape of the rows of X."
        )
    return shape


def _checked_reading(channels, value_range):
    """Check what the user says of channels and values."""
    if channels is not None and channels != "adapt":
        whole = not isinstance(channels, str) and all(isinstance(c, Integral) and c >= 0 for c in channels)
        if not whole or not len(channels):
            raise ValueError(
                f"channels={channels!r}: expected numbers of channels, counted from 0, such as (3, 2, 1), 'adapt' for "
                "all of them, or None for RGB."
            )
        channels = tuple(int(c) for c in channels)
    if value_range is not None:
        limits = tuple(value_range) if isinstance(value_range, Sequence | np.ndarray) else ()
        real = len(limits) == 2 and all(isinstance(limit, Real) and np.isfinite(limit) for limit in limits)
        if not real or not limits[0] < limits[1]:
            raise ValueError(
                f"value_range={value_range!r}: expected (black, white), two numbers of which the second is larger, "
                "such as (0, 4095)."
            )
        value_range = tuple(float(limit) for limit in limits)
    return {"select": "all" if channels == "adapt" else channels, "stated_range": value_range}


def _checked_shape(image_shape, spec):
    if image_shape is None:
        return None
    shape = tuple(image_shape)
    if len(shape) not in (2, 3) or not all(isinstance(side, (int, np.integer)) and side > 0 for side in shape):
        raise ValueError(
            f"image_shape={image_shape!r}: expected (height, width), (height, width, channels) or "
            f"(channels, height, width), whole numbers above 0."
        )
    picture_axes(shape, image_shape=shape, learned=None, spec=spec)
    return tuple(int(side) for side in shape)


def _forget_columns(estimator):
    # A second fit on another kind of X must not keep the columns of the first.
    for name in ("n_features_in_", "feature_names_in_"):
        if hasattr(estimator, name):
            delattr(estimator, name)
