"""Cloning and pickling of estimators that hold networks, with pickle and without."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from sklearn.base import BaseEstimator

from sktransfer.utils._persistence import NetworkPreamble

if TYPE_CHECKING:
    from sktransfer.backbones._backbone import Backbone
    from sktransfer.modalities import Modality, Samples

__all__ = ["BackboneDescription", "BackboneHolderMixin"]


class BackboneHolderMixin:
    """Estimators with a parameter, ``backbone`` or that named by `_held`, that may be a network or a fitted estimator.

    A clone shares the object passed: it is never changed, copying it would cost a network a candidate, and cloning a
    fitted estimator would lose what it learned.
    """

    _held = "backbone"

    def __sklearn_clone__(self) -> Any:
        held = getattr(self, self._held, None)
        if held is None or isinstance(held, (str, BackboneDescription)):
            return super().__sklearn_clone__()  # type: ignore[misc]  # of BaseEstimator, to the right
        blank = object.__new__(type(self))
        blank.__dict__.update(self.__dict__, **{self._held: ""})
        clone = super(BackboneHolderMixin, blank).__sklearn_clone__()  # type: ignore[misc]  # likewise
        setattr(clone, self._held, held)
        return clone

    def __reduce__(self):
        return _new, (NetworkPreamble(), type(self)), self.__getstate__()

    def __getstate__(self):
        state = dict(super().__getstate__())
        for name in (self._held, "backbone_"):
            if name in state:
                state[name] = _packed(state[name])
        return state

    def __setstate__(self, state):
        state = {**state, **{name: _unpacked(state[name]) for name in (self._held, "backbone_") if name in state}}
        super().__setstate__(state)


class BackboneDescription(BackboneHolderMixin, BaseEstimator, ABC):
    """A network and how it reads its samples, as plain parameters; a clone shares the network and nothing else.

    A kind of data has one. It is passed as ``backbone``, or stands for what is.
    """

    _held = "name"

    @property
    def reading(self) -> dict[str, Any]:
        """What ``Modality.open`` is told in ``fit``."""
        return {}

    @abstractmethod
    def load(self, *, random_state: int = 0) -> Backbone:
        """Load the network.

        Parameters
        ----------
        random_state : int, default=0
            Seed of random weights.
        """

    def told(self, backbone: Backbone) -> dict[str, Any] | None:
        """Say, in plain values for a file, what :meth:`modality_of` needs where the network itself is timm's.

        The file then holds that network, and needs neither a name nor weights where it is loaded. None where
        :meth:`load` has to build it.

        Parameters
        ----------
        backbone : Backbone
            From :meth:`load`, or tuned.
        """
        return None

    def modality_of(self, told: dict[str, Any]) -> Modality:
        """Give the modality that :meth:`told` told of."""
        raise NotImplementedError(f"{type(self).__name__} says nothing in files of how its network reads samples.")

    def fitted(self, backbone: Backbone, samples: Samples) -> Backbone:
        """Give the network for the samples that it is to see, once they were opened.

        Parameters
        ----------
        backbone : Backbone
            From :meth:`load`.
        samples : Samples
            Those of ``fit``.
        """
        return backbone


def _new(_preamble, cls):
    return object.__new__(cls)


def _packed(value):
    """Put the networks in a value, or in a list or dict of them, into what pickle and skops can write."""
    if isinstance(value, list | tuple):
        return type(value)(map(_packed, value))
    if isinstance(value, dict):
        return {key: _packed(item) for key, item in value.items()}
    if value is None or isinstance(value, str | os.PathLike) or hasattr(value, "get_params"):
        return value
    from sktransfer.backbones._held import HeldNetwork, is_network

    return HeldNetwork(value) if is_network(value) else value


def _unpacked(value):
    if isinstance(value, list | tuple):
        return type(value)(map(_unpacked, value))
    if isinstance(value, dict):
        return {key: _unpacked(item) for key, item in value.items()}
    return getattr(value, "held_network", value)
