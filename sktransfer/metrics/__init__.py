"""Numbers about domains and features, numpy only."""

from sktransfer.metrics._class_weights import (
    class_mean_products,
    class_weights_from_confusion,
    class_weights_from_means,
    cross_fit_confusion,
    predict_class_shares,
)
from sktransfer.metrics._discrepancy import coral_distance, mmd_distance, proxy_a_distance
from sktransfer.metrics._distances import (
    class_conditional_distance,
    energy_distance,
    frechet_distance,
    wasserstein_distance,
)
from sktransfer.metrics._evidence import logme_score
from sktransfer.metrics._label_free import (
    class_confusion_score,
    information_maximization_score,
    prediction_entropy_score,
    soft_neighborhood_density_score,
)
from sktransfer.metrics._label_shift import class_proportions, label_shift_distance
from sktransfer.metrics._relational import leep_score, nce_score, nleep_score, parc_score
from sktransfer.metrics._transfer_evidence import (
    evidence_of_models,
    fell_back_message,
    neighborhood_agreement_score,
    return_accuracy_score,
    transfer_evidence,
)
from sktransfer.metrics._transferability import gbc_score, h_score, sfda_score, transrate_score

__all__ = [
    "class_conditional_distance",
    "class_confusion_score",
    "class_mean_products",
    "class_proportions",
    "class_weights_from_confusion",
    "class_weights_from_means",
    "coral_distance",
    "cross_fit_confusion",
    "energy_distance",
    "evidence_of_models",
    "fell_back_message",
    "frechet_distance",
    "gbc_score",
    "h_score",
    "information_maximization_score",
    "label_shift_distance",
    "leep_score",
    "logme_score",
    "mmd_distance",
    "nce_score",
    "neighborhood_agreement_score",
    "nleep_score",
    "parc_score",
    "predict_class_shares",
    "prediction_entropy_score",
    "proxy_a_distance",
    "return_accuracy_score",
    "sfda_score",
    "soft_neighborhood_density_score",
    "transfer_evidence",
    "transrate_score",
    "wasserstein_distance",
]
