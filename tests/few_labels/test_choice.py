import numpy as np
from numpy.testing import assert_array_equal
from scipy.special import softmax

from sktransfer.few_labels._choice import PLAIN, Settings, Views, _folds, choose, fit_mixed, kept_labels, usual_factor
from sktransfer.few_labels._plain import fit_plain
from sktransfer.few_labels._space import unit_rows


def settings(n_classes=3, **changes):
    usual = {
        "rounds": 10,
        "n_prototypes": 1,
        "log_prior": np.zeros(n_classes),
        "estimate_prior": False,
        "mixture": None,
        "temperature": None,
        "guard": True,
    }
    return Settings(**{**usual, **changes})


def views(n_labels, *, of_groups=True, n_each=40, seed=0):
    """Three groups of rows; the classes are the groups, or are drawn in them."""
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(3), n_each)
    W = unit_rows(3 * np.eye(20)[groups] + rng.normal(size=(3 * n_each, 20)))
    classes = groups if of_groups else np.arange(3 * n_each) % 3
    # Where groups are not the classes, a linear model still tells them, by features that groups do not show.
    Z = unit_rows(np.hstack([W, (2.0 if not of_groups else 0.2) * np.eye(3)[classes]]))
    codes = np.full(len(W), -1)
    for c in range(3):
        codes[np.flatnonzero(classes == c)[:n_labels]] = c
    return Views(Z, W, codes), classes


def test_folds_hold_each_label_out_once_and_leave_one_of_each_class():
    codes = np.array([0, 0, 1, -1, 2, 2, 2, 0, 2, 2, 2, 2])
    folds = _folds(codes, 3)
    assert_array_equal(folds, [0, 1, -1, -1, 0, 1, 2, 2, 3, 4, 0, 1])
    for fold in range(folds.max() + 1):
        assert set(codes[(folds != fold) & (codes >= 0)]) == {0, 1, 2}


def test_nothing_is_held_out_where_most_classes_have_one_label():
    assert (_folds(np.array([0, 0, 1, 2, -1]), 3) == -1).all()
    choice = choose(views(1)[0], settings())
    assert (choice.mixture, choice.temperature, choice.n_held_out) == (2.0, 20.0, 0)
    assert choice.factor == usual_factor(2.0)


def test_prototypes_are_chosen_where_classes_are_groups_and_the_linear_model_where_not():
    assert choose(views(5)[0], settings()).mixture < PLAIN
    crossed = views(5, of_groups=False)[0]
    assert choose(crossed, settings()).mixture == PLAIN
    assert choose(crossed, settings(guard=False)).mixture == 8.0


def test_given_values_are_taken():
    choice = choose(views(5)[0], settings(mixture=3.0, temperature=7.0, guard=False))
    assert (choice.mixture, choice.temperature, choice.n_held_out) == (3.0, 7.0, 15)


def test_choice_takes_few_of_many_rows(monkeypatch):
    monkeypatch.setattr("sktransfer.few_labels._choice._MOST_ROWS", 30)
    seen = []
    monkeypatch.setattr(
        "sktransfer.few_labels._choice.refine_prototypes",
        lambda first, W, *_, **__: seen.append(len(W)) or (first, None),
    )
    choose(views(2)[0], settings())
    assert set(seen) == {36}


def test_mixed_scores_are_the_sum_of_both():
    rows, classes = views(1)
    mixed = fit_mixed(rows, settings(log_prior=np.log([0.5, 0.3, 0.2])), mixture=2.0, temperature=20.0)
    by_hand = 20 * rows.W @ mixed.prototypes.directions.T + 2 * mixed.plain.log_proba(rows.Z) + np.log([0.5, 0.3, 0.2])
    np.testing.assert_allclose(mixed.scores(rows.Z, rows.W), by_hand)
    assert np.mean(np.argmax(by_hand, axis=1) == classes) > 0.9


def test_rows_of_another_domain_have_no_part_in_the_means():
    rows, _ = views(5)
    free = rows.codes < 0
    apart = fit_mixed(rows._replace(apart=True), settings(rounds=1), mixture=1.0, temperature=20.0)
    shares = softmax(apart.plain.log_proba(rows.Z[free]), axis=1)
    np.testing.assert_allclose(apart.prototypes.directions, unit_rows(shares.T @ rows.W[free]))


def test_labels_that_groups_keep():
    def kept(rows):
        has_label = rows.codes >= 0
        return kept_labels(rows, settings(), fit_plain(rows.Z[has_label], rows.codes[has_label]))

    assert kept(views(1)[0]) == 3
    # All three are of one group there.
    assert kept(views(1, of_groups=False)[0]) < 3
