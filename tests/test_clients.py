"""The tools of a scikit-learn user's day, on estimators that take pictures."""

import pickle
import random
import threading

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from common_frozen import count_pictures, write_pictures
from common_pictures import TINY
from common_process import run_code
from common_recordings import tones, write_tones
from common_texts import reviews
from imblearn.over_sampling import RandomOverSampler
from imblearn.pipeline import make_pipeline as make_imbalanced_pipeline
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_digits
from sklearn.ensemble import StackingClassifier, VotingClassifier
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.frozen import FrozenEstimator
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import (
    GridSearchCV,
    HalvingGridSearchCV,
    cross_val_predict,
    cross_val_score,
    cross_validate,
    learning_curve,
)
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import Callback

from sktransfer import (
    AdaptedClassifier,
    FineTunedClassifier,
    MMDAdapter,
    PretrainedFeatureExtractor,
    Recipe,
    clear_cache,
    load_backbone,
)

TINY_RESNET = {**TINY, "backbone": "test_resnet"}
C_GRID = {"logisticregression__C": [0.01, 0.1, 1, 10]}


def frozen(**options):
    """Frozen features in front of a classifier."""
    return make_pipeline(
        PretrainedFeatureExtractor(**{**TINY, **options}), StandardScaler(), LogisticRegression(max_iter=1000)
    )


def tuned(**options):
    return FineTunedClassifier(**{**TINY, "max_epochs": 20, "lr": 0.05, "random_state": 0, **options})


MODELS = {"frozen": frozen, "tuned": tuned}


@pytest.fixture(scope="module")
def digits():
    """Ones and zeros, by name: 60 pictures that may not be written."""
    data = load_digits(n_class=2)
    X, y = (data.images[:60] * 15).astype(np.uint8), np.array(["zero", "one"])[data.target[:60]]
    X.flags.writeable = y.flags.writeable = False
    return X, y


@pytest.fixture(scope="module")
def paths(digits, tmp_path_factory):
    """The same as files."""
    return write_pictures(tmp_path_factory.mktemp("digits"), digits[0])


@pytest.fixture(params=MODELS)
def model(request):
    return MODELS[request.param]()


@pytest.fixture(autouse=True)
def empty_cache():
    clear_cache()


@pytest.fixture
def two_torch_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def global_state():
    """What a call of ours must leave as it was."""
    numpy_state = np.random.get_state()  # noqa: NPY002
    return (
        random.getstate(),
        (numpy_state[1].tolist(), *numpy_state[2:]),
        torch.get_rng_state().tolist(),
        torch.get_num_threads(),
        torch.is_grad_enabled(),
    )


# Searches and validation.


def test_cross_val_score_on_paths_with_string_labels(model, paths, digits):
    assert cross_val_score(model, paths, digits[1], cv=3).mean() > 0.8


CONTAINERS = {
    "list": list,
    "array": np.array,
    "Series": pd.Series,
    "DataFrame": lambda paths: pd.DataFrame({"path": paths}),
}


@pytest.mark.parametrize("container", CONTAINERS.values(), ids=CONTAINERS)
def test_containers_of_paths_give_the_same_predictions(container, model, paths, digits):
    expected = model.fit(digits[0], digits[1]).predict_proba(digits[0])
    X = container(paths)
    assert_allclose(clone(model).fit(X, digits[1]).predict_proba(X), expected, atol=1e-6)


SEARCHES = {
    "backbone": (frozen, {"pretrainedfeatureextractor__backbone": ["test_resnet", "test_efficientnet"]}),
    "layer and pooling": (
        frozen,
        {"pretrainedfeatureextractor__layer": [None, 1], "pretrainedfeatureextractor__pooling": ["avg", "max"]},
    ),
    "trainable": (tuned, {"trainable": ["head", 1], "max_epochs": [2]}),
}


