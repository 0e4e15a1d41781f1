"""Fits and scores on folds of one domain or several."""

import math
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.utils.metadata_routing import get_routing_for_object
from tqdm.auto import tqdm

from sktransfer.domains import Domains, check_domains, fit_on_domains, mask_labels, take_rows
from sktransfer.model_selection._halving import Candidate

__all__ = ["FoldFits", "takes_domains"]


def takes_domains(scorer: Any) -> bool:
    """Say whether a scorer asks for `sample_domain`."""
    return "sample_domain" in get_routing_for_object(scorer).consumes("score", ["sample_domain"])


class FoldFits:
    """The data of a search, and its folds.

    Parameters
    ----------
    X : samples
        Rows.
    y : ndarray of shape (n_samples,)
        Labels. Estimators get those of target rows masked.
    domains : Domains or None
        Roles of the rows; None where there is one domain.
    folds : sequence of (train, test)
        Row numbers.
    scorer : callable
        One that asks for `sample_domain` where there are domains.
    show : bool
        Whether to show a bar of the fits.
    """

    def __init__(
        self, X: Any, y: np.ndarray, domains: Domains | None, folds: Sequence[tuple], scorer: Any, *, show: bool
    ) -> None:
        self.X = X
        self.y = y
        self.domains = domains
        self.folds = folds
        self.scorer = scorer
        self.shares = [len(train) / len(y) for train, _ in folds]
        self.bar = tqdm(desc="strategies", unit=" fits", disable=not show)
        self._masked = y if domains is None else mask_labels(y, domains.is_target)

    def fit(self, estimator: Any, rows: np.ndarray) -> Any:
        """Fit to rows, in place, and return the estimator."""
        X, y = take_rows(self.X, rows), self._masked[rows]
        if self.domains is None:
            return estimator.fit(X, y)
        names = self.domains.names[rows]
        return fit_on_domains(estimator, X, y, check_domains(names, target_domain=list(self.domains.target_names)))

    def score(self, estimator: Any, rows: np.ndarray) -> float:
        """Score a fitted estimator on rows, and on all target rows: their labels taught it nothing."""
        if self.domains is None:
            return float(self.scorer(estimator, take_rows(self.X, rows), self.y[rows]))
        rows = np.union1d(rows, self.domains.target_rows)
        names = self.domains.names[rows]
        return float(self.scorer(estimator, take_rows(self.X, rows), self.y[rows], sample_domain=names))

    def evaluate(self, candidate: Candidate, fold: int, seconds: float) -> tuple[float, float, float]:
        """Fit a clone on a fold and score it.

        Parameters
        ----------
        candidate : Candidate
        fold : int
        seconds : float
            After which a training is ended by a TimeoutError; what is no training is not ended.

        Returns
        -------
        score, fit_seconds, score_seconds : float
        """
        self.bar.set_postfix_str(f"fold {fold + 1}, {candidate.name}")
        train, test = self.folds[fold]
        estimator = clone(candidate.estimator)
        if math.isfinite(seconds):
            _set_deadline(estimator, time.monotonic() + seconds)
        start = time.perf_counter()
        self.fit(estimator, train)
        fitted = time.perf_counter()
        score = self.score(estimator, test)
        self.bar.update()
        return score, fitted - start, time.perf_counter() - fitted


def _set_deadline(estimator: Any, at: float) -> None:
    params = estimator.get_params(deep=True)
    names = [name for name in params if name.rpartition("__")[2] == "callbacks"]
    if names:
        from sktransfer._nets import Deadline

        estimator.set_params(**{name: [*(params[name] or ()), Deadline(at)] for name in names})
