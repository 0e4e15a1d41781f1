"""Every callback of skorch works as in skorch, or is refused by name before anything is trained."""

import inspect
import pickle
import sys
from functools import partial
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import skorch.callbacks
import torch
from common_recipe import with_recipe
from sklearn.base import clone
from skorch.callbacks import (
    BatchScoring,
    Callback,
    Checkpoint,
    EarlyStopping,
    EpochScoring,
    EpochTimer,
    Freezer,
    GradientNormClipping,
    Initializer,
    InputShapeSetter,
    LoadInitState,
    LRScheduler,
    MlflowLogger,
    NeptuneLogger,
    ParamMapper,
    PassthroughScoring,
    PrintLog,
    ProgressBar,
    SacredLogger,
    TensorBoard,
    TrainEndCheckpoint,
    Unfreezer,
    WandbLogger,
)

from sktransfer import DANNClassifier, FineTunedClassifier, FineTunedRegressor, TENTClassifier, make_domain_shift

MINI = {"backbone": "sktransfer_mini", "max_epochs": 2, "batch_size": 16, "random_state": 0}


@pytest.fixture(scope="module")
def few(digits):
    X, y = digits
    return X[:40], np.array(["even", "odd"])[y[:40] % 2]


def fitted(few, *callbacks, kind=FineTunedClassifier, held_out=True, **options):
    """A model watched by `callbacks`, with 8 held-out pictures or none."""
    X, y = few
    valid = {"X_val": X[32:], "y_val": y[32:]} if held_out else {}
    return kind(**with_recipe(**{**MINI, **options}), callbacks=list(callbacks)).fit(X[:32], y[:32], **valid)


def unwatched(few, **options):
    return fitted(few, **options).predict_proba(few[0])


class Log:
    """Stands for the client of a logger: cannot be copied or pickled, and keeps what it is told."""

    def __init__(self, folder):
        self.said, self.dir, self.info = [], str(folder), SimpleNamespace(run_id="run")

    def __reduce__(self):
        raise TypeError("cannot pickle 'Log' object")

    def __getitem__(self, name):
        return self

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *args, **kwargs: self.said.append((name, args, kwargs))


def numbers_only(value):
    assert isinstance(value, (int, float)) and not isinstance(value, bool), value


def lr_scheduler(few, tmp_path):
    clf = fitted(few, LRScheduler("StepLR", step_size=1, gamma=0.1), max_epochs=3, lr=0.01)
    np.testing.assert_allclose([row["lr"] for row in clf.history_], [1e-2, 1e-3, 1e-4])
    np.testing.assert_allclose([row["event_lr"] for row in clf.history_], [1e-2, 1e-3, 1e-4])
    with pytest.raises(ValueError, match=r"LRScheduler sets the learning rate.*schedule='cosine'"):
        fitted(few, LRScheduler("StepLR", step_size=1), schedule="cosine")
    with pytest.raises(ValueError, match=r"LRScheduler.*warmup_epochs=1 and probe_epochs=1"):
        fitted(few, LRScheduler("StepLR", step_size=1), warmup_epochs=1, probe_epochs=1)
    by_step = fitted(few, LRScheduler("ExponentialLR", gamma=0.5, step_every="batch"), layer_decay=0.5, trainable=1)
    assert by_step.history_[-1]["lr"] == pytest.approx(1e-3 / 2**3)


def warm_restart(few, tmp_path):
    clf = fitted(few, LRScheduler(min_lr=0.001, max_lr=0.01, base_period=2), max_epochs=3)
    assert [row["lr"] for row in clf.history_] == pytest.approx([0.01, 0.0055, 0.001])
    with pytest.raises(TypeError, match=r"policy: pass LRScheduler\(policy='WarmRestartLR'\)"):
        fitted(few, skorch.callbacks.WarmRestartLR)


def epoch_scoring(few, tmp_path):
    X, y = few
    callbacks = [
        EpochScoring("accuracy", lower_is_better=False, name="acc"),
        EpochScoring("roc_auc", lower_is_better=False, on_train=True, name="train_auc"),
        EpochScoring("neg_log_loss", lower_is_better=False, use_caching=True, name="nll"),
        EpochScoring(None, lower_is_better=False, name="plain"),
    ]
    clf = fitted(few, *callbacks)
    last = clf.history_[-1]
    assert last["acc"] == last["plain"] == clf.score(X[32:], y[32:])
    assert last["nll"] == pytest.approx(-last["valid_loss"], rel=1e-5)
    assert 0 <= last["train_auc"] <= 1
    with pytest.raises(ValueError, match=r"EpochScoring scores held-out samples.*on_train=True"):
        fitted(few, EpochScoring("accuracy"), held_out=False)
    numbers = np.arange(40.0) * 10 + 500
    reg = fitted((X, numbers), EpochScoring("neg_mean_absolute_error", name="mae"), kind=FineTunedRegressor)
    assert -reg.history_[-1]["mae"] == pytest.approx(np.abs(reg.predict(X[32:]) - numbers[32:]).mean(), rel=1e-4)


