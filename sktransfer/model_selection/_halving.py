"""Successive halving on folds: all candidates meet the first fold, fewer each next one."""

import math
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.stats import rankdata
from sklearn.exceptions import FitFailedWarning

from sktransfer.utils._messages import caller_level

__all__ = ["Candidate", "Clock", "halve", "lead", "report", "tabulate"]


class Clock:
    """Seconds since the search began, and until its budget is spent.

    Parameters
    ----------
    budget : float or None
        Seconds; None for no end.
    """

    def __init__(self, budget: float | None):
        self.start = time.monotonic()
        self.budget = budget

    @property
    def seconds(self) -> float:
        """Seconds gone."""
        return time.monotonic() - self.start

    def left(self, reserve: float = 0.0) -> float:
        """Seconds left, less some that are spoken for."""
        return math.inf if self.budget is None else self.budget - reserve - self.seconds


@dataclass(eq=False)
class Candidate:
    """A strategy in the race.

    Attributes
    ----------
    name : str
    estimator : estimator
        Never fitted itself.
    scores : list of float
        Of the folds that it has met, in their order.
    fit_seconds, score_seconds : list of float
        The same.
    answers : dict of int to ndarray
        What it said of the test rows of each fold, where that is kept.
    full_seconds : float
        Seconds that a fit to all rows would take, by the longest of the fits so far; 0 before the first.
    outcome : str
        What became of it, in words.
    """

    name: str
    estimator: Any
    scores: list = field(default_factory=list)
    fit_seconds: list = field(default_factory=list)
    score_seconds: list = field(default_factory=list)
    answers: dict = field(default_factory=dict)
    full_seconds: float = 0.0
    outcome: str = ""

    @property
    def mean_score(self) -> float:
        """Mean over the folds met."""
        return float(np.mean(self.scores)) if self.scores else -math.inf

    @property
    def mean_seconds(self) -> float:
        """Mean seconds of a fit and its score; 0 before the first."""
        return float(np.mean(self.fit_seconds) + np.mean(self.score_seconds)) if self.scores else 0.0

    def seconds_for(self, share: float) -> float:
        """Seconds that a fit to a share of the rows, and its score, will take."""
        return share * self.full_seconds + (float(np.mean(self.score_seconds)) if self.score_seconds else 0.0)

    def record(self, share: float, score: float, fit_seconds: float, score_seconds: float) -> None:
        """Keep what came of a fold that trains on a share of the rows."""
        self.scores.append(score)
        self.fit_seconds.append(fit_seconds)
        self.score_seconds.append(score_seconds)
        self.full_seconds = max(self.full_seconds, fit_seconds / share)


def halve(
    candidates: Sequence[Candidate],
    shares: Sequence[float],
    evaluate: Callable[[Candidate, int, float], tuple[float, float, float]],
    *,
    factor: int,
    clock: Clock,
    error_score: str | float = np.nan,
    n_kept: int = 1,
) -> Candidate:
    """Run the race and return the winner.

    After each fold the best ``1 / factor`` of the candidates go on, by their mean score over the folds so far, the
    cheaper of equals; when one is left, or no time, the race ends. The baseline meets every fold that is run. The
    winner is who is most ahead of the baseline on the folds that both have met; nobody ahead, the baseline. A baseline
    that fails is out of the race, and mean scores decide.

    Parameters
    ----------
    candidates : sequence of Candidate
        The baseline, and the others from the cheapest to the dearest; their records are written.
    shares : sequence of float
        For each fold, the share of the rows that it trains on.
    evaluate : callable
        ``evaluate(candidate, fold, seconds)`` gives score, seconds of fitting and seconds of scoring, or raises
        TimeoutError if it takes longer.
    factor : int
        At least 2.
    clock : Clock
        The budget.
    error_score : "raise" or float, default=nan
        The score of a fold in which a candidate fails; with nan it is out of the race.
    n_kept : int, default=1
        How many go on at least, as long as there are folds.

    Returns
    -------
    winner : Candidate

    Raises
    ------
    ValueError
        If all candidates failed.
    """
    baseline, *others = candidates
    contenders, alive, race = [], others, (candidates, evaluate, clock, error_score)
    for fold, share in enumerate(shares):
        if fold and clock.left(reserve=_best_seconds(candidates)) < baseline.seconds_for(share):
            break
        # Without the baseline's score there is little to compare with, so that its first fold is run in any case.
        if not baseline.outcome:
            _tries(baseline, fold, share, math.inf, evaluate, error_score)
        met = [candidate for candidate in alive if _meets(candidate, fold, share, *race)]
        # Who has run out of time keeps what it has shown.
        contenders += [candidate for candidate in alive if candidate not in met and candidate.scores and fold]
        ranked = sorted(met, key=lambda candidate: -candidate.mean_score)
        alive = ranked[: max(math.ceil(len(ranked) / factor), n_kept)]
        for candidate in ranked[len(alive) :]:
            candidate.outcome = f"behind after {_folds(fold + 1)}"
        if not alive or (len(alive) < 2 and fold):
            break
    # If those that were kept all failed later, the ones left behind are better than nothing.
    contenders = contenders + alive or [candidate for candidate in others if candidate.scores]
    for candidate in contenders:
        candidate.outcome = candidate.outcome or "runner-up"
    contenders = [candidate for candidate in (baseline, *contenders) if candidate.scores]
    if not contenders:
        raise ValueError(f"All {len(candidates)} strategies failed; the warnings say why.")
    winner = max(contenders, key=lambda candidate: lead(candidate, baseline))
    if baseline.scores:
        baseline.outcome = "baseline"
    winner.outcome = "best"
    return winner


