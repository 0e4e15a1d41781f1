"""Adaptation by self-training: certain predictions for target rows are the labels of perturbed views of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from numbers import Real
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional

from sktransfer.deep_adaptation._alignment import Alignment
from sktransfer.deep_adaptation._base import DeepClassifier
from sktransfer.deep_adaptation._running_mean import RunningMean
from sktransfer.utils._compat import Interval, StrOptions

if TYPE_CHECKING:
    from sklearn.base import BaseEstimator

__all__ = ["FixMatchClassifier", "adaptive_thresholds", "fixmatch_loss", "perturbed_pictures", "perturbed_rows"]


def fixmatch_loss(
    scores: torch.Tensor, view_scores: torch.Tensor, thresholds: float | torch.Tensor = 0.95
) -> torch.Tensor:
    """Cross-entropy of views from those of the predicted classes that are certain [1]_.

    ``1 / n sum_i [max p_i >= threshold] CE(view_scores_i, argmax p_i)`` with ``p_i = softmax(scores_i)``, which takes
    no gradient.

    Parameters
    ----------
    scores : torch.Tensor of shape (n, k)
        Of target rows as they are.
    view_scores : torch.Tensor of shape (n, k)
        Of perturbed views of them.
    thresholds : float or torch.Tensor of shape (k,), default=0.95
        Probability from which on a class is believed.

    Returns
    -------
    torch.Tensor of shape ()

    References
    ----------
    .. [1] Sohn, K. et al. "FixMatch: Simplifying Semi-Supervised Learning with Consistency and Confidence", NeurIPS
       2020.
    """
    certainty, classes = scores.detach().softmax(1).max(1)
    if isinstance(thresholds, torch.Tensor):
        thresholds = thresholds[classes]
    losses = functional.cross_entropy(view_scores, classes, reduction="none")
    return (losses * (certainty >= thresholds)).mean()


def adaptive_thresholds(threshold: float, certainty: torch.Tensor, frequency: torch.Tensor) -> torch.Tensor:
    """Thresholds that rise with the certainty of the target, lower for rarer classes [1]_.

    ``threshold * certainty * frequency / max(frequency)``; with ``threshold=1`` those of [1]_.

    Parameters
    ----------
    threshold : float
    certainty : torch.Tensor of shape () or (1,)
        Mean of the greatest probabilities of target rows.
    frequency : torch.Tensor of shape (k,)
        Mean of the probabilities of target rows.

    Returns
    -------
    torch.Tensor of shape (k,)

    References
    ----------
    .. [1] Wang, Y. et al. "FreeMatch: Self-adaptive Thresholding for Semi-supervised Learning", ICLR 2023.
    """
    return threshold * certainty * frequency / frequency.max()


def perturbed_pictures(pictures: torch.Tensor, noise: float) -> torch.Tensor:
    """Move pictures at random, change their brightness and contrast, and paint a rectangle over.

    Parameters
    ----------
    pictures : torch.Tensor of shape (n, channels, height, width)
    noise : float
        Sides of the rectangle, as a share of those of the picture; contrast changes by up to this share, brightness by
        up to this share of the standard deviation of the picture, and moves are up to a quarter of this share.

    Returns
    -------
    torch.Tensor of shape (n, channels, height, width)
    """
    n, _, height, width = pictures.shape

    def draw(low, high):
        return torch.empty_like(pictures[:, :1, :1, :1]).uniform_(low, high)

    # The grid that pictures are sampled at is 2 wide; where it leaves them, their edge is repeated.
    moves = torch.stack([draw(-noise / 2, noise / 2).view(n) for _ in range(2)], dim=1)
    upright = torch.eye(2).to(pictures).expand(n, 2, 2)
    grid = functional.affine_grid(
        torch.cat([upright, moves[:, :, None]], dim=2), list(pictures.shape), align_corners=False
    )
    views = functional.grid_sample(pictures, grid, padding_mode="border", align_corners=False)
    mean = views.mean((1, 2, 3), keepdim=True)
    deviation = views.std((1, 2, 3), correction=0, keepdim=True)
    views = mean + (views - mean) * (1 + draw(-noise, noise)) + deviation * draw(-noise, noise)
    rows = torch.linspace(0, 1, height).to(pictures).view(1, 1, height, 1)
    columns = torch.linspace(0, 1, width).to(pictures).view(1, 1, 1, width)
    covered = ((rows - draw(0, 1)).abs() < noise / 2) & ((columns - draw(0, 1)).abs() < noise / 2)
    return torch.where(covered, mean, views)


def perturbed_rows(rows: torch.Tensor, noise: float) -> torch.Tensor:
    """Replace numbers at random by those that another row of the batch has in their place.

    Unlike dropout it leaves every feature its distribution, whatever its unit and mean.

    Parameters
    ----------
    rows : torch.Tensor of shape (n, ...)
    noise : float
        Probability of each number to be replaced.

    Returns
    -------
    torch.Tensor of shape (n, ...)
    """
    others = rows[torch.randperm(len(rows), device=rows.device)]
    return torch.where(torch.rand_like(rows) < noise, others, rows)


@contextmanager
def _kept_statistics(module: nn.Module) -> Iterator[None]:
    """Let BatchNorm forget the rows of a pass: in prediction there are no perturbed ones."""
    kinds = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
    layers = [layer for layer in module.modules() if isinstance(layer, kinds)]
    momenta = [layer.momentum for layer in layers]
    try:
        for layer in layers:
            layer.momentum = 0.0
        yield
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum


class _FixMatch(Alignment):
    """Self-training on views of the target rows."""

    def __init__(self, threshold: float, thresholds: str, noise: float, **options: Any):
        super().__init__(**options)
        self.threshold = threshold
        self.thresholds = thresholds
        self.noise = noise

    def build(self, n_features, n_outputs):
        """Begin the averages that thresholds adapt to."""
        if self.thresholds == "fixed":
            return None
        sizes = {"certainty": 1, "frequency": n_outputs}
        return nn.ModuleDict({name: RunningMean(size, 1 / n_outputs) for name, size in sizes.items()})

    def align(self, part, source, target, strength, module):
        """Compute the loss of the views of a batch."""
        thresholds = self.threshold
        if part is not None:
            proba = target.scores.detach().float().softmax(1)
            certainty = part["certainty"].update(proba.max(1).values.mean(0, keepdim=True))
            thresholds = adaptive_thresholds(thresholds, certainty, part["frequency"].update(proba.mean(0)))
        perturb = perturbed_pictures if module.entry == 0 else perturbed_rows
        # Beside source rows, as in the pass before and in prediction: BatchNorm would else take the domain away.
        inputs = torch.cat([source.inputs, perturb(target.inputs, self.noise)])
        with _kept_statistics(module):
            view_scores = module.run(inputs, module.entry).scores[len(source.inputs) :]
        return strength * fixmatch_loss(target.scores.float(), view_scores.float(), thresholds)


class FixMatchClassifier(DeepClassifier):
    """Classify target samples by a network that learns from its own certain predictions for them (FixMatch).

    Where the network is certain of the class of a target row, the class becomes the label of a perturbed view of the
    row [1]_. A view of a picture is moved, changed in brightness and contrast and partly covered; one of a table's
    rows, or of what the frozen part of the network gives, has some numbers of another row. Domains are not compared.

    Parameters
    ----------
    [[backbone]]
    threshold : float, default=0.95
        Probability from which on a class is believed, or the factor of adaptive thresholds.
    thresholds : {"adaptive", "fixed"}, default="adaptive"
        ``"fixed"`` is the method of [1]_, by which the classes that the network is first certain of may take over the
        target. ``"adaptive"`` multiplies `threshold` by the mean certainty of the target rows, and by the frequency of
        the class among the predictions in units of the greatest [2]_.
    noise : float, default=0.2
        How much a view differs, in [0, 1): the share of the numbers that are replaced; in pictures the sides of the
        part that is covered, the change of contrast, the change of brightness in standard deviations, and four times
        the move.
    [[training]]

    Attributes
    ----------
    [[attributes]]

    See Also
    --------
    MCCClassifier : Makes the confusion of pairs of classes small.
    BNMClassifier : Makes predictions certain and diverse by the nuclear norm of a batch.

    Notes
    -----
    Each step runs what learns twice. With ``augment`` the predictions, too, are of changed pictures: the weak
    augmentation of [1]_.

    References
    ----------
    .. [1] Sohn, K. et al. "FixMatch: Simplifying Semi-Supervised Learning with Consistency and Confidence", NeurIPS
       2020.
    .. [2] Wang, Y. et al. "FreeMatch: Self-adaptive Thresholding for Semi-supervised Learning", ICLR 2023.

    Examples
    --------
    >>> from sktransfer import FixMatchClassifier, make_domain_shift
    >>> X, y, sample_domain = make_domain_shift(100, 100, shift="covariate", random_state=0)
    >>> clf = FixMatchClassifier(None, bottleneck=32, max_epochs=5, random_state=0)
    >>> clf.fit(X, y, sample_domain=sample_domain).predict(X[:3]).shape
    (3,)
    """

    _parameter_constraints = {
        **DeepClassifier._parameter_constraints,
        "threshold": [Interval(Real, 0, 1, closed="both")],
        "thresholds": [StrOptions({"adaptive", "fixed"})],
        "noise": [Interval(Real, 0, 1, closed="left")],
    }
    _needs_learning_features = _looks_at_source = False

    def __init__(
        self,
        backbone: str | nn.Module | BaseEstimator | None = "resnet18",
        *,
        threshold: float = 0.95,
        thresholds: str = "adaptive",
        noise: float = 0.2,
        **training: Any,
    ):
        super().__init__(backbone, **training)
        self.threshold = threshold
        self.thresholds = thresholds
        self.noise = noise

    def _alignment(self, **options):
        return _FixMatch(self.threshold, self.thresholds, self.noise, **options)
