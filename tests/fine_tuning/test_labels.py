"""Labels as training needs them."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.sparse import csr_matrix
from sklearn.datasets import make_multilabel_classification
from sklearn.utils import compute_class_weight

from sktransfer import FineTunedClassifier
from sktransfer.fine_tuning._labels import check_labels, class_weights, encode, learn_classes


def estimator(classes, *, multilabel=False, **options):
    clf = FineTunedClassifier(**options)
    clf.classes_, clf._multilabel = np.asarray(classes), multilabel
    return clf


def test_class_numbers_follow_the_sorted_labels():
    y = check_labels(FineTunedClassifier(), ["b", "a", "c", "a"])
    clf = FineTunedClassifier()
    clf.classes_, clf._multilabel = learn_classes(clf, y), False
    assert clf.classes_.tolist() == ["a", "b", "c"]
    assert encode(clf, y).tolist() == [1, 0, 2, 0]


@pytest.mark.parametrize("container", [np.asarray, csr_matrix, lambda Y: Y.astype(bool)])
def test_indicator_matrices(container):
    _, Y = make_multilabel_classification(20, random_state=0)
    read = check_labels(FineTunedClassifier(), container(Y))
    np.testing.assert_array_equal(read, Y)
    clf = estimator(learn_classes(FineTunedClassifier(), read), multilabel=True)
    assert clf.classes_.tolist() == [0, 1, 2, 3, 4]
    assert encode(clf, read).dtype == np.float32


def test_column_is_read_as_labels_with_a_warning():
    with pytest.warns(UserWarning, match="column-vector"):
        assert check_labels(FineTunedClassifier(), [["a"], ["b"]]).tolist() == ["a", "b"]


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (None, "y cannot be None|requires y"),
        ([0.5, 1.2, 3.3], "[Uu]nknown label type"),
        ([[1, 2], [3, 1]], "1d array|multioutput"),
        ([1.0, np.inf], "[Ii]nf"),
        ([1.0, np.nan], "NaN"),
    ],
)
def test_what_is_no_label_is_refused(y, message):
    with pytest.raises(ValueError, match=message):
        check_labels(FineTunedClassifier(), y)


def test_unknown_label_is_named():
    with pytest.raises(ValueError, match=r"y_val has labels that are not among the classes .*'z'"):
        encode(estimator(["a", "b"]), np.array(["a", "z"]), name="y_val")


def test_other_kind_of_labels_is_named():
    with pytest.raises(ValueError, match="y has several labels a sample, FineTunedClassifier was fitted with one"):
        encode(estimator([0, 1]), np.eye(2))
    with pytest.raises(ValueError, match=r"y has 3 labels \(columns\), expected 2"):
        encode(estimator([0, 1], multilabel=True), np.eye(3))


def test_class_weights_are_scikit_learns():
    y = np.array([0, 0, 0, 1, 2, 2])
    expected = compute_class_weight("balanced", classes=np.arange(3), y=y)[y]
    np.testing.assert_array_equal(class_weights(estimator([0, 1, 2], class_weight="balanced"), y), expected)
    given = class_weights(estimator([0, 1, 2], class_weight={0: 2.0, 2: 0.5}), y)
    assert given.tolist() == [2, 2, 2, 1, 0.5, 0.5]
    assert class_weights(estimator([0, 1, 2]), y).tolist() == [1] * 6


def test_class_weights_of_a_part_without_some_class():
    weights = class_weights(estimator([0, 1, 2], class_weight={0: 2.0, 1: 3.0, 2: 4.0}), np.array([0, 2]))
    assert weights.tolist() == [2, 4]


@pytest.mark.parametrize("weight", [-1.0, np.inf, np.nan, "much", None])
def test_class_weight_that_is_no_weight_is_named(weight):
    with pytest.raises(ValueError, match=r"class_weight gives class 1 the weight .*at least 0"):
        class_weights(estimator([0, 1], class_weight={0: 1, 1: weight}), np.array([0, 1]))


def test_weights_by_class_have_no_meaning_for_several_labels():
    with pytest.raises(ValueError, match="only 'balanced' and None"):
        class_weights(estimator([0, 1], multilabel=True, class_weight={0: 1}), np.eye(2))
    with pytest.raises(ValueError, match="sampler='balanced' draws classes"):
        learn_classes(SimpleNamespace(sampler="balanced"), np.eye(2))
