"""What adversarial methods share."""

import inspect

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from sktransfer import DANNClassifier, MCCClassifier, Recipe, deep_adaptation, make_domain_shift, make_image_domains

METHODS = [
    cls for name in deep_adaptation.__all__ if getattr(cls := getattr(deep_adaptation, name), "_is_adversarial", False)
]
REPORTS = {"MCDClassifier": "discrepancy", "MDDClassifier": "discrepancy", "OSBPClassifier": None}
FAST = {"bottleneck": 8, "max_epochs": 4, "batch_size": 16, "random_state": 0}
every_method = pytest.mark.parametrize("method", METHODS, ids=lambda method: method.__name__)


@pytest.fixture(scope="module")
def table():
    return make_domain_shift(40, 30, n_classes=2, shift="covariate", random_state=0)


def fitted(method, data, **options):
    X, y, domain = data
    return method(None, **{**FAST, **options}).fit(X, y, sample_domain=domain)


class TestRecipe:
    def test_auto_is_that_of_adversaries(self, table):
        clf = fitted(DANNClassifier, table, max_epochs=2)
        expected = Recipe(optimizer="sgd", lr=0.01, schedule="inverse", weight_decay=1e-3, max_epochs=2, batch_size=16)
        assert clf.recipe_.get_params() == expected.get_params()
        assert type(clf.net_.optimizer_).__name__ == "SGD"
        assert clf.history_[-1]["lr"] == pytest.approx(0.01 * (1 + 10 * 5 / 6) ** -0.75)

    @pytest.mark.parametrize("recipe", [Recipe(), "head"])
    def test_what_is_said_is_taken(self, table, recipe):
        clf = fitted(DANNClassifier, table, recipe=recipe)
        assert clf.recipe_.optimizer == "adamw"
        assert fitted(DANNClassifier, table, lr=0.003).lr_ == 0.003

    def test_few_rows_take_more_epochs(self, table):
        clf = fitted(DANNClassifier, table, max_epochs=None)
        assert clf.n_iter_ == clf.recipe_.max_epochs == 75
        one_each = fitted(DANNClassifier, table, max_epochs=None, batch_size=2)
        assert one_each.n_iter_ == 50  # of 20 steps
        assert fitted(MCCClassifier, table, max_epochs=None).n_iter_ == 30

    def test_pretrained_stages_learn_at_a_tenth(self):
        X, y, domain = make_image_domains(12, 12, n_classes=2, image_size=16, random_state=0)
        options = {"trainable": 1, "bottleneck": 4, "max_epochs": 1, "random_state": 0}
        clf = DANNClassifier("sktransfer_mini", **options).fit(X, y, sample_domain=domain)
        assert (clf.recipe_.lr, clf.recipe_.head_lr_factor) == (pytest.approx(0.001), 10)
        plain = DANNClassifier("sktransfer_mini", weights=None, **options).fit(X, y, sample_domain=domain)
        assert (plain.recipe_.lr, plain.recipe_.head_lr_factor) == (0.01, 1)


@every_method
class TestEveryMethod:
    def test_no_more_than_36_parameters(self, method):
        assert len(inspect.signature(method).parameters) <= 36

    def test_history_tells_of_the_adversary(self, method, table):
        X, y, domain = table
        clf = method(None, **FAST).fit(X, y, sample_domain=domain)
        name = REPORTS.get(method.__name__, "discriminator_accuracy")
        found = [row[name] for row in clf.history_ if name in row] if name else []
        first = 2 if method.__name__ == "ADDAClassifier" else 0  # there is none while the source is learned
        assert len(found) == (len(clf.history_) - first if name else 0)
        assert np.isfinite(found).all()
        if name == "discriminator_accuracy":
            assert all(0 <= value <= 1 for value in found)
        assert {"discriminator_accuracy", "discrepancy"} & set(clf.history_[-1]) == ({name} if name else set())

    @pytest.mark.parametrize("changed", [{"smoothness": 0.1}, {"statistics": "other"}])
    def test_smoothness_and_statistics_count(self, method, table, changed):
        X, y, domain = table
        default = inspect.signature(method).parameters["statistics"].default
        changed = {
            name: ("shared" if default == "separate" else "separate") if name == "statistics" else value
            for name, value in changed.items()
        }
        plain, other = (method(None, **FAST, **c).fit(X, y, sample_domain=domain).transform(X) for c in ({}, changed))
        assert np.isfinite(other).all()
        assert not np.allclose(plain, other)

    def test_bad_values(self, method, table):
        X, y, domain = table
        for bad in ({"smoothness": -1}, {"statistics": "apart"}):
            with pytest.raises(ValueError, match=next(iter(bad))):
                method(None, **bad).fit(X, y, sample_domain=domain)


def test_smoothness_of_nothing_is_none(table):
    X = table[0]
    assert_array_equal(
        fitted(DANNClassifier, table).transform(X), fitted(DANNClassifier, table, smoothness=0).transform(X)
    )


def test_smoothness_does_not_go_with_scaled_losses(table):
    with pytest.raises(ValueError, match=r"smoothness=0\.1 goes neither with accelerate=True"):
        fitted(DANNClassifier, table, smoothness=0.1, precision="float16")
