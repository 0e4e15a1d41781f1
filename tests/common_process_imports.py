"""What every process of :mod:`common_process` has imported before it is forked: all but timm, which some look for."""

import skorch  # noqa: F401
import torch

import sktransfer._nets
import sktransfer.feature_extraction
import sktransfer.fine_tuning  # noqa: F401

torch.set_num_threads(1)
