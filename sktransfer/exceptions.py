"""Errors and warnings of sktransfer."""

__all__ = [
    "CacheWarning",
    "DivergenceError",
    "DomainError",
    "InvalidAudioError",
    "InvalidImageError",
    "InvalidImageWarning",
    "InvalidSampleError",
    "InvalidSampleWarning",
    "InvalidTextError",
    "NegativeTransferWarning",
    "WeightsMismatchError",
    "WeightsNotFoundError",
]


class WeightsNotFoundError(OSError):
    """The pretrained weights of a backbone cannot be had: no network, no such file, no such name."""


class WeightsMismatchError(ValueError):
    """A weight file does not fit its backbone, or weights changed since an estimator was fitted."""


class InvalidSampleError(ValueError):
    """A sample cannot be read; the message names its row and, where there is one, its path."""


class InvalidImageError(InvalidSampleError):
    """A sample cannot be read as a picture."""


class InvalidAudioError(InvalidSampleError):
    """A sample cannot be read as a recording."""


class InvalidTextError(InvalidSampleError):
    """A sample cannot be read as a text."""


class InvalidSampleWarning(UserWarning):
    """Samples could not be read and became rows of NaN (``on_error="nan"``), or were left out (``"drop"``)."""


class InvalidImageWarning(InvalidSampleWarning):
    """Pictures could not be read and became rows of NaN, or were left out."""


class DivergenceError(RuntimeError):
    """The loss of a training, or its weights, are no longer numbers; the message says what to change.

    Parameters
    ----------
    message : str
    has_weights : bool, default=False
        Whether the estimator has the weights of an earlier epoch, and predicts by them.
    """

    def __init__(self, message: str, has_weights: bool = False):
        super().__init__(message, has_weights)
        self.has_weights = has_weights

    def __str__(self) -> str:
        return self.args[0]


class DomainError(ValueError):
    """``sample_domain`` and ``y`` do not say which rows are source and which are target."""


class NegativeTransferWarning(UserWarning):
    """Transfer makes the target worse than no transfer."""


class CacheWarning(UserWarning):
    """The feature cache had to be rebuilt or could not be written; the features themselves are right."""
