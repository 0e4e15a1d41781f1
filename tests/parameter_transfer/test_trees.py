"""Trees that target rows change: small ones, by hand."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.tree import DecisionTreeClassifier

from sktransfer.parameter_transfer._trees import PlainTree, expand_and_reduce, move_thresholds


@pytest.fixture
def stump():
    """Class 0 up to 0.5, class 1 above."""
    return plain(DecisionTreeClassifier().fit([[0.0], [1.0]], [0, 1]))


def plain(fitted):
    return PlainTree.of(fitted.tree_, fitted.classes_, 2)


def grow(X, codes):
    return plain(DecisionTreeClassifier(random_state=0).fit(X, codes))


def never(X, codes):
    raise AssertionError("nothing is to be grown")


def column(*values):
    return np.array(values, dtype=np.float32)[:, np.newaxis]


def test_a_plain_tree_is_scikit_learns():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(200, 3)).astype(np.float32), rng.integers(0, 2, 200)
    X[::9, 1] = np.nan
    fitted = DecisionTreeClassifier(max_depth=6, random_state=0).fit(X, y)
    tree = plain(fitted)
    assert_array_equal(tree.apply(X), fitted.apply(X))
    assert_allclose(tree.value[tree.apply(X)], fitted.predict_proba(X))


class TestExpandAndReduce:
    def test_a_leaf_that_holds_both_classes_grows(self, stump):
        X, codes = column(0.1, 0.2, 0.4, 2.0), np.array([0, 0, 1, 1])
        tree = expand_and_reduce(stump, X, codes, grow, prior_weight=0.0)
        assert_allclose(tree.value[tree.apply(column(0.0, 0.29, 0.31, 0.5, 0.6))][:, 1], [0, 0, 1, 1, 1])
        assert_array_equal(stump.value[stump.apply(X)][:, 1], [0, 0, 0, 1])  # the source is as it was

    def test_what_errs_more_than_a_leaf_becomes_one(self):
        source = plain(DecisionTreeClassifier(random_state=0).fit([[0.0], [1.0], [2.0], [3.0]], [0, 1, 0, 1]))
        # Two leaves hold against one target row each, and together get more wrong than the source counts for.
        tree = expand_and_reduce(source, column(0.0, 2.0), np.array([1, 1]), never, prior_weight=1.5)
        assert tree.left[0] == -1
        assert_allclose(tree.value[0], [0.75 / 3.5, 2.75 / 3.5])
        tree = expand_and_reduce(source, column(0.0, 2.0), np.array([1, 1]), never, prior_weight=2.5)
        assert tree.left[0] >= 0

    def test_shares_of_the_source_count_as_rows(self, stump):
        tree = expand_and_reduce(stump, column(0.1, 0.2), np.array([0, 0]), never, prior_weight=2.0)
        assert_allclose(tree.value[tree.apply(column(0.1))], [[1.0, 0.0]])
        tree = expand_and_reduce(stump, column(0.1), np.array([1]), never, prior_weight=1.0)
        assert_allclose(tree.value[tree.apply(column(0.1, 0.9))], [[0.5, 0.5], [0.0, 1.0]])

    def test_where_no_row_falls_the_source_stays(self, stump):
        tree = expand_and_reduce(stump, column(0.7), np.array([1]), never, prior_weight=0.0)
        assert_allclose(tree.value[tree.apply(column(0.0))], [[1.0, 0.0]])


class TestMoveThresholds:
    def test_to_where_target_rows_fall_apart_alike(self, stump):
        tree = move_thresholds(stump, column(5.0, 6.0, 8.0, 9.0), np.array([0, 0, 1, 1]), prior_weight=0.0)
        assert tree.threshold[0] == 7.0
        assert_allclose(tree.value[tree.apply(column(6.9, 7.1))], np.eye(2))

    def test_a_test_is_turned_around(self, stump):
        tree = move_thresholds(stump, column(5.0, 6.0, 8.0, 9.0), np.array([1, 1, 0, 0]), prior_weight=1.0)
        assert tree.threshold[0] == 7.0
        assert_allclose(tree.value[tree.apply(column(6.9, 7.1))], [[0, 1], [1, 0]])

    def test_rows_that_are_equal_move_nothing(self, stump):
        tree = move_thresholds(stump, column(0.3, 0.3), np.array([0, 1]), prior_weight=0.0)
        assert tree.threshold[0] == 0.5
        assert_allclose(tree.value[tree.apply(column(0.3))], [[0.5, 0.5]])
