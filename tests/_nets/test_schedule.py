"""How learning rates move, and the range test that proposes one."""

import itertools
import math

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from sktransfer._nets._schedule import lr_factor, range_test, steepest


def factors(schedule, n_steps, n_warmup=0):
    return [lr_factor(schedule, step, n_steps=n_steps, n_warmup=n_warmup) for step in range(n_steps)]


def test_constant():
    assert factors("constant", 5) == [1.0] * 5


def test_cosine():
    expected = [0.5 * (1 + math.cos(math.pi * step / 7)) for step in range(7)]
    assert_allclose(factors("cosine", 7), expected)
    assert factors("cosine", 7)[0] == 1.0


def test_step_falls_tenfold_after_each_third():
    assert_allclose(factors("step", 9), [1.0] * 3 + [0.1] * 3 + [0.01] * 3)


def test_inverse_is_that_of_the_paper():
    # Ganin et al., JMLR 2016: mu_0 / (1 + 10 p)^0.75.
    assert_allclose(factors("inverse", 4), [1.0, 3.5**-0.75, 6**-0.75, 8.5**-0.75])


def test_one_cycle_is_torchs():
    n = 20
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    # Our cycle ends one step behind the last, torch's with it; its lowest rate is no zero.
    policy = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=1.0, total_steps=n + 1, pct_start=(0.3 * n + 1) / (n + 1), cycle_momentum=False
    )
    expected = []
    for _ in range(n):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        policy.step()
    assert_allclose(factors("one_cycle", n), expected, atol=1e-5)


def test_one_cycle_begins_at_a_25th_and_is_at_its_height_after_three_tenths():
    got = factors("one_cycle", 10)
    assert got[0] == pytest.approx(1 / 25)
    assert int(np.argmax(got)) == 3
    assert got[3] == pytest.approx(1.0)
    assert all(a > b for a, b in itertools.pairwise(got[3:]))


@pytest.mark.parametrize("schedule", ["constant", "cosine", "one_cycle", "step", "inverse"])
def test_warm_up_rises_in_equal_parts_and_the_schedule_follows_over_what_is_left(schedule):
    got = factors(schedule, 16, n_warmup=4)
    assert got[:4] == [0.25, 0.5, 0.75, 1.0]
    assert_allclose(got[4:], factors(schedule, 12))


def quadratic(curvature, dimensions=5):
    """Gradient descent on ``curvature / 2 * |x|^2`` from ones: the step that a range test takes, and its points."""
    point = np.ones(dimensions)

    def step(lr):
        nonlocal point
        loss = curvature / 2 * float(point @ point)
        with np.errstate(over="ignore", invalid="ignore"):
            point = point - lr * curvature * point
        return loss

    return step


@pytest.mark.parametrize("curvature", [3.0, 30.0, 300.0])
def test_proposal_lies_where_gradient_descent_converges_and_gets_ahead(curvature):
    # Gradient descent on curvature L converges for rates below 2 / L.
    proposed = steepest(range_test(quadratic(curvature)))
    assert 1e-3 / curvature < proposed < 2 / curvature


def test_range_is_walked_in_equal_ratios_until_the_loss_explodes():
    curve = range_test(quadratic(300.0))
    assert_allclose(curve["lr"], np.geomspace(1e-6, 1.0, 100)[: len(curve["lr"])])
    assert 10 < len(curve["lr"]) < 100
    assert curve["loss"][-1] > 4 * curve["loss"].min()
    assert (curve["loss"][:-1] <= 4 * np.minimum.accumulate(curve["loss"])[:-1]).all()


def test_losses_are_smoothed_and_corrected_for_the_start():
    raw = np.random.default_rng(0).uniform(1, 2, 100)
    losses = iter(raw)
    curve = range_test(lambda lr: next(losses))
    mean, expected = 0.0, []
    for number, loss in enumerate(raw, start=1):
        mean = 0.9 * mean + 0.1 * loss
        expected.append(mean / (1 - 0.9**number))
    assert_allclose(curve["loss"], expected)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_no_number_ends_the_test_and_is_not_counted(bad):
    losses = iter([3.0, 2.0, 1.0, bad, 0.0])
    curve = range_test(lambda lr: next(losses))
    assert len(curve["lr"]) == len(curve["loss"]) == 3
    assert np.isfinite(curve["loss"]).all()


def test_steepest_is_where_the_loss_falls_most_in_a_tenfold():
    lr = np.geomspace(1e-4, 1, 9)
    loss = np.array([5.0, 5.0, 4.9, 4.0, 2.0, 1.5, 1.4, 3.0, 9.0])
    assert steepest({"lr": lr, "loss": loss}) == lr[3]  # by central differences: from 4.9 to 2.0


def test_what_comes_after_the_lowest_point_does_not_count():
    lr = np.geomspace(1e-4, 1, 7)
    falls = np.array([3.0, 2.8, 1.0, 0.9, 5.0, 20.0, 1.0])  # the last fall is the steepest
    assert steepest({"lr": lr, "loss": falls}) in lr[:4]


def test_a_loss_that_never_falls_is_an_error_with_a_way_out():
    curve = {"lr": np.geomspace(1e-6, 1, 5), "loss": np.array([1.0, 1.1, 1.2, 1.3, 4.5])}
    with pytest.raises(ValueError, match=r"lr='auto': the loss did not fall .*\(1e-06 to 1\)\. Pass a number"):
        steepest(curve)


@pytest.mark.parametrize("losses", [[], [1.0], [math.nan]])
def test_a_loss_that_explodes_at_once_is_the_same_error(losses):
    queue = iter([*losses, math.nan])
    with pytest.raises(ValueError, match="lr='auto': the loss did not fall"):
        steepest(range_test(lambda lr: next(queue)))


def test_rates_asked_for_are_plain_numbers():
    asked = []
    range_test(lambda lr: asked.append(lr) or 1.0)
    assert len(asked) == 100
    assert {type(lr) for lr in asked} == {float}
    assert_array_equal(asked, sorted(asked))
