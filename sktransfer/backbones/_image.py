"""What a network for pictures is, and how it reads them: one description for all estimators."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from sklearn.base import BaseEstimator

from sktransfer.backbones._holder import BackboneDescription
from sktransfer.modalities import Images

if TYPE_CHECKING:
    from torch import nn

    from sktransfer.backbones._backbone import Backbone
    from sktransfer.modalities import Samples

__all__ = ["SHORT_FORMS", "ImageBackbone", "is_said"]

# Parameters of estimators that are short forms of those of the description, and what they are where nothing is said.
SHORT_FORMS = {"weights": "pretrained", "image_size": None, "image_shape": None, "resize": "fast"}


class ImageBackbone(BackboneDescription):
    """Say which network sees the pictures, and what their channels and values mean.

    Every estimator that has a network takes one as ``backbone``, so that a search reaches what it says
    (``backbone__value_range``). ``weights``, ``image_size``, ``image_shape`` and ``resize`` of an estimator are short
    forms of the same; giving one twice is an error.

    Parameters
    ----------
    name : str, path-like, torch.nn.Module or fitted estimator
        The network, as :func:`~sktransfer.load_backbone` takes it.
    weights : str, path-like or None, default="pretrained"
        ``"pretrained"``, the path of a ``.safetensors`` or ``.pth`` file, or None for random weights.
    image_size : int, tuple of int or None, default=None
        Height and width in pixels at which the network sees the pictures; None takes its own.
    image_shape : tuple of int or None, default=None
        ``(height, width)``, ``(height, width, channels)`` or ``(channels, height, width)`` of flattened pictures, or of
        arrays whose channel axis cannot be told.
    channels : tuple of int, "adapt" or None, default=None
        Which channels of a picture the network sees, counted from 0 as numpy does: of red, green, blue and near
        infrared ``(0, 1, 2)`` are the colours, and ``(3, 0, 1)`` is the usual false-colour picture. One or three
        channels are read as grey or as RGB; for another number the network is built with as many input channels.
        ``"adapt"`` takes all channels that the pictures have and builds the network for as many. The weights of its
        first layer are then summed (for one channel) or repeated in turn, and mean and standard deviation of the
        preprocessing go with them. None makes pictures RGB: transparency is laid on white where the source says that it
        is transparency, a fourth channel of unknown meaning is left out with a warning, and two or more than four
        channels are an error.
    value_range : tuple of float or None, default=None
        Black and white of arrays, and of files with more than 8 bits a channel, such as ``(0, 4095)`` for 12 bits in a
        16-bit file. Values outside are clipped. None takes 0 and 255 for 8 bits, 0 and 65535 for 16-bit files, and for
        other arrays what ``fit`` learns from them.
    resize : {"fast", "exact"}, default="fast"
        ``"exact"`` prepares pictures to the last bit as timm's own transform does, ``"fast"`` within a grey level.

    See Also
    --------
    load_backbone : Loads the network that a description names.

    References
    ----------
    .. [1] Wightman, R. "PyTorch Image Models", 2019. https://doi.org/10.5281/zenodo.4414861 (first layers for other
       numbers of channels: ``adapt_input_conv``).

    Examples
    --------
    >>> import numpy as np
    >>> from sktransfer import ImageBackbone, PretrainedFeatureExtractor
    >>> bands = np.random.default_rng(0).integers(0, 4096, (3, 64, 64, 5), dtype=np.uint16)
    >>> backbone = ImageBackbone("sktransfer_mini", channels="adapt", value_range=(0, 4095))
    >>> PretrainedFeatureExtractor(backbone).fit_transform(bands).shape
    (3, 1280)
    """

    def __init__(
        self,
        name: str | os.PathLike[str] | nn.Module | BaseEstimator,
        *,
        weights: str | os.PathLike[str] | None = "pretrained",
        image_size: int | tuple[int, int] | None = None,
        image_shape: tuple[int, ...] | None = None,
        channels: tuple[int, ...] | str | None = None,
        value_range: tuple[float, float] | None = None,
        resize: str = "fast",
    ):
        self.name = name
        self.weights = weights
        self.image_size = image_size
        self.image_shape = image_shape
        self.channels = channels
        self.value_range = value_range
        self.resize = resize

    def with_short_forms(self, **short: Any) -> ImageBackbone:
        """Take over what is said beside the description.

        Parameters
        ----------
        **short
            Parameters of this class, with their defaults where nothing was said.

        Returns
        -------
        ImageBackbone
            This one where nothing was said.
        """
        said = {name: value for name, value in short.items() if is_said(name, value)}
        twice = [name for name in said if is_said(name, getattr(self, name))]
        if twice:
            name = twice[0]
            raise ValueError(
                f"{name}={said[name]!r} is given beside backbone=ImageBackbone(..., {name}={getattr(self, name)!r}), "
                "which says it already. Give it once."
            )
        return type(self)(**{**self.get_params(deep=False), **said}) if said else self

    @property
    def reading(self) -> dict[str, Any]:
        """What ``Modality.open`` is told."""
        return {name: getattr(self, name) for name in ("image_shape", "channels", "value_range", "resize")}

    def load(self, *, random_state: int = 0) -> Backbone:
        """Load the network.

        Parameters
        ----------
        random_state : int, default=0
            Seed of random weights.
        """
        from sktransfer.backbones._load import load_backbone

        backbone = load_backbone(self.name, weights=self.weights, image_size=self.image_size, random_state=random_state)
        said = [name for name, value in self.reading.items() if value is not None and value != SHORT_FORMS.get(name)]
        if said and not isinstance(backbone.modality, Images):
            raise ValueError(
                f"{said[0]}={getattr(self, said[0])!r} is of networks for pictures, and {backbone.name} sees a "
                f"{backbone.modality.noun}: leave it at its default."
            )
        return backbone

    def fitted(self, backbone: Backbone, samples: Samples) -> Backbone:
        """Give the network with as many input channels as the pictures bring.

        Parameters
        ----------
        backbone : Backbone
            From :meth:`load`.
        samples : Samples
            Pictures, and what was learned about them.

        Raises
        ------
        ValueError
            If the network takes neither grey nor RGB pictures, and nothing says which channels it is to see.
        """
        from sktransfer.backbones._load import for_input
        from sktransfer.modalities import Images

        if not isinstance(backbone.modality, Images):  # of a fitted estimator of another kind of data
            return backbone
        backbone = for_input(backbone, samples.spec.in_chans)
        if backbone.in_chans not in (1, 3) and self.channels is None:
            raise ValueError(
                f"backbone={backbone.name} takes {backbone.in_chans} channels: say which ones of the pictures, "
                f"backbone=ImageBackbone(name, channels={tuple(range(backbone.in_chans))}), or channels='adapt' where "
                "the pictures have just as many."
            )
        return backbone


def is_said(name: str, value: Any) -> bool:
    """Whether a short form has another value than the one that says nothing."""
    silent = SHORT_FORMS[name]
    return value is not None if silent is None else not (isinstance(value, str) and value == silent)