@pytest.mark.parametrize(("make", "grid"), SEARCHES.values(), ids=SEARCHES)
def test_grid_search_in_two_processes_is_the_search_in_one(make, grid, digits):
    one, two = (GridSearchCV(make(), grid, cv=2, n_jobs=n, error_score="raise").fit(*digits) for n in (1, 2))
    assert_allclose(two.cv_results_["mean_test_score"], one.cv_results_["mean_test_score"])
    assert two.best_params_ == one.best_params_
    assert_array_equal(two.predict(digits[0]), one.predict(digits[0]))


def test_grid_search_over_networks_and_fitted_estimators(digits):
    source = PretrainedFeatureExtractor(**TINY_RESNET).fit(digits[0])
    module = load_backbone(**TINY_RESNET).module
    grid = {
        "pretrainedfeatureextractor__backbone": [module, FrozenEstimator(source)],
        "pretrainedfeatureextractor__weights": ["pretrained"],
    }
    search = GridSearchCV(frozen(), grid, cv=2, error_score="raise").fit(*digits)
    assert_allclose(*search.cv_results_["mean_test_score"])  # one network twice


def test_halving_grid_search(model, digits):
    name = "lr" if isinstance(model, FineTunedClassifier) else "logisticregression__C"
    grid = {name: [1e-6, 1e-5, 0.05, 1.0]}
    search = HalvingGridSearchCV(model, grid, cv=2, random_state=0, error_score="raise").fit(*digits)
    assert search.best_params_[name] > 1e-5
    assert search.score(*digits) > 0.8


def test_cross_validate_with_train_scores_and_estimators(model, digits):
    result = cross_validate(
        model, *digits, cv=2, scoring=["accuracy", "neg_log_loss", "roc_auc"], return_train_score=True,
        return_estimator=True, error_score="raise",
    )  # fmt: skip
    assert result["test_accuracy"].min() > 0.8
    assert result["train_roc_auc"].min() > 0.9
    assert [fitted.classes_.tolist() for fitted in result["estimator"]] == [["one", "zero"]] * 2


def test_cross_val_predict_gives_labels_and_probabilities(model, digits):
    X, y = digits
    proba = cross_val_predict(model, X, y, cv=2, method="predict_proba")
    labels = cross_val_predict(model, X, y, cv=2)
    assert_allclose(proba.sum(1), 1)
    assert_array_equal(np.array(["one", "zero"])[proba.argmax(1)], labels)
    assert np.mean(labels == y) > 0.8


def test_learning_curve(model, digits):
    sizes, _, scores = learning_curve(
        model, *digits, cv=2, train_sizes=[10, 30], shuffle=True, random_state=0, error_score="raise"
    )
    assert sizes.tolist() == [10, 30]
    assert scores[-1].mean() > 0.8


# Estimators around ours.


@pytest.mark.parametrize(
    "wrap",
    [
        lambda model: CalibratedClassifierCV(model, cv=2),
        lambda model: CalibratedClassifierCV(model, cv=2, ensemble=False),
        lambda model: OneVsRestClassifier(model),
        lambda model: StackingClassifier([("a", model), ("b", frozen(layer=1))], LogisticRegression(), cv=2),
        lambda model: VotingClassifier([("a", model), ("b", frozen(layer=1))], voting="soft"),
        lambda model: VotingClassifier([("a", model), ("b", frozen(layer=1))], voting="hard"),
    ],
    ids=["calibrated", "calibrated once", "one against rest", "stacked", "voting softly", "voting"],
)
def test_meta_estimators(wrap, model, paths, digits):
    fitted = wrap(model).fit(paths[:40], digits[1][:40])
    assert fitted.score(paths[40:], digits[1][40:]) > 0.8
    if hasattr(fitted, "predict_proba"):
        assert_allclose(fitted.predict_proba(paths).sum(1), 1)


def test_a_frozen_estimator_keeps_its_fit(model, digits):
    X, y = digits
    expected = model.fit(X, y).predict(X)
    fitted = FrozenEstimator(model).fit(X, y[::-1])
    assert_array_equal(clone(fitted).predict(X), expected)


