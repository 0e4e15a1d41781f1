"""Wrappers of scikit-learn around estimators that adapt, and inside of them: "no label" is never a class.

What the table of docs/user_guide/wrappers.rst says, line by line.
"""

import warnings

import joblib
import numpy as np
import pytest
import sklearn
from sklearn.base import clone, is_classifier
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import (
    AdaBoostClassifier,
    BaggingClassifier,
    BaggingRegressor,
    StackingClassifier,
    StackingRegressor,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.feature_selection import RFE, SelectFromModel
from sklearn.frozen import FrozenEstimator
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import (
    FixedThresholdClassifier,
    GridSearchCV,
    RandomizedSearchCV,
    TunedThresholdClassifierCV,
    cross_val_predict,
    cross_val_score,
    cross_validate,
    learning_curve,
)
from sklearn.multiclass import OneVsOneClassifier, OneVsRestClassifier, OutputCodeClassifier
from sklearn.multioutput import MultiOutputClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.semi_supervised import LabelSpreading, SelfTrainingClassifier

from sktransfer import (
    AdaptedClassifier,
    AdaptedRegressor,
    EasyTLClassifier,
    KLIEPWeighter,
    MCCClassifier,
    MEDAClassifier,
    MMDAdapter,
    TENTClassifier,
    TrAdaBoostClassifier,
    labeled_scorer,
    make_domain_shift,
)
from sktransfer.exceptions import DomainError

IS_TARGET = np.arange(80) % 2 == 0
DOMAIN = np.where(IS_TARGET, "target", "source")
NAMES = np.array(["cat", "dog"], dtype=object)


@pytest.fixture(scope="module")
def data():
    """Rows of both domains in turns, and the true classes 0 and 1."""
    X, y, d = make_domain_shift(40, 40, shift="subspace", n_features=4, random_state=0)
    rows = np.empty(80, dtype=int)
    rows[IS_TARGET], rows[~IS_TARGET] = np.flatnonzero(d == "target"), np.flatnonzero(d == "source")
    return X[rows], y[rows]


def masked(y, kind):
    """Labels of which those of the target are missing, as pack_domains writes them."""
    if kind == "integers":
        return np.where(IS_TARGET, -1, y)
    if kind == "floats":
        return np.where(IS_TARGET, np.nan, y.astype(float))
    labels = NAMES[y]
    labels[IS_TARGET] = None
    return labels


def adapted(estimator=None):
    return AdaptedClassifier(LogisticRegression() if estimator is None else estimator, MMDAdapter(2))


def mcc():
    return MCCClassifier(backbone=None, bottleneck=4, max_epochs=1, random_state=0)


MODELS = [adapted, EasyTLClassifier, lambda: MEDAClassifier(2), mcc]
OF_ROUTING = [
    lambda model: VotingClassifier([("a", model), ("b", clone(model))], voting="soft"),
    lambda model: VotingClassifier([("a", model)], voting="hard"),
    lambda model: StackingClassifier([("a", model)], cv=2),
    OneVsRestClassifier,
    OneVsOneClassifier,
    lambda model: OutputCodeClassifier(model, random_state=0),
    lambda model: BaggingClassifier(model, n_estimators=2, random_state=0),
    SelfTrainingClassifier,
]
OUTSIDE = [
    lambda model: CalibratedClassifierCV(model, cv=2),
    lambda model: CalibratedClassifierCV(model, cv=2, ensemble=False),
    lambda model: CalibratedClassifierCV(make_pipeline(StandardScaler(), model), cv=2),
    lambda model: GridSearchCV(CalibratedClassifierCV(model, cv=2), {}, cv=2, error_score="raise"),
    *OF_ROUTING,
]


class TestWrapperOutside:
    """Labels that say "no label" inside scikit-learn's meta-estimators."""

    @pytest.mark.parametrize("model", MODELS)
    @pytest.mark.parametrize("wrap", OUTSIDE)
    def test_masked_labels_are_no_class_of_a_wrapper_around_an_adapting_classifier(self, data, model, wrap):
        X, y = data
        with pytest.raises(DomainError, match=r"becomes a class\. (Put it inside|Fit \w+ by itself)"):
            wrap(model()).fit(X, masked(y, "integers"))

    @pytest.mark.parametrize("model", MODELS)
    @pytest.mark.parametrize("wrap", OF_ROUTING)
    def test_masked_labels_are_no_class_where_the_domains_are_routed(self, data, model, wrap):
        X, y = data
        with sklearn.config_context(enable_metadata_routing=True), pytest.raises(DomainError, match="becomes a class"):
            wrap(model()).fit(X, masked(y, "integers"), sample_domain=DOMAIN)

    def test_calibration_with_sample_domain_names_the_composition_that_works(self, data):
        X, y = data
        expected = r"AdaptedClassifier\(CalibratedClassifierCV\(LogisticRegression\(\)\), MMDAdapter\(\)\)"
        with pytest.raises(DomainError, match=expected):
            CalibratedClassifierCV(adapted(), cv=2).fit(X, masked(y, "integers"), sample_domain=DOMAIN)
        expected = r"CalibratedClassifierCV\(FrozenEstimator\(model\)\)\.fit\(X\[labelled\], y\[labelled\]\)"
        with pytest.raises(DomainError, match=expected):
            CalibratedClassifierCV(EasyTLClassifier(), cv=2).fit(X, masked(y, "integers"), sample_domain=DOMAIN)

    def test_a_wrapper_that_runs_elsewhere_is_refused_too(self, data):
        X, y = data
        y = masked(y, "integers")
        # A thread has as little of its caller's frames as a process, and starts sooner.
        with joblib.parallel_config("threading"):
            with (
                sklearn.config_context(enable_metadata_routing=True),
                pytest.raises(DomainError, match="becomes a class"),
            ):
                VotingClassifier([("a", adapted()), ("b", adapted())], n_jobs=2).fit(X, y, sample_domain=DOMAIN)
            with pytest.raises(DomainError, match="becomes a class"):
                CalibratedClassifierCV(adapted(), cv=2, n_jobs=2).fit(X, y, sample_domain=DOMAIN)

    @pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning", "ignore:y contains no unlabeled")
    @pytest.mark.parametrize("kind", ["floats", "strings"])
    @pytest.mark.parametrize("wrap", [*OUTSIDE, AdaBoostClassifier])
    @pytest.mark.parametrize("routing", [False, True])
    def test_nan_and_none_are_no_class_of_a_wrapper(self, data, kind, wrap, routing):
        X, y = data
        params = {"sample_domain": DOMAIN} if routing else {}
        with sklearn.config_context(enable_metadata_routing=routing), pytest.raises((ValueError, TypeError)):
            wrap(adapted()).fit(X, masked(y, kind), **params)

    @pytest.mark.parametrize("wrap", [AdaBoostClassifier, TunedThresholdClassifierCV, FixedThresholdClassifier])
    def test_wrappers_that_refuse_masked_labels_themselves(self, data, wrap):
        X, y = data
        with pytest.raises(ValueError, match=r"support sample_weight|Only binary classification"):
            wrap(adapted()).fit(X, masked(y, "integers"))

    @pytest.mark.parametrize("labels", [[0, 1], [-1, 1], ["cat", "dog"]])
    @pytest.mark.parametrize("wrap", [wrap for wrap in OF_ROUTING if wrap is not SelfTrainingClassifier])
    def test_wrappers_work_where_all_rows_have_a_label(self, data, labels, wrap):
        X, y = data
        y = np.array(labels)[y]
        model = wrap(adapted())
        if isinstance(model, StackingClassifier):
            model.set_params(final_estimator=AdaptedClassifier(LogisticRegression(), MMDAdapter(1)))
        with sklearn.config_context(enable_metadata_routing=True):
            model.fit(X, y, sample_domain=DOMAIN)
        assert model.classes_.tolist() == labels
        assert np.mean(model.predict(X[IS_TARGET]) == y[IS_TARGET]) > 0.9

    def test_calibration_of_a_fitted_model_by_labelled_rows(self, data):
        X, y = data
        for model in (adapted(), EasyTLClassifier()):
            model.fit(X, masked(y, "integers"))
            labelled = ~IS_TARGET
            calibrated = CalibratedClassifierCV(FrozenEstimator(model)).fit(X[labelled], y[labelled])
            assert calibrated.classes_.tolist() == [0, 1]
            with pytest.raises(ValueError, match=r"CalibratedClassifierCV learns from the labels of all rows"):
                CalibratedClassifierCV(FrozenEstimator(model)).fit(X, masked(y, "integers"))
            with pytest.raises(ValueError, match=r"would be counted"):
                calibrated.score(X, masked(y, "integers"))

    def test_stacking_of_fitted_models_by_labelled_rows(self, data):
        X, y = data
        models = [("a", adapted().fit(X, masked(y, "integers")))]
        labelled = ~IS_TARGET
        stack = StackingClassifier(models, cv="prefit").fit(X[labelled], y[labelled])
        assert stack.classes_.tolist() == [0, 1]
        with pytest.raises(ValueError, match="StackingClassifier learns from the labels of all rows"):
            StackingClassifier(models, cv="prefit").fit(X, masked(y, "integers"))

    @pytest.mark.parametrize("wrap", [TunedThresholdClassifierCV, FixedThresholdClassifier])
    def test_thresholds_of_a_fitted_model_by_labelled_rows(self, data, wrap):
        X, y = data
        model = FrozenEstimator(adapted().fit(X, masked(y, "integers")))
        more = {"cv": "prefit", "refit": False} if wrap is TunedThresholdClassifierCV else {}
        assert wrap(model, **more).fit(X[~IS_TARGET], y[~IS_TARGET]).classes_.tolist() == [0, 1]

    def test_several_outputs_pass_labels_on(self, data):
        X, y = data
        both = np.column_stack([masked(y, "integers"), masked(1 - y, "integers")])
        model = MultiOutputClassifier(adapted()).fit(X, both)
        predicted = model.predict(X[IS_TARGET])
        assert np.mean(predicted[:, 0] == y[IS_TARGET]) > 0.9
        assert np.mean(predicted[:, 1] == 1 - y[IS_TARGET]) > 0.9
        with pytest.raises(ValueError, match="would be counted"):
            model.score(X, both)

    def test_elimination_of_features_passes_labels_on(self, data):
        X, y = data
        model = RFE(adapted(), n_features_to_select=3, importance_getter=lambda m: np.arange(m.n_features_in_))
        model.fit(X, masked(y, "integers"), sample_domain=DOMAIN)
        assert model.classes_.tolist() == [0, 1]
        alone = adapted().fit(X[:, 1:], masked(y, "integers"))
        assert (model.predict(X) == alone.predict(X[:, 1:])).all()
        assert model.score(X, masked(y, "integers")) == alone.score(X[:, 1:], masked(y, "integers"))

    @pytest.mark.parametrize("kind", ["integers", "floats", "strings"])
    @pytest.mark.parametrize(
        "search", [lambda m: GridSearchCV(m, {}, cv=2), lambda m: RandomizedSearchCV(m, {}, n_iter=1, cv=2)]
    )
    def test_searches_pass_labels_on_and_score_labelled_rows(self, data, kind, search):
        X, y = data
        if kind == "strings":  # scikit-learn sorts the labels for stratified folds; the next test
            y, kind = masked(y, kind), None
        found = search(adapted()).set_params(cv=list(halves()))
        found.fit(X, y if kind is None else masked(y, kind), sample_domain=DOMAIN)
        assert len(found.classes_) == 2
        assert found.cv_results_["mean_test_score"][0] > 0.9

    @pytest.mark.filterwarnings("ignore:The number of unique classes")
    def test_predictions_of_folds(self, data):
        X, y = data
        predicted = cross_val_predict(adapted(), X, masked(y, "integers"), cv=list(halves()))
        assert set(predicted.tolist()) == {0, 1}
        assert np.mean(predicted[IS_TARGET] == y[IS_TARGET]) > 0.9
        with pytest.raises(DomainError, match="method='predict'"):
            cross_val_predict(adapted(), X, masked(y, "integers"), cv=list(halves()), method="predict_proba")
        with sklearn.config_context(enable_metadata_routing=True), pytest.raises(DomainError, match="method='predict'"):
            cross_val_predict(
                adapted(),
                X,
                masked(y, "integers"),
                cv=list(halves()),
                method="predict_proba",
                params={"sample_domain": DOMAIN},
            )

    def test_boosting_reads_labels_of_target_rows_and_is_refused_too(self, data):
        X, y = data
        labels = np.where(np.arange(80) % 8 == 0, y, masked(y, "integers"))
        with pytest.raises(DomainError, match="becomes a class"):
            CalibratedClassifierCV(TrAdaBoostClassifier(n_estimators=2), cv=2).fit(X, labels, sample_domain=DOMAIN)


def halves():
    rows = np.arange(80)
    yield rows[:40], rows[40:]
    yield rows[40:], rows[:40]


class TestRegressors:
    """The same around AdaptedRegressor."""

    @pytest.fixture
    def numbers(self):
        X, y, d = make_domain_shift(40, 40, shift="subspace", n_features=4, n_classes=None, random_state=0)
        rows = np.argsort(d == "source", kind="stable")
        order = np.empty(80, dtype=int)
        order[IS_TARGET], order[~IS_TARGET] = rows[:40], rows[40:]
        return X[order], y[order]

    @staticmethod
    def model():
        return AdaptedRegressor(Ridge(), MMDAdapter(2))

    def test_transformed_target_goes_inside(self, numbers):
        X, y = numbers
        y = np.exp(y / 10)
        inside = AdaptedRegressor(TransformedTargetRegressor(Ridge(), func=np.log, inverse_func=np.exp), MMDAdapter(2))
        inside.fit(X, y, sample_domain=DOMAIN)
        assert np.isfinite(inside.predict(X)).all()
        counts = np.where(IS_TARGET, -1, np.round(10 * y).astype(int))
        outside = TransformedTargetRegressor(self.model(), func=np.sqrt, inverse_func=np.square, check_inverse=False)
        with (
            np.errstate(invalid="ignore"),
            pytest.raises(DomainError, match=r"AdaptedRegressor\(TransformedTargetRegressor\(Ridge\(\)\)"),
        ):
            outside.fit(X, counts, sample_domain=DOMAIN)
        with pytest.raises(ValueError, match="NaN"):
            outside.fit(X, np.where(IS_TARGET, np.nan, y), sample_domain=DOMAIN)

    def test_transformed_target_of_known_numbers(self, numbers):
        X, y = numbers
        outside = TransformedTargetRegressor(self.model(), transformer=StandardScaler())
        assert np.isfinite(outside.fit(X, y, sample_domain=DOMAIN).predict(X)).all()

    @pytest.mark.parametrize("wrap", [lambda m: VotingRegressor([("a", m)]), lambda m: BaggingRegressor(m, 2)])
    def test_averages_pass_labels_on(self, numbers, wrap):
        X, y = numbers
        counts = np.where(IS_TARGET, -1, np.round(10 * np.abs(y)).astype(int))
        model = wrap(self.model()).fit(X, counts)
        assert np.corrcoef(model.predict(X[~IS_TARGET]), counts[~IS_TARGET])[0, 1] > -1
        with pytest.raises(ValueError, match="would be counted"):
            model.score(X, counts)

    def test_stacking_learns_from_all_numbers_and_is_refused(self, numbers):
        X, y = numbers
        counts = np.where(IS_TARGET, -1, np.round(10 * np.abs(y)).astype(int))
        with pytest.raises(DomainError, match=r"AdaptedRegressor\(StackingRegressor\(\[\('a', Ridge\(\)\), \.\.\.\]\)"):
            StackingRegressor([("a", self.model())], cv=2).fit(X, counts)


class TestScoring:
    """scoring="accuracy" does not count masked rows."""

    @pytest.mark.parametrize("kind", ["integers", "floats", "strings"])
    @pytest.mark.parametrize("model", [adapted, EasyTLClassifier, mcc])
    def test_scorers_of_scikit_learn_do_not_count_rows_without_a_label(self, data, kind, model):
        X, y = data
        y = masked(y, kind)
        score = cross_val_score(model(), X, y, cv=list(halves()), scoring=labeled_scorer("accuracy"))
        assert np.array_equal(cross_val_score(model(), X, y, cv=list(halves())), score)
        for scoring in ("accuracy", "roc_auc", "neg_log_loss"):
            if scoring != "accuracy" and not hasattr(model(), "fit_transform"):
                continue
            with pytest.raises(ValueError, match=r"would be counted.*labeled_scorer"):
                cross_val_score(model(), X, y, cv=list(halves()), scoring=scoring, error_score="raise")

    def test_cross_validate_gives_nan_and_says_why(self, data):
        X, y = data
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            result = cross_validate(adapted(), X, masked(y, "integers"), cv=list(halves()), scoring=["accuracy", "f1"])
        assert np.isnan(result["test_accuracy"]).all()
        assert np.isnan(result["test_f1"]).all()
        assert any("labeled_scorer" in str(warning.message) for warning in caught)

    def test_search_with_accuracy_counts_nothing(self, data):
        X, y = data
        search = GridSearchCV(adapted(), {}, cv=list(halves()), scoring="accuracy", error_score="raise")
        with pytest.raises(ValueError, match="would be counted"):
            search.fit(X, masked(y, "integers"))
        with pytest.raises(ValueError, match="would be counted"):
            search.set_params(scoring=None).fit(X, masked(y, "integers")).set_params(scoring="accuracy")
            sklearn.metrics.get_scorer("accuracy")(search, X, masked(y, "integers"))

    def test_importances_and_learning_curves(self, data):
        X, y = data
        model = adapted().fit(X, masked(y, "integers"))
        assert np.isfinite(permutation_importance(model, X, masked(y, "integers"), n_repeats=2).importances).all()
        with pytest.raises(ValueError, match="would be counted"):
            permutation_importance(model, X, masked(y, "integers"), scoring="accuracy", n_repeats=2)
        _, _, scores = learning_curve(model, X, masked(y, "integers"), cv=list(halves()), train_sizes=[0.5, 1.0])
        assert scores[-1].min() > 0.9

    def test_minus_one_that_is_a_class_is_counted(self, data):
        X, y = data
        scores = cross_val_score(
            make_pipeline(StandardScaler(), adapted()),
            *(X, 2 * y - 1),
            cv=list(halves()),
            scoring="accuracy",
            params={"adaptedclassifier__sample_domain": DOMAIN},
            error_score="raise",
        )
        assert scores.min() > 0.5

    def test_a_model_adapted_without_source_rows_scores_labelled_rows(self, data):
        X, y = data
        source = mcc().fit(X, masked(y, "integers"))
        model = TENTClassifier(source).fit(X[IS_TARGET])
        labels = np.where(np.arange(40) % 2, -1, y[IS_TARGET])
        known = labels >= 0
        assert model.score(X[IS_TARGET], labels) == model.score(X[IS_TARGET][known], labels[known])
        with pytest.raises(ValueError, match="would be counted"):
            sklearn.metrics.get_scorer("accuracy")(model, X[IS_TARGET], labels)


INSIDE = [
    lambda model: CalibratedClassifierCV(model, cv=2),
    lambda model: VotingClassifier([("a", model), ("b", clone(model))], voting="soft"),
    lambda model: StackingClassifier([("a", model), ("b", clone(model))], cv=2),
    OneVsRestClassifier,
    OneVsOneClassifier,
    lambda model: OutputCodeClassifier(model, random_state=0),
    lambda model: BaggingClassifier(model, n_estimators=3, random_state=0),
    lambda model: AdaBoostClassifier(model, n_estimators=2),
    lambda model: TunedThresholdClassifierCV(model, cv=2, thresholds=5, scoring="accuracy"),
    FixedThresholdClassifier,
    lambda model: GridSearchCV(model, {}, cv=2),
    lambda model: RFE(model, n_features_to_select=1),
    lambda model: make_pipeline(SelectFromModel(clone(model), threshold=-np.inf), model),
]


class TestWrapperInside:
    """AdaptedClassifier(wrapper(estimator), adapter): the wrapper sees labelled source rows alone."""

    @pytest.mark.parametrize("kind", ["integers", "floats", "strings"])
    @pytest.mark.parametrize("wrap", INSIDE)
    def test_masked_labels_do_not_reach_a_wrapper_inside(self, data, kind, wrap):
        X, y = data
        model = adapted(wrap(LogisticRegression())).fit(X, masked(y, kind))
        expected = {"integers": [0, 1], "floats": [0.0, 1.0], "strings": ["cat", "dog"]}[kind]
        assert np.asarray(model.classes_).tolist() == expected
        true = np.array(expected, dtype=object)[y]
        assert np.mean(model.predict(X[IS_TARGET]) == true[IS_TARGET]) > 0.9
        assert model.score(X, masked(y, kind)) > 0.9

    def test_a_fitted_estimator_inside_stays_as_it_is(self, data):
        X, y = data
        fitted = LogisticRegression().fit(X[~IS_TARGET], y[~IS_TARGET])
        model = AdaptedClassifier(FrozenEstimator(fitted), KLIEPWeighter()).fit(X, masked(y, "integers"))
        assert (model.predict(X) == fitted.predict(X)).all()

    @pytest.mark.parametrize("wrap", [INSIDE[0], INSIDE[1], INSIDE[3]])
    def test_wrapper_inside_meda_guesses_the_first_labels(self, data, wrap):
        X, y = data
        model = MEDAClassifier(2, estimator=wrap(LogisticRegression()), conditional=0.5).fit(X, masked(y, "integers"))
        assert model.classes_.tolist() == [0, 1]

    def test_self_training_inside_has_labelled_rows_only(self, data):
        X, y = data
        with pytest.warns(UserWarning, match="no unlabeled samples"):
            model = adapted(SelfTrainingClassifier(LogisticRegression())).fit(X, masked(y, "integers"))
        assert model.score(X[IS_TARGET], y[IS_TARGET]) > 0.9


class TestPipeline:
    """An adapter before an ordinary classifier."""

    def test_no_label_is_no_class_of_the_last_step_of_a_pipeline(self, data):
        X, y = data
        pipe = make_pipeline(MMDAdapter(2), LogisticRegression())
        for params in ({}, {"mmdadapter__sample_domain": DOMAIN}):
            with pytest.raises(DomainError, match=r"AdaptedClassifier\(LogisticRegression\(\), MMDAdapter\(\)\)"):
                pipe.fit(X, masked(y, "integers"), **params)
        assert pipe.fit(X, y, mmdadapter__sample_domain=DOMAIN).classes_.tolist() == [0, 1]
        assert is_classifier(pipe)

    @pytest.mark.parametrize("last", [adapted(), LabelSpreading(), GridSearchCV(adapted(), {}, cv=list(halves()))])
    def test_a_last_step_that_knows_of_missing_labels_gets_them(self, data, last):
        X, y = data
        pipe = make_pipeline(MMDAdapter(2), last).fit(X, masked(y, "integers"))
        assert set(pipe.predict(X).tolist()) <= {0, 1}
