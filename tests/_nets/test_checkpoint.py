"""A training that is cut off goes on as if it had not been."""

import errno
import os
import signal
from pathlib import Path

import pytest
import torch
from common_nets import assert_same_bits, phased, pictures, state, targets, tiny_backbone, train
from common_process import run_code
from skorch.callbacks import Callback

from sktransfer._nets import Checkpoint, WeightedLoss, cross_entropy

IDENTITY = {"lr": "0.1", "training data": "abc"}


class Killed(BaseException):
    """Stands for the end of the process: nothing of ours handles it."""


class KillAt(Callback):
    """Ends everything at a training step, counted from 1, or at the beginning of an epoch."""

    def __init__(self, step=None, epoch=None):
        self.step = step
        self.epoch = epoch
        self.seen = 0

    def on_epoch_begin(self, net, **kwargs):
        if net.history[-1, "epoch"] == self.epoch:
            raise Killed

    def on_batch_end(self, net, training=False, **kwargs):
        self.seen += training
        if self.seen == self.step:
            raise Killed


def checkpoint(folder, *, seed=5, identity=IDENTITY, n_epochs=3, **options):
    made = Checkpoint(folder)
    made.begin(seed, identity, n_epochs=n_epochs, **options)
    return made


def fit(folder=None, kill=None, **changes):
    backbone = tiny_backbone(dropout=0.4)
    return train(
        backbone,
        data=phased(backbone, pictures(), targets()),
        valid=phased(backbone, pictures(9, 1), targets(9, 1)),
        hand={
            "checkpoint": None if folder is None else checkpoint(folder),
            "callbacks": [] if kill is None else [kill],
        },
        **{"trainable": "all", **changes},
    )[0]


def history(net):
    return [
        {key: row[key] for key in ("epoch", "event_phase", "trained_parameters", "train_loss", "valid_loss", "lr")}
        for row in net.history
    ]


def assert_same_training(net, unbroken):
    assert history(net) == history(unbroken)
    assert_same_bits(state(net.module_), state(unbroken.module_))
    assert net.lr == unbroken.lr


def loud(scores, values):
    """Gradients too large for float16 at its first scale: several steps are left out until the scale fits."""
    return 100 * cross_entropy(scores, values)


TRAININGS = {
    "plain": {"max_epochs": 3},
    "adamw": {"max_epochs": 3, "optimizer": "adamw", "weight_decay": 0.1, "schedule": "cosine", "warmup_epochs": 1},
    "average": {"max_epochs": 3, "ema_decay": 0.6},
    "early stopping": {"max_epochs": 6, "early_stopping": True, "n_iter_no_change": 2, "lr": 0.5},
    "probe": {"probe_epochs": 2, "max_epochs": 2, "layer_decay": 0.5},
    "unfreezing": {"unfreeze_every": 1, "max_epochs": 5, "optimizer": "adamw"},
    "probe and unfreezing": {"probe_epochs": 1, "unfreeze_every": 1, "max_epochs": 4, "optimizer": "adamw"},
    "range test": {"lr": "auto", "max_epochs": 2},
    "low rank": {"trainable": "lora", "max_epochs": 3},
    "float16": {
        "precision": "float16",
        "optimizer": "adamw",
        "max_epochs": 4,
        "lr": 0.001,
        "criterion": WeightedLoss(loud),
    },
    "everything": {
        "probe_epochs": 2,
        "max_epochs": 5,
        "optimizer": "adamw",
        "ema_decay": 0.6,
        "early_stopping": True,
        "n_iter_no_change": 3,
        "schedule": "one_cycle",
        "layer_decay": 0.5,
        "max_grad_norm": 0.5,
        "batch_norm": "frozen",
    },
}


