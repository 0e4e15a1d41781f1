"""Data of published comparisons that several methods are held against."""

import numpy as np
import pytest


@pytest.fixture(scope="session")
def office_caltech(shared_data):
    """Function of two domain names that gives X, y (-1 for target rows), and the target labels.

    SURF rows divided by their sums and standardised in each domain.
    """
    path = shared_data / "data" / "office_caltech10_surf" / "surf_l10.npz"
    if not path.exists():
        pytest.skip(f"no {path}")
    arrays = np.load(path)

    def domain(name):
        X = arrays[f"{name}_X"].astype(float)
        X /= X.sum(axis=1, keepdims=True)
        return (X - X.mean(axis=0)) / np.maximum(X.std(axis=0, ddof=1), 1e-12), arrays[f"{name}_y"]

    def pair(source, target, *, unit_length=False):
        (Xs, ys), (Xt, yt) = domain(source), domain(target)
        X = np.vstack([Xs, Xt])
        if unit_length:
            X /= np.linalg.norm(X, axis=1, keepdims=True)
        return X, np.concatenate([ys, np.full(len(yt), -1)]), yt

    return pair
