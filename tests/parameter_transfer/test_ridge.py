"""TransferredRidge: scikit-learn's ridge on what the source leaves, chosen by rows that are left out."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge, RidgeCV
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeRegressor

from sktransfer.exceptions import DomainError
from sktransfer.parameter_transfer import TransferredRidge
from sktransfer.parameter_transfer._ridge import RidgeAxes, choose_strength


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def task(rng):
    """Rows of a source and of a target whose rule is near it."""
    Xs, Xt, coef = rng.normal(size=(80, 6)), rng.normal(size=(30, 6)) + 1.0, rng.normal(size=6)
    ys, yt = Xs @ coef + 1.0 + 0.1 * rng.normal(size=80), Xt @ (coef + 0.3) + 4.0 + 0.3 * rng.normal(size=30)
    return Xs, ys, Xt, yt


@pytest.fixture
def source(task):
    return Ridge().fit(*task[:2])


class TestMaths:
    @pytest.mark.parametrize("as_rows", [np.asarray, sparse.csr_array], ids=["dense", "sparse"])
    @pytest.mark.parametrize("scale", [1.0, 0.4])
    def test_ridge_on_what_the_source_leaves(self, task, source, rng, as_rows, scale):
        _, _, X, y = task
        weights = rng.uniform(0.5, 3.0, len(y))
        model = TransferredRidge(source, alpha=2.0, source_scale=scale).fit(as_rows(X), y, sample_weight=weights)
        plain = Ridge(2.0).fit(X, y - scale * (X @ source.coef_), sample_weight=weights)
        assert_allclose(model.coef_, scale * source.coef_ + plain.coef_)
        assert_allclose(model.intercept_, plain.intercept_)
        assert_allclose(model.predict(as_rows(X)), X @ model.coef_ + model.intercept_)

    @pytest.mark.parametrize("n", [4, 30])
    def test_sparse_rows_of_more_and_of_fewer_features(self, task, source, n):
        _, _, X, y = task
        dense, thin = (TransferredRidge(source).fit(rows[:n], y[:n]) for rows in (X, sparse.csr_matrix(X)))
        assert_allclose(thin.coef_, dense.coef_, rtol=1e-6)
        assert_allclose(thin.intercept_, dense.intercept_, rtol=1e-6)

    def test_no_pull_is_least_squares_and_an_endless_one_the_source(self, task, source):
        _, _, X, y = task
        assert_allclose(TransferredRidge(source, alpha=0).fit(X, y).coef_, LinearRegression().fit(X, y).coef_)
        kept = TransferredRidge(source, alpha=np.inf).fit(X, y)
        assert_array_equal(kept.coef_, source.coef_)
        assert_allclose(kept.intercept_, np.mean(y - X @ source.coef_))
        whole = TransferredRidge(source, alpha=np.inf, fit_intercept=False).fit(X, y)
        assert_allclose(whole.predict(X), source.predict(X))

    def test_intercept_of_the_source(self, task, source):
        _, _, X, y = task
        model = TransferredRidge(source, alpha=3.0, fit_intercept=False).fit(X, y)
        plain = Ridge(3.0, fit_intercept=False).fit(X, y - source.predict(X))
        assert_allclose(model.coef_, source.coef_ + plain.coef_)
        assert model.intercept_ == source.intercept_

    @pytest.mark.parametrize("center", [True, False])
    def test_rows_left_out_are_those_of_fits_without_them(self, task, center):
        _, _, X, y = task
        Y = np.column_stack([y, y**2])
        weights = np.array([1.0, 3.0, 0.5] * 10)
        axes = RidgeAxes.of(X, weights, center=center)
        for row in range(3):
            less = weights.copy()
            less[row] -= min(1.0, weights[row])
            kept = less > 0
            plain = Ridge(1.5, fit_intercept=center).fit(X[kept], Y[kept], sample_weight=less[kept])
            assert_allclose(axes.left_out(Y, 1.5)[row], Y[row] - plain.predict(X[[row]])[0])

    def test_without_a_source_it_is_ridgecv(self, task, source):
        _, _, X, y = task
        alphas = np.logspace(-2, 2, 9)
        model = TransferredRidge(source, source_scale=0.0, alphas=alphas).fit(X, y)
        plain = RidgeCV(alphas).fit(X, y)
        assert model.alpha_ == pytest.approx(plain.alpha_)
        assert_allclose(model.coef_, plain.coef_)

    def test_strengths_and_scales_weigh_by_what_they_say_of_rows_left_out(self, task, source):
        _, _, X, y = task
        axes, F = RidgeAxes.of(X, np.ones(30), center=True), source.predict(X)
        alphas, scales, prior = np.array([1.0, 50.0]), np.array([1.0, 0.0]), np.array([0.3, 0.7])
        folds = [np.delete(np.arange(30), row) for row in range(30)]
        worth = np.empty((2, 2))
        for i, alpha in enumerate(alphas):
            for j, scale in enumerate(scales):
                rest = y - scale * F
                errors = [
                    rest[k] - Ridge(alpha).fit(X[fold], rest[fold]).predict(X[[k]])[0] for k, fold in enumerate(folds)
                ]
                worth[i, j] = prior[i] * np.sum(np.square(errors)) ** -15.0
        worth /= worth.sum()
        found = choose_strength(axes, y[:, np.newaxis], F[:, np.newaxis], alphas=alphas, scales=scales, prior=prior)
        assert_allclose(found, [np.exp(worth.sum(axis=1) @ np.log(alphas)), worth.sum(axis=0) @ scales])

    def test_weights_are_counts(self, task, source):
        _, _, X, y = task
        times = np.array([1, 3, 0] * 10)
        weighted = TransferredRidge(source).fit(X, y, sample_weight=times)
        repeated = TransferredRidge(source).fit(np.repeat(X, times, axis=0), np.repeat(y, times))
        assert_allclose(weighted.coef_, repeated.coef_)


class TestChoice:
    def test_a_few_rows_stay_near_a_good_source(self, task, source):
        _, _, X, y = task
        few = TransferredRidge(source).fit(X[:8], y[:8])
        assert few.score(X[8:], y[8:]) > max(Ridge().fit(X[:8], y[:8]).score(X[8:], y[8:]), source.score(X[8:], y[8:]))

    def test_a_useless_source_does_no_harm(self, task, rng):
        Xs, ys, X, y = task
        useless = Ridge().fit(Xs, 100.0 * rng.permutation(ys))
        model = TransferredRidge(useless).fit(X[:20], y[:20])
        assert (
            model.score(X[20:], y[20:])
            > RidgeCV(np.logspace(-3, 3, 20)).fit(X[:20], y[:20]).score(X[20:], y[20:]) - 0.05
        )

    def test_a_unit_of_the_rows_changes_nothing(self, task):
        Xs, ys, X, y = task
        one, other = (
            TransferredRidge(LinearRegression().fit(unit * Xs, ys)).fit(unit * X, y).predict(unit * X)
            for unit in (1.0, 1000.0)
        )
        assert_allclose(one, other)

    def test_one_row_moves_the_intercept_alone(self, task, source):
        _, _, X, y = task
        model = TransferredRidge(source).fit(X[:1], y[:1])
        assert_allclose(model.coef_, model.source_scale_ * source.coef_)
        assert_allclose(model.predict(X[:1]), y[:1])


class TestSources:
    def test_source_rows_are_learned_first(self, task, source):
        Xs, ys, X, y = task
        rows, labels = np.vstack([X, Xs]), np.concatenate([y, ys])
        domain = np.repeat(["here", "there"], [30, 80])
        model = TransferredRidge(target_domain="here").fit(rows, labels, sample_domain=domain)
        assert_allclose(model.coef_, TransferredRidge(source).fit(X, y).coef_)
        assert model.source_domains_ == ["there"]

    def test_weights_reach_the_source(self, task, rng):
        Xs, ys, X, y = task
        weights = rng.uniform(0.5, 2.0, 110)
        domain = np.repeat(["source", "target"], [80, 30])
        model = TransferredRidge(make_pipeline(StandardScaler(), Ridge()), alpha=1.0)
        model.fit(np.vstack([Xs, X]), np.concatenate([ys, y]), sample_domain=domain, sample_weight=weights)
        known = make_pipeline(StandardScaler(), Ridge()).fit(Xs, ys, ridge__sample_weight=weights[:80])
        assert_allclose(model.source_coef_, known[-1].coef_)

    def test_target_rows_without_a_label_are_left_out(self, task, source):
        _, _, X, y = task
        holed = np.where(np.arange(30) < 9, y, np.nan)
        model = TransferredRidge(source).fit(X, holed)
        assert_allclose(model.coef_, TransferredRidge(source).fit(X[:9], y[:9]).coef_)
        assert model.score(X, holed) == pytest.approx(model.score(X[:9], y[:9]))

    def test_a_pipeline_prepares_the_rows(self, task):
        Xs, ys, X, y = task
        Xs, X = Xs.copy(), X.copy()
        Xs[::7, 0] = X[::5, 1] = np.nan
        source = make_pipeline(SimpleImputer(), StandardScaler(), Ridge()).fit(Xs, ys)
        model = TransferredRidge(source, alpha=2.0).fit(X, y)
        Z = source[:-1].transform(X)
        assert_allclose(model.coef_, TransferredRidge(source[-1], alpha=2.0).fit(Z, y).coef_)
        assert_allclose(model.predict(X), Z @ model.coef_ + model.intercept_)

    def test_frames_with_categories(self, task):
        Xs, ys, X, y = task
        frames = [pd.DataFrame({"a": Z[:, 0], "kind": np.where(Z[:, 1] > 0, "new", "old")}) for Z in (Xs, X)]
        columns = make_column_transformer((OneHotEncoder(), ["kind"]), remainder="passthrough")
        model = TransferredRidge(make_pipeline(columns, Ridge()).fit(frames[0], ys)).fit(frames[1], y)
        assert model.feature_names_in_.tolist() == ["a", "kind"]
        assert np.isfinite(model.predict(frames[1])).all()
        with pytest.raises(ValueError, match="feature names should match"):
            model.predict(frames[1][["kind", "a"]])

    def test_searches_and_transferred_models(self, task, source):
        Xs, ys, X, y = task
        search = GridSearchCV(Ridge(), {"alpha": [1.0]}, cv=2).fit(Xs, ys)
        first = TransferredRidge(search, alpha=2.0).fit(X, y)
        assert_allclose(first.coef_, TransferredRidge(source, alpha=2.0).fit(X, y).coef_)
        second = TransferredRidge(first, alpha=np.inf, fit_intercept=False).fit(X[:5], y[:5])
        assert_allclose(second.predict(X), first.predict(X))
        prepared = TransferredRidge(make_pipeline(StandardScaler(), Ridge()).fit(Xs, ys)).fit(X, y)
        again = TransferredRidge(prepared, alpha=np.inf, fit_intercept=False).fit(X[:5], y[:5])
        assert_allclose(again.predict(X), prepared.predict(X))

    def test_clones_and_searches_keep_a_fitted_source(self, task, source):
        _, _, X, y = task
        model = TransferredRidge(source)
        assert clone(model).source is source
        assert clone(TransferredRidge(Ridge())).source is not None
        assert np.isfinite(cross_val_score(model, X, y, cv=3)).all()
        search = GridSearchCV(model, {"alpha": [0.1, 10.0]}, cv=3).fit(X, y)
        assert search.best_estimator_.source is source

    def test_several_outputs(self, task):
        Xs, ys, X, y = task
        Ys, Y = np.column_stack([ys, -ys]), np.column_stack([y, 2.0 - y])
        source = Ridge().fit(Xs, Ys)
        model = TransferredRidge(source, alpha=2.0).fit(X, Y)
        plain = Ridge(2.0).fit(X, Y - X @ source.coef_.T)
        assert_allclose(model.coef_, source.coef_ + plain.coef_)
        assert_allclose(model.predict(X), X @ model.coef_.T + plain.intercept_)
        assert model.score(X, Y) > 0.9
        Y[:10, 1] = np.nan
        assert_allclose(TransferredRidge(source).fit(X, Y).coef_, TransferredRidge(source).fit(X[10:], Y[10:]).coef_)


class TestErrors:
    def test_no_domains_and_nothing_fitted(self, task):
        with pytest.raises(DomainError, match=r"sample_domain is None, and source=Ridge\(\) is not fitted"):
            TransferredRidge(Ridge()).fit(*task[2:])

    def test_no_labelled_target_row(self, task, source):
        X = task[2]
        with pytest.raises(DomainError, match="none of the 30 target rows has one in y"):
            TransferredRidge(source).fit(X, np.full(30, np.nan))

    def test_a_source_without_coefficients(self, task):
        Xs, ys, X, y = task
        domain = np.repeat(["source", "target"], [80, 30])
        with pytest.raises(ValueError, match="has no coef_ after it was fitted: pass a linear model"):
            TransferredRidge(DecisionTreeRegressor()).fit(
                np.vstack([Xs, X]), np.concatenate([ys, y]), sample_domain=domain
            )

    def test_a_source_of_other_features_or_outputs(self, task, source):
        _, _, X, y = task
        with pytest.raises(ValueError, match="source was fitted on 6 features, but X has 5"):
            TransferredRidge(source).fit(X[:, 1:], y)
        with pytest.raises(ValueError, match="coefficients for 1 outputs, but y has 2"):
            TransferredRidge(source).fit(X, np.column_stack([y, y]))

    def test_parameters(self, task, source):
        _, _, X, y = task
        with pytest.raises(ValueError, match=r"alphas must be at least 0, got -1\.0"):
            TransferredRidge(source, alphas=[1.0, -1.0]).fit(X, y)
        with pytest.raises(ValueError, match="TransferredLogisticRegression takes classifiers"):
            TransferredRidge(LogisticRegression()).fit(X, y)
        with pytest.raises(ValueError, match="sample_weight is zero for every target row"):
            TransferredRidge(source).fit(X, np.where(np.arange(30) < 3, y, np.nan), sample_weight=np.arange(30) > 5)
