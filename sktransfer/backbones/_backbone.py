"""The backbone: a network in eval mode with its stages, its preprocessing and the fingerprint of its weights."""

import contextlib
import copy
import difflib
import functools
import threading
from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from sktransfer.backbones._holder import BackboneDescription
from sktransfer.backbones._identity import Behaviour, Identity
from sktransfer.backbones._inference import InferenceCopy, inference_copy
from sktransfer.backbones._maps import as_map
from sktransfer.backbones._own import single_tensor
from sktransfer.backbones._reading import read_network
from sktransfer.backbones._stages import Chain, find_chain, forward_features, pre_logits, stage_number
from sktransfer.backbones._suffix import Suffix, put_classifier
from sktransfer.backbones._timm import data_config, image_modality
from sktransfer.backbones._weights import architecture_digest, classifier_names, fingerprint
from sktransfer.modalities import Modality
from sktransfer.utils._batch import Batch, device_of
from sktransfer.utils._device_memory import explained_out_of_memory
from sktransfer.utils._device_rows import rows_at_once
from sktransfer.utils._hooks import forward_hooks, seen_once
from sktransfer.utils._messages import first_line
from sktransfer.utils._persistence import NetworkPreamble

__all__ = ["Backbone", "Tap"]

_OF_THIS_PROCESS = {"_lock", "_elsewhere", "_inference", "_behaviour", "_shapes"}  # what no pickle holds


class Tap(NamedTuple):
    """A place in a backbone whose output is wanted: ``kind`` is "features", "map", "stage" or "module"."""

    kind: str
    where: int | str = ""


