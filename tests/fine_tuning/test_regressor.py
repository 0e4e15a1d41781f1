"""FineTunedRegressor: numbers in the user's units."""

import pickle

import numpy as np
import pytest

from sktransfer import FineTunedRegressor, Recipe

TINY = {"backbone": "test_resnet", "weights": None, "image_size": 32, "random_state": 0, "max_epochs": 2}


def tiny(**options):
    return FineTunedRegressor(**{**TINY, **options})


@pytest.fixture(scope="module")
def few(digits):
    X, _ = digits
    return X[:80], X[:80].mean(1) * 100 - 300  # how much ink, in units of its own


@pytest.mark.parametrize("loss", ["squared_error", "huber"])
@pytest.mark.parametrize("trainable", ["head", 2])
def test_learns_in_the_units_of_the_target(few, loss, trainable):
    X, y = few
    model = tiny(
        loss=loss,
        trainable=trainable,
        max_epochs=300 if trainable == "head" else 30,
        lr=0.05 if trainable == "head" else 0.003,
    )
    model.fit(X, y)
    assert model.score(X, y) > 0.7
    assert abs(model.predict(X).mean() - y.mean()) < y.std()


def test_scale_of_the_target_does_not_matter(few):
    X, y = few
    predictions = tiny().fit(X, y).predict(X)
    np.testing.assert_allclose(tiny().fit(X, 1e6 * y + 5).predict(X), 1e6 * predictions + 5, rtol=1e-4)


def test_squared_error_of_a_whole_batch_goes_to_least_squares(few):
    X, y = few
    model = tiny(recipe=Recipe(weight_decay=0.0, schedule="cosine"), batch_size=1000, max_epochs=1500, lr=0.05).fit(
        X, y
    )
    features = model.transform(X).astype(np.float64)
    design = np.column_stack([features, np.ones(len(X))])
    least = np.linalg.lstsq(design, y, rcond=None)[0]
    best = np.mean((design @ least - y) ** 2)
    assert np.mean((model.predict(X) - y) ** 2) < best + 0.25 * y.var()


def test_several_outputs_each_of_its_own_scale(few):
    X, y = few
    Y = np.column_stack([y, 1000 - 7 * y, np.full(len(y), 42.0)])
    model = tiny(max_epochs=150, lr=0.01).fit(X, Y)
    predicted = model.predict(X)
    assert predicted.shape == Y.shape
    np.testing.assert_allclose(model.target_mean_, Y.mean(0))
    np.testing.assert_allclose(model.target_scale_[:2], Y[:, :2].std(0))
    assert model.target_scale_[2] == 1
    assert np.corrcoef(predicted[:, 0], Y[:, 0])[0, 1] > 0.8
    assert np.corrcoef(predicted[:, 1], Y[:, 1])[0, 1] > 0.8
    np.testing.assert_allclose(predicted[:, 2], 42.0, atol=3.0)


def test_shape_of_y_is_kept(few):
    X, y = few
    assert tiny().fit(X, y).predict(X).shape == (80,)
    assert tiny().fit(X, y[:, None]).predict(X).shape == (80, 1)


def test_weighted_scale(few):
    X, y = few
    weights = np.arange(80)
    model = tiny().fit(X, y, sample_weight=weights)
    np.testing.assert_allclose(model.target_mean_, np.average(y, weights=weights))


def test_huber_minds_an_outlier_less(few):
    X, y = few
    spoiled = y.copy()
    spoiled[:4] += 50 * y.std()
    errors = {
        loss: np.median(np.abs(tiny(loss=loss, max_epochs=150, lr=0.01).fit(X, spoiled).predict(X[4:]) - y[4:]))
        for loss in ("squared_error", "huber")
    }
    assert errors["huber"] < errors["squared_error"]


def test_pickle_predicts_the_same(few):
    model = tiny(trainable=1).fit(*few)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).predict(few[0]), model.predict(few[0]))


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (["a"] * 80, "needs numbers as y, got 'a'"),
        ([np.nan] * 80, "NaN"),
        ([1.0] * 79, "inconsistent"),
    ],
)
def test_bad_targets_are_refused(few, y, message):
    with pytest.raises(ValueError, match=message):
        tiny().fit(few[0], y)


def test_other_number_of_outputs_later_is_refused(few):
    X, y = few
    with pytest.raises(ValueError, match="y has 2 outputs, the estimator was fitted with 1"):
        tiny().partial_fit(X, y).partial_fit(X, np.column_stack([y, y]))
    with pytest.raises(ValueError, match="y has 2 outputs"):
        tiny().fit(X, y, X_val=X, y_val=np.column_stack([y, y]))


def test_regularizer_that_relates_classes_is_refused(few):
    with pytest.raises(ValueError, match="co-tuning"):
        tiny(backbone="sktransfer_mini", weights="pretrained", trainable=1, regularizer="co-tuning").fit(*few)
