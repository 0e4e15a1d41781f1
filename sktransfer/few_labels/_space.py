"""Where rows are compared: two views of standardised rows, each of norm 1."""

from dataclasses import dataclass

import numpy as np
from sklearn.utils.extmath import randomized_svd

from sktransfer.utils._linalg import principal_axes

__all__ = ["Space", "standardize", "unit_rows"]

# Length of the constant coordinate of standardised rows. In a thousand dimensions it is next to nothing; in two it
# keeps apart rows that lie in one direction at different distances.
_LIFT = 3.0
_FULL = 2000


def standardize(X: np.ndarray, mean: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Return rows of `X`, shape (n_samples, n_features), less `mean`, in units of `scale`."""
    return (X - mean) / scale


def unit_rows(X: np.ndarray) -> np.ndarray:
    """Return rows of `X`, shape (n_samples, n_features), scaled to norm 1; zero rows stay."""
    norm = np.linalg.norm(X, axis=1, keepdims=True)
    return X / np.where(norm > 0, norm, 1.0)


@dataclass(frozen=True)
class Space:
    """Two views of standardised rows.

    Attributes
    ----------
    axes : ndarray of shape (n_features, n_components)
        Leading principal axes, each divided by the square root of its singular value.
    lifts : tuple of float
        The constant coordinate in each view.
    """

    axes: np.ndarray
    lifts: tuple[float, float]

    @classmethod
    def of(cls, S: np.ndarray, n_components: int) -> "Space":
        """Learn the axes of standardised rows `S`, shape (n_samples, n_features)."""
        if min(S.shape) <= _FULL:
            s, V = principal_axes(S)
            s, V = s[:n_components], V[:, :n_components]
        else:
            # A fixed seed: the leading axes come out the same to many digits with any.
            _, s, Vt = randomized_svd(S, n_components, random_state=0)
            V = Vt.T
        axes = V / np.sqrt(np.where(s > 0, s, 1.0))
        relative = _LIFT / np.sqrt(S.shape[1])
        return cls(axes, (relative * _typical_norm(S), relative * _typical_norm(S @ axes)))

    def whole(self, S: np.ndarray) -> np.ndarray:
        """Return the view in which all features count as they are, for linear models."""
        return _lifted(S, self.lifts[0])

    def grouped(self, S: np.ndarray) -> np.ndarray:
        """Return the view of leading axes, half whitened, in which groups of rows are looked for.

        Fully whitened, weak axes would bring as much noise as strong ones bring signal; as they are, the first few axes
        would decide alone.
        """
        return _lifted(S @ self.axes, self.lifts[1])


def _typical_norm(X: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.sum(X**2, axis=1)))) or 1.0


def _lifted(X: np.ndarray, lift: float) -> np.ndarray:
    return unit_rows(np.column_stack([X, np.full(len(X), lift)]))
