import numpy as np
import pytest
from sklearn.metrics import make_scorer, mean_absolute_error
from sklearn.utils import Bunch

from sktransfer.inspection._report_words import Units, metric_name, summary_of


def report(**changes):
    fields = {
        "metric": "accuracy",
        "confidence": 0.95,
        "scores": np.array([0.85, 0.87]),
        "baseline_scores": np.array([0.9, 0.902]),
        "difference": -0.041,
        "interval": (-0.06, -0.022),
        "p_value": 0.0031,
        "verdict": "hurts",
        "per_class": None,
        "label_efficiency": None,
        "domain_distances": {"left_out": "no table"},
    }
    return Bunch(**{**fields, **changes})


def test_the_first_line():
    assert summary_of(report()) == (
        "Transfer hurts: accuracy on the target falls by 4.1 points, from 90.1 % to 86.0 % "
        "(95 % interval -6.0 to -2.2, 2 folds, p = 0.0031)."
    )


def test_help_without_domains():
    helps = report(
        verdict="helps",
        difference=0.5,
        interval=(0.25, 0.75),
        p_value=1e-5,
        confidence=0.9,
        metric="r2",
        domain_distances=None,
    )
    assert summary_of(helps) == (
        "Transfer helps: r2 rises by 0.5, from 0.901 to 0.86 (90 % interval 0.25 to 0.75, 2 folds, p < 0.001)."
    )


def test_no_clear_difference():
    clear = report(verdict="no clear difference", interval=(-0.06, 0.02))
    assert summary_of(clear).startswith(
        "No clear difference: with transfer, accuracy on the target falls by 4.1 points,"
    )
    same = report(verdict="no clear difference", difference=0.0, interval=(0.0, 0.0), p_value=1.0)
    assert summary_of(same).startswith(
        "No clear difference: accuracy on the target is 86.0 % with transfer and without ("
    )


@pytest.mark.parametrize(
    ("differences", "line"),
    [
        (
            [0.1, -0.25, 0.0],
            "Recall rises most in class 'ant', by 10.0 points (5 rows), and falls most in class 'bee', by 25.0 points "
            "(6 rows).",
        ),
        ([0.0, -0.25, 0.0], "Recall falls most in class 'bee', by 25.0 points (6 rows)."),
        ([0.0, 0.0, 0.0], "Recall is the same in every class."),
    ],
)
def test_classes(differences, line):
    per_class = {
        "classes": np.array(["ant", "bee", "cow"]),
        "difference": np.array(differences),
        "support": np.array([5, 6, 7]),
    }
    assert summary_of(report(per_class=per_class)).splitlines()[1:] == [line]


@pytest.mark.parametrize(
    ("at", "worth", "distances", "line"),
    [
        (
            0,
            12.4,
            {"left_out": ""},
            "Without transfer, about 12 target labels reach what transfer reaches without any.",
        ),
        (
            0,
            5.0,
            {"left_out": ""},
            "Without transfer, at most 5 target labels reach what transfer reaches without any.",
        ),
        (
            0,
            np.inf,
            {"left_out": ""},
            "Without transfer, 20 target labels do not reach what transfer reaches without any.",
        ),
        (5, 12.4, None, "Without transfer, about 12 labels reach what transfer reaches with 5."),
    ],
)
def test_labels(at, worth, distances, line):
    curves = {
        "at": at,
        "worth": worth,
        "n_labels": np.array([0, 5, 20]),
        "without_transfer": np.array([np.nan, 0.5, 0.6]),
    }
    assert summary_of(report(label_efficiency=curves, domain_distances=distances)).splitlines()[1:] == [line]
    assert len(summary_of(report(label_efficiency={**curves, "worth": None})).splitlines()) == 1


def test_domains():
    found = {
        "left_out": None,
        "proxy_a_distance": 1.5,
        "mmd": 0.123456,
        "mmd_p_value": 0.001,
        "label_shift_distance": 0.25,
    }
    assert summary_of(report(domain_distances=found)).splitlines()[1] == (
        "The domains: proxy A-distance 1.50 of 2, MMD 0.123 (p = 0.001); class shares differ by 0.25 of 1."
    )
    only = {"left_out": "no table", "label_shift_distance": 0.25}
    assert summary_of(report(domain_distances=only)).splitlines()[1] == "The domains: class shares differ by 0.25 of 1."


def test_units():
    assert Units("f1_macro").difference(0.1234) == "12.3 points"
    assert Units("neg_mean_squared_error").score(-12.3456) == "-12.3"
    assert not Units("roc_auc").percent


def test_names_of_scores():
    def profit(estimator, X, y):
        return 0.0

    assert metric_name("f1_macro") == "f1_macro"
    assert metric_name(profit) == "profit"
    assert metric_name(make_scorer(mean_absolute_error)) == "score"
