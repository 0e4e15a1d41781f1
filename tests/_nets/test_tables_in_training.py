"""Tables: no network, but for the new layers."""

import numpy as np
import pytest
import torch
from common_nets import N_CLASSES, training
from sklearn.base import BaseEstimator

from sktransfer._nets import Targets, TunedModule, WeightedLoss, cross_entropy, plan_training, train_network
from sktransfer.backbones import columns_as_features
from sktransfer.modalities import Tables
from sktransfer.utils._random import isolated_rng


def opened(X):
    return Tables().open(BaseEstimator(), X, reset=True)


class TestTable:
    def test_only_the_head_can_learn(self):
        plan = plan_training(columns_as_features(3), "head")
        module = TunedModule(columns_as_features(3), plan, 2, neck=(4,))
        assert {name.split(".")[0] for name, p in module.named_parameters() if p.requires_grad} == {"neck", "head"}
        assert module.eval()(torch.ones(5, 3)).scores.shape == (5, 2)
        for trainable in (1, "norm", ["layer1"]):
            with pytest.raises(ValueError, match="table"):
                plan_training(columns_as_features(3), trainable)

    @pytest.mark.parametrize("bottleneck", [None, 8])
    def test_a_head_learns_classes_from_columns(self, bottleneck):
        y = np.random.default_rng(0).integers(0, N_CLASSES, 60)
        X = np.eye(N_CLASSES)[y] + np.random.default_rng(1).normal(scale=0.1, size=(60, N_CLASSES))
        with isolated_rng(0):
            trained = train_network(
                columns_as_features(N_CLASSES),
                (opened(X), Targets(y, np.ones(60))),
                None,
                training(max_epochs=20, bottleneck=bottleneck),
                n_outputs=N_CLASSES,
                criterion=WeightedLoss(cross_entropy),
                frozen_features=lambda rows, start: Tables().columns(rows),
            )
        scores = trained.net.run(X.astype(np.float32), torch.device("cpu"), None)
        assert (scores.argmax(1) == y).mean() > 0.95
