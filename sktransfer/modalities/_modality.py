"""What a kind of data has to tell those who compute with it: one class a kind."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from sktransfer.modalities._parts import Parts
    from sktransfer.modalities._samples import Samples
    from sktransfer.utils._batch import Batch

__all__ = ["Modality"]


class Modality(ABC):
    """A kind of data: how X is opened, an entry prepared for a network, and entries put together to a batch.

    A backbone holds one. Objects are picklable and never change: what `fit` learned about X is kept by the estimator,
    as ``input_spec_``, and goes with the samples.

    Attributes
    ----------
    noun : str
        What one sample is called, in messages.
    spec_type : type or None
        Data class of what is learned about X (``input_spec_``), where there is something.
    time_steps : int or None
        Steps of time that ``pooling="time"`` keeps of a map, whose rows are then times; None where rows are none.
    """

    noun = "sample"
    spec_type: type | None = None
    time_steps: int | None = None

    @abstractmethod
    def open(self, estimator: Any, X: Any, *, reset: bool, **told: Any) -> Samples:
        """Check X and make it readable sample by sample.

        Parameters
        ----------
        estimator : estimator
            Gets or has ``input_spec_``, and the number and names of columns where X has such.
        X : object
            What the user passed.
        reset : bool
            True in ``fit``, False in ``predict`` and ``transform``, where X must agree with what was learned.
        **told
            What the description of the backbone says of the reading, with ``reset=True`` alone.
        """

    @abstractmethod
    def prepare(self, samples: Samples, i: int) -> np.ndarray:
        """Read one sample as the network takes it: an array; runs in threads and draws no random numbers.

        Raises
        ------
        InvalidSampleError
            The sample cannot be read; the message names its row.
        """

    @abstractmethod
    def blank(self) -> np.ndarray:
        """Give what stands in place of a sample that cannot be read, and of any where only shapes are asked for."""

    @abstractmethod
    def key(self, samples: Samples) -> str:
        """Name all that decides what :meth:`prepare` makes of a sample, for cache keys."""

    def batches(self, samples: Samples, rows: Sequence[int] | np.ndarray, size: int) -> list[np.ndarray]:
        """Say which samples pass a network together, and in what order, where nothing else decides it.

        Parameters
        ----------
        samples : Samples
        rows : sequence of int
            Positions in `samples`.
        size : int
            Samples that pass it at once, where they are all of one shape.
        """
        return [np.array(rows[start : start + size], dtype=np.intp) for start in range(0, len(rows), size)]

    def report(self, samples: Samples) -> None:  # noqa: B027 - there may be nothing to say
        """Warn of what was noticed while samples were prepared, once all were."""

    def collate(self, entries: Sequence[Any]) -> Batch:
        """Put entries (arrays, or tensors of what was changed at random) together to a batch."""
        import torch

        if isinstance(entries[0], np.ndarray):
            return torch.from_numpy(np.stack(entries))
        return torch.stack(list(entries))

    def example(self, n: int, seed: int | None = None) -> Batch:
        """Make a batch of `n` blank entries, or of noise drawn by a seed."""
        import torch

        shape = (n, *np.shape(self.blank()))
        if seed is None:
            return torch.zeros(shape)
        return torch.randn(shape, generator=torch.Generator().manual_seed(seed))

    def check_spec(self, spec: Any, n_columns: int | None) -> None:  # noqa: B027 - there may be nothing to check
        """Refuse an ``input_spec_``, read from a file, by which nothing could be opened.

        Raises
        ------
        ValueError
        """

    def described(self, spec: Any) -> dict[str, Any]:
        """Say, in plain values for other programs, how samples are prepared that `spec` was learned of."""
        raise ValueError(f"How a {self.noun} is prepared cannot be said in a file for other programs.")

    def graph(self, spec: Any, opset: int, caller: str) -> Any:
        """Write the preparation of samples that `spec` was learned of as an ONNX model with the output ``prepared``.

        None where a model for other programs is to be given samples that are prepared already.
        """
        return None

    @property
    def input_key(self) -> str:
        """Name the form of what the network takes."""
        return "x".join(map(str, np.shape(self.blank())))

    def parts(self, samples: Samples) -> Parts | None:
        """Give the parts in which samples pass the network, one row each; None where each passes it whole.

        Of features, scores and probabilities a sample has the mean of its parts. In a training each part learns the
        label of its sample, and the parts of one sample weigh as much as a sample. Parts have no parts.
        """
        return None

    def columns(self, samples: Samples) -> np.ndarray | None:
        """Give the features ``(n, d)`` of samples that need no network; None where a network has to make them."""
        return None

    def views(self, n: int) -> list[Callable[[Batch], Batch]]:
        """Give the first `n` views of a batch, the batch itself first, of which a sample's answer is the mean.

        Raises
        ------
        ValueError
            If a sample of this kind has no other view, or fewer.
        """
        if n == 1:
            return [_as_it_is]
        raise ValueError(
            f"n_views={n} averages over mirror images and crops, which a {self.noun} has none of: it is of pictures. "
            "Pass n_views=1."
        )

    def changed(self, samples: Samples, how: Any) -> tuple[Callable[[int], Any], Callable[[Any], Any]]:
        """Say how samples are changed at random for training.

        Parameters
        ----------
        samples : Samples
        how : str or callable
            The parameter ``augment``.

        Returns
        -------
        read : callable
            Reads sample i; runs in threads and draws no random numbers.
        change : callable
            Makes an entry of what was read; runs in order, so that the random numbers fall to the same samples each
            time.
        """
        raise ValueError(f"augment={how!r}: a {self.noun} cannot be changed at random here. Pass augment='none'.")

    def mixed(self, mixup: float, cutmix: float) -> Callable[[Any], Any]:
        """Give what mixes a batch in place and returns the ``(n, n)`` shares."""
        raise ValueError(
            f"mixup={mixup}, cutmix={cutmix}: a {self.noun} cannot be mixed with another one. Leave both at 0."
        )


def _as_it_is(batch: Batch) -> Batch:
    return batch
