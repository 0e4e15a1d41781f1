"""What holds for every adaptation without source data."""

import pickle

import numpy as np
import pytest
import torch
from common_nets import assert_same_bits, state
from common_source_free import METHODS, picture_source, small_network, table, table_source, target_of
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV

from sktransfer import FineTunedClassifier, FineTunedRegressor
from sktransfer.deep_adaptation._adabn import AdaBNClassifier
from sktransfer.deep_adaptation._shot import SHOTClassifier
from sktransfer.deep_adaptation._source_free import entropy_loss, load_source
from sktransfer.exceptions import WeightsMismatchError

every_method = pytest.mark.parametrize("method", METHODS, ids=lambda method: method.__name__)


def build(method, source, **options):
    """Few steps of each."""
    if method is not AdaBNClassifier:
        options = {"max_epochs": 2, "random_state": 0, **options}
    return method(source, batch_size=32, **options)


def sources():
    """A source model on a table and one on pictures, and target rows of each."""
    X, _, domain = table()
    return [(table_source(), X[domain == "target"]), (picture_source(0), target_of(0)[0][:60])]


class TestEntropyLoss:
    def test_is_the_mean_entropy(self):
        scores = np.random.default_rng(0).normal(size=(7, 4)) * 3
        p = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
        expected = np.mean([-sum(q * np.log(q) for q in row) for row in p])
        assert entropy_loss(torch.tensor(scores)).item() == pytest.approx(expected, rel=1e-12)

    def test_runs_from_none_to_that_of_the_uniform_distribution(self):
        assert entropy_loss(torch.zeros(3, 5)).item() == pytest.approx(np.log(5))
        assert entropy_loss(1e4 * torch.eye(3)).item() == 0
        assert entropy_loss(torch.tensor([[1.0, 2.0]])) == entropy_loss(torch.tensor([[101.0, 102.0]]))

    def test_gradient(self):
        scores = torch.randn(5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        assert torch.autograd.gradcheck(entropy_loss, scores.requires_grad_())


@every_method
class TestContract:
    def test_source_model_is_not_changed(self, method):
        for source, X in sources():
            parts = [source.net_.module_, *([] if source.backbone_ is None else [source.backbone_.module])]
            before, answers = [state(part) for part in parts], source.predict_proba(X)
            names = set(vars(source))
            build(method, source).fit(X)
            for part, kept in zip(parts, before, strict=True):
                assert_same_bits(state(part), kept)
            assert all(parameter.requires_grad for parameter in source.net_.module_.head.parameters())
            assert_array_equal(source.predict_proba(X), answers)
            assert set(vars(source)) == names

    def test_begins_with_the_source_model(self, method):
        # What changes nothing leaves the answers of the source model, frozen prefix, neck and head included.
        still = {"source_weight": 1.0} if method is AdaBNClassifier else {"lr": 1e-30}
        for source, X in sources():
            fitted = build(method, source, **still).fit(X)
            if method is AdaBNClassifier:
                assert_allclose(fitted.predict_proba(X), source.predict_proba(X), atol=1e-6)
            own = {n: p for n, p in fitted.net_.module_.named_parameters() if not n.startswith("body.")}
            for name, parameter in source.net_.module_.named_parameters():
                assert name.startswith("body.") or torch.equal(own[name], parameter)

    def test_y_is_not_read(self, method):
        for source, X in sources():
            expected = build(method, source).fit(X).predict_proba(X)
            for y in (object(), np.full(3, np.nan), ["no", "labels"]):
                assert_array_equal(build(method, source).fit(X, y).predict_proba(X), expected)

    def test_same_seed_same_model_and_generators_are_left_alone(self, method):
        for source, X in sources():
            before = torch.random.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
            first, second = (build(method, source).fit(X) for _ in range(2))
            assert_same_bits(state(second.net_.module_), state(first.net_.module_))
            assert torch.equal(torch.random.get_rng_state(), before[0])
            assert_array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002
            assert_array_equal(first.fit(X).predict_proba(X), second.predict_proba(X))

    def test_answers_do_not_depend_on_the_other_rows(self, method):
        for source, X in sources():
            fitted = build(method, source).fit(X)
            whole = fitted.predict_proba(X)
            assert_allclose(fitted.predict_proba(X[3:5]), whole[3:5], atol=1e-6)
            assert_allclose(whole.sum(1), 1)
            assert_array_equal(fitted.predict(X), fitted.classes_[whole.argmax(1)])
            assert_array_equal(fitted.classes_, source.classes_)
            assert fitted.transform(X).shape == (len(X), source.net_.module_.head.in_features)

    def test_survives_pickle_and_file(self, method, tmp_path):
        for source, X in sources():
            fitted = build(method, source).fit(X)
            answers = fitted.predict_proba(X)
            assert_array_equal(pickle.loads(pickle.dumps(fitted)).predict_proba(X), answers)
            if source.backbone_ is None:  # a network of one's own has no name to be rebuilt by
                fitted.save(tmp_path / "adapted")
                loaded = method.load(tmp_path / "adapted")
                assert_array_equal(loaded.predict_proba(X), answers)
                assert_array_equal(load_source(str(tmp_path / "adapted"), "a test").predict_proba(X), answers)

    def test_clone_shares_the_source_model(self, method):
        source, X = sources()[0]
        fitted = build(method, source).fit(X)
        copy = clone(fitted)
        assert copy.estimator is source
        assert not hasattr(copy, "net_")
        assert_array_equal(copy.fit(X).predict_proba(X), fitted.predict_proba(X))

    def test_takes_a_frozen_estimator_a_file_and_an_adapted_one(self, method, tmp_path):
        source, X = sources()[0]
        expected = build(method, source).fit(X).predict_proba(X)
        assert_array_equal(build(method, FrozenEstimator(source)).fit(X).predict_proba(X), expected)
        source.save(tmp_path / "source")
        assert_array_equal(build(method, tmp_path / "source").fit(X).predict_proba(X), expected)
        twice = build(method, build(AdaBNClassifier, source).fit(X)).fit(X)
        assert twice.predict_proba(X).shape == expected.shape

    def test_unfitted_source_model(self, method):
        with pytest.raises(NotFittedError, match=r"FineTunedClassifier, is not fitted\. Fit it on source data first"):
            build(method, FineTunedClassifier("sktransfer_mini")).fit(target_of(0)[0])

    def test_one_target_row(self, method):
        for source, X in sources():
            with pytest.raises(ValueError, match=r"needs at least 2 of them; got 1 sample\. Pass more target rows"):
                build(method, source).fit(X[:1])
            build(method, source).fit(X[:2])

    def test_rows_of_another_kind(self, method):
        source, X = sources()[0]
        with pytest.raises(ValueError, match="Input X contains NaN"):
            build(method, source).fit(np.where(np.arange(3) == 1, np.nan, X))
        with pytest.raises(ValueError, match=f"X has 2 features, but {method.__name__} is expecting 3"):
            build(method, source).fit(X[:, :2])
        with pytest.raises(ValueError, match="is expecting 3"):
            build(method, source).fit(X).predict(X[:, :2])
        pictures = sources()[1][1].astype(float)
        pictures[1, 2, 3] = np.nan
        with pytest.raises(ValueError, match="NaN"):
            build(method, sources()[1][0]).fit(pictures)


@pytest.mark.parametrize(
    ("estimator", "words"),
    [
        (LogisticRegression(), "is a LogisticRegression; AdaBNClassifier adapts fitted classifiers with a network"),
        (FineTunedRegressor("sktransfer_mini"), "is a FineTunedRegressor"),
        (None, "is a NoneType"),
    ],
)
def test_estimators_that_are_no_source_models(estimator, words):
    with pytest.raises(ValueError, match=words):
        AdaBNClassifier(estimator).fit(table()[0])


def test_several_labels_a_sample():
    X = target_of(0)[0][:8]
    source = FineTunedClassifier(small_network(), image_size=32, max_epochs=1, random_state=0)
    source.fit(X, np.eye(8, 3, dtype=int))
    with pytest.raises(ValueError, match="needs one class a sample"):
        AdaBNClassifier(source).fit(X)


def test_file_of_something_else(tmp_path):
    (tmp_path / "text").write_text("no model")
    with pytest.raises(WeightsMismatchError, match="cannot be read"):
        AdaBNClassifier(tmp_path / "text").fit(table()[0])


def test_parameters_of_the_source_model_are_out_of_reach():
    clf = SHOTClassifier(table_source())
    assert not [name for name in clf.get_params() if name.startswith("estimator__")]
    with pytest.raises(ValueError, match="'estimator__lr' is a parameter of the source model"):
        clf.set_params(estimator__lr=1.0)
    assert table_source().lr == 0.01


def test_grid_search_scores_by_labels_that_no_fit_reads():
    X, y, domain = table()
    target = domain == "target"
    search = GridSearchCV(
        SHOTClassifier(table_source(), max_epochs=2, random_state=0),
        {"pseudo_label_weight": [0.0, 1.0], "lr": [1e-3, 1e-2]},
        cv=2,
    ).fit(X[target], y[target])
    assert search.best_score_ > 0.5
    assert search.best_estimator_.estimator is table_source()
