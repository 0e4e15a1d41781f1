"""What estimators with a trained network share."""

import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted
from skorch.callbacks import Callback
from torch import nn

from sktransfer import FineTunedClassifier, Recipe
from sktransfer._frozen import FrozenPart
from sktransfer._nets import (
    NetEstimator,
    Targets,
    TrainingSettings,
    WeightedLoss,
    cross_entropy,
    end_fit,
    resolve_recipe,
    start_training,
)

TINY = {"backbone": "test_resnet", "weights": None, "image_size": 32, "random_state": 0, "device": "cpu"}


class OnTable(NetEstimator):
    """The least that trains: classes 0, 1, ... of a table."""

    _takes_tables = True
    weights = image_size = image_shape = None
    device, precision, random_state, on_error, verbose, n_jobs = "cpu", "float32", 0, "raise", 0, None

    def __init__(self, backbone=None, max_epochs=4, warmup_epochs=0, bottleneck=None, checkpoint_dir=None):
        self.backbone = backbone
        self.max_epochs = max_epochs
        self.warmup_epochs = warmup_epochs
        self.bottleneck = bottleneck
        self.checkpoint_dir = checkpoint_dir

    def _settings(self):
        used = {"optimizer": "sgd", "lr": 0.1, "batch_size": 8}
        recipe = Recipe(max_epochs=self.max_epochs, warmup_epochs=self.warmup_epochs, **used)
        return TrainingSettings.on("cpu", "float32", resolve_recipe(recipe), bottleneck=self.bottleneck)

    @property
    def _n_outputs(self):
        return 3

    def _criterion(self):
        return WeightedLoss(cross_entropy)

    def _penalty(self):
        return None

    def _answers(self):
        return None

    def _frozen_of(self, backbone):
        return FrozenPart(backbone)

    def fit(self, X, y):
        checkpoint, seed = start_training(self)
        backbone, samples = self._open(X, seed)
        told = {"settings": self._settings(), "checkpoint": checkpoint, "seed": seed, "reported": (X, y)}
        self._train(backbone, (samples, Targets(y, np.ones(len(y)))), **told)
        return end_fit(self, X, y)


@pytest.fixture(scope="module")
def table():
    y = np.random.default_rng(0).integers(0, 3, 40)
    return np.eye(4)[y] + np.random.default_rng(1).normal(scale=0.1, size=(40, 4)), y


def test_abstract():
    with pytest.raises(TypeError, match="abstract"):
        NetEstimator()


class TestOnATable:
    def test_learns(self, table):
        X, y = table
        model = OnTable(max_epochs=20).fit(X, y)
        assert (model._outputs(X, "scores").argmax(1) == y).mean() > 0.95
        assert model.n_iter_ == len(model.history_) == 20

    @pytest.mark.parametrize(("bottleneck", "width"), [(None, 4), (2, 2), ([5, 3], 3)])
    def test_transform_gives_what_the_head_sees(self, table, bottleneck, width):
        X, y = table
        model = OnTable(bottleneck=bottleneck).fit(X, y)
        features, head = model.transform(X), model.net_.module_.head
        assert features.shape == (40, width)
        assert len(model.get_feature_names_out()) == width
        scores = features @ head.weight.detach().numpy().T + head.bias.detach().numpy()
        assert_allclose(scores, model._outputs(X, "scores"), rtol=1e-4, atol=1e-5)

    @pytest.mark.parametrize("bottleneck", [None, [5, 3]])
    def test_pickle_without_a_backbone(self, table, bottleneck):
        X, y = table
        model = OnTable(bottleneck=bottleneck).fit(X, y)
        again = pickle.loads(pickle.dumps(model))
        assert_array_equal(again._outputs(X, "scores"), model._outputs(X, "scores"))

    def test_file_without_a_backbone(self, table, tmp_path):
        X, y = table
        model = OnTable(bottleneck=[5, 3]).fit(X, y)
        model.save(tmp_path / "model")
        assert_array_equal(OnTable.load(tmp_path / "model").transform(X), model.transform(X))

    def test_training_begins_after_the_warm_up(self, table):
        with pytest.raises(ValueError, match="warmup_epochs=4 leaves none of max_epochs=4"):
            OnTable(warmup_epochs=4).fit(*table)

    def test_not_fitted(self, table):
        with pytest.raises(NotFittedError):
            OnTable().transform(table[0])


