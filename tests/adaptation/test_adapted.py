import pickle
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
import sklearn
from common_adapters import MeanShiftWeighter
from imblearn.pipeline import make_pipeline as make_imblearn_pipeline
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import HistGradientBoostingClassifier, StackingClassifier, VotingClassifier
from sklearn.exceptions import FitFailedWarning
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, KFold, LeaveOneGroupOut, cross_val_predict, cross_validate
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier

from sktransfer import FourierAdapter
from sktransfer.adaptation import (
    AdaptedClassifier,
    AdaptedRegressor,
    DomainStandardizer,
    MMDAdapter,
    pack_domains,
)
from sktransfer.adaptation._weighted_fit import resample_by_weight
from sktransfer.datasets import make_domain_shift
from sktransfer.exceptions import DomainError, NegativeTransferWarning
from sktransfer.weighting import KMMWeighter

ADAPTERS = [MMDAdapter(2), MMDAdapter(3, kernel="rbf"), MeanShiftWeighter()]


@pytest.fixture
def data():
    return make_domain_shift(60, 40, n_features=4, n_classes=3, shift="subspace", random_state=0)


@pytest.fixture
def routing():
    with sklearn.config_context(enable_metadata_routing=True):
        yield


class Recorder(ClassifierMixin, BaseEstimator):
    """Keeps what its fit got."""

    def fit(self, X, y, sample_weight=None):
        self.X_, self.y_, self.sample_weight_ = X, y, sample_weight
        self.classes_ = np.unique(y)
        return self

    def predict(self, X):
        return np.full(len(X), self.classes_[0])


