import pickle
from copy import deepcopy

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, check_cv, cross_val_predict, cross_validate

from sktransfer import (
    AdaptedClassifier,
    CORALAdapter,
    DomainKFold,
    SourceTargetShuffleSplit,
    StratifiedDomainShuffleSplit,
    make_domain_shift,
)
from sktransfer.exceptions import DomainError

SPLITTERS = (
    SourceTargetShuffleSplit(4, test_size=0.25, random_state=0),
    StratifiedDomainShuffleSplit(4, test_size=0.25, random_state=0),
    DomainKFold(4, random_state=0),
)


@pytest.fixture
def rows():
    """Domains a (24 rows) and b (16) are sources of 8 rows a class in the former, "target" has 12 rows."""
    names = np.array(["a"] * 24 + ["b"] * 16 + ["target"] * 12)
    y = np.array(["x", "y", "z"])[np.arange(52) % 3]
    order = np.random.default_rng(0).permutation(52)
    return np.arange(52.0)[:, np.newaxis], y[order], names[order]


def folds(splitter, *args, **kwargs):
    return [(train.tolist(), test.tolist()) for train, test in splitter.split(*args, **kwargs)]


@pytest.mark.parametrize("splitter", SPLITTERS)
def test_every_fold_has_both_roles_in_both_parts(rows, splitter):
    X, y, names = rows
    found = folds(splitter, X, y, sample_domain=names)
    assert len(found) == splitter.get_n_splits() == 4
    for train, test in found:
        assert sorted(train + test) == list(range(52))
        assert len(test) == 13
        assert sum(names[test] == "target") == sum(names == "target") // 4
        assert set(names[train]) == {"a", "b", "target"}


@pytest.mark.parametrize("splitter", SPLITTERS[1:])
def test_shares_of_domains_and_source_classes(rows, splitter):
    X, y, names = rows
    for _, test in splitter.split(X, y, sample_domain=names):
        assert [sum(names[test] == name) for name in ("a", "b", "target")] == [6, 4, 3]
        for name in ("a", "b"):
            for label in "xyz":
                m = sum((names == name) & (y == label))
                tested = sum((names[test] == name) & (y[test] == label))
                assert m // 4 <= tested <= -(-m // 4)


def test_k_folds_test_every_row_once(rows):
    X, y, names = rows
    tested = [row for _, test in DomainKFold(3).split(X, y, names) for row in test]
    assert sorted(tested) == list(range(52))


@pytest.mark.parametrize("splitter", SPLITTERS)
def test_labels_of_target_rows_decide_nothing(rows, splitter):
    X, y, names = rows
    other = y.copy()
    other[names == "target"] = np.random.default_rng(1).choice(["x", "new"], size=12)
    assert folds(splitter, X, y, sample_domain=names) == folds(splitter, X, other, sample_domain=names)
    for fold, changed in zip(
        splitter.split_masked(X, y, sample_domain=names),
        splitter.split_masked(X, other, sample_domain=names),
        strict=True,
    ):
        assert fold.y.tolist() == changed.y.tolist()


@pytest.mark.parametrize("splitter", SPLITTERS)
def test_three_ways_to_say_the_domains(rows, splitter):
    X, y, names = rows
    expected = folds(splitter, X, y, sample_domain=names)
    assert folds(splitter, X, y, names) == expected
    assert folds(splitter, X, y, groups=names.tolist(), sample_domain=names) == expected
    assert folds(splitter, pd.DataFrame(X), pd.Series(y), groups=pd.Series(names)) == expected
    assert folds(splitter, [f"p{row}" for row in range(52)], y, names) == expected
    two = np.where(names == "target", "target", "source")
    masked = np.where(names == "target", None, y.astype(object))
    assert folds(splitter, X, masked) == folds(splitter, X, y, sample_domain=two)


@pytest.mark.parametrize("splitter", SPLITTERS)
def test_masked_folds(rows, splitter):
    X, y, names = rows
    codes = np.unique(y, return_inverse=True)[1]
    before = codes.copy()
    for fold, (train, test) in zip(
        splitter.split_masked(X, codes, sample_domain=names), folds(splitter, X, codes, names), strict=True
    ):
        assert fold.train.tolist() == train
        assert fold.test.tolist() == test
        np.testing.assert_array_equal(fold.sample_domain, names[train])
        np.testing.assert_array_equal(fold.y, np.where(names[train] == "target", -1, codes[train]))
        # What a fold gives is what our estimators take.
        AdaptedClassifier(adapter=CORALAdapter()).fit(X[fold.train], fold.y, sample_domain=fold.sample_domain)
        AdaptedClassifier(adapter=CORALAdapter()).fit(X[fold.train], fold.y)
    np.testing.assert_array_equal(codes, before)