class TestGoingOn:
    @pytest.mark.parametrize("changes", TRAININGS.values(), ids=TRAININGS)
    def test_from_every_epoch_to_the_same_weights_and_history(self, changes, tmp_path):
        unbroken = fit(**changes)
        for epoch in range(1, len(unbroken.history) + 1):
            folder = tmp_path / str(epoch)
            with pytest.raises(Killed):
                fit(folder, KillAt(step=3 * epoch - 1), **changes)  # in the middle of the epoch, which has 3 steps
            assert_same_training(fit(folder, **changes), unbroken)

    @pytest.mark.parametrize("name", ["plain", "average", "probe"])
    def test_after_one_end_in_each_epoch(self, name, tmp_path):
        changes = TRAININGS[name]
        unbroken = fit(**changes)
        for epoch in range(2, len(unbroken.history) + 1):
            with pytest.raises(Killed):
                fit(tmp_path, KillAt(epoch=epoch), **changes)
            assert Checkpoint(tmp_path).epochs_done == epoch - 1
        assert_same_training(fit(tmp_path, **changes), unbroken)

    def test_with_a_checkpoint_training_is_the_same(self, tmp_path):
        assert_same_training(fit(tmp_path), fit())

    def test_whatever_was_drawn_in_between_does_not_matter(self, tmp_path):
        with pytest.raises(Killed):
            fit(tmp_path, KillAt(epoch=3))
        assert_same_training(fit(tmp_path, seed=0), fit(seed=0))
        assert not torch.equal(fit(seed=1).module_.head.weight, fit(seed=0).module_.head.weight)

    @pytest.mark.parametrize("changes", [{}, {"ema_decay": 0.6, "probe_epochs": 1}, {"trainable": "lora"}], ids=str)
    def test_a_finished_training_returns_without_a_step(self, changes, tmp_path):
        first = fit(tmp_path, **changes)
        before = (tmp_path / "checkpoint.pt").read_bytes()
        nobody = KillAt(step=1)
        assert_same_training(fit(tmp_path, nobody, **changes), first)
        assert nobody.seen == 0
        assert (tmp_path / "checkpoint.pt").read_bytes() == before

    def test_a_training_that_was_stopped_early_is_finished(self, tmp_path):
        changes = {"early_stopping": True, "n_iter_no_change": 1, "lr": 0.5, "max_epochs": 30}
        first = fit(tmp_path, **changes)
        assert len(first.history) < 30
        assert_same_training(fit(tmp_path, KillAt(step=1), **changes), first)

    def test_a_finished_training_needs_no_range_test(self, tmp_path, monkeypatch):
        first = fit(tmp_path, lr="auto", max_epochs=1)

        def refuse(step):
            raise AssertionError("a range test of a finished training")

        monkeypatch.setattr("sktransfer._nets._net.range_test", refuse)
        assert fit(tmp_path, lr="auto", max_epochs=1).lr == first.lr

    def test_a_training_interrupted_by_its_user_goes_on(self, tmp_path):
        class Interrupt(KillAt):
            def on_batch_end(self, net, training=False, **kwargs):
                self.seen += training
                if self.seen == self.step:
                    raise KeyboardInterrupt

        fit(tmp_path, Interrupt(step=5))
        assert not Checkpoint(tmp_path).is_finished
        assert_same_training(fit(tmp_path), fit())