class TestFit:
    def test_estimator_sees_adapted_source_rows(self, data):
        X, y, d = data
        model = AdaptedClassifier(Recorder(), MMDAdapter(2)).fit(X, y, sample_domain=d)
        expected = MMDAdapter(2).fit_transform(X, sample_domain=d)
        assert_allclose(model.estimator_.X_, expected[d == "source"])
        assert_array_equal(model.estimator_.y_, y[d == "source"])
        assert model.estimator_.sample_weight_ is None
        assert_allclose(model.transform(X), expected)

    def test_estimator_sees_weighted_source_rows(self, data):
        X, y, d = data
        model = AdaptedClassifier(Recorder(), MeanShiftWeighter()).fit(X, y, sample_domain=d)
        assert_allclose(model.estimator_.X_, X[d == "source"])
        assert_allclose(model.estimator_.sample_weight_, model.adapter_.weights_)
        assert not hasattr(model, "transform")

    def test_adaptation_helps_where_it_should(self, data):
        X, y, d = data
        t = d == "target"
        model = AdaptedClassifier(LogisticRegression(), MMDAdapter(2)).fit(X, y, sample_domain=d)
        no_transfer = LogisticRegression().fit(X[~t], y[~t])
        assert model.score(X[t], y[t]) > 0.9 > 0.6 > no_transfer.score(X[t], y[t])

    @pytest.mark.parametrize("adapter", ADAPTERS)
    @pytest.mark.parametrize("names", [None, ["u", "v", "w"]])
    def test_target_labels_are_not_read(self, data, adapter, names):
        X, y, d = data
        y = y if names is None else np.array(names)[y]
        permuted, foreign = y.copy(), y.astype(object)
        permuted[d == "target"] = np.random.default_rng(0).permutation(y[d == "target"])
        foreign[d == "target"] = "never seen"
        expected = AdaptedClassifier(adapter=adapter).fit(X, y, sample_domain=d).predict_proba(X)
        for other in (permuted, foreign):
            model = AdaptedClassifier(adapter=adapter).fit(X, other, sample_domain=d)
            assert_array_equal(model.predict_proba(X), expected)

    @pytest.mark.parametrize("as_text", [False, True])
    def test_missing_labels_are_the_same_as_naming_domains(self, data, as_text):
        X, y, d = data
        y = np.array(["u", "v", "w"])[y] if as_text else y
        expected = AdaptedClassifier().fit(X, y, sample_domain=d).predict(X)
        target = d == "target"
        masks = [np.where(target, None, y.astype(object))]
        if not as_text:
            masks += [np.where(target, -1, y), np.where(target, np.nan, y)]
        for masked in masks:
            model = AdaptedClassifier().fit(X, masked)
            assert_array_equal(model.predict(X), expected)
            assert_array_equal(model.classes_, np.unique(y))

    def test_string_labels_several_sources_and_target_domain(self, data):
        X, y, d = data
        y = np.array(["u", "v", "w"])[y]
        names = np.where(d == "target", "clinic", np.where(np.arange(100) % 2, "a", "b"))
        adapter = MMDAdapter(2, target_domain="clinic")
        model = AdaptedClassifier(adapter=adapter).fit(X, y, sample_domain=names)
        assert model.adapter_.source_domains_ == ["a", "b"]
        assert set(model.predict(X)) <= {"u", "v", "w"}
        model_by_missing = AdaptedClassifier(adapter=adapter).fit(X, np.where(d == "target", None, y))
        assert_array_equal(model_by_missing.predict(X), model.predict(X))

    def test_refit_reads_roles_by_the_new_adapter(self, data):
        X, y, d = data
        model = AdaptedClassifier(adapter=MMDAdapter(2)).fit(X, y, sample_domain=d)
        model.set_params(adapter__target_domain="source").fit(X, y, sample_domain=d)
        assert model.adapter_.source_domains_ == ["target"]
        model.set_params(adapter=MeanShiftWeighter()).fit(X, y, sample_domain=d)
        assert not hasattr(model, "transform")

    def test_minus_one_and_one_are_classes(self, data):
        X, y, d = data
        y = np.where(y > 0, 1, -1)
        model = AdaptedClassifier(adapter=MMDAdapter(2)).fit(X, y, sample_domain=d)
        assert_array_equal(model.classes_, [-1, 1])
        assert not model.minus_one_is_missing_
        assert model.score(X, y) == pytest.approx(np.mean(model.predict(X) == y))

    @pytest.mark.parametrize("labels", [[True, False], [0.5, 1.5]])
    def test_kinds_of_labels(self, data, labels):
        X, y, d = data
        y = np.array(labels)[np.minimum(y, 1)]
        if labels == [0.5, 1.5]:
            with pytest.raises(ValueError, match="Unknown label type"):
                AdaptedClassifier().fit(X, y, sample_domain=d)
        else:
            assert AdaptedClassifier().fit(X, y, sample_domain=d).predict(X).dtype == bool

    def test_use_target_labels(self, data):
        X, y, d = data
        y = y.copy()
        y[65:] = -1
        model = AdaptedClassifier(Recorder(), MMDAdapter(2), use_target_labels=True).fit(X, y, sample_domain=d)
        assert_array_equal(model.estimator_.y_, y[:65])
        y[62] = 0
        assert_array_equal(clone(model).fit(X, y, sample_domain=d).estimator_.y_, y[:65])
        assert len(model.set_params(use_target_labels=False).fit(X, y, sample_domain=d).estimator_.y_) == 60

    def test_use_target_labels_with_a_weighter(self, data):
        X, y, d = data
        y = np.where(np.arange(100) < 65, y, -1)
        model = AdaptedClassifier(Recorder(), MeanShiftWeighter(), use_target_labels=True).fit(X, y, sample_domain=d)
        assert_allclose(model.estimator_.sample_weight_, np.r_[model.adapter_.weights_, np.ones(5)])

    def test_sample_weight_is_passed_on(self, data):
        X, y, d = data
        weight = np.arange(100.0)
        model = AdaptedClassifier(Recorder(), MMDAdapter(2)).fit(X, y, sample_domain=d, sample_weight=weight)
        assert_allclose(model.estimator_.sample_weight_, weight[:60])
        model = AdaptedClassifier(Recorder(), MeanShiftWeighter()).fit(X, y, sample_domain=d, sample_weight=weight)
        assert_allclose(model.estimator_.sample_weight_, weight[:60] * model.adapter_.weights_)

    @pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame, np.asfortranarray, np.ndarray.tolist])
    @pytest.mark.parametrize("adapter", ADAPTERS)
    def test_containers(self, data, make, adapter):
        X, y, d = data
        expected = AdaptedClassifier(adapter=adapter).fit(X, y, sample_domain=d).predict(X)
        frame = make(X) if make is not pl.DataFrame else pl.DataFrame(X, schema=list("abcd"))
        model = AdaptedClassifier(adapter=adapter).fit(frame, list(y), sample_domain=pd.Series(d))
        assert_array_equal(model.predict(frame), expected)
        assert model.score(frame, pl.Series(y)) == pytest.approx(np.mean(expected == y))

    def test_packed_domains(self, data):
        X, y, d = data
        s = d == "source"
        model = AdaptedClassifier(adapter=MMDAdapter(2)).fit(*pack_domains((X[s], y[s]), X[~s])[:2])
        assert model.score(X[~s], y[~s]) > 0.9

    def test_adapter_with_frame_output(self, data):
        X, y, d = data
        model = AdaptedClassifier(adapter=MMDAdapter(2).set_output(transform="pandas")).fit(X, y, sample_domain=d)
        assert list(model.estimator_.feature_names_in_) == ["mmdadapter0", "mmdadapter1"]
        assert_array_equal(model.get_feature_names_out(), ["mmdadapter0", "mmdadapter1"])

    def test_caller_data_is_not_written(self, data):
        for array in data:
            array.setflags(write=False)
        X, y, d = data
        for adapter in ADAPTERS:
            AdaptedClassifier(adapter=adapter).fit(X, y, sample_domain=d).score(X, y, sample_domain=d)

    def test_refit_clone_pickle_and_parameters_left_alone(self, data):
        X, y, d = data
        adapter, classifier = MMDAdapter(2), LogisticRegression()
        model = AdaptedClassifier(classifier, adapter).fit(X[::2], y[::2], sample_domain=d[::2])
        expected = model.fit(X, y, sample_domain=d).predict_proba(X)
        assert_array_equal(clone(model).fit(X, y, sample_domain=d).predict_proba(X), expected)
        assert_array_equal(pickle.loads(pickle.dumps(model)).predict_proba(X), expected)
        assert not hasattr(adapter, "coef_")
        assert not hasattr(classifier, "coef_")

    @pytest.mark.usefixtures("untouched_random_state")
    def test_global_random_state_is_left_alone(self, data):
        X, y, d = data
        with pytest.warns(UserWarning, match="resampled"):
            AdaptedClassifier(KNeighborsClassifier(1), MeanShiftWeighter(), random_state=0).fit(X, y, sample_domain=d)


