"""What fine-tuned estimators share."""

import numpy as np
import pytest
from common_recipe import with_recipe
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from sktransfer import FineTunedClassifier, FineTunedRegressor, Recipe
from sktransfer.fine_tuning._base import BaseFineTuned

TINY = {"backbone": "test_resnet", "weights": None, "image_size": 32, "random_state": 0, "max_epochs": 2}
BOTH = [FineTunedClassifier, FineTunedRegressor]


@pytest.fixture(scope="module")
def few(digits):
    X, y = digits
    return X[:60], y[:60]


class Shallow(BaseFineTuned):
    def __init__(self, validation_fraction=0.25):
        self.validation_fraction = validation_fraction

    _n_outputs = 1

    def _criterion(self):
        """Nothing is trained."""


def test_split_is_stratified_seeded_and_loses_nothing():
    y = np.array([0] * 12 + [1] * 4)
    train, valid = Shallow()._split(16, y, 0)
    assert sorted([*train, *valid]) == list(range(16))
    assert np.bincount(y[valid]).tolist() == [3, 1]
    np.testing.assert_array_equal(Shallow()._split(16, y, 0)[1], valid)


def test_class_of_one_sample_cannot_be_held_out():
    with pytest.raises(ValueError, match="early_stopping=True cannot hold out"):
        Shallow()._split(5, np.array([0, 0, 0, 0, 1]), 0)


