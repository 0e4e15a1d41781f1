"""Logistic regression around given coefficients."""

import numpy as np
from numpy.testing import assert_allclose, assert_array_equal

from sktransfer.parameter_transfer._logistic_fit import LogisticRows, fit_logistic, match_classes


def test_solver_stops_where_it_begins_if_that_is_the_minimum():
    rows = LogisticRows(np.array([[1.0], [-1.0]]), np.array([0, 1]), np.ones(2), 2)
    once = fit_logistic(rows, np.zeros((1, 2)), np.ones(2), first=np.zeros((1, 2)), tol=1e-8)
    again = fit_logistic(rows, np.zeros((1, 2)), np.ones(2), first=once.coef, tol=1e-6)
    assert again.n_iter == 0
    assert_array_equal(again.coef, once.coef)


def test_two_become_three():
    coef = np.array([[2.0, 4.0]])
    matched = match_classes(coef, np.array(["a", "c"]), np.array(["a", "b", "c"]))
    assert_allclose(matched, [[-1.0, -2.0], [0.0, 0.0], [1.0, 2.0]])
    assert_allclose(match_classes(np.array([[1.0], [3.0]]), np.array([0, 1]), np.array([0, 1])), [[2.0]])