class Shuffled(MMDAdapter):
    """Does harm: rows of the target become rows of noise."""

    def _transform_rows(self, X, is_target):
        return np.random.default_rng(0).normal(size=(len(X), 2))


class TestGuard:
    @pytest.fixture
    def helped(self):
        return make_domain_shift(shift="subspace", n_features=5, random_state=0)

    def test_adaptation_that_helps_is_kept(self, helped):
        X, y, d = helped
        with warnings.catch_warnings():
            warnings.simplefilter("error", NegativeTransferWarning)
            model = AdaptedClassifier(LogisticRegression(), MMDAdapter(2), guard=True).fit(X, y, sample_domain=d)
        assert model.evidence_.helps
        assert not model.fell_back_
        expected = AdaptedClassifier(LogisticRegression(), MMDAdapter(2)).fit(X, y, sample_domain=d)
        assert_array_equal(model.predict_proba(X), expected.predict_proba(X))

    @pytest.mark.parametrize("mark", [{"target_domain": "target"}, {"target_domain": ["target", "other"]}])
    def test_harm_is_noticed_and_the_estimator_alone_is_used(self, data, mark):
        X, y, d = data
        source = d == "source"
        model = AdaptedClassifier(LogisticRegression(), Shuffled(2, **mark), guard=True)
        with pytest.warns(NegativeTransferWarning, match="No evidence that Shuffled helps"):
            model.fit(X, y, sample_domain=d)
        assert model.fell_back_
        alone = LogisticRegression().fit(X[source], y[source])
        for part in (model, pickle.loads(pickle.dumps(model))):
            assert_array_equal(part.predict_proba(X), alone.predict_proba(X))
            assert_array_equal(part.transform(X), X)
        assert model.score(X[~source], y[~source]) == alone.score(X[~source], y[~source])

    def test_a_weighter_is_guarded_too(self, data):
        X, y, d = data
        model = AdaptedClassifier(LogisticRegression(), MeanShiftWeighter(), guard=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NegativeTransferWarning)
            model.fit(X, y, sample_domain=d)
        alone = LogisticRegression().fit(X[d == "source"], y[d == "source"])
        if model.fell_back_:
            assert_array_equal(model.predict_proba(X), alone.predict_proba(X))
        assert model.evidence_.agreement[0] <= 1

    def test_target_labels_are_not_read(self, data):
        X, y, d = data
        other = np.where(d == "target", (y + 1) % 3, y)
        evidence = []
        for labels in (y, other):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", NegativeTransferWarning)
                evidence.append(
                    AdaptedClassifier(adapter=Shuffled(2), guard=True).fit(X, labels, sample_domain=d).evidence_
                )
        assert evidence[0] == evidence[1]

    def test_nothing_is_left_of_it_without_it(self, helped):
        X, y, d = helped
        model = AdaptedClassifier(LogisticRegression(), MMDAdapter(2), guard=True).fit(X, y, sample_domain=d)
        model.set_params(guard=False).fit(X, y, sample_domain=d)
        assert not hasattr(model, "evidence_")
        assert not hasattr(model, "fell_back_")

    def test_equal_predictions_are_no_reason_to_fall_back(self, data):
        X, y, d = data
        same = DomainStandardizer(with_mean=False, with_std=False)
        with warnings.catch_warnings():
            warnings.simplefilter("error", NegativeTransferWarning)
            model = AdaptedClassifier(LogisticRegression(), same, guard=True).fit(X, y, sample_domain=d)
        assert not model.fell_back_

    def test_a_guard_that_fails_does_not_end_the_fit(self, data):
        X, y, d = data

        class Once(LogisticRegression):
            fits = 0

            def fit(self, X, y):
                Once.fits += 1
                if Once.fits == 2:
                    raise RuntimeError("no luck")
                return super().fit(X, y)

        with pytest.warns(FitFailedWarning, match=r"no evidence for or against adaptation.*no luck"):
            model = AdaptedClassifier(Once(), MMDAdapter(2), guard=True).fit(X, y, sample_domain=d)
        assert model.evidence_ is None
        assert not model.fell_back_
        assert set(model.predict(X)) <= set(y)

    def test_samples_without_numbers(self):
        adapter = FourierAdapter(image_size=8)
        X = list(np.zeros((8, 8, 8, 3), np.uint8))
        model = AdaptedClassifier(Recorder(), adapter, guard=True)
        with pytest.raises(ValueError, match="guard=True compares rows of numbers"):
            model.fit(X, [0, 1] * 4, sample_domain=["source"] * 4 + ["target"] * 4)


