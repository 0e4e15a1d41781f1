"""The hub of Hugging Face: asked only where it can be reached."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies

import huggingface_hub

__all__ = ["find_in_hub", "no_hopeless_downloads"]

_PROBE_SECONDS = 2.0
_offline_lock = threading.RLock()
# What a network for texts is read from: no weights of other libraries.
_FILES = ["*.json", "*.txt", "*.safetensors", "*.model", "*/config.json", "*/*.safetensors"]


def find_in_hub(names: list[str]) -> Path:
    """Find the folder of one of some repositories in the hub's cache, or download it.

    Parameters
    ----------
    names : list of str
        Of repositories, the likeliest first.

    Raises
    ------
    OSError or ValueError
        If there is none.
    """
    errors: list[Exception] = []
    for from_cache in (True, False):
        if not from_cache and not _reachable(huggingface_hub.constants.ENDPOINT):
            break
        for name in names:
            try:
                found = huggingface_hub.snapshot_download(name, local_files_only=from_cache, allow_patterns=_FILES)
                return Path(found)
            except (OSError, ValueError) as error:  # the hub's own errors, and names that it cannot have
                errors.append(error)
    raise errors[-1]


@contextmanager
def no_hopeless_downloads(name: str, pretrained: bool) -> Iterator[None]:
    """Let the hub answer from its cache alone where its host cannot be reached.

    Its client would otherwise retry every file for half a minute before it gives up.
    """
    if not (pretrained or name.startswith("hf-hub:")):
        yield
        return
    constants = huggingface_hub.constants
    with _offline_lock:
        before = constants.HF_HUB_OFFLINE
        constants.HF_HUB_OFFLINE = before or not _reachable(huggingface_hub.constants.ENDPOINT)
        try:
            yield
        finally:
            constants.HF_HUB_OFFLINE = before


def _reachable(url: str) -> bool:
    """Whether a connection to the host of `url` (or to the proxy in front of it) opens within two seconds."""
    parts = urlsplit(getproxies().get(urlsplit(url).scheme) or url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    opened = threading.Event()

    def connect():
        try:
            socket.create_connection((parts.hostname, port), timeout=_PROBE_SECONDS).close()
            opened.set()
        except OSError:
            pass  # unreachable is an answer, not a failure: `opened` stays unset

    # In a thread of its own, because name resolution has no time limit of its own.
    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(_PROBE_SECONDS)
    return opened.is_set()
