"""From the channels that a picture has to those that the network takes."""

from collections.abc import Callable

import numpy as np
from PIL import Image

from sktransfer.exceptions import InvalidImageError
from sktransfer.modalities._samples import Doubt, ignore
from sktransfer.modalities._spec import InputSpec

__all__ = ["assemble", "both_ways", "check_channels", "file_limits"]

_STATE_IT = "backbone=ImageBackbone(name, value_range=(black, white))"
_TWELVE_BITS = 4095


def both_ways(n: int) -> str:
    """Say how pictures with `n` channels can be read."""
    picked = (3, 2, 1) if n > 3 else (0, 1, 0)
    return (
        f"backbone=ImageBackbone(name, channels={picked}) picks channels, counted from 0, and channels='adapt' builds "
        "the network for all of them"
    )


def assemble(
    values: np.ndarray,
    limits: tuple[float, float],
    spec: InputSpec,
    note: Callable[[Doubt], None] = ignore,
    *,
    alpha: str | None = None,
) -> Image.Image | np.ndarray:
    """Make the picture that is wanted of one that has any number of channels.

    Parameters
    ----------
    values : ndarray of shape (height, width, channels)
        Any real dtype.

    limits : tuple of float
        Black and white.

    spec : InputSpec
        Which channels are taken, and whether the limits were stated.

    note : callable, default=ignore
        Gets a :class:`Doubt` where something is ambiguous.

    alpha : {"premultiplied", "straight"} or None, default=None
        Where the source says that the channel after the colours is transparency, whether they were multiplied by it.

    Returns
    -------
    PIL.Image.Image or ndarray of shape (height, width, k), float32
        RGB, or ``"L"`` where one channel was asked for; grey levels from 0 to 255 where the values are no uint8 of
        that scale or the channels are no colours.
    """
    chosen, opacity = _choose(values, spec, note, alpha)
    n = chosen.shape[2]
    single = n == 1 and spec.select == "all"
    black, white = limits
    if chosen.dtype == np.uint8 and (black, white) == (0, 255) and n in (1, 3) and opacity is None:
        image = Image.fromarray(np.ascontiguousarray(chosen[..., 0] if n == 1 else chosen))
        return image if single else image.convert("RGB")
    levels = _levels(chosen, black, white, spec.stated_range is not None)
    if opacity is not None:
        share = np.clip(_levels(opacity, 0.0, _white_of(opacity.dtype), False) / np.float32(255), 0, 1)
        # A premultiplied colour is at most its share; careless writers exceed it.
        shown = np.minimum(levels, np.float32(255) * share) if alpha == "premultiplied" else levels * share
        levels = shown + np.float32(255) * (1 - share)
    return np.repeat(levels, 3, axis=2) if n == 1 and not single else np.ascontiguousarray(levels)


def _levels(values, black, white, clip):
    levels = ((values.astype(np.float64) - black) * (255.0 / (white - black))).astype(np.float32)
    return np.clip(levels, 0, 255, out=levels) if clip else levels


def _choose(values, spec, note, alpha):
    n = values.shape[2]
    if not (alpha and n == 2 and spec.select is None):
        check_channels(n, spec)
    if spec.select is not None:
        return (values if spec.select == "all" else values[..., list(spec.select)]), None
    if n in (1, 3):
        return values, None
    colours, further = values[..., : n - 1], values[..., n - 1 :]
    if alpha and _is_mask(further):
        return colours, further
    if not (further == _white_of(values.dtype)).all():
        note(
            Doubt(
                "channels",
                f"it has {n} channels, and the last may be transparency or a further band such as near infrared: it "
                f"was left out. {both_ways(n)}; channels={(0, 1, 2) if n == 4 else (0,)} says that leaving it out "
                "is meant. Pictures with transparency are PIL images, or files that say so.",
            )
        )
    return colours, None


def _white_of(dtype):
    return float(np.iinfo(dtype).max) if dtype.kind in "ui" else 1.0


def _is_mask(channel):
    """Whether at least half of a channel is wholly opaque or wholly clear, as transparency is."""
    return bool(((channel == 0) | (channel == _white_of(channel.dtype))).mean() >= 0.5)


def file_limits(
    values: np.ndarray, spec: InputSpec, note: Callable[[Doubt], None] = ignore, *, sixteen_bits: bool = False
) -> tuple[float, float]:
    """Tell black and white of a file of numbers, by a rule that looks at this picture alone where none were stated.

    8-bit files: 255 is white. 16-bit files: 65535. Other integers: 255 where no value is above 255, else 65535 where
    no value is above that. Floats: 1 is white where all lie in [0, 1], 255 where all lie in [0, 255]. Everything else
    is stretched from its own minimum to its own maximum.

    Parameters
    ----------
    values : ndarray
        Not empty.

    spec : InputSpec

    note : callable, default=ignore
        Gets a :class:`Doubt` where 16-bit values fit into 12 bits, floats are above 1 but none above 127, and where a
        picture is stretched.

    sixteen_bits : bool, default=False
        Whether integers of another dtype come from a file of 16 bits.

    Returns
    -------
    tuple of float
        Black and white.
    """
    if values.dtype == np.uint8 or values.dtype.kind == "b":
        return 0.0, _white_of(np.dtype(np.uint8)) if values.dtype.kind != "b" else 1.0
    low, high = float(values.min()), float(values.max())
    if not np.isfinite([low, high]).all():
        raise ValueError("the picture holds NaN or infinite values")
    if spec.stated_range is not None:
        return spec.stated_range
    whole = values.dtype.kind in "ui"
    if values.dtype == np.uint16 or sixteen_bits or (whole and low >= 0 and 255 < high <= 65535):
        if 0 < high <= _TWELVE_BITS:
            note(
                Doubt(
                    "bits",
                    f"it has 16 bits a value, of which none is above {high:g}, and is read as almost black, with white "
                    "at 65535. If white is another value, say so: backbone=ImageBackbone(name, value_range=(0, 4095)); "
                    "value_range=(0, 65535) says that this is meant.",
                )
            )
        return 0.0, 65535.0
    if low >= 0 and high <= 1 and not whole:
        return 0.0, 1.0
    if low >= 0 and high <= 255:
        if not whole and high <= 127:
            note(
                Doubt(
                    "range",
                    f"it has values up to {high:g}, and is read as a dark picture with white at 255. If white is "
                    f"another value, say so: {_STATE_IT}; (0, 255) says that this is meant.",
                )
            )
        return 0.0, 255.0
    note(
        Doubt(
            "range",
            f"it has values from {low:g} to {high:g}, which are on no usual scale: it is stretched from its own "
            "smallest to its own largest value, so that the brightness of two pictures cannot be compared. Say what "
            f"black and white are: {_STATE_IT}.",
        )
    )
    return low, high if high > low else low + 1.0


def check_channels(n: int, spec: InputSpec) -> None:
    """Refuse a number of channels of which no picture can be made.

    Parameters
    ----------
    n : int
        Channels that a picture has.

    spec : InputSpec
        Which are wanted.

    Raises
    ------
    InvalidImageError
        Says what to do about it.
    """
    if spec.select == "all":
        if spec.channels not in (None, n):
            raise InvalidImageError(f"it has {n} channel(s), and fit saw pictures with {spec.channels}")
    elif spec.select is not None:
        if max(spec.select) >= n:
            raise InvalidImageError(
                f"it has {n} channel(s), and channels={spec.select} asks for number {max(spec.select)}, counted from 0"
            )
    elif n == 2 or n > 4:
        raise InvalidImageError(f"a picture with {n} channels is neither grey nor RGB: {both_ways(n)}.")
