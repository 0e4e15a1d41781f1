"""What the accuracy benchmarks share: where the data lies, and tables that say where they were made."""

import datetime
import importlib.metadata
import os
import platform
from collections.abc import Iterable, Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent


def data_folder() -> Path:
    """Folder with ``data/`` and ``weights/``: SKTRANSFER_DATA, or ``shared`` beside the repository."""
    folder = Path(os.environ.get("SKTRANSFER_DATA", HERE.parents[1].parent / "shared"))
    if not (folder / "data").is_dir():
        raise SystemExit(f"No benchmark data at {folder}: set SKTRANSFER_DATA.")
    return folder


def provenance(*packages: str) -> str:
    """One line: date, processor, Python and the versions of `packages`."""
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages)
    machine = f"{os.cpu_count()} CPU cores ({platform.machine()})"
    return f"{datetime.date.today()}, {machine}, Python {platform.python_version()}, {versions}."


def markdown_table(header: Sequence[str], rows: Iterable[Sequence]) -> str:
    """Lay out rows as a markdown table; floats get one decimal."""

    def line(cells):
        return "| " + " | ".join(f"{cell:.1f}" if isinstance(cell, float) else str(cell) for cell in cells) + " |"

    return "\n".join([line(header), "|" + "---|" * len(header), *map(line, rows)])


def publish(name: str, text: str) -> None:
    """Print `text` and write it to ``NAME.md`` beside the benchmarks."""
    print(text)
    (HERE / f"{name}.md").write_text(text.rstrip() + "\n")
