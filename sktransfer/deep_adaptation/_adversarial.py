"""What adversarial methods share: a way of training, and the parameters that they have in common."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Real
from typing import TYPE_CHECKING, Any

from sktransfer._nets import Recipe
from sktransfer.utils._compat import Interval, StrOptions

if TYPE_CHECKING:
    from sktransfer.backbones import Backbone

__all__ = ["ADVERSARIAL", "AUTO", "FEWEST_STEPS", "suit_adversary"]

ADVERSARIAL: dict[str, Any] = {
    "statistics": [StrOptions({"separate", "shared"})],
    "smoothness": [Interval(Real, 0, None, closed="left")],
}
# By momentum, at a rate that falls with the share of the training that is over (Ganin, Y. et al. "Domain-Adversarial
# Training of Neural Networks", JMLR 17, 2016), and for as many steps as an adversary needs. Adaptive steps, which take
# no notice of how small a gradient is, let discriminator and features run around each other.
AUTO: Mapping[str, Any] = {"optimizer": "sgd", "lr": 0.01, "schedule": "inverse", "weight_decay": 1e-3}
FEWEST_STEPS = 1000
_SHARE_OF_RATE = 0.1  # of pretrained stages, as there


def suit_adversary(estimator: Any, backbone: Backbone) -> None:
    """Take the rates of what was pretrained; a transformer for texts learns by adaptive steps."""
    recipe = estimator.recipe_
    if estimator.recipe != "auto" or recipe.trainable == "head":
        return
    if hasattr(backbone.module, "tuning_lr"):
        plain = Recipe()
        unsaid = [name for name in AUTO if getattr(estimator, name, None) is None]
        recipe.set_params(**{name: getattr(plain, name) for name in unsaid})
    elif estimator.lr is None and not backbone.is_own and not estimator._is_random:
        recipe.set_params(lr=_SHARE_OF_RATE * recipe.lr, head_lr_factor=1 / _SHARE_OF_RATE)
