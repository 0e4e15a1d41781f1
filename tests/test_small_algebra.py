"""Small algebra in one thread of BLAS: our searches, rankings, reports, guards, solvers and distances."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

import sktransfer
from sktransfer.base import BaseAdapter, BaseWeighter
from sktransfer.utils import _threads

RNG = np.random.default_rng(0)
N = 40
Y = np.tile([0, 1], N // 2)
X = RNG.normal(size=(N, 3)) + 2 * Y[:, np.newaxis]
DOMAIN = np.repeat(["source", "target"], N // 2)
XS, YS, XT, YT = X[: N // 2], Y[: N // 2], X[N // 2 :], Y[N // 2 :]
PICTURES = RNG.integers(0, 256, (8, 8, 8), dtype=np.uint8)

TRIALS = {
    "TransferSearchCV": lambda: sktransfer.TransferSearchCV(
        strategies=["coral"], backbone=None, cv=2, guard=False, scoring=sktransfer.PredictionEntropyScorer()
    ).fit(X, Y, sample_domain=DOMAIN),
    "BackboneSearch": lambda: sktransfer.BackboneSearch(backbones=["sktransfer_mini"], image_size=32, refine=0).fit(
        PICTURES, Y[:8]
    ),
    "rank_backbones": lambda: sktransfer.rank_backbones(["sktransfer_mini"], PICTURES, Y[:8], image_size=32),
    "negative_transfer_report": lambda: sktransfer.negative_transfer_report(
        sktransfer.AdaptedClassifier(LogisticRegression(), sktransfer.CORALAdapter()),
        LogisticRegression(),
        X,
        Y,
        sample_domain=DOMAIN,
        cv=2,
        label_sizes=None,
    ),
    "AdaptedClassifier(guard=True)": lambda: sktransfer.AdaptedClassifier(
        LogisticRegression(), sktransfer.CORALAdapter(), guard=True
    ).fit(X, Y, sample_domain=DOMAIN),
    "MEDAClassifier": lambda: sktransfer.MEDAClassifier(n_components=2).fit(X, Y, sample_domain=DOMAIN),
    "EasyTLClassifier": lambda: sktransfer.EasyTLClassifier().fit(X, Y, sample_domain=DOMAIN),
    "TrAdaBoostClassifier": lambda: sktransfer.TrAdaBoostClassifier(n_estimators=2).fit(X, Y, sample_domain=DOMAIN),
    "TrAdaBoostRegressor": lambda: sktransfer.TrAdaBoostRegressor(
        DecisionTreeRegressor(max_depth=1), n_estimators=2
    ).fit(X, X[:, 0], sample_domain=DOMAIN),
    "a scorer": lambda: sktransfer.PredictionEntropyScorer()(
        LogisticRegression().fit(XS, YS), X, Y, sample_domain=DOMAIN
    ),
    "DomainShiftDisplay": lambda: sktransfer.DomainShiftDisplay.from_arrays(XS, XT),
    **{
        f"{name}": lambda name=name: getattr(sktransfer, name)(XS, XT)
        for name in (
            *("mmd_distance", "coral_distance", "proxy_a_distance", "frechet_distance", "wasserstein_distance"),
            "energy_distance",
        )
    },
    **{
        f"{name}": lambda name=name: getattr(sktransfer, name)(X, Y)
        for name in (
            *("logme_score", "nleep_score", "parc_score", "h_score", "transrate_score", "gbc_score", "sfda_score"),
            "neighborhood_agreement_score",
        )
    },
    "class_conditional_distance": lambda: sktransfer.class_conditional_distance(
        sktransfer.coral_distance, XS, YS, XT, YT
    ),
    "return_accuracy_score": lambda: sktransfer.return_accuracy_score(XS, YS, XT, YT),
}


@pytest.fixture
def limits(monkeypatch):
    """How often the algebra was limited to one thread."""
    seen, limit = [], _threads.one_algebra_thread
    monkeypatch.setattr(_threads, "one_algebra_thread", lambda: seen.append(1) or limit())
    return seen


@pytest.mark.parametrize("trial", TRIALS.values(), ids=TRIALS)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_small_algebra_runs_in_one_thread(trial, limits):
    trial()
    assert limits


@pytest.mark.parametrize("base", [BaseAdapter, BaseWeighter])
def test_small_algebra_runs_in_one_thread_in_every_adapter_and_weighter(base, limits):
    classes = [getattr(sktransfer, name) for name in sktransfer.__all__]
    classes = [cls for cls in classes if isinstance(cls, type) and issubclass(cls, base)]
    classes = [cls for cls in classes if "picture_adaptation" not in cls.__module__]  # those of pictures
    assert len(classes) > 4
    for cls in classes:
        limits.clear()
        fitted = cls().fit(X, Y, sample_domain=DOMAIN)
        assert limits, cls
        limits.clear()
        if hasattr(fitted, "transform"):
            fitted.transform(XT)
        else:
            fitted.predict_weights(XS, *([YS] if cls is sktransfer.LabelShiftWeighter else []))
        assert limits, cls


@pytest.mark.parametrize(
    "model",
    [
        sktransfer.TrAdaBoostClassifier(DecisionTreeClassifier(), n_estimators=3),
        sktransfer.AdaptedClassifier(LogisticRegression(), sktransfer.SubspaceAlignmentAdapter(1), guard=True),
    ],
    ids=["boosting", "guard"],
)
def test_warnings_from_under_the_limit_name_the_line_of_the_caller(model):
    shifted = X + 5 * (DOMAIN == "target")[:, np.newaxis]
    with pytest.warns(UserWarning) as caught:
        model.fit(shifted, Y, sample_domain=DOMAIN)
    assert {warning.filename for warning in caught} == {__file__}
