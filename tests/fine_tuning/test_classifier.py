"""FineTunedClassifier: what it learns, what it leaves, what it says."""

import pickle
import random

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError

from sktransfer import FineTunedClassifier, Recipe, load_backbone
from sktransfer.backbones._timm import create_timm_model

TINY = {"backbone": "test_resnet", "weights": None, "image_size": 32, "random_state": 0, "max_epochs": 2}


def tiny(**options):
    return FineTunedClassifier(**{**TINY, **options})


@pytest.fixture(scope="module")
def few(digits):
    X, y = digits
    return X[:60], y[:60]


TRAINABLE = ["head", 1, 3, "all", ["layer4", "*.bn1.*"]]


@pytest.mark.parametrize("trainable", TRAINABLE)
def test_learns_what_it_was_shown(few, trainable):
    X, y = few
    binary = y % 2
    clf = tiny(trainable=trainable, max_epochs=200 if trainable == "head" else 25, lr=0.01).fit(X, binary)
    assert clf.score(X, binary) > 0.8


@pytest.mark.parametrize("trainable", TRAINABLE)
def test_same_seed_same_model_and_refit_equals_fresh_fit(few, trainable):
    clf = tiny(trainable=trainable).fit(*few)
    first = clf.predict_proba(few[0])
    np.testing.assert_array_equal(clf.fit(*few).predict_proba(few[0]), first)
    np.testing.assert_array_equal(clone(clf).fit(*few).predict_proba(few[0]), first)
    assert not np.allclose(clone(clf).set_params(random_state=1).fit(*few).predict_proba(few[0]), first)


@pytest.mark.parametrize("trainable", TRAINABLE)
def test_pickle_predicts_the_same(few, trainable):
    clf = tiny(trainable=trainable).fit(*few)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(clf)).predict_proba(few[0]), clf.predict_proba(few[0]))


def test_pickle_holds_only_what_was_trained(few):
    clf = tiny().fit(*few)
    head = 4 * sum(p.numel() for p in clf.net_.module_.head.parameters())
    assert head < len(pickle.dumps(clf)) < head + 5_000
    stage = sum(p.numel() for p in load_backbone("test_resnet", weights=None).module.layer4.parameters())
    assert 4 * stage < len(pickle.dumps(tiny(trainable=1).fit(*few))) < 4 * stage + head + 20_000


@pytest.mark.parametrize("trainable", [1, 2, ["layer4.0.bn2"]])
def test_frozen_part_keeps_its_weights_and_its_batchnorm_statistics(few, trainable):
    clf = tiny(trainable=trainable, augment="light").fit(*few)
    before = clf.backbone_.module.state_dict()
    after = clf._as_backbone().module.state_dict()
    for name in before:
        if name.startswith("fc."):
            continue
        changed = not torch.equal(before[name], after[name])
        learned = name in clf.plan_.learns or (name.rpartition(".")[0] + ".weight") in clf.plan_.learns
        assert changed <= learned, name
    assert any(not torch.equal(before[name], after[name]) for name in clf.plan_.learns if not name.startswith("fc."))


def test_boundary_cache_changes_nothing_but_the_work(few):
    """Training on cached features equals training on pictures that pass the frozen part in every epoch."""
    X, y = (few[0].reshape(-1, 8, 8) * 15).astype(np.uint8), few[1]
    cached = tiny(trainable=2).fit(X, y)
    recomputed = tiny(trainable=2, augment=lambda picture: picture).fit(X, y)
    np.testing.assert_allclose(cached.predict_proba(X), recomputed.predict_proba(X), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("augment", "passes"), [(None, 1), ("light", 3)])
def test_frozen_part_runs_once_per_picture_unless_pictures_change(few, monkeypatch, augment, passes):
    clf = tiny(trainable=1, max_epochs=3, augment=augment, cache=None)
    backbone = load_backbone(
        "test_resnet",
        weights=None,
        image_size=32,
        random_state=int(np.random.RandomState(0).randint(2**31 - 1)),
    )
    seen = []
    boundary = type(backbone).boundary
    monkeypatch.setattr(
        type(backbone), "boundary", lambda self, x, start: seen.append(len(x)) or boundary(self, x, start)
    )
    clf.fit(*few)
    batches = 15  # of 4 pictures: 60 pictures, no padding; batches of 32 and 28
    # A blank picture tells the shape, once for a network in a process.
    assert len(seen) - passes * batches in (0, 1)


@pytest.mark.parametrize("labels", [["cat", "dog"], [False, True], [-3, 7], ["a", "b", "c"], [1.0, 2.0]])
def test_any_labels(few, labels):
    X, y = few
    y = np.array(labels)[y % len(labels)]
    clf = tiny().fit(X, y)
    assert set(clf.predict(X)) <= set(labels)
    assert clf.classes_.tolist() == sorted(labels)
    proba = clf.predict_proba(X)
    assert proba.shape == (len(X), len(labels))
    np.testing.assert_allclose(proba.sum(1), 1)


def test_prediction_is_the_most_probable_class(few):
    clf = tiny(trainable=1).fit(*few)
    np.testing.assert_array_equal(clf.predict(few[0]), clf.classes_[clf.predict_proba(few[0]).argmax(1)])


