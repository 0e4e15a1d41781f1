import numpy as np
import pytest
from numpy.testing import assert_array_equal

from sktransfer.domains import check_domains, domain_folds
from sktransfer.exceptions import DomainError


@pytest.fixture
def rows():
    names = np.repeat(["a", "b", "target"], [12, 7, 10])
    return np.arange(29) % 3, check_domains(names)


def test_every_fold_has_rows_of_every_domain(rows):
    y, domains = rows
    tested = []
    for train, test in domain_folds(domains, y, n_splits=3, random_state=0):
        assert_array_equal(np.sort(np.concatenate([train, test])), np.arange(29))
        assert set(domains.names[train]) == set(domains.names[test]) == {"a", "b", "target"}
        assert np.bincount(y[test][domains.names[test] == "a"]).tolist() in ([1, 1, 2], [1, 2, 1], [2, 1, 1])
        tested.append(test)
    assert_array_equal(np.sort(np.concatenate(tested)), np.arange(29))


def test_target_labels_are_not_read(rows):
    y, domains = rows
    other = np.where(domains.is_target, 2 - y, y)
    for (_, first), (_, second) in zip(
        domain_folds(domains, y, random_state=1), domain_folds(domains, other, random_state=1), strict=True
    ):
        assert_array_equal(first, second)


def test_order_without_shuffling(rows):
    _, domains = rows
    _, test = next(iter(domain_folds(domains, n_splits=4, shuffle=False)))
    assert test.tolist() == [0, 4, 8, 12, 16, 19, 23, 27]


def test_too_few_rows(rows):
    with pytest.raises(DomainError, match=r"n_splits=8, but the domain 'b' has 7 rows"):
        list(domain_folds(rows[1], n_splits=8))
