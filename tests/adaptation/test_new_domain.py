"""A domain that came after the fit, for adapters and what holds them."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sktransfer import (
    AdaptedClassifier,
    AdaptedRegressor,
    CORALAdapter,
    DomainStandardizer,
    KMMWeighter,
    make_domain_shift,
)


@pytest.fixture(scope="module")
def rows():
    return make_domain_shift(40, 40, n_features=3, shift="covariate", random_state=0)


@pytest.mark.parametrize(("meta", "inner"), [(AdaptedClassifier, LogisticRegression), (AdaptedRegressor, Ridge)])
def test_new_rows_are_scaled_by_themselves_and_the_estimator_stays(rows, meta, inner):
    X, y, domain = rows
    fitted = meta(inner(), DomainStandardizer()).fit(X, y, sample_domain=domain)
    target = X[domain == "target"]
    moved, before = 7 * target - 3, fitted.predict(target)
    adapted = fitted.adapt(moved)
    assert_allclose(adapted.predict(moved), before)
    assert adapted.estimator_ is fitted.estimator_
    assert_array_equal(fitted.predict(target), before)
    assert not np.array_equal(fitted.transform(moved), adapted.transform(moved))


def test_statistics_of_every_target_domain_are_the_new_ones_and_those_of_sources_stay(rows):
    X, _, domain = rows
    domain = np.where(np.arange(80) < 20, "other", domain)
    fitted = DomainStandardizer().fit(X, sample_domain=domain)
    adapted = fitted.adapt(5 * X[40:])
    for marked in (None, ["target"] * 40):
        assert_allclose(adapted.transform(5 * X[40:], sample_domain=marked), fitted.transform(X[40:]))
    assert_allclose(
        adapted.transform(X[:40], sample_domain=domain[:40]), fitted.transform(X[:40], sample_domain=domain[:40])
    )
    with pytest.raises(ValueError, match="X has 2 features"):
        fitted.adapt(X[:, :2])


@pytest.mark.parametrize(
    "adapter",
    [CORALAdapter(), KMMWeighter(), make_pipeline(StandardScaler(), CORALAdapter())],
    ids=lambda adapter: type(adapter).__name__,
)
def test_adapters_that_need_the_source_are_refused_by_name(rows, adapter):
    X, y, domain = rows
    fitted = AdaptedClassifier(None, adapter).fit(X, y, sample_domain=domain)
    with pytest.raises(ValueError, match=r"learns from rows of both domains together.*DomainStandardizer\(\)"):
        fitted.adapt(X)
