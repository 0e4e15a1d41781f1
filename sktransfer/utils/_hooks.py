"""Looking at the layers of a network that other threads use too."""

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

__all__ = ["forward_hooks"]


@contextmanager
def forward_hooks(layers: "Iterable[nn.Module]", see: Callable[..., Any]) -> Iterator[None]:
    """Call ``see(layer, inputs, output)`` after each pass of this thread through one of the layers, in the block.

    The network may be shared: what others pass through it goes by unseen. What `see` returns takes the place of the
    output, None leaves it.
    """
    thread = threading.get_ident()

    def of_this_thread(layer, inputs, output):
        return see(layer, inputs, output) if threading.get_ident() == thread else None

    handles = [layer.register_forward_hook(of_this_thread) for layer in layers]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
