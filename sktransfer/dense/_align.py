"""Where pixels lie between the cells of a map: the one place that says so."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import sparse

__all__ = ["Between", "at_points", "between", "on_lattice", "weights_of_cells"]


class Between(NamedTuple):
    """Positions along one axis: each between the cells `low` and `high`, by the share `weight` at `high`."""

    low: np.ndarray
    high: np.ndarray
    weight: np.ndarray


def between(positions: np.ndarray, stride: float, n_cells: int) -> Between:
    """Place positions between the cells of a map.

    Cell ``j`` stands for the middle of its pixels, at ``(j + 0.5) * stride``, as in ``align_corners=False`` of torch;
    outside of the first and the last middle the map goes on as it ends.

    Parameters
    ----------
    positions : ndarray of shape (n,)
        In pixels from the edge of the first one: the middle of pixel ``i`` lies at ``i + 0.5``.
    stride : float
        Pixels a cell.
    n_cells : int
    """
    cells = np.clip(positions / stride - 0.5, 0, n_cells - 1)
    low = np.minimum(cells.astype(np.intp), max(n_cells - 2, 0))
    return Between(low, np.minimum(low + 1, n_cells - 1), (cells - low).astype(np.float32))


def at_points(maps: np.ndarray, rows: Between, columns: Between) -> np.ndarray:
    """Interpolate a map ``(channels, height, width)`` at n points: ``(n, channels)``."""

    def along(line):
        left, right = maps[:, line, columns.low], maps[:, line, columns.high]
        return left + columns.weight * (right - left)

    above, below = along(rows.low), along(rows.high)
    return (above + rows.weight * (below - above)).T


def on_lattice(maps: np.ndarray, rows: Between, columns: Between) -> np.ndarray:
    """Interpolate a map ``(channels, height, width)`` at all crossings: ``(channels, n_rows, n_columns)``."""
    left = maps[:, :, columns.low]
    lines = left + columns.weight * (maps[:, :, columns.high] - left)
    # Whole lines are copied from here on, which is what memory is fast at.
    above, found = lines[:, rows.low], lines[:, rows.high]
    found -= above
    found *= rows.weight[:, np.newaxis]
    found += above
    return found


def weights_of_cells(mask: np.ndarray, rows: Between, columns: Between, shape: tuple[int, int]) -> np.ndarray:
    """Say how much each cell of a map counts in the mean over the pixels of a mask.

    Parameters
    ----------
    mask : ndarray of shape (n_rows, n_columns), bool
    rows, columns : Between
        Where they lie.
    shape : tuple of int
        ``(height, width)`` of the map.

    Returns
    -------
    ndarray of shape (height, width), float32
        Sums to one.
    """
    down, across = (
        _matrix(line, n_cells) for line, n_cells in zip((rows, columns), shape, strict=True)
    )  # the mean over pixels of what is linear in the cells is linear in the cells
    weights = down.T @ (across.T @ mask.astype(np.float32).T).T
    return np.asarray(weights / mask.sum(), dtype=np.float32)


def _matrix(line, n_cells):
    positions = np.arange(len(line.low))
    values = np.concatenate([1 - line.weight, line.weight])
    places = np.concatenate([positions, positions]), np.concatenate([line.low, line.high])
    return sparse.csr_array((values, places), shape=(len(positions), n_cells))
