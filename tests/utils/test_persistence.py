"""Unpickling in a process that has run no other code of the package."""

import pickle
import subprocess
import sys

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
    code = "import pickle, sys; print(pickle.load(open(sys.argv[1], 'rb')).backbone.num_classes)"
    command = [sys.executable, "-c", code, tmp_path / "estimator"]
    assert subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout == "1000\n"
