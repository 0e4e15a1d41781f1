"""Frozen forward passes: every picture passes a frozen network once."""

from sktransfer._frozen._compute import POOLINGS, Boundary, PooledLayers, SourceProba
from sktransfer._frozen._extract import extract
from sktransfer._frozen._store import clear_cache, open_store

__all__ = ["POOLINGS", "Boundary", "PooledLayers", "SourceProba", "clear_cache", "extract", "open_store"]
