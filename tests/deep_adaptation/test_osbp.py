"""Open-set adaptation."""

import numpy as np
import pytest
import torch
from common_deep import two_sides
from scipy.special import softmax
from torch import nn

from sktransfer import make_domain_shift, make_image_domains
from sktransfer.deep_adaptation._osbp import _OSBP, OSBPClassifier, unknown_loss

KNOWN = range(6)


def open_pair(seed):
    """Six digits in the source, all ten in the target."""
    X, y, sample_domain = make_image_domains(260, 200, target="low_contrast", random_state=seed)
    rows = (sample_domain == "target") | np.isin(y, KNOWN)
    return X[rows], y[rows], sample_domain[rows]


def open_table(names=(0, 1, 2), dtype=None):
    """Two classes in the source, three in the target, named."""
    X, y, sample_domain = make_domain_shift(60, 60, n_classes=3, random_state=0)
    rows = (sample_domain == "target") | (y < 2)
    return X[rows], np.array(names, dtype=dtype)[y[rows]], sample_domain[rows]


def fitted(X, y, sample_domain, **options):
    return OSBPClassifier(None, bottleneck=8, max_epochs=2, random_state=0, **options).fit(
        X, y, sample_domain=sample_domain
    )


def test_loss_is_that_of_the_paper():
    scores = np.random.default_rng(0).normal(size=(6, 4))
    p = softmax(scores, axis=1)[:, -1]
    assert unknown_loss(torch.tensor(scores)).item() == pytest.approx(-np.mean(np.log(p) + np.log(1 - p)) / 2)


def test_gradient():
    scores = torch.tensor(np.random.default_rng(0).normal(size=(6, 4)), requires_grad=True)
    assert torch.autograd.gradcheck(unknown_loss, scores)


def test_least_where_known_and_unknown_are_even():
    even = torch.tensor([[0.0, 0.0, np.log(2)], [5.0, 5.0, 5.0 + np.log(2)]], dtype=torch.float64, requires_grad=True)
    assert unknown_loss(even).item() == pytest.approx(np.log(2))
    torch.testing.assert_close(torch.autograd.grad(unknown_loss(even), even)[0], torch.zeros(2, 3).double())
    extreme = torch.tensor([[1e3, 0.0, -1e3], [-1e3, 0.0, 1e3]], requires_grad=True)
    assert torch.autograd.grad(unknown_loss(extreme), extreme)[0].isfinite().all()


def test_gradient_is_reversed_for_the_features_and_not_for_the_head():
    module = nn.Module()
    module.head = nn.Linear(4, 3).double()
    source, target = two_sides()
    penalty = _OSBP(trade_off=1.0, trade_off_schedule="constant", separate=False)
    learned = [target.features, module.head.weight]
    found = torch.autograd.grad(penalty.align(None, source, target, 0.3, module), learned)
    plain = torch.autograd.grad(unknown_loss(module.head(target.features)), learned)
    assert plain[0].abs().max() > 1e-3
    torch.testing.assert_close(found[0], -0.3 * plain[0], rtol=1e-5, atol=1e-8)
    torch.testing.assert_close(found[1], 0.3 * plain[1], rtol=1e-5, atol=1e-8)


def test_unknown_rows_are_found_and_known_classes_kept():
    found, mistaken, accuracy, source_only = np.zeros((4, 2))
    for seed in range(2):
        X, y, sample_domain = open_pair(seed)
        target = sample_domain == "target"
        is_known = np.isin(y[target], KNOWN)
        options = {"backbone": "sktransfer_mini", "bottleneck": 64, "random_state": seed}
        clf = OSBPClassifier(**options).fit(X, y, sample_domain=sample_domain)
        predicted = clf.predict(X[target])
        found[seed] = (predicted[~is_known] == -1).mean()
        mistaken[seed] = (predicted[is_known] == -1).mean()
        accuracy[seed] = (predicted == y[target])[is_known].mean()
        clf.set_params(trade_off=0).fit(X, y, sample_domain=sample_domain)
        source_only[seed] = (clf.predict(X[target]) == y[target])[is_known].mean()
    # By chance both would be the same.
    assert (found > mistaken + 0.2).all()
    assert found.mean() > mistaken.mean() + 0.4
    assert accuracy.mean() > source_only.mean() - 0.05