def batch_scoring(few, tmp_path):
    X, y = few
    clf = fitted(few, BatchScoring("accuracy", name="a"), BatchScoring("accuracy", name="b", use_caching=False))
    assert clf.history_[-1]["a"] == clf.history_[-1]["b"] == clf.score(X[32:], y[32:])


def passthrough(few, tmp_path):
    clf = fitted(few, ("loss_again", PassthroughScoring("train_loss", on_train=True)), held_out=False)
    assert "train_loss" in clf.history_[-1]
    with pytest.raises(ValueError, match=r"PassthroughScoring looks for 'train_loss' .* on_train=True"):
        fitted(few, PassthroughScoring("train_loss"))


def tensor_board(few, tmp_path):
    log = Log(tmp_path)
    clf = fitted(few, TensorBoard(log))
    told = [kwargs for name, _, kwargs in log.said if name == "add_scalar"]
    assert {"Loss/train_loss", "Loss/valid_loss", "lr", "dur"} <= {scalar["tag"] for scalar in told}
    for scalar in told:
        numbers_only(scalar["scalar_value"])
    with pytest.warns(UserWarning, match="TensorBoard cannot be pickled"):
        again = pickle.loads(pickle.dumps(clf))
    np.testing.assert_array_equal(again.predict_proba(few[0]), clf.predict_proba(few[0]))
    clf.save(tmp_path / "model")
    again = FineTunedClassifier.load(tmp_path / "model")
    np.testing.assert_array_equal(again.predict_proba(few[0]), clf.predict_proba(few[0]))


def mlflow(few, tmp_path):
    log = Log(tmp_path)
    fitted(few, MlflowLogger(log, log, log_on_batch_end=True))
    metrics = [args for name, args, _ in log.said if name == "log_metric"]
    assert {"train_loss_epoch", "train_loss_batch", "valid_loss_epoch"} <= {args[1] for args in metrics}
    for args in metrics:
        numbers_only(args[2])
    assert len([name for name, *_ in log.said if name == "log_artifact"]) == 4


def wandb(few, tmp_path):
    log = Log(tmp_path)
    fitted(few, WandbLogger(log))
    assert (tmp_path / "best_model.pth").exists()
    logged = [args[0] for name, args, _ in log.said if name == "log"]
    assert len(logged) == 2
    for value in logged[-1].values():
        numbers_only(value)
    with pytest.raises(ValueError, match=r"WandbLogger saves the model .* save_model=False"):
        fitted(few, WandbLogger(log), held_out=False)
    fitted(few, WandbLogger(log, save_model=False), held_out=False)


def sacred(few, tmp_path):
    log = Log(tmp_path)
    fitted(few, SacredLogger(log, log_on_batch_end=True))
    names = {args[0] for _, args, _ in log.said}
    assert {"train_loss_epoch", "train_loss_batch"} <= names
    for _, args, _ in log.said:
        numbers_only(args[1])


def neptune(few, tmp_path):
    values = []

    class Run:
        def __getitem__(self, name):
            return self

        def __setitem__(self, name, value):
            values.append((name, value))

        def append(self, value):
            numbers_only(value)
            values.append(value)

    fitted(few, NeptuneLogger(Run(), close_after_train=False))
    assert ("model/model_type", "TunedModule") in values and len(values) > 10


def printed(few, tmp_path):
    lines = []
    fitted(few, PrintLog(sink=lines.append))
    assert "train_loss" in lines[0] and len(lines) == 4


def checkpoints(few, tmp_path):
    saver = Checkpoint(dirname=str(tmp_path / "best"), f_pickle="net.pkl", load_best=True)
    clf = fitted(few, saver, max_epochs=3, lr=0.5)
    best = int(np.argmin([row["valid_loss"] for row in clf.history_]))
    assert clf.history_[best]["event_cp"]
    state = torch.load(tmp_path / "best" / "params.pt", weights_only=True)
    assert torch.equal(state["head.weight"], clf.net_.module_.head.weight)
    with pytest.raises(ValueError, match=r"Checkpoint monitors 'valid_loss_best', but nothing is held out"):
        fitted(few, saver, held_out=False)
    fitted(few, Checkpoint(monitor="train_loss_best", dirname=str(tmp_path / "train")), held_out=False)