def test_abstract():
    with pytest.raises(TypeError, match="abstract"):
        BaseFineTuned()


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lora_rank": 0}, "'lora_rank' parameter"),
        ({"probe_epochs": -1}, "'probe_epochs' parameter"),
        ({"probe_lr": 0}, "'probe_lr' parameter"),
        ({"unfreeze_every": 0}, "'unfreeze_every' parameter"),
        ({"batch_norm": "eval"}, "'batch_norm' parameter"),
        ({"lr": "best"}, "'lr' parameter"),
        ({"layer_decay": 0.0}, "'layer_decay' parameter"),
        ({"layer_decay": 1.5}, "'layer_decay' parameter"),
        ({"head_lr_factor": 0}, "'head_lr_factor' parameter"),
        ({"schedule": "linear"}, "'schedule' parameter"),
        ({"warmup_epochs": -1}, "'warmup_epochs' parameter"),
        ({"warmup_epochs": 2}, "warmup_epochs=2 leaves none of max_epochs=2"),
        ({"max_grad_norm": 0}, "'max_grad_norm' parameter"),
        ({"mixup": -1}, "'mixup' parameter"),
        ({"cutmix": -0.1}, "'cutmix' parameter"),
        ({"ema_decay": 1.0}, "'ema_decay' parameter"),
        ({"checkpoint_dir": 3}, "'checkpoint_dir' parameter"),
        ({"warm_start": "yes"}, "'warm_start' parameter"),
        ({"compile": 2}, "'compile' parameter"),
        ({"gradient_checkpointing": "yes"}, "'gradient_checkpointing' parameter"),
        ({"accelerate": None}, "'accelerate' parameter"),
        ({"loss": "hinge"}, "'loss' parameter"),
        ({"regularizer": "l3-sp"}, "l2-sp"),
    ],
)
def test_bad_parameters_are_named(few, kind, options, message):
    with pytest.raises(ValueError, match=message):
        kind(**with_recipe(**{**TINY, **options})).fit(*few)


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize("trainable", [1, "all", "norm"])
def test_gradient_checkpointing_gives_the_same_model(few, kind, trainable):
    plain, thrifty = (
        kind(**TINY, trainable=trainable, recipe=Recipe(gradient_checkpointing=on)).fit(*few) for on in (False, True)
    )
    np.testing.assert_allclose(
        thrifty._outputs(few[0], "scores"), plain._outputs(few[0], "scores"), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("trainable", ["head", 1, "all", "norm", "bias", "lora"])
def test_transform_gives_what_the_head_sees(few, trainable):
    pytest.importorskip("peft")
    clf = FineTunedClassifier(**TINY, trainable=trainable).fit(*few)
    features = clf.transform(few[0])
    head = clf.net_.module_.head
    scores = features @ head.weight.detach().numpy().T + head.bias.detach().numpy()
    np.testing.assert_allclose(scores, clf._outputs(few[0], "scores"), rtol=1e-4, atol=1e-5)
    assert features.shape == (60, clf.backbone_.n_features) == (60, len(clf.get_feature_names_out()))


def test_transform_of_the_head_alone_is_the_frozen_feature(few):
    from sktransfer import PretrainedFeatureExtractor

    clf = FineTunedClassifier(**TINY).fit(*few)
    frozen = PretrainedFeatureExtractor(clf, image_size=32).fit_transform(few[0])
    np.testing.assert_array_equal(clf.transform(few[0]), frozen)


@pytest.mark.parametrize("kind", BOTH)
def test_weights_count_like_repetitions_in_whole_batches(few, kind):
    X, y = few[0][:30], few[1][:30] % 3
    weights = np.random.default_rng(0).integers(0, 4, len(X))
    options = {
        **TINY,
        "recipe": Recipe(optimizer="sgd", weight_decay=0.0),
        "batch_size": 1000,
        "max_epochs": 20,
        "lr": 0.05,
    }
    weighted = kind(**options).fit(X, y, sample_weight=weights)
    repeated = kind(**options).fit(np.repeat(X, weights, 0), np.repeat(y, weights))
    np.testing.assert_allclose(weighted._outputs(X, "scores"), repeated._outputs(X, "scores"), rtol=1e-3, atol=1e-4)
    assert not np.allclose(weighted._outputs(X, "scores"), kind(**options).fit(X, y)._outputs(X, "scores"), atol=1e-3)


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize(
    ("weights", "message"),
    [([1, 2], "shape"), (np.zeros(60), "zero"), (np.full(60, -1.0), "[Nn]egative")],
)
def test_bad_weights_are_refused(few, kind, weights, message):
    with pytest.raises(ValueError, match=message):
        kind(**TINY).fit(*few, sample_weight=weights)


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize("options", [{"early_stopping": True, "validation_fraction": 0.25}, {"lr": "auto"}, {}])
def test_rows_of_weight_0_are_as_if_they_were_not_there(few, kind, options):
    X, y = few[0], few[1] % 2
    weights = np.zeros(len(X))
    weights[:24] = 1
    options = {**TINY, "batch_size": 24, **options}
    weighted = kind(**options).fit(X, y, sample_weight=weights)
    alone = kind(**options).fit(X[:24], y[:24])
    np.testing.assert_array_equal(weighted.predict(X), alone.predict(X))
    assert [row["train_loss"] for row in weighted.history_] == [row["train_loss"] for row in alone.history_]


def test_early_stopping_never_holds_out_rows_without_weight(few):
    X, y = few[0][:20], np.arange(20) % 2
    weights = np.zeros(20)
    weights[:6] = 1
    options = {**TINY, "early_stopping": True}
    with pytest.raises(ValueError, match="of 6 samples that have a weight"):
        FineTunedClassifier(**options).fit(X, y, sample_weight=weights)
    clf = FineTunedClassifier(**options, validation_fraction=0.4).fit(X, y, sample_weight=weights)
    assert all(row["valid_loss"] > 0 for row in clf.history_)


def test_held_out_loss_is_a_weighted_mean_of_the_losses_of_its_rows(few):
    X, y = few[0], few[1] % 2
    options = {**TINY, "max_epochs": 1, "class_weight": {0: 1.0, 1: 1e-6}}
    clf = FineTunedClassifier(**options).fit(X[:40], y[:40], X_val=X[40:], y_val=y[40:])
    losses, weights = -np.log(clf.predict_proba(X[40:])[np.arange(20), y[40:]]), np.where(y[40:], 1e-6, 1.0)
    assert clf.history_[-1]["valid_loss"] == pytest.approx(np.average(losses, weights=weights), rel=1e-5)
    light = y == 1  # nothing but rows of next to no weight
    clf = FineTunedClassifier(**options).fit(X[:40], y[:40], X_val=X[light], y_val=y[light])
    losses = -np.log(clf.predict_proba(X[light])[:, 1])
    assert clf.history_[-1]["valid_loss"] == pytest.approx(losses.mean(), rel=1e-5)


@pytest.mark.parametrize("early_stopping", [True, False])
def test_classes_of_weight_0_are_neither_learned_nor_held_out(few, early_stopping):
    X, y = few[0], few[1] % 3
    options = {**TINY, "early_stopping": early_stopping, "validation_fraction": 0.2}
    clf = FineTunedClassifier(**options, class_weight={2: 0}).fit(X, y)
    counted = y < 2
    alone = FineTunedClassifier(**options).fit(X[counted], y[counted])
    assert clf.history_[0]["train_batch_count"] == alone.history_[0]["train_batch_count"]
    assert clf.classes_.tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match="X_val, y_val: all rows have weight 0"):
        clf.fit(X, y, X_val=X[~counted], y_val=y[~counted])
    with pytest.raises(ValueError, match="X, y: all rows have weight 0"):
        clf.set_params(class_weight={0: 0, 1: 0, 2: 0}).fit(X, y)
    with pytest.raises(ValueError, match="X, y: all rows have weight 0"):
        clf.set_params(early_stopping=False).partial_fit(X, y)


