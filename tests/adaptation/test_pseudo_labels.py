import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.linear_model import RidgeClassifier
from sklearn.pipeline import make_pipeline

from sktransfer.adaptation._pseudo_labels import balance_factor, domain_distance, mean_differences, read_classes
from sktransfer.domains import check_domains
from sktransfer.metrics import proxy_a_distance
from sktransfer.utils._deviations import ColumnScaler

TARGET = np.array([False, False, False, False, True, True, True])
LABELS = np.array([0, 0, 0, 1, 0, 1, 1])


def matrix(E):
    return E @ E.T


def test_marginal_matrix():
    e = np.array([1 / 4] * 4 + [-1 / 3] * 3)
    expected = np.outer(e, e)
    assert_allclose(matrix(mean_differences(TARGET)), expected / np.linalg.norm(expected))
    assert_allclose(mean_differences(TARGET, LABELS, conditional=0.0), mean_differences(TARGET))


@pytest.mark.parametrize("mu", [0.3, 0.5, 1.0])
@pytest.mark.parametrize("weighted", [False, True])
def test_matrix_of_balanced_distribution_adaptation(mu, weighted):
    """Written out by hand: (1 - mu) C e e' + mu sum of e_c e_c', scaled."""
    e = np.array([1 / 4] * 4 + [-1 / 3] * 3)
    # Frequencies of class 0: 1/3 in the target, 3/4 in the source; of class 1: 2/3 and 1/4.
    ratios = (4 / 9, 8 / 3) if weighted else (1, 1)
    e0 = np.array([1 / 3, 1 / 3, 1 / 3, 0, -ratios[0], 0, 0])
    e1 = np.array([0, 0, 0, 1, 0, -ratios[1] / 2, -ratios[1] / 2])
    expected = (1 - mu) * 2 * np.outer(e, e) + mu * (np.outer(e0, e0) + np.outer(e1, e1))
    found = matrix(mean_differences(TARGET, LABELS, conditional=mu, class_weighting=weighted))
    assert_allclose(found, expected / np.linalg.norm(expected))


def test_classes_without_target_rows_are_not_compared():
    labels = np.array([0, 0, 0, 1, 0, 0, 0])
    E = mean_differences(TARGET, labels, conditional=1.0)
    assert E.shape == (7, 1)
    assert_array_equal(E[3], 0.0)


def test_balance_factor():
    rng = np.random.default_rng(0)
    target, labels = np.repeat([False, True], 100), np.arange(200) % 2
    same = rng.normal(size=(200, 2))
    moved = same + 10 * target[:, np.newaxis]
    # Classes change places: the domains look alike, the classes do not.
    swapped = same + np.where((labels == 1) == target, 10, -10)[:, np.newaxis]
    assert balance_factor(moved, target, labels) == pytest.approx(0.5)
    assert balance_factor(swapped, target, labels) > 0.9
    assert 0 <= balance_factor(same, target, labels) <= 1
    assert balance_factor(moved, target, labels, marginal=0.0) == 1.0
    assert balance_factor(moved[:101], target[:101], labels[:101]) == 0.0


@pytest.mark.parametrize("shift", [0.0, 0.1, 0.3, 1.0, 9.0])
def test_distance_is_that_of_a_cross_validated_ridge_classifier(shift):
    rng = np.random.default_rng(1)
    Zs, Zt = rng.normal(size=(90, 7)), 1.3 * rng.normal(size=(50, 7)) + shift
    classifier = make_pipeline(ColumnScaler(), RidgeClassifier(class_weight="balanced"))
    assert domain_distance(Zs, Zt) == pytest.approx(proxy_a_distance(Zs, Zt, estimator=classifier, random_state=0))


def test_distance_of_single_rows():
    assert domain_distance(np.zeros((1, 2)), np.zeros((5, 2))) == 2.0


def test_classes_of_source_rows():
    domains = check_domains(["s", "target", "s"])
    classes, codes = read_classes(np.zeros((3, 1)), ["b", None, "a"], domains, caller="X")
    assert_array_equal(classes, ["a", "b"])
    assert_array_equal(codes, [1, 0])
    with pytest.raises(ValueError, match="MEDA requires y to be passed"):
        read_classes(np.zeros((3, 1)), None, domains, caller="MEDA")
    with pytest.raises(ValueError, match="y has 2 rows, but X has 3"):
        read_classes(np.zeros((3, 1)), [0, 1], domains, caller="X")
