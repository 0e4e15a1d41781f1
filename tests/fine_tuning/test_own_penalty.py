"""A penalty of one's own is one file: what computes, and what holds the parameters."""

import functools
import pickle

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV

from sktransfer import FineTunedClassifier
from sktransfer.exceptions import WeightsMismatchError
from sktransfer.fine_tuning import Penalty, Regularizer


class KeptNormPenalty(Penalty):
    """alpha times the squared distance of the features' norms from their mean norm in the source network."""

    def __init__(self, alpha, on_norm):
        self.alpha = alpha
        self.on_norm = on_norm

    def attach(self, module, setup):
        self.norm = float(np.linalg.norm(setup.source_features(), axis=1).mean())
        self.on_norm(self.norm)

    def __call__(self, module, inputs, outputs, rows):
        return self.alpha * (outputs.features.norm(dim=1) - self.norm).square().mean()


class KeptNorm(Regularizer):
    """Hold the parameter, and in the end the norm."""

    def __init__(self, alpha=1.0):
        self.alpha = alpha

    def make_penalty(self):
        return KeptNormPenalty(self.alpha, functools.partial(setattr, self, "norm_"))


@pytest.fixture(scope="module")
def few():
    return tuple(part[:60] for part in load_digits(return_X_y=True))


def make(regularizer):
    return FineTunedClassifier("sktransfer_mini", trainable=1, regularizer=regularizer, max_epochs=2, random_state=0)


@pytest.fixture(scope="module")
def fitted(few):
    return make(KeptNorm(0.5)).fit(*few)


def test_it_is_added_to_the_loss(few, fitted):
    assert all(epoch["penalty"] > 0 for epoch in fitted.history_)
    assert not np.array_equal(fitted.predict_proba(few[0]), make(None).fit(*few).predict_proba(few[0]))
    np.testing.assert_array_equal(
        make(KeptNorm(0.0)).fit(*few).predict_proba(few[0]), make(None).fit(*few).predict_proba(few[0])
    )


def test_what_it_learned_is_kept_and_the_parameter_is_as_it_was_passed(fitted):
    assert fitted.regularizer_.norm_ > 0
    assert vars(fitted.regularizer) == {"alpha": 0.5}


def test_a_search_reaches_its_parameter(few):
    search = GridSearchCV(make(KeptNorm()), {"regularizer__alpha": [0.1, 10.0]}, cv=2).fit(*few)
    assert search.best_estimator_.regularizer_.alpha == search.best_params_["regularizer__alpha"]


def test_it_comes_back_from_a_pickle(few, fitted):
    again = pickle.loads(pickle.dumps(fitted))
    assert again.regularizer_.norm_ == fitted.regularizer_.norm_
    np.testing.assert_array_equal(again.predict_proba(few[0]), fitted.predict_proba(few[0]))


def test_it_comes_back_from_a_file(few, fitted, tmp_path):
    fitted.save(tmp_path / "clf")
    again = FineTunedClassifier.load(tmp_path / "clf")
    assert type(again.regularizer) is type(again.regularizer_) is KeptNorm
    assert vars(again.regularizer) == {"alpha": 0.5}
    assert again.regularizer_.norm_ == fitted.regularizer_.norm_
    np.testing.assert_array_equal(again.predict_proba(few[0]), fitted.predict_proba(few[0]))
    np.testing.assert_array_equal(again.fit(*few).predict_proba(few[0]), fitted.predict_proba(few[0]))


def test_a_file_names_its_class_and_brings_no_code(fitted, tmp_path, monkeypatch):
    fitted.save(tmp_path / "clf")
    monkeypatch.setattr(KeptNorm, "__module__", "elsewhere")  # as where its module was not imported
    with pytest.raises(WeightsMismatchError, match=r"no class '.*test_own_penalty\.KeptNorm' .* import the module"):
        FineTunedClassifier.load(tmp_path / "clf")


def test_one_that_makes_no_penalty_is_no_regularizer():
    class Idle(Regularizer):
        pass

    with pytest.raises(TypeError, match="make_penalty"):
        Idle()