@pytest.mark.parametrize("kind", BOTH)
def test_held_out_pictures_of_the_user(few, kind):
    X, y = few
    model = kind(**TINY).fit(X[:40], y[:40], X_val=X[40:], y_val=y[40:])
    assert all("valid_loss" in row for row in model.history_)
    alone = kind(**TINY).fit(X[:40], y[:40])
    np.testing.assert_array_equal(model.predict(X), alone.predict(X))  # they are not learned from
    with pytest.raises(ValueError, match="X_val and y_val belong together"):
        kind(**TINY).fit(X, y, X_val=X)


def test_early_stopping_on_the_users_pictures_restores_the_best_epoch(few):
    X, y = few
    options = {**TINY, "trainable": "all", "lr": 0.02, "early_stopping": True, "n_iter_no_change": 3}
    clf = FineTunedClassifier(**{**options, "max_epochs": 60}).fit(X[:40], y[:40], X_val=X[40:], y_val=y[40:])
    losses = [row["valid_loss"] for row in clf.history_]
    best = int(np.argmin(losses))
    assert len(losses) == best + 4
    again = FineTunedClassifier(**{**options, "max_epochs": best + 1}).fit(X[:40], y[:40], X_val=X[40:], y_val=y[40:])
    np.testing.assert_array_equal(again.predict_proba(X), clf.predict_proba(X))


@pytest.mark.parametrize("kind", BOTH)
def test_warm_start_goes_on_where_the_last_fit_ended(few, kind):
    options = {**TINY, "trainable": 1, "max_epochs": 5, "lr": 0.002}
    model = kind(**options, warm_start=True).fit(*few)
    first = model.history_[-1]["train_loss"]
    assert model.fit(*few).history_[0]["train_loss"] < first * 1.2
    cold = kind(**options).fit(*few)
    assert cold.fit(*few).history_[0]["train_loss"] > first
    with pytest.raises(ValueError, match="trainable='all' is new"):
        model.set_params(trainable="all").fit(*few)


@pytest.mark.parametrize("kind", BOTH)
def test_partial_fit_trains_one_pass_a_call_and_keeps_its_momentum(few, kind):
    options = {**TINY, "trainable": 1, "lr": 0.01}
    model = kind(**options)
    for _ in range(6):
        model.partial_fit(*few)
    assert [row["epoch"] for row in model.history_] == [1, 2, 3, 4, 5, 6]
    assert model.history_[-1]["train_loss"] < model.history_[0]["train_loss"]
    steps = {int(state["step"]) for state in model.net_.optimizer_.state.values()}
    assert steps == {6 * 2}  # 60 pictures are two batches
    again = kind(**options)
    for _ in range(6):
        again.partial_fit(*few)
    np.testing.assert_array_equal(again.predict(few[0]), model.predict(few[0]))


@pytest.mark.parametrize(
    "options",
    [
        {"early_stopping": True},
        {"probe_epochs": 1},
        {"unfreeze_every": 1},
        {"warmup_epochs": 1},
        {"schedule": "cosine"},
        {"ema_decay": 0.9},
        {"lr": "auto"},
    ],
)
def test_partial_fit_refuses_what_needs_a_whole_training(few, options):
    with pytest.raises(ValueError, match=f"partial_fit does not support {next(iter(options))}"):
        FineTunedClassifier(**with_recipe(**TINY, **options)).partial_fit(*few)


