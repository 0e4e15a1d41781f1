"""The race of strategies on folds: who is fitted to which rows, scored on which, and in what time."""

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from sktransfer.domains import Evaluator, take_rows
from sktransfer.model_selection._halving import Candidate, Clock, halve

__all__ = ["run_race"]


def run_race(
    candidates: Sequence[Candidate],
    evaluator: Evaluator,
    folds: Sequence[tuple[np.ndarray, np.ndarray]],
    *,
    factor: int,
    clock: Clock,
    error_score: str | float = np.nan,
    n_kept: int = 1,
    answer: Callable[[Any, Any], np.ndarray] | None = None,
    show: bool = False,
) -> Candidate:
    """Run :func:`halve` on folds, and return the winner.

    Parameters
    ----------
    candidates : sequence of Candidate
        As for :func:`halve`.
    evaluator : Evaluator
        The rows. With domains, all target rows are scored in each fold: their labels taught nothing.
    folds : sequence of (train, test)
        Row numbers.
    factor, clock, error_score, n_kept
        As for :func:`halve`.
    answer : callable or None, default=None
        ``answer(model, X)``: what is kept, as ``answers`` of the candidate, of a model and the test rows of its fold.
    show : bool, default=False
        Whether to show a bar of the fits.

    Returns
    -------
    winner : Candidate
    """
    if evaluator.domains is not None:
        folds = [(train, np.union1d(test, evaluator.domains.target_rows)) for train, test in folds]
    with tqdm(desc="strategies", unit=" fits", disable=not show) as bar:

        def evaluate(candidate: Candidate, fold: int, seconds: float) -> tuple[float, float, float]:
            bar.set_postfix_str(f"fold {fold + 1}, {candidate.name}")
            deadline = end_trainings(time.monotonic() + seconds) if math.isfinite(seconds) else None
            found = evaluator.evaluate(candidate.estimator, *folds[fold], deadline=deadline)
            if answer is not None:
                candidate.answers[fold] = answer(found.model, take_rows(evaluator.X, folds[fold][1]))
            bar.update()
            return found.score, found.fit_seconds, found.score_seconds

        shares = [len(train) / len(evaluator.y) for train, _ in folds]
        return halve(candidates, shares, evaluate, factor=factor, clock=clock, error_score=error_score, n_kept=n_kept)


def end_trainings(at: float) -> Callable[[Any], None]:
    """Return what makes the trainings inside an estimator raise a TimeoutError at a time of ``time.monotonic``.

    What is no training is not ended.
    """

    def set_deadline(estimator: Any) -> None:
        params = estimator.get_params(deep=True)
        names = [name for name in params if name.rpartition("__")[2] == "callbacks"]
        if names:
            from sktransfer._nets import Deadline

            estimator.set_params(**{name: [*(params[name] or ()), Deadline(at)] for name in names})

    return set_deadline
