"""What penalties share."""

import pytest
import torch
from common_penalties import attached, backbone_of
from torch import nn

from sktransfer.fine_tuning import CoTuning, LwF
from sktransfer.fine_tuning._near_source import copy_classifier


class TestSourceClassifier:
    @pytest.mark.parametrize(("name", "cls"), [("lwf", LwF), ("co-tuning", CoTuning)])
    def test_weights_without_one(self, name, cls):
        backbone = backbone_of("test_resnet", has_source_classifier=False)
        message = rf"regularizer='{name}' needs the classifier.*test_resnet came without one\. Pass a backbone.*'rkd'"
        with pytest.raises(ValueError, match=message):
            attached(cls().make_penalty(), backbone, 1)

    @pytest.mark.parametrize(
        ("classifier", "found"),
        [(nn.Sequential(nn.ReLU()), "a Sequential"), (nn.Linear(3, 4), "on 3 inputs")],
    )
    def test_one_that_cannot_be_copied(self, classifier, found, monkeypatch):
        backbone = backbone_of("test_resnet")
        monkeypatch.setattr(backbone.module, "get_classifier", lambda: classifier, raising=True)
        with pytest.raises(ValueError, match=rf"that of test_resnet is {found}\. Pass another backbone"):
            copy_classifier(backbone, "lwf")

    def test_copy_learns_and_leaves_the_backbone_alone(self, backbone):
        own = backbone.module.get_classifier()
        copied = copy_classifier(backbone, "lwf")
        torch.testing.assert_close(copied.weight, own.weight, check_stride=False)
        assert copied.weight.requires_grad
        assert copied.weight.data_ptr() != own.weight.data_ptr()
