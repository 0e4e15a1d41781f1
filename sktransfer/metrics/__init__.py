"""Numbers about domains and features, numpy only."""

from sktransfer.metrics._discrepancy import coral_distance, mmd_distance, proxy_a_distance
from sktransfer.metrics._distances import (
    class_conditional_distance,
    energy_distance,
    frechet_distance,
    wasserstein_distance,
)
from sktransfer.metrics._evidence import logme_score
from sktransfer.metrics._label_shift import class_proportions, label_shift_distance
from sktransfer.metrics._relational import leep_score, nce_score, nleep_score, parc_score
from sktransfer.metrics._transferability import gbc_score, h_score, sfda_score, transrate_score

__all__ = [
    "class_conditional_distance",
    "class_proportions",
    "coral_distance",
    "energy_distance",
    "frechet_distance",
    "gbc_score",
    "h_score",
    "label_shift_distance",
    "leep_score",
    "logme_score",
    "mmd_distance",
    "nce_score",
    "nleep_score",
    "parc_score",
    "proxy_a_distance",
    "sfda_score",
    "transrate_score",
    "wasserstein_distance",
]