def test_frozen_extractor_inside_a_search_is_fitted_once(digits):
    extractor = FrozenEstimator(PretrainedFeatureExtractor(**TINY).fit(digits[0]))
    search = GridSearchCV(make_pipeline(extractor, LogisticRegression(max_iter=1000)), C_GRID, cv=2).fit(*digits)
    assert search.best_estimator_[0].estimator is extractor.estimator


def test_permutation_importance_of_features(digits):
    X, y = digits
    pipe = frozen(layer=0).fit(X, y)
    result = permutation_importance(
        pipe[-1], pipe[:-1].transform(X), y, scoring="neg_log_loss", n_repeats=2, random_state=0
    )
    assert result.importances_mean.shape == (pipe[0].n_features_out_,)
    assert result.importances_mean.max() > 0


def test_feature_union_of_two_networks(paths):
    parts = [PretrainedFeatureExtractor(**TINY), PretrainedFeatureExtractor(**TINY_RESNET, layer=1)]
    union = FeatureUnion([("a", parts[0]), ("b", parts[1])])
    assert_array_equal(union.fit_transform(paths), np.hstack([part.fit_transform(paths) for part in parts]))
    names = union.get_feature_names_out()
    assert names[0] == "a__pretrainedfeatureextractor0"
    assert len(names) == union.transform(paths[:1]).shape[1]


@pytest.mark.parametrize("column", ["path", ["path"], [1]], ids=str)
@pytest.mark.parametrize("output", ["default", "pandas"])
def test_column_transformer_takes_paths_beside_numbers(column, output, paths, digits):
    age = np.arange(60.0)
    frame = pd.DataFrame({"age": age, "path": paths, "weight": age % 7})
    extractor = PretrainedFeatureExtractor(**TINY)
    columns = ColumnTransformer([("numbers", StandardScaler(), ["age", "weight"]), ("pictures", extractor, column)])
    features = columns.set_output(transform=output).fit_transform(frame)
    assert_allclose(np.asarray(features)[:, 2:], extractor.fit_transform(paths))
    assert list(columns.get_feature_names_out()[:3]) == [
        "numbers__age",
        "numbers__weight",
        "pictures__pretrainedfeatureextractor0",
    ]
    pipe = make_pipeline(columns, LogisticRegression(max_iter=1000))
    assert cross_val_score(pipe, frame, digits[1], cv=2, error_score="raise").shape == (2,)


def test_one_frame_of_texts_recordings_pictures_and_numbers(paths, digits, tmp_path):
    rng = np.random.default_rng(0)
    zeros, ones = np.flatnonzero(digits[1] == "zero")[:12], np.flatnonzero(digits[1] == "one")[:12]
    rows = np.ravel([zeros, ones], order="F")  # 0, 1, 0, 1, ..., as texts and tones are
    texts, y = reviews(24)
    sounds, pitch = tones(24)
    assert_array_equal(pitch, y)
    frame = pd.DataFrame(
        {
            "review": texts,
            "recording": write_tones(tmp_path, sounds),
            "picture": np.asarray(paths)[rows],
            "stars": y + rng.normal(0, 0.5, 24),
        }
    )
    columns = ColumnTransformer(
        [
            ("review", PretrainedFeatureExtractor("text:sktransfer_mini"), "review"),
            ("recording", PretrainedFeatureExtractor("audio:sktransfer_mini"), ["recording"]),
            ("picture", PretrainedFeatureExtractor("sktransfer_mini"), ["picture"]),
            ("stars", StandardScaler(), ["stars"]),
        ]
    )
    pipe = make_pipeline(columns, StandardScaler(), LogisticRegression(C=0.01, max_iter=1000))
    assert (cross_val_predict(pipe, frame, y, cv=3) == y).mean() > 0.9
    fitted = pipe.fit(frame, y)
    expected = fitted.predict_proba(frame)
    clear_cache()
    assert_array_equal(pickle.loads(pickle.dumps(fitted)).predict_proba(frame), expected)
    assert_array_equal(clone(pipe).fit(frame, y).predict_proba(frame), expected)
    # Each column has its say, and in the order of the frame's rows.
    names = columns.set_output(transform="pandas").fit_transform(frame)
    for name, column in (("review", texts), ("recording", sounds), ("picture", digits[0][rows])):
        own = names.filter(like=f"{name}__").to_numpy()
        assert_allclose(own, clone(columns.named_transformers_[name]).fit_transform(column), rtol=1e-3, atol=1e-3)
        assert own.std(axis=0).max() > 0


