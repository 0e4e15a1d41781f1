"""Frozen features of pretrained networks."""

from sktransfer.feature_extraction._export import export_onnx
from sktransfer.feature_extraction._extractor import PretrainedFeatureExtractor

__all__ = ["PretrainedFeatureExtractor", "export_onnx"]
