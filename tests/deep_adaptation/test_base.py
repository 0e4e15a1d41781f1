import numpy as np
import pytest
from skorch.callbacks import Callback

from sktransfer import (
    DANNClassifier,
    DANNRegressor,
    DeepCORALClassifier,
    FineTunedClassifier,
    OSBPClassifier,
    Recipe,
    make_domain_shift,
)
from sktransfer._nets import TransferNet
from sktransfer.exceptions import DivergenceError, DomainError

FAST = {"bottleneck": 8, "max_epochs": 2, "random_state": 0}


@pytest.fixture(scope="module")
def table():
    return make_domain_shift(40, 30, n_classes=2, random_state=0)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"trainable": 2}, "trainable=2 has no meaning for tables"),
        ({"weights": "file.pth"}, "weights='file.pth' has no meaning for tables"),
        ({"augment": "light"}, "augment='light' has no meaning for tables"),
        ({"image_size": 32}, "image_size=32 has no meaning for tables"),
        ({"recipe": Recipe(gradient_checkpointing=True)}, "gradient_checkpointing=True has no meaning for tables"),
        ({"bottleneck": None}, "leaves no features that could be adapted"),
        ({"recipe": Recipe(warmup_epochs=2)}, "leaves none of max_epochs=2"),
        ({"recipe": Recipe(probe_epochs=1)}, "probe_epochs=1 has no meaning for tables"),
        ({"recipe": "full"}, "trainable='all' has no meaning for tables"),
        ({"recipe": Recipe(mixup=0.2)}, "mixup=0.2 of the recipe would mix rows of source and target"),
        ({"recipe": Recipe(batch_size=1)}, "batch_size=1 of the recipe"),
        ({"sources": "some"}, "'sources' parameter"),
    ],
)
def test_settings_without_meaning_are_refused(table, changes, text):
    X, y, domain = table
    with pytest.raises(ValueError, match=text):
        DANNClassifier(None, **{**FAST, **changes}).fit(X, y, sample_domain=domain)


def test_one_source_row_and_unlabelled_source_rows(table):
    X, y, domain = table
    with pytest.raises(DomainError, match="at least 2 source rows"):
        DANNClassifier(None).fit(X[39:], y[39:], sample_domain=domain[39:])
    y = y.astype(float)
    y[3] = np.nan
    with pytest.raises(DomainError, match="1 source rows have no label"):
        DANNClassifier(None).fit(X, y, sample_domain=domain)


def test_every_row_comes_once_an_epoch_and_target_rows_bring_no_labels(table, monkeypatch):
    X, y, domain = table
    seen, step = [], TransferNet.train_step
    monkeypatch.setattr(TransferNet, "train_step", lambda net, batch: seen.append(batch) or step(net, batch))
    DANNClassifier(None, **{**FAST, "max_epochs": 1, "batch_size": 10}).fit(X, y, sample_domain=domain)
    assert len(seen) == 4
    rows = np.concatenate([inputs[:10].numpy() for inputs, _ in seen])
    expected = X[domain == "source"].astype(np.float32)
    np.testing.assert_array_equal(np.sort(rows, axis=0), np.sort(expected, axis=0))
    for _, targets in seen:
        assert (targets.weights[10:] == 0).all()
        assert (targets.domain[10:] == 0).all()
        assert (targets.values[10:] == 0).all()


def test_class_weights_and_smoothing_count(table):
    X, y, domain = table
    plain = DANNClassifier(None, **FAST).fit(X, y, sample_domain=domain).predict_proba(X)
    for changes in ({"class_weight": {0: 1, 1: 9}}, {"recipe": Recipe(label_smoothing=0.3)}):
        other = DANNClassifier(None, **FAST, **changes).fit(X, y, sample_domain=domain).predict_proba(X)
        assert not np.allclose(other, plain)
    heavy = DANNClassifier(None, **FAST, class_weight={0: 1, 1: 99}).fit(X, y, sample_domain=domain)
    assert heavy.predict_proba(X)[:, 1].mean() > plain[:, 1].mean()


@pytest.mark.parametrize(
    ("class_weight", "text"),
    [({0: -1, 1: 1}, "class 0 the weight -1"), ({0: 0, 1: 0}, "all classes the weight 0")],
)
@pytest.mark.parametrize("kind", [DANNClassifier, OSBPClassifier])
def test_class_weights_that_are_none_are_refused(table, kind, class_weight, text):
    X, y, domain = table
    with pytest.raises(ValueError, match=text):
        kind(None, **FAST, class_weight=class_weight).fit(X, y, sample_domain=domain)


def test_a_weight_of_labels_that_are_not_read_is_refused():
    X, y, domain = make_domain_shift(20, 20, random_state=0)
    with pytest.raises(ValueError, match=r"target_weight=3\.0 .*none are read: set use_target_labels=True"):
        DANNClassifier(None, target_weight=3.0, max_epochs=1).fit(X, y, sample_domain=domain)


