import numpy as np
import pytest
from sklearn.tree import DecisionTreeClassifier

from sktransfer.metrics import class_proportions, label_shift_distance


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    ys, yt = rng.choice(3, size=1500, p=[0.5, 0.3, 0.2]), rng.choice(3, size=1500, p=[0.2, 0.2, 0.6])
    Xs, Xt = (np.eye(3)[y] * 2 + rng.normal(size=(1500, 3)) for y in (ys, yt))
    return Xs, np.array(["u", "v", "w"])[ys], Xt


@pytest.mark.parametrize("params", [{}, {"soft": True}, {"estimator": DecisionTreeClassifier(max_depth=4)}], ids=str)
def test_known_shares(data, params):
    proportions = class_proportions(*data, random_state=0, **params)
    assert list(proportions) == ["u", "v", "w"]
    assert proportions == pytest.approx({"u": 0.2, "v": 0.2, "w": 0.6}, abs=0.05)
    assert sum(proportions.values()) == pytest.approx(1)
    assert label_shift_distance(*data, random_state=0, **params) == pytest.approx(0.4, abs=0.06)


def test_identical_domains_are_at_no_distance(data):
    Xs, ys, _ = data
    assert label_shift_distance(Xs, ys, Xs, random_state=0) < 0.02
    assert label_shift_distance(Xs, np.zeros(len(Xs)), Xs) == 0


@pytest.mark.usefixtures("untouched_random_state")
def test_seed_is_local(data):
    assert class_proportions(*data, random_state=1) == class_proportions(*data, random_state=1)


def test_errors(data):
    Xs, ys, Xt = data
    with pytest.raises(ValueError, match="Xs has 3 features but Xt has 2"):
        class_proportions(Xs, ys, Xt[:, :2])
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        label_shift_distance(Xs, ys[1:], Xt)
    with pytest.raises(ValueError, match="Unknown label type: continuous"):
        label_shift_distance(Xs, Xs[:, 0], Xt)
