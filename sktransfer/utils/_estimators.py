"""Estimators inside estimators: how they take weights, and their seeds."""

from typing import Any

import numpy as np
from sklearn import get_config
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import has_fit_parameter

__all__ = ["set_random_states", "weight_parameter"]


def weight_parameter(estimator: Any) -> str | None:
    """Return the name by which ``estimator.fit`` takes weights, None if it takes none.

    Parameters
    ----------
    estimator : estimator
        A scikit-learn estimator; of a pipeline, the last step counts.

    Returns
    -------
    name : str or None
        ``"sample_weight"``, or ``"<last step>__sample_weight"`` for a pipeline.
    """
    if isinstance(estimator, Pipeline):
        # With metadata routing a pipeline passes weights only to steps that request them.
        last_name, last = estimator.steps[-1]
        routing = get_config()["enable_metadata_routing"]
        takes = not routing and has_fit_parameter(last, "sample_weight")
        return f"{last_name}__sample_weight" if takes else None
    return "sample_weight" if has_fit_parameter(estimator, "sample_weight") else None


def set_random_states(estimator: Any, rng: np.random.RandomState) -> Any:
    """Seed every `random_state` of `estimator`, and of those inside it, that is None.

    Parameters
    ----------
    estimator : estimator
        Seeded in place.
    rng : RandomState
        Seeds are drawn from it.

    Returns
    -------
    estimator : estimator
        The same.
    """
    params = estimator.get_params(deep=True)
    seeds = {
        name: rng.randint(2**31 - 1)
        for name in sorted(params)
        if (name == "random_state" or name.endswith("__random_state")) and params[name] is None
    }
    return estimator.set_params(**seeds) if seeds else estimator
