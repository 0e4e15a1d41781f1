"""Numbers about domains and features, numpy only."""

from sktransfer.metrics._discrepancy import coral_distance, mmd_distance, proxy_a_distance
from sktransfer.metrics._distances import (
    class_conditional_distance,
    energy_distance,
    frechet_distance,
    wasserstein_distance,
)
from sktransfer.metrics._label_shift import class_proportions, label_shift_distance

__all__ = [
    "class_conditional_distance",
    "class_proportions",
    "coral_distance",
    "energy_distance",
    "frechet_distance",
    "label_shift_distance",
    "mmd_distance",
    "proxy_a_distance",
    "wasserstein_distance",
]
