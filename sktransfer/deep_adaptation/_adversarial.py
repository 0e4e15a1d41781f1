"""What adversarial methods share: a way of training, statistics of each domain, and steps that look uphill."""

from __future__ import annotations

from numbers import Real
from typing import TYPE_CHECKING, Any

from sktransfer._nets import Recipe
from sktransfer.deep_adaptation._base import _BaseDeepAdapted
from sktransfer.utils._compat import Interval, StrOptions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sktransfer.backbones import Backbone

__all__ = ["ADVERSARIAL", "AdversarialMixin"]

ADVERSARIAL: dict[str, Any] = {
    "statistics": [StrOptions({"separate", "shared"})],
    "smoothness": [Interval(Real, 0, None, closed="left")],
}
_SHARE_OF_RATE = 0.1  # of pretrained stages, as in [1]_


class AdversarialMixin(_BaseDeepAdapted):
    """Left of a base of methods; the class has the parameters `statistics` and `smoothness`.

    With ``recipe="auto"`` it trains as its authors do: by momentum, at a rate that falls with the share of the training
    that is over [1]_, and for as many steps as an adversary needs. Adaptive steps, which take no notice of how small a
    gradient is, let discriminator and features run around each other.

    References
    ----------
    .. [1] Ganin, Y. et al. "Domain-Adversarial Training of Neural Networks", JMLR 17, 2016.
    """

    _auto: Mapping[str, Any] = {"optimizer": "sgd", "lr": 0.01, "schedule": "inverse", "weight_decay": 1e-3}
    _fewest_steps = 1500

    def _alignment_options(self):
        options = super()._alignment_options()
        return {**options, "apart": self.statistics == "separate", "smoothness": self.smoothness}

    def _suit_recipe(self, backbone: Backbone, **options: Any) -> None:
        """Take the rates of what was pretrained; a transformer for texts learns by adaptive steps."""
        recipe = self.recipe_
        if self._auto and self.recipe == "auto" and recipe.trainable != "head":
            if hasattr(backbone.module, "tuning_lr"):
                plain = Recipe()
                unsaid = [name for name in self._auto if getattr(self, name, None) is None]
                recipe.set_params(**{name: getattr(plain, name) for name in unsaid})
            elif self.lr is None and not backbone.is_own and not self._is_random:
                recipe.set_params(lr=_SHARE_OF_RATE * recipe.lr, head_lr_factor=1 / _SHARE_OF_RATE)
        super()._suit_recipe(backbone, **options)
