"""The permutation test of the maximum mean discrepancy."""

from numbers import Integral

import numpy as np
from sklearn.utils import check_random_state

from sktransfer.utils._kernels import pairwise_kernel, row_blocks
from sktransfer.utils._sparse import stack_rows
from sktransfer.utils._threads import small_algebra

__all__ = ["mmd_permutation_pvalue"]

# Permutations whose sums are taken together: the indicator matrix stays small.
_BATCH = 256


@small_algebra
def mmd_permutation_pvalue(
    Xs: np.ndarray,
    Xt: np.ndarray,
    kernels: list[dict],
    *,
    unbiased: bool,
    n_permutations: int,
    random_state: int | np.random.RandomState | None = None,
) -> float:
    """Return the share of role permutations, the given roles among them, with a discrepancy not smaller.

    With the kernel matrix K of all rows and the indicator a of the rows called source, the sums over pairs within the
    source, within the target and across are a'Ka, 1'K1 - 2 a'K1 + a'Ka and a'K1 - a'Ka: K is computed once a batch of
    permutations, in blocks.

    Parameters
    ----------
    Xs : ndarray of shape (n_source, n_features)
        Source rows, in the precision to compute in.
    Xt : ndarray of shape (n_target, n_features)
        Target rows.
    kernels : list of dict
        Keywords of :func:`sktransfer.utils._kernels.pairwise_kernel`; the test takes the mean of the kernels.
    unbiased : bool
        Whether pairs of a row with itself are left out.
    n_permutations : int
        Number of permutations.
    random_state : int, RandomState or None, default=None
        Seed.

    Returns
    -------
    pvalue : float
        From 1 / (n_permutations + 1) to 1.

    Raises
    ------
    ValueError
        If `n_permutations` is not a positive integer.
    """
    if not isinstance(n_permutations, Integral) or n_permutations < 1:
        raise ValueError(f"n_permutations must be an integer of at least 1, got {n_permutations!r}.")
    rng = check_random_state(random_state)
    X, n, m = stack_rows(Xs, Xt), Xs.shape[0], Xt.shape[0]
    given = np.zeros((n + m, 1))
    given[:n] = 1.0
    observed, not_smaller = None, 1
    # Of what the sums may differ by their order alone.
    noise = 1e-12 if X.dtype == np.float64 else 1e-7
    for start in range(0, n_permutations, _BATCH):
        drawn = [rng.permutation(given[:, 0]) for _ in range(min(_BATCH, n_permutations - start))]
        values = _discrepancies(X, np.column_stack([given, *drawn]), kernels, n, m, unbiased=unbiased)
        observed = values[0]
        # Permutations that change nothing must count as equal whatever the last digits say.
        not_smaller += int(np.count_nonzero(values[1:] >= observed - noise * max(1.0, np.abs(values).max())))
    return not_smaller / (n_permutations + 1)


def _discrepancies(X, A, kernels, n, m, *, unbiased):
    """Return the squared discrepancy for each indicator in the columns of `A`."""
    within, across, total, diagonal = np.zeros(A.shape[1]), np.zeros(A.shape[1]), 0.0, np.empty(X.shape[0])
    A_kept = A.astype(X.dtype, copy=False)
    for rows in row_blocks(X.shape[0], X.shape[0]):
        K = np.mean([pairwise_kernel(X[rows], X, **params) for params in kernels], axis=0)
        diagonal[rows] = K[np.arange(len(K)), np.arange(rows.start, rows.start + len(K))]
        sums = K.sum(axis=1, dtype=np.float64)
        total += sums.sum()
        across += sums @ A[rows]
        within += np.einsum("ij,ij->j", A[rows], K @ A_kept)
    in_source, in_target = within, total - 2.0 * across + within
    if unbiased:
        traces = diagonal @ A
        in_source, in_target = in_source - traces, in_target - (diagonal.sum() - traces)
        return in_source / (n * (n - 1)) + in_target / (m * (m - 1)) - 2.0 * (across - within) / (n * m)
    return in_source / n**2 + in_target / m**2 - 2.0 * (across - within) / (n * m)
