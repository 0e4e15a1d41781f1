"""Grad-CAM of recordings: maps of their windows, put together along time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

__all__ = ["explain_windows"]


def explain_windows(
    modality: Any,
    windows: Any,
    owner: np.ndarray,
    columns: np.ndarray | None,
    *,
    batches: Callable[[], Iterator[tuple[np.ndarray, Any, Any]]],
    scores: Callable[[Any], np.ndarray],
    maps: Callable[[Any, np.ndarray], np.ndarray],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Explain the scores of recordings, which are the means of those of their windows.

    Parameters
    ----------
    modality : Recordings
    windows : Windows
    owner : ndarray of shape (n_windows,)
        Position of the recording that each window is of.
    columns : ndarray of shape (n_samples,) or None
        Columns of the scores to be explained; None takes the highest of each recording.
    batches : callable
        Gives batches of the windows, from the first one on: positions, what the network takes, and what failed.
    scores : callable
        Scores ``(b, k)`` of a batch.
    maps : callable
        Maps ``(b, n_frames, n_mels)`` of a batch, for the columns of its rows, each as large as it came.

    Returns
    -------
    maps : ndarray of shape (n_samples, n_mels, n_frames)
        Low pitches at the bottom; 0 behind the end of a recording that is shorter than the longest one.
    pictures : ndarray of shape (n_samples, n_mels, n_frames, 3)
        Log-mel values, the lowest of all black and the highest white.
    columns : ndarray of shape (n_samples,)
    """
    counts = np.bincount(owner)
    if columns is None:
        sums: Any = 0.0
        for rows, batch, _ in batches():
            found = scores(batch)
            sums = np.zeros((len(counts), found.shape[1])) if np.isscalar(sums) else sums
            np.add.at(sums, owner[rows], found)
        columns = (sums / counts[:, np.newaxis]).argmax(axis=1)
    begins = windows.starts // modality.log_mel.hop_length
    shape = (len(counts), int(begins.max()) + modality.n_frames, modality.log_mel.n_mels)
    heat, seen, times = np.zeros(shape, np.float32), np.zeros(shape, np.float32), np.zeros(shape[:2], np.float32)
    for rows, batch, _ in batches():
        found = maps(batch, columns[owner[rows]])
        for i, row in enumerate(rows.tolist()):
            place = owner[row], slice(begins[row], begins[row] + modality.n_frames)
            heat[place] += found[i]
            seen[place] += (batch[i, 0].numpy() - modality.offset[0]) / modality.gain[0]
            times[place] += 1
    n_times = np.maximum(times, 1)[:, :, np.newaxis]
    heat, seen = (
        heat / n_times,
        np.where(times[:, :, np.newaxis] > 0, seen / n_times, np.log(modality.log_mel.log_offset)),
    )
    most = heat.max(axis=(1, 2), keepdims=True)
    heat /= np.where(most > 0, most, 1)
    low, high = seen.min(), seen.max()
    grey = (seen - low) / (high - low if high > low else 1)
    pictures = np.repeat(_upright(grey)[..., np.newaxis], 3, axis=3)
    return _upright(heat), pictures, columns


def _upright(values):
    """Turn ``(n, time, pitch)`` as spectrograms are drawn: time to the right, low pitches at the bottom."""
    return np.ascontiguousarray(values.transpose(0, 2, 1)[:, ::-1])
