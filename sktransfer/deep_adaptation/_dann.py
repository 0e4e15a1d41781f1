"""Adversarial adaptation: features by which a discriminator cannot tell the domains apart."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import TYPE_CHECKING, Any

from sktransfer.deep_adaptation._alignment import Alignment, discriminator, domain_loss, reverse_gradient
from sktransfer.deep_adaptation._base import DeepClassifier, DeepRegressor
from sktransfer.utils._compat import Interval

if TYPE_CHECKING:
    from sklearn.base import BaseEstimator
    from torch import nn

__all__ = ["Adversary", "DANNClassifier", "DANNRegressor"]


class Adversary(Alignment):
    """A discriminator on the features, whose gradient reaches them reversed.

    Parameters
    ----------
    hidden : int or sequence of int
        Widths of its hidden layers.
    **options
        Of :class:`Alignment`.
    """

    def __init__(self, hidden: int | Sequence[int], **options: Any):
        super().__init__(**options)
        self.hidden = hidden

    def build(self, n_features, n_outputs):
        """Build the discriminator."""
        return discriminator(n_features, self.hidden)

    def align(self, part, source, target, strength, module):
        """Compute the discriminator's loss; it learns at full rate, the features against it by `strength`."""
        sides = (part(reverse_gradient(side.features, strength)) for side in (source, target))
        return domain_loss(*sides)


_HIDDEN = [Interval(Integral, 1, None, closed="left"), tuple, list]


class DANNClassifier(DeepClassifier):
    """Classify target samples by features that do not tell source and target apart (DANN).

    A discriminator learns to tell the domains by the features, and the features learn to classify the source and to
    fool the discriminator, through a layer that reverses its gradient [1]_.

    Parameters
    ----------
    [[backbone]]
    trade_off : float, default=0.1
        Factor of the reversed gradient at the features. Much greater ones mix up the classes as well as the domains.
    discriminator_hidden : int or sequence of int, default=(256, 256)
        Widths of the hidden layers of the discriminator.
    [[training]]

    Attributes
    ----------
    [[attributes]]

    See Also
    --------
    CDANClassifier : The discriminator sees the predicted classes too.
    DeepCORALClassifier : Aligns second moments instead of fooling a discriminator.

    References
    ----------
    .. [1] Ganin, Y. et al. "Domain-Adversarial Training of Neural Networks", JMLR 17, 2016.

    Examples
    --------
    >>> from sktransfer import DANNClassifier, make_domain_shift
    >>> X, y, sample_domain = make_domain_shift(100, 100, shift="covariate", random_state=0)
    >>> clf = DANNClassifier(None, bottleneck=32, max_epochs=5, random_state=0)
    >>> clf.fit(X, y, sample_domain=sample_domain).predict(X[:3]).shape
    (3,)
    """

    _parameter_constraints = {**DeepClassifier._parameter_constraints, "discriminator_hidden": _HIDDEN}

    def __init__(
        self,
        backbone: str | nn.Module | BaseEstimator | None = "resnet18",
        *,
        trade_off: float = 0.1,
        discriminator_hidden: int | Sequence[int] = (256, 256),
        **training: Any,
    ):
        super().__init__(backbone, trade_off=trade_off, **training)
        self.discriminator_hidden = discriminator_hidden

    def _alignment(self, **options):
        return Adversary(self.discriminator_hidden, **options)


class DANNRegressor(DeepRegressor):
    """Estimate numbers for target samples by features that do not tell source and target apart (DANN).

    Parameters
    ----------
    [[backbone]]
    discriminator_hidden : int or sequence of int, default=(256, 256)
        Widths of the hidden layers of the discriminator.
    [[training]]

    Attributes
    ----------
    [[attributes]]

    See Also
    --------
    DANNClassifier : The same for classes.

    References
    ----------
    .. [1] Ganin, Y. et al. "Domain-Adversarial Training of Neural Networks", JMLR 17, 2016.

    Examples
    --------
    >>> from sktransfer import DANNRegressor, make_domain_shift
    >>> X, y, sample_domain = make_domain_shift(100, 100, shift="covariate", random_state=0)
    >>> reg = DANNRegressor(None, bottleneck=32, max_epochs=5, random_state=0)
    >>> reg.fit(X, X[:, 0] - y, sample_domain=sample_domain).predict(X[:3]).shape
    (3,)
    """

    _parameter_constraints = {**DeepRegressor._parameter_constraints, "discriminator_hidden": _HIDDEN}

    def __init__(
        self,
        backbone: str | nn.Module | BaseEstimator | None = "resnet18",
        *,
        discriminator_hidden: int | Sequence[int] = (256, 256),
        **training: Any,
    ):
        super().__init__(backbone, **training)
        self.discriminator_hidden = discriminator_hidden

    def _alignment(self, **options):
        return Adversary(self.discriminator_hidden, **options)
