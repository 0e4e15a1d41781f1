"""Open-set adaptation: target rows of classes that the source does not have are told as such."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted
from torch.nn import functional

from sktransfer.deep_adaptation._alignment import Alignment, reverse_gradient
from sktransfer.deep_adaptation._base import DeepClassifier
from sktransfer.domains import as_labels, is_missing, label_kind, missing_labels

if TYPE_CHECKING:
    from sklearn.base import BaseEstimator
    from torch import nn

__all__ = ["OSBPClassifier", "unknown_loss"]


def unknown_loss(scores: torch.Tensor) -> torch.Tensor:
    """Binary cross-entropy of p(unknown) from one half: ``-1 / 2 mean_i (log p_i + log(1 - p_i))`` [1]_.

    It is least, log 2, at ``p_i = 1 / 2``.

    Parameters
    ----------
    scores : torch.Tensor of shape (n, k + 1)
        The last column is that of the unknown class, ``p = softmax(scores)[:, -1]``.

    Returns
    -------
    torch.Tensor of shape ()

    References
    ----------
    .. [1] Saito, K., Yamamoto, S., Ushiku, Y. & Harada, T. "Open Set Domain Adaptation by Backpropagation", ECCV 2018.
    """
    odds = scores[:, -1] - scores[:, :-1].logsumexp(1)
    return (functional.softplus(-odds) + functional.softplus(odds)).mean() / 2


class _OSBP(Alignment):
    """The head itself as the adversary of the features, over the unknown class of target rows."""

    def align(self, part, source, target, strength, module):
        """Compute the loss: the head brings p(unknown) to one half, the features bring it away, up or down."""
        # The factor is that of both, not of the features alone: a head learns the labels as well.
        scores = module.head(reverse_gradient(target.features, 1.0))
        return strength * unknown_loss(scores.float())


class OSBPClassifier(DeepClassifier):
    """Classify target samples, of which some are of classes that the source does not have (OSBP).

    The head has one output more than there are classes, for what is unknown. It learns to give target rows the
    probability 1/2 of it, while the features learn, through a reversed gradient, to make it differ from 1/2: each
    target row becomes known, near the source, or unknown [1]_.

    Parameters
    ----------
    [[backbone]]
    unknown_label : str, number or "auto", default="auto"
        What is predicted for the unknown; no label of the training. ``"auto"`` is -1 for numbers and ``"unknown"`` for
        strings.
    [[training]]

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes + 1,)
        The labels, and after them ``unknown_label_``.
    unknown_label_ : str or number
        What is predicted for the unknown.
    [[attributes]]

    See Also
    --------
    PADAClassifier : For targets that have only some of the classes of the source.
    DANNClassifier : For targets of the same classes.

    Notes
    -----
    :meth:`score` counts a row whose class is not among the labels of the training as one of the unknown. Metrics that
    are called on predictions need this in `y` itself: ``np.where(np.isin(y, clf.classes_), y, clf.unknown_label_)``.
    Where the unknown label is -1, -1 is no missing label for :meth:`score`, as it is for :meth:`fit`.

    References
    ----------
    .. [1] Saito, K., Yamamoto, S., Ushiku, Y. & Harada, T. "Open Set Domain Adaptation by Backpropagation", ECCV 2018.

    Examples
    --------
    >>> from sktransfer import OSBPClassifier, make_domain_shift
    >>> X, y, sample_domain = make_domain_shift(100, 100, n_classes=3, shift="covariate", random_state=0)
    >>> kept = (sample_domain == "target") | (y < 2)  # the source has two of the three classes
    >>> clf = OSBPClassifier(None, bottleneck=32, max_epochs=5, random_state=0)
    >>> clf.fit(X[kept], y[kept], sample_domain=sample_domain[kept]).classes_
    array([ 0,  1, -1])
    """

    _looks_at_source = False
    _parameter_constraints = {**DeepClassifier._parameter_constraints, "unknown_label": "no_validation"}

    def __init__(
        self,
        backbone: str | nn.Module | BaseEstimator | None = "resnet18",
        *,
        unknown_label: Any = "auto",
        **training: Any,
    ):
        super().__init__(backbone, **training)
        self.unknown_label = unknown_label

    def _alignment(self, **options):
        return _OSBP(**options)

    def _learn_targets(self, labels):
        super()._learn_targets(labels)
        known = self.classes_
        unknown = self._resolved_label(known)
        label = np.array([unknown], dtype=object if known.dtype == object else None)
        self.classes_ = np.concatenate([known, label])
        self.unknown_label_ = self.classes_[-1]
        # Without a label or unknown: in fit it was the one, from here on it is the other.
        self.minus_one_is_missing_ = bool(self.minus_one_is_missing_ and self.unknown_label_ != -1)

    def _resolved_label(self, known):
        """Check the label of the unknown against those of the classes."""
        is_number = label_kind(known) in "if"
        if not is_number and label_kind(known) != "U":
            raise ValueError(
                "y must be numbers or strings, beside which there is a label for the unknown; got "
                f"{known.tolist()[0]!r}. Convert y, e.g. by y.astype(int)."
            )
        label = self.unknown_label
        if isinstance(label, str) and label == "auto":
            label = -1 if is_number else "unknown"
        named = f"unknown_label={self.unknown_label!r}"
        kinds = (int, float, np.integer, np.floating) if is_number else (str,)
        if not isinstance(label, kinds) or isinstance(label, bool) or is_missing(np.array([label], dtype=object))[0]:
            raise ValueError(
                f"{named} must be of the kind of the labels in y, {'numbers' if is_number else 'strings'} such as "
                f"{known.tolist()[0]!r}, and not missing. Pass another, or 'auto'."
            )
        if label in known.tolist():
            meaning = f", which is {label!r} here," if label is not self.unknown_label else ""
            raise ValueError(
                f"{named}{meaning} is one of the labels that are learned from. Pass a label that y does not have."
            )
        return label

    def _encode(self, labels):
        # The known classes are sorted; the unknown one behind them is no row's.
        return np.searchsorted(self.classes_[:-1], labels), self._class_weights(labels)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Score predictions on the rows that have a label, by their accuracy.

        Parameters
        ----------
        X : pictures or array-like of shape (n_samples, n_features)
            Samples.
        y : array-like of shape (n_samples,)
            Labels; those that are not in ``classes_`` count as ``unknown_label_``. Rows where they are missing (NaN,
            None, or -1 for integers, unless it is the unknown label) are left out.
        sample_weight : array-like of shape (n_samples,) or None, default=None
            Weights of the rows.

        Returns
        -------
        float
            The score.

        Raises
        ------
        ValueError
            If no row has a label.
        """
        check_is_fitted(self)
        y = as_labels(y, name="y")
        foreign = ~missing_labels(y, minus_one=self.minus_one_is_missing_) & ~np.isin(y, self.classes_)
        if foreign.any():
            y = y.astype(object)
            y[foreign] = self.unknown_label_
        return super().score(X, y, sample_weight=sample_weight)
