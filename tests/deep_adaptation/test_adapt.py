"""Predictions for a domain that no fit has seen."""

import numpy as np
import pytest
from common_source_free import METHODS, small_network, table, table_source
from numpy.testing import assert_allclose, assert_array_equal

from sktransfer import DANNClassifier, DeepCORALRegressor, Recipe, make_image_domains


@pytest.fixture(scope="module")
def moved():
    """Rows of the target, moved and scaled as no domain of the fit was."""
    X, _, domain = table()
    return 3 * X[domain == "target"] + 5


class TestStatistics:
    def test_are_those_of_the_new_rows_and_the_weights_stay(self, moved):
        source = table_source()
        adapted = source.adapt(moved)
        linear, norm, _ = adapted.net_.module_.neck[0]
        hidden = moved.astype(np.float32).astype(float) @ linear.weight.detach().double().numpy().T
        assert_allclose(norm.running_mean, hidden.mean(0), rtol=1e-4, atol=1e-4)
        assert_allclose(norm.running_var, hidden.var(0, ddof=1), rtol=1e-4)
        for before, after in zip(source.net_.module_.parameters(), adapted.net_.module_.parameters(), strict=True):
            assert_array_equal(after.detach(), before.detach())
        assert type(adapted) is type(source)
        assert adapted.get_params() == source.get_params()

    def test_take_away_what_moves_and_scales_all_columns_alike(self, moved):
        X, _, domain = table()
        source, target = table_source(), X[domain == "target"]
        expected = source.adapt(target).predict_proba(target)
        assert_allclose(source.adapt(moved).predict_proba(moved), expected, atol=1e-3)
        assert not np.allclose(source.predict_proba(moved), expected, atol=0.1)

    def test_source_is_left_alone_and_its_statistics_may_weigh(self, moved):
        source = table_source()
        before = source.predict_proba(moved)
        half = source.adapt(moved, fit_weight=0.5)
        assert_allclose(source.adapt(moved, fit_weight=1.0).predict_proba(moved), before, atol=1e-6)
        means = [model.net_.module_.neck[0][1].running_mean for model in (source, half, source.adapt(moved))]
        assert_allclose(means[1], (means[0] + means[2]) / 2, rtol=1e-5, atol=1e-6)
        assert_array_equal(source.predict_proba(moved), before)

    def test_of_pictures_are_taken_where_the_network_learned(self):
        X, y, domain = make_image_domains(16, 16, n_classes=2, image_size=16, random_state=0)
        for trainable, changed in ((1, [False, False, True]), ("all", [True] * 3)):
            network = small_network()
            options = {"image_size": 16, "trainable": trainable, "bottleneck": None, "max_epochs": 1}
            source = DANNClassifier(network, **options, batch_size=8, random_state=0).fit(X, y, sample_domain=domain)
            adapted = source.adapt(255 - X)
            found = []
            for stage in range(3):
                means = [_running_mean(model, stage) for model in (source, adapted)]
                found.append(means[0] is not None and not np.allclose(*means))
            assert found == changed

    def test_regressors_adapt_too(self, moved):
        X, y, domain = table()
        options = {"bottleneck": 8, "max_epochs": 2, "random_state": 0}
        reg = DeepCORALRegressor(None, **options).fit(X, y.astype(float), sample_domain=domain)
        assert not np.allclose(reg.adapt(moved).predict(moved), reg.predict(moved))


def _running_mean(model, stage):
    found = dict(model.net_.module_.named_buffers())
    names = [name for name in found if name.startswith("body.") and f".{stage}.1.running_mean" in name]
    return found[names[0]].numpy() if names else None


class TestRefusals:
    def test_without_a_layer_that_learned(self):
        X, y, domain = make_image_domains(8, 8, n_classes=2, image_size=16, random_state=0)
        recipe = Recipe(batch_norm="frozen")
        options = {"image_size": 16, "trainable": 1, "bottleneck": None, "max_epochs": 1, "recipe": recipe}
        source = DANNClassifier(small_network(), **options, batch_size=8).fit(X, y, sample_domain=domain)
        with pytest.raises(ValueError, match=r"no BatchNorm layers that learned.*SHOTClassifier\(model\)\.fit\(X\)"):
            source.adapt(X)

    def test_one_row(self, moved):
        with pytest.raises(ValueError, match="needs at least 2 of them; got 1 sample"):
            table_source().adapt(moved[:1])

    def test_weights_that_are_no_shares(self, moved):
        with pytest.raises(ValueError, match=r"fit_weight must be in \[0, 1\], got 2"):
            table_source().adapt(moved, fit_weight=2)


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.__name__)
def test_without_source_data_it_is_a_fit_of_a_copy_from_the_source_model(method, moved, tmp_path):
    X, _, domain = table()
    options = {"max_epochs": 1, "random_state": 0} if "max_epochs" in method(None).get_params() else {}
    expected = method(table_source(), **options).fit(moved).predict_proba(moved)
    folder = {"checkpoint_dir": tmp_path} if options else {}
    fitted = method(table_source(), **options, **folder).fit(X[domain == "target"])
    before = fitted.predict_proba(moved)
    assert_array_equal(fitted.adapt(moved).predict_proba(moved), expected)
    assert_array_equal(fitted.predict_proba(moved), before)
