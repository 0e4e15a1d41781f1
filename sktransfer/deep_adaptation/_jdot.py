"""Adaptation by optimal transport: target rows get the features and the labels of the source rows carried to them."""

from __future__ import annotations

from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from sktransfer.deep_adaptation._alignment import Alignment
from sktransfer.deep_adaptation._base import DeepClassifier
from sktransfer.deep_adaptation._mmd import squared_distances
from sktransfer.utils._compat import Interval
from sktransfer.utils._optional import import_optional

if TYPE_CHECKING:
    from sklearn.base import BaseEstimator
    from torch import nn

__all__ = ["DeepJDOTClassifier", "exact_plan", "jdot_cost", "jdot_loss"]


def jdot_cost(
    source: torch.Tensor,
    target: torch.Tensor,
    source_labels: torch.Tensor,
    target_scores: torch.Tensor,
    feature_weight: float,
    label_weight: float,
) -> torch.Tensor:
    """Cost of carrying each source row to each target row.

    ``c_ij = feature_weight ||s_i - t_j||^2 + label_weight CE(y_i, scores_j)``.

    Parameters
    ----------
    source : torch.Tensor of shape (n, d)
        Features.
    target : torch.Tensor of shape (m, d)
        Features.
    source_labels : torch.Tensor of shape (n,)
        Class numbers.
    target_scores : torch.Tensor of shape (m, n_classes)
        Scores before the softmax.
    feature_weight, label_weight : float

    Returns
    -------
    torch.Tensor of shape (n, m)
    """
    distances = squared_distances(source, target)
    surprise = -target_scores.to(distances.dtype).log_softmax(1).T[source_labels.long()]
    return feature_weight * distances + label_weight * surprise


def exact_plan(cost: torch.Tensor) -> torch.Tensor:
    """Plan of least total cost that carries equal masses of rows to equal masses of columns; a constant.

    Parameters
    ----------
    cost : torch.Tensor of shape (n, m)

    Returns
    -------
    torch.Tensor of shape (n, m)
        Rows sum to 1 / n, columns to 1 / m. Each row goes everywhere alike where costs are not finite.

    Raises
    ------
    ImportError
        If POT is not installed.
    """
    ot = _import_pot()
    n, m = cost.shape
    costs = cost.detach().cpu().numpy().astype(np.float64)
    if not np.isfinite(costs).all():
        return cost.new_full((n, m), 1 / (n * m))
    plan = ot.emd(np.full(n, 1 / n), np.full(m, 1 / m), costs, numItermax=1_000_000)
    return torch.as_tensor(plan, dtype=cost.dtype, device=cost.device)


def jdot_loss(
    source: torch.Tensor,
    target: torch.Tensor,
    source_labels: torch.Tensor,
    target_scores: torch.Tensor,
    feature_weight: float,
    label_weight: float,
) -> torch.Tensor:
    """Least cost of carrying the source rows of a batch to its target rows: ``min_P sum_ij P_ij c_ij``.

    The plan is a constant for the gradient, which is that of the least cost all the same, as the plan attains it.

    Parameters
    ----------
    source, target, source_labels, target_scores, feature_weight, label_weight
        See :func:`jdot_cost`.

    Returns
    -------
    torch.Tensor of shape ()

    References
    ----------
    .. [1] Damodaran, B. B. et al. "DeepJDOT: Deep Joint Distribution Optimal Transport for Unsupervised Domain
       Adaptation", ECCV 2018.
    """
    cost = jdot_cost(source, target, source_labels, target_scores, feature_weight, label_weight)
    return (exact_plan(cost) * cost).sum()


def _import_pot():
    return import_optional("ot", extra="transport", caller="DeepJDOTClassifier")


class _JDOT(Alignment):
    """Transport of features and labels."""

    def __init__(self, feature_weight: float, label_weight: float, **options: Any):
        super().__init__(**options)
        self.weights = feature_weight, label_weight

    def align(self, part, source, target, strength, module):
        """Compute the least cost of a batch."""
        return strength * jdot_loss(source.features, target.features, source.values, target.scores, *self.weights)


class DeepJDOTClassifier(DeepClassifier):
    """Classify target samples by the features and labels of the source rows that are carried to them (DeepJDOT).

    For each batch an exact optimal-transport plan carries source rows to target rows, at a cost of the squared
    distance of their features and of the cross-entropy of the source label against the scores of the target row. The
    total cost is added to the loss [1]_: target rows learn the labels that arrive at them, and the features of both
    ends of the plan come nearer. Needs the package POT (``pip install 'sktransfer[transport]'``).

    Parameters
    ----------
    [[backbone]]
    feature_weight : float, default=0.001
        Weight of the squared distance of the features in the cost of the transport. That distance is a sum over all
        features: the more there are, the smaller the weight.
    label_weight : float, default=0.01
        Weight of the cross-entropy in it.
    [[training]]

    Attributes
    ----------
    [[attributes]]

    See Also
    --------
    OTAdapter : Optimal transport of fixed features, for any classifier.
    JANClassifier : Aligns features and predicted classes by kernel means.

    Notes
    -----
    The plan carries all of a batch: where the domains differ in the shares of their classes, rows are carried to rows
    of another class. The paper weighs the cross-entropy by 0.0001, and its batches have as many source rows of each
    class.

    References
    ----------
    .. [1] Damodaran, B. B. et al. "DeepJDOT: Deep Joint Distribution Optimal Transport for Unsupervised Domain
       Adaptation", ECCV 2018.

    Examples
    --------
    >>> from sktransfer import DeepJDOTClassifier, make_domain_shift
    >>> X, y, sample_domain = make_domain_shift(100, 100, shift="covariate", random_state=0)
    >>> clf = DeepJDOTClassifier(None, bottleneck=32, max_epochs=5, random_state=0)
    >>> clf.fit(X, y, sample_domain=sample_domain).predict(X[:3]).shape  # doctest: +SKIP
    (3,)
    """

    _parameter_constraints = {
        **DeepClassifier._parameter_constraints,
        "feature_weight": [Interval(Real, 0, None, closed="left")],
        "label_weight": [Interval(Real, 0, None, closed="left")],
    }

    def __init__(
        self,
        backbone: str | nn.Module | BaseEstimator | None = "resnet18",
        *,
        feature_weight: float = 0.001,
        label_weight: float = 0.01,
        **training: Any,
    ):
        super().__init__(backbone, **training)
        self.feature_weight = feature_weight
        self.label_weight = label_weight

    def _check_settings(self):
        super()._check_settings()
        _import_pot()
        if self.feature_weight == 0 and self.label_weight == 0:
            raise ValueError(
                f"feature_weight={self.feature_weight!r} and label_weight={self.label_weight!r} leave no cost to carry "
                "rows by. Make one of them positive; trade_off=0 trains on the source alone."
            )

    def _alignment(self, **options):
        return _JDOT(self.feature_weight, self.label_weight, **options)