@pytest.mark.parametrize("trainable", ["head", "all"])
def test_prediction_of_a_picture_does_not_depend_on_the_others(few, trainable):
    clf = tiny(trainable=trainable, cache=None).fit(*few)
    whole = clf.predict_proba(few[0])
    np.testing.assert_array_equal(clf.predict_proba(few[0][7:12]), whole[7:12])


def test_class_weight_moves_the_decision_to_the_rare_class(few):
    X, y = few
    rare = y == 3
    plain = tiny(max_epochs=5).fit(X, rare).predict_proba(X)[:, 1].mean()
    balanced = tiny(max_epochs=5, class_weight="balanced").fit(X, rare).predict_proba(X)[:, 1].mean()
    given = tiny(max_epochs=5, class_weight={False: 1, True: 50}).fit(X, rare).predict_proba(X)[:, 1].mean()
    assert plain < balanced < given


def test_early_stopping_holds_out_a_part_and_stops(few):
    X, y = few
    clf = tiny(early_stopping=True, validation_fraction=0.3, n_iter_no_change=2, max_epochs=50, lr=1.0).fit(X, y % 2)
    assert clf.n_iter_ == len(clf.history_) < 50
    losses = [epoch["valid_loss"] for epoch in clf.history_]
    assert min(losses) == losses[-3]


def test_history_is_plain_numbers(few):
    history = tiny().fit(*few).history_
    assert [epoch["epoch"] for epoch in history] == [1, 2]
    assert all(type(epoch["train_loss"]) is float for epoch in history)


@pytest.mark.parametrize("augment", ["light", "default", lambda picture: picture.rotate(10)])
def test_augmentation_is_seeded_whatever_the_number_of_threads(few, augment):
    X, y = few
    one = tiny(trainable=1, augment=augment, n_jobs=1).fit(X, y).predict_proba(X)
    two = tiny(trainable=1, augment=augment, n_jobs=2).fit(X, y).predict_proba(X)
    np.testing.assert_array_equal(one, two)


def test_global_random_states_are_left_alone(few):
    states = random.getstate(), np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    tiny(trainable="all", augment="default").fit(*few).predict(few[0])
    assert random.getstate() == states[0]
    np.testing.assert_array_equal(np.random.get_state()[1], states[1])  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), states[2])


def test_files_arrays_and_pil_images_are_one_and_the_same(few, tmp_path):
    X, y = few
    arrays = (X.reshape(-1, 8, 8) * 15).astype(np.uint8)
    images = [Image.fromarray(a) for a in arrays]
    paths = [tmp_path / f"{i} é.png" for i in range(len(images))]
    for image, path in zip(images, paths, strict=True):
        image.save(path)
    probas = [tiny(trainable=1).fit(form, y).predict_proba(form) for form in (arrays, images, paths, map_str(paths))]
    for proba in probas[1:]:
        np.testing.assert_array_equal(proba, probas[0])


def map_str(paths):
    return np.array([str(path) for path in paths])


def test_module_of_the_user_is_left_as_it_was(few):
    torch.manual_seed(0)
    own = create_timm_model("test_resnet", pretrained=False).train()
    before = {name: value.clone() for name, value in own.state_dict().items()}
    clf = tiny(backbone=own, weights="pretrained", trainable="all").fit(*few)
    assert own.training
    assert all(torch.equal(before[name], value) for name, value in own.state_dict().items())
    assert clf.backbone is own


def test_second_step_starts_from_ones_own_source_model(few):
    X, y = few
    source = tiny(trainable=2).fit(X[:30], y[:30])
    target = tiny(backbone=source, weights="pretrained", max_epochs=1).fit(X[30:], y[30:] % 2)
    assert target.backbone_.fingerprint == source._as_backbone().fingerprint
    proba = target.backbone_.source_proba(torch.zeros(1, 3, 32, 32))
    assert proba.shape == (1, len(source.classes_))


def test_tuned_backbone_computes_what_the_classifier_does(few):
    from sktransfer.modalities import open_images

    X, y = few
    clf = tiny(trainable=2).fit(X, y)
    tuned = clf._as_backbone()
    samples = open_images(clf, X[:5], reset=False)
    preprocess = tuned.modality.preprocessor()
    pictures = torch.stack([torch.from_numpy(preprocess(samples.read(i))) for i in range(5)])
    np.testing.assert_allclose(tuned.source_proba(pictures), clf.predict_proba(X[:5]), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"trainable": "tail"}, "'trainable' parameter"),
        ({"trainable": 0}, "'trainable' parameter"),
        ({"trainable": 9}, "has 4 stages"),
        ({"trainable": ["nothing.*"]}, "fits no parameter"),
        ({"lr": 0}, "'lr' parameter"),
        ({"max_epochs": 0}, "'max_epochs' parameter"),
        ({"recipe": Recipe(optimizer="adamv")}, "Did you mean"),
        ({"augment": "strongest"}, "'augment' parameter"),
        ({"validation_fraction": 1.0}, "'validation_fraction' parameter"),
        ({"precision": "int8"}, "'precision' parameter"),
        ({"device": "tpu9"}, "device='tpu9' is not available"),
        ({"class_weight": {99: 1}}, "class"),
        ({"early_stopping": True, "validation_fraction": 0.01}, "larger validation_fraction"),
        ({"lr": 1e38, "recipe": Recipe(optimizer="sgd"), "max_epochs": 9}, "diverged"),
    ],
)
def test_bad_parameters_are_named(few, options, message):
    with pytest.raises((ValueError, RuntimeError), match=message):
        tiny(**options).fit(*few)


