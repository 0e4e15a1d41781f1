"""How a network is trained: names, what is said beside them, and what is taken."""

import inspect
import pickle
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.base import BaseEstimator, clone
from sklearn.model_selection import GridSearchCV

import sktransfer
from sktransfer import DANNClassifier, FineTunedClassifier, FineTunedRegressor, Recipe, make_domain_shift
from sktransfer._nets._recipe import FLAT, RECIPES, resolve_recipe, suited

TINY = {"backbone": "test_resnet", "weights": None, "image_size": 32, "random_state": 0, "max_epochs": 1}
TAKE_RECIPES = [
    value
    for name in sktransfer.__all__
    if isinstance(value := getattr(sktransfer, name), type) and "recipe" in inspect.signature(value).parameters
]


@pytest.fixture(scope="module")
def few(digits):
    X, y = digits
    return X[:30], y[:30] % 3


def params(recipe):
    return recipe.get_params(deep=False)


class TestResolving:
    def test_auto_is_a_recipe_as_it_is_made(self):
        assert params(resolve_recipe("auto")) == params(Recipe()) == params(resolve_recipe(Recipe()))
        assert {name: params(Recipe())[name] for name in FLAT} == {
            "trainable": "head",
            "max_epochs": 30,
            "batch_size": 32,
            "lr": 1e-3,
            "augment": None,
        }

    @pytest.mark.parametrize("name", RECIPES)
    def test_every_name_is_a_valid_recipe_that_the_docstring_tells_of(self, name):
        resolve_recipe(name)._validate_params()
        assert f'``"{name}"``' in Recipe.__doc__ or f'recipe="{name}"' in Recipe.__doc__

    def test_what_is_said_beside_it_comes_first_and_none_says_nothing(self):
        given = Recipe(max_epochs=5, lr=0.1, augment="light")
        found = resolve_recipe(given, trainable=2, max_epochs=None, batch_size=8, lr="auto")
        assert repr(found) == "Recipe(augment='light', batch_size=8, lr='auto', max_epochs=5, trainable=2)"
        assert repr(given) == "Recipe(augment='light', lr=0.1, max_epochs=5)"
        assert resolve_recipe(given, augment="none").augment is None
        assert resolve_recipe("lp-ft", trainable=2).trainable == 2

    @pytest.mark.parametrize("name", ["lpft", "Gradual", "", None, 3, {"lr": 1}])
    def test_unknown_name(self, name):
        with pytest.raises(ValueError, match=r"recipe must be one of \['auto', .* or a Recipe, got"):
            resolve_recipe(name)

    def test_misspelt_name_says_which_one_was_meant(self):
        with pytest.raises(ValueError, match="Did you mean 'lp-ft'"):
            resolve_recipe("lp_ft")

    @pytest.mark.parametrize(
        ("name", "trainable"),
        [("lora", 2), ("head", 1), ("full", "head"), ("head", ["layer4"]), ("lp-ft", "head"), ("gradual", "head")],
    )
    def test_contradictions_name_both(self, few, name, trainable):
        with pytest.raises(ValueError) as caught:
            FineTunedClassifier(**TINY, recipe=name, trainable=trainable).fit(*few)
        assert f"trainable={trainable!r} contradicts recipe={name!r}" in str(caught.value)

    @pytest.mark.parametrize(("name", "trainable"), [("lora", "lora"), ("head", "head"), ("full", "all"), ("auto", 1)])
    def test_what_the_recipe_says_itself_may_be_said_again(self, name, trainable):
        assert resolve_recipe(name, trainable=trainable).trainable == trainable

    def test_parameters_are_checked(self):
        with pytest.raises(ValueError, match="Invalid parameter 'momentum'"):
            Recipe().set_params(momentum=0.9)
        with pytest.raises(TypeError, match="momentum"):
            Recipe(momentum=0.9)
        with pytest.raises(ValueError, match="'schedule' parameter of Recipe must be"):
            resolve_recipe(Recipe(schedule="linear"))
        with pytest.raises(ValueError, match="warmup_epochs=2 leaves none of max_epochs=2"):
            resolve_recipe(Recipe(warmup_epochs=2), max_epochs=2)


