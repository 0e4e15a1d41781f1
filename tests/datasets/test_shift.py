import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from sktransfer.datasets import make_domain_shift
from sktransfer.metrics import mmd_distance, proxy_a_distance

SHIFTS = ["covariate", "target", "concept", "subspace", "none"]


def split(n_samples=500, **params):
    X, y, d = make_domain_shift(n_samples, n_samples, random_state=0, **params)
    source = d == "source"
    return X[source], y[source], X[~source], y[~source]


@pytest.mark.parametrize("shift", SHIFTS)
@pytest.mark.parametrize("n_classes", [2, 5, None])
def test_shapes_types_and_seed(shift, n_classes):
    params = {"n_features": 4, "n_classes": n_classes, "shift": shift}
    X, y, d = make_domain_shift(30, 20, random_state=3, **params)
    assert X.shape == (50, 4)
    assert X.dtype == np.float64
    assert y.dtype.kind == ("f" if n_classes is None else "i")
    assert_array_equal(d, ["source"] * 30 + ["target"] * 20)
    again = make_domain_shift(30, 20, random_state=3, **params)
    assert_array_equal(again[0], X)
    assert_array_equal(again[1], y)
    assert not np.array_equal(make_domain_shift(30, 20, random_state=4, **params)[0], X)


@pytest.mark.usefixtures("untouched_random_state")
def test_global_random_state_is_left_alone():
    make_domain_shift(random_state=0)


@pytest.mark.parametrize("n_classes", [3, None])
def test_masked_target(n_classes):
    X, y, d = make_domain_shift(n_classes=n_classes, random_state=0)
    X2, masked, _ = make_domain_shift(n_classes=n_classes, mask_target=True, random_state=0)
    assert_array_equal(X, X2)
    assert_array_equal(masked[d == "source"], y[d == "source"])
    assert_array_equal(masked[d == "target"], -1 if n_classes else np.nan)


def test_classes_are_balanced():
    _, ys, _, yt = split(n_classes=5)
    assert_array_equal(np.bincount(ys), [100] * 5)
    assert_array_equal(np.bincount(yt), [100] * 5)


def test_no_shift():
    Xs, ys, Xt, yt = split(shift="none")
    assert mmd_distance(Xs, Xt, unbiased=True) == pytest.approx(0, abs=0.005)
    assert LogisticRegression().fit(Xs, ys).score(Xt, yt) > 0.95


def test_covariate_shift_moves_samples_but_not_labels_given_them():
    Xs, ys, Xt, yt = split(shift="covariate", noise=0.0)
    assert proxy_a_distance(Xs, Xt, random_state=0) > 1.5
    assert LogisticRegression().fit(Xs, ys).score(Xt, yt) < 0.75
    # One boundary fits both domains.
    both = KNeighborsClassifier(5).fit(np.vstack([Xs[::2], Xt[::2]]), np.r_[ys[::2], yt[::2]])
    assert both.score(np.vstack([Xs[1::2], Xt[1::2]]), np.r_[ys[1::2], yt[1::2]]) > 0.95


def test_target_shift_changes_frequencies_but_not_samples_of_a_class():
    Xs, ys, Xt, yt = split(3000, shift="target")
    assert np.bincount(yt)[1] / len(yt) == pytest.approx(3 / 4, abs=0.03)
    for label in (0, 1):
        assert mmd_distance(Xs[ys == label], Xt[yt == label], unbiased=True) == pytest.approx(0, abs=0.01)


def test_concept_shift_changes_labels_but_not_samples():
    Xs, ys, Xt, yt = split(shift="concept")
    assert mmd_distance(Xs, Xt, unbiased=True) == pytest.approx(0, abs=0.01)
    model = LogisticRegression().fit(Xs, ys)
    assert model.score(Xt, yt) < 0.85 < model.score(Xs, ys)


def test_subspace_shift_leaves_one_direction_that_works():
    Xs, ys, Xt, yt = split(shift="subspace")
    assert LogisticRegression().fit(Xs, ys).score(Xt, yt) < 0.7
    move = Xt.mean(axis=0) - Xs.mean(axis=0)
    common = np.array([-move[1], move[0]]) / np.linalg.norm(move)
    model = LogisticRegression().fit(Xs @ common[:, np.newaxis], ys)
    assert model.score(Xt @ common[:, np.newaxis], yt) > 0.9


def test_strength_zero_is_no_shift():
    for shift in ("covariate", "target", "concept"):
        Xs, _, Xt, _ = split(shift=shift, strength=0.0)
        assert mmd_distance(Xs, Xt, unbiased=True) == pytest.approx(0, abs=0.01)


def test_regression_target_shift_moves_the_mean():
    _, ys, _, yt = split(shift="target", n_classes=None, strength=2.0)
    assert_allclose(yt.mean() - ys.mean(), 2.0, atol=0.2)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"shift": "drift"}, "shift must be one of"),
        ({"n_source": 0}, "n_source must be an integer of at least 1"),
        ({"n_features": 1}, "n_features must be an integer of at least 2"),
        ({"n_classes": 1}, "n_classes must be an integer of at least 2"),
        ({"strength": -1}, "strength must be a finite"),
        ({"noise": np.nan}, "noise must be a finite"),
    ],
)
def test_errors(params, message):
    with pytest.raises(ValueError, match=message):
        make_domain_shift(**params)
