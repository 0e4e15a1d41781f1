"""TransferredLogisticRegression: the penalty of scikit-learn's around the source, chosen by held-out rows."""

import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import optimize, sparse
from scipy.special import logsumexp
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_validate
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from sktransfer.domains import pack_domains
from sktransfer.exceptions import DomainError
from sktransfer.parameter_transfer import TransferredLogisticRegression

EXACT = {"tol": 1e-8, "max_iter": 10000}


def rule(X, coef, n_classes):
    """Classes by where rows lie along a direction."""
    return np.digitize(X @ coef, [-0.8, 0.8]) if n_classes == 3 else (X @ coef > 0).astype(int)


@pytest.fixture(params=[2, 3], ids=["two classes", "three classes"])
def task(request):
    rng = np.random.default_rng(0)
    Xs, Xt, coef = rng.normal(size=(300, 5)), rng.normal(size=(120, 5)) + 0.3, rng.normal(size=5)
    return Xs, rule(Xs, coef, request.param), Xt, rule(Xt, coef + np.array([0.6, -0.6, 0, 0, 0.3]), request.param)


@pytest.fixture
def source(task):
    return LogisticRegression().fit(*task[:2])


def without_knowledge(source):
    zero = clone(source).fit(np.vstack([np.eye(5)] * 2)[: len(source.classes_)], source.classes_)
    zero.coef_, zero.intercept_ = np.zeros_like(source.coef_), np.zeros_like(source.intercept_)
    return zero


class TestMaths:
    @pytest.mark.parametrize("as_rows", [np.asarray, sparse.csr_array], ids=["dense", "sparse"])
    def test_around_zero_it_is_scikit_learns(self, task, source, as_rows):
        _, _, X, y = task
        weights = np.linspace(0.5, 2.0, len(y))
        model = TransferredLogisticRegression(without_knowledge(source), C=0.5, intercept_scaling=np.inf, **EXACT)
        model.fit(as_rows(X), y, sample_weight=weights)
        plain = LogisticRegression(C=0.5, **EXACT).fit(X, y, sample_weight=weights)
        assert_allclose(model.coef_, plain.coef_, atol=1e-5)
        assert_allclose(model.predict_proba(as_rows(X)), plain.predict_proba(X), atol=1e-5)
        assert_allclose(model.decision_function(X), plain.decision_function(X), atol=1e-4)
        assert_array_equal(model.predict(X), plain.predict(X))

    def test_around_the_source_it_minimises_what_is_written(self, task, source):
        _, _, X, y = task
        shape = source.coef_.shape

        def objective(flat):
            W, b = flat[: source.coef_.size].reshape(shape), flat[source.coef_.size :]
            scores = X @ W.T + b
            scores = np.hstack([np.zeros_like(scores), scores]) if shape[0] == 1 else scores
            loss = np.sum(logsumexp(scores, axis=1) - scores[np.arange(len(y)), y])
            away = np.sum((W - 0.5 * source.coef_) ** 2) + np.sum((b - 0.5 * source.intercept_) ** 2) / 4.0
            return 0.3 * loss + 0.5 * away

        found = optimize.minimize(objective, np.zeros(shape[0] * 6), options={"gtol": 1e-6}).x
        model = TransferredLogisticRegression(source, C=0.3, source_scale=0.5, intercept_scaling=2.0, **EXACT)
        model.fit(X, y)
        assert_allclose(model.coef_.ravel(), found[: source.coef_.size], atol=1e-4)
        assert_allclose(model.intercept_, found[source.coef_.size :], atol=1e-4)

    def test_an_endless_pull_is_the_source(self, task, source):
        _, _, X, y = task
        model = TransferredLogisticRegression(source, C=1e-12).fit(X, y)
        assert_allclose(model.coef_, source.coef_, atol=1e-8)
        assert_allclose(model.predict_proba(X), source.predict_proba(X), atol=1e-8)

    def test_without_a_pull_labels_decide_alone(self, task, source):
        _, _, X, y = task
        y = np.where(np.arange(len(y)) % 3 == 0, np.roll(y, 1), y)  # no classes that can be told apart for certain
        model = TransferredLogisticRegression(source, C=np.inf, **EXACT).fit(X, y)
        plain = LogisticRegression(C=np.inf, **EXACT).fit(X, y)
        assert_allclose(model.predict_proba(X), plain.predict_proba(X), atol=1e-4)

    def test_intercept_of_the_source(self, task, source):
        _, _, X, y = task
        model = TransferredLogisticRegression(source, fit_intercept=False, C=1.0).fit(X, y)
        assert_array_equal(model.intercept_, source.intercept_)
        assert not np.allclose(model.coef_, source.coef_)

    def test_class_weights_are_weights_of_rows(self, task, source):
        _, _, X, y = task
        by_class = TransferredLogisticRegression(source, C=1.0, class_weight={0: 2.0, 1: 0.5}, **EXACT).fit(X, y)
        weights = np.choose(y, [2.0, 0.5, 1.0])
        by_row = TransferredLogisticRegression(source, C=1.0, **EXACT).fit(X, y, sample_weight=weights)
        assert_allclose(by_class.coef_, by_row.coef_, atol=1e-6)


