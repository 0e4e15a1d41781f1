"""Co-Tuning: the source classifier learns from what its classes have to do with the targets."""

import functools
from collections.abc import Callable
from numbers import Real

import numpy as np
import torch
from torch.nn.functional import one_hot

from sktransfer._nets import Penalty
from sktransfer.fine_tuning._near_source import copy_classifier, precise
from sktransfer.fine_tuning._regularizers import Regularizer
from sktransfer.utils._compat import Interval

__all__ = ["CoTuning", "CoTuningPenalty", "category_relation", "soft_cross_entropy"]


def category_relation(source_proba: torch.Tensor, targets: torch.Tensor, n_classes: int) -> torch.Tensor:
    """p(source class | target class), by the mean source probabilities of each target class [1]_.

    Parameters
    ----------
    source_proba : torch.Tensor of shape (n, n_source_classes)
        Probabilities of the source classes, rows summing to one.
    targets : torch.Tensor of shape (n,) or (n, n_classes)
        Class numbers, or the share of each class in each row.
    n_classes : int

    Returns
    -------
    torch.Tensor of shape (n_classes, n_source_classes)
        Rows sum to one; a class that no row has gets the mean of all rows.

    References
    ----------
    .. [1] You, K., Kou, Z., Long, M. & Wang, J. "Co-Tuning for Transfer Learning", NeurIPS 2020; the direct approach.
    """
    proba = source_proba.double()
    shares = (one_hot(targets.long(), n_classes) if targets.ndim == 1 else targets).double()
    counts = shares.sum(0)[:, None]
    relation = torch.where(counts > 0, shares.T @ proba / counts.clamp_min(1e-300), proba.mean(0))
    return relation / relation.sum(1, keepdim=True)


def soft_cross_entropy(scores: torch.Tensor, proba: torch.Tensor) -> torch.Tensor:
    """Cross-entropy from given probabilities, -sum_k p_k log softmax(s)_k, mean over rows; the loss of Co-Tuning.

    Parameters
    ----------
    scores, proba : torch.Tensor of shape (n, n_classes)

    Returns
    -------
    torch.Tensor of shape ()
    """
    return -(proba * precise(scores).log_softmax(1)).sum(1).mean()


class CoTuningPenalty(Penalty):
    """alpha times the cross-entropy of the source classifier from what its classes have to do with the targets.

    Parameters
    ----------
    alpha : float
    on_relation : callable
        Is told the relation, an ndarray ``(n_classes, n_source_classes)``, before training.
    """

    def __init__(self, alpha: float, on_relation: Callable[[np.ndarray], None]):
        self.alpha = alpha
        self.on_relation = on_relation

    def attach(self, module, setup):
        """Learn the relation, and give the module a copy of the source classifier that learns."""
        if setup.targets.is_floating_point():
            raise ValueError(
                "regularizer='co-tuning' relates classes of the source to classes of the target: it needs one class a "
                "picture, got targets of shape "
                f"{tuple(setup.targets.shape)} that are no class numbers. Pass 'lwf', 'l2-sp' or another regularizer "
                "for regression and for several labels a picture."
            )
        module.source_head = copy_classifier(setup.backbone, "co-tuning")
        proba = torch.as_tensor(setup.source_proba())
        self.relation = category_relation(proba, setup.targets, setup.n_outputs).float()
        self.on_relation(self.relation.numpy())

    def __call__(self, module, inputs, outputs, rows):
        """Compute the penalty of a batch; of mixed targets, by their shares."""
        self.relation = self.relation.to(outputs.scores.device)
        values = rows.values
        proba = self.relation[values.long()] if values.ndim == 1 else values.float() @ self.relation
        return self.alpha * soft_cross_entropy(module.source_head(outputs.features), proba)

    def detach(self, module):
        """Drop the classifier of the source task."""
        self.relation = module.source_head = None


class CoTuning(Regularizer):
    """Co-Tuning: train the source classifier on the new pictures, with labels of the source [1]_.

    The source network's mean probabilities for the pictures of a target class are p(source class | target class), the
    category relationship. A copy of the source classifier learns it: alpha times its cross-entropy from the row of each
    picture's class is added to the loss. The copy is dropped in the end.

    Parameters
    ----------
    alpha : float, default=2.3
        Weight, as in [1]_.

    Attributes
    ----------
    relation_ : ndarray of shape (n_classes, n_source_classes)
        The category relationship; rows sum to one. It is an attribute of the fitted estimator's ``regularizer_``.

    Notes
    -----
    The direct approach of [1]_, without its calibration of the source network. Needs weights that came with their
    classifier, and one class a picture.

    References
    ----------
    .. [1] You, K., Kou, Z., Long, M. & Wang, J. "Co-Tuning for Transfer Learning", NeurIPS 2020.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sktransfer.fine_tuning import CoTuning, FineTunedClassifier
    >>> X, y = load_digits(return_X_y=True)
    >>> source = FineTunedClassifier("sktransfer_mini", max_epochs=1, random_state=0).fit(X[:50], y[:50] % 3)
    >>> clf = FineTunedClassifier(source, trainable=1, regularizer=CoTuning(), max_epochs=1, random_state=0)
    >>> clf.fit(X[:50], y[:50]).regularizer_.relation_.shape  # p(remainder of three | digit)
    (10, 3)
    """

    _parameter_constraints = {"alpha": [Interval(Real, 0, None, closed="left")]}

    def __init__(self, alpha: float = 2.3):
        self.alpha = alpha

    def make_penalty(self) -> CoTuningPenalty:
        """Make what computes, for one training."""
        return CoTuningPenalty(self.alpha, functools.partial(setattr, self, "relation_"))
