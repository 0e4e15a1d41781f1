"""What is passed as ``regularizer``: the base class, and the classes by their names."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from sklearn.base import BaseEstimator, clone

from sktransfer.utils._messages import did_you_mean

if TYPE_CHECKING:
    from sktransfer._nets import Penalty

__all__ = ["Regularizer", "regularizer_classes", "resolve_regularizer"]


class Regularizer(BaseEstimator, ABC):
    """Base of what is passed as ``regularizer``: holds parameters, which a search can reach.

    What a penalty learns (an attribute whose name ends in an underscore) is kept by the fitted estimator's
    ``regularizer_``.
    """

    _parameter_constraints: dict = {}

    @abstractmethod
    def make_penalty(self) -> Penalty:
        """Make what computes, for one training; the parameters fit ``_parameter_constraints`` by then."""


def resolve_regularizer(regularizer: str | Regularizer | None) -> Regularizer | None:
    """Turn the parameter ``regularizer`` into an object of its own for one training.

    Parameters
    ----------
    regularizer : str, Regularizer or None
        A name (default parameters), or an object, which is cloned.

    Returns
    -------
    Regularizer or None

    Raises
    ------
    ValueError
        If there is no regularizer of that name, or a parameter of it is wrong.
    TypeError
        If it is something else.
    """
    if regularizer is None:
        return None
    known = _by_name()
    if isinstance(regularizer, str):
        if regularizer not in known:
            suggestion = did_you_mean(regularizer, known)
            raise ValueError(f"regularizer={regularizer!r} is not known.{suggestion} {_expected(known)}")
        return known[regularizer]()
    if not isinstance(regularizer, Regularizer):
        kind = type(regularizer).__name__
        raise TypeError(f"regularizer={regularizer!r} of type {kind}: {_expected(known)}")
    used = clone(regularizer)
    used._validate_params()
    return used


def regularizer_classes() -> dict[str, type[Regularizer]]:
    """Give the classes that a saved file may name, by these names.

    Those of this package go by their own name. One of the user's goes by that of its module too, and is there once that
    module was imported: a file never makes it be.
    """
    own = {f"{cls.__module__}.{cls.__qualname__}": cls for cls in _descendants(Regularizer)}
    return own | {cls.__name__: cls for cls in _by_name().values()}


def _by_name() -> dict[str, type[Regularizer]]:
    from sktransfer.fine_tuning import BSS, DELTA, L2SP, RKD, CoTuning, LwF, StochNorm

    return {
        "l2-sp": L2SP,
        "delta": DELTA,
        "bss": BSS,
        "stochnorm": StochNorm,
        "lwf": LwF,
        "co-tuning": CoTuning,
        "rkd": RKD,
    }


def _descendants(cls: type[Any]) -> Iterator[type[Any]]:
    for child in cls.__subclasses__():
        yield child
        yield from _descendants(child)


def _expected(known: dict[str, Any]) -> str:
    return f"Pass one of {', '.join(map(repr, sorted(known)))}, an object such as L2SP(alpha=0.1), or None."