class TestSteps:
    PICTURES, TEXTS = SimpleNamespace(module=SimpleNamespace()), SimpleNamespace(module=SimpleNamespace(tuning_lr=5e-5))

    def epochs(self, n_rows, backbone=PICTURES, *, is_calm=True, **said):
        recipe = Recipe(**{"trainable": 2, **said})
        found = suited(recipe, backbone, is_calm=is_calm, is_a_pass=False, n_rows=n_rows)
        assert found.max_epochs == recipe.max_epochs
        return found.probe_epochs

    @pytest.mark.parametrize(
        ("n_rows", "epochs"), [(5, 70), (32, 70), (33, 20), (64, 20), (65, 4), (96, 4), (97, 0), (5000, 0)]
    )
    def test_a_calm_recipe_has_a_hundred_steps_at_least(self, n_rows, epochs):
        assert self.epochs(n_rows) == self.epochs(n_rows, self.TEXTS) == epochs

    def test_smaller_batches_and_a_probe_of_the_recipe_are_steps_too(self):
        assert self.epochs(32, batch_size=8) == 0
        assert self.epochs(32, batch_size=16) == 20
        assert self.epochs(32, max_epochs=100) == 0
        assert [self.epochs(n_rows, probe_epochs=60) for n_rows in (32, 64, 5000)] == [70, 60, 60]

    def test_what_is_not_calm_has_its_own(self):
        assert self.epochs(None) == 0
        assert self.epochs(5, trainable="head") == self.epochs(5, is_calm=False) == 0
        assert self.epochs(5, self.TEXTS, is_calm=False) == 0


