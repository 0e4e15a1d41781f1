"""Explanations, reports and plots."""

from sktransfer.inspection._coverage_display import CoverageDisplay
from sktransfer.inspection._domain_shift_display import DomainShiftDisplay
from sktransfer.inspection._grad_cam import grad_cam
from sktransfer.inspection._grad_cam_display import GradCAMDisplay
from sktransfer.inspection._label_efficiency_display import LabelEfficiencyDisplay
from sktransfer.inspection._learning_history import LearningHistoryDisplay
from sktransfer.inspection._negative_transfer import negative_transfer_report
from sktransfer.inspection._negative_transfer_display import NegativeTransferDisplay
from sktransfer.inspection._segmentation_display import SegmentationDisplay
from sktransfer.inspection._token_saliency import TokenSaliencyDisplay
from sktransfer.inspection._transferability_display import TransferabilityDisplay

__all__ = [
    "CoverageDisplay",
    "DomainShiftDisplay",
    "GradCAMDisplay",
    "LabelEfficiencyDisplay",
    "LearningHistoryDisplay",
    "NegativeTransferDisplay",
    "SegmentationDisplay",
    "TokenSaliencyDisplay",
    "TransferabilityDisplay",
    "grad_cam",
    "negative_transfer_report",
]
