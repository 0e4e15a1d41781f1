"""The one door for X: whatever the user holds becomes an indexable set of samples that are read when needed."""

import warnings
from collections.abc import Sequence
from dataclasses import replace
from math import isqrt, prod
from numbers import Integral, Real

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import validate_data

from sktransfer.exceptions import InvalidImageError
from sktransfer.modalities._arrays import picture_axes
from sktransfer.modalities._channels import Doubt
from sktransfer.modalities._containers import ACCEPTED, is_column_frame, open_container
from sktransfer.modalities._learn import learn_from_list, learn_from_probes, learn_from_stack
from sktransfer.modalities._pictures import READ_ERRORS, LazyItems, PictureReader
from sktransfer.modalities._single import refuse_one_picture
from sktransfer.modalities._spec import InputSpec
from sktransfer.utils._messages import caller_level

__all__ = ["Samples", "check_samples"]

# What was ambiguous in pictures by their digests, so that it is said again where their features come from a cache.
_remembered: dict[bytes, set[Doubt]] = {}
_MOST_REMEMBERED = 2**16


class Samples:
    """Samples of any modality, read one by one when asked for.

    Parameters
    ----------
    items : sequence
        One entry per row of X; ``items[i]`` may be costly.

    reader : object
        Has ``read(item, **options)`` and ``digest(item, by=...)``.

    rows : ndarray of int, default=None
        Rows of X that are meant, in this order. None means all.
    """

    def __init__(self, items: Sequence, reader: object, rows: np.ndarray | None = None):
        self.items = items
        self.reader = reader
        self.rows = np.arange(len(items)) if rows is None else rows
        self._digests: dict[tuple[int, str], bytes] = {}
        self._doubts: set[str] = set()  # kinds of which was warned, once for all that was taken of one X

    def __len__(self) -> int:
        """Count the samples."""
        return len(self.rows)

    def take(self, indices: np.ndarray | Sequence[int] | slice) -> "Samples":
        """Select samples without reading them; error messages keep the rows of the original X.

        Parameters
        ----------
        indices : array-like of int, bool mask or slice
            Positions in these samples.

        Returns
        -------
        Samples
            The selection.
        """
        if not isinstance(indices, slice):
            indices = np.asarray(indices)
            indices = indices.astype(np.intp) if indices.size == 0 else indices
        taken = Samples(self.items, self.reader, self.rows[indices])
        taken._digests, taken._doubts = self._digests, self._doubts
        return taken

    @property
    def can_travel(self) -> bool:
        """Whether the entries are in memory, to be sent to another process; the code of a Dataset stays where it is."""
        return not isinstance(self.items, LazyItems)

    def __getstate__(self):
        if not self.can_travel:
            return self.__dict__
        # The rows that are meant and no others, under the numbers by which messages name them.
        items = {row: self.items[row] for row in self.rows.tolist()}
        return {**self.__dict__, "items": items, "_digests": {}, "_doubts": set()}

    def read(self, i: int, min_size: tuple[int, int] | None = None):
        """Read one sample.

        Parameters
        ----------
        i : int
            Position in these samples.

        min_size : tuple of int, default=None
            ``(height, width)`` below which a picture must not be decoded; see :func:`decode`. None decodes whole.

        Returns
        -------
        PIL.Image.Image or ndarray of shape (height, width, k), float32
            RGB, or the channels that were stated. Arrays, on the scale 0 to 255, come of what has more than 8 bits a
            channel, and of channels that are no colours.

        Raises
        ------
        InvalidImageError
            The sample cannot be read; the message names its row in X and, for a file, its path.
        """
        doubts = []
        picture = self._call("read", i, min_size=min_size, note=doubts.append)
        row = int(self.rows[i])
        for doubt in doubts:
            for by in ("file", "content"):
                _remember(self._digests.get((row, by)), doubt)
            self._warn_of(row, doubt)
        return picture

    def digest(self, i: int, by: str = "file") -> bytes:
        """Name one sample by 16 bytes.

        Parameters
        ----------
        i : int
            Position in these samples.

        by : {"file", "content"}, default="file"
            What a file is known by: its path, size and times, or what is in it.

        Returns
        -------
        bytes
            Equal for a file that is as it was, for equal bytes, and for equal arrays that are read alike.

        Raises
        ------
        InvalidImageError
            There is no content: the file cannot be opened, the entry is missing.
        """
        row = int(self.rows[i])
        if (row, by) not in self._digests:
            self._digests[row, by] = self._call("digest", i, by=by)
        for doubt in _remembered.get(self._digests[row, by], ()):
            self._warn_of(row, doubt)  # the features may come from the cache: nothing is read
        return self._digests[row, by]

    def _warn_of(self, row, doubt):
        if doubt.kind not in self._doubts:
            self._doubts.add(doubt.kind)
            warnings.warn(
                f"Row {row} of X can be read in two ways: {doubt.text}", UserWarning, stacklevel=caller_level()
            )

    def _call(self, method, i, **options):
        row = int(self.rows[i])
        try:
            return getattr(self.reader, method)(self.items[row], **options)
        except READ_ERRORS as error:
            reason = str(error) if isinstance(error, InvalidImageError) else f"{type(error).__name__}: {error}"
            cause = error.__cause__ or error
            raise InvalidImageError(f"Row {row} of X cannot be read as a picture: {reason}") from cause


def _remember(digest, doubt):
    if digest is not None and len(_remembered) < _MOST_REMEMBERED:
        _remembered.setdefault(digest, set()).add(doubt)


def check_samples(
    estimator: BaseEstimator,
    X: object,
    *,
    reset: bool,
    image_shape: tuple[int, ...] | None = None,
    channels: tuple[int, ...] | str | None = None,
    value_range: tuple[float, float] | None = None,
    resize: str = "fast",
) -> Samples:
    """Check X of an image estimator and make it readable sample by sample.

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
    >>> from sktransfer.modalities import check_samples
    >>> estimator = BaseEstimator()
    >>> samples = check_samples(estimator, np.zeros((5, 8, 8), dtype=np.uint8), reset=True)
    >>> len(samples), samples.read(0).size, estimator.input_spec_.image_shape
    (5, (8, 8), (8, 8, 1))
    """
    if isinstance(X, Samples):
        if reset:
            estimator.input_spec_ = X.reader.spec
        return X
    learned = None if reset else estimator.input_spec_
    told = InputSpec("pictures", **_checked_reading(channels, value_range), resize=resize) if reset else learned
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
        spec = learn_from_probes(items, told, name) if reset else learned
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