class TestErrors:
    def test_domains(self, data):
        X, y, d = data
        with pytest.raises(DomainError, match="No target rows"):
            AdaptedClassifier().fit(X, y)
        with pytest.raises(DomainError, match="target_domain='clinic'"):
            AdaptedClassifier(adapter=MMDAdapter(target_domain="clinic")).fit(X, y, sample_domain=d)
        with pytest.raises(DomainError, match="source rows have no label"):
            AdaptedClassifier().fit(X, np.where(np.arange(100) == 3, np.nan, y), sample_domain=d)
        with pytest.raises(TypeError, match="positional"):
            AdaptedClassifier().fit(X, y, d)

    def test_input(self, data):
        X, y, d = data
        with pytest.raises(ValueError, match="inconsistent numbers of samples"):
            AdaptedClassifier().fit(X, y[1:], sample_domain=d)
        with pytest.raises(ValueError, match="needs numbers as y"):
            AdaptedRegressor().fit(X, y.astype(str), sample_domain=d)

    def test_parameters(self, data):
        X, y, d = data
        with pytest.raises(ValueError, match="'adapter' parameter of AdaptedClassifier"):
            AdaptedClassifier(adapter=LogisticRegression()).fit(X, y, sample_domain=d)
        with pytest.raises(ValueError, match="'estimator' parameter of AdaptedClassifier"):
            AdaptedClassifier(StandardScaler()).fit(X, y, sample_domain=d)

    def test_weights(self, data):
        X, y, d = data

        class Negative(MeanShiftWeighter):
            def _weigh_rows(self, X):
                return -np.ones(len(X))

        with pytest.raises(ValueError, match=r"not negative.*from -1\.0 to -1\.0"):
            AdaptedClassifier(adapter=Negative()).fit(X, y, sample_domain=d)


