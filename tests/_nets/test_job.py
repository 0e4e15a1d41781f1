"""One training: checkpoints of real estimators, killed and gone on with."""

import errno
import os
import pickle
import signal

import numpy as np
import pytest
import torch
from common_process import run_code
from common_recipe import with_recipe
from skorch.callbacks import Callback

from sktransfer import FineTunedClassifier, FineTunedRegressor, Recipe
from sktransfer.utils import _files

TINY = {"backbone": "test_resnet", "weights": None, "image_size": 32, "random_state": 0, "max_epochs": 4}


@pytest.fixture(scope="module")
def few(digits):
    X, y = digits
    return X[:60], y[:60]


KILLED = """
    import os, signal
    from skorch.callbacks import Callback
    from sklearn.datasets import load_digits
    from sktransfer import FineTunedClassifier, Recipe

    class Kill(Callback):
        def on_batch_end(self, net, training=False, **kwargs):
            epoch, batches = net.history[-1, "epoch"], len(net.history[-1, "batches"])
            if training and (epoch, batches) == {moment}:
                os.kill(os.getpid(), signal.SIGKILL)

    X, y = load_digits(return_X_y=True)
    clf = FineTunedClassifier(**{options}, checkpoint_dir={folder!r}, callbacks=[Kill()] if {kill} else None)
    clf.fit(X[:60], y[:60])
    clf.save({model!r})
"""


@pytest.mark.parametrize(
    "options",
    [
        {"trainable": "all", "augment": "light", "mixup": 0.4, "schedule": "cosine"},
        {"trainable": 2, "probe_epochs": 1, "early_stopping": True, "validation_fraction": 0.3, "ema_decay": 0.9},
    ],
)
@pytest.mark.parametrize("moment", [(1, 1), (3, 2)])
def test_killed_in_the_middle_of_an_epoch_and_called_again(few, tmp_path, options, moment):
    options = with_recipe(**{**TINY, **options})

    def run(kill):
        folders = {"folder": str(tmp_path / "run"), "model": str(tmp_path / "model")}
        return run_code(KILLED.format(moment=moment, options=options, kill=kill, **folders))

    assert run(kill=True)[0] == -signal.SIGKILL
    assert (tmp_path / "run" / "checkpoint.pt").exists() == (moment[0] > 1)
    code, _, error = run(kill=False)
    assert code == 0, error
    resumed = FineTunedClassifier.load(tmp_path / "model")
    unbroken = FineTunedClassifier(**options).fit(*few)
    np.testing.assert_array_equal(resumed.predict_proba(few[0]), unbroken.predict_proba(few[0]))
    drop = {"dur"}
    assert [{k: v for k, v in row.items() if k not in drop} for row in resumed.history_] == [
        {k: v for k, v in row.items() if k not in drop} for row in unbroken.history_
    ]


def test_without_a_seed_the_checkpoint_has_it(few, tmp_path):
    class Stop(Callback):
        def on_epoch_begin(self, net, **kwargs):
            if net.history[-1, "epoch"] == 3:
                raise RuntimeError("power cut")

    options = {**TINY, "random_state": None, "trainable": 1, "early_stopping": True, "validation_fraction": 0.3}
    with pytest.raises(RuntimeError, match="power cut"):
        FineTunedClassifier(**options, checkpoint_dir=tmp_path, callbacks=[Stop()]).fit(*few)
    saved = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    resumed = FineTunedClassifier(**options, checkpoint_dir=tmp_path).fit(*few)
    assert [row["train_loss"] for row in resumed.history_[:2]] == [row["train_loss"] for row in saved["history"]]
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["seed"] == saved["seed"]


def test_finished_training_gives_its_result_at_once(few, tmp_path, monkeypatch):
    from sktransfer._nets import TransferNet

    options = {**TINY, "trainable": 1, "checkpoint_dir": tmp_path, "early_stopping": True, "validation_fraction": 0.3}
    first = FineTunedClassifier(**options).fit(*few)
    monkeypatch.setattr(TransferNet, "train_step", lambda *args, **kwargs: pytest.fail("trained again"))
    again = FineTunedClassifier(**options).fit(*few)
    np.testing.assert_array_equal(again.predict_proba(few[0]), first.predict_proba(few[0]))
    assert again.history_ == first.history_


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"lr": 0.5}, "lr: 0.001 there, 0.5 now"),
        ({"trainable": "head"}, "trainable"),
        ({"batch_size": 9}, "batch_size"),
        ({"regularizer": "l2-sp"}, "regularizer"),
        ({"backbone": "test_resnet.other"}, None),
        ({"image_size": 64}, "image_size"),
    ],
)
def test_folder_of_another_training_is_refused_and_left_alone(few, tmp_path, change, named):
    if named is None:
        change, named = {"weights": None, "random_state": 3, "recipe": Recipe(batch_norm="frozen")}, "batch_norm"
    FineTunedClassifier(**TINY, trainable=1, checkpoint_dir=tmp_path).fit(*few)
    before = (tmp_path / "checkpoint.pt").read_bytes()
    with pytest.raises(ValueError, match=f"belongs to another training .*{named}"):
        FineTunedClassifier(**{**TINY, "trainable": 1, **change}, checkpoint_dir=tmp_path).fit(*few)
    assert (tmp_path / "checkpoint.pt").read_bytes() == before


