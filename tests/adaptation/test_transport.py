import sys

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist
from sklearn.exceptions import ConvergenceWarning

from sktransfer.adaptation import OTAdapter, _transport
from sktransfer.adaptation._transport import barycenters, transport_plan

SHIFT = np.array([5.0, -2.0])


@pytest.fixture
def moved():
    """A target that is the source moved by one vector, in another order."""
    pytest.importorskip("ot")
    rng = np.random.default_rng(0)
    Xs = rng.normal(size=(20, 2)) * 3
    order = rng.permutation(20)
    return Xs, (Xs + SHIFT)[order], np.repeat(["source", "target"], 20)


def test_exact_plan_is_the_best_assignment(moved):
    Xs, Xt, d = moved
    adapter = OTAdapter("emd").fit(np.vstack([Xs, Xt]), sample_domain=d)
    cost = cdist(Xs, Xt, "sqeuclidean")
    assert adapter.cost_ == pytest.approx(cost[linear_sum_assignment(cost)].sum() / 20)
    assert_allclose(adapter.transform(Xs, sample_domain=d[:20]), Xs + SHIFT, atol=1e-10)


def test_sinkhorn_solves_its_problem(moved):
    """diag(u) exp(-cost / reg) diag(v) with the right sums is the only solution."""
    cost = cdist(moved[0], moved[1], "sqeuclidean")
    cost /= np.median(cost)
    plan = transport_plan(cost, reg=0.1)
    assert_allclose(plan.sum(axis=1), 1 / 20, rtol=1e-6)
    assert_allclose(plan.sum(axis=0), 1 / 20, rtol=1e-6)
    scaled = np.log(plan) + cost / 0.1
    assert_allclose(scaled - scaled[[0]] - scaled[:, [0]] + scaled[0, 0], 0.0, atol=1e-8)


def test_many_pairs_in_single_precision(monkeypatch):
    """The same plan as in double precision; costs too large for that are kept in double precision."""
    pytest.importorskip("ot")
    rng = np.random.default_rng(0)
    X = np.vstack([rng.normal(size=(80, 3)), rng.normal(size=(60, 3)) + 2]) + 1e3
    d = np.repeat(["s", "target"], [80, 60])
    expected = OTAdapter().fit(X, sample_domain=d)
    small_reg = OTAdapter(reg=0.02).fit(X, sample_domain=d)
    precisions, plan = [], _transport.transport_plan

    def watched(cost, **params):
        precisions.append(cost.dtype)
        return plan(cost, **params)

    monkeypatch.setattr(_transport, "transport_plan", watched)
    monkeypatch.setattr(_transport, "_MANY_PAIRS", 1000)
    adapter = OTAdapter().fit(X, sample_domain=d)
    assert_allclose(adapter.shift_, expected.shift_, atol=1e-4)
    assert adapter.cost_ == pytest.approx(expected.cost_, rel=1e-5)
    assert adapter.shift_.dtype == np.float64
    assert_allclose(OTAdapter(reg=0.02).fit(X, sample_domain=d).shift_, small_reg.shift_, rtol=1e-12)
    OTAdapter("emd").fit(X, sample_domain=d)
    assert precisions == [np.float32, np.float64, np.float64]


def test_large_entropy_carries_every_row_to_the_target_mean(moved):
    Xs, Xt, d = moved
    Z = OTAdapter(reg=1e4).fit_transform(np.vstack([Xs, Xt]), sample_domain=d)
    assert_allclose(Z[:20], np.tile(Xt.mean(axis=0), (20, 1)), atol=1e-2)
    assert_allclose(Z[20:], Xt)


@pytest.mark.parametrize(("method", "reg_class"), [("lpl1", 1.0), ("l1l2", 10.0)])
def test_class_penalty_keeps_classes_apart(method, reg_class):
    pytest.importorskip("ot")
    rng = np.random.default_rng(0)
    Xs, codes = rng.normal(size=(30, 2)), np.arange(30) % 2
    Xs[:, 0] += 2 * codes
    cost = cdist(Xs, Xs + 0.5, "sqeuclidean")

    def mixing(plan):
        """Mass that target rows get from the class they get less from."""
        return np.minimum(plan[codes == 0].sum(axis=0), plan[codes == 1].sum(axis=0)).sum()

    plain = transport_plan(cost, reg=0.5)
    assert mixing(transport_plan(cost, method=method, reg=0.5, reg_class=reg_class, codes=codes)) < 0.8 * mixing(plain)


def test_new_source_rows_move_like_their_nearest_neighbour(moved):
    Xs, Xt, d = moved
    adapter = OTAdapter("emd").fit(np.vstack([Xs, Xt]), sample_domain=d)
    new = Xs[:3] + 0.01
    assert_allclose(adapter.transform(new, sample_domain=["source"] * 3), new + SHIFT, atol=1e-8)
    assert_allclose(adapter.transform(new), new)


def test_identical_domains_stay():
    pytest.importorskip("ot")
    X = np.random.default_rng(0).normal(size=(15, 3))
    Z = OTAdapter("emd").fit_transform(np.vstack([X, X]), sample_domain=np.repeat(["s", "target"], 15))
    assert_allclose(Z[:15], X, atol=1e-10)


@pytest.mark.parametrize("cost_scale", ["median", "max"])
def test_scale_of_features_is_irrelevant(moved, cost_scale):
    Xs, Xt, d = moved
    X = np.vstack([Xs, Xt])
    Z = OTAdapter(cost_scale=cost_scale).fit_transform(X, sample_domain=d)
    assert_allclose(OTAdapter(cost_scale=cost_scale).fit_transform(10 * X, sample_domain=d), 10 * Z, rtol=1e-5)


def test_barycenters():
    plan = np.array([[0.5, 0.0], [0.25, 0.25]])
    assert_allclose(barycenters(plan, np.array([[0.0], [4.0]])), [[0.0], [2.0]])


def test_plan_that_cannot_be_computed(moved):
    Xs, Xt, d = moved
    with pytest.raises(ValueError, match=r"reg=1e-05 is too small .* Raise reg"):
        OTAdapter(reg=1e-5).fit(np.vstack([Xs, Xt]), sample_domain=d)


def test_plan_that_misses_mass(monkeypatch):
    ot = pytest.importorskip("ot")
    monkeypatch.setattr(ot, "sinkhorn", lambda a, b, *args, **params: np.outer(a, b) * [[1.5], [0.5]])
    with pytest.warns(ConvergenceWarning, match="misses up to 50% .* raise reg"):
        transport_plan(np.ones((2, 3)), reg=0.01)


def test_missing_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "ot", None)
    with pytest.raises(ImportError, match=r"OTAdapter needs the package 'ot'.*sktransfer\[transport\]"):
        OTAdapter().fit(np.eye(2), sample_domain=["s", "target"])


@pytest.mark.parametrize(
    "params", [{"method": "gw"}, {"reg": 0.0}, {"reg_class": -1.0}, {"metric": "rbf"}, {"cost_scale": "mean"}]
)
def test_parameter_errors(params):
    with pytest.raises(ValueError, match=f"The '{next(iter(params))}' parameter of OTAdapter"):
        OTAdapter(**params).fit(np.eye(2), sample_domain=["s", "target"])