def end_and_init(few, tmp_path):
    end = TrainEndCheckpoint(dirname=str(tmp_path))
    load = LoadInitState(end)
    first = fitted(few, end, load)
    assert (tmp_path / "train_end_params.pt").exists()
    second = fitted(few, end, load)
    assert [row["epoch"] for row in second.history_] == [1, 2, 3, 4]
    assert second.history_[1]["train_loss"] == pytest.approx(first.history_[1]["train_loss"])
    with pytest.raises(ValueError, match=r"LoadInitState goes on .* schedule='cosine'"):
        fitted(few, end, load, schedule="cosine")


def early_stopping(few, tmp_path):
    clf = fitted(few, EarlyStopping(patience=1, load_best=True, sink=len), max_epochs=20, lr=1.0)
    assert clf.n_iter_ < 20
    with pytest.raises(ValueError, match=r"EarlyStopping monitors 'valid_loss', but nothing .*'train_loss'"):
        fitted(few, EarlyStopping(), held_out=False)
    with pytest.raises(ValueError, match=r"EarlyStopping does not go with checkpoint_dir.*early_stopping=True"):
        fitted(few, EarlyStopping(), checkpoint_dir=tmp_path)
    with pytest.raises(ValueError, match=r"EarlyStopping counts epochs.*partial_fit"):
        FineTunedClassifier(**MINI, callbacks=[EarlyStopping(monitor="train_loss")]).partial_fit(*few)


def freezer(few, tmp_path):
    clf = fitted(few, Freezer("body.*"), trainable=1, max_epochs=3)
    trained = fitted(few, trainable=1, max_epochs=3)
    frozen, source = (model.net_.module_.body.state_dict() for model in (clf, trained))
    before = clf.backbone_.module.state_dict()
    names = [name for name in frozen if name.removeprefix("model.") in clf.plan_.learns]
    assert names
    for name in names:
        assert torch.equal(frozen[name], before[name.removeprefix("model.")])
        assert not torch.equal(source[name], frozen[name])
    with pytest.raises(ValueError, match=r"callbacks \(Freezer\): nothing is left to learn in epoch 1"):
        fitted(few, Freezer("*"))
    with pytest.raises(ValueError, match=r"Freezer names 'layer4\*', which fits no parameter"):
        fitted(few, Freezer("layer4*"))
    with pytest.raises(ValueError, match=r"Freezer does not go with checkpoint_dir.*trainable"):
        fitted(few, Freezer("body.*"), trainable=1, checkpoint_dir=tmp_path)


def unfreezer(few, tmp_path):
    clf = fitted(few, Freezer("*"), Unfreezer("head.*"), trainable=1)
    kept = clf.backbone_.module.state_dict()
    for name, tensor in clf.net_.module_.body.model.named_parameters():
        assert torch.equal(tensor, kept[name])
    with pytest.raises(ValueError, match=r"Unfreezer names 'body.*trainable leaves it frozen"):
        fitted(few, Unfreezer("body.*"), trainable=["*.bias"])


def mapper(few, tmp_path):
    seen = []
    fitted(few, ParamMapper(["head.*"], fn=lambda p: seen.append(p.shape), at=2))
    assert len(seen) == 2
    with pytest.raises(ValueError, match=r"callbacks \(ParamMapper\): 'body.*' was unfrozen in epoch 2"):
        thaw = ParamMapper("body.*", fn=lambda p: p.requires_grad_(True), at=2)
        fitted(few, thaw, trainable=["*.bias"])


def initializer(few, tmp_path):
    zero = fitted(few, Initializer("head.*", fn=torch.nn.init.zeros_), max_epochs=1, lr=1e-12)
    assert zero.net_.module_.head.weight.abs().max() < 1e-9


def clipping(few, tmp_path):
    clipped = fitted(few, GradientNormClipping(1e-3), optimizer="sgd").predict_proba(few[0])
    np.testing.assert_array_equal(clipped, unwatched(few, optimizer="sgd", max_grad_norm=1e-3))


def input_shape(few, tmp_path):
    with pytest.raises(ValueError, match=r"InputShapeSetter builds a module .* Leave it out"):
        fitted(few, InputShapeSetter())


def harmless(kind, few, tmp_path):
    np.testing.assert_array_equal(fitted(few, ("mine", kind())).predict_proba(few[0]), unwatched(few))
    np.testing.assert_array_equal(fitted(few, kind).predict_proba(few[0]), unwatched(few))  # a class, as in skorch


