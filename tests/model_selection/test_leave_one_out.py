import numpy as np
import pytest
import sklearn
from sklearn.dummy import DummyClassifier
from sklearn.model_selection import LeaveOneGroupOut, cross_validate

from sktransfer import AdaptedClassifier, CORALAdapter, LeaveOneDomainOut
from sktransfer.exceptions import DomainError


@pytest.fixture
def rows():
    names = np.repeat(["a", "b", "target"], [10, 15, 20])[np.random.default_rng(0).permutation(45)]
    X = np.random.default_rng(1).normal(size=(45, 3))
    return X, np.array(["cat", "dog"])[np.arange(45) % 2], names


def test_each_domain_is_the_target_once(rows):
    X, y, names = rows
    splitter = LeaveOneDomainOut(random_state=0)
    folds = list(splitter.split_masked(X, y, sample_domain=names))
    assert len(folds) == splitter.get_n_splits(groups=names) == splitter.get_n_splits(sample_domain=names) == 3
    for left_out, fold in zip(("a", "b", "target"), folds, strict=True):
        assert sorted([*fold.train, *fold.test]) == list(range(45))
        assert [sum(names[fold.test] == name) for name in ("a", "b", "target")] == [2, 3, 4]
        hidden = names[fold.train] == left_out
        assert [label is None for label in fold.y] == hidden.tolist()
        np.testing.assert_array_equal(fold.y[~hidden], y[fold.train][~hidden])
        np.testing.assert_array_equal(fold.sample_domain == "target", hidden)
        assert len(set(fold.sample_domain)) == 3
        AdaptedClassifier(adapter=CORALAdapter()).fit(X[fold.train], fold.y, sample_domain=fold.sample_domain)


def test_a_source_of_the_targets_name_gets_the_name_of_the_domain_left_out(rows):
    X, y, names = rows
    fold = next(LeaveOneDomainOut(random_state=0).split_masked(X, y, sample_domain=names))
    expected = {"a": "target", "b": "b", "target": "a"}
    assert fold.sample_domain.tolist() == [expected[name] for name in names[fold.train]]


def test_labels_of_the_domain_left_out_decide_nothing(rows):
    X, y, names = rows
    splitter = LeaveOneDomainOut(random_state=0)
    for left_out, fold in zip(("a", "b", "target"), splitter.split_masked(X, y, sample_domain=names), strict=True):
        other = np.where(names == left_out, "garbage", y)
        changed = [f for f in splitter.split_masked(X, other, sample_domain=names) if (f.y == None).any()]  # noqa: E711
        changed = changed[("a", "b", "target").index(left_out)]
        assert changed.train.tolist() == fold.train.tolist()
        assert changed.y.tolist() == fold.y.tolist()


def test_generalisation_is_leaving_one_group_out(rows):
    X, y, names = rows
    splitter = LeaveOneDomainOut(keep_target=False)
    expected = list(LeaveOneGroupOut().split(X, y, names))
    for (train, test), (expected_train, expected_test) in zip(splitter.split(X, y, names), expected, strict=True):
        np.testing.assert_array_equal(train, expected_train)
        np.testing.assert_array_equal(test, expected_test)
    for fold, (train, _) in zip(splitter.split_masked(X, y, sample_domain=names), expected, strict=True):
        assert fold.y.tolist() == y[train].tolist()
        assert "target" not in fold.sample_domain


def test_domains_that_are_numbers(rows):
    X, y, names = rows
    numbers = np.unique(names, return_inverse=True)[1]
    fold = next(LeaveOneDomainOut(target_domain=99).split_masked(X, y, sample_domain=numbers))
    assert set(fold.sample_domain.tolist()) == {99, 1, 2}
    mixed = next(LeaveOneDomainOut().split_masked(X, y, sample_domain=numbers))
    assert set(mixed.sample_domain.tolist()) == {"target", 1, 2}


def test_cross_validation_by_groups_and_by_routing(rows):
    X, y, names = rows
    splitter = LeaveOneDomainOut(keep_target=False)
    by_groups = cross_validate(DummyClassifier(), X, y, groups=names, cv=splitter)
    with sklearn.config_context(enable_metadata_routing=True):
        routed = cross_validate(DummyClassifier(), X, y, cv=splitter, params={"sample_domain": names})
    np.testing.assert_array_equal(by_groups["test_score"], routed["test_score"])
    assert len(routed["test_score"]) == 3


def test_repr_and_seed(rows):
    splitter = LeaveOneDomainOut(random_state=3)
    expected = "LeaveOneDomainOut(keep_target=True, random_state=3, target_domain='target', test_size=0.2)"
    assert " ".join(repr(splitter).split()) == expected
    first, second = ([test.tolist() for _, test in splitter.split(*rows)] for _ in range(2))
    assert first == second


def test_errors(rows):
    X, y, names = rows
    with pytest.raises(DomainError, match="LeaveOneDomainOut needs the domain label of each row"):
        next(LeaveOneDomainOut().split(X, y))
    with pytest.raises(DomainError, match="needs the domain label of each row"):
        LeaveOneDomainOut().get_n_splits()
    with pytest.raises(DomainError, match=r"holds the domains \['a'\] only"):
        next(LeaveOneDomainOut().split(X, y, ["a"] * 45))
    with pytest.raises(ValueError, match=r"target_domain of LeaveOneDomainOut must be one label, got \['a', 'b'\]"):
        next(LeaveOneDomainOut(target_domain=["a", "b"]).split(*rows))
    with pytest.raises(ValueError, match="split_masked needs y"):
        next(LeaveOneDomainOut().split_masked(X, None, sample_domain=names))
    with pytest.raises(DomainError, match="The domain 'c' has 1 rows"):
        next(LeaveOneDomainOut().split(X, y, [*names[1:], "c"]))
    with pytest.raises(ValueError, match="test_size must be a share"):
        next(LeaveOneDomainOut(test_size=2).split(*rows))