class TestScore:
    def test_only_labelled_rows_count(self, data):
        X, y, d = data
        model = AdaptedClassifier(adapter=MMDAdapter(2)).fit(X, y, sample_domain=d)
        source = d == "source"
        expected = np.mean(model.predict(X[source]) == y[source])
        for masked in (np.where(source, y, -1), np.where(source, y, np.nan), np.where(source, y, None)):
            assert model.score(X, masked) == pytest.approx(expected)
            assert model.score(X, masked, sample_domain=d) == pytest.approx(expected)
        with pytest.raises(ValueError, match="None of the 100 rows has a label"):
            model.score(X, np.full(100, -1))

    def test_weights(self, data):
        X, y, d = data
        model = AdaptedClassifier().fit(X, y, sample_domain=d)
        weight = np.arange(100.0)
        expected = np.average(model.predict(X[:50]) == y[:50], weights=weight[:50])
        assert model.score(X, np.where(np.arange(100) < 50, y, -1), weight) == pytest.approx(expected)

    def test_regressor(self):
        X, y, d = make_domain_shift(80, 60, n_features=3, n_classes=None, shift="subspace", random_state=0)
        t = d == "target"
        model = AdaptedRegressor(Ridge(), MMDAdapter(2)).fit(X, y, sample_domain=d)
        assert model.score(X[t], y[t]) > 0.8 > Ridge().fit(X[~t], y[~t]).score(X[t], y[t])
        assert model.score(X, np.where(t, y, np.nan)) == pytest.approx(model.score(X[t], y[t]))

    def test_integer_targets_of_a_regressor(self):
        X, y, d = make_domain_shift(80, 60, n_features=3, n_classes=9, shift="subspace", random_state=0)
        source = d == "source"
        model = AdaptedRegressor().fit(X, np.where(source, y, -1))
        assert model.score(X, np.where(source, y, -1)) == pytest.approx(model.score(X[source], y[source]))
        signed = AdaptedRegressor().fit(X, y - 4, sample_domain=d)
        assert not signed.minus_one_is_missing_
        assert signed.score(X, y - 4) == pytest.approx(model.score(X, y))


class TestResampling:
    def test_estimator_without_weights_is_fitted_on_resampled_rows(self, data):
        X, y, d = data
        model = AdaptedClassifier(KNeighborsClassifier(1), MeanShiftWeighter(), random_state=0)
        with pytest.warns(UserWarning, match=r"KNeighborsClassifier takes no sample_weight.*60 source rows resampled"):
            model.fit(X, y, sample_domain=d)
        rows = resample_by_weight(model.adapter_.weights_, random_state=0)
        expected = KNeighborsClassifier(1).fit(X[:60][rows], y[:60][rows]).predict(X)
        assert_array_equal(model.predict(X), expected)

    def test_weights_reach_the_last_step_of_a_pipeline(self, data):
        X, y, d = data
        pipeline = make_pipeline(StandardScaler(), LogisticRegression())
        model = AdaptedClassifier(pipeline, MeanShiftWeighter()).fit(X, y, sample_domain=d)
        expected = clone(pipeline).fit(X[:60], y[:60], logisticregression__sample_weight=model.adapter_.weights_)
        assert_allclose(model.predict_proba(X), expected.predict_proba(X))

    def test_weighted_regressor_without_weights(self):
        X, y, d = make_domain_shift(30, 20, n_classes=None, random_state=0)
        with pytest.warns(UserWarning, match="KNeighborsRegressor"):
            AdaptedRegressor(KNeighborsRegressor(), MeanShiftWeighter(), random_state=0).fit(X, y, sample_domain=d)


class TestDelegation:
    def test_methods_are_those_of_the_estimator(self, data):
        X, y, d = data
        svc = AdaptedClassifier(LinearSVC()).fit(X, y, sample_domain=d)
        assert svc.decision_function(X).shape == (100, 3)
        assert not hasattr(svc, "predict_proba")
        with pytest.raises(AttributeError, match="predict_proba"):
            AdaptedClassifier(LinearSVC()).predict_proba(X)
        tree = AdaptedClassifier(DecisionTreeClassifier()).fit(X, y, sample_domain=d)
        assert_allclose(np.log(np.clip(tree.predict_proba(X), 1e-300, 1)).shape, (100, 3))
        assert not hasattr(tree, "decision_function")
        assert not hasattr(AdaptedRegressor(), "predict_proba")
        assert not hasattr(AdaptedClassifier(adapter=MeanShiftWeighter()), "transform")

    def test_fit_transform(self, data):
        X, y, d = data
        model = AdaptedClassifier(adapter=MMDAdapter(2))
        expected = MMDAdapter(2).fit_transform(X, sample_domain=d)
        assert_allclose(model.fit_transform(X, y, sample_domain=d), expected)


