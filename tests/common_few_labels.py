"""Estimators of few labels for scikit-learn's checks, which give a label for every row."""

from sktransfer.few_labels import PrototypeClassifier

ESTIMATORS = [
    PrototypeClassifier(),
    PrototypeClassifier(mixture=1.0, temperature=10.0, n_prototypes=2, n_components=2, prior="estimated"),
]

__all__ = ["ESTIMATORS"]