def test_labelled_target_rows_are_learned_from():
    # In the target the labels are the other way round; only its own labels can tell.
    X, y, domain = make_domain_shift(60, 60, n_classes=2, shift="none", random_state=0)
    is_target = domain == "target"
    X[is_target, :] += 5
    y = np.where(is_target, 1 - y, y)
    known = y.astype(float)
    known[np.flatnonzero(is_target)[:40]] = np.nan
    # What moves a whole domain is what tells here, and not to be taken away.
    options = {"bottleneck": 64, "max_epochs": 40, "random_state": 0, "trade_off": 0.0, "statistics": "shared"}
    options["recipe"] = Recipe(lr=0.01)
    blind = DANNClassifier(None, **options).fit(X, known, sample_domain=domain)
    told = DANNClassifier(None, **options, use_target_labels=True).fit(X, known, sample_domain=domain)
    hidden = np.flatnonzero(is_target)[:40]
    assert told.score(X[hidden], y[hidden]) > 0.8
    assert blind.score(X[hidden], y[hidden]) < 0.5


class TestScore:
    def test_counts_rows_with_a_label(self, table):
        X, y, domain = table
        clf = DANNClassifier(None, **FAST).fit(X, y, sample_domain=domain)
        half = y.astype(float)
        half[::2] = np.nan
        assert clf.score(X, half) == clf.score(X[1::2], y[1::2])
        masked = np.where(np.arange(len(y)) % 2, y, -1)
        assert clf.score(X, masked) == clf.score(X[1::2], y[1::2])
        with pytest.raises(ValueError, match="None of the 70 rows has a label"):
            clf.score(X, np.full(len(X), -1))

    def test_minus_one_is_a_class_where_the_source_has_it(self, table):
        X, y, domain = table
        clf = DANNClassifier(None, **FAST).fit(X, 2 * y - 1, sample_domain=domain)
        assert clf.score(X, 2 * y - 1) == np.mean(clf.predict(X) == 2 * y - 1)

    def test_weights(self, table):
        X, y, domain = table
        clf = DANNClassifier(None, **FAST).fit(X, y, sample_domain=domain)
        weights = np.arange(len(y), dtype=float)
        assert clf.score(X, y, weights) == pytest.approx(np.average(clf.predict(X) == y, weights=weights))


def test_regression_is_in_the_units_of_y():
    X, y, domain = make_domain_shift(100, 50, n_classes=None, shift="none", random_state=0)
    reg = DANNRegressor(None, bottleneck=32, random_state=0, lr=0.01).fit(X, 1000 + 50 * y, sample_domain=domain)
    assert reg.score(X, 1000 + 50 * y) > 0.8
    with pytest.raises(ValueError, match="needs numbers as y"):
        DANNRegressor(None).fit(X, np.array(["a", "b"] * 75), sample_domain=domain)


def test_diverging_on_a_table_that_is_not_scaled_says_so(table):
    X, y, domain = table
    with pytest.raises(DivergenceError, match=r"X has values up to .*e\+1\d: scale it first, e.g. by StandardScaler"):
        DANNClassifier(None, **{**FAST, "lr": 1e30}).fit(X * 1e14, y, sample_domain=domain)


def test_divergence_keeps_the_last_sound_weights(table):
    class Spoil(Callback):
        def on_epoch_begin(self, net, **kwargs):
            if net.history[-1, "epoch"] == 3:
                net.tuned.head.weight.data.fill_(np.nan)

    X, y, domain = table
    options = {**FAST, "random_state": 0}
    spoiled = DeepCORALClassifier(None, **{**options, "max_epochs": 5}, callbacks=[Spoil()])
    with pytest.raises(RuntimeError, match="epoch 3 is nan"):
        spoiled.fit(X, y, sample_domain=domain)
    assert spoiled.n_iter_ == 2
    constant = {"trade_off_schedule": "constant"}
    spoiled.set_params(**constant)
    with pytest.raises(RuntimeError):
        spoiled.fit(X, y, sample_domain=domain)
    sound = DeepCORALClassifier(None, **options, **constant).fit(X, y, sample_domain=domain)
    np.testing.assert_array_equal(spoiled.predict_proba(X), sound.predict_proba(X))


def test_own_source_model_as_backbone(table):
    from sklearn.datasets import load_digits

    X, y = load_digits(return_X_y=True)
    source = FineTunedClassifier("test_resnet", weights=None, image_size=32, max_epochs=1, trainable=1, random_state=0)
    source.fit(X[:60], y[:60])
    domain = np.repeat(["source", "target"], 30)
    clf = DANNClassifier(source, **FAST).fit(X[:60], y[:60], sample_domain=domain)
    assert clf.predict(X[:3]).shape == (3,)
    # and on: its body without the new layers, whose classifier is none for pooled features
    again = FineTunedClassifier(clf, max_epochs=1, random_state=0).fit(X[:60], y[:60])
    assert again.predict(X[:3]).shape == (3,)
    with pytest.raises(ValueError, match="came without one"):
        FineTunedClassifier(clf, max_epochs=1, regularizer="lwf").fit(X[:60], y[:60])


@pytest.mark.usefixtures("onnx_operators_once")
def test_a_table_is_no_network_for_pictures(table, tmp_path):
    X, y, domain = table
    clf = DANNClassifier(None, **FAST).fit(X, y, sample_domain=domain)
    with pytest.raises(ValueError, match="holds no network for pictures"):
        FineTunedClassifier(clf).fit(np.zeros((4, 8, 8), dtype=np.uint8), [0, 0, 1, 1])
    with pytest.raises(ValueError, match="was fitted to a table"):
        clf.export_onnx(tmp_path / "model.onnx")
