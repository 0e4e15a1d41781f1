"""Classes from few labels, and how much the plain classifier counts in them beside the prototypes."""

from typing import NamedTuple

import numpy as np
from scipy.special import softmax

from sktransfer.few_labels._plain import PlainModel, fit_plain
from sktransfer.few_labels._refine import Prototypes, calibrate, first_prototypes, refine_prototypes

__all__ = ["PLAIN", "Choice", "Mixed", "Settings", "Views", "choose", "fit_mixed", "kept_labels", "usual_factor"]

# All constants were chosen on the first sets that benchmarks/accuracy/few_labels.py names; it shows the others.
PLAIN = np.inf
_USUAL = 2.0
_TRIED = (0.5, 1.0, 2.0, 4.0, 8.0)
_TEMPERATURE, _TEMPERATURES = 20.0, (10.0, 40.0)
# Of the scores of rows where no label was held out, by 1 and the mixture.
_FACTOR = 0.75
_FOLDS, _MOST_ROWS = 5, 2000


class Views(NamedTuple):
    """Rows as they are compared, and what is known of them.

    Attributes
    ----------
    Z : ndarray of shape (n_samples, n_axes)
        For the plain classifier.
    W : ndarray of shape (n_samples, n_components)
        For prototypes.
    codes : ndarray of int of shape (n_samples,)
        Class numbers; -1 where there is no label.
    apart : bool
        Whether rows with a label are of another domain, and have no part in the means of the others.
    """

    Z: np.ndarray
    W: np.ndarray
    codes: np.ndarray
    apart: bool = False


class Settings(NamedTuple):
    """What the user said, read.

    Attributes
    ----------
    rounds : int
        Rounds of refinement.
    n_prototypes : int
        Prototypes a class.
    log_prior : ndarray of shape (n_classes,)
        Logarithms of the class shares.
    estimate_prior : bool
        Whether they follow the rows.
    mixture : float or None
        Weight of the plain classifier; None lets it be chosen.
    temperature : float or None
        Of the similarities; None lets it be chosen.
    guard : bool
        Whether to stand back.
    """

    rounds: int
    n_prototypes: int
    log_prior: np.ndarray
    estimate_prior: bool
    mixture: float | None
    temperature: float | None
    guard: bool


class Mixed(NamedTuple):
    """A plain classifier and prototypes, joined."""

    plain: PlainModel
    prototypes: Prototypes
    mixture: float
    temperature: float

    def scores(self, Z: np.ndarray, W: np.ndarray) -> np.ndarray:
        """Return log scores of rows, shape (n_samples, n_classes)."""
        known = self.plain.log_proba(Z)
        if self.mixture == PLAIN:
            return known
        similar = self.prototypes.similarity(W, self.temperature)
        return similar + self.mixture * known + self.prototypes.log_prior


class Choice(NamedTuple):
    """What was chosen, and by what.

    Attributes
    ----------
    mixture : float
        Weight of the plain classifier; infinity leaves it alone.
    temperature : float
        Of the similarities.
    factor : float
        Of the scores, for probabilities.
    n_held_out : int
        Labels that were held out in turn.
    """

    mixture: float
    temperature: float
    factor: float
    n_held_out: int


def fit_mixed(
    views: Views, settings: Settings, *, mixture: float, temperature: float, plain: PlainModel | None = None
) -> Mixed:
    """Fit the plain classifier to the labels, and prototypes to all rows.

    Parameters
    ----------
    views : Views
        Rows.
    settings : Settings
        Rounds, prior and number of prototypes.
    mixture : float
        Weight of the plain classifier.
    temperature : float
        Of the similarities.
    plain : PlainModel or None, default=None
        The plain classifier where it is fitted already.

    Returns
    -------
    mixed : Mixed
        Both.
    """
    has_label = views.codes >= 0
    codes = views.codes[has_label]
    if plain is None:
        plain = fit_plain(views.Z[has_label], codes, apart=views.apart)
    prototypes = first_prototypes(
        views.W[has_label],
        codes,
        len(settings.log_prior),
        n_prototypes=settings.n_prototypes,
        log_prior=settings.log_prior,
    )
    if mixture != PLAIN and settings.rounds and not has_label.all():
        rows = ~has_label if views.apart else slice(None)
        known = plain.log_proba(views.Z[rows])
        prototypes, _ = refine_prototypes(
            prototypes,
            views.W[rows],
            mixture * known,
            start=softmax(known, axis=1),
            codes=views.codes[rows],
            temperature=temperature,
            rounds=settings.rounds,
            estimate_prior=settings.estimate_prior,
        )
    return Mixed(plain, prototypes, mixture, temperature)


