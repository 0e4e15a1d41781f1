"""TransferredForestClassifier: trees of the source, changed by target rows."""

import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.ensemble import ExtraTreesClassifier, HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from sktransfer.datasets import make_domain_shift
from sktransfer.parameter_transfer import TransferredForestClassifier


@pytest.fixture(scope="module")
def task():
    X, y, _ = make_domain_shift(150, 140, shift="concept", random_state=0)
    source = RandomForestClassifier(10, random_state=0).fit(X[:150], y[:150])
    return source, X[150:], y[150:]


@pytest.mark.parametrize("method", ["ser", "strut", "mix"])
def test_a_few_rows_beat_the_source(task, method):
    source, X, y = task
    model = TransferredForestClassifier(source, method=method, random_state=0).fit(X[:40], y[:40])
    assert len(model.trees_) == (20 if method == "mix" else 10)
    assert model.score(X[40:], y[40:]) > source.score(X[40:], y[40:])
    assert_allclose(model.predict_proba(X).sum(axis=1), 1.0)


def test_a_heavy_prior_is_the_source(task):
    source, X, y = task
    model = TransferredForestClassifier(source, method="ser", prior_weight=1e9, random_state=0).fit(X[:10], y[:10])
    # What is pruned errs more; shares of leaves stay.
    assert np.mean(model.predict(X) == source.predict(X)) > 0.8


def test_without_a_prior_target_rows_are_known_by_heart(task):
    source, X, y = task
    model = TransferredForestClassifier(source, method="ser", prior_weight=0, bootstrap=False, random_state=0)
    assert model.fit(X[:40], y[:40]).score(X[:40], y[:40]) == 1.0


def test_the_same_seed_gives_the_same_forest(task):
    source, X, y = task
    once, again, other = (
        TransferredForestClassifier(source, random_state=seed).fit(X[:40], y[:40]).predict_proba(X)
        for seed in (0, 0, 1)
    )
    assert_array_equal(once, again)
    assert not np.allclose(once, other)


def test_classes_of_one_side_only(task):
    source, X, y = task
    fresh = np.where(X[:, 0] > 1.0, 7, y)
    model = TransferredForestClassifier(source, random_state=0).fit(X[:60], fresh[:60])
    assert model.classes_.tolist() == [0, 1, 7]
    assert model.score(X, fresh) > 0.7


@pytest.mark.parametrize("source", [ExtraTreesClassifier(5), DecisionTreeClassifier(), None], ids=str)
def test_sources_that_are_fitted_here(source):
    X, y, domain = make_domain_shift(100, 60, shift="concept", random_state=0)
    model = TransferredForestClassifier(source, random_state=0).fit(X, y, sample_domain=domain)
    again = TransferredForestClassifier(source, random_state=0).fit(X, y, sample_domain=domain)
    assert_array_equal(model.predict_proba(X), again.predict_proba(X))
    assert_array_equal(pickle.loads(pickle.dumps(model)).predict(X), model.predict(X))


def test_pipelines_missing_values_and_cross_validation(task):
    _, X, y = task
    X = X.copy()
    X[::7, 0] = np.nan
    source = make_pipeline(StandardScaler(), RandomForestClassifier(5, random_state=0)).fit(X, y)
    model = TransferredForestClassifier(source, random_state=0).fit(X[:40], y[:40])
    assert np.isfinite(model.predict_proba(X)).all()
    assert np.isfinite(cross_val_score(model, X, y, cv=3)).all()
    bare = TransferredForestClassifier(RandomForestClassifier(5, random_state=0).fit(X, y), random_state=0)
    assert bare.fit(X, y).score(X, y) > 0.8


def test_errors(task):
    source, X, y = task
    with pytest.raises(
        ValueError, match="has no tree_ or estimators_ after it was fitted: pass a RandomForestClassifier"
    ):
        TransferredForestClassifier(HistGradientBoostingClassifier()).fit(
            np.vstack([X, X]), np.r_[y, y], sample_domain=np.repeat(["source", "target"], len(y))
        )
    with pytest.raises(ValueError, match="source was fitted on 2 features, but X has 1"):
        TransferredForestClassifier(source).fit(X[:, :1], y)
