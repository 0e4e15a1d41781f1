"""What is computed on a sample: pooled features of some layers, or the map at a stage boundary."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import torch

from sktransfer.backbones import Backbone, Identity, Tap
from sktransfer.utils._batch import Batch

__all__ = ["POOLINGS", "Boundary", "Computation", "LayerMaps", "PooledLayers", "SourceProba", "TrainedNet", "Views"]

POOLINGS = ("avg", "max", "avgmax", "gem", "cls", "flatten", "time")

_GEM_POWER, _GEM_FLOOR = 3.0, 1e-6


class Computation(Protocol):
    """Something that a network computes of samples, one row each."""

    @property
    def identity(self) -> Identity:
        """What the numbers are known by, but for the sample and its preparation."""

    @property
    def cpu_rows(self) -> int:
        """Samples that a CPU takes at once."""

    def __call__(self, x: Batch) -> torch.Tensor:
        """Compute a batch of prepared samples."""

    def shape(self) -> tuple[int, ...]:
        """Shape of one sample's row."""


class PooledLayers(NamedTuple):
    """Features of one or several layers, pooled and concatenated: ``(n, d)``, or one map ``(n, C, H, W)``."""

    backbone: Backbone
    taps: tuple[Tap, ...]
    pooling: str | None

    @property
    def identity(self) -> Identity:
        """What the numbers are known by, but for the sample and its preparation."""
        pooling = self.pooling
        if pooling == "time":
            pooling = f"{self.backbone.modality.time_steps} times"
        return self.backbone.identify(f"{[tuple(tap) for tap in self.taps]}|{pooling}", self.__call__)

    @property
    def cpu_rows(self) -> int:
        """Samples that a CPU takes at once."""
        return self.backbone.cpu_rows

    def __call__(self, x: Batch) -> torch.Tensor:
        """Compute the features of a batch of prepared samples."""
        return self.pool(self.backbone.outputs(x, list(self.taps)))

    def pool(self, outputs: list[torch.Tensor]) -> torch.Tensor:
        """Make the features of what the network gives at the taps."""
        parts = [self._pool(output) for output in outputs]
        return parts[0] if len(parts) == 1 else torch.cat(parts, 1)

    def shape(self) -> tuple[int, ...]:
        """Shape of one sample's features."""
        return self.backbone.shape_of((self.taps, self.pooling, self.backbone.modality.time_steps), self._shape)

    def _shape(self):
        parts = [self._pool(output) for output in self.backbone.probe(list(self.taps))]
        return (sum(part.shape[1] for part in parts), *parts[0].shape[2:])

    def _pool(self, x):
        if x.ndim == 2:
            return x
        own = getattr(self.backbone.module, "pooled", None)
        if own is not None:
            return own(x, self.pooling)
        if self.pooling == "flatten":
            return (self.backbone.as_map(x)[0] if x.ndim == 4 else x).flatten(1)
        maps, token = self.backbone.as_map(x)
        if self.pooling == "cls":
            if token is None:
                raise ValueError(
                    f"pooling='cls': {self.backbone.name} has no class token. Use 'avg', 'max', 'avgmax' or 'gem'."
                )
            return token
        if self.pooling == "time":
            # Channel by channel, its steps one after another.
            steps = torch.nn.functional.adaptive_avg_pool1d(maps.mean(3), self.backbone.modality.time_steps)
            return steps.flatten(1)
        return maps if self.pooling is None else _POOL[self.pooling](maps)


def _gem(maps):
    # Radenovic, Tolias & Chum 2019: the generalised mean, between the mean (power 1) and the maximum (infinity).
    return maps.clamp(min=_GEM_FLOOR).pow(_GEM_POWER).mean((2, 3)).pow(1 / _GEM_POWER)


_POOL = {
    "avg": lambda maps: maps.mean((2, 3)),
    "max": lambda maps: maps.amax((2, 3)),
    "avgmax": lambda maps: (maps.mean((2, 3)) + maps.amax((2, 3))) / 2,
    "gem": _gem,
}


