"""The guard: whether rows without a label seem to do harm, and what is done then."""

from typing import NamedTuple

import numpy as np

from sktransfer.few_labels._choice import PLAIN, Choice, Settings, Views, fit_mixed, kept_labels, usual_factor
from sktransfer.few_labels._plain import fit_plain
from sktransfer.metrics import neighborhood_agreement_score

__all__ = ["Verdict", "stand_back"]

# Chosen as the constants of the mixture were.
_MOST_LOST, _STOOD_BACK = 0.15, 8.0
_NO_EVIDENCE = "No evidence that rows without a label help"


class Verdict(NamedTuple):
    """What the guard found.

    Attributes
    ----------
    choice : Choice
        What is to be fitted.
    finding : str
        What was looked at, in words; empty where the guard had nothing to look at.
    stood_back : bool
        Whether the choice is another than without the guard.
    """

    choice: Choice
    finding: str = ""
    stood_back: bool = False


def stand_back(choice: Choice, views: Views, settings: Settings) -> Verdict:
    """Look for harm, and choose what does less.

    Parameters
    ----------
    choice : Choice
        What was chosen; where labels were held out, they have spoken already.
    views : Views
        Rows.
    settings : Settings
        What the user said.

    Returns
    -------
    verdict : Verdict
        The choice to fit.
    """
    if choice.n_held_out:
        return _of_held_out(choice)
    return (_of_neighbors if views.apart else _of_groups)(choice, views, settings)


def _of_held_out(choice: Choice) -> Verdict:
    if choice.mixture != PLAIN:
        return Verdict(
            choice, f"{choice.n_held_out} labels held out in turn are predicted better with them than without."
        )
    finding = (
        f"{_NO_EVIDENCE}: {choice.n_held_out} labels held out in turn are predicted best by the linear model alone."
    )
    return Verdict(choice, f"{finding} It decides.", True)


def _of_groups(choice: Choice, views: Views, settings: Settings) -> Verdict:
    has_label = views.codes >= 0
    plain = fit_plain(views.Z[has_label], views.codes[has_label])
    kept, n = kept_labels(views, settings, plain), int(has_label.sum())
    finding = f"where groups of rows alone decide, {kept} of {n} labelled rows stay in their class."
    if n - kept <= max(1.0, _MOST_LOST * n) or choice.mixture >= _STOOD_BACK:
        return Verdict(choice, finding.capitalize())
    return Verdict(
        choice._replace(mixture=_STOOD_BACK, factor=usual_factor(_STOOD_BACK)),
        f"{_NO_EVIDENCE}: {finding} The linear model counts {_STOOD_BACK:g} times, not {choice.mixture:g} times. A "
        "second label a class would tell more.",
        True,
    )


def _of_neighbors(choice: Choice, views: Views, settings: Settings) -> Verdict:
    mixed = fit_mixed(views, settings, mixture=choice.mixture, temperature=choice.temperature)
    target = views.codes < 0
    Z, W = views.Z[target], views.W[target]
    guesses = (np.argmax(scores, axis=1) for scores in (mixed.plain.log_proba(Z), mixed.scores(Z, W)))
    before, after = (neighborhood_agreement_score(W, guess) for guess in guesses)
    finding = (
        f"target rows agree with their neighbours by {after:.2f}, those of the linear model alone by {before:.2f}."
    )
    if after >= before - 0.5 / np.sqrt(len(W)):
        return Verdict(choice, finding.capitalize())
    return Verdict(
        choice._replace(mixture=PLAIN, factor=usual_factor(PLAIN)),
        f"{_NO_EVIDENCE}: {finding} That decides alone.",
        True,
    )
