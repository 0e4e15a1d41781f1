import itertools
import math

import numpy as np
import pytest
from sklearn.exceptions import FitFailedWarning

from sktransfer.model_selection import _halving
from sktransfer.model_selection._halving import Candidate, Clock, halve, lead, tabulate


class Track:
    """Gives candidates the scores of a table, and advances a clock by their seconds."""

    def __init__(self, scores, seconds=None, monkeypatch=None):
        self.scores = scores
        self.seconds = seconds or dict.fromkeys(scores, 1.0)
        self.now = 0.0
        self.calls = []
        if monkeypatch is not None:
            monkeypatch.setattr(_halving.time, "monotonic", lambda: self.now)

    def __call__(self, candidate, fold, seconds):
        name = candidate.name
        needed = self.shares[fold] * self.seconds[name]
        self.calls.append((name, fold))
        value = self.scores[name][fold]
        if isinstance(value, Exception):
            raise value
        if needed > seconds:
            self.now += seconds
            raise TimeoutError
        self.now += needed
        return value, needed, 0.0

    def run(self, budget=None, factor=3, n_folds=3, shares=None, **options):
        self.shares = shares or [1.0] * n_folds
        self.candidates = [Candidate(name, None) for name in self.scores]
        return halve(self.candidates, self.shares, self, factor=factor, clock=Clock(budget), **options).name

    def outcome(self, name):
        return next(candidate.outcome for candidate in self.candidates if candidate.name == name)


def test_a_third_goes_on_until_one_is_left():
    names = "abcdefghi"
    track = Track({"none": [0.0] * 3, **{name: [0.1 * i] * 3 for i, name in enumerate(names)}})
    assert track.run() == "i"
    assert [fold for _, fold in track.calls] == [0] * 10 + [1] * 4
    assert {name for name, fold in track.calls if fold == 1} == {"none", "g", "h", "i"}
    assert track.outcome("a") == "behind after 1 fold"
    assert track.outcome("h") == "behind after 2 folds"
    assert track.outcome("i") == "best"
    assert track.outcome("none") == "baseline"


def test_three_that_are_kept_meet_all_folds():
    scores = {"none": [0.0] * 3, **{name: [0.1 * i] * 3 for i, name in enumerate("abcde")}}
    track = Track(scores)
    assert track.run(n_kept=3) == "e"
    assert [fold for _, fold in track.calls] == [0] * 6 + [1] * 4 + [2] * 4
    assert track.outcome("c") == "runner-up"
    two = Track({name: scores[name] for name in ("none", "a", "b")})
    assert two.run(n_kept=3) == "b"
    assert len(two.calls) == 9


def test_slower_halving_uses_all_folds():
    track = Track({"none": [0.0] * 3, **{name: [0.1 * i] * 3 for i, name in enumerate("abcd")}})
    assert track.run(factor=2) == "d"
    assert [fold for _, fold in track.calls] == [0] * 5 + [1] * 3


def test_the_mean_over_folds_decides_and_the_cheaper_of_equals():
    track = Track({"none": [0, 0], "cheap": [0.5, 0.5], "lucky": [0.9, 0.0], "equal": [0.5, 0.5]})
    assert track.run(factor=2, n_folds=2) == "cheap"


def test_nobody_ahead_of_the_baseline():
    track = Track({"none": [0.5, 0.5], "a": [0.5, 0.5], "b": [0.2, 0.9]})
    assert track.run() == "none"
    assert track.outcome("none") == "best"


def test_lead_is_on_common_folds():
    baseline = Candidate("none", None, scores=[0.1, 0.5, 0.9])
    assert lead(Candidate("a", None, scores=[0.3, 0.6]), baseline) == pytest.approx(0.15)
    assert lead(baseline, baseline) == 0


def test_a_failure_is_told_and_the_others_go_on():
    track = Track({"none": [0.0] * 3, "a": [ValueError("odd")] * 3, "b": [0.5, ValueError("late"), 0], "c": [0.4] * 3})
    with (
        pytest.warns(FitFailedWarning, match=r"'a' failed: ValueError\('odd'\)"),
        pytest.warns(FitFailedWarning, match="'b' failed"),
    ):
        assert track.run(factor=2) == "c"
    assert track.outcome("a") == "failed: odd"
    assert track.outcome("b") == "failed: late"