def kept_labels(views: Views, settings: Settings, plain: PlainModel) -> int:
    """Return how many labelled rows stay in their class where groups of rows alone decide.

    Prototypes start from the plain classifier and are then refined without it, and without the labels: where the groups
    that rows form are not those of the classes, or a large class takes the rows of a small one, labels are lost.
    """
    known = plain.log_proba(views.Z)
    has_label = views.codes >= 0
    codes = views.codes[has_label]
    start = first_prototypes(views.W[has_label], codes, len(settings.log_prior), n_prototypes=settings.n_prototypes)
    temperature = settings.temperature or _TEMPERATURE
    _, shares = refine_prototypes(
        start,
        views.W,
        np.zeros_like(known),
        start=softmax(known, axis=1),
        temperature=temperature,
        rounds=settings.rounds,
    )
    return int(np.sum(np.argmax(shares[has_label], axis=1) == codes))


def choose(views: Views, settings: Settings) -> Choice:
    """Choose mixture and temperature by held-out labels, or take the usual ones.

    Labels are held out in up to five folds, in turns within each class, and the rows without a label stay where they
    are. A class of one label keeps it in all of them. Where less than half of the classes have two, nothing is chosen.

    Parameters
    ----------
    views : Views
        Rows.
    settings : Settings
        What is left to choose.

    Returns
    -------
    choice : Choice
        With the guard on, the plain classifier alone may be chosen.
    """
    mixture = _USUAL if settings.mixture is None else settings.mixture
    temperature = settings.temperature or _TEMPERATURE
    folds = _folds(views.codes, len(settings.log_prior))
    if views.apart or folds.max() < 1:
        return Choice(mixture, temperature, usual_factor(mixture), 0)
    views, folds = _fewer_rows(views, folds)
    plains = [fit_plain(views.Z[kept], views.codes[kept]) for kept in _kept(views, folds)]

    def judge(mixture: float, temperature: float) -> tuple[float, float, float, float]:
        scores, codes = _held_out_scores(views, folds, settings, plains, mixture, temperature)
        factor, loss = calibrate(scores, codes)
        return loss, mixture, temperature, factor

    tried = [judge(m, temperature) for m in ((mixture,) if settings.mixture is not None else _TRIED)]
    if settings.guard:
        tried.append(judge(PLAIN, temperature))
    best = min(tried)
    if settings.temperature is None and best[1] != PLAIN:
        best = min(best, *(judge(best[1], other) for other in _TEMPERATURES))
    return Choice(*best[1:], int(np.sum(folds >= 0)))


def usual_factor(mixture: float) -> float:
    """Return the factor of the scores for probabilities where no label can be held out."""
    return 1.0 if mixture == PLAIN else _FACTOR / (1.0 + mixture)


def _folds(codes: np.ndarray, n_classes: int) -> np.ndarray:
    """Return the fold of each row; -1 for rows that are never held out."""
    folds = np.full(len(codes), -1)
    counts = np.bincount(codes[codes >= 0], minlength=n_classes)
    if 2 * np.sum(counts > 1) < n_classes:
        return folds
    n_folds = min(_FOLDS, counts.max())
    for code in np.flatnonzero(counts > 1):
        rows = np.flatnonzero(codes == code)
        folds[rows] = np.arange(len(rows)) % n_folds
    return folds


def _fewer_rows(views: Views, folds: np.ndarray) -> tuple[Views, np.ndarray]:
    """Leave out rows without a label that are more than the choice needs."""
    unlabelled = np.flatnonzero(views.codes < 0)
    if len(unlabelled) <= _MOST_ROWS:
        return views, folds
    taken = unlabelled[np.linspace(0, len(unlabelled) - 1, _MOST_ROWS).astype(int)]
    rows = np.sort(np.append(np.flatnonzero(views.codes >= 0), taken))
    return Views(views.Z[rows], views.W[rows], views.codes[rows]), folds[rows]


def _kept(views: Views, folds: np.ndarray) -> list[np.ndarray]:
    return [(views.codes >= 0) & (folds != fold) for fold in range(folds.max() + 1)]


def _held_out_scores(views, folds, settings, plains, mixture, temperature) -> tuple[np.ndarray, np.ndarray]:
    """Return scores of held-out rows, and their classes."""
    # Rows to predict help to refine only where there are others that do.
    refines = (views.codes < 0).any()
    scores, codes = [], []
    for kept, plain in zip(_kept(views, folds), plains, strict=True):
        out = (views.codes >= 0) & ~kept
        rows = np.ones(len(kept), dtype=bool) if refines else kept
        part = Views(views.Z[rows], views.W[rows], np.where(kept, views.codes, -1)[rows])
        mixed = fit_mixed(part, settings, mixture=mixture, temperature=temperature, plain=plain)
        scores.append(mixed.scores(views.Z[out], views.W[out]))
        codes.append(views.codes[out])
    return np.vstack(scores), np.concatenate(codes)
