"""Ensembles of what a search has tried: weights by greedy selection on rows that the models had not learned."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.ensemble import VotingClassifier, VotingRegressor
from sklearn.frozen import FrozenEstimator

from sktransfer.domains import Evaluator
from sktransfer.model_selection._halving import Candidate, Clock

__all__ = [
    "answers_of",
    "average",
    "check_averaged",
    "check_probabilities",
    "check_refit",
    "fit_ensemble",
    "greedy_weights",
]

_MOST_STEPS = 100
# Least probability in the log loss: neighbours say 0 of what they have not seen, and few rows prove nothing impossible.
_LEAST = 1e-3


def check_refit(refit: Any) -> bool:
    """Say whether an ensemble is asked for.

    Raises
    ------
    ValueError
        If `refit` is neither True nor "ensemble".
    """
    if refit is not True and not (isinstance(refit, str) and refit == "ensemble"):
        raise ValueError(
            f"refit must be True, for the best candidate, or 'ensemble', for an average of the best, got {refit!r}."
        )
    return refit is not True


def check_probabilities(estimator: Any, *, name: str) -> None:
    """Refuse a classifier, fitted or not, that gives no probabilities.

    Raises
    ------
    ValueError
        If it has no method ``predict_proba``.
    """
    if not hasattr(estimator, "predict_proba"):
        raise ValueError(
            f"refit='ensemble' averages probabilities, and {name!r} gives none: it has no predict_proba. Wrap it in "
            "CalibratedClassifierCV, leave it out, or set refit=True."
        )


def check_averaged(candidates: Sequence[Candidate], *, with_target: bool) -> None:
    """Refuse strategies that cannot be averaged.

    Raises
    ------
    ValueError
        If there is a target domain, or if one of them gives no probabilities.
    """
    if with_target:
        raise ValueError(
            "refit='ensemble' weighs the strategies by labels of rows that they did not learn, and those of a target "
            "domain are not read. Set refit=True, or leave out the target domain."
        )
    for candidate in candidates:
        check_probabilities(candidate.estimator, name=candidate.name)


def answers_of(model: Any, X: Any, classes: np.ndarray | None) -> np.ndarray:
    """Return what an ensemble averages: probabilities of all classes, or predictions where these are numbers.

    Parameters
    ----------
    model : estimator
        Fitted, to rows of all the classes or of some.
    X : samples
    classes : ndarray of shape (n_classes,) or None
        All classes, sorted; None for a regressor.

    Returns
    -------
    answers : ndarray of shape (n_samples, n_classes) or (n_samples,)
    """
    if classes is None:
        return np.asarray(model.predict(X), dtype=np.float64)
    proba = np.asarray(model.predict_proba(X))
    answers = np.zeros((len(proba), len(classes)))
    answers[:, np.searchsorted(classes, model.classes_)] = proba
    return answers


def greedy_weights(
    answers: np.ndarray, y: np.ndarray, classes: np.ndarray | None, *, initial: np.ndarray | None = None
) -> np.ndarray:
    """Choose models one after another, each as often as it lowers the loss of the average the most.

    Greedy selection with replacement [1]_ by the log loss, of numbers by the squared error. The loss and not the
    accuracy, which is the same for nearly all averages where rows are few. It begins with every model once and adds
    one for as many rows as there are models, so that few rows, which prove little, leave all nearly alike. Of equals
    the first is taken.

    Parameters
    ----------
    answers : ndarray of shape (n_models, n_samples, n_classes) or (n_models, n_samples)
        What each model says of rows that it did not learn, as by :func:`answers_of`.
    y : ndarray of shape (n_samples,)
        Labels of these rows.
    classes : ndarray of shape (n_classes,) or None
        Classes in the order of the columns; None for numbers.
    initial : ndarray of shape (n_models,) or None, default=None
        How often each model is there at the beginning; None for once.

    Returns
    -------
    weights : ndarray of shape (n_models,)
        Shares of the choices; they sum to one.

    References
    ----------
    .. [1] R. Caruana, A. Niculescu-Mizil, G. Crew, A. Ksikes, "Ensemble Selection from Libraries of Models", ICML 2004.
    """
    if classes is not None:  # of the log loss the probability of the true class is all that counts
        answers = answers[:, np.arange(len(y)), np.searchsorted(classes, y)]
    counts = np.ones(len(answers)) if initial is None else np.array(initial, dtype=np.float64)
    total = counts @ answers
    for _ in range(min(len(y) // max(int(np.count_nonzero(counts)), 1), _MOST_STEPS)):
        means = (total + answers) / (counts.sum() + 1)
        losses = (means - y) ** 2 if classes is None else -np.log(np.maximum(means, _LEAST))
        chosen = int(np.argmin(losses.mean(axis=1)))
        counts[chosen] += 1
        total += answers[chosen]
    return counts / counts.sum()


def average(
    weights: Mapping[str, float], models: Sequence[Any], y: np.ndarray, *, of_classes: bool
) -> VotingClassifier | VotingRegressor:
    """Make the fitted average of fitted models.

    Parameters
    ----------
    weights : mapping of str to float
        By names of the models, in their order.
    models : sequence of estimator
        They stay as they are: a clone of the average, fitted to other rows, has the same ones.
    y : ndarray of shape (n_samples,)
        Labels that all of them have seen.
    of_classes : bool
        Whether they are classifiers.
    """
    kind, options = (VotingClassifier, {"voting": "soft"}) if of_classes else (VotingRegressor, {})
    taken, members = set(kind([]).get_params()), []
    for place, (name, model) in enumerate(zip(weights, models, strict=True)):
        # Names of parts of an estimator hold no double underscore, and are none of its parameters.
        plain = re.sub("_{2,}", "_", name)
        plain = f"{plain}-{place}" if plain in taken else plain
        taken.add(plain)
        members.append((plain, FrozenEstimator(model)))
    return kind(members, weights=list(weights.values()), **options).fit(None, y)


def fit_ensemble(
    candidates: Sequence[Candidate],
    evaluator: Evaluator,
    folds: Sequence[tuple[np.ndarray, np.ndarray]],
    *,
    clock: Clock,
) -> tuple[VotingClassifier, dict[str, float]]:
    """Weigh the candidates of a race that have met all of its folds, and fit those that have a weight to all rows.

    Parameters
    ----------
    candidates : sequence of Candidate
        After the race, the baseline first, which is no part of the average unless it is chosen; the `outcome` of those
        for whose fit there is no time is written.
    evaluator : Evaluator
        The rows.
    folds : sequence of (train, test)
        Those of the race.
    clock : Clock
        The budget; the candidate of the greatest weight is fitted in any case.

    Returns
    -------
    ensemble : VotingClassifier
    weights : dict of str to float
        By names, greatest first.
    """
    n_folds = max(len(candidate.answers) for candidate in candidates if candidate.scores)
    pool = [candidate for candidate in candidates if candidate.scores and len(candidate.answers) == n_folds]
    met = sorted(pool[0].answers)
    answers = np.stack([np.concatenate([candidate.answers[fold] for fold in met]) for candidate in pool])
    rows = np.concatenate([folds[fold][1] for fold in met])
    initial = np.array([float(candidate is not candidates[0]) for candidate in pool])
    shares = greedy_weights(answers, evaluator.y[rows], np.unique(evaluator.y), initial=initial)
    models: list[Any] = []
    weights: dict[str, float] = {}
    for place in np.argsort(-shares, kind="stable"):
        candidate = pool[place]
        if shares[place] == 0 or (models and clock.left() < candidate.full_seconds):
            candidate.outcome = "no time for its fit to all rows" if shares[place] else candidate.outcome
            continue
        models.append(evaluator.fit(clone(candidate.estimator), np.arange(len(evaluator.y))))
        weights[candidate.name] = float(shares[place])
    weights = {name: weight / sum(weights.values()) for name, weight in weights.items()}
    return average(weights, models, evaluator.y, of_classes=True), weights
