"""Models fitted to some rows of one domain or several, and scored on others."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from sklearn.base import clone

from sktransfer.domains._domains import Domains
from sktransfer.domains._estimators import domain_parameters, fit_on_domains
from sktransfer.domains._labels import mask_labels, plain_labels
from sktransfer.domains._rows import take_rows
from sktransfer.utils._seeds import set_random_states

__all__ = ["Evaluated", "Evaluator", "seeded_clone", "without_domains"]


class Evaluated(NamedTuple):
    """A fitted model, its score, and the seconds that both took."""

    model: Any
    score: float
    fit_seconds: float
    score_seconds: float


@dataclass(frozen=True, eq=False)
class Evaluator:
    """The rows that models are fitted to and scored on, and who scores.

    Attributes
    ----------
    X : samples
        All rows.
    y : ndarray of shape (n_samples,)
        Labels. A model sees those of target rows only where it is said that they show.
    domains : Domains or None
        Roles of the rows, read once; None where there is one domain.
    scorer : callable
        ``scorer(model, X, y, domains)``, with the roles of the rows it is given, or None where there is one domain.
    """

    X: Any
    y: np.ndarray
    domains: Domains | None
    scorer: Callable[[Any, Any, np.ndarray, Domains | None], float]

    def takes_domains(self, estimator: Any) -> bool:
        """Say whether ``estimator.fit`` takes the domains."""
        return self.domains is not None and bool(domain_parameters(estimator, self.domains.names))

    def fit(
        self, estimator: Any, rows: np.ndarray, *, shown: np.ndarray | None = None, with_domains: bool = True
    ) -> Any:
        """Fit an estimator in place, and return it.

        Parameters
        ----------
        estimator : estimator
            One that takes domains is fitted to all `rows`, any other to those that show a label.
        rows : ndarray of int
            Positions of the rows to fit to.
        shown : ndarray of int or None, default=None
            Target rows that show their label; None shows none.
        with_domains : bool, default=True
            False fits to labelled `rows` without a word about domains.

        Raises
        ------
        DomainError
            If there are no source or no target rows among `rows`, or a source row has no label.
        """
        if self.domains is None or not with_domains:
            return estimator.fit(take_rows(self.X, rows), self._labels(rows))
        domains = self.domains.take(rows, require_both=True)
        shown = rows[:0] if shown is None else shown
        hidden = domains.is_target & ~np.isin(rows, shown)
        if len(shown) and not self.takes_domains(estimator):
            return self.fit(estimator, rows[~hidden], with_domains=False)
        return fit_on_domains(estimator, take_rows(self.X, rows), mask_labels(self.y[rows], hidden), domains)

    def score(self, model: Any, rows: np.ndarray) -> float:
        """Score a fitted model on `rows`."""
        domains = None if self.domains is None else self.domains.take(rows)
        return float(self.scorer(model, take_rows(self.X, rows), self._labels(rows), domains))

    def evaluate(
        self,
        estimator: Any,
        train: np.ndarray,
        test: np.ndarray,
        *,
        seed: int | None = None,
        deadline: Callable[[Any], Any] | None = None,
        **options: Any,
    ) -> Evaluated:
        """Fit a clone of an estimator to some rows and score it on others.

        Parameters
        ----------
        estimator : estimator
            Not fitted itself.
        train, test : ndarray of int
            Positions of the rows.
        seed : int or None, default=None
            Sets those random states of the clone that are None.
        deadline : callable or None, default=None
            ``deadline(clone)`` sees to it that the fit ends in time; None lets it take as long as it will.
        **options : Any
            `shown` and `with_domains` of :meth:`fit`.
        """
        model = seeded_clone(estimator, seed)
        if deadline is not None:
            deadline(model)
        start = time.perf_counter()
        self.fit(model, train, **options)
        fitted = time.perf_counter()
        score = self.score(model, test)
        return Evaluated(model, score, fitted - start, time.perf_counter() - fitted)

    def _labels(self, rows: np.ndarray) -> np.ndarray:
        # Only where there are domains may the dtype of all labels be due to a missing one.
        return self.y[rows] if self.domains is None else plain_labels(self.y[rows])


def seeded_clone(estimator: Any, seed: int | None) -> Any:
    """Return a clone; with a seed, those of its random states that are None are set by it."""
    copy = clone(estimator)
    return copy if seed is None else set_random_states(copy, np.random.RandomState(seed))


def without_domains(scorer: Callable[[Any, Any, np.ndarray], float]) -> Callable:
    """Let a scorer of scikit-learn score for an :class:`Evaluator`."""
    return partial(_score_without_domains, scorer)


def _score_without_domains(scorer: Callable, model: Any, X: Any, y: np.ndarray, _domains: Domains | None) -> float:
    return scorer(model, X, y)
