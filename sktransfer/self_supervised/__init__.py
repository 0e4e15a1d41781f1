"""Pretraining that goes on, on files without a label."""

from sktransfer.self_supervised._backbone import SelfSupervisedBackbone

__all__ = ["SelfSupervisedBackbone"]
