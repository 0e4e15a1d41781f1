import pickle
import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn import config_context
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sktransfer import DomainKFold, PrototypeClassifier, oracle_scorer
from sktransfer.exceptions import DomainError, NegativeTransferWarning

NAMES = np.array(["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"], dtype=object)


@pytest.fixture(scope="module")
def groups():
    """Rows of ten classes, each a group."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 10, size=600)
    return rng.normal(size=(10, 64))[y] + 1.5 * rng.normal(size=(600, 64)), y


def few(y, n_labels, missing=-1):
    """Labels of the first `n_labels` rows of each class, the others missing."""
    kept = np.concatenate([np.flatnonzero(y == c)[:n_labels] for c in np.unique(y)])
    labels = np.full(len(y), missing, dtype=object if missing is None else type(missing))
    labels[kept] = y[kept]
    return labels


def two_domains(n=60, seed=0):
    """Three classes in both domains; the target is moved and stretched."""
    rng = np.random.default_rng(seed)
    y = np.arange(2 * n) % 3
    X = 2.0 * np.eye(12)[y] + rng.normal(size=(2 * n, 12))
    d = np.repeat(["source", "target"], n)
    X[n:] = 3.0 * X[n:] + rng.normal(size=12) * 10
    return X, y, d


@pytest.mark.parametrize("n_labels", [1, 2])
def test_rows_without_a_label_help(groups, n_labels):
    X, y = groups
    labels = few(y, n_labels)
    known = labels >= 0
    linear = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(X[known], y[known])
    model = PrototypeClassifier().fit(X, labels)
    assert model.score(X[~known], y[~known]) > linear.score(X[~known], y[~known]) + 0.1


def test_every_kind_of_missing_label_says_the_same(groups):
    X, y = groups
    models = [PrototypeClassifier().fit(X, few(y, 1, missing)) for missing in (-1, None, np.nan)]
    for model in models[1:]:
        assert_allclose(model.predict_proba(X), models[0].predict_proba(X))
    by_name = few(y, 1, None)
    by_name[by_name != None] = NAMES[y[by_name != None]]  # noqa: E711
    found = PrototypeClassifier().fit(X, by_name)
    assert_array_equal(found.predict(X), NAMES[models[0].predict(X).astype(int)])


def test_new_rows_do_not_depend_on_the_others_in_the_call(groups):
    X, y = groups
    model = PrototypeClassifier().fit(X[:400], few(y[:400], 2))
    whole = model.predict_proba(X[400:])
    assert_allclose(model.predict_proba(X[500:510]), whole[100:110])
    assert_allclose(model.predict_proba(X[400:401]), whole[:1])


def test_order_of_the_rows_without_a_label_and_their_scale_are_irrelevant(groups):
    X, y = groups
    labels = few(y, 1)
    order = np.argsort(labels < 0, kind="stable")
    order[10:] = np.random.default_rng(0).permutation(order[10:])
    expected = PrototypeClassifier().fit(X, labels).predict_proba(X)
    assert_allclose(PrototypeClassifier().fit(X[order], labels[order]).predict_proba(X), expected, atol=1e-6)
    assert_allclose(PrototypeClassifier().fit(1e3 * X + 5, labels).predict_proba(1e3 * X + 5), expected, atol=1e-6)


def test_without_rounds_prototypes_are_the_means_of_the_labelled_rows(groups):
    X, y = groups
    labels = few(y, 3)
    model = PrototypeClassifier(refine=0, mixture=0.0, guard=False).fit(X, labels)
    S = (X - model.mean_) / model.scale_
    W = model.space_.grouped(S)
    means = np.stack([W[labels == c].mean(axis=0) for c in range(10)])
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    assert_allclose(model.prototypes_, means)
    assert_array_equal(model.predict(X), np.argmax(W @ means.T, axis=1))


def test_all_rows_labelled(groups):
    X, y = groups
    model = PrototypeClassifier().fit(X[:400], y[:400])
    assert model.class_shares_ is None
    assert "0 rows without a label" in model.report_
    assert model.score(X[400:], y[400:]) > 0.85
    proba = model.predict_proba(X[400:])
    assert abs(proba.max(axis=1).mean() - model.score(X[400:], y[400:])) < 0.1


def test_two_domains():
    X, y, d = two_domains()
    target = d == "target"
    alone = make_pipeline(StandardScaler(), LogisticRegression()).fit(X[~target], y[~target])
    model = PrototypeClassifier().fit(X, y, sample_domain=d)
    assert model.score(X[target], y[target]) > max(0.75, alone.score(X[target], y[target]))
    assert model.source_domains_ == ["source"]
    assert_allclose(model.mean_, X[target].mean(axis=0))


def test_labels_of_target_rows_are_not_read():
    X, y, d = two_domains()
    expected = PrototypeClassifier().fit(X, y, sample_domain=d).predict_proba(X)
    for other in (np.where(d == "target", 0, y), np.where(d == "target", np.nan, y.astype(float))):
        assert_array_equal(PrototypeClassifier().fit(X, other, sample_domain=d).predict_proba(X), expected)


def test_every_source_domain_is_standardised_by_itself():
    X, y, d = two_domains(90)
    names = d.astype(object)
    names[:45] = "clinic a"
    moved = X.copy()
    moved[:45] = 10 * moved[:45] - 7
    expected = PrototypeClassifier().fit(X, y, sample_domain=names)
    found = PrototypeClassifier().fit(moved, y, sample_domain=names)
    assert expected.source_domains_ == ["clinic a", "source"]
    assert_allclose(found.predict_proba(X), expected.predict_proba(X), atol=1e-6)


def test_the_guard_stands_back_and_says_so():
    """Groups of rows are one thing, classes another: two labelled rows or more leave their class with the groups."""
    rng = np.random.default_rng(0)
    groups, y = np.arange(300) % 3, np.arange(300) // 3 % 10
    X = np.hstack([8 * np.eye(3)[groups], 1.5 * np.eye(10)[y]]) @ rng.normal(size=(13, 40)) + rng.normal(size=(300, 40))
    with pytest.warns(
        NegativeTransferWarning, match="No evidence that rows without a label help: where groups of rows"
    ):
        model = PrototypeClassifier().fit(X, few(y, 1))
    assert model.stood_back_
    assert model.mixture_ == 8.0
    assert "labelled rows stay in their class" in model.report_
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        careless = PrototypeClassifier(guard=False).fit(X, few(y, 1))
    assert careless.mixture_ == 2.0
    assert not careless.stood_back_
    with pytest.warns(NegativeTransferWarning, match="held out in turn are predicted best by the linear model alone"):
        held_out = PrototypeClassifier().fit(X, few(y, 4))
    assert held_out.mixture_ == np.inf


def test_minus_one_and_one_other_class():
    X = np.random.default_rng(0).normal(size=(10, 3))
    with pytest.raises(ValueError, match=r"one class only, 1, among 5 labels.*If -1 is a class, write the classes as"):
        PrototypeClassifier().fit(X, np.tile([-1, 1], 5))
    model = PrototypeClassifier().fit(X, np.tile(["-1", "1"], 5))
    assert list(model.classes_) == ["-1", "1"]


def test_with_domains_minus_one_is_a_class():
    X, y, d = two_domains()
    model = PrototypeClassifier().fit(X, np.where(y == 0, -1, 1), sample_domain=d)
    assert list(model.classes_) == [-1, 1]
    assert not model.minus_one_is_missing_


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.full(10, -1), "None of the 10 labels in y is there"),
        (np.zeros(10, dtype=int), "one class only, 0, among 10 labels; two classes in the data"),
        (np.append(np.linspace(0, 1, 9), np.nan), "Unknown label type"),
        ([0, 1] * 4, "y has 8 rows, but X has 10"),
    ],
)
def test_labels_that_cannot_be_learned_from(labels, message):
    with pytest.raises(ValueError, match=message):
        PrototypeClassifier().fit(np.random.default_rng(0).normal(size=(10, 3)), labels)


def test_source_rows_need_a_label():
    X, y, d = two_domains()
    with pytest.raises(DomainError, match="source rows have no label"):
        PrototypeClassifier().fit(X, np.where(np.arange(120) == 3, np.nan, y), sample_domain=d)


def test_prior(groups):
    X, y = groups
    shares = np.bincount(y) / len(y)
    wrong = np.full(10, 0.01)
    wrong[3] = 0.91
    count = {
        name: np.mean(PrototypeClassifier(prior=prior).fit(X, few(y, 1)).predict(X) == 3)
        for name, prior in (("right", shares), ("wrong", wrong), ("uniform", "uniform"))
    }
    assert count["wrong"] > count["right"]
    assert count["right"] == pytest.approx(count["uniform"], abs=0.03)
    with pytest.raises(ValueError, match="one positive share for each of the 10 classes"):
        PrototypeClassifier(prior=[0.5, 0.5]).fit(X, few(y, 1))


def test_estimated_shares_are_near_the_true_ones(groups):
    X, y = groups
    rows = np.flatnonzero((y < 3) & ((y != 2) | (np.cumsum(y == 2) <= 12)))
    model = PrototypeClassifier(prior="estimated", guard=False).fit(X[rows], few(y[rows], 2))
    assert_allclose(model.class_shares_, np.bincount(y[rows]) / len(rows), atol=0.05)


def test_given_prototypes_stand_for_classes_without_a_label(groups):
    X, y = groups
    means = {c: X[y == c].mean(axis=0) for c in range(10)}
    nothing = PrototypeClassifier(prototypes_init=means).fit(X, np.full(len(y), -1))
    assert nothing.score(X, y) > 0.85
    some = np.where(y < 5, few(y, 1), -1)
    labelled_half = PrototypeClassifier(prototypes_init={c: means[c] for c in range(5, 10)}).fit(X, some)
    assert list(labelled_half.classes_) == list(range(10))
    as_array = PrototypeClassifier(prototypes_init=np.stack(list(means.values()))).fit(X, few(y, 1))
    as_dict = PrototypeClassifier(prototypes_init=means).fit(X, few(y, 1))
    assert_allclose(as_array.predict_proba(X), as_dict.predict_proba(X))
    # Another origin, as of names of classes embedded beside pictures.
    elsewhere = {c: mean + 100.0 for c, mean in means.items()}
    moved = PrototypeClassifier(prototypes_init=elsewhere).fit(X, few(y, 1))
    assert_allclose(moved.predict_proba(X), as_dict.predict_proba(X))
    with pytest.raises(ValueError, match=r"prototypes_init has shape \(3, 64\); expected one row for each of the 10"):
        PrototypeClassifier(prototypes_init=np.ones((3, 64))).fit(X, few(y, 1))


def test_fit_again_clone_and_pickle_are_the_same(groups):
    X, y = groups
    model = PrototypeClassifier(n_prototypes=2, guard=False).fit(X, few(y, 3))
    expected = model.predict_proba(X)
    assert len(model.prototype_classes_) == 20
    for other in (
        pickle.loads(pickle.dumps(model)),
        clone(model).fit(X, few(y, 3)),
        model.fit(X[:300], few(y[:300], 1)).fit(X, few(y, 3)),
    ):
        assert_array_equal(other.predict_proba(X), expected)


def test_search_and_cross_validation_count_rows_that_have_a_label(groups):
    X, y = groups
    search = GridSearchCV(PrototypeClassifier(guard=False), {"refine": [0, 10]}, cv=3, error_score="raise").fit(
        X, few(y, 20)
    )
    assert search.best_score_ > 0.8
    X, y, d = two_domains()
    with config_context(enable_metadata_routing=True):
        scores = cross_val_score(
            PrototypeClassifier(), X, y, cv=DomainKFold(2), scoring=oracle_scorer(), params={"sample_domain": d}
        )
    assert scores.mean() > 0.7
