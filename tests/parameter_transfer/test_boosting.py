"""Boosting that goes on from a source model on labelled target rows."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor, RandomForestClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from sktransfer.datasets import make_domain_shift
from sktransfer.parameter_transfer import TransferredGradientBoostingClassifier, TransferredGradientBoostingRegressor


@pytest.fixture(scope="module")
def task():
    X, y, _ = make_domain_shift(150, 160, shift="concept", random_state=0)
    return X[:150], y[:150], X[150:], y[150:]


@pytest.fixture(scope="module")
def numbers():
    rng = np.random.default_rng(0)
    X = rng.uniform(-2, 2, size=(300, 3))
    y = np.sin(X[:, 0]) + X[:, 1]
    y[200:] += 1.5 + (X[200:, 2] > 0)
    return X[:200], y[:200], X[200:], y[200:]


class TestClasses:
    @pytest.mark.parametrize(
        "source",
        [
            HistGradientBoostingClassifier(random_state=0),
            LogisticRegression(),
            RandomForestClassifier(10, random_state=0),
        ],
        ids=lambda source: type(source).__name__,
    )
    def test_a_few_rows_beat_the_source(self, task, source):
        Xs, ys, X, y = task
        source = source.fit(Xs, ys)
        model = TransferredGradientBoostingClassifier(source, max_iter=30, random_state=0).fit(X[:50], y[:50])
        assert model.score(X[50:], y[50:]) > source.score(X[50:], y[50:])
        assert model.n_iter_ > 1
        assert_allclose(model.predict_proba(X).sum(axis=1), 1.0)

    def test_no_round_is_the_source(self, task):
        Xs, ys, X, y = task
        source = LogisticRegression().fit(Xs, ys)
        model = TransferredGradientBoostingClassifier(source, max_iter=0, source_scale=1.0).fit(X[:50], y[:50])
        assert_allclose(model.predict_proba(X), source.predict_proba(X), atol=2e-3)
        assert model.n_iter_ == 0

    def test_one_class_shifts_the_scores_alone(self, task):
        Xs, ys, X, y = task
        source = LogisticRegression().fit(Xs, ys)
        rows = np.flatnonzero(y == 1)[:6]
        model = TransferredGradientBoostingClassifier(source, max_iter=5).fit(X[rows], y[rows])
        assert (model.n_iter_, len(model.boosted_.rounds)) == (1, 0)
        assert np.all(model.predict_proba(X)[:, 1] >= source.predict_proba(X)[:, 1] - 2e-3)

    def test_all_rounds_without_early_stopping(self, task):
        Xs, ys, X, y = task
        source = LogisticRegression().fit(Xs, ys)
        model = TransferredGradientBoostingClassifier(source, early_stopping=False, max_iter=7).fit(X, y)
        assert (model.n_iter_, model.source_scale_, len(model.boosted_.rounds)) == (7, 1.0, 6)

    def test_three_classes_of_which_the_source_knows_two(self, task):
        Xs, ys, X, y = task
        fresh = np.where(X[:, 0] > 1.0, 2, y)
        model = TransferredGradientBoostingClassifier(LogisticRegression().fit(Xs, ys), max_iter=20, random_state=0)
        model.fit(X[:80], fresh[:80])
        assert model.classes_.tolist() == [0, 1, 2]
        assert model.score(X[80:], fresh[80:]) > 0.7

    def test_missing_values_and_frames(self, task):
        Xs, ys, X, y = (part.copy() for part in task)
        Xs[::5, 0] = X[::4, 1] = np.nan
        frames = [pd.DataFrame(rows, columns=["a", "b"]) for rows in (Xs, X)]
        source = HistGradientBoostingClassifier(random_state=0).fit(frames[0], ys)
        model = TransferredGradientBoostingClassifier(source, max_iter=10).fit(frames[1][:50], y[:50])
        assert model.score(frames[1][50:], y[50:]) > 0.6
        with pytest.raises(ValueError, match=r"source was fitted on the features \['a', 'b'\], but X has \['b', 'a'\]"):
            TransferredGradientBoostingClassifier(source).fit(frames[1][["b", "a"]], y)
        with pytest.raises(ValueError, match="NaN"):
            TransferredGradientBoostingClassifier(LogisticRegression().fit(np.nan_to_num(Xs), ys)).fit(X, y)

    def test_pipelines_and_domains(self, task):
        Xs, ys, X, y = task
        domain = np.repeat(["source", "target"], [150, 60])
        model = TransferredGradientBoostingClassifier(
            make_pipeline(StandardScaler(), LogisticRegression()), max_iter=10, random_state=0
        )
        model.fit(np.vstack([Xs, X[:60]]), np.r_[ys, y[:60]], sample_domain=domain)
        assert model.source_domains_ == ["source"]
        assert np.isfinite(
            cross_val_score(TransferredGradientBoostingClassifier(model.source_, max_iter=3), X, y)
        ).all()

    def test_a_source_without_probabilities(self, task):
        Xs, ys, X, y = task
        with pytest.raises(ValueError, match="must be a classifier with predict_proba"):
            TransferredGradientBoostingClassifier(LinearSVC().fit(Xs, ys)).fit(X, y)


class TestNumbers:
    @pytest.mark.parametrize("source", [HistGradientBoostingRegressor(random_state=0), Ridge()], ids=str)
    def test_a_few_rows_beat_source_and_target(self, numbers, source):
        Xs, ys, X, y = numbers
        source = source.fit(Xs, ys)
        model = TransferredGradientBoostingRegressor(source, random_state=0).fit(X[:30], y[:30])
        alone = HistGradientBoostingRegressor(min_samples_leaf=5).fit(X[:30], y[:30])
        assert model.score(X[30:], y[30:]) > max(source.score(X[30:], y[30:]), alone.score(X[30:], y[30:]))

    def test_the_first_round_is_the_mean_of_what_is_left(self, numbers):
        Xs, ys, X, y = numbers
        source = Ridge().fit(Xs, ys)
        params = {"max_iter": 1, "early_stopping": False, "l2_regularization": 0.0}
        model = TransferredGradientBoostingRegressor(source, **params).fit(X, y)
        assert_allclose(model.predict(X), source.predict(X) + np.mean(y - source.predict(X)))

    def test_rows_without_a_label_and_weights(self, numbers):
        Xs, ys, X, y = numbers
        source = Ridge().fit(Xs, ys)
        holed = np.where(np.arange(100) < 30, y, np.nan)
        weights = np.where(np.arange(100) < 20, 1.0, 0.0)
        model = TransferredGradientBoostingRegressor(source, max_iter=8).fit(X, holed, sample_weight=weights)
        plain = TransferredGradientBoostingRegressor(source, max_iter=8).fit(X[:20], y[:20])
        assert_allclose(model.predict(X), plain.predict(X))