class Boundary(NamedTuple):
    """The output of everything before stage `start`; with ``start=None`` the pooled features of the whole network."""

    backbone: Backbone
    start: int | None

    @property
    def identity(self) -> Identity:
        """What the numbers are known by, but for the sample and its preparation."""
        return self.backbone.identify(f"boundary {self.start}", self.__call__)

    @property
    def cpu_rows(self) -> int:
        """Samples that a CPU takes at once."""
        return self.backbone.cpu_rows

    def __call__(self, x: Batch) -> torch.Tensor:
        """Compute the boundary features of a batch of prepared samples."""
        return self.backbone.boundary(x, self.start)

    def shape(self) -> tuple[int, ...]:
        """Shape of one sample's boundary features."""
        if self.start is None:
            return (self.backbone.n_features,)
        return self.backbone.shape_of(self.start, self._shape)

    def _shape(self):
        with torch.inference_mode():
            return tuple(self(self.backbone.modality.example(1)).shape[1:])


class LayerMaps(NamedTuple):
    """The maps of some layers for inputs of one size, one after another in a row.

    Attributes
    ----------
    backbone : Backbone
    taps : tuple of Tap
    size : tuple of int
        ``(height, width)`` of the input, whole strides of the network.
    boundary : int or None, default=None
        Stage whose input stands behind the maps, as the network lays it out.
    """

    backbone: Backbone
    taps: tuple[Tap, ...]
    size: tuple[int, int]
    boundary: int | None = None

    @property
    def identity(self) -> Identity:
        """What the numbers are known by, but for the sample and its preparation."""
        behind = "" if self.boundary is None else f", input of {self.boundary}"
        return self.backbone.identify(f"maps {[tuple(tap) for tap in self.taps]}{behind}", self.__call__)

    @property
    def cpu_rows(self) -> int:
        """Samples that a CPU takes at once: a map of one's own size may be a large one."""
        return 1

    def __call__(self, x: Batch) -> torch.Tensor:
        """Compute the maps of a batch of prepared samples."""
        last = [] if self.boundary is None else [Tap("stage", self.boundary - 1)]
        outputs = self.backbone.outputs(x, [*self.taps, *last])
        maps = self._maps(x, outputs[: len(self.taps)])
        return torch.cat([found.flatten(1) for found in (*maps, *outputs[len(self.taps) :])], 1)

    def _maps(self, x, outputs):
        for tap, output in zip(self.taps, outputs, strict=True):
            if output.ndim not in (3, 4):
                raise ValueError(
                    f"Layer {tap.where!r} of {self.backbone.name} gives {tuple(output.shape[1:])} numbers a "
                    f"{self.backbone.modality.noun}, which is no map: pass the numbers or names of earlier layers."
                )
        return [self.backbone.as_map(output, tuple(x.shape[1:]))[0] for output in outputs]  # type: ignore[union-attr]

    def shapes(self) -> list[tuple[int, ...]]:
        """Shape of each map: ``(channels, height, width)``."""
        expected = self._scaled()
        return self._shapes_at(self.size) if expected is None else expected

    def fits(self) -> bool:
        """Whether the network takes inputs of this size, and gives maps that grow with them."""
        try:
            found = self._shapes_at(self.size)
        except (RuntimeError, AssertionError, ValueError, IndexError):
            return False
        return self._scaled() in (None, found)

    def _scaled(self):
        """Shapes that follow from those at the network's own size; None where cells are no whole strides."""
        own = self.backbone.config["input_size"][1:]
        shapes = []
        for channels, *cells in self._shapes_at(own):
            if any(side % n or size * n % side for side, n, size in zip(own, cells, self.size, strict=True)):
                return None
            shapes.append((channels, *(size * n // side for side, n, size in zip(own, cells, self.size, strict=True))))
        return shapes

    def _shapes_at(self, size):
        numbers = self.backbone.shape_of(("maps", self.taps, tuple(size)), lambda: self._run_blank(size))
        return [numbers[start : start + 3] for start in range(0, len(numbers), 3)]

    def _run_blank(self, size):
        with torch.inference_mode():
            x = torch.zeros(1, self.backbone.in_chans, *size)
            maps = self._maps(x, self.backbone.outputs(x, list(self.taps)))
        return tuple(side for found in maps for side in found.shape[1:])

    def shape(self) -> tuple[int, ...]:
        """Shape of one sample's row."""
        return (sum(math.prod(shape) for shape in (*self.shapes(), *self.behind())),)

    def behind(self) -> list[tuple[int, ...]]:
        """Shape of what stands behind the maps, if anything does."""
        if self.boundary is None:
            return []
        tap, size = Tap("stage", self.boundary - 1), self.size

        def find():
            with torch.inference_mode():
                (output,) = self.backbone.outputs(torch.zeros(1, self.backbone.in_chans, *size), [tap])
            return tuple(output.shape[1:])

        return [self.backbone.shape_of(("input of", self.boundary, size), find)]


class SourceProba(NamedTuple):
    """Probabilities of the classes of the source task, by the classifier that came with the weights."""

    backbone: Backbone

    @property
    def identity(self) -> Identity:
        """What the numbers are known by, but for the sample and its preparation."""
        return self.backbone.identify("source probabilities", self.__call__)

    @property
    def cpu_rows(self) -> int:
        """Samples that a CPU takes at once."""
        return self.backbone.cpu_rows

    def __call__(self, x: Batch) -> torch.Tensor:
        """Compute the probabilities of a batch of prepared samples."""
        return self.backbone.source_proba(x)

    def shape(self) -> tuple[int, ...]:
        """Shape of one sample's probabilities."""
        return self.backbone.shape_of("source classes", self._shape)

    def _shape(self):
        return tuple(self(self.backbone.modality.example(1)).shape[1:])


class TrainedNet(NamedTuple):
    """A network that learned from the sample on, all of it: nothing can be cached.

    Attributes
    ----------
    module : torch.nn.Module
        Gives outputs of which `output` is wanted, by ``run(x, 0)``.
    output : str
    width : int
        Of that output.
    cpu_rows : int
        Samples that a CPU takes at once.
    """

    module: Any
    output: str
    width: int
    cpu_rows: int

    @property
    def identity(self) -> Identity:
        """Nothing that it computes is kept."""
        return Identity(None)

    def __call__(self, x: Batch) -> torch.Tensor:
        """Compute the output for a batch of prepared samples."""
        return getattr(self.module.eval().run(x, 0), self.output)

    def shape(self) -> tuple[int, ...]:
        """Shape of one sample's output."""
        return (self.width,)


class Views(NamedTuple):
    """What another computation gives for several views of a sample: their mean, or one after the other.

    Attributes
    ----------
    of : Computation
    views : sequence of callable
        Of a batch, as the modality gives them.
    is_mean : bool
        Whether the rows are means ``(n, ...)``, or hold the views apart ``(n, n_views, ...)``.
    """

    of: Any
    views: Sequence[Any]
    is_mean: bool = True

    @property
    def identity(self) -> Identity:
        """What the numbers are known by, but for the sample and its preparation."""
        identity = self.of.identity
        if identity.key is None:
            return identity
        return identity._replace(key=f"{identity.key}|{'mean of ' * self.is_mean}{len(self.views)} views")

    @property
    def cpu_rows(self) -> int:
        """Samples that a CPU takes at once."""
        return self.of.cpu_rows

    def __call__(self, x: Batch) -> torch.Tensor:
        """Compute all views of a batch of prepared samples."""
        rows = torch.stack([self.of(view(x)) for view in self.views], 1)
        return rows.mean(1) if self.is_mean else rows

    def shape(self) -> tuple[int, ...]:
        """Shape of one sample's row."""
        return self.of.shape() if self.is_mean else (len(self.views), *self.of.shape())
