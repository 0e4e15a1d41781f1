"""All that can be read of a network of the user's own: its state, its settings and its code, as one digest.

Two networks may hold equal weights and compute something else. What is read here are the values of every attribute of
every part, as deep as they go, and the code that uses them: that of methods, hooks and callables, with their closures,
defaults and the globals that they name. Equal networks give equal digests, in every process of one Python version:
names, addresses and the order of sets do not enter. What cannot be read is named.
"""

import collections
import enum
import functools
import logging
import sys
import threading
import types
import weakref
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
import xxhash
from torch import nn

from sktransfer.backbones._code import code_parts, global_names, library_name, library_version

__all__ = ["Reading", "read_network"]

_PLAIN = (bool, int, float, complex, str, bytes, type(None), type(Ellipsis), type(NotImplemented), range)
_TORCH_WORDS = (torch.dtype, torch.device, torch.layout, torch.memory_format)
# Objects that say nothing of the numbers.
_EMPTY = (type(threading.Lock()), type(threading.RLock()), logging.Logger, logging.LoggerAdapter)
_BUILTIN = (
    types.BuiltinFunctionType,
    types.MethodWrapperType,
    types.WrapperDescriptorType,
    types.MethodDescriptorType,
    types.ClassMethodDescriptorType,
    types.GetSetDescriptorType,
    types.MemberDescriptorType,
    np.ufunc,
)
_COLLECTIONS = (list, tuple, dict, set, frozenset, collections.deque, types.MappingProxyType)
_CACHED_FUNCTION = type(functools.cache(len))
# Of a class: what does not decide what it computes, or is read elsewhere.
_CLASS_NOISE = {
    *("__dict__", "__weakref__", "__doc__", "__module__", "__qualname__", "__annotations__", "__annotate__"),
    *("__annotate_func__", "__annotations_cache__", "__firstlineno__", "__static_attributes__", "__orig_bases__"),
    *("__parameters__", "__abstractmethods__", "__dataclass_fields__", "__dataclass_params__", "_abc_impl"),
}
# Of a module: hooks that no forward pass calls. Those that it calls are read in their order, without their numbers.
_HOOKS = {"_forward_hooks", "_forward_pre_hooks"}
_OTHER_HOOKS = {
    *("_backward_hooks", "_backward_pre_hooks", "_is_full_backward_hook", "_state_dict_hooks"),
    *("_state_dict_pre_hooks", "_load_state_dict_pre_hooks", "_load_state_dict_post_hooks"),
    *("_forward_hooks_with_kwargs", "_forward_hooks_always_called", "_forward_pre_hooks_with_kwargs"),
}
_MOST_OBJECTS = 200_000


class Reading(NamedTuple):
    """What was read.

    Attributes
    ----------
    digest : str
        32 hexadecimal digits, equal for equal networks.
    unreadable : tuple of str
        Where there is something that cannot be read, and what it is.
    """

    digest: str
    unreadable: tuple[str, ...]


def read_network(module: nn.Module) -> Reading:
    """Read all of a network.

    Parameters
    ----------
    module : torch.nn.Module

    Returns
    -------
    Reading
    """
    reader = _Reader()
    try:
        digest = reader.digest(module)
    except RecursionError:
        return Reading("", ("objects nested deeper than Python can follow",))
    return Reading(digest.hex(), tuple(reader.unreadable))


class _Child(NamedTuple):
    name: str
    value: Any


class _UserModule(NamedTuple):
    """Names of a user's Python module that some code may use."""

    module: types.ModuleType
    names: frozenset[str]


