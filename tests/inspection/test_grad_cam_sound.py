import numpy as np
import pytest
from common_recordings import small, tone
from numpy.testing import assert_allclose
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sktransfer import FineTunedClassifier, GradCAMDisplay, PretrainedFeatureExtractor, grad_cam


@pytest.fixture(scope="module")
def sounds():
    """Low tones and high ones, 0.32 seconds."""
    y = np.arange(30) % 2
    rng = np.random.default_rng(0)
    return [tone((500 + 3000 * k) * rng.uniform(0.9, 1.1), 0.33, seed=i) for i, k in enumerate(y)], y


@pytest.fixture(scope="module", params=["frozen", "tuned"])
def model(request, sounds):
    if request.param == "tuned":
        return FineTunedClassifier(small(), trainable=1, lr=0.03, max_epochs=12, random_state=0).fit(*sounds)
    return make_pipeline(PretrainedFeatureExtractor(small(), layer=1), StandardScaler(), LogisticRegression()).fit(
        *sounds
    )


def test_maps_lie_over_spectrograms(model, sounds):
    maps = grad_cam(model, sounds[0][:4])
    assert maps.shape == (4, 64, 32)
    assert maps.min() == 0 and maps.max() == 1


def test_the_map_is_that_of_the_linear_model(sounds):
    """Of averaged features and a linear score, the sum of the maps by the coefficients."""
    X, y = sounds
    pipe = make_pipeline(PretrainedFeatureExtractor(small(), layer=1), LogisticRegression()).fit(X, y)
    maps = PretrainedFeatureExtractor(small(), layer=1, pooling=None).fit_transform(X[1:6:2])
    spoken = 0
    for target, sign in ((0, -1), (1, 1)):
        by_hand = np.maximum(sign * np.einsum("ncth,c->nth", maps, pipe[-1].coef_[0]), 0)
        found = grad_cam(pipe, X[1:6:2], target=target)[:, ::-1].transpose(0, 2, 1)
        factor = [found.shape[i] // by_hand.shape[i] for i in (1, 2)]
        coarse = found.reshape(3, by_hand.shape[1], factor[0], by_hand.shape[2], factor[1]).mean(axis=(2, 4))
        for one, other in zip(coarse, by_hand, strict=True):
            assert one.any() == other.any()
            spoken += other.any()
            assert not one.any() or np.corrcoef(one.ravel(), other.ravel())[0, 1] > 0.9
    assert spoken >= 3


def test_windows_are_put_together(model, sounds):
    from sktransfer.inspection._grad_cam import explain

    X, _ = sounds
    long = np.concatenate(X[:4])
    found = explain(model, [long, X[0]], target=None, layer=None)
    frames = (len(long) - 240) // 160
    assert found.maps.shape == (2, 64, frames) and found.pictures.shape == (2, 64, frames, 3)
    assert (found.maps[1, :, 33:] == 0).all()
    # The class is that of the recording, and not of a window.
    assert found.columns.tolist() == model.predict([long, X[0]]).tolist()
    alone = explain(model, [long], target=model.predict([long])[0], layer=None)
    assert_allclose(alone.maps[0], found.maps[0], atol=1e-5)
    # Low tones are at the bottom of the picture.
    rows = found.pictures[1, :, 2:28, 0].mean(axis=1)
    assert rows.argmax() > 32


def test_drawn(model, sounds):
    pytest.importorskip("matplotlib").use("agg")
    display = GradCAMDisplay.from_estimator(model, sounds[0][:3], sounds[1][:3])
    assert len(display.images_) == 3
    assert "true: 0" in display.axes_[0].get_title()
