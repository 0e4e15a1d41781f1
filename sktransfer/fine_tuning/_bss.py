"""Batch spectral shrinkage: small singular values of features are given up."""

from numbers import Integral, Real

import torch

from sktransfer._nets import Penalty
from sktransfer.fine_tuning._near_source import exact, precise
from sktransfer.fine_tuning._regularizers import Regularizer
from sktransfer.utils._compat import Interval

__all__ = ["BSS", "BSSPenalty", "bss_penalty"]


def bss_penalty(features: torch.Tensor, n_singular_values: int = 1) -> torch.Tensor:
    """Batch spectral shrinkage [1]_: sum of the squares of the k smallest singular values of a batch of features.

    Parameters
    ----------
    features : torch.Tensor of shape (n, d)
    n_singular_values : int, default=1
        The k; at most min(n, d) count.

    Returns
    -------
    torch.Tensor of shape ()
        Its gradient is finite where singular values coincide, too.

    References
    ----------
    .. [1] Chen, X. et al. "Catastrophic Forgetting Meets Negative Transfer: Batch Spectral Shrinkage for Safe Transfer
       Learning", NeurIPS 2019.
    """
    features = precise(features)
    constant = features.detach()
    if not torch.isfinite(constant).all():
        return features.square().sum()  # no number either: whoever watches the loss says what happened
    with exact(features):
        # Ky Fan: the sum is min ||U'F||^2 over U with k orthonormal columns, attained at the last left singular
        # vectors. At a minimum the change of U does not count, so U may be taken as constant: the gradient 2 UU'F
        # never divides by differences of singular values.
        left = torch.linalg.svd(constant, full_matrices=False).U[:, -n_singular_values:]
        return (left.T @ features).square().sum()


class BSSPenalty(Penalty):
    """alpha times the k smallest squared singular values of the features of a batch."""

    def __init__(self, alpha: float, n_singular_values: int):
        self.alpha = alpha
        self.n_singular_values = n_singular_values

    def __call__(self, module, inputs, outputs, rows):
        """Compute the penalty of a batch; 0 where features do not learn."""
        if module.entry is None:
            return super().__call__(module, inputs, outputs, rows)
        return self.alpha * bss_penalty(outputs.features, self.n_singular_values)


class BSS(Regularizer):
    """Batch spectral shrinkage: give up what transfers badly [1]_.

    Adds alpha sum s_i^2 over the k smallest singular values s_i of the matrix of features of each batch, the directions
    that fine-tuning on few pictures fits to noise. It does not pull to the source, and is often combined with a low
    learning rate that does.

    Parameters
    ----------
    alpha : float, default=0.001
        Weight, as in [1]_.
    n_singular_values : int, default=1
        The k; [1]_ finds 1 enough.

    References
    ----------
    .. [1] Chen, X. et al. "Catastrophic Forgetting Meets Negative Transfer: Batch Spectral Shrinkage for Safe Transfer
       Learning", NeurIPS 2019.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sktransfer.fine_tuning import BSS, FineTunedClassifier
    >>> X, y = load_digits(return_X_y=True)
    >>> clf = FineTunedClassifier("sktransfer_mini", trainable=1, regularizer=BSS(), max_epochs=1, random_state=0)
    >>> clf.fit(X[:50], y[:50]).predict(X[50:53]).shape
    (3,)
    """

    _parameter_constraints = {
        "alpha": [Interval(Real, 0, None, closed="left")],
        "n_singular_values": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(self, alpha: float = 1e-3, *, n_singular_values: int = 1):
        self.alpha = alpha
        self.n_singular_values = n_singular_values

    def make_penalty(self) -> BSSPenalty:
        """Make what computes, for one training."""
        return BSSPenalty(self.alpha, self.n_singular_values)
