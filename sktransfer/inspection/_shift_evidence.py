"""Numbers about two domains, on rows that may be pictures."""

import warnings
from collections import Counter
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.exceptions import FitFailedWarning
from sklearn.pipeline import Pipeline

from sktransfer.domains import Domains, domain_parameters, take_rows
from sktransfer.metrics import mmd_distance, proxy_a_distance
from sktransfer.utils._features import apply_features, as_table
from sktransfer.utils._messages import caller_level

__all__ = [
    "class_shares",
    "distances",
    "domain_distances",
    "draw_rows",
    "feature_rows",
]

# Rows of a domain that distances are computed on: their cost grows with the square.
_MAX_ROWS = 1000


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
    is_target = domains.is_target[rows]
    try:
        return _measure(*feature_rows(X, y, domains, rows, estimator, features), is_target, rng)
    except Exception as error:
        # A number beside the scores; what was found without it is kept.
        warnings.warn(
            f"The distances of the domains could not be computed: {error!r}",
            FitFailedWarning,
            stacklevel=caller_level(),
        )
        return _without_distances(f"could not be computed: {error}")


def _without_distances(why_not):
    return {**dict.fromkeys(("mmd", "mmd_p_value", "proxy_a_distance", "features")), "left_out": why_not}


def _measure(table, origin, is_target, rng):
    why_not = None
    if table is None:
        why_not = origin
    elif not np.isfinite(table).all():
        why_not = f"{origin} holds values that are missing or infinite: pass features="
    elif min(np.bincount(is_target, minlength=2)) < 2:
        why_not = "a domain has a single row"
    if why_not is not None:
        return _without_distances(why_not)
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