@pytest.mark.parametrize(
    ("names", "dtype", "unknown_label", "expected"),
    [
        ((0, 1, 2), None, "auto", [0, 1, -1]),
        ((7, 3, 2), np.uint8, 99, [3, 7, 99]),
        ((0.0, 1.0, 2.0), None, "auto", [0.0, 1.0, -1.0]),
        (("cat", "ape", "dog"), None, "auto", ["ape", "cat", "unknown"]),
        (("cat", "ape", "dog"), object, "none of them", ["ape", "cat", "none of them"]),
    ],
)
def test_unknown_label_stands_behind_the_classes(names, dtype, unknown_label, expected):
    X, y, sample_domain = open_table(names, dtype)
    clf = fitted(X, y, sample_domain, unknown_label=unknown_label)
    assert clf.classes_.tolist() == expected
    assert clf.unknown_label_ == expected[-1]
    assert clf.predict_proba(X).shape == (len(X), 3)
    assert set(clf.predict(X)) <= set(expected)


def test_rows_are_learned_under_their_own_class():
    X, y, sample_domain = make_domain_shift(200, 60, n_classes=3, shift="none", random_state=0)
    clf = OSBPClassifier(None, bottleneck=32, trade_off=0, random_state=0).fit(X, 5 - y, sample_domain=sample_domain)
    assert clf.score(X[:200], 5 - y[:200]) > 0.8


@pytest.mark.parametrize("names", [(0, 1, 2), ("ape", "cat", "dog")])
def test_score_counts_foreign_classes_as_unknown(names):
    X, y, sample_domain = open_table(names)
    clf = fitted(X, y, sample_domain)
    target = sample_domain == "target"
    as_the_notes_say = np.where(np.isin(y, clf.classes_), y, clf.unknown_label_)[target]
    expected = (clf.predict(X[target]) == as_the_notes_say).mean()
    assert clf.score(X[target], y[target]) == expected
    assert clf.score(X[target], as_the_notes_say) == expected


def test_score_leaves_out_rows_without_a_label():
    X, y, sample_domain = open_table()
    target = sample_domain == "target"
    clf = fitted(X, y, sample_domain)
    hidden = y[target].astype(float)
    hidden[:50] = np.nan
    assert clf.score(X[target], hidden) == clf.score(X[target][50:], y[target][50:])
    # -1 has no other meaning where the unknown have a label of their own.
    clf = fitted(X, y, sample_domain, unknown_label=9)
    masked = np.where(np.arange(target.sum()) < 50, -1, y[target])
    assert clf.score(X[target], masked) == clf.score(X[target][50:], y[target][50:])


@pytest.mark.parametrize(
    ("names", "unknown_label", "message"),
    [
        ((-1, 1, 2), "auto", "unknown_label='auto', which is -1 here, is one of the labels"),
        ((0, 1, 2), 1, "unknown_label=1 is one of the labels"),
        ((0, 1, 2), "new", "unknown_label='new' must be of the kind of the labels in y, numbers such as 0"),
        ((0, 1, 2), float("nan"), "unknown_label=nan must be of the kind of the labels in y, numbers"),
        (("a", "b", "c"), -1, "unknown_label=-1 must be of the kind of the labels in y, strings"),
        (("a", "b", "c"), None, "unknown_label=None must be of the kind"),
        ((False, True, True), "auto", "y must be numbers or strings"),
    ],
)
def test_labels_that_cannot_be_told_apart(names, unknown_label, message):
    with pytest.raises(ValueError, match=message):
        fitted(*open_table(names), unknown_label=unknown_label)
