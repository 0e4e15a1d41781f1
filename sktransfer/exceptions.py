"""Errors and warnings of sktransfer."""

__all__ = [
    "CacheWarning",
    "DomainError",
    "InvalidImageError",
    "InvalidImageWarning",
    "NegativeTransferWarning",
    "WeightsMismatchError",
    "WeightsNotFoundError",
]


class WeightsNotFoundError(OSError):
    """The pretrained weights of a backbone cannot be had: no network, no such file, no such name."""


class WeightsMismatchError(ValueError):
    """A weight file does not fit its backbone, or weights changed since an estimator was fitted."""


class InvalidImageError(ValueError):
    """A sample cannot be read as a picture; the message names its row and, where there is one, its path."""


class InvalidImageWarning(UserWarning):
    """A picture could not be read and became a row of NaN (``on_error="nan"``)."""


class DomainError(ValueError):
    """``sample_domain`` and ``y`` do not say which rows are source and which are target."""


class NegativeTransferWarning(UserWarning):
    """Transfer makes the target worse than no transfer."""


class CacheWarning(UserWarning):
    """The feature cache had to be rebuilt or could not be written; the features themselves are right."""
