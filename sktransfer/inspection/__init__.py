"""Explanations, reports and plots."""

from sktransfer.inspection._learning_history import LearningHistoryDisplay

__all__ = ["LearningHistoryDisplay"]