class TestOnEstimators:
    def test_there_are_some(self):
        assert {FineTunedClassifier, FineTunedRegressor, DANNClassifier} < set(TAKE_RECIPES)

    @pytest.mark.parametrize("cls", TAKE_RECIPES)
    def test_what_a_recipe_holds_is_no_parameter_beside_it(self, cls):
        own = inspect.signature(cls).parameters
        assert set(own) & set(inspect.signature(Recipe).parameters) == set(FLAT)
        assert own["recipe"].default == "auto"
        assert all(own[name].default is None for name in FLAT)
        with pytest.raises(TypeError, match="schedule"):
            cls(schedule="cosine")

    def test_what_was_taken_is_told(self, few):
        clf = FineTunedClassifier(**TINY, recipe="full", batch_size=8).fit(*few)
        taken = {**RECIPES["full"], "max_epochs": 1, "batch_size": 8}
        assert params(clf.recipe_) == params(Recipe(**taken))
        again = FineTunedClassifier(**{**TINY, "max_epochs": None}, recipe=clf.recipe_).fit(*few)
        np.testing.assert_array_equal(again.predict_proba(few[0]), clf.predict_proba(few[0]))

    def test_a_name_and_its_particulars_are_the_same_training(self, few, tmp_path):
        named = FineTunedClassifier(**TINY, recipe="head", checkpoint_dir=tmp_path).fit(*few)
        told = FineTunedClassifier(**TINY, recipe=Recipe(schedule="cosine"), checkpoint_dir=tmp_path).fit(*few)
        np.testing.assert_array_equal(told.predict_proba(few[0]), named.predict_proba(few[0]))

    def test_low_rank_and_gradual(self, few):
        pytest.importorskip("peft")
        for name in ("lora", "gradual"):
            clf = FineTunedClassifier(**TINY, recipe=name).fit(*few)
            assert clf.plan_.lora == (name == "lora")
            assert clf.history_[0]["phase"] == ("train" if name == "lora" else "unfreeze 0")

    @pytest.mark.parametrize("recipe", ["auto", Recipe(schedule="cosine")])
    def test_clone_and_pickle(self, few, recipe):
        clf = FineTunedClassifier(**TINY, recipe=recipe)
        assert repr(clone(clf)) == repr(clf)
        fitted = clone(clf).fit(*few)
        for again in (pickle.loads(pickle.dumps(fitted)), clone(fitted).fit(*few)):
            assert repr(again.recipe_) == repr(fitted.recipe_)
            np.testing.assert_array_equal(again.predict_proba(few[0]), fitted.predict_proba(few[0]))

    def test_parameters_of_the_recipe_are_set_and_searched(self, few):
        clf = FineTunedClassifier(**{**TINY, "max_epochs": 2}, recipe=Recipe())
        assert clf.set_params(recipe__optimizer="sgd").recipe.optimizer == "sgd"
        search = GridSearchCV(clf, {"recipe__lr": [1e-3, 0.1]}, cv=2).fit(*few)
        assert search.best_estimator_.lr_ == search.best_params_["recipe__lr"]
        by_name = GridSearchCV(clf, {"recipe": ["auto", "head", Recipe(lr=0.1)]}, cv=2).fit(*few)
        assert len(by_name.cv_results_["params"]) == 3

    def test_a_name_has_no_parameters(self):
        clf = FineTunedClassifier(recipe="full")
        with pytest.raises(ValueError, match=r"recipe__lr=0\.1: recipe='full' is a name.*recipe=Recipe\(\)"):
            clf.set_params(recipe__lr=0.1)
        assert clf.set_params(recipe=Recipe(), recipe__lr=0.1).recipe.lr == 0.1

    @pytest.mark.parametrize("recipe", ["auto", Recipe(schedule="cosine", trainable=["layer4"])])
    def test_file(self, few, tmp_path, recipe):
        clf = FineTunedClassifier(**TINY, recipe=recipe).fit(*few)
        clf.save(tmp_path / "file")
        again = FineTunedClassifier.load(tmp_path / "file")
        assert repr(again) == repr(clf)
        assert repr(again.recipe_) == repr(clf.recipe_)
        np.testing.assert_array_equal(again.predict_proba(few[0]), clf.predict_proba(few[0]))
        again.set_params(max_epochs=2).fit(*few)

    def test_file_of_a_training_augmented_by_a_function(self, few, tmp_path):
        clf = FineTunedClassifier(**TINY, augment=lambda picture: picture, recipe=Recipe(augment=np.array)).fit(*few)
        with pytest.raises(ValueError, match=r"recipe__augment=.*set_params\(recipe__augment=None\)"):
            clf.save(tmp_path / "file")
        with pytest.raises(ValueError, match=r"augment=.*set_params\(augment=None\)"):
            clf.set_params(recipe__augment=None).save(tmp_path / "file")
        clf.set_params(augment=None).save(tmp_path / "file")
        assert FineTunedClassifier.load(tmp_path / "file").recipe_.augment is None

    def test_regressors_have_no_labels_to_smooth(self, few):
        with pytest.raises(ValueError, match=r"label_smoothing=0\.1 of the recipe has no meaning for FineTuned"):
            FineTunedRegressor(**TINY, recipe=Recipe(label_smoothing=0.1)).fit(*few)

    def test_batch_size_may_be_changed_after_the_training(self, few):
        clf = FineTunedClassifier(**TINY, recipe=Recipe(batch_size=8)).fit(*few)
        before = clf.predict_proba(few[0])
        np.testing.assert_allclose(clf.set_params(batch_size=3).predict_proba(few[0]), before, atol=1e-5)

    def test_deep_adaptation_goes_by_it(self):
        X, y, domain = make_domain_shift(20, 20, random_state=0)
        clf = DANNClassifier(None, bottleneck=4, recipe=Recipe(max_epochs=2, batch_size=5), random_state=0)
        clf.fit(X, y, sample_domain=domain)
        assert clf.n_iter_ == 2
        assert repr(clf.recipe_) == "Recipe(batch_size=5, max_epochs=2)"


@pytest.mark.parametrize("name", sktransfer.__all__)
def test_no_class_has_more_than_36_parameters(name):
    value = getattr(sktransfer, name)
    if isinstance(value, type) and issubclass(value, BaseEstimator):
        assert len(inspect.signature(value).parameters) <= 36


def test_a_recipe_is_written_without_torch():
    code = "import sys; from sktransfer import Recipe; Recipe(lr=0.1); print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