CASES = {
    "BatchScoring": batch_scoring,
    "Callback": partial(harmless, Callback),
    "Checkpoint": checkpoints,
    "EarlyStopping": early_stopping,
    "EpochScoring": epoch_scoring,
    "EpochTimer": partial(harmless, EpochTimer),
    "Freezer": freezer,
    "GradientNormClipping": clipping,
    "Initializer": initializer,
    "InputShapeSetter": input_shape,
    "LRScheduler": lr_scheduler,
    "LoadInitState": end_and_init,
    "MlflowLogger": mlflow,
    "NeptuneLogger": neptune,
    "ParamMapper": mapper,
    "PassthroughScoring": passthrough,
    "PrintLog": printed,
    "ProgressBar": partial(harmless, ProgressBar),
    "SacredLogger": sacred,
    "TensorBoard": tensor_board,
    "TrainEndCheckpoint": end_and_init,
    "Unfreezer": unfreezer,
    "WandbLogger": wandb,
    "WarmRestartLR": warm_restart,
}


@pytest.mark.filterwarnings("ignore:Checkpoint monitor parameter")
@pytest.mark.parametrize("name", skorch.callbacks.__all__)
def test_every_callback_of_skorch_works_or_is_refused_by_name(name, few, tmp_path, monkeypatch):
    if name == "NeptuneLogger":
        types = ModuleType("neptune.types")
        types.File = SimpleNamespace(from_content=lambda text, extension: len(text))
        monkeypatch.setitem(sys.modules, "neptune", ModuleType("neptune"))
        monkeypatch.setitem(sys.modules, "neptune.types", types)
    CASES[name](few, tmp_path)


def test_table_of_cases_names_callbacks_that_there_are():
    assert set(CASES) == set(skorch.callbacks.__all__)
    assert all(inspect.isclass(getattr(skorch.callbacks, name)) for name in CASES)


def test_watching_changes_nothing_and_leaves_the_parameters_as_they_were(few):
    callbacks = [EpochScoring("accuracy", on_train=True), Freezer("body.*"), ("clock", EpochTimer())]
    options = {**MINI, "trainable": ["*.bias"]}
    clf = FineTunedClassifier(**options, callbacks=callbacks)
    before = [dict(vars(entry[1] if isinstance(entry, tuple) else entry)) for entry in callbacks]
    clf.fit(*few)
    assert [dict(vars(entry[1] if isinstance(entry, tuple) else entry)) for entry in callbacks] == before
    first = clf.predict_proba(few[0])
    np.testing.assert_array_equal(clone(clf).fit(*few).predict_proba(few[0]), first)
    plain = FineTunedClassifier(**MINI).fit(*few)
    watched = FineTunedClassifier(**MINI, callbacks=[EpochScoring("accuracy", on_train=True)]).fit(*few)
    np.testing.assert_array_equal(watched.predict_proba(few[0]), plain.predict_proba(few[0]))


@pytest.mark.parametrize("entry", ["EarlyStopping", 3, None, ("name", 3), (1, EpochTimer())])
def test_what_is_no_callback_of_skorch_is_named_before_training(entry, few):
    with pytest.raises(TypeError, match=r"callbacks holds .*expected callbacks of skorch"):
        FineTunedClassifier(**MINI, callbacks=[entry]).fit(*few)


def test_two_callbacks_of_one_name_are_refused_as_in_skorch(few):
    with pytest.raises(ValueError, match="duplicate user-set callback name"):
        fitted(few, ("clock", EpochTimer()), ("clock", EpochTimer()))


def test_scoring_in_deep_adaptation_counts_labelled_rows_only():
    X, y, domain = make_domain_shift(40, 30, n_classes=2, random_state=0)
    options = {"bottleneck": 8, "max_epochs": 2, "batch_size": 10, "random_state": 0}
    scores = []

    class Rows(Callback):
        def on_batch_end(self, net, batch=None, y_pred=None, training=False, **kwargs):
            scores.append((len(batch[0]), len(batch[1]), len(y_pred)))

    callbacks = [EpochScoring("accuracy", on_train=True, name="acc"), Rows()]
    clf = DANNClassifier(None, **options, callbacks=callbacks).fit(X, y, sample_domain=domain)
    assert set(scores) == {(10, 10, 10)}  # and 10 target rows beside them
    assert 0 <= clf.history_[-1]["acc"] <= 1
    source = DANNClassifier(None, **options).fit(X, y, sample_domain=domain)
    with pytest.raises(ValueError, match="EpochScoring scores predictions against labels, and this training has none"):
        TENTClassifier(source, callbacks=[EpochScoring("accuracy", on_train=True)]).fit(X)
