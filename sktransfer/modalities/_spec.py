"""What ``fit`` learned, or was told, about how pictures are to be read."""

from dataclasses import dataclass
from typing import Literal

__all__ = ["InputSpec"]


@dataclass(frozen=True)
class InputSpec:
    """What ``fit`` learned about the pictures it was given; picklable and hashable.

    Parameters
    ----------
    kind : {"pictures", "arrays", "flattened"}
        Single pictures of any size and form; one array of equally large pictures; a table, one picture a row.

    image_shape : tuple of int, default=None
        ``(height, width, channels)`` of every picture of an array or table.

    channel_axis : {0, 2}, default=None
        Where one picture has its channels: first or last. None without a channel axis.

    channels : int, default=None
        Channels of the arrays in a list, where all have the same number; of every picture, where all channels are
        taken (``select="all"``).

    value_range : tuple of float, default=None
        Black and white of arrays that are neither uint8 nor bool, as learned. None when ``fit`` saw none of those, or
        was told.

    n_features : int, default=None
        Columns of a table.

    select : tuple of int or "all", default=None
        Channels that are taken of each picture, counted from 0. None makes pictures RGB.

    stated_range : tuple of float, default=None
        Black and white as stated: values outside are clipped.

    stated_shape : tuple of int, default=None
        The shape of a picture as stated.

    resize : {"fast", "exact"}, default="fast"
        How pictures are brought to their size; see :class:`~sktransfer.modalities.ImagePreprocessor`.
    """

    kind: str
    image_shape: tuple[int, int, int] | None = None
    channel_axis: int | None = None
    channels: int | None = None
    value_range: tuple[float, float] | None = None
    n_features: int | None = None
    select: tuple[int, ...] | Literal["all"] | None = None
    stated_range: tuple[float, float] | None = None
    stated_shape: tuple[int, ...] | None = None
    resize: str = "fast"

    @property
    def in_chans(self) -> int | None:
        """Channels that the network must take; None where its own will do."""
        if self.select is None:
            return None
        if self.select == "all":
            return self.channels
        return None if len(self.select) in (1, 3) else len(self.select)

    @property
    def reading(self) -> tuple | None:
        """What decides how the same content is read, for cache keys; None where nothing was stated."""
        return None if self.select is None and self.stated_range is None else (self.select, self.stated_range)
