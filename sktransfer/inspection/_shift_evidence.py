"""Numbers about two domains, on rows that may be pictures."""

from collections import Counter
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from sktransfer.metrics import mmd_distance, proxy_a_distance
from sktransfer.utils._domains import Domains
from sktransfer.utils._estimators import domain_parameters
from sktransfer.utils._stacking import take_rows

__all__ = [
    "apply_features",
    "as_table",
    "check_features",
    "class_shares",
    "distances",
    "domain_distances",
    "draw_rows",
    "feature_rows",
]

# Rows of a domain that distances are computed on: their cost grows with the square.
_MAX_ROWS = 1000


def as_table(X: Any) -> np.ndarray | None:
    """Return `X` as floats of shape (n_samples, n_features) if it is a table of numbers, else None."""
    if sparse.issparse(X):
        return X.toarray().astype(np.float64)
    if isinstance(X, list | tuple):
        # A look at the first row spares the conversion of a list of pictures.
        if len(X) == 0 or not isinstance(X[0], list | tuple | np.ndarray) or np.ndim(X[0]) != 1:
            return None
        if len({len(row) for row in X}) != 1:
            return None
    elif len(getattr(X, "shape", ())) != 2:
        return None
    table = np.asarray(X)
    if table.dtype == object and all(getattr(kind, "kind", "O") in "fiub" for kind in getattr(X, "dtypes", [None])):
        table = table.astype(np.float64)
    return table.astype(np.float64) if table.dtype.kind in "fiub" else None


def check_features(features: Any) -> None:
    """Raise a ValueError unless `features` is a transformer, a function or None."""
    if not (features is None or hasattr(features, "transform") or callable(features)):
        raise ValueError(f"features must be a transformer, a function or None, got {features!r}.")


def apply_features(features: Any, X: Any) -> np.ndarray:
    """Return the table that `features`, a transformer or a function of the samples, makes of `X`."""
    if hasattr(features, "transform"):
        try:
            check_is_fitted(features)
        except NotFittedError:
            features = clone(features).fit(X)
        made = features.transform(X)
    else:
        made = features(X)
    table = as_table(made)
    if table is None:
        raise ValueError(f"features must give a table of numbers (n_samples, n_features), got {type(made).__name__}.")
    return table


def feature_rows(
    X: Any, y: np.ndarray, domains: Domains, rows: np.ndarray, estimator: Any, features: Any
) -> tuple[np.ndarray | None, str]:
    """Return a table of `rows` to measure distances on, and where it comes from or why there is none.

    Parameters
    ----------
    X : samples
        All rows.
    y : ndarray of shape (n_samples,)
        Labels; those of target rows are not read.
    domains : Domains
        Roles of all rows.
    rows : ndarray of int
        Rows that count.
    estimator : estimator
        Of a pipeline, the steps before its last one, and before the first that knows domains, make features.
    features : transformer, callable or None
        Comes first, where given.
    """
    if features is not None:
        name = type(features).__name__ if hasattr(features, "transform") else getattr(features, "__name__", "features")
        return apply_features(features, take_rows(X, rows)), name
    table = as_table(take_rows(X, rows))
    if table is not None:
        return table, "X"
    steps = []
    for name, step in estimator.steps[:-1] if isinstance(estimator, Pipeline) else ():
        if step not in (None, "passthrough") and domain_parameters(step, domains.names):
            break
        steps.append((name, step))
    if steps:
        # Steps that learn from labels get those of the source, as in the estimator.
        source = np.intersect1d(rows, domains.source_rows)
        front = clone(Pipeline(steps)).fit(take_rows(X, source), y[source])
        table = as_table(front.transform(take_rows(X, rows)))
    if table is None:
        return None, "the rows are no table of numbers: pass features="
    return table, " + ".join(name for name, _ in steps)


def distances(table: np.ndarray, is_target: np.ndarray, rng: np.random.RandomState) -> dict:
    """Return MMD with its p-value and the proxy A-distance of the two domains in `table`."""
    Xs, Xt = table[~is_target], table[is_target]
    mmd, p_value = mmd_distance(Xs, Xt, return_pvalue=True, random_state=rng)
    return {"mmd": mmd, "mmd_p_value": p_value, "proxy_a_distance": proxy_a_distance(Xs, Xt, random_state=rng)}


def domain_distances(
    X: Any, y: np.ndarray, domains: Domains, estimator: Any, features: Any, rng: np.random.RandomState
) -> dict:
    """Return the distances of :func:`distances`, what they were computed on, and why they were not where they are None.

    Parameters are those of :func:`feature_rows`; `rng` draws the rows and seeds the tests.
    """
    rows = draw_rows(domains, rng)
    table, origin = feature_rows(X, y, domains, rows, estimator, features)
    is_target = domains.is_target[rows]
    why_not = None
    if table is None:
        why_not = origin
    elif not np.isfinite(table).all():
        why_not = f"{origin} holds values that are missing or infinite: pass features="
    elif min(np.bincount(is_target, minlength=2)) < 2:
        why_not = "a domain has a single row"
    if why_not is not None:
        return {**dict.fromkeys(("mmd", "mmd_p_value", "proxy_a_distance", "features")), "left_out": why_not}
    return {**distances(table, is_target, rng), "features": origin, "left_out": None}


def draw_rows(domains: Domains, rng: np.random.RandomState) -> np.ndarray:
    """Return all rows, or `_MAX_ROWS` of a domain that has more."""
    parts = [domains.source_rows, domains.target_rows]
    parts = [rng.choice(part, _MAX_ROWS, replace=False) if len(part) > _MAX_ROWS else part for part in parts]
    return np.sort(np.concatenate(parts))


def class_shares(y: np.ndarray, domains: Domains, labelled: np.ndarray) -> dict:
    """Return classes, their shares among source rows and among labelled target rows, and the total variation."""
    counts = [Counter(y[rows].tolist()) for rows in (domains.source_rows, labelled)]
    classes = sorted(counts[0] | counts[1], key=lambda label: (isinstance(label, str), label))
    shares = [np.array([count[label] for label in classes]) / count.total() for count in counts]
    return {
        "classes": np.array(classes),
        "source_shares": shares[0],
        "target_shares": shares[1],
        "label_shift_distance": float(np.abs(shares[0] - shares[1]).sum() / 2.0),
    }
