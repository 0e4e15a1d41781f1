import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.linear_model import LogisticRegression

from sktransfer.few_labels._plain import fit_plain, span_of
from sktransfer.few_labels._space import unit_rows


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize(("apart", "C"), [(False, 300.0), (True, 30.0)])
def test_log_probabilities_are_those_of_logistic_regression(n_classes, apart, C):
    rng = np.random.default_rng(0)
    codes = np.arange(30) % n_classes
    Z = unit_rows(rng.normal(size=(30, 5)) + np.eye(5)[codes])
    expected = LogisticRegression(C=C, max_iter=1000).fit(Z, codes).predict_log_proba(Z)
    assert_allclose(fit_plain(Z, codes, apart=apart).log_proba(Z), expected, atol=1e-8)


def test_in_the_span_of_the_labelled_rows_nothing_is_lost():
    rng = np.random.default_rng(0)
    Z, new = (unit_rows(rng.normal(size=(n, 200))) for n in (12, 40))
    codes = np.arange(12) % 3
    basis = span_of(Z)
    assert basis.shape == (200, 12)
    short = fit_plain(Z @ basis, codes).log_proba(new @ basis)
    assert_allclose(short, fit_plain(Z, codes).log_proba(new), atol=1e-3)


def test_many_rows_need_no_basis():
    assert span_of(np.ones((5, 5))) is None