class TestLonger:
    @pytest.mark.parametrize("name", ["plain", "average", "probe", "range test", "early stopping", "float16"])
    def test_a_finished_training_goes_on_with_more_epochs_to_the_same_bits(self, name, tmp_path):
        changes = {**TRAININGS[name], "max_epochs": 2}
        if name == "early stopping":
            changes["n_iter_no_change"] = 9  # the best epoch is restored in the end, and training goes on from the last
        fit(tmp_path, **changes)
        assert Checkpoint(tmp_path).is_finished
        unbroken = fit(**{**changes, "max_epochs": 5})
        assert_same_training(fit(tmp_path, **{**changes, "max_epochs": 5}), unbroken)
        assert_same_training(fit(tmp_path, KillAt(step=1), **{**changes, "max_epochs": 5}), unbroken)

    def test_a_training_that_stopped_by_itself_has_no_more_epochs(self, tmp_path):
        changes = {"early_stopping": True, "n_iter_no_change": 1, "lr": 0.5, "max_epochs": 30}
        first = fit(tmp_path, **changes)
        assert_same_training(fit(tmp_path, KillAt(step=1), **{**changes, "max_epochs": 40}), first)

    def test_more_epochs_need_a_schedule_of_any_length(self, tmp_path):
        identity = {**IDENTITY, "max_epochs": "3"}
        longer = {**IDENTITY, "max_epochs": "5"}
        made = checkpoint(tmp_path, identity=identity)
        train(hand={"checkpoint": made}, max_epochs=3)
        with pytest.raises(ValueError, match=r"max_epochs=3, which cannot go on as one of max_epochs=5: its schedule"):
            checkpoint(tmp_path, identity=longer, n_epochs=5)
        assert checkpoint(tmp_path, identity=longer, n_epochs=5, is_of_any_length=True).epochs_left(5) == 2
        fewer = {**IDENTITY, "max_epochs": "2"}
        with pytest.raises(ValueError, match=r"has 3 epochs already, more than the 2 of max_epochs=2"):
            checkpoint(tmp_path, identity=fewer, n_epochs=2, is_of_any_length=True)
        with pytest.raises(ValueError, match="belongs to another training"):
            checkpoint(tmp_path, identity={**longer, "lr": "9"}, n_epochs=5, is_of_any_length=True)


