import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.neighbors import KNeighborsClassifier

from sktransfer.datasets import make_image_domains
from sktransfer.datasets._styles import STYLES


@pytest.mark.parametrize("kind", ["digits", "shapes"])
@pytest.mark.parametrize("style", sorted(STYLES))
def test_shapes_types_balance_and_seed(kind, style):
    X, y, d = make_image_domains(24, 18, kind=kind, target=style, random_state=0)
    assert X.shape == (42, 32, 32, 3)
    assert X.dtype == np.uint8
    assert_array_equal(d, ["source"] * 24 + ["target"] * 18)
    for domain in ("source", "target"):
        counts = np.bincount(y[d == domain], minlength=10 if kind == "digits" else 6)
        assert counts.max() - counts.min() <= 1
    again = make_image_domains(24, 18, kind=kind, target=style, random_state=0)
    assert_array_equal(again[0], X)
    assert_array_equal(again[1], y)
    # A picture, not a flat field, in both domains.
    assert X.reshape(42, -1).std(axis=1).min() > 5


@pytest.mark.parametrize("kind", ["digits", "shapes"])
def test_classes_can_be_learned_and_inversion_breaks_it(kind):
    X, y, d = make_image_domains(400, 200, kind=kind, random_state=0)
    features = X.reshape(len(X), -1) / 255.0
    source = d == "source"
    model = KNeighborsClassifier(3).fit(features[source][:300], y[source][:300])
    assert model.score(features[source][300:], y[source][300:]) > 0.75
    assert model.score(features[~source], y[~source]) < 0.3
    # The easy pair: undone by one known step.
    assert model.score(1 - features[~source], y[~source]) > 0.75


def test_no_picture_stands_in_two_domains():
    X, _, _ = make_image_domains(300, 300, target="plain", random_state=0)
    assert len(np.unique(X.reshape(600, -1), axis=0)) == 600


def test_several_sources():
    _, y, d = make_image_domains(12, 6, source=["plain", "noisy"], target="blurred", n_classes=3, random_state=0)
    assert_array_equal(d, ["plain"] * 12 + ["noisy"] * 12 + ["target"] * 6)
    assert set(y) == {0, 1, 2}


@pytest.mark.parametrize("size", [8, 28, 33])
def test_image_size(size):
    for kind in ("digits", "shapes"):
        assert make_image_domains(6, 6, kind=kind, image_size=size, random_state=0)[0].shape[1:] == (size, size, 3)


@pytest.mark.usefixtures("untouched_random_state")
def test_masked_target_and_global_state():
    _, y, d = make_image_domains(10, 10, mask_target=True, random_state=0)
    assert (y[d == "target"] == -1).all()
    assert (y[d == "source"] >= 0).all()


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"kind": "letters"}, "kind must be one of"),
        ({"target": "sepia"}, "must be styles of"),
        ({"source": []}, "at least one style"),
        ({"source": ["plain", "plain"]}, "each once"),
        ({"n_classes": 11}, "integer from 2 to 10"),
        ({"image_size": 4}, "image_size must be an integer of at least 8"),
        ({"n_target": 0}, "n_target must be an integer of at least 1"),
    ],
)
def test_errors(params, message):
    with pytest.raises(ValueError, match=message):
        make_image_domains(**params)
