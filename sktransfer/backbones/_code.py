"""Code as values: what a compiled function does, which globals it names, and whose it is."""

import dis
import functools
import sys
import sysconfig
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import xxhash

__all__ = ["code_parts", "global_names", "library_name", "library_version"]

_PATHS = sysconfig.get_paths()
_INSTALLED = tuple({str(Path(_PATHS[name]).resolve()) for name in ("stdlib", "platstdlib", "purelib", "platlib")})
_READS = {"LOAD_GLOBAL", "LOAD_NAME", "IMPORT_NAME"}


def code_parts(code: types.CodeType) -> Iterator[Any]:
    """Give what a code object does: bytes and words, and the tuple of its constants. No names of files or lines."""
    yield code.co_code
    signature = code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags
    names = code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars
    yield f"{signature} {names} {sys.version_info[:2]}"
    yield getattr(code, "co_exceptiontable", b"")
    yield code.co_consts


@functools.lru_cache(maxsize=4096)
def global_names(code: types.CodeType) -> tuple[tuple[str, ...], frozenset[str]]:
    """Find the globals and imported modules that a code object names, and all names that may be their attributes."""
    attributes = set(code.co_names)
    names: set[str] = {step.argval for step in dis.get_instructions(code) if step.opname in _READS}
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            inner, more = global_names(constant)
            names.update(inner)
            attributes.update(more)
    return tuple(sorted(names)), frozenset(attributes)


def library_name(value: Any) -> str | None:
    """Name the module of an installed package, or of Python's, in which a function, class or module was written.

    What it holds is known by this name and the content of its file. None for what is the user's own.
    """
    if isinstance(value, types.ModuleType):
        name = value.__name__
    elif isinstance(value, types.FunctionType):
        name = value.__globals__.get("__name__", "")  # __module__ is copied by functools.wraps
        if vars(sys.modules.get(name, types)) is not value.__globals__:
            return None
    else:
        name = value.__module__
        if not _is_at(value, name):
            return None
    return name if _is_installed(name) else None


def _is_at(value, name):
    found = sys.modules.get(name)
    for part in value.__qualname__.split("."):
        found = getattr(found, part, None)
    return found is value


def _is_installed(name):
    if name in sys.builtin_module_names or name.partition(".")[0] == "sktransfer":
        return True
    return _file_is_installed(getattr(sys.modules.get(name), "__file__", None))


@functools.lru_cache(maxsize=4096)
def _file_is_installed(file):
    if file is None:
        return False
    folder = str(Path(file).resolve().parent)
    return folder.startswith(_INSTALLED) or "site-packages" in folder or "dist-packages" in folder


def library_version(name: str) -> str:
    """Name the content of an installed module."""
    root = sys.modules.get(name.partition(".")[0])
    return f"{getattr(root, '__version__', '')} {_file_digest(getattr(sys.modules.get(name), '__file__', None))}"


@functools.lru_cache(maxsize=4096)
def _file_digest(file):
    if file is None or not file.endswith(".py"):
        return ""  # compiled code is known by the version of its package
    try:
        return xxhash.xxh3_128_hexdigest(Path(file).read_bytes())
    except OSError:  # in an archive
        return ""