class TestClients:
    def test_pipeline_without_routing(self, data):
        X, y, d = data
        pipe = make_pipeline(StandardScaler(), AdaptedClassifier(adapter=MMDAdapter(4)))
        pipe.fit(X, y, adaptedclassifier__sample_domain=d)
        assert pipe.score(X[d == "target"], y[d == "target"]) > 0.9
        pipe = make_pipeline(MMDAdapter(2), LogisticRegression()).fit(X, y, mmdadapter__sample_domain=d)
        assert pipe.predict(X).shape == (100,)

    def test_imblearn_pipeline(self, data):
        X, y, d = data
        pipe = make_imblearn_pipeline(StandardScaler(), AdaptedClassifier(adapter=MMDAdapter(4)))
        pipe.fit(X, y, adaptedclassifier__sample_domain=d)
        assert pipe.score(X[d == "target"], y[d == "target"]) > 0.9
        pipe = make_imblearn_pipeline(MMDAdapter(2), LogisticRegression()).fit(X, y, mmdadapter__sample_domain=d)
        assert pipe.predict(X).shape == (100,)

    def test_grid_search_without_routing(self, data):
        X, y, d = data
        masked = np.where(d == "target", -1, y)
        search = GridSearchCV(AdaptedClassifier(), {"adapter": [MMDAdapter(1), MMDAdapter(2)]}, cv=3)
        search.fit(X, masked)
        assert np.isfinite(search.cv_results_["mean_test_score"]).all()
        search = GridSearchCV(AdaptedClassifier(adapter=MMDAdapter()), {"adapter__n_components": [1, 2]}, cv=3)
        search.fit(X, y, sample_domain=d)
        assert np.isfinite(search.cv_results_["mean_test_score"]).all()
        assert search.best_estimator_.n_features_in_ == 4

    @pytest.mark.usefixtures("routing")
    @pytest.mark.parametrize(
        "make",
        [
            lambda: AdaptedClassifier(adapter=MMDAdapter(2)),
            lambda: AdaptedClassifier(adapter=MeanShiftWeighter()),
            lambda: make_pipeline(StandardScaler(), AdaptedClassifier(adapter=MMDAdapter(2))),
            lambda: make_pipeline(StandardScaler(), MMDAdapter(2), LogisticRegression()),
            lambda: make_imblearn_pipeline(StandardScaler(), AdaptedClassifier(adapter=MMDAdapter(2))),
        ],
    )
    def test_routing(self, data, make):
        X, y, d = data
        result = cross_validate(make(), X, y, params={"sample_domain": d}, cv=3, return_estimator=True)
        assert np.isfinite(result["test_score"]).all()
        # A scorer by name routes nothing to predict; the model runs all the same.
        result = cross_validate(make(), X, y, params={"sample_domain": d}, cv=3, scoring="accuracy")
        assert np.isfinite(result["test_score"]).all()
        assert cross_val_predict(make(), X, y, params={"sample_domain": d}, cv=3).shape == (100,)
        model = make().fit(X, y, sample_domain=d)
        assert model.predict(X, sample_domain=d).shape == (100,)

    @pytest.mark.usefixtures("routing")
    def test_grid_search_and_groups_with_routing(self, data):
        X, y, d = data
        groups = np.arange(100) % 4
        pipe = make_pipeline(StandardScaler(), AdaptedClassifier(adapter=MMDAdapter()))
        grid = {"adaptedclassifier__adapter__n_components": [1, 2]}
        search = GridSearchCV(pipe, grid, cv=LeaveOneGroupOut(), n_jobs=1)
        search.fit(X, y, sample_domain=d, groups=groups)
        assert np.isfinite(search.cv_results_["mean_test_score"]).all()
        assert search.best_estimator_[-1].adapter_.source_domains_ == ["source"]

    @pytest.mark.usefixtures("routing")
    def test_weights_with_routing(self, data):
        X, y, d = data
        weight = np.arange(100.0)
        unset = AdaptedClassifier(LogisticRegression(), MMDAdapter(2))
        with pytest.raises(sklearn.exceptions.UnsetMetadataPassedError):
            unset.fit(X, y, sample_domain=d, sample_weight=weight)
        recorder = Recorder().set_fit_request(sample_weight=True)
        scaler = StandardScaler().set_fit_request(sample_weight=False)
        pipe = make_pipeline(scaler, AdaptedClassifier(recorder, MMDAdapter(2)))
        pipe.fit(X, y, sample_domain=d, sample_weight=weight)
        assert_allclose(pipe[-1].estimator_.sample_weight_, weight[:60])

    def test_half_labelled_cross_validation(self, data):
        X, y, d = data
        masked = np.where(d == "target", -1, y)
        order = np.random.default_rng(0).permutation(100)
        result = cross_validate(AdaptedClassifier(adapter=MMDAdapter(2)), X[order], masked[order], cv=4)
        assert result["test_score"].min() > 0.8

    def test_stacking_and_calibration(self, data):
        order = np.random.default_rng(0).permutation(100)
        X, y, d = (array[order] for array in data)
        models = [("a", AdaptedClassifier(adapter=MMDAdapter(2))), ("b", AdaptedClassifier(adapter=MMDAdapter(3)))]
        calibrated = CalibratedClassifierCV(models[0][1], cv=2).fit(X, y, sample_domain=d)
        assert calibrated.predict_proba(X).shape == (100, 3)
        with sklearn.config_context(enable_metadata_routing=True):
            # The final estimator gets every fit parameter, unrouted, and has to learn from source rows as well.
            stack = StackingClassifier(models, final_estimator=AdaptedClassifier(), cv=2).fit(X, y, sample_domain=d)
            vote = VotingClassifier(models, voting="soft").fit(X, y, sample_domain=d)
        assert stack.score(X, y) > 0.8
        assert vote.score(X, y) > 0.8

    def test_leave_one_group_out_over_sources(self, data):
        X, y, d = data
        names = np.where(d == "target", "target", np.where(np.arange(100) % 2, "a", "b"))
        with sklearn.config_context(enable_metadata_routing=True):
            scores = cross_validate(
                AdaptedClassifier(adapter=MMDAdapter(2)),
                X,
                y,
                params={"sample_domain": names, "groups": np.where(d == "target", np.arange(100) % 2, names == "a")},
                cv=LeaveOneGroupOut(),
            )["test_score"]
        assert scores.min() > 0.8


