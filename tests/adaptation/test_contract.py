"""What holds for every adapter and every classifier of the room."""

import pickle
from importlib.util import find_spec

import numpy as np
import pandas as pd
import pytest
import sklearn
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sktransfer.adaptation import (
    AdaptedClassifier,
    ColumnMappingAdapter,
    CORALAdapter,
    DomainStandardizer,
    EasyTLClassifier,
    FeatureAugmentationAdapter,
    GFKAdapter,
    MEDAClassifier,
    MMDAdapter,
    OTAdapter,
    SubspaceAlignmentAdapter,
)
from sktransfer.datasets import make_domain_shift
from sktransfer.exceptions import DomainError

TRANSPORT = [OTAdapter(), OTAdapter("emd"), OTAdapter("lpl1"), OTAdapter("l1l2")] if find_spec("ot") else []
ADAPTERS = [
    MMDAdapter(2, conditional=0.5, n_iter=3),
    MMDAdapter(2, kernel="primal", conditional="auto", n_iter=3),
    MMDAdapter(2, kernel="rbf", conditional=1.0, class_weighting=True, n_iter=3),
    MMDAdapter(2, kernel="rbf", solver="nystroem", n_landmarks=20, random_state=0),
    CORALAdapter(),
    CORALAdapter(0.0, shrinkage="auto", align_means=True),
    SubspaceAlignmentAdapter(2),
    SubspaceAlignmentAdapter("auto"),
    GFKAdapter(),
    DomainStandardizer(),
    ColumnMappingAdapter(),
    FeatureAugmentationAdapter(),
    *TRANSPORT,
]
CLASSIFIERS = [
    EasyTLClassifier(),
    EasyTLClassifier(None, metric="cosine"),
    MEDAClassifier(2, n_iter=3),
    MEDAClassifier(2, n_iter=3, solver="nystroem", n_landmarks=20, random_state=0),
    MEDAClassifier("auto", kernel="linear", conditional=0.5, laplacian_weight=0.0, n_iter=3),
]
LABEL_READERS = ("lpl1", "l1l2")


def name_of(estimator):
    return repr(estimator)


def reads_labels(adapter):
    return getattr(adapter, "conditional", 0) != 0 or getattr(adapter, "method", None) in LABEL_READERS


@pytest.fixture
def data():
    return make_domain_shift(40, 30, n_features=4, n_classes=3, shift="subspace", random_state=0)


