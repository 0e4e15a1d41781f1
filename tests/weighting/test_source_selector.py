import numpy as np
import pandas as pd
import pytest
import sklearn
from imblearn.pipeline import make_pipeline
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import KFold, cross_validate
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler

from sktransfer.datasets import make_domain_shift
from sktransfer.exceptions import DomainError
from sktransfer.weighting import KMMWeighter, LabelShiftWeighter, NearestNeighborWeighter, SourceSelector


@pytest.fixture
def data():
    return make_domain_shift(60, 40, n_features=3, random_state=0)


@pytest.mark.parametrize(("n_select", "n_kept"), [(7, 7), (60, 60), (500, 60), (0.5, 30), (0.01, 1), (1.0, 60), (1, 1)])
def test_number_of_kept_rows(data, n_select, n_kept):
    X, _, d = data
    selector = SourceSelector(n_select).fit(X, sample_domain=d)
    assert len(selector.sample_indices_) == n_kept
    assert np.count_nonzero(selector.weights_) == n_kept
    assert_allclose(selector.weights_[selector.weights_ > 0], 60 / n_kept)


def test_kept_rows_are_those_of_the_largest_weights(data):
    X, y, d = data
    order = np.random.default_rng(0).permutation(len(X))
    X, y, d = X[order], y[order], d[order]
    weighter = NearestNeighborWeighter(5)
    selector = SourceSelector(20, weighter=weighter).fit(X, y, sample_domain=d)
    weights, rows = weighter.fit(X, sample_domain=d).weights_, np.flatnonzero(d == "source")
    kept = np.isin(rows, selector.sample_indices_)
    assert weights[kept].min() >= weights[~kept].max()
    assert selector.threshold_ == weights[kept].min()
    assert (d[selector.sample_indices_] == "source").all()


def test_the_weighter_is_cloned_and_told_the_target(data):
    X, y, d = data
    inner = KMMWeighter(B=5)
    selector = SourceSelector(5, weighter=inner, target_domain="t").fit(
        X, y, sample_domain=np.where(d == "target", "t", "s")
    )
    assert selector.weighter_.target_domain == "t"
    assert inner.target_domain == "target"
    assert not hasattr(inner, "weights_")
    by_class = SourceSelector(20, weighter=LabelShiftWeighter(random_state=0)).fit(X, y, sample_domain=d)
    assert len(by_class.sample_indices_) == 20


def test_fit_resample_hands_on_kept_rows(data):
    X, y, d = data
    selector = SourceSelector(12)
    X_kept, y_kept = selector.fit_resample(X, y, sample_domain=d)
    assert_array_equal(X_kept, X[selector.sample_indices_])
    assert_array_equal(y_kept, y[selector.sample_indices_])
    again = SourceSelector(12).fit_resample(X, np.where(d == "target", -1, y))
    assert_array_equal(again[0], X_kept)
    assert_array_equal(again[1], y_kept)
    frame, labels = selector.fit_resample(pd.DataFrame(X, columns=list("abc")), pd.Series(y), sample_domain=d)
    assert list(frame.columns) == list("abc")
    assert_array_equal(frame.to_numpy(), X_kept)
    assert_array_equal(labels, y_kept)


@pytest.mark.parametrize("routing", [False, True])
def test_sampler_in_a_pipeline_of_imbalanced_learn(data, routing):
    X, y, d = data
    with sklearn.config_context(enable_metadata_routing=routing):
        pipe = make_pipeline(StandardScaler(), SourceSelector(20), LogisticRegression())
        if routing:
            pipe.fit(X, y, sample_domain=d)
            cv = KFold(3, shuffle=True, random_state=0)
            scores = cross_validate(pipe, X, y, params={"sample_domain": d}, cv=cv, error_score="raise")
            assert np.isfinite(scores["test_score"]).all()
        else:
            pipe.fit(X, np.where(d == "target", -1, y))
        Z = StandardScaler().fit_transform(X)
        kept = SourceSelector(20).fit(Z, sample_domain=d).sample_indices_
        expected = LogisticRegression().fit(Z[kept], y[kept])
        assert_allclose(pipe.predict_proba(X), expected.predict_proba(Z))
        assert pipe.predict(X).shape == (100,)


def test_a_classifier_without_weights_profits(data):
    X, y, d = data
    pipe = make_pipeline(SourceSelector(0.3), KNeighborsClassifier(3)).fit(X, np.where(d == "target", -1, y))
    assert set(pipe.predict(X)) <= {0, 1}


def test_errors(data):
    X, y, d = data
    for n_select in (0, 0.0, 1.5, "half"):
        with pytest.raises(ValueError, match="The 'n_select' parameter of SourceSelector"):
            SourceSelector(n_select).fit(X, sample_domain=d)
    with pytest.raises(DomainError, match="source rows have no label"):
        SourceSelector().fit_resample(X, np.where(np.arange(100) == 3, np.nan, y), sample_domain=d)
