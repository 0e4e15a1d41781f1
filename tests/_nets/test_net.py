"""The training engine against a loop written by hand."""

import pickle

import numpy as np
import pytest
import torch
from skorch.callbacks import Callback
from torch import nn

from sktransfer._nets._batches import BatchIterator, FeatureSet
from sktransfer._nets._net import train_net
from sktransfer.utils._device import isolated_rng

CPU = torch.device("cpu")


class Head(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Identity()
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        return self.head(self.body(x))


def data(n=30, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 4)).astype(np.float32)
    return FeatureSet(X, X[:, :3].argmax(1))


def train(train_set, valid=None, seed=0, **options):
    defaults = {
        "criterion": nn.CrossEntropyLoss(),
        "max_epochs": 3,
        "batch_size": 8,
        "lr": 0.1,
        "optimizer": "sgd",
        "weight_decay": 0.0,
        "device": CPU,
        "precision": "float32",
        "patience": None,
        "callbacks": (),
        "verbose": 0,
    }
    with isolated_rng(seed):
        return train_net(Head(), train_set, valid, **{**defaults, **options})


def test_weights_equal_those_of_a_plain_loop():
    net = train(data())
    with isolated_rng(0):
        module = Head().train()
        optimizer = torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9, nesterov=True)
        for _ in range(3):
            for x, y in BatchIterator(data(), 8, True):
                optimizer.zero_grad()
                nn.functional.cross_entropy(module(x), y).backward()
                optimizer.step()
    torch.testing.assert_close(net.module_.head.weight, module.head.weight)


def test_early_stopping_restores_the_weights_of_the_lowest_loss():
    net = train(data(20), data(200, seed=1), lr=3.0, max_epochs=40, patience=5)
    losses = net.history[:, "valid_loss"]
    assert len(losses) < 40 or min(losses) < losses[-1]
    scores = torch.from_numpy(net.scores(data(200, seed=1).features, CPU))
    loss = nn.functional.cross_entropy(scores, torch.from_numpy(data(200, seed=1).targets))
    assert float(loss) == pytest.approx(min(losses), rel=1e-5)


def test_divergence_is_an_error_that_names_the_epoch_and_the_way_out():
    with pytest.raises(RuntimeError, match=r"epoch \d+ is (nan|inf) at lr=1e\+38. Pass a smaller lr"):
        train(data(), lr=1e38, max_epochs=20)


def test_pickle_holds_one_copy_of_the_weights_and_nothing_of_the_data():
    class Wide(Head):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(4, 50_000)

    globals()["Wide"] = Wide
    Wide.__qualname__ = "Wide"
    with isolated_rng(0):
        net = train_net(
            Wide(),
            data(),
            data(),
            criterion=nn.CrossEntropyLoss(),
            max_epochs=1,
            batch_size=8,
            lr=0.1,
            optimizer="adamw",
            weight_decay=0.1,
            device=CPU,
            precision="float32",
            patience=None,
            callbacks=(),
            verbose=0,
        )
    payload = pickle.dumps(net)
    assert len(payload) < 1.2 * 4 * 5 * 50_000
    np.testing.assert_array_equal(pickle.loads(payload).scores(data().features, CPU), net.scores(data().features, CPU))


def test_callbacks_of_the_user_are_copied():
    class Count(Callback):
        seen = 0

        def on_epoch_end(self, net, **kwargs):
            self.seen += 1

    mine = Count()
    net = train(data(), callbacks=[mine])
    assert mine.seen == 0
    assert [c.seen for c in net.callbacks if isinstance(c, Count)] == [3]


def test_bar_shows_on_request_only(capsys):
    train(data())
    assert capsys.readouterr() == ("", "")
    train(data(), verbose=1)
    out, err = capsys.readouterr()
    assert out == ""
    assert "epochs" in err
    assert "3/3" in err


def test_scores_do_not_depend_on_the_rest_of_the_batch():
    net = train(data())
    X = data(23).features
    np.testing.assert_array_equal(net.scores(X, CPU)[5:7], net.scores(X[5:7], CPU))


def test_torchs_thread_count_is_left_alone():
    before = torch.get_num_threads()
    train(data())
    assert torch.get_num_threads() == before