class TestClasses:
    def test_classes_of_one_side_only(self, task):
        Xs, ys, X, _ = task
        names = np.array(["dog", "cat", "elk"])
        source = LogisticRegression().fit(Xs, names[ys])
        fresh = np.where(X[:, 0] > 1.0, "owl", names[0])
        model = TransferredLogisticRegression(source, C=1.0).fit(X, fresh)
        assert model.classes_.tolist() == sorted({*names[np.unique(ys)], "owl"})
        assert_array_equal(model.source_coef_[-1], 0.0)
        assert model.score(X, fresh) > 0.9

    def test_one_class_among_the_target_rows(self, task, source):
        _, _, X, y = task
        rows = np.flatnonzero(y == 1)[:4]
        model = TransferredLogisticRegression(source).fit(X[rows], y[rows])
        assert_array_equal(model.classes_, source.classes_)
        assert pytest.approx(0.1) == model.C_  # nothing can be held out
        # That class becomes likelier, and the others stay possible.
        assert 0 < np.mean(model.predict_proba(X)[:, 1] - source.predict_proba(X)[:, 1]) < 0.6

    def test_labels_of_another_kind(self, task, source):
        _, _, X, y = task
        with pytest.raises(ValueError, match=r"Classes are matched by label, but source knows \[0, 1"):
            TransferredLogisticRegression(source).fit(X, y.astype(str))


class TestChoice:
    def test_few_rows_stay_near_a_good_source(self, task, source):
        _, _, X, y = task
        few = np.arange(12)
        model = TransferredLogisticRegression(source).fit(X[few], y[few])
        assert model.score(X[12:], y[12:]) > LogisticRegression().fit(X[few], y[few]).score(X[12:], y[12:])

    def test_a_useless_source_does_no_harm(self, task):
        Xs, ys, X, y = task
        wrong = LogisticRegression(C=100.0).fit(-Xs, ys)
        model = TransferredLogisticRegression(wrong).fit(X[:60], y[:60])
        assert model.score(X[60:], y[60:]) > LogisticRegression().fit(X[:60], y[:60]).score(X[60:], y[60:]) - 0.05

    def test_one_row_leaves_nothing_to_choose_by(self, task, source):
        _, _, X, y = task
        model = TransferredLogisticRegression(source).fit(X[:1], y[:1])
        assert (model.C_, model.source_scale_) == pytest.approx((0.1, 0.5))

    def test_values_weigh_by_the_likelihood_of_held_out_rows(self, task, source):
        _, _, X, y = task
        X, y = X[:40], y[:40]
        cv = StratifiedKFold(4)
        found = TransferredLogisticRegression(source, Cs=3, cv=cv, source_scale=1.0).fit(X, y)
        loss = np.zeros(3)
        for i, C in enumerate((1e-3, 0.1, 10.0)):
            for train, test in cv.split(X, y):
                log_p = np.log(
                    TransferredLogisticRegression(source, C=C).fit(X[train], y[train]).predict_proba(X[test])
                )
                loss[i] -= log_p[np.arange(len(test)), y[test]].sum()
        worth = np.exp(-0.5 * (np.array([-2.0, 0.0, 2.0]) / 0.5) ** 2 + loss.min() - loss)
        assert pytest.approx(10.0 ** (worth @ [-3.0, -1.0, 1.0] / worth.sum()), rel=1e-2) == found.C_

    def test_folds_of_ones_own_and_given_values(self, task, source):
        _, _, X, y = task
        model = TransferredLogisticRegression(source, Cs=[10.0, 0.1], cv=StratifiedKFold(3)).fit(X, y)
        assert model.C_ in (0.1, 10.0)
        assert TransferredLogisticRegression(source, C=7.0).fit(X, y).C_ == 7.0


