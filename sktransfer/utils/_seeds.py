"""Seeds of estimators inside estimators."""

from typing import Any

import numpy as np

__all__ = ["set_random_states"]


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
