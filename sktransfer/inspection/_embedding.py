"""Rows of two domains in two dimensions, and the rows before and after an adaptation."""

import inspect
from typing import Any

import numpy as np
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from sktransfer.domains import domain_parameters
from sktransfer.utils._deviations import ColumnScaler
from sktransfer.utils._features import apply_features, as_table

__all__ = ["before_and_after", "embed"]


def embed(table: np.ndarray, *, method: str, seed: int) -> tuple[np.ndarray, list[str]]:
    """Return rows in two dimensions, and what the axes are.

    Parameters
    ----------
    table : ndarray of shape (n_samples, n_features)
        Rows of all domains.
    method : {"pca", "tsne"}
        Principal components of the rows, or t-SNE of the standardised rows.
    seed : int
        Seed of the method.
    """
    if table.shape[1] == 1:
        # A second axis at random spreads the points of a single feature.
        spread = np.random.RandomState(seed).uniform(-1, 1, size=len(table))
        return np.column_stack([table[:, 0], spread]), ["the only feature", "at random"]
    if method == "pca":
        pca = PCA(2, random_state=seed).fit(table)
        shares = np.nan_to_num(pca.explained_variance_ratio_)
        return pca.transform(table), [f"component {i + 1} ({100 * s:.0f} % of variance)" for i, s in enumerate(shares)]
    perplexity = min(30.0, (len(table) - 1) / 3)
    points = TSNE(2, perplexity=perplexity, init="pca", random_state=seed).fit_transform(
        ColumnScaler().fit_transform(table)
    )
    return points, ["t-SNE 1", "t-SNE 2"]


def before_and_after(estimator: Any, X: Any, names: np.ndarray, features: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows before and after the first step of a fitted estimator that knows domains.

    Parameters
    ----------
    estimator : estimator
        Fitted, with ``transform``; of a pipeline, steps count up to the last that has ``transform``.
    X : samples of length n_samples
        Rows.
    names : ndarray of shape (n_samples,)
        Domain of each row.
    features : transformer, callable or None
        Makes the rows before; None takes what enters that step.
    """
    check_is_fitted(estimator)
    steps = [step for _, step in estimator.steps] if isinstance(estimator, Pipeline) else [estimator]
    steps = [step for step in steps if hasattr(step, "transform")]
    if not steps:
        raise TypeError(
            f"estimator must have transform, which gives the adapted rows; {type(estimator).__name__} has none (one "
            "that weights rows leaves them where they are). Pass an adapter, or draw your own with from_arrays."
        )
    entered, rows, adapted = X, X, False
    for step in steps:
        if not adapted and domain_parameters(step, names):
            entered, adapted = rows, True
        takes = "sample_domain" in inspect.signature(step.transform).parameters
        rows = step.transform(rows, sample_domain=names) if takes else step.transform(rows)
    before = as_table(entered) if features is None else apply_features(features, X)
    if before is None:
        raise ValueError(
            "X is no table of numbers, so the rows before adaptation cannot be drawn. Pass features=, a transformer "
            "or a function that makes one of them, such as PretrainedFeatureExtractor()."
        )
    after = as_table(rows)
    if after is None:
        raise ValueError(f"transform of {type(estimator).__name__} gives no table of shape (n_samples, n_features).")
    return before, after
