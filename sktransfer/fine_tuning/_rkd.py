"""Relational knowledge distillation: distances and angles between pictures as in the source."""

from numbers import Real

import torch
from torch.nn.functional import smooth_l1_loss

from sktransfer.fine_tuning._near_source import NearSource, exact, precise
from sktransfer.fine_tuning._regularizers import Regularizer
from sktransfer.utils._compat import Interval

__all__ = ["RKD", "RKDPenalty", "rkd_angle_loss", "rkd_distance_loss"]


def rkd_distance_loss(features: torch.Tensor, source_features: torch.Tensor) -> torch.Tensor:
    """Smooth L1 difference of distances between rows, each in units of its network's mean distance [1]_.

    Parameters
    ----------
    features : torch.Tensor of shape (n, d)
    source_features : torch.Tensor of shape (n, d_source)

    Returns
    -------
    torch.Tensor of shape ()
        Mean over the pairs of different rows; 0 of fewer than two.

    References
    ----------
    .. [1] Park, W., Kim, D., Lu, Y. & Cho, M. "Relational Knowledge Distillation", CVPR 2019.
    """
    n = len(features)
    if n < 2:
        return 0 * precise(features).sum()
    pair = ~torch.eye(n, dtype=torch.bool, device=features.device)
    new, old = (_distances(f)[pair] for f in (features, source_features))
    return smooth_l1_loss(_ratio(new, new.mean()), _ratio(old, old.mean()))


def rkd_angle_loss(features: torch.Tensor, source_features: torch.Tensor) -> torch.Tensor:
    """Smooth L1 difference of the cosines of the angles that rows i and k make at row j [1]_.

    Parameters
    ----------
    features : torch.Tensor of shape (n, d)
    source_features : torch.Tensor of shape (n, d_source)

    Returns
    -------
    torch.Tensor of shape ()
        Mean over the triplets of different rows; 0 of fewer than three. Where two rows coincide the cosine is 0.

    References
    ----------
    .. [1] Park, W., Kim, D., Lu, Y. & Cho, M. "Relational Knowledge Distillation", CVPR 2019.
    """
    n = len(features)
    if n < 3:
        return 0 * precise(features).sum()
    other = ~torch.eye(n, dtype=torch.bool, device=features.device)
    triplet = other[:, :, None] & other[:, None, :] & other[None, :, :]
    new, old = (_cosines(_distances(f))[triplet] for f in (features, source_features))
    return smooth_l1_loss(new, old)


def _distances(features: torch.Tensor) -> torch.Tensor:
    features = precise(features)
    # Differences, not scalar products: these would lose small distances. The gradient of a distance 0 is 0.
    with exact(features):
        return torch.cdist(features, features, compute_mode="donot_use_mm_for_euclid_dist")


def _cosines(d: torch.Tensor) -> torch.Tensor:
    # Law of cosines, [j, i, k]: (d_ij^2 + d_kj^2 - d_ik^2) / (2 d_ij d_kj).
    squared = d.square()
    return _ratio(squared[:, :, None] + squared[:, None, :] - squared, 2 * d[:, :, None] * d[:, None, :])


def _ratio(numerator: torch.Tensor, denominator: torch.Tensor) -> torch.Tensor:
    """Divide; 0 with gradient 0 where the denominator is 0."""
    is_zero = denominator == 0
    return torch.where(is_zero, 0.0, numerator / torch.where(is_zero, 1.0, denominator))


class RKDPenalty(NearSource):
    """alpha times the change of distances + angle times alpha the change of angles between the rows of a batch."""

    def __init__(self, alpha: float, angle: float):
        self.alpha = alpha
        self.angle = angle

    def __call__(self, module, inputs, outputs, rows):
        """Compute the penalty of a batch; 0 where features do not learn."""
        if module.entry is None:
            return super().__call__(module, inputs, outputs, rows)
        pair = outputs.features, self.run_source(module, inputs)
        return self.alpha * (rkd_distance_loss(*pair) + (self.angle * rkd_angle_loss(*pair) if self.angle else 0))


class RKD(Regularizer):
    """Relational knowledge distillation: keep distances and angles between pictures [1]_.

    Adds alpha (L_D + angle L_A) to the loss: L_D compares the distances of the features of any two pictures of the
    batch, in units of their mean, with those in the source network, L_A the cosines of the angles in the triangle of
    any three, both by the smooth L1 loss. Features may turn, move and stretch as a whole.

    Parameters
    ----------
    alpha : float, default=25.0
        Weight of distances, as in [1]_ for classification.
    angle : float, default=2.0
        Weight of angles in units of `alpha`, as in [1]_. 0 leaves them out.

    Notes
    -----
    Each step runs the source network too, and memory grows with the third power of the batch size. Without effect where
    only the head learns.

    References
    ----------
    .. [1] Park, W., Kim, D., Lu, Y. & Cho, M. "Relational Knowledge Distillation", CVPR 2019.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sktransfer.fine_tuning import FineTunedClassifier, RKD
    >>> X, y = load_digits(return_X_y=True)
    >>> clf = FineTunedClassifier("sktransfer_mini", trainable=1, regularizer=RKD(10), max_epochs=1, random_state=0)
    >>> clf.fit(X[:50], y[:50]).predict(X[50:53]).shape
    (3,)
    """

    _parameter_constraints = {
        "alpha": [Interval(Real, 0, None, closed="left")],
        "angle": [Interval(Real, 0, None, closed="left")],
    }

    def __init__(self, alpha: float = 25.0, *, angle: float = 2.0):
        self.alpha = alpha
        self.angle = angle

    def make_penalty(self) -> RKDPenalty:
        """Make what computes, for one training."""
        return RKDPenalty(self.alpha, self.angle)