def test_two_path_columns_are_two_extractors(paths):
    frame = pd.DataFrame({"left": paths, "right": paths[::-1]})
    extractor = PretrainedFeatureExtractor(**TINY)
    features = ColumnTransformer([("l", extractor, ["left"]), ("r", extractor, ["right"])]).fit_transform(frame)
    left, right = np.hsplit(features, 2)
    assert_array_equal(left, right[::-1])


def test_imbalanced_learns_pipeline_resamples_features(paths, digits):
    keep = np.r_[np.flatnonzero(digits[1] == "one"), np.flatnonzero(digits[1] == "zero")[:5]]
    X, y = [paths[i] for i in keep], digits[1][keep]
    pipe = make_imbalanced_pipeline(*frozen()[:2], RandomOverSampler(random_state=0), LogisticRegression(max_iter=1000))
    assert pipe.fit(X, y).score(X, y) > 0.8
    counts = pipe[:-1].fit_resample(X, y)[1]
    assert (counts == "one").sum() == (counts == "zero").sum()


@pytest.mark.parametrize("own", [False, True], ids=["named network", "network of one's own"])
def test_a_pipeline_with_memory_remembers_the_transformer(own, digits, tmp_path):
    extractor = PretrainedFeatureExtractor(
        load_backbone(**TINY).module if own else TINY["backbone"],
        weights="pretrained" if own else None,
        image_size=32,
        cache=None,
    )
    pipe = make_pipeline(extractor, LogisticRegression(max_iter=1000), memory=str(tmp_path))
    expected = clone(pipe).fit(*digits).predict_proba(digits[0])
    with count_pictures() as seen:
        pipe.fit(*digits)
    assert sum(seen) == 0
    assert_allclose(pipe.predict_proba(digits[0]), expected)


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_set_output_reaches_through_a_pipeline(library, digits):
    frames = pytest.importorskip(library)
    pipe = frozen()[:2].set_output(transform=library)
    features = pipe.fit_transform(digits[0])
    assert isinstance(features, frames.DataFrame)
    assert list(features.columns) == list(pipe.get_feature_names_out())


@pytest.fixture
def adapted():
    adapter = AdaptedClassifier(LogisticRegression(), MMDAdapter(n_components=5))
    return make_pipeline(PretrainedFeatureExtractor(**TINY), StandardScaler(), adapter)


@pytest.fixture
def domains(digits):
    """The digits and their negatives, one after the other, with the labels of both and their domain."""
    X = np.stack([digits[0], 255 - digits[0]], axis=1).reshape(-1, 8, 8)
    return X, np.repeat(digits[1], 2), np.tile(["source", "target"], len(digits[0]))


def test_domain_adaptation_behind_frozen_features_reads_no_target_label(adapted, domains):
    X, y, domain = domains
    expected = adapted.fit(X, y, adaptedclassifier__sample_domain=domain).predict_proba(X)
    unlabelled = np.where(domain == "source", y, None)
    adapted.fit(X, unlabelled, adaptedclassifier__sample_domain=domain)
    assert_array_equal(adapted.predict_proba(X), expected)
    assert set(adapted.predict(X)) == {"zero", "one"}


