"""Cloning and pickling of estimators that hold networks."""

from typing import Any

from sktransfer.utils._compat import load_torchvision_operators

__all__ = ["BackboneHolderMixin", "NetworkPreamble"]


class NetworkPreamble:
    """Pickled before a network, it prepares the process that reads it.

    The classes of a network live in timm, and timm must not be imported before torchvision's operators are in place;
    a worker process that unpickles an estimator has run no other code of this package.
    """

    def __reduce__(self):
        return load_torchvision_operators, ()


class BackboneHolderMixin:
    """Estimators with a parameter, ``backbone`` or that named by `_held`, that may be a network or a fitted estimator.

    A clone shares the object passed: it is never changed, copying it would cost a network a candidate, and cloning a
    fitted estimator would lose what it learned.
    """

    _held = "backbone"

    def __sklearn_clone__(self) -> Any:
        held = getattr(self, self._held)
        if isinstance(held, str):
            return super().__sklearn_clone__()
        blank = object.__new__(type(self))
        blank.__dict__.update(self.__dict__, **{self._held: ""})
        clone = super(BackboneHolderMixin, blank).__sklearn_clone__()
        setattr(clone, self._held, held)
        return clone

    def __reduce__(self):
        return _new, (NetworkPreamble(), type(self)), self.__getstate__()


def _new(_preamble, cls):
    return object.__new__(cls)
