import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.datasets import load_wine
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sktransfer.adaptation import AdaptedClassifier, ColumnMappingAdapter, pack_domains
from sktransfer.exceptions import DomainError


@pytest.fixture
def tables():
    """Column a is common; b = 2 a + 1 is measured in the source, c = -a in the target."""
    rng = np.random.default_rng(0)
    a, t = rng.normal(size=20), rng.normal(size=15)
    return pd.DataFrame({"a": a, "b": 2.0 * a + 1.0}), pd.DataFrame({"c": -t, "a": t})


def test_missing_blocks_are_what_the_common_column_says(tables):
    source, target = tables
    X, _, d = pack_domains(source=(source, np.zeros(20)), target=target)
    assert list(X.columns) == ["a", "b", "c"]
    adapter = ColumnMappingAdapter(LinearRegression())
    Z = adapter.fit_transform(X, sample_domain=d)
    assert_allclose(Z[:20], np.column_stack([source["a"], source["b"], -source["a"]]), atol=1e-12)
    assert_allclose(Z[20:], np.column_stack([target["a"], 2.0 * target["a"] + 1.0, target["c"]]), atol=1e-12)
    parts = adapter.common_columns_, adapter.source_columns_, adapter.target_columns_
    assert [part.tolist() for part in parts] == [[0], [1], [2]]
    # The default finds nearly the same: twenty rows without noise need hardly a ridge.
    assert_allclose(ColumnMappingAdapter().fit_transform(X, sample_domain=d), Z, atol=0.01)


def test_new_target_rows_come_as_they_are(tables):
    source, target = tables
    X, _, d = pack_domains(source=(source, np.zeros(20)), target=target)
    adapter = ColumnMappingAdapter().fit(X, sample_domain=d)
    assert_allclose(adapter.transform(target), adapter.transform(X[d == "target"]))
    with pytest.raises(ValueError, match="feature names"):
        adapter.transform(target.rename(columns={"c": "q"}))


def test_single_missing_values_take_the_mean_of_their_role_or_the_prediction(tables):
    source, target = tables
    X, _, d = pack_domains(source=(source, np.zeros(20)), target=target)
    X.loc[3, "b"], X.loc[22, "a"] = np.nan, np.nan
    Z = ColumnMappingAdapter(LinearRegression()).fit_transform(X, sample_domain=d)
    assert Z[22, 0] == pytest.approx(X["a"][20:].mean())
    assert Z[3, 1] == pytest.approx(X["b"][:20].mean())
    assert np.isfinite(Z).all()


def test_a_column_without_a_value_is_zero(tables):
    source, target = tables
    X, _, d = pack_domains(source=(source, np.zeros(20)), target=target)
    Z = ColumnMappingAdapter().fit_transform(X.assign(z=np.nan), sample_domain=d)
    assert_array_equal(Z[:, 3], 0.0)


def test_any_regressor_of_several_columns(tables):
    source, target = tables
    X, _, d = pack_domains(source=(source.assign(e=source["b"] ** 2), np.zeros(20)), target=target)
    forest = RandomForestRegressor(5, random_state=0)
    Z = ColumnMappingAdapter(forest).fit_transform(X, sample_domain=d)
    expected = RandomForestRegressor(5, random_state=0).fit(source[["a"]].to_numpy(), Z[:20, [1, 2]])
    assert_allclose(Z[20:, [1, 2]], expected.predict(target[["a"]].to_numpy()))


def split_wine(n_common):
    """Two halves of the rows, of which each has its own half of most columns; the target has ten labels."""
    X, y = load_wine(return_X_y=True)
    rng = np.random.default_rng(0)
    columns, rows = rng.permutation(13), rng.permutation(178)
    own = (13 - n_common) // 2
    X[np.ix_(rows[:89], columns[n_common + own :])] = np.nan
    X[np.ix_(rows[89:], columns[n_common : n_common + own])] = np.nan
    d = np.empty(178, dtype=object)
    d[rows[:89]], d[rows[89:]] = "source", "target"
    known = y.copy()
    known[rows[99:]] = -1
    return X, y, known, d, rows[99:], columns[:n_common], columns[n_common + own :]


def test_filled_columns_help_beside_common_ones_and_beside_the_target_alone():
    X, y, known, d, test, common, own = split_wine(3)
    labelled = (d == "target") & (known >= 0)
    alone, pooled = (make_pipeline(StandardScaler(), LogisticRegression(max_iter=500)) for _ in range(2))
    alone.fit(X[labelled][:, [*common, *own]], y[labelled])
    pooled.fit(X[known >= 0][:, common], y[known >= 0])
    adapted = AdaptedClassifier(LogisticRegression(max_iter=500), ColumnMappingAdapter(), use_target_labels=True)
    mapped = make_pipeline(StandardScaler(), adapted).fit(X, known, adaptedclassifier__sample_domain=d)
    score = mapped.score(X[test], y[test])
    assert score > alone.score(X[test][:, [*common, *own]], y[test])
    assert score > pooled.score(X[test][:, common], y[test])


def test_labels_connect_tables_without_a_common_column():
    X, y, known, d, test, *_ = split_wine(0)
    adapter = ColumnMappingAdapter(use_target_labels=True)
    model = AdaptedClassifier(LogisticRegression(max_iter=500), adapter, use_target_labels=True)
    pipe = make_pipeline(StandardScaler(), model).fit(X, known, adaptedclassifier__sample_domain=d)
    assert pipe.score(X[test], y[test]) > 0.7
    # Numbers connect as classes do.
    rng = np.random.default_rng(0)
    y = rng.normal(size=40)
    X = np.full((40, 2), np.nan)
    X[:20, 0], X[20:, 1] = y[:20] + 1.0, -y[20:]
    d = np.repeat(["source", "target"], 20)
    Z = ColumnMappingAdapter(LinearRegression(), use_target_labels=True).fit_transform(X, y, sample_domain=d)
    assert_allclose(Z, np.column_stack([y + 1.0, -y]), atol=1e-10)


def test_target_labels_are_read_only_where_asked_for(tables):
    source, target = tables
    X, y, d = pack_domains(source=(source, np.arange(20) % 2), target=(target, np.arange(15) % 2))
    Z = ColumnMappingAdapter(use_target_labels=True).fit_transform(X, y, sample_domain=d)
    assert_array_equal(ColumnMappingAdapter().fit_transform(X, sample_domain=d), Z)


def test_what_nothing_connects_is_refused(tables):
    source, target = tables
    with pytest.raises(DomainError, match=r"no column in common \(only in one of them: \['b', 'c'\]\)"):
        pack_domains(source=(source[["b"]], np.zeros(20)), target=target[["c"]])
    X, y, d = pack_domains(source=(source[["b"]], np.arange(20) % 2), target=(target[["c"]], np.arange(15) % 2))
    with pytest.raises(DomainError, match=r"Nothing connects source and target.*no target label is read.*use_target_l"):
        ColumnMappingAdapter().fit(X, y, sample_domain=d)
    few = np.where(np.arange(35) > 20, -1, y)
    with pytest.raises(DomainError, match="fewer than two target rows have a label"):
        ColumnMappingAdapter(use_target_labels=True).fit(X, few, sample_domain=d)
    with pytest.raises(ValueError, match="use_target_labels=True requires y"):
        ColumnMappingAdapter(use_target_labels=True).fit(X, sample_domain=d)