class TestRefusals:
    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("identity", []),
            ("seed", "5"),
            ("finished", 1),
            ("history", {"epoch": 1}),
            ("history", [3]),
            ("history", []),
            ("weights", [1, 2]),
            ("weights", {"head.weight": 3}),
            ("result", "none"),
            ("lr", "fast"),
            ("curve", 7),
            (None, [1, 2, 3]),
            (None, torch.zeros(2)),
        ],
    )
    def test_parts_of_wrong_types_are_named(self, name, value, tmp_path):
        fit(tmp_path, max_epochs=1)
        path = tmp_path / "checkpoint.pt"
        saved = torch.load(path, weights_only=True)
        torch.save(value if name is None else {**saved, name: value}, path)
        with pytest.raises(ValueError, match=r"checkpoint\.pt cannot be read.+Move it away to begin anew"):
            Checkpoint(tmp_path)

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("weights", {"head.weight": torch.zeros(2)}),
            ("optimizer", {"state": {}, "param_groups": []}),
            ("optimizer", None),
            ("rng", {}),
            ("rng", None),
        ],
    )
    def test_a_state_that_does_not_fit_is_named(self, name, value, tmp_path):
        with pytest.raises(Killed):
            fit(tmp_path, KillAt(epoch=2))
        path = tmp_path / "checkpoint.pt"
        torch.save({**torch.load(path, weights_only=True), name: value}, path)
        with pytest.raises(ValueError, match=r"checkpoint\.pt does not hold the state of this training \("):
            fit(tmp_path)

    def test_another_training_is_refused_with_what_differs_and_the_file_left(self, tmp_path):
        fit(tmp_path, max_epochs=1)
        before = (tmp_path / "checkpoint.pt").read_bytes()
        other = {"lr": "0.2", "training data": "abc", "mixup": "0.5"}
        with pytest.raises(ValueError, match="belongs to another training") as caught:
            checkpoint(tmp_path, identity=other)
        message = str(caught.value)
        assert f"checkpoint_dir={str(tmp_path)!r}" in message
        assert "lr: 0.1 there, 0.2 now" in message
        assert "mixup: None there, 0.5 now" in message
        assert "training data" not in message
        assert "pass another folder, or delete it" in message
        assert (tmp_path / "checkpoint.pt").read_bytes() == before

    @pytest.mark.parametrize(
        "damage",
        [lambda whole: whole[: len(whole) // 2], lambda whole: b"", lambda whole: b"not a checkpoint"],
        ids=["cut off", "empty", "something else"],
    )
    def test_a_damaged_file_is_named_with_the_ways_out(self, damage, tmp_path):
        fit(tmp_path, max_epochs=1)
        path = tmp_path / "checkpoint.pt"
        path.write_bytes(damage(path.read_bytes()))
        with pytest.raises(ValueError, match=r"checkpoint\.pt cannot be read.+Move it away to begin anew") as e:
            Checkpoint(tmp_path)
        assert f"checkpoint_dir={str(tmp_path)!r}" in str(e.value)

    def test_a_file_of_someone_else_is_named_too(self, tmp_path):
        torch.save({"weights": torch.zeros(2)}, tmp_path / "checkpoint.pt")
        with pytest.raises(ValueError, match=r"checkpoint\.pt cannot be read"):
            checkpoint(tmp_path)

    def test_a_pickle_with_code_in_it_does_not_run(self, tmp_path):
        class Evil:
            def __reduce__(self):
                return Path.touch, (tmp_path / "touched",)

        torch.save({"identity": Evil()}, tmp_path / "checkpoint.pt")
        with pytest.raises(ValueError, match="cannot be read"):
            Checkpoint(tmp_path)
        assert not (tmp_path / "touched").exists()


class TestWriting:
    def test_folder_is_made_and_holds_one_file(self, tmp_path):
        folder = tmp_path / "a" / "b"
        fit(folder)
        assert [path.name for path in folder.iterdir()] == ["checkpoint.pt"]
        assert Checkpoint(folder).is_finished
        assert Checkpoint(folder).saved["seed"] == 5

    def no_space(self, *args, **kwargs):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def full_zip(self, *args, **kwargs):
        raise RuntimeError("[enforce fail at inline_container.cc:659] . unexpected pos 64 vs 0")

    @pytest.mark.parametrize(
        ("where", "failure"),
        [
            ("pathlib.Path.replace", "no_space"),
            ("torch.save", "no_space"),
            ("torch.save", "full_zip"),
            ("os.fsync", "no_space"),
        ],
    )
    def test_a_full_disk_is_named_and_the_checkpoint_before_still_loads(self, where, failure, tmp_path, monkeypatch):
        with pytest.raises(Killed):
            fit(tmp_path, KillAt(epoch=2))
        before = (tmp_path / "checkpoint.pt").read_bytes()
        with monkeypatch.context() as patch:
            patch.setattr(where, getattr(self, failure))
            with pytest.raises(
                OSError, match=r"could not be written after epoch 2 \(.+\)\. The checkpoint before"
            ) as e:
                fit(tmp_path)
        assert f"checkpoint_dir={str(tmp_path)!r}" in str(e.value)
        assert "make room and fit again" in str(e.value)
        assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.pt"]
        assert (tmp_path / "checkpoint.pt").read_bytes() == before
        assert_same_training(fit(tmp_path), fit())


SCRIPT = """
import os, signal, sys
sys.path.insert(0, {tests!r})
import torch
from skorch.callbacks import Callback
from test_checkpoint import fit, state


class Kill(Callback):
    seen = 0

    def on_batch_end(self, net, training=False, **kwargs):
        self.seen += training
        if self.seen == 8:
            os.kill(os.getpid(), signal.SIGKILL)


torch.set_num_threads(1)
fit({folder!r}, Kill(), ema_decay=0.6, probe_epochs=1)
"""


def test_a_killed_process_goes_on_to_the_same_weights(tmp_path):
    here = Path(__file__).resolve().parent
    script = SCRIPT.replace("{tests!r}", repr(str(here))).replace("{folder!r}", repr(str(tmp_path / "c")))
    code, _, error = run_code(script)
    assert code == -signal.SIGKILL, error
    assert Checkpoint(tmp_path / "c").epochs_done == 2
    changes = {"ema_decay": 0.6, "probe_epochs": 1}
    assert_same_training(fit(tmp_path / "c", **changes), fit(**changes))