def test_a_longer_training_goes_on_unless_its_schedule_depends_on_the_length(few, tmp_path):
    options = {**TINY, "trainable": 1}
    FineTunedClassifier(**options, checkpoint_dir=tmp_path / "a").fit(*few)
    more = {**options, "max_epochs": options["max_epochs"] + 2}
    longer = FineTunedClassifier(**more, checkpoint_dir=tmp_path / "a").fit(*few)
    np.testing.assert_array_equal(
        longer.predict_proba(few[0]), FineTunedClassifier(**more).fit(*few).predict_proba(few[0])
    )
    FineTunedClassifier(**options, recipe=Recipe(schedule="cosine"), checkpoint_dir=tmp_path / "b").fit(*few)
    with pytest.raises(ValueError, match="cannot go on as one of max_epochs"):
        FineTunedClassifier(**more, recipe=Recipe(schedule="cosine"), checkpoint_dir=tmp_path / "b").fit(*few)


def test_other_data_or_another_kind_of_estimator_are_another_training(few, tmp_path):
    X, y = few
    FineTunedClassifier(**TINY, checkpoint_dir=tmp_path).fit(X, y)
    with pytest.raises(ValueError, match="training data"):
        FineTunedClassifier(**TINY, checkpoint_dir=tmp_path).fit(X, y[::-1])
    with pytest.raises(ValueError, match="training data"):
        FineTunedClassifier(**TINY, checkpoint_dir=tmp_path).fit(X, y, sample_weight=np.arange(60))
    with pytest.raises(ValueError, match="estimator: FineTunedClassifier there, FineTunedRegressor now"):
        FineTunedRegressor(**TINY, checkpoint_dir=tmp_path).fit(X, y)


def test_full_disk_loses_no_earlier_checkpoint(few, tmp_path, monkeypatch):
    options = {**TINY, "trainable": 1, "checkpoint_dir": tmp_path}
    real, writes = os.fsync, []

    def fsync(descriptor):
        writes.append(descriptor)
        if len(writes) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(descriptor)

    monkeypatch.setattr(_files.os, "fsync", fsync)
    with pytest.raises(OSError, match=r"could not be written after epoch 3 .*The checkpoint before it is unharmed"):
        FineTunedClassifier(**options).fit(*few)
    assert [file.name for file in tmp_path.iterdir()] == ["checkpoint.pt"]
    monkeypatch.undo()
    resumed = FineTunedClassifier(**options).fit(*few)
    unbroken = FineTunedClassifier(**{**options, "checkpoint_dir": None}).fit(*few)
    np.testing.assert_array_equal(resumed.predict_proba(few[0]), unbroken.predict_proba(few[0]))


def test_folder_that_cannot_be_made_is_named(few, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"checkpoint_dir=.*file' cannot be made: File exists"):
        FineTunedClassifier(**TINY, checkpoint_dir=tmp_path / "file").fit(*few)


def test_damaged_checkpoint_is_named(few, tmp_path):
    (tmp_path / "checkpoint.pt").write_bytes(b"nonsense")
    with pytest.raises(ValueError, match=r"cannot be read.*Move it away"):
        FineTunedClassifier(**TINY, checkpoint_dir=tmp_path).fit(*few)
    assert (tmp_path / "checkpoint.pt").read_bytes() == b"nonsense"


def test_checkpoint_runs_no_code(few, tmp_path):
    class Bomb:
        def __reduce__(self):
            return pytest.fail, ("ran",)

    (tmp_path / "checkpoint.pt").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(ValueError, match="cannot be read"):
        FineTunedClassifier(**TINY, checkpoint_dir=tmp_path).fit(*few)


def test_balanced_weights_and_sampling_help_the_rare_class(digits):
    from sklearn.metrics import balanced_accuracy_score
    from sklearn.utils import resample

    X, y = digits
    is_eight = (y == 8).astype(int)
    rare = np.flatnonzero(is_eight)[:15]
    rows = np.concatenate([np.flatnonzero(is_eight == 0)[:300], rare])  # 20 to 1
    rest = np.setdiff1d(np.arange(len(X)), rows)
    test = np.concatenate(
        [resample(rest[is_eight[rest] == label], n_samples=100, replace=False, random_state=0) for label in (0, 1)]
    )

    def score(**options):
        clf = FineTunedClassifier("sktransfer_mini", max_epochs=3, random_state=0, **options)
        return balanced_accuracy_score(is_eight[test], clf.fit(X[rows], is_eight[rows]).predict(X[test]))

    plain = score()
    assert score(class_weight="balanced") > plain + 0.05
    assert score(sampler="balanced") > plain + 0.05


def test_own_source_model_brings_its_classifier(few):
    pytest.importorskip("sktransfer")
    X, y = few
    source = FineTunedClassifier("sktransfer_mini", max_epochs=3, random_state=0).fit(X, y % 3)
    clf = FineTunedClassifier(source, trainable=1, regularizer="co-tuning", max_epochs=2, random_state=0).fit(X, y)
    relation = clf.regularizer_.relation_
    assert relation.shape == (10, 3)
    np.testing.assert_allclose(relation.sum(1), 1, rtol=1e-5)
    proba = source.predict_proba(X)
    expected = np.array([proba[y == label].mean(0) for label in range(10)])
    np.testing.assert_allclose(relation, expected, atol=1e-4)