def test_a_search_over_an_adapter_computes_each_picture_once_a_layer(adapted, domains):
    X, y, domain = domains
    grid = {"adaptedclassifier__adapter__n_components": [2, 5], "pretrainedfeatureextractor__layer": [None, 1]}
    search = GridSearchCV(adapted, grid, cv=2, error_score="raise")
    with count_pictures() as seen:
        search.fit(X, y, adaptedclassifier__sample_domain=domain)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert sum(seen) == 2 * len(X)


# Each picture passes the network once.


def test_a_grid_search_over_the_classifier_computes_each_picture_once(paths, digits):
    search = GridSearchCV(frozen(), C_GRID, cv=5)
    with count_pictures() as seen:
        search.fit(paths, digits[1])
    assert sum(seen) == len(paths)
    with count_pictures() as seen:
        cross_val_score(frozen(), paths, digits[1], cv=5)
        search.predict(paths)
    assert sum(seen) == 0


def test_a_search_over_layers_computes_each_picture_once_a_layer(digits):
    grid = {**C_GRID, "pretrainedfeatureextractor__layer": [None, 0, 1]}
    with count_pictures() as seen:
        GridSearchCV(frozen(), grid, cv=2).fit(*digits)
    assert sum(seen) == 3 * len(digits[0])


@pytest.mark.parametrize("trainable", ["head", 1, 2, ["blocks.3", "conv_head"]], ids=str)
@pytest.mark.parametrize("early_stopping", [False, True])
def test_the_frozen_part_sees_each_picture_once_in_a_fit_and_not_again_in_another(trainable, early_stopping, digits):
    model = tuned(trainable=trainable, max_epochs=3, lr=1e-3, early_stopping=early_stopping)
    with count_pictures() as seen:
        model.fit(*digits)
    assert sum(seen) == len(digits[0])
    with count_pictures() as seen:
        clone(model).set_params(lr=1e-4, recipe=Recipe(weight_decay=0)).fit(*digits)
        model.predict(digits[0])
    assert sum(seen) == 0


def test_a_search_over_the_learning_rate_computes_each_picture_once(digits):
    with count_pictures() as seen:
        GridSearchCV(tuned(max_epochs=2), {"lr": [1e-3, 1e-2]}, cv=3).fit(*digits)
    assert sum(seen) == len(digits[0])


def test_augmented_pictures_pass_the_network_in_every_epoch(digits):
    with count_pictures() as seen:
        tuned(trainable=1, max_epochs=3, augment="light").fit(*digits)
    assert sum(seen) == 3 * len(digits[0])


# Clone, pickle, joblib.


@pytest.mark.parametrize("make", [PretrainedFeatureExtractor, FineTunedClassifier])
def test_a_clone_shares_the_network_it_was_given(make):
    module = load_backbone(**TINY).module
    assert clone(make(module)).backbone is module
    assert clone(make_pipeline(make(module)))[0].backbone is module


@pytest.mark.parametrize("make", [PretrainedFeatureExtractor, FineTunedClassifier])
def test_a_fitted_backbone_survives_a_clone(make, digits):
    X, y = digits
    source = make(**TINY, **({"random_state": 0, "max_epochs": 1} if make is FineTunedClassifier else {})).fit(X, y)
    model = make_pipeline(PretrainedFeatureExtractor(source), LogisticRegression(max_iter=1000))
    assert clone(model)[0].backbone is source
    assert_array_equal(clone(model).fit(X, y).predict(X), model.fit(X, y).predict(X))


@pytest.mark.parametrize("own", [False, True], ids=["named network", "network of one's own"])
@pytest.mark.parametrize("trainable", ["head", 1, "all"])
def test_a_pickled_classifier_predicts_the_same(trainable, own, digits):
    X, y = digits
    options = {"backbone": load_backbone(**TINY_RESNET).module, "weights": "pretrained"} if own else {}
    model = tuned(trainable=trainable, max_epochs=1, lr=1e-3, **options).fit(X, y)
    assert_array_equal(pickle.loads(pickle.dumps(model)).predict_proba(X), model.predict_proba(X))


