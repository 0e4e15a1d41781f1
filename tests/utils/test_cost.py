import pytest

from sktransfer.adaptation import MEDAClassifier, MMDAdapter
from sktransfer.datasets import make_domain_shift
from sktransfer.utils import _cost
from sktransfer.utils._cost import announce, free_memory, pair_seconds
from sktransfer.weighting import KLIEPWeighter, KMMWeighter, LabelShiftWeighter, NearestNeighborWeighter, _kmm


def test_small_things_are_not_announced(recwarn):
    announce("A", why="of b", instead="Take C.", n_bytes=2**31, seconds=60.0)
    assert not recwarn


def test_what_is_said():
    with pytest.warns(
        UserWarning, match=r"A will take 4.0 GiB of memory and about 2 minutes of one core, because of b\."
    ):
        announce("A", why="of b", instead="Take C.", n_bytes=2**32, seconds=120.0)


def test_more_than_there_is_is_refused(monkeypatch):
    monkeypatch.setattr(_cost, "free_memory", lambda: 3 * 2**30)
    with pytest.raises(MemoryError, match=r"4.0 GiB.*because of b. Take C. Now 3.0 GiB are free"):
        announce("A", why="of b", instead="Take C.", n_bytes=2**32)
    monkeypatch.setattr(_cost, "free_memory", lambda: None)
    with pytest.warns(UserWarning, match="Take C"):
        announce("A", why="of b", instead="Take C.", n_bytes=2**32)


def test_figures():
    assert free_memory() is None or free_memory() > 2**20
    assert pair_seconds(50_000, 50_000, 100) == pytest.approx(30.0)


@pytest.mark.parametrize(
    ("estimator", "instead"),
    [
        (MMDAdapter(kernel="rbf", solver="exact"), "solver='nystroem'"),
        (MMDAdapter(conditional=0.5, n_iter=2), r"estimator=LogisticRegression\(\)"),
        (MEDAClassifier(2, solver="exact"), "solver='nystroem'"),
        (MEDAClassifier(2, solver="nystroem", n_landmarks=10), "laplacian_weight=0"),
        (KMMWeighter(solver="exact"), "RuLSIFWeighter"),
        (KMMWeighter(solver="nystroem", n_landmarks=5), "larger tol"),
        (KLIEPWeighter(), "one gamma"),
        (LabelShiftWeighter(method="kernel"), "method='confusion'"),
        (NearestNeighborWeighter(), "RuLSIFWeighter"),
    ],
    ids=str,
)
def test_methods_of_many_pairs_say_so_before_they_compute(estimator, instead, monkeypatch):
    monkeypatch.setattr(_cost, "_SECONDS", 0.0)
    monkeypatch.setattr(_kmm, "_EXACT_ROWS", 10)
    X, y, d = make_domain_shift(20, 20, n_features=3, random_state=0)
    with pytest.warns(UserWarning, match=rf"will take about 0 minutes of one core, because .*{instead}"):
        estimator.fit(X, y, sample_domain=d)


def test_transport_of_too_many_pairs_is_refused(monkeypatch):
    pytest.importorskip("ot")
    from sktransfer.adaptation import OTAdapter

    monkeypatch.setattr(_cost, "_MEMORY", 1000)
    monkeypatch.setattr(_cost, "free_memory", lambda: 2000)
    X, _, d = make_domain_shift(20, 20, n_features=3, random_state=0)
    with pytest.raises(MemoryError, match=r"20 source rows and 20 target rows. Fit it on some thousand rows"):
        OTAdapter().fit(X, sample_domain=d)