class Backbone:
    """A pretrained network, ready for inference and never changed.

    Obtained from :func:`load_backbone`. The module is in eval mode with gradients switched off and is shared by all
    estimators of the process: fine-tuning works on copies.

    Parameters
    ----------
    module : torch.nn.Module
        The network, owned by this object from now on.
    name : str
        For messages.
    reference : dict or None, default=None
        Arguments of :func:`load_backbone` that bring the same network back; a backbone with a reference pickles as
        these few words and its fingerprint, one without as the whole network.
    has_source_classifier : bool, default=False
        Whether the classifier of the source task was loaded too.
    image_size : tuple of int or None, default=None
        ``(height, width)`` of the input where it differs from the network's own.
    is_own : bool, default=False
        Whether the network is the user's own, of which no name says what it computes.
    modality : Modality or None, default=None
        What X is, and how it is prepared; None for pictures, as the network's configuration says.
    origin : BackboneDescription or None, default=None
        What builds the network anew, with any weights, where it is not one of timm's: files without pickle name it.

    Attributes
    ----------
    modality : Modality
    config : dict
        ``input_size`` (channels, height, width), ``interpolation``, ``mean``, ``std``, ``crop_pct``, ``crop_mode``.
    fingerprint : str
        Digest of all weights.
    """

    def __init__(
        self,
        module: nn.Module,
        *,
        name: str,
        reference: dict[str, Any] | None = None,
        has_source_classifier: bool = False,
        image_size: tuple[int, int] | None = None,
        is_own: bool = False,
        modality: Modality | None = None,
        origin: BackboneDescription | None = None,
    ):
        self.module = module.eval().requires_grad_(False)
        self.name = name
        self.is_own = is_own
        self.reference = reference
        self.has_source_classifier = has_source_classifier
        self.origin = origin
        self.config = data_config(module)
        if image_size is not None:
            self.config["input_size"] = (self.config["input_size"][0], *image_size)
        self.modality = image_modality(self.config) if modality is None else modality
        self.fingerprint = fingerprint(module)
        self._begin()

    def __repr__(self):
        form = f"a {self.modality.noun} as {self.modality.input_key}"
        return f"<Backbone {self.name}: {form}, {len(self.stage_names)} stages>"

    def __reduce__(self):
        if self.reference is not None:
            return _restore_reference, (self.reference, self.fingerprint)
        state = {key: value for key, value in self.__dict__.items() if key not in _OF_THIS_PROCESS}
        return _new, (NetworkPreamble(),), state

    def __setstate__(self, state):
        self.__dict__.update(state)
        self._begin()

    def _begin(self):
        self._lock = threading.RLock()
        self._elsewhere: dict[Any, nn.Module] = {}
        self._behaviour = Behaviour()
        self._shapes: dict[Hashable, tuple[int, ...]] = {}

    @functools.cached_property
    def key(self) -> str:
        """Name of what decides an output for a prepared sample: weights, architecture, form of the input."""
        return f"{self.fingerprint}-{architecture_digest(self.module)}-{self.modality.input_key}"

    @property
    def key_now(self) -> str:
        """The key, and of a network of the user's own all that can be read now: its code may change at any time."""
        return f"{self.key}-{read_network(self.module).digest}" if self.is_own else self.key

    def identify(self, what: str, run: Callable[[Any], torch.Tensor]) -> Identity:
        """Say what an output of the network is known by; see :class:`Identity`.

        Parameters
        ----------
        what : str
            Names the output.
        run : callable
            Computes it for a batch of preprocessed pictures, on the CPU.
        """
        if not self.is_own:
            return Identity(f"{self.key}|{what}")

        def whole(module, x):
            return self._outputs(module, x, [Tap("features")])

        return self._behaviour.identify(self.module, what, run, self.modality, whole)

    @seen_once
    def chain(self) -> Chain | None:
        """Stem, stages and final layers, or None for a network that cannot be entered in the middle."""
        with self._naming_the_input_size():
            return find_chain(self.module, self.modality)

    @seen_once
    def cpu_rows(self) -> int:
        """Pictures that a CPU takes at once."""
        return rows_at_once(self.module, lambda: self.probe([Tap("features")]))

    @property
    def classifier_names(self) -> tuple[str, ...]:
        """Module names of the classifier of the source task."""
        names = classifier_names(self.module)
        get_classifier = getattr(self.module, "get_classifier", None)
        if names or get_classifier is None:
            return names
        own = get_classifier()
        return tuple(name for name, part in self.module.named_modules() if part is own)

    @seen_once
    def called_modules(self) -> frozenset[str]:
        """Names of the modules that run in a forward pass; some networks use the weights of a layer without it."""
        names = {module: name for name, module in self.module.named_modules()}
        called = set()
        with forward_hooks(names, lambda module, *_: called.add(names[module])):
            self.probe([Tap("features")])
        return frozenset(called)

    @property
    def stage_names(self) -> tuple[str, ...]:
        """Module names of the stages, first to last; empty where the network does not tell."""
        if self.chain is not None:
            return self.chain.stages
        layout = getattr(self.module, "_sktransfer_layout", None)
        if layout is not None:
            return layout.stages
        info = getattr(self.module, "feature_info", None) or ()
        names = [entry.get("module", "") for entry in getattr(info, "info", info)]
        modules = dict(self.module.named_modules())
        return tuple(name for name in names if name in modules)

    @property
    def in_chans(self) -> int:
        """Number of channels that the network takes: 3, or 1 for luminance."""
        return self.config["input_size"][0]

    def tap(self, layer: int | str | None, pooling: str | None) -> Tap:
        """Resolve the parameter ``layer``: None, a stage number or a module name.

        Raises
        ------
        ValueError
            If there is no such stage or module.
        """
        if layer is None:
            # The network's own pooling is what "avg" means before its classifier; any other needs the map.
            layout = getattr(self.module, "_sktransfer_layout", None)
            if pooling == "avg" or layout is None or layout.last_map is None:
                return Tap("features") if pooling == "avg" else Tap("map")
            return Tap("module", layout.last_map)
        if isinstance(layer, str) and hasattr(self.module, "chain_parts"):
            layer = stage_number(layer, self.stage_names, self.name)
        if isinstance(layer, str):
            modules = dict(self.module.named_modules())
            if layer not in modules or not layer:
                close = difflib.get_close_matches(layer, modules, n=3)
                hint = f" Did you mean {' or '.join(map(repr, close))}?" if close else ""
                raise ValueError(f"layer={layer!r} is not a module of {self.name}.{hint}")
            return Tap("module", layer)
        n_stages = len(self.stage_names)
        if not -n_stages <= layer < n_stages:
            raise ValueError(
                f"layer={layer!r}: {self.name} has {n_stages} stages {self.stage_names}; pass a number from "
                f"{-n_stages} to {n_stages - 1}, or a module name."
            )
        layer = int(layer) % n_stages
        return Tap("stage", layer) if self.chain is not None else Tap("module", self.stage_names[layer])

    def outputs(self, x: Batch, taps: list[Tap], *, show: Sequence[str] = ()) -> list[torch.Tensor]:
        """Output of the network at each tap, from one forward pass that goes no further than it must.

        Parameters
        ----------
        x : torch.Tensor of shape (n, channels, height, width)
            Preprocessed pictures.
        taps : list of Tap
        show : sequence of str, default=()
            See :meth:`module_on`.

        Returns
        -------
        list of torch.Tensor
            ``(n, d)`` for "features", maps or tokens as the network lays them out otherwise.
        """
        named = [str(tap.where) for tap in taps if tap.kind == "module"]
        return self._outputs(self.module_on(device_of(x), show=[*show, *named]), x, taps)

    def _outputs(self, module, x, taps):
        found: dict[Tap, torch.Tensor] = {}
        stages = sorted(tap.where for tap in taps if tap.kind == "stage")
        if stages and all(tap.kind == "stage" for tap in taps):
            self._run_stages(module, x, stages, found)
        elif stages and hasattr(module, "chain_parts"):
            kept: list[torch.Tensor] = []
            found[Tap("map")] = self.chain.run(module, x, keep=kept)
            found.update({Tap("stage", i): kept[i] for i in stages})
            found[Tap("features")] = pre_logits(module, found[Tap("map")])
        else:
            modules = [Tap("module", self.chain.stages[i]) for i in stages]
            modules += [tap for tap in taps if tap.kind == "module"]
            last = self._run_hooked(module, x, modules, found)
            found.update({Tap("stage", i): found[Tap("module", self.chain.stages[i])] for i in stages})
            found[Tap("map")] = last
            if Tap("features") in taps:
                found[Tap("features")] = pre_logits(module, last)
        return [single_tensor(found[tap], tap.where) for tap in taps]

    def _run_stages(self, module, x, stages, found):
        start = 0
        for stage in dict.fromkeys(stages):
            x = self.chain.run(module, x, start=start, stop=stage + 1)
            found[Tap("stage", stage)] = x
            start = stage + 1

    def _run_hooked(self, module, x, taps, found):
        if not taps:
            return forward_features(module, x)
        parts = dict(module.named_modules())
        tap_of = {parts[tap.where]: tap for tap in taps}
        with forward_hooks(tap_of, lambda part, _inputs, output: found.update({tap_of[part]: output})):
            last = forward_features(module, x)
            if any(tap not in found for tap in taps):  # a part of the classifier head
                self._classify(module, last)
        for tap in taps:
            if tap not in found:
                raise ValueError(f"layer={tap.where!r} of {self.name} does not run in a forward pass.")
        return last

    def boundary(self, x: Batch, start: int | None, module: nn.Module | None = None) -> torch.Tensor:
        """Output of everything before stage `start` (None: pooled features), by `module`, a copy, where it is given."""
        by = self.module_on(device_of(x)) if module is None else module
        return self._outputs(by, x, [Tap("features")])[0] if start is None else self.chain.run(by, x, stop=start)

    @functools.cached_property
    def stage_of(self) -> dict[str, int]:
        """Number of the stage of each parameter, by its name: -1 for the stem, the number of stages behind the last.

        Of a network that is no chain, a stage is all that was registered behind the stage before it.
        """
        names = [name for name, _ in self.module.named_parameters()]
        stages = self.stage_names
        if self.chain is None:
            order = {name: position for position, (name, _) in enumerate(self.module.named_modules())}
            ends = [max(order[part] for part in order if f"{part}.".startswith(f"{stage}.")) for stage in stages]
            places = [order[name.rpartition(".")[0]] for name in names]
            return {name: sum(end < place for end in ends) for name, place in zip(names, places, strict=True)}
        found = {name: n for name in names for n, stage in enumerate(stages) if name.startswith(f"{stage}.")}
        first = next((i for i, name in enumerate(names) if name in found), 0)
        return {name: found.get(name, -1 if i < first else len(stages)) for i, name in enumerate(names)}

    def suffix(self, start: int) -> Suffix:
        """Copy of everything from stage `start` to the pooled features, to be trained."""
        return Suffix(self.module, self.chain, start, self.n_features)

    def tuned(self, suffix: Suffix | None, head: nn.Linear | None) -> "Backbone":
        """Put a trained last part and a trained classifier, if it stands on pooled features, in place of its own."""
        module = copy.deepcopy(self.module)
        if suffix is not None:
            module.load_state_dict(suffix.model.state_dict(), strict=False)
        fits = head is not None and put_classifier(module, head)
        size = tuple(self.config["input_size"][1:])
        name = f"tuned {self.name}"
        return Backbone(
            module,
            name=name,
            has_source_classifier=fits,
            image_size=size,
            is_own=self.is_own,
            modality=self.modality,
            origin=self.origin,
        )

    def as_map(self, x: torch.Tensor, size: tuple[int, ...] | None = None) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Lay out a map of inputs of `size` (None: its own) as ``(n, C, H, W)``, a transformer's class token beside."""
        return as_map(self.module, x, size or self.config["input_size"], self.name)

    @functools.cached_property
    def n_features(self) -> int:
        """Number of pooled features before the classifier."""
        return self.probe([Tap("features")])[0].shape[1]

    def probe(self, taps: list[Tap]) -> list[torch.Tensor]:
        """Run one blank picture through the network, to learn shapes.

        Raises
        ------
        ValueError
            If the network does not take pictures of this size.
        """
        with self._lock, torch.inference_mode(), self._naming_the_input_size():
            return self._outputs(self.module, self.modality.example(1), taps)

    def shape_of(self, what: Hashable, find: Callable[[], tuple[int, ...]]) -> tuple[int, ...]:
        """Shape of one sample's row of an output, which a blank sample tells once.

        Of a network of the user's own it is found anew each time: its code may change.
        """
        with self._lock:
            if self.is_own or what not in self._shapes:
                self._shapes[what] = find()
            return self._shapes[what]

    @contextlib.contextmanager
    def _naming_the_input_size(self):
        try:
            with explained_out_of_memory(torch.device("cpu"), "one picture", "a smaller image_size"):
                yield
        except torch.OutOfMemoryError:
            raise
        except (RuntimeError, AssertionError) as error:
            raise ValueError(
                f"{self.name} does not take {self.modality.noun}s of shape {np.shape(self.modality.blank())}: "
                f"{first_line(error)}.{' Pass another image_size.' if self.modality.noun == 'picture' else ''}"
            ) from error

    def source_proba(self, x: Batch) -> torch.Tensor:
        """Probabilities of the classes of the source task, e.g. ImageNet's 1000.

        Parameters
        ----------
        x : torch.Tensor of shape (n, channels, height, width)
            Pictures preprocessed after :attr:`config`.

        Returns
        -------
        torch.Tensor of shape (n, n_source_classes)
            Rows sum to one.

        Raises
        ------
        ValueError
            If the weights came without a classifier.
        """
        if not self.has_source_classifier:
            raise ValueError(
                f"{self.name} has no classifier of its source task: its weights came without one. Load weights that "
                "hold the classifier (published ImageNet weights do)."
            )
        module = self.module_on(device_of(x))
        with torch.inference_mode():
            return self._classify(module, forward_features(module, x)).softmax(1)

    def _classify(self, module: nn.Module, x: torch.Tensor) -> torch.Tensor:
        forward_head = getattr(module, "forward_head", None)
        if forward_head is not None:
            return forward_head(x)
        layout = getattr(module, "_sktransfer_layout", None)
        return x if layout is None or layout.classifier is None else module.get_submodule(layout.classifier)(x)

    @seen_once
    def _inference(self) -> InferenceCopy:
        return inference_copy(self.module, self.modality)

    def prepare(self) -> None:
        """Make ready for inference, so that the first pictures do not wait for it."""
        self.module_on(torch.device("cpu"))
        _ = self.cpu_rows

    def module_on(self, device: torch.device, *, show: Sequence[str] = ()) -> nn.Module:
        """Give the network as it computes on a device: its copy for inference.

        Parameters
        ----------
        device : torch.device
        show : sequence of str, default=()
            Modules whose own outputs are wanted; where the copy does not have them, the network itself is taken.
        """
        with self._lock:
            module = self.module if self._inference.changed.intersection(show) else self._inference.module
            if device.type == "cpu":
                return module
            if (device, module) not in self._elsewhere:
                self._elsewhere[device, module] = copy.deepcopy(module).to(device)
            return self._elsewhere[device, module]


def _restore_reference(reference, expected):
    from sktransfer.backbones._load import restore

    return restore(reference, expected)


def _new(_preamble):
    return Backbone.__new__(Backbone)