def test_other_names_of_the_target(rows):
    X, y, names = rows
    splitter = DomainKFold(2, shuffle=False, target_domain=["b", "target"])
    fold = next(splitter.split_masked(X, y, sample_domain=names))
    assert {label for label, name in zip(fold.y, fold.sample_domain, strict=True) if name != "a"} == {None}
    with pytest.raises(DomainError, match="No target rows among 52"):
        next(DomainKFold(target_domain="c").split(X, y, names))


def test_numbers_as_labels_do_not_stratify_apart():
    X, y, names = make_domain_shift(20, 20, n_classes=None, random_state=0)
    for splitter in SPLITTERS:
        for _, test in splitter.split(X, y, sample_domain=names):
            assert sum(names[test] == "target") == 5


@pytest.mark.parametrize("splitter", SPLITTERS)
def test_seeds(rows, splitter):
    X, y, names = rows
    again = deepcopy(splitter)
    assert folds(splitter, X, y, names) == folds(splitter, X, y, names) == folds(again, X, y, names)
    again.random_state = 1
    assert folds(splitter, X, y, names) != folds(again, X, y, names)
    again.random_state = None
    assert folds(again, X, y, names) != folds(again, X, y, names)


@pytest.mark.parametrize("splitter", SPLITTERS)
def test_is_an_ordinary_splitter(splitter):
    assert check_cv(splitter) is splitter
    assert repr(splitter).startswith(f"{type(splitter).__name__}(n_splits=4, random_state=0,")
    assert repr(pickle.loads(pickle.dumps(splitter))) == repr(splitter)
    search = clone(GridSearchCV(LogisticRegression(), {}, cv=splitter))
    assert repr(search.cv) == repr(splitter)


@pytest.mark.parametrize("splitter", SPLITTERS)
def test_cross_validation_with_and_without_routing(splitter, untouched_random_state):
    X, y, names = make_domain_shift(30, 30, random_state=0)
    model = AdaptedClassifier(adapter=CORALAdapter())
    masked = np.where(names == "target", -1, y)
    by_groups = cross_validate(model, X, masked, groups=names, cv=splitter, error_score="raise")
    by_labels = cross_validate(model, X, masked, cv=splitter, error_score="raise")
    with sklearn.config_context(enable_metadata_routing=True):
        routed = cross_validate(
            model, X, y, cv=splitter, params={"sample_domain": names}, return_indices=True, error_score="raise"
        )
    np.testing.assert_array_equal(by_groups["test_score"], by_labels["test_score"])
    expected = [test.tolist() for _, test in splitter.split(X, masked, names)]
    assert [test.tolist() for test in routed["indices"]["test"]] == expected


def test_predictions_out_of_fold():
    X, y, names = make_domain_shift(30, 30, random_state=0)
    masked = np.where(names == "target", -1, y)
    assert cross_val_predict(AdaptedClassifier(), X, masked, cv=DomainKFold(3)).shape == (60,)


@pytest.mark.parametrize("splitter", SPLITTERS)
def test_errors(rows, splitter):
    X, y, names = rows
    with pytest.raises(DomainError, match="two names of the same thing, but differ here"):
        next(splitter.split(X, y, names, sample_domain=names[::-1]))
    with pytest.raises(DomainError, match=r"No target rows among 52 samples: sample_domain is None"):
        next(splitter.split(X, y))
    with pytest.raises(DomainError, match="Neither sample_domain nor y was given"):
        next(splitter.split(X))
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        next(splitter.split(X, y[:-1], names))
    with pytest.raises(ValueError, match="split_masked needs y"):
        next(splitter.split_masked(X, None, sample_domain=names))
    with pytest.raises(DomainError, match=r"domain 'b' has 1 rows|The source has 1 rows"):
        next(splitter.split(X[:5], y[:5], ["b", *["target"] * 4]))


@pytest.mark.parametrize("cls", [SourceTargetShuffleSplit, StratifiedDomainShuffleSplit, DomainKFold])
@pytest.mark.parametrize("n_splits", [0, 2.5, "ten", True])
def test_number_of_folds(rows, cls, n_splits):
    least = 2 if cls is DomainKFold else 1
    with pytest.raises(ValueError, match=f"n_splits must be an integer, at least {least}, got {n_splits!r}"):
        next(cls(n_splits).split(*rows))


def test_sizes_are_checked(rows):
    with pytest.raises(ValueError, match=r"test_size must be a share .* got 10"):
        next(SourceTargetShuffleSplit(test_size=10).split(*rows))


def test_a_seed_without_shuffling_is_refused():
    with pytest.raises(ValueError, match="random_state=0 has no effect with shuffle=False"):
        list(DomainKFold(2, shuffle=False, random_state=0).split(np.eye(8), groups=["source", "target"] * 4))