class TestSources:
    def test_source_rows_are_learned_first(self, task):
        Xs, ys, X, y = task
        rows, labels, domain = pack_domains(source=(Xs, ys), target=X)
        labels[-20:] = y[-20:]
        pipeline = make_pipeline(StandardScaler(), LogisticRegression())
        model = TransferredLogisticRegression(pipeline, C=1.0).fit(rows, labels, sample_domain=domain)
        fitted = clone(pipeline).fit(Xs, ys)
        assert_allclose(model.source_coef_, fitted[-1].coef_)
        alone = TransferredLogisticRegression(fitted, C=1.0).fit(X[-20:], y[-20:])
        assert_allclose(model.coef_, alone.coef_)
        assert_allclose(model.predict_proba(X), alone.predict_proba(X))

    def test_labels_of_target_rows_are_read_and_source_rows_left_out_where_the_source_is_fitted(self, task, source):
        Xs, ys, X, y = task
        rows, labels = np.vstack([Xs, X]), np.concatenate([np.roll(ys, 1), y])
        domain = np.repeat(["source", "target"], [len(ys), len(y)])
        model = TransferredLogisticRegression(source).fit(rows, labels, sample_domain=domain)
        assert_allclose(model.coef_, TransferredLogisticRegression(source).fit(X, y).coef_)

    @pytest.mark.parametrize("wrap", [FrozenEstimator, lambda fitted: TransferredLogisticRegression(fitted, C=1e-9)])
    def test_around_the_source(self, task, source, wrap):
        _, _, X, y = task
        held = wrap(source)
        if not hasattr(held, "coef_"):
            held.fit(X, y)
        assert_allclose(
            TransferredLogisticRegression(held, C=1.0).fit(X, y).coef_,
            TransferredLogisticRegression(source, C=1.0).fit(X, y).coef_,
            atol=1e-3,
        )

    def test_margins(self, task):
        Xs, ys, X, y = task
        model = TransferredLogisticRegression(LinearSVC().fit(Xs, ys)).fit(X[:20], y[:20])
        assert model.score(X, y) > 0.7

    def test_in_searches_and_pickles(self, task, source):
        _, _, X, y = task
        scores = cross_validate(TransferredLogisticRegression(source), X, y, cv=3)["test_score"]
        assert scores.min() > 0.7
        search = GridSearchCV(TransferredLogisticRegression(source), {"C": [0.1, 1.0]}, cv=3).fit(X, y)
        again = pickle.loads(pickle.dumps(search))
        assert_array_equal(again.predict(X), search.predict(X))

    def test_domains_through_cross_validation(self, task):
        Xs, ys, X, y = task
        rows, labels = np.vstack([Xs, X]), np.concatenate([ys, y])
        domain = np.repeat(["source", "target"], [len(ys), len(y)])
        model = TransferredLogisticRegression(C=1.0)
        pipeline = make_pipeline(StandardScaler(), model)
        pipeline.fit(rows, labels, transferredlogisticregression__sample_domain=domain)
        folds = StratifiedKFold(3, shuffle=True, random_state=0)
        scores = cross_validate(model, rows, labels, cv=folds, params={"sample_domain": domain})
        assert scores["test_score"].min() > 0.6


class TestErrors:
    def test_nothing_fitted_and_no_domains(self, task):
        with pytest.raises(DomainError, match="sample_domain is None, and source=None is not fitted"):
            TransferredLogisticRegression().fit(*task[2:])

    def test_sources(self, task):
        Xs, ys, X, y = task
        with pytest.raises(ValueError, match="has no coef_ after it was fitted"):
            domain = np.repeat(["source", "target"], [len(ys), len(y)])
            rows, labels = np.vstack([Xs, X]), np.concatenate([ys, y])
            TransferredLogisticRegression(GaussianNB()).fit(rows, labels, sample_domain=domain)
        with pytest.raises(ValueError, match="TransferredRidge takes regressors"):
            TransferredLogisticRegression(Ridge()).fit(X, y)

    def test_parameters(self, task, source):
        _, _, X, y = task
        with pytest.raises(ValueError, match=r"Cs must be above 0, got 0\.0"):
            TransferredLogisticRegression(source, Cs=[0.0, 1.0]).fit(X, y)
        with pytest.raises(ValueError, match="gives class 0 the weight -1"):
            TransferredLogisticRegression(source, class_weight={0: -1}).fit(X, y)
        with pytest.raises(ValueError, match="class_weight is zero for every labelled target row"):
            TransferredLogisticRegression(source, class_weight=dict.fromkeys(range(3), 0)).fit(X, y)

    def test_too_few_steps(self, task, source):
        _, _, X, y = task
        with pytest.warns(ConvergenceWarning, match="L-BFGS stopped after 1 steps"):
            TransferredLogisticRegression(source, C=100.0, max_iter=1).fit(X, y)
