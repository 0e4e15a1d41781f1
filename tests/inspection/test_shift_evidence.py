import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.feature_selection import SelectKBest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from sktransfer import CORALAdapter, make_domain_shift, mmd_distance, proxy_a_distance
from sktransfer.domains import check_domains
from sktransfer.inspection._shift_evidence import (
    class_shares,
    distances,
    domain_distances,
    draw_rows,
    feature_rows,
)


@pytest.fixture
def shifted():
    X, y, names = make_domain_shift(40, 30, n_features=3, random_state=0)
    return X, y, check_domains(names)


def pictures(X):
    """Rows as pictures of one line, which are no table."""
    return X[:, np.newaxis, :]


def flat(P):
    return P[:, 0, :]


def test_rows_of_a_table_count_as_they_are(shifted):
    X, y, domains = shifted
    rows = np.array([0, 5, 69])
    table, origin = feature_rows(X, y, domains, rows, make_pipeline(StandardScaler(), LogisticRegression()), None)
    np.testing.assert_array_equal(table, X[rows])
    assert origin == "X"
    table, origin = feature_rows(X, y, domains, rows, LogisticRegression(), FunctionTransformer(np.negative))
    np.testing.assert_array_equal(table, -X[rows])
    assert origin == "FunctionTransformer"
    assert feature_rows(pictures(X), y, domains, rows, LogisticRegression(), flat)[1] == "flat"


def test_steps_of_a_pipeline_make_features(shifted):
    X, y, domains = shifted
    rows = np.arange(70)
    flatten = FunctionTransformer(flat)
    pipe = make_pipeline(flatten, PCA(2, svd_solver="full"), CORALAdapter(), LogisticRegression())
    table, origin = feature_rows(pictures(X), y, domains, rows, pipe, None)
    np.testing.assert_allclose(table, PCA(2, svd_solver="full").fit(X[domains.is_source]).transform(X))
    # Neither the adapter nor the classifier is among them.
    assert origin == "functiontransformer + pca"
    chosen = make_pipeline(flatten, "passthrough", SelectKBest(k=1), LogisticRegression())
    assert feature_rows(pictures(X), y, domains, rows, chosen, None)[0].shape == (70, 1)


def test_no_features(shifted):
    X, y, domains = shifted
    rows = np.arange(70)
    for estimator in (LogisticRegression(), make_pipeline(CORALAdapter(), LogisticRegression())):
        table, reason = feature_rows(pictures(X), y, domains, rows, estimator, None)
        assert table is None
        assert "pass features=" in reason


def test_distances_are_those_of_metrics(shifted):
    X, _, domains = shifted
    found = distances(X, domains.is_target, np.random.RandomState(0))
    Xs, Xt = X[:40], X[40:]
    assert found["mmd"] == mmd_distance(Xs, Xt)
    assert found["mmd_p_value"] == pytest.approx(1 / 1001)
    assert found["proxy_a_distance"] == pytest.approx(proxy_a_distance(Xs, Xt, random_state=0), abs=0.3)


def test_distances_or_why_not(shifted):
    X, y, domains = shifted
    rng = np.random.RandomState(0)
    found = domain_distances(X, y, domains, LogisticRegression(), None, rng)
    assert found["mmd"] == mmd_distance(X[:40], X[40:])
    assert (found["features"], found["left_out"]) == ("X", None)
    broken = X.copy()
    broken[3, 1] = np.nan
    lone = check_domains(np.repeat(["s", "target"], [69, 1]))
    for Z, roles, reason in ((pictures(X), domains, "no table"), (broken, domains, "missing"), (X, lone, "single row")):
        found = domain_distances(Z, y, roles, LogisticRegression(), None, rng)
        assert reason in found["left_out"]
        assert [found[key] for key in ("mmd", "mmd_p_value", "proxy_a_distance", "features")] == [None] * 4


def test_rows_are_drawn_where_there_are_many():
    domains = check_domains(np.repeat(["target", "s"], [1500, 20]))
    rows = draw_rows(domains, np.random.RandomState(0))
    assert (np.diff(rows) > 0).all()
    assert (rows < 1500).sum() == 1000
    assert (rows >= 1500).sum() == 20


def test_shares():
    y = np.array(["a", "b", "b", "c", "b", "b", None, "d"], dtype=object)
    domains = check_domains(np.repeat(["s", "target"], 4))
    labelled = np.array([False] * 4 + [True, True, False, True])
    found = class_shares(y, domains, labelled)
    assert found["classes"].tolist() == ["a", "b", "c", "d"]
    np.testing.assert_allclose(found["source_shares"], [0.25, 0.5, 0.25, 0])
    np.testing.assert_allclose(found["target_shares"], [0, 2 / 3, 0, 1 / 3])
    assert found["label_shift_distance"] == pytest.approx(0.5)
