"""Few labels: class prototypes refined on rows without a label, which rows to label, and which are twins."""

from sktransfer.few_labels._duplicates import duplicate_pairs
from sktransfer.few_labels._prototypes import PrototypeClassifier
from sktransfer.few_labels._selection import select_for_labeling
from sktransfer.few_labels._straddling import watch_twins

__all__ = ["PrototypeClassifier", "duplicate_pairs", "select_for_labeling", "watch_twins"]