class TestWeightersInPipelinesOfTheirOwn:
    """What stands before a weighter prepares rows for it alone."""

    @pytest.fixture
    def holed(self, data):
        X, y, d = data
        X = X.copy()
        X[::6, 0] = np.nan
        return X, y, d

    def test_the_estimator_gets_rows_as_they_came(self, holed):
        X, y, d = holed
        steps = make_pipeline(SimpleImputer(), StandardScaler(), KMMWeighter())
        model = AdaptedClassifier(HistGradientBoostingClassifier(random_state=0), steps).fit(X, y, sample_domain=d)
        Z = make_pipeline(SimpleImputer(), StandardScaler()).fit_transform(X)
        weights = KMMWeighter().fit(Z, sample_domain=d).weights_
        source = d == "source"
        alone = HistGradientBoostingClassifier(random_state=0).fit(X[source], y[source], sample_weight=weights)
        assert_allclose(model.predict_proba(X), alone.predict_proba(X))

    def test_in_cross_validation(self, holed):
        X, y, d = holed
        steps = make_pipeline(SimpleImputer(), KMMWeighter(B=2.0))
        model = AdaptedClassifier(HistGradientBoostingClassifier(), steps)
        folds = KFold(3, shuffle=True, random_state=0)
        scores = cross_validate(model, X, y, cv=folds, params={"sample_domain": d}, error_score="raise")
        assert np.isfinite(scores["test_score"]).all()

    def test_a_pipeline_that_neither_maps_nor_weighs(self, data):
        X, y, d = data
        with pytest.raises(ValueError, match="No step of the pipeline given as adapter knows domains"):
            AdaptedClassifier(LogisticRegression(), make_pipeline(StandardScaler(), KNeighborsClassifier())).fit(
                X, y, sample_domain=d
            )