class _Reader:
    """Digests objects by their content; an object that is met again is not read again."""

    def __init__(self):
        self.unreadable: list[str] = []
        self._done: dict[int, tuple[Any, bytes]] = {}  # holds the objects, whose ids no others may get
        self._open: dict[int, int] = {}
        self._path: list[str] = []
        self._views: dict[tuple, _UserModule] = {}
        self._parts_of: dict[type, Any] = {}

    def digest(self, value: Any, name: str = "") -> bytes:
        if type(value) in _PLAIN:
            return xxhash.xxh3_128_digest(f"{type(value).__name__} {value!r}".encode())
        found = self._done.get(id(value))
        if found is not None:
            return found[1]
        if id(value) in self._open:
            return b"above %d" % (len(self._open) - self._open[id(value)])
        self._open[id(value)] = len(self._open)
        self._path.append(name)
        content = xxhash.xxh3_128()
        for part in self._parts(value):
            if isinstance(part, _Child):
                content.update(part.name.encode(errors="backslashreplace") + b"=" + self.digest(part.value, part.name))
            else:
                content.update(part if isinstance(part, bytes) else f"{part};".encode(errors="backslashreplace"))
        self._path.pop()
        del self._open[id(value)]
        self._done[id(value)] = value, content.digest()
        return content.digest()

    def _refuse(self, value):
        where = ".".join(name for name in self._path if name and not name.startswith("_")) or "the network"
        what = f"{where} ({type(value).__name__})"
        if what not in self.unreadable:
            self.unreadable.append(what)
        yield "unreadable"

    def _parts(self, value) -> Iterator[Any]:
        if len(self._done) > _MOST_OBJECTS:
            return self._refuse(value)
        kind = type(value)
        if kind not in self._parts_of:
            found = (parts for kinds, parts in self._KINDS if isinstance(value, kinds))
            self._parts_of[kind] = next(found, _Reader._object)
        return self._parts_of[kind](self, value)

    # Data.

    def _tensor(self, value):
        if torch.nn.parameter.is_lazy(value) or value.layout != torch.strided or value.is_quantized or value.is_meta:
            yield from self._refuse(value)
            return
        flat = value.detach().cpu().resolve_conj().resolve_neg().contiguous().reshape(-1)
        yield f"tensor {tuple(value.shape)} {value.dtype}"
        yield flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b""
        if type(value) not in (torch.Tensor, nn.Parameter):
            yield _Child("class", type(value))
        yield from self._named(vars(value))

    def _array(self, value):
        if isinstance(value, np.dtype):
            yield f"dtype {value!r}"
            return
        yield f"array {type(value).__name__} {value.dtype!r} {value.shape}"
        if value.dtype.hasobject:
            yield _Child("objects", value.tolist())
        else:
            yield np.ascontiguousarray(np.ma.getdata(value)).tobytes()
        if isinstance(value, np.ma.MaskedArray):
            yield np.ma.getmaskarray(value).tobytes()
        elif isinstance(value, np.ndarray) and type(value) not in (np.ndarray, np.memmap):
            yield _Child("class", type(value))
            yield from self._named(getattr(value, "__dict__", {}))

    def _collection(self, value):
        yield f"{type(value).__name__} {len(value)}"
        if isinstance(value, dict | types.MappingProxyType):
            for key, item in list(value.items()):
                yield _Child("key", key)
                yield _Child(str(key) if isinstance(key, str | int) else "value", item)
        elif isinstance(value, set | frozenset):
            yield from sorted(self.digest(item, "element") for item in value)
        else:
            for i, item in enumerate(list(value)):
                yield _Child(str(i), item)
        if type(value) not in _COLLECTIONS:
            yield _Child("class", type(value))
            yield _Child("factory", getattr(value, "default_factory", None))
            yield from self._attributes(value)

    def _subclass_of_plain(self, value):
        base = next(kind for kind in _PLAIN if isinstance(value, kind))
        yield f"{base.__name__} {base.__repr__(value)}"
        yield _Child("class", type(value))
        yield from self._attributes(value)

    def _member(self, value):
        yield f"member {value.name}"
        yield _Child("value", value.value)
        yield _Child("class", type(value))

    # Code.

    def _function(self, value):
        library = library_name(value)
        code = value.__code__
        if library is not None:
            yield f"function {library} {value.__qualname__} {code.co_firstlineno} {library_version(library)}"
        else:
            yield from self._code(code)
            yield from self._globals(value)
            yield from self._named(vars(value))
        if library is None or "<locals>" in value.__qualname__:
            yield _Child("defaults", value.__defaults__)
            yield _Child("kwdefaults", value.__kwdefaults__)
        for name, cell in zip(code.co_freevars, value.__closure__ or (), strict=True):
            yield _Child(name, cell)

    def _cell(self, value):
        try:
            yield _Child("content", value.cell_contents)
        except ValueError:
            yield "empty cell"

    def _code(self, value):
        for part in code_parts(value):
            yield part if isinstance(part, bytes | str) else _Child("constants", part)

    def _globals(self, function):
        names, attributes = global_names(function.__code__)
        for name in names:
            if name in function.__globals__:
                yield _Child(name, self._seen_from(function.__globals__[name], attributes))
            elif name in sys.modules:
                yield _Child(name, self._seen_from(sys.modules[name], attributes))

    def _seen_from(self, value, attributes):
        if not isinstance(value, types.ModuleType) or library_name(value) is not None:
            return value
        names = attributes.intersection(vars(value))
        return self._views.setdefault((id(value), names), _UserModule(value, names))

    def _user_module(self, value):
        yield "module"
        for name in sorted(value.names):
            yield _Child(name, self._seen_from(vars(value.module)[name], value.names))

    def _python_module(self, value):
        library = library_name(value)
        if library is None:
            yield from self._refuse(value)
        else:
            yield f"module {library} {library_version(library)}"

    def _method(self, value):
        yield "method"
        yield _Child("function", value.__func__)
        yield _Child("self", value.__self__)

    def _builtin(self, value):
        owner = getattr(value, "__self__", None)
        yield f"builtin {getattr(value, '__module__', '')} {getattr(value, '__qualname__', value.__name__)}"
        if owner is not None and not isinstance(owner, types.ModuleType):
            yield _Child("self", owner)

    def _wrapper(self, value):
        yield type(value).__name__
        for name in ("fget", "fset", "fdel", "__func__", "__wrapped__", "func", "args", "keywords"):
            if hasattr(value, name):
                yield _Child(name, getattr(value, name))

    def _class(self, value):
        for one in value.__mro__[:-1]:  # without `object`
            library = library_name(one)
            content = vars(one)
            if library is None:
                yield from self._named({name: content[name] for name in content if name not in _CLASS_NOISE})
                continue
            yield f"class {library} {one.__qualname__} {library_version(library)}"
            # What others put there.
            yield from self._named(
                {
                    name: part
                    for name, part in content.items()
                    if isinstance(part, types.FunctionType) and library_name(part) is None
                }
            )

    # Objects.

    def _module(self, value):
        yield _Child("class", type(value))
        for name, hooks in ((name, getattr(value, name)) for name in sorted(_HOOKS)):
            with_kwargs = getattr(value, f"{name}_with_kwargs")
            for number, hook in list(hooks.items()):
                if not (getattr(hook, "__module__", None) or "").startswith("sktransfer."):  # ours, for a moment
                    yield f"{name} {number in with_kwargs}"
                    yield _Child("hook", hook)
        blank = vars(_BLANK)
        yield from self._named(
            {
                name: part
                for name, part in list(vars(value).items())
                if name not in _HOOKS
                and name not in _OTHER_HOOKS
                and not (name in blank and not part and name != "training")
            }
        )

    def _graph(self, value):
        yield f"graph {value}"

    def _nothing(self, value):
        yield type(value).__name__

    def _word(self, value):
        yield repr(value)

    def _reference(self, value):
        yield "reference"
        yield _Child("referent", value())

    def _object(self, value):
        cls = type(value)
        if hasattr(cls, "__next__"):
            yield from self._refuse(value)
            return
        yield _Child("class", cls)
        yield from self._attributes(value)
        if not _has_hidden_state(cls):
            return
        try:
            reduced = value.__reduce_ex__(4)
        except Exception:  # the code of any class whatever
            yield from self._refuse(value)
            return
        if isinstance(reduced, str):
            yield reduced
            return
        for i, part in enumerate(reduced):
            yield _Child(f"reduced{i}", list(part) if i in (3, 4) and part is not None else part)

    def _attributes(self, value):
        yield from self._named({**_slots(value), **getattr(value, "__dict__", {})})

    def _named(self, parts):
        for name in sorted(parts, key=str):
            yield _Child(str(name), parts[name])

    _KINDS = (
        (enum.Enum, _member),
        (torch.jit.ScriptModule, _refuse),
        (torch.jit.ScriptFunction, _refuse),
        (nn.Module, _module),
        (torch.Tensor, _tensor),
        ((np.ndarray, np.generic, np.dtype), _array),
        (_UserModule, _user_module),
        (_TORCH_WORDS, _word),
        (_COLLECTIONS, _collection),
        (_PLAIN, _subclass_of_plain),
        (_EMPTY, _nothing),
        (types.FunctionType, _function),
        (types.MethodType, _method),
        (types.CellType, _cell),
        (types.CodeType, _code),
        (_BUILTIN, _builtin),
        ((property, staticmethod, classmethod, functools.partial, _CACHED_FUNCTION), _wrapper),
        (type, _class),
        (types.ModuleType, _python_module),
        (weakref.ref, _reference),
        (torch.fx.Graph, _graph),
    )


def _slots(value):
    found = {}
    for cls in type(value).__mro__:
        names = vars(cls).get("__slots__", ())
        for name in (names,) if isinstance(names, str) else names:
            own = f"_{cls.__name__.lstrip('_')}{name}" if name.startswith("__") and not name.endswith("__") else name
            if own not in ("__dict__", "__weakref__") and hasattr(value, own):
                found[own] = getattr(value, own)
    return found


def _has_hidden_state(cls):
    """Whether an instance holds more than its attributes and slots: something of C's."""
    extra = sum(any(name in vars(one) for one in cls.__mro__) for name in ("__dict__", "__weakref__"))
    for one in cls.__mro__:
        names = vars(one).get("__slots__", ())
        extra += 1 if isinstance(names, str) else len([n for n in names if n not in ("__dict__", "__weakref__")])
    word = tuple.__itemsize__  # of a pointer
    return cls.__basicsize__ > object.__basicsize__ + word * extra


_BLANK = nn.Module()
