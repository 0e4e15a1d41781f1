"""Pictures in several domains: digits and shapes, drawn in different styles."""

from collections.abc import Sequence
from numbers import Integral

import numpy as np
from scipy import ndimage
from sklearn.datasets import load_digits
from sklearn.utils import check_random_state

from sktransfer.datasets._styles import STYLES
from sktransfer.domains import mask_labels
from sktransfer.utils._messages import unknown_option

__all__ = ["make_image_domains"]

_SHAPES = ("circle", "square", "triangle", "cross", "ring", "star")


def make_image_domains(
    n_source: int = 200,
    n_target: int = 200,
    *,
    kind: str = "digits",
    source: str | Sequence[str] = "plain",
    target: str = "inverted",
    n_classes: int | None = None,
    image_size: int = 32,
    mask_target: bool = False,
    random_state: int | np.random.RandomState | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Make small pictures of the same classes in two or more domains.

    Every picture is another one: a digit of :func:`sklearn.datasets.load_digits`, moved a little, or a shape drawn at a
    random place, size and angle. No digit of the source comes again in the target, as long as there are enough (about
    170 a class).

    Parameters
    ----------
    n_source : int, default=200
        Number of pictures of each source domain, at least 1.
    n_target : int, default=200
        Number of pictures of the target domain, at least 1.
    kind : {"digits", "shapes"}, default="digits"
        Handwritten digits 0 to 9, or circle, square, triangle, cross, ring and star (0 to 5).
    source : str or sequence of str, default="plain"
        Style of the source domain; several styles make several source domains, each named by its style.
    target : str, default="inverted"
        Style of the target domain. The styles:

        - "plain": white on black;
        - "inverted": black on white;
        - "rotated": plain, turned by 35 to 55 degrees;
        - "colored": a random colour on another;
        - "textured": a picture subtracted from a random coloured texture, as in MNIST-M [1]_;
        - "noisy", "blurred", "low_contrast": plain, worsened.
    n_classes : int or None, default=None
        Number of classes, at least 2; None takes all: 10 digits or 6 shapes.
    image_size : int, default=32
        Height and width in pixels, at least 8.
    mask_target : bool, default=False
        Whether labels of target pictures are -1 or the true ones, for evaluation.
    random_state : int, RandomState or None, default=None
        Seed.

    Returns
    -------
    X : ndarray of uint8 of shape (n_samples, image_size, image_size, 3)
        Pictures, those of the source domains first.
    y : ndarray of int of shape (n_samples,)
        Class numbers, in each domain as balanced as its size allows.
    sample_domain : ndarray of str of shape (n_samples,)
        ``"target"`` for target pictures; ``"source"``, or the style where there are several source domains.

    Raises
    ------
    ValueError
        If a parameter is out of range.

    See Also
    --------
    make_domain_shift : Tables under a shift of known kind.

    References
    ----------
    .. [1] Y. Ganin, V. Lempitsky, "Unsupervised Domain Adaptation by Backpropagation", ICML 2015.

    Examples
    --------
    >>> from sktransfer.datasets import make_image_domains
    >>> X, y, sample_domain = make_image_domains(20, 10, target="textured", random_state=0)
    >>> X.shape, X.dtype
    ((30, 32, 32, 3), dtype('uint8'))
    """
    sources = [source] if isinstance(source, str) else list(source)
    n_classes = _check_parameters(n_source, n_target, kind, sources, target, n_classes, image_size)
    rng = check_random_state(random_state)
    lengths = [n_source] * len(sources) + [n_target]
    styles = [*sources, target]
    labels = [rng.permutation(np.arange(length) % n_classes) for length in lengths]
    y = np.concatenate(labels)
    draw = _draw_digits if kind == "digits" else _draw_shapes
    ink = np.split(draw(rng, y, image_size), np.cumsum(lengths)[:-1])
    X = np.concatenate([STYLES[style](pictures, rng) for style, pictures in zip(styles, ink, strict=True)])
    names = ["source"] if len(sources) == 1 else sources
    sample_domain = np.repeat([*names, "target"], lengths)
    return X, mask_labels(y, sample_domain == "target") if mask_target else y, sample_domain


def _draw_digits(rng: np.random.RandomState, y: np.ndarray, size: int) -> np.ndarray:
    """Return ink from 0 to 1, shape (n, size, size), of a different digit for each label."""
    digits = load_digits()
    chosen = np.empty(len(y), dtype=int)
    for label in np.unique(y):
        wanted = np.flatnonzero(y == label)
        pool = rng.permutation(np.flatnonzero(digits.target == label))
        chosen[wanted] = np.resize(pool, len(wanted))
    small = digits.images[chosen] / 16.0
    # Resized to a little less than the picture, so that it can move.
    inner = max(8, size - size // 8)
    grown = np.clip(ndimage.zoom(small, (1, inner / 8, inner / 8), order=1), 0.0, 1.0)
    ink = np.zeros((len(y), size, size))
    for picture, digit in zip(ink, grown, strict=True):
        top, left = rng.randint(0, size - inner + 1, size=2)
        picture[top : top + inner, left : left + inner] = digit
    return ink


def _draw_shapes(rng: np.random.RandomState, y: np.ndarray, size: int) -> np.ndarray:
    """Return ink from 0 to 1, shape (n, size, size), of the shape that each label names."""
    axis = (np.arange(size) + 0.5) / size * 2 - 1
    rows, columns = np.meshgrid(axis, axis, indexing="ij")
    ink = np.empty((len(y), size, size))
    for picture, label in zip(ink, y, strict=True):
        radius = rng.uniform(0.45, 0.7)
        top, left = rng.uniform(-0.2, 0.2, size=2)
        angle = rng.uniform(-0.35, 0.35)
        down, right = (rows - top) / radius, (columns - left) / radius
        u = np.cos(angle) * right + np.sin(angle) * down
        v = np.cos(angle) * down - np.sin(angle) * right
        # A pixel's width of grey at the edge.
        picture[...] = np.clip(0.5 - _signed_distance(_SHAPES[label], u, v) * radius * size / 2, 0.0, 1.0)
    return ink


def _signed_distance(shape: str, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Return about the distance to the outline of a shape of radius 1, negative inside."""
    radius = np.hypot(u, v)
    if shape == "circle":
        return radius - 0.9
    if shape == "square":
        return np.maximum(np.abs(u), np.abs(v)) - 0.8
    if shape == "triangle":
        return np.maximum(np.abs(u) * 0.87 - v * 0.5, v) - 0.5
    if shape == "cross":
        arms = np.minimum(np.abs(u), np.abs(v)) - 0.25
        return np.maximum(arms, np.maximum(np.abs(u), np.abs(v)) - 0.95)
    if shape == "ring":
        return np.abs(radius - 0.7) - 0.2
    return radius - (0.65 + 0.35 * np.cos(5 * np.arctan2(u, -v)))


def _check_parameters(n_source, n_target, kind, sources, target, n_classes, image_size) -> int:
    kinds = {"digits": 10, "shapes": len(_SHAPES)}
    if kind not in kinds:
        raise ValueError(unknown_option("kind", kind, kinds))
    if not sources or len(set(sources)) < len(sources):
        raise ValueError(f"source must name at least one style, each once, got {sources!r}.")
    for name in (*sources, target):
        if name not in STYLES:
            raise ValueError(f"source and target must be styles of {sorted(STYLES)}, got {name!r}.")
    n_classes = kinds[kind] if n_classes is None else n_classes
    if not isinstance(n_classes, Integral) or not 2 <= int(n_classes) <= kinds[kind]:
        raise ValueError(f"n_classes of {kind} must be an integer from 2 to {kinds[kind]}, got {n_classes!r}.")
    for name, value, least in (("n_source", n_source, 1), ("n_target", n_target, 1), ("image_size", image_size, 8)):
        if not isinstance(value, Integral) or value < least:
            raise ValueError(f"{name} must be an integer of at least {least}, got {value!r}.")
    return int(n_classes)