@pytest.mark.parametrize("kind", BOTH)
def test_ones_own_model_as_a_parameter_of_the_next(few, kind):
    X, y = few
    source = kind(**TINY, trainable=1).fit(X, y)
    target = kind(**{**TINY, "backbone": source, "weights": "pretrained"}, trainable=1)
    np.testing.assert_array_equal(clone(target).fit(X, y).predict(X), target.fit(X, y).predict(X))


def test_every_choice_is_a_parameter_of_a_search(few):
    X, y = few
    grid = {
        "finetunedclassifier__trainable": ["head", "norm"],
        "finetunedclassifier__recipe__probe_epochs": [0, 1],
        "finetunedclassifier__recipe__schedule": ["cosine"],
    }
    pipe = make_pipeline(FunctionTransformer(), FineTunedClassifier(**TINY, recipe=Recipe()))
    search = GridSearchCV(pipe, grid, cv=2).fit(X, y % 2)
    assert len(search.cv_results_["mean_test_score"]) == 4
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_automatic_rate_lies_where_the_loss_falls_and_changes_nothing_else(few):
    clf = FineTunedClassifier(**TINY, lr="auto").fit(*few)
    curve = clf.lr_range_
    assert curve["lr"].shape == curve["loss"].shape
    assert curve["lr"][0] < clf.lr_ < curve["lr"][np.argmin(curve["loss"])]
    # The same rate given outright: only the random numbers that the test used up differ, and full batches need none.
    options = {**TINY, "batch_size": 60}
    auto = FineTunedClassifier(**options, lr="auto").fit(*few)
    given = FineTunedClassifier(**options, lr=auto.lr_).fit(*few)
    np.testing.assert_allclose(auto.predict_proba(few[0]), given.predict_proba(few[0]), atol=1e-5)


def test_scikit_learns_callbacks_see_one_task_an_epoch(few):
    callback = pytest.importorskip("sklearn.callback", reason="scikit-learn has callbacks from 1.9 on")
    X, y = few

    class Recorder:
        """Counts tasks and asks for the state of the model after each."""

        def __init__(self):
            self.epochs, self.scores = [], []

        def setup(self, estimator, context):
            self.max_subtasks = context.max_subtasks

        def teardown(self, estimator, context):
            self.done = True

        def on_fit_task_begin(self, estimator, context):
            pass

        def on_fit_task_end(self, estimator, context, *, X, y, fitted_estimator):
            if context.task_name == "epoch":
                self.epochs.append(context.task_id)
                self.scores.append(fitted_estimator.score(X, y))

    recorder = Recorder()
    assert isinstance(recorder, callback.FitCallback)
    options = {**TINY, "trainable": 1, "max_epochs": 4, "recipe": Recipe(probe_epochs=2), "lr": 0.01}
    clf = FineTunedClassifier(**options).set_callbacks(recorder).fit(X, y)
    assert recorder.epochs == list(range(6)) and recorder.max_subtasks == 6 and recorder.done
    assert recorder.scores[-1] == clf.score(X, y)
    lengthened = Recorder()
    FineTunedClassifier("sktransfer_mini", trainable=1, batch_size=1).set_callbacks(lengthened).fit(X[:3], y[:3])
    assert len(lengthened.epochs) == lengthened.max_subtasks == 34  # of three steps each, four of a probe
    unwatched = FineTunedClassifier(**options).fit(X, y)
    np.testing.assert_array_equal(unwatched.predict_proba(X), clf.predict_proba(X))  # looking changes nothing


def test_scikit_learns_scoring_monitor(few):
    callback = pytest.importorskip("sklearn.callback", reason="scikit-learn has callbacks from 1.9 on")
    monitor = callback.ScoringMonitor(scoring="accuracy")
    clf = FineTunedClassifier(**{**TINY, "max_epochs": 3}).set_callbacks(monitor).fit(*few)
    logs = monitor.get_logs()
    log = logs[0] if isinstance(logs, list) else logs
    assert len(log.data if hasattr(log, "data") else log) >= 3
    assert clf.n_iter_ == 3
