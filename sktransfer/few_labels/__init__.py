"""Few labels: class prototypes refined on rows without a label, and which rows to label."""

from sktransfer.few_labels._prototypes import PrototypeClassifier
from sktransfer.few_labels._selection import select_for_labeling

__all__ = ["PrototypeClassifier", "select_for_labeling"]
