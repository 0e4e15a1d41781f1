"""Several views of a picture at prediction."""

import numpy as np
import pytest
from common_frozen import count_pictures, make_pictures
from scipy.special import softmax

from sktransfer import FineTunedClassifier, FineTunedRegressor, clear_cache

X = make_pictures(12, size=42)  # of which the network takes the 40 in the middle, so that mirror images are exact
Y = np.arange(12) % 2
TINY = {"backbone": "test_resnet", "weights": None, "image_size": 40, "random_state": 0, "max_epochs": 1, "lr": 0.01}


@pytest.fixture(autouse=True)
def empty_cache():
    clear_cache()


@pytest.mark.parametrize("trainable", ["head", 1, "all"])
def test_scores_and_features_are_means_over_the_views(trainable):
    clf = FineTunedClassifier(**TINY, trainable=trainable).fit(X, Y)
    mirrored = np.ascontiguousarray(X[:, :, ::-1])
    scores = (clf._outputs(X, "scores") + clf._outputs(mirrored, "scores")) / 2
    features = (clf.transform(X) + clf.transform(mirrored)) / 2
    two = FineTunedClassifier(**TINY, trainable=trainable, n_views=2).fit(X, Y)
    np.testing.assert_allclose(two.predict_proba(X), softmax(scores, axis=1), atol=1e-5)
    np.testing.assert_allclose(two.transform(X), features, rtol=1e-3, atol=1e-5)
    np.testing.assert_array_equal(two.predict(X), two.classes_[scores.argmax(1)])
    np.testing.assert_array_equal(clf.set_params(n_views=2).predict_proba(X), two.predict_proba(X))


@pytest.mark.parametrize("trainable", [1, "all"])
def test_forward_passes_are_counted(trainable):
    reg = FineTunedRegressor(**TINY, trainable=trainable, n_views=4).fit(X, Y)
    with count_pictures() as seen:
        first = reg.predict(X)
        again = reg.predict(X)
    # What is frozen passes once for each view, and is kept; a network that learned whole passes anew.
    assert sum(seen) == 4 * len(X) * (1 if trainable == 1 else 2)
    np.testing.assert_array_equal(first, again)


def test_training_sees_the_picture_alone():
    with count_pictures() as seen:
        FineTunedClassifier(**TINY, trainable="head", n_views=4).fit(X, Y)
    assert sum(seen) == len(X)


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@pytest.mark.parametrize("kind", [FineTunedClassifier, FineTunedRegressor])
def test_refusals_come_before_the_training(kind, method):
    texts = ["one text", "another", "a third", "a fourth"]
    with pytest.raises(ValueError, match="n_views=2 averages over mirror images and crops, which a text has none of"):
        getattr(kind("text:sktransfer_mini", n_views=2), method)(texts, [0, 1, 0, 1])
    with pytest.raises(ValueError, match=r"'n_views' parameter of FineTuned.* must be an int in the range"):
        getattr(kind(**TINY, n_views=0), method)(X, Y)
    with pytest.raises(ValueError, match=r"n_views=13: there are 12 views"):
        getattr(kind(**TINY, n_views=13), method)(X, Y)
