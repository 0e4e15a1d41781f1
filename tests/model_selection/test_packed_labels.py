"""Folds of what pack_domains returns: with which classes which splitters work, and who says so where they do not."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    KFold,
    ShuffleSplit,
    StratifiedGroupKFold,
    StratifiedKFold,
    cross_val_score,
)

from sktransfer import (
    AdaptedClassifier,
    BackboneSearch,
    DomainKFold,
    LeaveOneDomainOut,
    MMDAdapter,
    SourceTargetShuffleSplit,
    StratifiedDomainShuffleSplit,
    TransferSearchCV,
    make_domain_shift,
    negative_transfer_report,
    pack_domains,
)
from sktransfer.exceptions import DomainError

CLASSES = {"strings": ["cat", "dog"], "floats": [0.0, 1.0], "booleans": [False, True], "integers": [0, 1]}
OURS = [
    SourceTargetShuffleSplit(2, random_state=0),
    StratifiedDomainShuffleSplit(2, random_state=0),
    DomainKFold(2, random_state=0),
    LeaveOneDomainOut(random_state=0),
]
BLIND = [KFold(2, shuffle=True, random_state=0), ShuffleSplit(2, random_state=0), GroupKFold(2)]
STRATIFIED = [3, StratifiedKFold(2), StratifiedGroupKFold(2)]


def packed(kind):
    X, y, d = make_domain_shift(40, 40, shift="subspace", n_features=4, random_state=0)
    source = d == "source"
    return pack_domains(source=(X[source], np.array(CLASSES[kind])[y[source]]), target=X[~source])


def model():
    return AdaptedClassifier(LogisticRegression(), MMDAdapter(2))


def groups_of(cv, d):
    if isinstance(cv, GroupKFold | StratifiedGroupKFold):
        return np.arange(len(d)) % 4
    return d if cv in OURS else None


@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize("cv", [*OURS, *BLIND])
def test_splitters_that_do_not_read_labels_work_with_pack_domains(kind, cv):
    X, y, d = packed(kind)
    scores = cross_val_score(model(), X, y, cv=cv, groups=groups_of(cv, d), error_score="raise")
    assert scores.min() > 0.8
    search = GridSearchCV(model(), {}, cv=cv, error_score="raise").fit(X, y, groups=groups_of(cv, d))
    assert search.best_score_ > 0.8


@pytest.mark.parametrize("cv", STRATIFIED)
def test_integer_codes_work_with_an_integer_cv(cv):
    X, y, d = packed("integers")
    assert cross_val_score(model(), X, y, cv=cv, groups=groups_of(cv, d), error_score="raise").min() > 0.8


@pytest.mark.filterwarnings("ignore:invalid value encountered in cast:RuntimeWarning")
@pytest.mark.parametrize("cv", STRATIFIED)
@pytest.mark.parametrize(("kind", "words"), [("strings", "'<' not supported"), ("floats", "contains NaN")])
def test_string_or_float_classes_and_an_integer_cv_fail_in_scikit_learn_as_documented(kind, words, cv):
    X, y, d = packed(kind)
    with pytest.raises((TypeError, ValueError), match=words):
        cross_val_score(model(), X, y, cv=cv, groups=groups_of(cv, d))
    assert "'<' not supported" in pack_domains.__doc__
    assert "contains NaN" in pack_domains.__doc__


def test_a_fold_without_labels_says_which_folds_have_some():
    X, y, _ = packed("booleans")
    with pytest.raises(ValueError, match=r"None of the 40 rows has a label.*DomainKFold or SourceTargetShuffleSplit"):
        model().fit(X, y).score(X[40:], y[40:])


@pytest.mark.filterwarnings("ignore:invalid value encountered in cast:RuntimeWarning")
@pytest.mark.parametrize("kind", ["strings", "floats"])
def test_our_searches_and_reports_say_it_themselves(kind):
    X, y, d = packed(kind)
    cv = StratifiedKFold(2)
    with pytest.raises(DomainError, match=r"cv=StratifiedKFold.* reads y.*DomainKFold or SourceTargetShuffleSplit"):
        TransferSearchCV(None, ["coral"], cv=cv).fit(X, y, sample_domain=d)
    y = y.copy()
    y[40:60] = CLASSES[kind] * 10
    with pytest.raises(DomainError, match=r"cv=StratifiedKFold.* reads y.*number the classes from 0"):
        negative_transfer_report(model(), LogisticRegression(), X, y, cv=cv, sample_domain=d)


def test_our_searches_take_an_integer_cv():
    X, y, d = packed("strings")
    search = TransferSearchCV(None, ["coral"], cv=2, random_state=0).fit(X, y, sample_domain=d)
    assert search.classes_.tolist() == ["cat", "dog"]


def test_a_search_without_domains_says_which_rows_have_no_label():
    X, y, _ = packed("strings")
    with pytest.raises(ValueError, match=r"y contains NaN or None: 40 of 80 rows have no label \(the first: rows \[40"):
        BackboneSearch(refine=0).fit(X.reshape(80, 2, 2), y)