def test_one_class_is_refused(few):
    with pytest.raises(ValueError, match="at least two classes in y; got 1 class"):
        tiny().fit(few[0], np.zeros(len(few[0])))


def test_different_lengths_are_refused(few):
    with pytest.raises(ValueError, match="inconsistent"):
        tiny().fit(few[0], few[1][:-1])


def test_prediction_before_fit_and_for_other_shapes(few):
    with pytest.raises(NotFittedError):
        tiny().predict(few[0])
    clf = tiny().fit(few[0].reshape(-1, 8, 8), few[1])
    with pytest.raises(ValueError, match="8"):
        clf.predict(np.zeros((5, 9, 9)))


def test_fitted_source_model_as_backbone_must_be_fitted(few):
    with pytest.raises(NotFittedError):
        tiny(backbone=tiny(), weights="pretrained").fit(*few)


def test_real_pictures_with_imagenet_weights(shared_data):
    """The hand-written loop (StandardScaler, LogisticRegression(C=0.01)) reaches 96.1 % on these 153 pictures."""
    folder = shared_data / "data" / "hymenoptera"
    parts = {part: sorted(folder.glob(f"{part}/*/*.jpg")) for part in ("train", "val")}
    labels = {part: [path.parent.name for path in paths] for part, paths in parts.items()}
    clf = FineTunedClassifier(
        f"local-dir:{shared_data}/weights/mobilenetv2_100.tf2_in1k", image_size=160, random_state=0
    )
    clf.fit(parts["train"], labels["train"])
    assert clf.score(parts["val"], labels["val"]) > 0.91


def test_what_nobody_says_of_rates_leaves_the_source_calm():
    X, y = load_digits(return_X_y=True)
    X, y = X[:10], y[:10]

    def taken(**options):
        model = FineTunedClassifier("sktransfer_mini", max_epochs=1, random_state=0, **options).fit(X, y)
        return model.recipe_.lr, model.recipe_.head_lr_factor, model.recipe_.batch_norm, model.recipe_.schedule

    calm, plain = (1e-4, 10.0, "frozen", "cosine"), (1e-3, 1.0, "train", "constant")
    assert taken(trainable=1) == calm
    assert taken(trainable=1, regularizer="stochnorm") == (1e-4, 10.0, "train", "cosine")
    assert (
        taken() == taken(trainable="norm") == taken(trainable=1, lr=1e-3) == taken(trainable=1, weights=None) == plain
    )
    assert taken(trainable=1, recipe=Recipe()) == plain
    for name in ("full", "lp-ft", "gradual"):
        assert taken(recipe=name) == calm
        assert taken(recipe=name, lr=1e-3) == (1e-3, 1.0, "frozen", "cosine")
        assert taken(recipe=name, weights=None) == (3e-4, 1.0, "frozen", "cosine")
    passes = FineTunedClassifier("sktransfer_mini", trainable=1, random_state=0)
    for _ in range(2):
        passes.partial_fit(X, y, classes=range(10))
        assert (passes.recipe_.lr, passes.recipe_.schedule) == (1e-4, "constant")


def test_few_pictures_get_steps_enough_where_nobody_says_how_many(digits, capsys):
    X, y = digits[0][:70], digits[1][:70]

    def epochs(n=40, **options):
        options = {"trainable": 1, "random_state": 0, **options}
        model = FineTunedClassifier("sktransfer_mini", **options).fit(X[:n], y[:n] % 2)
        phases = [row["phase"] for row in model.history_]
        assert phases == ["probe"] * model.recipe_.probe_epochs + ["train"] * model.recipe_.max_epochs
        return model.n_iter_

    assert epochs(n=70) == 34
    assert epochs(max_epochs=1) == 1
    assert epochs(trainable="head") == epochs(lr=1e-3) == epochs(weights=None) == 30
    # What is held out makes no steps, nor does a row of no weight.
    stopped = FineTunedClassifier("sktransfer_mini", trainable=1, random_state=0, early_stopping=True, verbose=1)
    stopped.set_params(validation_fraction=0.5, n_iter_no_change=1).fit(X[:40], y[:40] % 2)
    assert stopped.recipe_.probe_epochs == 70
    assert "probe_epochs=70, schedule='cosine', trainable=1), steps an epoch: 1\n" in capsys.readouterr().err
    weights = np.arange(40) < 30
    none = FineTunedClassifier("sktransfer_mini", trainable=1, random_state=0).fit(X[:40], y[:40] % 2, weights)
    assert none.n_iter_ == 100