@pytest.fixture(scope="module")
def few(digits):
    X, y = digits
    return X[:60], y[:60]


class SpoilIn(Callback):
    """Writes NaN into the head at each step of an epoch, or at its last."""

    def __init__(self, epoch, last_step=False):
        self.epoch = epoch
        self.last_step = last_step

    def on_epoch_begin(self, net, **kwargs):
        self.steps = 0

    def on_batch_end(self, net, training=False, **kwargs):
        self.steps += training
        if net.history[-1, "epoch"] == self.epoch and (not self.last_step or self.steps == 4):
            nn.init.constant_(net.tuned.head.weight, float("nan"))


class TestDivergence:
    def make(self, *callbacks, max_epochs=5, **options):
        return FineTunedClassifier(
            **TINY, **{"batch_size": 16, "callbacks": list(callbacks), "max_epochs": max_epochs, **options}
        )

    def diverged(self, few, *args, **options):
        clf = self.make(*args, **options)
        with pytest.raises(RuntimeError, match=r"the loss of epoch 3 is .* keeps the weights of epoch 2\."):
            clf.fit(*few)
        return clf

    @pytest.mark.parametrize("last_step", [False, True])
    @pytest.mark.parametrize(
        "options",
        [{}, {"trainable": "all"}, {"trainable": "all", "recipe": Recipe(ema_decay=0.5)}, {"regularizer": "delta"}],
        ids=str,
    )
    def test_estimator_is_the_one_of_the_epochs_before(self, few, options, last_step):
        clf = self.diverged(few, SpoilIn(3, last_step), **options)
        short = self.make(max_epochs=2, **options).fit(*few)
        assert_array_equal(clf.predict_proba(few[0]), short.predict_proba(few[0]))
        assert clf.n_iter_ == len(clf.history_) == 2
        assert clf.net_.module_.source_head is None

    def test_it_can_be_stored(self, few, tmp_path):
        clf = self.diverged(few, SpoilIn(3)).set_params(callbacks=None)
        clf.save(tmp_path / "model")
        for again in (FineTunedClassifier.load(tmp_path / "model"), pickle.loads(pickle.dumps(clf))):
            assert_array_equal(again.predict(few[0]), clf.predict(few[0]))

    def test_training_goes_on_from_it(self, few):
        clf = self.diverged(few, SpoilIn(3)).set_params(callbacks=None)
        clf.partial_fit(*few)
        assert np.isfinite(clf.history_[-1]["train_loss"])
        assert [row["epoch"] for row in clf.history_] == [1, 2, 3]

    def test_a_training_that_was_cut_off_keeps_what_it_went_on_from(self, few, tmp_path):
        folder = {"checkpoint_dir": tmp_path}
        first = self.diverged(few, SpoilIn(3), **folder)
        again = self.diverged(few, SpoilIn(3), **folder)
        assert_array_equal(again.predict_proba(few[0]), first.predict_proba(few[0]))

    def test_first_epoch_leaves_no_network(self, few):
        clf = self.make(SpoilIn(1))
        with pytest.raises(RuntimeError, match="the loss of epoch 1 is nan"):
            clf.fit(*few)
        assert not hasattr(clf, "net_")
        with pytest.raises(NotFittedError):
            check_is_fitted(clf)
        with pytest.raises(NotFittedError):
            clf.predict(few[0])

    @pytest.mark.parametrize("trainable", ["all", "lora"])
    def test_a_single_pass_leaves_what_was_there_before_it(self, few, trainable):
        pytest.importorskip("peft")
        clf, straight = (self.make(max_epochs=2, trainable=trainable).fit(*few) for _ in range(2))
        before = clf.predict_proba(few[0])
        clf.set_params(callbacks=[SpoilIn(1)])
        with pytest.raises(RuntimeError, match="diverged"):
            clf.partial_fit(*few)
        assert_array_equal(clf.predict_proba(few[0]), before)
        assert clf.n_iter_ == 2
        # The moments of the optimizer are what they were, too.
        clf.set_params(callbacks=None).partial_fit(*few)
        assert_array_equal(clf.predict_proba(few[0]), straight.partial_fit(*few).predict_proba(few[0]))