def lead(candidate: Candidate, baseline: Candidate) -> float:
    """Mean difference of the scores to the baseline's on the same folds; the mean score if the baseline failed."""
    if not baseline.scores:
        return candidate.mean_score
    return float(np.mean(np.subtract(candidate.scores, baseline.scores[: len(candidate.scores)])))


def _best_seconds(candidates):
    """Return how long who is most ahead of the baseline, the first of the candidates, takes for all rows."""
    scored = [candidate for candidate in candidates if candidate.scores]
    return max(scored, key=lambda candidate: lead(candidate, candidates[0])).full_seconds if scored else 0.0


def _meets(candidate, fold, share, candidates, evaluate, clock, error_score):
    """Evaluate on a fold; say whether there was time and it came to an end."""
    # The best so far must still be fitted to all rows, and so must this one if it is the best.
    left = clock.left(reserve=max(_best_seconds(candidates), candidate.full_seconds))
    if left <= candidate.seconds_for(share):
        candidate.outcome = "no time" if fold == 0 else f"no time for more than {_folds(fold)}"
        return False
    # Of t seconds for the share, t / share more are needed for all rows.
    return _tries(candidate, fold, share, left if fold else left * share / (1 + share), evaluate, error_score)


def _tries(candidate, fold, share, left, evaluate, error_score):
    """Evaluate on a fold in the seconds that are left; say whether it came to an end."""
    try:
        score, *seconds = evaluate(candidate, fold, left)
        if not math.isfinite(score):
            raise ValueError(f"its score is {score}")
    except TimeoutError:
        candidate.outcome = f"stopped by the time budget on fold {fold + 1}"
        return False
    except Exception as error:
        # As in scikit-learn's searches, one candidate that cannot be fitted is no reason to lose the others.
        if error_score == "raise":
            raise
        warnings.warn(f"The strategy {candidate.name!r} failed: {error!r}", FitFailedWarning, stacklevel=caller_level())
        if math.isfinite(error_score):
            candidate.record(share, error_score, 0.0, 0.0)
            return True
        candidate.outcome = f"failed: {error}"
        candidate.scores.clear()
        return False
    candidate.record(share, score, *seconds)
    return True


def tabulate(
    candidates: Sequence[Candidate], n_folds: int, weights: Mapping[str, float] | None = None
) -> dict[str, Any]:
    """Lay the race out as the ``cv_results_`` of scikit-learn's searches; folds not met are NaN.

    `weights`, by names of candidates, are those of an ensemble; None for no such column.
    """

    def mean(values):
        return float(np.mean(values)) if values else np.nan

    scores = np.full((len(candidates), n_folds), np.nan)
    for row, candidate in zip(scores, candidates, strict=True):
        row[: len(candidate.scores)] = candidate.scores
    means = np.array([mean(candidate.scores) for candidate in candidates])
    shares = {} if weights is None else {"ensemble_weight": np.array([weights.get(c.name, 0.0) for c in candidates])}
    ranks = rankdata([(math.inf if math.isnan(value) else -value) for value in means], method="min")
    return {
        "strategy": np.array([candidate.name for candidate in candidates], dtype=object),
        "mean_test_score": means,
        "std_test_score": np.array([float(np.std(c.scores)) if c.scores else np.nan for c in candidates]),
        "rank_test_score": ranks.astype(int),
        "n_folds": np.array([len(candidate.scores) for candidate in candidates]),
        "mean_fit_time": np.array([mean(candidate.fit_seconds) for candidate in candidates]),
        "mean_score_time": np.array([mean(candidate.score_seconds) for candidate in candidates]),
        **{f"split{fold}_test_score": scores[:, fold] for fold in range(n_folds)},
        **shares,
        "outcome": np.array([candidate.outcome for candidate in candidates], dtype=object),
    }


def report(
    winner: Candidate,
    candidates: Sequence[Candidate],
    n_folds: int,
    seconds: float,
    *,
    budget: float | None,
    weights: Mapping[str, float] | None = None,
) -> str:
    """Say in plain words what was tried and found, the baseline being the first of the candidates."""
    baseline = candidates[0]
    used = f"{winner.name} is the strategy used: "
    if weights is not None:
        members = ", ".join(f"{name} {weight:.2f}" for name, weight in weights.items())
        used = f"An average is used: {members}. {winner.name} is the best alone: "
    lines = [f"{used}mean score {winner.mean_score:.3f} on {len(winner.scores)} of {n_folds} folds."]
    if not baseline.scores:
        lines.append(f"{baseline.name}, the baseline, failed, so that nothing is compared with it.")
    elif winner is not baseline:
        ahead = lead(winner, baseline)
        lines.append(f"It is {ahead:+.3f} ahead of {baseline.name}, the baseline, on the same folds.")
    else:
        lines.append("It is the baseline: nothing that was tried is ahead of it.")
    lines += [
        f"- {c.name}: {f'{c.mean_score:.3f}' if c.scores else 'no score'}, "
        f"{f'{c.mean_seconds:.1f} s a fold, ' if c.scores else ''}{c.outcome}"
        for c in candidates
    ]
    limit = "" if budget is None else f" of {budget:g}"
    return "\n".join([*lines, f"The search took {seconds:.1f}{limit} s."])


def _folds(n):
    return "1 fold" if n == 1 else f"{n} folds"