@pytest.mark.parametrize("adapter", ADAPTERS, ids=name_of)
class TestAdapters:
    def test_target_labels_are_not_read(self, adapter, data):
        X, y, d = data
        Z = clone(adapter).fit_transform(X, y, sample_domain=d)
        permuted, foreign = y.copy(), y.astype(object)
        permuted[d == "target"] = np.random.default_rng(0).permutation(y[d == "target"])
        foreign[d == "target"] = None
        for other in (permuted, foreign):
            assert_array_equal(clone(adapter).fit_transform(X, other, sample_domain=d), Z)

    def test_missing_labels_mark_the_target(self, adapter, data):
        X, y, d = data
        Z = clone(adapter).fit_transform(X, y, sample_domain=d)
        assert_array_equal(clone(adapter).fit_transform(X, np.where(d == "target", -1, y)), Z)

    def test_labels_are_needed_where_they_are_read(self, adapter, data):
        X, _, d = data
        if reads_labels(adapter):
            with pytest.raises(ValueError, match="requires y to be passed"):
                clone(adapter).fit(X, sample_domain=d)
        else:
            clone(adapter).fit(X, sample_domain=d)

    def test_new_rows_are_mapped_one_by_one(self, adapter, data):
        X, y, d = data
        fitted = clone(adapter).fit(X, y, sample_domain=d)
        Z = fitted.transform(X, sample_domain=d)
        assert_allclose(clone(adapter).fit_transform(X, y, sample_domain=d), Z, atol=1e-8)
        for row in (0, 5, 45, 69):
            assert_allclose(fitted.transform(X[[row]], sample_domain=d[[row]]), Z[[row]], atol=1e-8)
        assert_allclose(fitted.transform(X[d == "target"]), Z[d == "target"], atol=1e-8)

    def test_caller_data_is_not_written(self, adapter, data):
        X, y, d = data
        for array in data:
            array.setflags(write=False)
        fitted = clone(adapter).fit(X, y, sample_domain=d)
        for role in ("source", "target"):
            assert not np.shares_memory(fitted.transform(X, sample_domain=np.full(len(X), role)), X)

    def test_float32(self, adapter, data):
        X, y, d = data
        Z32 = clone(adapter).fit_transform(X.astype(np.float32), y, sample_domain=d)
        assert Z32.dtype == np.float32
        Z = clone(adapter).fit_transform(X.astype(np.float32).astype(float), y, sample_domain=d)
        assert_allclose(Z32, Z, atol=1e-4 * np.abs(Z).max())

    @pytest.mark.parametrize("library", ["pandas", "polars"])
    def test_frames(self, adapter, data, library):
        X, y, d = data
        frame = pd.DataFrame(X, columns=list("abcd"))
        fitted = clone(adapter).set_output(transform=library)
        Z = fitted.fit_transform(frame, pd.Series(y), sample_domain=pd.Series(d))
        assert type(Z).__module__.startswith(library)
        assert list(Z.columns) == list(fitted.get_feature_names_out())
        assert_allclose(Z.to_numpy(), clone(adapter).fit_transform(X, y, sample_domain=d))

    def test_clone_pickle_and_refit(self, adapter, data):
        X, y, d = data
        fitted = clone(adapter).fit(X[::2], y[::2], sample_domain=d[::2])
        Z = fitted.fit(X, y, sample_domain=d).transform(X, sample_domain=d)
        assert_array_equal(clone(fitted).fit(X, y, sample_domain=d).transform(X, sample_domain=d), Z)
        assert_array_equal(pickle.loads(pickle.dumps(fitted)).transform(X, sample_domain=d), Z)

    @pytest.mark.parametrize("shape", [(6, 30), (30, 6), (3, 3)])
    def test_shapes_with_constant_and_collinear_columns(self, adapter, shape):
        n, width = shape
        rng = np.random.default_rng(0)
        X = rng.normal(size=(2 * n, width))
        X[:, 1], X[:, 2] = 7.0, 2 * X[:, 0]
        y, d = np.arange(2 * n) % 2, np.repeat(["source", "target"], n)
        fitted = clone(adapter)
        Z = fitted.fit_transform(X, y, sample_domain=d)
        assert Z.shape == (2 * n, fitted.n_features_out_)
        assert np.isfinite(Z).all()

    @pytest.mark.parametrize("n_target", [1, 5])
    @pytest.mark.parametrize("n_source", [1, 5])
    def test_one_row_domains(self, adapter, n_source, n_target):
        X = np.random.default_rng(0).normal(size=(n_source + n_target, 3))
        d = np.repeat(["source", "target"], [n_source, n_target])
        Z = clone(adapter).fit_transform(X, np.arange(len(X)) % 2, sample_domain=d)
        assert np.isfinite(Z).all()

    def test_equal_rows(self, adapter):
        d = np.repeat(["source", "target"], 3)
        Z = clone(adapter).fit_transform(np.ones((6, 2)), [0, 1, 0, 0, 1, 1], sample_domain=d)
        assert np.isfinite(Z).all()

    def test_several_sources_and_a_named_target(self, adapter, data):
        X, y, d = data
        names = np.where(d == "target", "clinic", np.where(np.arange(70) % 2, "a", "b"))
        fitted = clone(adapter).set_params(target_domain="clinic")
        Z = fitted.fit_transform(X, y, sample_domain=names)
        assert fitted.source_domains_ == ["a", "b"]
        assert np.isfinite(Z).all()
        if not isinstance(adapter, DomainStandardizer | FeatureAugmentationAdapter):
            # Pooled: the names of sources change nothing.
            assert_array_equal(Z, clone(adapter).fit_transform(X, y, sample_domain=d))

    def test_classes_absent_from_the_target_and_text_labels(self, adapter, data):
        X, y, d = data
        kept = (d == "source") | (y < 2)
        names = np.array(["u", "v", "w"])[y]
        model = AdaptedClassifier(LogisticRegression(), clone(adapter)).fit(X[kept], names[kept], sample_domain=d[kept])
        assert set(model.predict(X)) <= {"u", "v", "w"}

    def test_adapted_classifier_in_a_search(self, adapter, data):
        X, y, d = data
        with sklearn.config_context(enable_metadata_routing=True):
            pipe = make_pipeline(StandardScaler(), AdaptedClassifier(LogisticRegression(), clone(adapter)))
            found = cross_validate(pipe, X, y, params={"sample_domain": d}, cv=3, error_score="raise")
        assert np.isfinite(found["test_score"]).all()

    def test_domain_errors(self, adapter, data):
        X, y, d = data
        with pytest.raises(DomainError, match="No target rows"):
            clone(adapter).fit(X, y, sample_domain=np.full(len(X), "source"))
        if reads_labels(adapter):
            with pytest.raises(DomainError, match="source rows have no label"):
                clone(adapter).fit(X, np.where(np.arange(70) == 3, np.nan, y), sample_domain=d)
            with pytest.raises(ValueError, match="Unknown label type"):
                clone(adapter).fit(X, y + 0.5, sample_domain=d)
            with pytest.raises(ValueError, match="inconsistent numbers of samples"):
                clone(adapter).fit(X, y[1:], sample_domain=d)

    @pytest.mark.usefixtures("untouched_random_state")
    def test_global_random_state_is_left_alone(self, adapter, data):
        X, y, d = data
        clone(adapter).fit(X, y, sample_domain=d)


