"""Few labels: class prototypes refined on rows without a label."""

from sktransfer.few_labels._prototypes import PrototypeClassifier

__all__ = ["PrototypeClassifier"]
