"""Fine-tuning pretrained networks."""

from sktransfer.fine_tuning._classifier import FineTunedClassifier

__all__ = ["FineTunedClassifier"]