@pytest.mark.parametrize("classifier", CLASSIFIERS, ids=name_of)
class TestClassifiers:
    def test_target_labels_are_not_read(self, classifier, data):
        X, y, d = data
        expected = clone(classifier).fit(X, y, sample_domain=d).decision_function(X)
        permuted, foreign = y.copy(), y.astype(object)
        permuted[d == "target"] = np.random.default_rng(0).permutation(y[d == "target"])
        foreign[d == "target"] = "never seen"
        for other in (permuted, foreign, np.where(d == "target", -1, y)):
            model = clone(classifier).fit(X, other, sample_domain=d)
            assert_array_equal(model.decision_function(X), expected)
        by_missing = clone(classifier).fit(X, np.where(d == "target", np.nan, y))
        assert_array_equal(by_missing.decision_function(X), expected)

    def test_rows_are_predicted_one_by_one(self, classifier, data):
        X, y, d = data
        model = clone(classifier).fit(X, y, sample_domain=d)
        scores = model.decision_function(X)
        assert scores.shape == (70, 3)
        assert_allclose(model.decision_function(X[[50]]), scores[[50]], atol=1e-10)
        assert_array_equal(model.predict(X), model.classes_[scores.argmax(axis=1)])

    def test_binary_and_text_labels(self, classifier, data):
        X, y, d = data
        numbers = clone(classifier).fit(X, np.minimum(y, 1), sample_domain=d)
        names = clone(classifier).fit(X, np.array(["no", "yes"])[np.minimum(y, 1)], sample_domain=d)
        assert numbers.decision_function(X).shape == (70,)
        assert_array_equal(numbers.predict(X), numbers.decision_function(X) > 0)
        assert_array_equal(names.predict(X), np.array(["no", "yes"])[numbers.predict(X)])

    def test_score_counts_rows_with_a_label(self, classifier, data):
        X, y, d = data
        model = clone(classifier).fit(X, y, sample_domain=d)
        half = np.where(np.arange(70) % 2, -1, y)
        assert model.score(X, half) == pytest.approx(np.mean(model.predict(X)[::2] == y[::2]))
        assert model.score(X, half, sample_weight=np.ones(70)) == pytest.approx(model.score(X, half))
        with pytest.raises(ValueError, match="None of the 70 rows has a label"):
            model.score(X, np.full(70, -1))

    def test_data_containers_float32_pickle(self, classifier, data):
        X, y, d = data
        for array in data:
            array.setflags(write=False)
        model = clone(classifier).fit(X, y, sample_domain=d)
        frame = pd.DataFrame(X, columns=list("abcd"))
        assert_array_equal(
            clone(classifier).fit(frame, list(y), sample_domain=list(d)).predict(frame), model.predict(X)
        )
        assert_array_equal(pickle.loads(pickle.dumps(model)).predict(X), model.predict(X))
        X32 = X.astype(np.float32)
        single, double = (clone(classifier).fit(rows, y, sample_domain=d) for rows in (X32, X32.astype(float)))
        assert_array_equal(single.predict(X32), double.predict(X32))

    @pytest.mark.parametrize("n_target", [1, 6])
    @pytest.mark.parametrize("n_features", [2, 40])
    def test_small_wide_constant_and_collinear(self, classifier, n_target, n_features):
        rng = np.random.default_rng(0)
        X = rng.normal(size=(8 + n_target, n_features))
        X = np.column_stack([X, X[:, 0], np.full(len(X), 3.0)])
        model = clone(classifier).fit(X, np.arange(len(X)) % 2, sample_domain=np.repeat(["s", "target"], [8, n_target]))
        assert np.isfinite(model.decision_function(X)).all()

    def test_one_source_row_and_a_class_absent_from_the_target(self, classifier, data):
        X, y, d = data
        one = clone(classifier).fit(X[39:], y[39:], sample_domain=d[39:])
        assert_array_equal(np.unique(one.predict(X)), y[[39]])
        kept = (d == "source") | (y < 2)
        model = clone(classifier).fit(X[kept], y[kept], sample_domain=d[kept])
        assert set(model.predict(X)) <= {0, 1, 2}

    def test_routing_and_search(self, classifier, data):
        X, y, d = data
        with sklearn.config_context(enable_metadata_routing=True):
            search = GridSearchCV(make_pipeline(StandardScaler(), clone(classifier)), {}, cv=3, error_score="raise")
            assert np.isfinite(search.fit(X, y, sample_domain=d).best_score_)

    def test_several_sources_are_one(self, classifier, data):
        X, y, d = data
        names = np.where(d == "target", "target", np.where(np.arange(70) % 2, "a", "b"))
        model = clone(classifier).fit(X, y, sample_domain=names)
        assert model.source_domains_ == ["a", "b"]
        assert_array_equal(model.predict(X), clone(classifier).fit(X, y, sample_domain=d).predict(X))

    def test_errors(self, classifier, data):
        X, y, d = data
        with pytest.raises(ValueError, match="requires y to be passed"):
            clone(classifier).fit(X, None, sample_domain=d)
        with pytest.raises(DomainError, match="No target rows"):
            clone(classifier).fit(X, y)
        with pytest.raises(ValueError, match="Unknown label type"):
            clone(classifier).fit(X, y + 0.5, sample_domain=d)
