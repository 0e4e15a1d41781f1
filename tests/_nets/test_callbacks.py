"""Callbacks, called by hand: nothing trains here."""

from types import SimpleNamespace

import pytest
from skorch.history import History

from sktransfer._nets._callbacks import DivergenceGuard, EpochBar


def net_after(*epochs, max_epochs=3):
    history = History()
    for number, losses in enumerate(epochs, start=1):
        history.new_epoch()
        for key, value in {"epoch": number, **losses}.items():
            history.record(key, value)
    return SimpleNamespace(history=history, max_epochs=max_epochs, lr=0.5)


class TestEpochBar:
    def last_words(self, capsys, *epochs):
        bar = EpochBar()
        bar.on_train_begin(net_after())
        for i in range(len(epochs)):
            bar.on_epoch_end(net_after(*epochs[: i + 1]))
        bar.on_train_end(net_after(*epochs))
        out, err = capsys.readouterr()
        assert out == ""
        assert vars(bar) == {}
        return err.rpartition("\r")[2]

    def test_counts_epochs_and_shows_the_losses_of_the_last(self, capsys):
        words = self.last_words(capsys, {"train_loss": 2.0, "valid_loss": 3.0}, {"train_loss": 0.5, "valid_loss": 0.25})
        for expected in ("epochs", "2/3", "train_loss=0.5000", "valid_loss=0.2500"):
            assert expected in words

    def test_shows_no_validation_loss_where_there_is_none(self, capsys):
        assert "valid_loss" not in self.last_words(capsys, {"train_loss": 2.0})


class TestDivergenceGuard:
    @pytest.mark.parametrize("loss", [float("nan"), float("inf"), float("-inf")])
    def test_a_loss_that_is_no_number_ends_the_training(self, loss):
        net = net_after({"train_loss": 1.0}, {"train_loss": loss})
        with pytest.raises(RuntimeError, match=rf"the loss of epoch 2 is {loss} at lr=0\.5\. Pass a smaller lr"):
            DivergenceGuard().on_epoch_end(net)

    @pytest.mark.parametrize("loss", [0.0, -1.0, 1e30])
    def test_any_number_passes(self, loss):
        DivergenceGuard().on_epoch_end(net_after({"train_loss": float("nan")}, {"train_loss": loss}))
