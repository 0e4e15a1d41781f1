"""Optional packages, imported where they are used."""

import importlib
from types import ModuleType

__all__ = ["import_optional"]


def import_optional(name: str, *, extra: str, caller: str) -> ModuleType:
    """Import the optional package `name`, or say which extra brings it.

    Parameters
    ----------
    name : str
        Import name, e.g. ``"ot"``.
    extra : str
        The extra of sktransfer that installs it, e.g. ``"transport"``.
    caller : str
        The public name that needs it, for the message.

    Returns
    -------
    module
        The imported module.

    Raises
    ------
    ImportError
        If the package is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(
            f"{caller} needs the package {name!r}, which cannot be imported ({error}). "
            f"Install it with: pip install 'sktransfer[{extra}]'"
        ) from error
