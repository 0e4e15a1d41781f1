"""Learning without forgetting: answers near those of the source classifier."""

from numbers import Real

import torch
from torch.nn.functional import kl_div

from sktransfer.fine_tuning._near_source import NearSource, copy_classifier, move, precise
from sktransfer.fine_tuning._regularizers import Regularizer
from sktransfer.utils._compat import Interval

__all__ = ["LwF", "LwFPenalty", "distillation_loss"]


def distillation_loss(scores: torch.Tensor, source_scores: torch.Tensor, temperature: float) -> torch.Tensor:
    """T^2 KL(softmax(s0 / T) || softmax(s / T)), mean over rows: the loss of learning without forgetting [1]_.

    It differs from the cross-entropy of softened probabilities in [1]_ by what does not depend on `scores`, hence is
    zero where the scores agree; T^2 keeps its gradient of one size for all T [2]_.

    Parameters
    ----------
    scores, source_scores : torch.Tensor of shape (n, n_source_classes)
    temperature : float
        The T; above 1 the smaller probabilities count more.

    Returns
    -------
    torch.Tensor of shape ()

    References
    ----------
    .. [1] Li, Z. & Hoiem, D. "Learning without Forgetting", ECCV 2016.
    .. [2] Hinton, G., Vinyals, O. & Dean, J. "Distilling the Knowledge in a Neural Network", 2015.
    """
    new = (precise(scores) / temperature).log_softmax(1)
    old = (precise(source_scores) / temperature).log_softmax(1)
    return temperature**2 * kl_div(new, old, reduction="batchmean", log_target=True)


class LwFPenalty(NearSource):
    """alpha times the distillation of the source classifier's answers to the training pictures."""

    def __init__(self, alpha: float, temperature: float):
        self.alpha = alpha
        self.temperature = temperature

    def attach(self, module, setup):
        """Give the module a copy of the source classifier that learns."""
        super().attach(module, setup)
        self.classifier = copy_classifier(setup.backbone, "lwf").requires_grad_(False)
        module.source_head = copy_classifier(setup.backbone, "lwf")

    def __call__(self, module, inputs, outputs, rows):
        """Compute the penalty of a batch."""
        move(self.classifier, outputs.features.device)
        with torch.no_grad():
            expected = self.classifier(self.run_source(module, inputs))
        scores = module.source_head(outputs.features)
        return self.alpha * distillation_loss(scores, expected, self.temperature)

    def detach(self, module):
        """Drop the classifiers of the source task."""
        super().detach(module)
        self.classifier = module.source_head = None


class LwF(Regularizer):
    """Learning without forgetting: keep the answers that the source classifier gives to the new pictures [1]_.

    Adds alpha T^2 KL(softmax(s0 / T) || softmax(s / T)) to the loss: s0 are the source network's scores of its classes,
    s those by the trained features and a copy of the source classifier that learns too and is dropped in the end.

    Parameters
    ----------
    alpha : float, default=1.0
        Weight, as in [1]_.
    temperature : float, default=2.0
        The T, as in [1]_; a higher one makes the improbable classes count more.

    Notes
    -----
    Needs weights that came with their classifier. Each step runs the source network too.

    References
    ----------
    .. [1] Li, Z. & Hoiem, D. "Learning without Forgetting", ECCV 2016.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sktransfer.fine_tuning import FineTunedClassifier, LwF
    >>> X, y = load_digits(return_X_y=True)
    >>> source = FineTunedClassifier("sktransfer_mini", max_epochs=1, random_state=0).fit(X[:50], y[:50] % 3)
    >>> clf = FineTunedClassifier(source, trainable=1, regularizer=LwF(0.5), max_epochs=1, random_state=0)
    >>> clf.fit(X[:50], y[:50]).predict(X[50:53]).shape
    (3,)
    """

    _parameter_constraints = {
        "alpha": [Interval(Real, 0, None, closed="left")],
        "temperature": [Interval(Real, 0, None, closed="neither")],
    }

    def __init__(self, alpha: float = 1.0, *, temperature: float = 2.0):
        self.alpha = alpha
        self.temperature = temperature

    def make_penalty(self) -> LwFPenalty:
        """Make what computes, for one training."""
        return LwFPenalty(self.alpha, self.temperature)
