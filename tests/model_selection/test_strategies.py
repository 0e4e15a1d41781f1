import numpy as np
import pytest
from sklearn.base import clone

from sktransfer import FineTunedClassifier, make_domain_shift, make_image_domains
from sktransfer._nets._recipe import RECIPES
from sktransfer.domains import check_domains, domain_parameters, fit_on_domains
from sktransfer.model_selection._strategies import ON_REQUEST, make_strategies

READING = {"backbone": "sktransfer_mini", "weights": "pretrained", "image_size": 32}
TRAINING = {"max_epochs": 2, "batch_size": 16, "device": "cpu"}


def made(*, with_target, reading=READING):
    return make_strategies(
        with_target=with_target, reading=reading, training=TRAINING, target_domain=["target", "t2"], seed=3
    )


def test_new_classes():
    strategies, baseline = made(with_target=False)
    assert list(strategies) == [
        "no_transfer",
        "frozen_prototypes",
        "frozen_linear",
        "frozen_knn",
        "head",
        "last_stages",
        "full",
        "lp-ft",
        "gradual",
        "lora",
        "from_scratch",
    ]
    assert baseline == "no_transfer"
    assert set(ON_REQUEST) <= set(strategies)
    for name in ("head", "last_stages", "full", "lp-ft", "gradual", "lora"):
        assert isinstance(strategies[name], FineTunedClassifier)
        assert strategies[name].image_size == 32
        assert strategies[name].random_state == 3
        assert strategies[name].max_epochs == 2
    assert strategies["from_scratch"].weights is None


def test_networks_are_trained_by_the_recipes_of_their_names():
    strategies, _ = made(with_target=False)
    plain = FineTunedClassifier(**READING, **TRAINING, random_state=3)
    for name in set(RECIPES) - {"auto"}:
        assert strategies[name].get_params() == clone(plain).set_params(recipe=name).get_params()
    assert strategies["last_stages"].get_params() == clone(plain).set_params(trainable=2).get_params()
    assert made(with_target=True)[0]["head"].recipe == "head"


@pytest.mark.parametrize("reading", [READING, None], ids=["pictures", "tables"])
def test_a_target_domain(reading):
    strategies, baseline = made(with_target=True, reading=reading)
    assert baseline == next(iter(strategies)) == "no_adaptation"
    assert list(strategies)[1] == "prototypes"
    assert {"coral", "subspace_alignment", "jda", "label_shift", "mcc", "bnm", "dsan"} <= set(strategies)
    assert ("head" in strategies) is (reading is not None)
    for name, estimator in strategies.items():
        assert bool(domain_parameters(estimator, np.array([]))) is (name not in ("no_adaptation", "head"))
        params = estimator.get_params()
        domains = [value for key, value in params.items() if key.rpartition("__")[2] == "target_domain"]
        assert all(value == ["target", "t2"] for value in domains)


def test_the_baseline_sees_pixels_only():
    X, y, _ = make_image_domains(12, 2, random_state=0)
    baseline = clone(made(with_target=False)[0]["no_transfer"]).fit(X[:12], y[:12])
    assert baseline[:-1].transform(X).shape == (14, 16 * 16 * 3)


def test_all_strategies_of_tables_can_be_fitted():
    X, y, names = make_domain_shift(40, 40, n_features=40, random_state=0)
    for estimator in made(with_target=True, reading=None)[0].values():
        fitted = fit_on_domains(clone(estimator), X, y, check_domains(names))
        assert fitted.predict(X[:3]).shape == (3,)
