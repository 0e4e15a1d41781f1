"""Unpickling in a process that has run no other code of the package."""

import pickle

from common_process import run_code

from sktransfer import PretrainedFeatureExtractor
from sktransfer.backbones._timm import create_timm_model
from sktransfer.utils._persistence import NetworkPreamble
from sktransfer.utils._random import isolated_rng


def test_preamble_leaves_nothing_behind():
    assert pickle.loads(pickle.dumps(NetworkPreamble())) is None


def test_a_bare_process_can_unpickle_an_estimator_with_a_network_of_timm(tmp_path):
    with isolated_rng(0):
        module = create_timm_model("test_resnet", pretrained=False)
    (tmp_path / "estimator").write_bytes(pickle.dumps(PretrainedFeatureExtractor(module)))
    code = f"""
        import pickle, sys
        assert not {{"timm", "torchvision"}} & set(sys.modules)
        print(pickle.load(open({str(tmp_path / "estimator")!r}, "rb")).backbone.num_classes)
    """
    assert run_code(code) == (0, "1000\n", "")
