"""Learning rates: how they move over a training, and the range test that proposes one."""

import math
from collections.abc import Callable

import numpy as np

__all__ = ["SCHEDULES", "lr_factor", "range_test", "steepest"]

_RANGE = (1e-6, 1.0)
_MOST_STEPS = 100
_GROWTH = 4.0  # a loss this many times its lowest ends the range test


def _one_cycle(t):
    # Up from 1/25 over three tenths of the way, down to nothing over the rest, both along half a cosine.
    if t < 0.3:
        return 1 / 25 + (1 - 1 / 25) * (1 - math.cos(math.pi * t / 0.3)) / 2
    return (1 + math.cos(math.pi * (t - 0.3) / 0.7)) / 2


SCHEDULES: dict[str, Callable[[float], float]] = {
    "constant": lambda t: 1.0,
    "cosine": lambda t: (1 + math.cos(math.pi * t)) / 2,
    "one_cycle": _one_cycle,
    "step": lambda t: 0.1 ** int(3 * t),
    "inverse": lambda t: (1 + 10 * t) ** -0.75,
}


def lr_factor(schedule: str, step: int, *, n_steps: int, n_warmup: int) -> float:
    """Factor of the learning rate in a step.

    Parameters
    ----------
    schedule : {"constant", "cosine", "one_cycle", "step", "inverse"}
    step : int
        From 0.
    n_steps : int
        Steps in all, warm-up included.
    n_warmup : int
        Steps over which the factor rises to 1 in equal parts, before the schedule begins.
    """
    if step < n_warmup:
        return (step + 1) / n_warmup
    return SCHEDULES[schedule]((step - n_warmup) / max(n_steps - n_warmup, 1))


def range_test(step: Callable[[float], float]) -> dict[str, np.ndarray]:
    """Train with growing learning rates until the loss explodes.

    Parameters
    ----------
    step : callable
        Trains one step at the learning rate that it gets and returns the loss.

    Returns
    -------
    dict
        ``"lr"`` and ``"loss"``, the latter smoothed, of shape (n_steps,).

    References
    ----------
    .. [1] Smith, L. N. "Cyclical Learning Rates for Training Neural Networks", WACV 2017.
    """
    rates, losses, mean, lowest = [], [], 0.0, math.inf
    for number, lr in enumerate(np.geomspace(*_RANGE, _MOST_STEPS), start=1):
        loss = step(float(lr))
        if not math.isfinite(loss):
            break
        mean = 0.9 * mean + 0.1 * loss
        smooth = mean / (1 - 0.9**number)
        rates.append(lr)
        losses.append(smooth)
        lowest = min(lowest, smooth)
        if smooth > _GROWTH * lowest:
            break
    return {"lr": np.array(rates), "loss": np.array(losses)}


def steepest(curve: dict[str, np.ndarray]) -> float:
    """Learning rate at which the loss of a range test falls fastest, at most a tenth of that of its lowest point."""
    rates, losses = curve["lr"], curve["loss"]
    end = int(np.argmin(losses)) + 1 if len(losses) else 0
    if end < 3:
        raise ValueError(
            "lr='auto': the loss did not fall at any learning rate of the range test "
            f"({_RANGE[0]:g} to {_RANGE[1]:g}). Pass a number, e.g. lr=1e-4."
        )
    slope = np.gradient(losses[:end], np.log(rates[:end]))
    return float(min(rates[np.argmin(slope)], rates[end - 1] / 10))
