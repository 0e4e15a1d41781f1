"""Looking at the layers of a network that other threads use too."""

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sktransfer.utils._threads import torch_threads

if TYPE_CHECKING:
    from torch import nn

__all__ = ["forward_hooks", "seen_once"]


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


def seen_once(function: Callable[[Any], Any]) -> property:
    """Make a property that a forward pass tells: found once, by one thread at a time, with one thread of torch.

    Its object has a `_lock` that the same thread may take again. The network is shared. A copy for inference that were
    made while another thread had hooks on it would take them for the network's own; and a number of threads moves the
    last bits of what is compared.
    """
    name = function.__name__

    def get(backbone):
        with backbone._lock:
            if name not in backbone.__dict__:
                with torch_threads(1):
                    backbone.__dict__[name] = function(backbone)
            return backbone.__dict__[name]

    return property(get, doc=function.__doc__)
