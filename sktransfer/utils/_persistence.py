"""Unpickling of networks in a process that has run no other code of this package."""

from sktransfer.utils._compat import load_torchvision_operators

__all__ = ["NetworkPreamble"]


class NetworkPreamble:
    """Pickled before a network, it prepares the process that reads it.

    The classes of a network live in timm, and timm must not be imported before torchvision's operators are in place;
    a worker process that unpickles an estimator has run no other code of this package.
    """

    def __reduce__(self):
        return load_torchvision_operators, ()
