"""Tables of two domains under a shift of known kind."""

from numbers import Integral, Real

import numpy as np
from scipy.stats import norm
from sklearn.utils import check_random_state

from sktransfer.domains import mask_labels
from sktransfer.utils._messages import unknown_option

__all__ = ["make_domain_shift"]

_SHIFTS = ("concept", "covariate", "none", "subspace", "target")


def make_domain_shift(
    n_source: int = 100,
    n_target: int = 100,
    *,
    n_features: int = 2,
    n_classes: int | None = 2,
    shift: str = "covariate",
    strength: float = 1.0,
    noise: float = 0.1,
    mask_target: bool = False,
    random_state: int | np.random.RandomState | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Make source and target samples under one kind of shift.

    Two latent numbers make a sample: `e`, which decides the label (classes are its quantiles, a regression target is
    `e` itself), and a nuisance `v`. The other features are independent noise of half their size. Features are then
    turned by a random rotation that both domains share, so that no column by itself is the shift.

    Parameters
    ----------
    n_source : int, default=100
        Number of source samples, at least 1.
    n_target : int, default=100
        Number of target samples, at least 1.
    n_features : int, default=2
        Number of features, at least 2.
    n_classes : int or None, default=2
        Number of classes, at least 2; None makes a regression target.
    shift : {"covariate", "target", "concept", "subspace", "none"}, default="covariate"
        What differs in the target domain:

        - "covariate": where samples lie, not their labels given the features. The source has ``v`` around ``-strength``
          and the target around ``+strength``, and the boundary is curved, so that a straight one learned on the
          source is wrong in the target.
        - "target": how frequent the labels are, not the features given the label. Class k of the target is
          ``(1 + 2 * strength) ** k`` times as frequent as class 0; a regression target is moved by ``strength``.
        - "concept": the labels given the features, not where the samples lie. The direction of ``e`` turns by
          ``45 * strength`` degrees.
        - "subspace": the domains agree in a subspace only. ``v`` is moved by ``4 * strength`` in the target, and goes
          with the label in the source but against it in the target.
        - "none": nothing.
    strength : float, default=1.0
        Size of the shift; 0 is no shift (of "subspace": no move).
    noise : float, default=0.1
        Standard deviation of the noise on ``e`` as the features show it; ``e`` itself has about unit variance.
    mask_target : bool, default=False
        Whether labels of target samples are hidden (-1; NaN in regression) or are the true ones, for evaluation.
    random_state : int, RandomState or None, default=None
        Seed.

    Returns
    -------
    X : ndarray of shape (n_source + n_target, n_features)
        Samples, those of the source first.
    y : ndarray of shape (n_source + n_target,)
        Class numbers (int) or regression targets (float). Classes are balanced but for the target domain of "target".
    sample_domain : ndarray of str of shape (n_source + n_target,)
        ``"source"`` or ``"target"``.

    Raises
    ------
    ValueError
        If a parameter is out of range.

    See Also
    --------
    make_image_domains : Pictures in several domains.

    References
    ----------
    .. [1] J. Quinonero-Candela, M. Sugiyama, A. Schwaighofer, N. Lawrence (eds.), "Dataset Shift in Machine Learning",
       MIT Press, 2009.

    Examples
    --------
    >>> from sktransfer.datasets import make_domain_shift
    >>> X, y, sample_domain = make_domain_shift(60, 40, n_features=5, shift="target", random_state=0)
    >>> X.shape, y.shape, [str(name) for name in sample_domain[[0, -1]]]
    ((100, 5), (100,), ['source', 'target'])
    """
    _check_parameters(n_source, n_target, n_features, n_classes, shift, strength, noise)
    rng = check_random_state(random_state)
    rotation, _ = np.linalg.qr(rng.normal(size=(n_features, n_features)))
    blocks = []
    for n_samples, in_target in ((n_source, False), (n_target, True)):
        y, e = _draw_labels(rng, n_samples, n_classes, shift, strength, in_target)
        main, nuisance = _SHAPE[shift](rng, e, strength, noise, in_target)
        others = rng.normal(size=(n_samples, n_features - 2)) / 2
        blocks.append((np.column_stack([main, nuisance, others]) @ rotation, y))
    X = np.concatenate([rows for rows, _ in blocks])
    y = np.concatenate([labels for _, labels in blocks])
    sample_domain = np.repeat(["source", "target"], [n_source, n_target])
    return X, mask_labels(y, sample_domain == "target") if mask_target else y, sample_domain


def _draw_labels(rng, n_samples, n_classes, shift, strength, in_target):
    moved = shift == "target" and in_target
    if n_classes is None:
        e = rng.normal(size=n_samples) + (strength if moved else 0.0)
        return e.copy(), e
    if moved:
        frequencies = (1.0 + 2.0 * strength) ** np.arange(n_classes)
        y = rng.choice(n_classes, size=n_samples, p=frequencies / frequencies.sum())
    else:
        y = rng.permutation(np.arange(n_samples) % n_classes)
    # The middle 80 % of each quantile: a gap keeps the classes apart.
    return y, norm.ppf((y + rng.uniform(0.1, 0.9, size=n_samples)) / n_classes)


def _plain(rng, e, strength, noise, in_target):
    return e + noise * rng.normal(size=len(e)), rng.normal(size=len(e))


def _covariate(rng, e, strength, noise, in_target):
    v = rng.normal(size=len(e)) / 2 + (strength if in_target else -strength)
    # e = main - v^2 / 2 in both domains, so p(y | x) is the same.
    return e + noise * rng.normal(size=len(e)) + v**2 / 2, v


def _concept(rng, e, strength, noise, in_target):
    angle = np.deg2rad(45.0 * strength) if in_target else 0.0
    # (e, v) has nearly the same law in every direction, so turning it changes labels, not features.
    main, v = _plain(rng, e, strength, noise, in_target)
    return np.cos(angle) * main - np.sin(angle) * v, np.sin(angle) * main + np.cos(angle) * v


def _subspace(rng, e, strength, noise, in_target):
    sign, move = (-1.0, 4.0 * strength) if in_target else (1.0, 0.0)
    return e + noise * rng.normal(size=len(e)), sign * e + move + rng.normal(size=len(e)) / 2


_SHAPE = {"concept": _concept, "covariate": _covariate, "none": _plain, "subspace": _subspace, "target": _plain}


def _check_parameters(n_source, n_target, n_features, n_classes, shift, strength, noise) -> None:
    if shift not in _SHIFTS:
        raise ValueError(unknown_option("shift", shift, _SHIFTS))
    for name, value, least in (
        ("n_source", n_source, 1),
        ("n_target", n_target, 1),
        ("n_features", n_features, 2),
        ("n_classes", 2 if n_classes is None else n_classes, 2),
    ):
        if not isinstance(value, Integral) or value < least:
            raise ValueError(f"{name} must be an integer of at least {least}, got {value!r}.")
    for name, value in (("strength", strength), ("noise", noise)):
        if not isinstance(value, Real) or not 0 <= float(value) < np.inf:
            raise ValueError(f"{name} must be a finite number of at least 0, got {value!r}.")
