"""How frequent the classes are in the target, and how far that is from the source."""

from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from sktransfer.domains import as_labels, plain_labels
from sktransfer.metrics._class_weights import class_weights_from_confusion, cross_fit_confusion
from sktransfer.metrics._validation import check_labels, check_pair
from sktransfer.utils._threads import small_algebra

__all__ = ["class_proportions", "label_shift_distance"]


@small_algebra
def class_proportions(
    Xs: Any,
    ys: Any,
    Xt: Any,
    *,
    estimator: Any = None,
    cv: int = 5,
    soft: bool = False,
    random_state: int | np.random.RandomState | None = None,
) -> dict:
    """Estimate how frequent the classes are in the target, by black-box shift estimation [1]_.

    Right where each class looks the same in both domains and only its frequency differs.

    Parameters
    ----------
    Xs : {array-like, sparse matrix} of shape (n_source, n_features)
        Source rows.
    ys : array-like of shape (n_source,)
        Their classes.
    Xt : {array-like, sparse matrix} of shape (n_target, n_features)
        Target rows; their labels are not needed.
    estimator : classifier or None, default=None
        Any classifier; None takes a logistic regression on standardised features.
    cv : int, default=5
        Number of folds, at least 2; lowered to the number of rows of the rarest class.
    soft : bool, default=False
        Whether predicted probabilities are summed instead of predicted classes.
    random_state : int, RandomState or None, default=None
        Seed of the folds, and of the classifier where its own `random_state` is None.

    Returns
    -------
    proportions : dict
        From each class, sorted, to its share of the target; they sum to one.

    Raises
    ------
    ValueError
        If the domains have different features, no rows, or values that are missing or infinite, or if `ys` does not
        hold classes.

    See Also
    --------
    label_shift_distance : How far these are from the shares in the source.
    LabelShiftWeighter : Weights source rows by them.

    References
    ----------
    .. [1] Z. C. Lipton, Y.-X. Wang, A. J. Smola, "Detecting and Correcting for Label Shift with Black Box Predictors",
       ICML 2018.

    Examples
    --------
    >>> from sktransfer.metrics import class_proportions
    >>> Xs, ys, Xt = [[0.0], [0.1], [5.0], [5.1]], ["a", "a", "b", "b"], [[0.0], [5.0], [5.1], [5.2]]
    >>> {label: round(share, 2) for label, share in class_proportions(Xs, ys, Xt, random_state=0).items()}
    {'a': 0.25, 'b': 0.75}
    """
    classes, _, target = _estimate_shares(Xs, ys, Xt, estimator, cv, soft, random_state)
    return dict(zip(classes.tolist(), target.tolist(), strict=True))


@small_algebra
def label_shift_distance(
    Xs: Any,
    ys: Any,
    Xt: Any,
    *,
    estimator: Any = None,
    cv: int = 5,
    soft: bool = False,
    random_state: int | np.random.RandomState | None = None,
) -> float:
    """Return the total variation between the class shares of the source and those estimated for the target.

    Parameters
    ----------
    Xs : {array-like, sparse matrix} of shape (n_source, n_features)
        Source rows.
    ys : array-like of shape (n_source,)
        Their classes.
    Xt : {array-like, sparse matrix} of shape (n_target, n_features)
        Target rows; their labels are not needed.
    estimator : classifier or None, default=None
        As in :func:`class_proportions`.
    cv : int, default=5
        As in :func:`class_proportions`.
    soft : bool, default=False
        As in :func:`class_proportions`.
    random_state : int, RandomState or None, default=None
        As in :func:`class_proportions`.

    Returns
    -------
    distance : float
        Half the sum of the differences in size, 0 (the same shares) to 1 (no class in common).

    Raises
    ------
    ValueError
        As :func:`class_proportions`.

    See Also
    --------
    class_proportions : The estimated shares.

    Examples
    --------
    >>> from sktransfer.metrics import label_shift_distance
    >>> Xs, ys, Xt = [[0.0], [0.1], [5.0], [5.1]], ["a", "a", "b", "b"], [[0.0], [5.0], [5.1], [5.2]]
    >>> round(label_shift_distance(Xs, ys, Xt, random_state=0), 2)
    0.25
    """
    _, source, target = _estimate_shares(Xs, ys, Xt, estimator, cv, soft, random_state)
    return float(np.abs(source - target).sum() / 2.0)


def _estimate_shares(Xs, ys, Xt, estimator, cv, soft, random_state):
    Xs, Xt = check_pair(Xs, Xt, min_rows=1)
    codes = check_labels(ys, n_rows=Xs.shape[0], name="ys", of="Xs")
    classes = np.unique(plain_labels(as_labels(ys, name="ys")))
    source = np.bincount(codes) / len(codes)
    if len(classes) == 1:
        return classes, source, source
    params = {"estimator": estimator, "cv": cv, "soft": soft, "rng": check_random_state(random_state)}
    C, mu, _ = cross_fit_confusion(Xs, codes, Xt, **params)
    return classes, source, source * class_weights_from_confusion(C, mu)
