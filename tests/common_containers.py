"""Whatever holds samples."""

import numpy as np
import pandas as pd
import polars as pl
import torch
from scipy import sparse

VALUES = np.arange(12.0).reshape(4, 3)
TABLES = {
    "list": np.ndarray.tolist,
    "array": np.array,
    "memmap": lambda a: np.asarray(a).view(np.memmap),
    "csr": sparse.csr_array,
    "csc": sparse.csc_matrix,
    "coo": sparse.coo_array,
    "tensor": torch.from_numpy,
    "pandas frame": lambda a: pd.DataFrame(a, columns=list("abc"), index=[7] * len(a)),
    "polars frame": lambda a: pl.DataFrame(a, schema=list("abc")),
}
COLUMNS = {
    "list": np.ndarray.tolist,
    "array": np.array,
    "pandas series": lambda a: pd.Series(a, name=str(a[0])),
    "polars series": lambda a: pl.Series(str(a[0]), a),
}


def dense(samples):
    return samples.toarray() if sparse.issparse(samples) else np.asarray(samples)


class Arrayed:
    """Can become an array, and nothing else."""

    def __array__(self, dtype=None, copy=None):
        return VALUES.astype(dtype or float)
