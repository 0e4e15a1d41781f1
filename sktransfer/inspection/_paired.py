"""Two estimators on the same folds, and the test of their difference."""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats
from sklearn.exceptions import FitFailedWarning
from sklearn.model_selection import KFold, StratifiedKFold

from sktransfer.domains import Domains, Evaluator, domain_folds, split_rows, take_rows
from sktransfer.exceptions import DomainError
from sktransfer.utils._messages import caller_level

__all__ = [
    "Compared",
    "check_folds",
    "compared_folds",
    "corrected_t_test",
    "fit_and_score",
    "make_folds",
    "row_ratio",
]

# Differences that vary by less than this share of the scores are equal but for rounding.
_ROUNDING = 1e-12


@dataclass(frozen=True, eq=False)
class Compared(Evaluator):
    """What two estimators are compared on.

    Attributes
    ----------
    X, y, domains, scorer
        As in :class:`Evaluator`.
    labelled : ndarray of bool of shape (n_samples,)
        Rows that may be scored on: of the target (of all, without domains) those with a label.
    classes : ndarray or None
        Classes of all labelled rows; None for a regression.
    """

    labelled: np.ndarray
    classes: np.ndarray | None


def make_folds(compared: Compared, cv: Any, random_state: Any) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the folds, as pairs of row numbers.

    Parameters
    ----------
    compared : Compared
        What is compared on.
    cv : int, splitter or iterable of (train, test)
        A number of folds gives each its share of every domain and of the labelled and unlabelled target rows, or of
        every class where there are no domains; anything else is asked with the domain names as groups.
    random_state : RandomState
        Shuffles the folds of a number.
    """
    if not isinstance(cv, int | np.integer) or isinstance(cv, bool):
        groups = None if compared.domains is None else compared.domains.names
        return split_rows(cv, compared.X, compared.y, groups)
    cv = int(cv)
    if cv < 2:
        raise ValueError(f"cv must be at least 2, got {cv}.")
    if compared.domains is None:
        folds = (KFold if compared.classes is None else StratifiedKFold)(cv, shuffle=True, random_state=random_state)
        return list(folds.split(np.zeros(len(compared.y)), compared.y))
    n_labelled = int(compared.labelled.sum())
    if n_labelled < cv:
        raise ValueError(
            f"cv={cv}, but only {n_labelled} target rows have a label, and each fold is scored on some. "
            "Ask for fewer folds, or label more target rows."
        )
    parts = _labelled_parts(compared.domains, compared.labelled, cv)
    y = None if compared.classes is None else compared.y
    return list(domain_folds(parts, y, n_splits=cv, random_state=random_state))


def _labelled_parts(domains: Domains, labelled: np.ndarray, n_splits: int) -> Domains:
    """Tell labelled and unlabelled target rows apart, so that every fold gets its share of both."""
    names = domains.names.astype(object)
    targets = []
    for name in domains.target_names:
        members = domains.rows_of(name)
        with_label = members[labelled[members]]
        targets.append(name)
        if n_splits <= len(with_label) <= len(members) - n_splits:
            targets.append(f"{name} (labelled)")
            names[with_label] = targets[-1]
    return Domains(domains.is_target, names, domains.source_names, tuple(targets))


def check_folds(compared: Compared, folds: list[tuple[np.ndarray, np.ndarray]]) -> None:
    """Raise a ValueError where folds cannot be compared on."""
    if len(folds) < 2:
        raise ValueError(f"cv gives {len(folds)} fold; a difference needs at least two folds to be tested.")
    for number, (train, test) in enumerate(folds):
        if np.isin(test, train).any():
            raise ValueError(f"Fold {number} of cv has rows that are in both of its parts.")
        if not compared.labelled[test].any():
            raise ValueError(
                f"Fold {number} of cv has no labelled target row among its {len(test)} test rows, so nothing can be "
                "scored there. Ask for fewer folds, label more target rows, or pass a cv that splits the target."
            )
        if compared.domains is None:
            continue
        for role, there in (("source", compared.domains.is_source), ("target", compared.domains.is_target)):
            if not there[train].any():
                raise ValueError(
                    f"Fold {number} of cv has no {role} row among its {len(train)} training rows; every fold must "
                    "train on rows of both. An integer cv makes such folds."
                )


def row_ratio(compared: Compared, folds: list[tuple[np.ndarray, np.ndarray]]) -> float:
    """Return the mean of n_test / n_train over the folds; with domains target rows count."""
    counted = np.ones(len(compared.y), dtype=bool) if compared.domains is None else compared.domains.is_target
    return float(np.mean([counted[test].sum() / counted[train].sum() for train, test in folds]))


def corrected_t_test(
    scores: np.ndarray, baseline_scores: np.ndarray, ratio: float, *, confidence: float
) -> tuple[float, tuple[float, float], float]:
    """Test paired scores of k folds whose training rows overlap [1]_.

    With d the mean and s the standard deviation of the differences,

        t = d / (s sqrt(1 / k + n_test / n_train))   on k - 1 degrees of freedom.

    Parameters
    ----------
    scores : ndarray of shape (n_folds,)
        Scores of one estimator.
    baseline_scores : ndarray of shape (n_folds,)
        Scores of the other.
    ratio : float
        n_test / n_train.
    confidence : float
        Of the interval.

    Returns
    -------
    difference : float
        Mean of the differences.
    interval : tuple of float
        Two-sided. Differences that are all equal have no spread: both ends are the difference itself.
    p_value : float
        Two-sided. Where differences are all equal it is the limit of the test: 1 if they are zero, else 0.

    References
    ----------
    .. [1] C. Nadeau, Y. Bengio, "Inference for the Generalization Error", Machine Learning 52, 2003.
    """
    differences = scores - baseline_scores
    difference, k = float(differences.mean()), len(differences)
    rounding = _ROUNDING * max(np.abs(scores).max(), np.abs(baseline_scores).max())
    if np.ptp(differences) <= rounding:
        difference = difference if abs(difference) > rounding else 0.0
        return difference, (difference, difference), float(difference == 0.0)
    error = float(differences.std(ddof=1)) * np.sqrt(1.0 / k + ratio)
    half = float(stats.t.ppf((1.0 + confidence) / 2.0, k - 1)) * error
    p_value = 2.0 * float(stats.t.sf(abs(difference) / error, k - 1))
    return difference, (float(difference - half), float(difference + half)), p_value


def fit_and_score(
    compared: Compared,
    pair: tuple[Any, Any],
    fold: tuple[np.ndarray, np.ndarray],
    *,
    target_labels: bool,
    seed: int | None,
) -> tuple[list[float], list[np.ndarray] | None]:
    """Fit clones of estimator and baseline on the training rows of a fold and score them.

    Returns
    -------
    scores : list of two floats
        On the labelled target rows of the fold; NaN, with a warning, where a fit or its score failed.
    correct : list of two ndarrays of bool of shape (n_scored,), or None
        Which of these rows they classify right; None for a regression.
    """
    train, test = fold
    test = test[compared.labelled[test]]
    shown = train[compared.labelled[train]] if target_labels else None
    scores, correct = [], []
    for role, estimator in zip(("estimator", "baseline"), pair, strict=True):
        options: dict[str, Any] = {"shown": shown, "seed": seed}
        right = np.zeros(len(test), dtype=bool)
        try:
            if role == "baseline" and shown is not None and not compared.takes_domains(estimator):
                found = compared.evaluate(estimator, shown, test, with_domains=False, **options)
            else:
                found = compared.evaluate(estimator, train, test, **options)
            score = found.score
            if not np.isfinite(score):
                raise ValueError(f"scoring gave {score}; ask for fewer folds, or choose another score")
            if compared.classes is not None:
                right = _is_right(found.model.predict(take_rows(compared.X, test)), compared.y[test])
        except DomainError:
            raise  # what it says of how the rows are marked holds in every fold
        except Exception as error:
            # As in scikit-learn's searches, one fit that fails is no reason to lose the others.
            warnings.warn(
                f"The {role}, {type(estimator).__name__}, has no score in a fold of {len(test)} labelled rows: "
                f"{error!r}. The comparison goes without this fold.",
                FitFailedWarning,
                stacklevel=caller_level(),
            )
            score = np.nan
        scores.append(score)
        correct.append(right)
    return scores, None if compared.classes is None else correct


def _is_right(predicted: Any, labels: np.ndarray) -> np.ndarray:
    pairs = zip(np.asarray(predicted).tolist(), labels.tolist(), strict=True)
    return np.array([a == b for a, b in pairs], dtype=bool)


def compared_folds(scores: np.ndarray, baseline_scores: np.ndarray) -> np.ndarray:
    """Return the numbers of the folds in which both have a score.

    Raises
    ------
    ValueError
        If these are fewer than two.
    """
    there = np.flatnonzero(np.isfinite(scores) & np.isfinite(baseline_scores))
    if len(there) < 2:
        raise ValueError(
            f"estimator and baseline both have a score in {len(there)} of {len(scores)} folds, and a comparison needs "
            "two; the warnings say why. Ask for fewer folds, give more rows, or choose another score."
        )
    return there
