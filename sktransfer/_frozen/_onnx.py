"""Frozen features by ONNX Runtime: the network as a graph on disk, exported once."""

import hashlib
import os
import threading
import warnings
from collections import OrderedDict
from pathlib import Path
from typing import Any, NamedTuple

import torch
import xxhash
from torch import nn

from sktransfer._frozen._cache import FeatureCache, cache_folder
from sktransfer._frozen._compute import PooledLayers
from sktransfer.backbones import Identity, given_to, to_onnx
from sktransfer.exceptions import CacheWarning
from sktransfer.utils._batch import Batch
from sktransfer.utils._files import replace_file
from sktransfer.utils._messages import caller_level, first_line
from sktransfer.utils._optional import import_optional

__all__ = ["LayersModule", "OnnxLayers", "graph_folder", "onnx_layers"]

_ROWS = 4  # samples at once: more make activations that are slower to reach
_KEEP = 4  # sessions kept; each holds the weights once more
_TOLERANCE = 1e-4  # of the largest feature, between the graph and the network
_SEAL_BYTES = 16
_CALLER = "engine='onnxruntime'"
_sessions: OrderedDict[str, Any] = OrderedDict()
_lock = threading.RLock()


class OnnxLayers(NamedTuple):
    """What :class:`PooledLayers` computes, by a graph of ONNX Runtime on the CPU.

    Attributes
    ----------
    layers : PooledLayers
    folder : str or None
        Where graphs are kept, by what decides them: the network, the layers, the version of torch. None keeps none.
    identity : Identity
        What the numbers are known by, but for the picture and its preprocessing.
    """

    layers: PooledLayers
    folder: str | None
    identity: Identity

    @property
    def cpu_rows(self) -> int:
        """Samples that a CPU takes at once."""
        # A graph for texts takes any number of them, as the network does.
        return self.layers.cpu_rows if self.layers.backbone.modality.noun == "text" else _ROWS

    def shape(self) -> tuple[int, ...]:
        """Shape of one picture's features."""
        return self.layers.shape()

    def __call__(self, x: Batch) -> torch.Tensor:
        """Compute the features of a batch of prepared samples."""
        return _run(self._session(), x)

    def _session(self):
        key = self.identity.key or f"{id(self.layers.backbone)} {self.layers}"
        name = hashlib.blake2b(f"2|{key}|{_ROWS}|{torch.__version__}".encode(), digest_size=16).hexdigest()
        with _lock:
            if name not in _sessions:
                _sessions[name] = self._open(name)
                while len(_sessions) > _KEEP:
                    _sessions.popitem(last=False)
            _sessions.move_to_end(name)
            return _sessions[name]

    def _open(self, name):
        if self.folder is None:
            session = _start(self._export())
            self._check(session)
            return session
        path = Path(self.folder) / f"{name}.onnx"
        try:
            content = path.read_bytes()
            return _start(_without_seal(content, name))
        except OSError:
            pass  # it is not there; where that folder cannot be used at all, writing says so
        except Exception as error:  # the runtime's own errors, which have no common base
            warnings.warn(
                f"The exported graph {path} cannot be used ({first_line(error)}); it is exported anew.",
                CacheWarning,
                stacklevel=caller_level(),
            )
        content = self._export()
        session = _start(content)
        self._check(session)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with replace_file(path) as temporary:
                temporary.write_bytes(content + _seal(content, name))
        except OSError as error:
            warnings.warn(
                f"The exported graph cannot be kept in {path.parent} ({error}); the next process exports it again. "
                "Pass a folder as cache= to keep it there.",
                CacheWarning,
                stacklevel=caller_level(),
            )
        return session

    def _export(self):
        name = self.layers.backbone.name
        import_optional("onnxruntime", extra="onnx", caller=_CALLER)  # before an export that nothing would run
        try:
            network = LayersModule(self.layers).eval()
            model = to_onnx(network, self._example(), output="features", any_batch=False, caller=_CALLER)
            return model.SerializeToString()
        except (torch.onnx.OnnxExporterError, RuntimeError) as error:
            raise ValueError(
                f"engine='onnxruntime': {name} cannot be exported ({first_line(error)}). Use engine='torch'."
            ) from error

    def _example(self):
        return self.layers.backbone.modality.example(_ROWS, seed=0)

    def _check(self, session):
        x = self._example()
        with torch.inference_mode():
            expected = self.layers(x)
        got = _run(session, x)
        if not (got - expected).abs().max() <= _TOLERANCE * expected.abs().max():
            raise ValueError(
                f"engine='onnxruntime': the exported graph of {self.layers.backbone.name} gives other features than "
                "the network. Use engine='torch'."
            )


class LayersModule(nn.Module):
    """The layers as a module that holds the network it runs."""

    def __init__(self, layers: PooledLayers):
        super().__init__()
        self.layers = layers
        show = [str(tap.where) for tap in layers.taps if tap.kind == "module"]
        self.network = layers.backbone.module_on(torch.device("cpu"), show=show)

    def forward(self, x: Batch) -> torch.Tensor:
        """Compute the features of a batch of prepared samples."""
        return self.layers(x)


def _run(session, x):
    return torch.from_numpy(session.run(None, {name: tensor.numpy() for name, tensor in given_to(x).items()})[0])


def _seal(content, name):
    """Close a file with a digest of its content and its name: it may be damaged, or another one."""
    return xxhash.xxh3_128_digest(content + name.encode())


def _without_seal(sealed, name):
    content, seal = sealed[:-_SEAL_BYTES], sealed[-_SEAL_BYTES:]
    if seal != _seal(content, name):
        raise ValueError("it is not what was written")
    return content


def _start(content):
    runtime = import_optional("onnxruntime", extra="onnx", caller=_CALLER)
    options = runtime.SessionOptions()
    # Our own threads take a micro-batch each.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def onnx_layers(layers: PooledLayers, cache: "str | os.PathLike[str] | FeatureCache | None") -> OnnxLayers:
    """Let ONNX Runtime compute some layers.

    Parameters
    ----------
    layers : PooledLayers
    cache : {"memory"}, path-like, FeatureCache or None
        Graphs are kept in the folder of the features, or else in the user's cache.
    """
    identity = layers.identity
    lasts = identity.key is not None and identity.lasts
    key = None if identity.key is None else f"{identity.key}|onnxruntime"
    return OnnxLayers(layers, graph_folder(cache) if lasts else None, identity._replace(key=key))


def graph_folder(cache: "str | os.PathLike[str] | FeatureCache | None") -> str:
    """Where graphs are kept: in the folder of the features, or in the user's cache."""
    folder = cache_folder(cache)
    if folder is None:
        base = os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()
        return str(Path(base) / "sktransfer" / "onnx")
    return str(folder / "onnx")