def test_a_score_that_is_no_number_is_a_failure():
    track = Track({"none": [0.0] * 3, "a": [math.nan] * 3, "b": [0.5] * 3})
    with pytest.warns(FitFailedWarning, match="'a' failed"):
        assert track.run() == "b"


def test_a_baseline_that_fails_is_out_of_the_race():
    track = Track({"none": [ValueError("odd")] * 3, "a": [0.2] * 3, "b": [0.6] * 3, "c": [0.4] * 3})
    with pytest.warns(FitFailedWarning, match="'none' failed"):
        assert track.run(factor=2) == "b"
    assert track.outcome("none") == "failed: odd"


def test_a_search_in_which_all_fits_fail_is_an_error():
    track = Track({"none": [ValueError("odd")], "a": [ValueError("even")]})
    with pytest.warns(FitFailedWarning), pytest.raises(ValueError, match="All 2 strategies failed"):
        track.run(n_folds=1)


def test_error_score_of_a_search():
    with pytest.raises(ValueError, match="odd"):
        Track({"none": [0.5], "a": [ValueError("odd")]}).run(error_score="raise", n_folds=1)
    track = Track({"none": [0.5] * 2, "a": [1.0, ValueError("odd")], "b": [0.6] * 2})
    with pytest.warns(FitFailedWarning, match="'a' failed"):
        assert track.run(error_score=0.0, factor=1.01, n_folds=2) == "b"
    assert next(c for c in track.candidates if c.name == "a").scores == [1.0, 0.0]


class TestBudget:
    scores = {"none": [0.0] * 3, "a": [0.5] * 3, "b": [0.6] * 3, "dear": [0.9] * 3}
    seconds = {"none": 1.0, "a": 1.0, "b": 2.0, "dear": 30.0}

    def test_what_there_is_no_time_for_is_stopped(self, monkeypatch):
        track = Track(self.scores, self.seconds, monkeypatch)
        assert track.run(budget=20.0, factor=2) == "b"
        assert track.outcome("dear") == "stopped by the time budget on fold 1"
        # Time for the last fit is left.
        assert track.now + self.seconds["b"] <= 20.0

    def test_nothing_is_begun_without_time(self, monkeypatch):
        track = Track(self.scores, self.seconds, monkeypatch)
        assert track.run(budget=0.5) == "none"
        assert track.calls == [("none", 0)]
        assert track.outcome("b") == "no time"

    def test_who_has_no_time_for_another_fold_keeps_its_lead(self, monkeypatch):
        seconds = {**self.seconds, "dear": 8.0}
        track = Track(self.scores, seconds, monkeypatch)
        assert track.run(budget=24.0, factor=2) == "dear"
        assert [fold for name, fold in track.calls if name == "dear"] == [0]
        assert track.now + 8.0 <= 24.0

    @pytest.mark.parametrize("shares", [[1.0] * 3, [0.5, 0.8, 0.8]], ids=["all rows", "half of the rows first"])
    @pytest.mark.parametrize("budget", [3, 5, 10, 15, 25, 40, 100])
    def test_budget_holds_with_the_last_fit(self, monkeypatch, budget, shares):
        for order in itertools.permutations(["a", "b", "dear"]):
            track = Track({name: self.scores[name] for name in ("none", *order)}, self.seconds, monkeypatch)
            winner = track.run(budget=budget, shares=shares)
            assert track.now + self.seconds[winner] <= budget + 1e-9


def test_table():
    candidates = [
        Candidate("none", None, scores=[0.5, 0.7], fit_seconds=[1, 3], score_seconds=[0, 1], outcome="baseline"),
        Candidate("a", None, outcome="no time"),
        Candidate("b", None, scores=[0.9], fit_seconds=[2], score_seconds=[1], outcome="best"),
    ]
    results = tabulate(candidates, 3)
    assert results["strategy"].tolist() == ["none", "a", "b"]
    np.testing.assert_allclose(results["mean_test_score"], [0.6, np.nan, 0.9])
    assert results["rank_test_score"].tolist() == [2, 3, 1]
    assert results["n_folds"].tolist() == [2, 0, 1]
    np.testing.assert_allclose(results["split1_test_score"], [0.7, np.nan, np.nan])
    assert np.isnan(results["split2_test_score"]).all()
    np.testing.assert_allclose(results["mean_fit_time"], [2, np.nan, 2])
    assert results["outcome"].tolist() == ["baseline", "no time", "best"]
    assert math.isinf(Clock(None).left())