NEW_PROCESS = """
import sys, warnings
warnings.simplefilter("error")
import joblib
assert not {{"timm", "torchvision"}} & set(sys.modules)
models, X = joblib.load({file!r})
joblib.dump([model.predict_proba(X) for model in models], {answers!r})
"""


def test_models_dumped_by_joblib_predict_in_a_new_process(digits, tmp_path):
    X, y = digits
    own = {"backbone": load_backbone(**TINY_RESNET).module, "weights": "pretrained"}
    models = [frozen(**own), frozen(), tuned(**own, trainable=1), tuned(), tuned(trainable="all", max_epochs=1)]
    expected = [model.fit(X, y).predict_proba(X) for model in models]
    joblib.dump((models, X), tmp_path / "in")
    # The network of one's own comes first: nothing before it has imported timm.
    code = NEW_PROCESS.format(file=str(tmp_path / "in"), answers=str(tmp_path / "out"))
    assert run_code(code) == (0, "", "")
    for result, proba in zip(joblib.load(tmp_path / "out"), expected, strict=True):
        assert_allclose(result, proba, rtol=1e-5)


# Side effects, threads.


@pytest.mark.parametrize("augment", [None, "default"])
@pytest.mark.parametrize("trainable", ["head", 1, "all"])
@pytest.mark.usefixtures("two_torch_threads")
def test_fine_tuning_leaves_global_state_alone(trainable, augment, digits):
    X, y = (part[:8] for part in digits)
    model = tuned(trainable=trainable, max_epochs=1, lr=1e-3, augment=augment)
    before = global_state()
    model.fit(X, y).predict(X)
    assert global_state() == before


@pytest.mark.usefixtures("two_torch_threads")
def test_frozen_features_leave_global_state_alone(digits):
    before = global_state()
    PretrainedFeatureExtractor(**TINY).fit(digits[0]).transform(digits[0])
    assert global_state() == before


@pytest.mark.parametrize(
    "convert",
    [np.array, lambda X: X / 255, list, lambda X: torch.from_numpy(X.copy())],
    ids=["uint8", "float", "list", "tensor"],
)
def test_pictures_and_labels_are_never_written(convert, model, digits):
    X, y = convert(digits[0]), digits[1].copy()
    model.fit(X, y).predict(X)
    assert_array_equal(np.asarray(X), np.asarray(convert(digits[0])))
    assert_array_equal(y, digits[1])


@pytest.mark.parametrize("trainable", ["head", 1])
def test_the_same_seed_is_the_same_model_whatever_the_global_state(trainable, digits):
    model = tuned(trainable=trainable, max_epochs=2, lr=1e-3)
    first = clone(model).fit(*digits).predict_proba(digits[0])
    torch.rand(1)
    assert_array_equal(clone(model).fit(*digits).predict_proba(digits[0]), first)


def test_cross_validation_in_threads_is_that_in_one(model, digits):
    expected = cross_val_predict(clone(model), *digits, cv=4, method="predict_proba")
    clear_cache()
    with joblib.parallel_config("threading", n_jobs=2):
        result = cross_val_predict(model, *digits, cv=4, method="predict_proba")
    assert_array_equal(result, expected)


BEGUN = threading.Event(), threading.Event()


class Meeting(Callback):
    """Holds a fit until that of the other thread has begun too, or a second has gone."""

    def __init__(self, mine):
        self.mine = mine

    def on_train_begin(self, net, **kwargs):
        BEGUN[self.mine].set()
        BEGUN[1 - self.mine].wait(1)


def test_a_fit_that_begins_within_another_and_ends_after_it_leaves_global_state_alone(digits):
    torch.manual_seed(7)  # a state that no fit comes by
    before = global_state()
    threads = []
    for i, max_epochs in enumerate((1, 200)):
        model = tuned(random_state=i, max_epochs=max_epochs, callbacks=[Meeting(i)])
        threads.append(threading.Thread(target=model.fit, args=digits))
        threads[i].start()
        BEGUN[i].wait(10)
    for thread in threads:
        thread.join()
    assert global_state() == before
