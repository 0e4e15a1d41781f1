"""Every public estimator and function on hostile inputs: a right answer, or an error that names the parameter.

A public name without an entry in ``SUBJECTS`` or ``NOT_OF_TABLES`` fails the test, and so do a raw error of a library,
a warning of numpy, a number that is not finite, probabilities that do not sum to one, and rows that are lost.
"""

import re
import warnings
from importlib.util import find_spec
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import sparse
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import ConvergenceWarning, DataConversionWarning
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

import sktransfer

# scikit-learn calls an array without rows or columns by what it is.
NAMED = re.compile(
    r"\b(X|y|Xs|Xt|ys|yt|y_pred|y_true|sample_domain|sample_weight|features|proba|source_proba|source_labels|source|"
    r"target|target_domain|n_splits|cv)\b|Found array with|^Expected 2D array|^Complex data|classes in the data|"
    r"^Sample weights"
)


def plain(n_source=24, n_target=16, n_features=3, seed=0):
    """Rows of two domains, two classes, everything as it should be."""
    rng = np.random.default_rng(seed)
    n = n_source + n_target
    y = np.arange(n) % 2
    X = rng.normal(size=(n, n_features)) + 2.0 * y[:, np.newaxis]
    return SimpleNamespace(X=X, y=y, d=np.repeat(["source", "target"], [n_source, n_target]), w=np.ones(n))


def case(**changes):
    """Let functions of the plain case replace some of its parts."""

    def make():
        given = plain()
        return SimpleNamespace(**{**vars(given), **{name: change(given) for name, change in changes.items()}})

    return make


def cut(rows):
    return case(**{name: lambda g, name=name: getattr(g, name)[rows] for name in ("X", "y", "d", "w")})


def scaled(factor, dtype=np.float64):
    return case(X=lambda g: (g.X * factor).astype(dtype))


def with_entry(value):
    def change(g):
        X = g.X.copy()
        X[5, 1] = value
        return X

    return case(X=change)


def read_only(g):
    X = g.X.copy()
    X.setflags(write=False)
    return X


HOSTILE = {
    "plain": plain,
    "no rows": cut(slice(0, 0)),
    "one row": cut(slice(0, 1)),
    "single target row": cut(slice(0, 25)),
    "single source row": cut(slice(23, 40)),
    "two rows": cut([0, 25]),
    "no columns": case(X=lambda g: g.X[:, :0]),
    "one column": case(X=lambda g: g.X[:, :1]),
    "more features than rows": lambda: plain(4, 4, 50),
    "one class": case(y=lambda g: np.zeros(40, dtype=int)),
    "a class of one row": case(y=lambda g: np.where(np.arange(40) == 0, 2, g.y)),
    "every row a class": case(y=lambda g: np.arange(40)),
    "constant columns": case(X=lambda g: np.column_stack([g.X[:, 0], np.full(40, 0.1), np.full(40, -3.0)])),
    "duplicate rows": case(X=lambda g: np.repeat(g.X[::8], 8, axis=0)),
    "all rows equal": case(X=lambda g: np.full((40, 3), 0.1)),
    "all zero": case(X=lambda g: np.zeros((40, 3))),
    "far from the origin": case(X=lambda g: g.X + 1e8),
    "1e20": scaled(1e20),
    "1e20 in float32": scaled(1e20, np.float32),
    "1e-20": scaled(1e-20),
    "1e-30 in float32": scaled(1e-30, np.float32),
    "1e39": scaled(1e39),
    "1e160": scaled(1e160),
    "1e308": case(X=lambda g: np.sign(g.X) * 1e308),
    "columns of very different scale": case(X=lambda g: g.X * [1e-12, 1.0, 1e12]),
    "inf": with_entry(np.inf),
    "NaN": with_entry(np.nan),
    "y short": case(y=lambda g: g.y[:-1]),
    "y long": case(y=lambda g: np.append(g.y, 1)),
    "y a table": case(y=lambda g: np.zeros((40, 2), dtype=int)),
    "y None": case(y=lambda g: None),
    "y with NaN": case(y=lambda g: np.where(np.arange(40) == 3, np.nan, g.y)),
    "y with inf": case(y=lambda g: np.where(np.arange(40) == 3, np.inf, g.y)),
    "sample_domain short": case(d=lambda g: g.d[:-1]),
    "one domain": case(d=lambda g: np.full(40, "source")),
    "X one-dimensional": case(X=lambda g: g.X[:, 0]),
    "X three-dimensional": case(X=lambda g: np.zeros((40, 3, 2))),
    "strings": case(X=lambda g: g.X.astype(str).astype(object) + "a"),
    "mixed types": case(X=lambda g: np.column_stack([g.X.astype(object), np.full(40, "red", dtype=object)])),
    "rows of several lengths": case(X=lambda g: [row.tolist()[: 2 + i % 2] for i, row in enumerate(g.X)]),
    "complex": case(X=lambda g: g.X + 1j),
    "dates": case(X=lambda g: np.full((40, 3), np.datetime64("2020-01-01"))),
    "read-only": case(X=read_only),
    "Fortran order": case(X=lambda g: np.asfortranarray(g.X)),
    "every second row of an array": case(X=lambda g: np.repeat(g.X, 2, axis=0)[::2]),
    "int8 at its limits": case(X=lambda g: np.where(g.X > 1, 127, -128).astype(np.int8)),
    "bool": case(X=lambda g: g.X > 1),
    "float16": case(X=lambda g: g.X.astype(np.float16)),
    "list of lists": case(X=lambda g: g.X.tolist()),
    "sparse": case(X=lambda g: sparse.csr_array(g.X)),
    "weights zero": case(w=lambda g: np.zeros(40)),
    "weights negative": case(w=lambda g: np.where(np.arange(40) == 3, -1.0, 1.0)),
    "weights NaN": case(w=lambda g: np.full(40, np.nan)),
    "weights short": case(w=lambda g: g.w[:-1]),
}


def finite(values):
    values = values.toarray() if sparse.issparse(values) else values
    assert np.isfinite(np.asarray(values, dtype=np.float64)).all(), values


def n_rows(X):
    return X.shape[0] if hasattr(X, "shape") else len(X)


def adapter(make):
    def run(g):
        fitted = make()
        Z = fitted.fit_transform(g.X, g.y, sample_domain=g.d)
        assert Z.shape == (n_rows(g.X), len(fitted.get_feature_names_out()))
        finite(Z)
        finite(fitted.transform(g.X))

    return run


def weighter(make):
    def run(g):
        fitted = make().fit(g.X, g.y, sample_domain=g.d)
        assert fitted.weights_.shape == (np.count_nonzero(np.asarray(g.d) == "source"),)
        for weights in (fitted.weights_, fitted.predict_weights(g.X)):
            finite(weights)
            assert (weights >= 0).all()

    return run


def predictor(make, *, classes=True, weight=False, fit=None):
    def run(g):
        model, params = make(), {"sample_weight": g.w} if weight else {}
        model.fit(g.X, g.y, **({"sample_domain": g.d} if fit is None else fit), **params)
        predicted = model.predict(g.X)
        assert len(predicted) == n_rows(g.X)
        if not classes:
            return finite(predicted)
        assert set(predicted.tolist()) <= set(model.classes_.tolist())
        if hasattr(model, "predict_proba"):
            proba = model.predict_proba(g.X)
            assert proba.shape == (n_rows(g.X), len(model.classes_))
            finite(proba)
            np.testing.assert_allclose(proba.sum(axis=1), 1.0, atol=1e-5)

    return run


def conformal(name, estimator=None):
    """Sets hold classes, intervals have a lower end that is not above the upper."""

    def run(g):
        model = getattr(sktransfer, name)(estimator, random_state=0)
        predictor(lambda: model, classes=name.endswith("Classifier"))(g)
        if name.endswith("Classifier"):
            sets = model.predict_set(g.X)
            assert sets.shape == (n_rows(g.X), len(model.classes_))
            assert sets.dtype == bool
            return
        lower, upper = model.predict_interval(g.X).T
        assert len(lower) == n_rows(g.X)
        assert (lower <= upper).all()

    return run


def rows_of(X, mask):
    return [row for row, kept in zip(X, mask, strict=False) if kept] if isinstance(X, list) else X[mask]


def distance(function):
    def run(g):
        source = np.asarray(g.d) == "source"
        source = np.resize(source, n_rows(g.X)) if len(source) else source
        value = function(rows_of(g.X, source), rows_of(g.X, ~source))
        finite(value)
        assert value >= 0

    return run


def with_labels(function):
    def run(g):
        finite(list(np.ravel(function(g))))

    return run


def parts(g):
    """Source rows, their labels, target rows."""
    source = np.resize(np.asarray(g.d) == "source", n_rows(g.X))
    y = None if g.y is None else np.asarray(g.y)
    ys = y if y is None or len(y) != n_rows(g.X) else y[source]
    return rows_of(g.X, source), ys, rows_of(g.X, ~source)


def score(name, **params):
    return with_labels(lambda g: getattr(sktransfer, name)(g.X, g.y, **params))


def probabilities(g):
    """Rows in proportion, where they can be brought to it."""
    if not isinstance(g.X, np.ndarray) or g.X.ndim != 2 or g.X.dtype.kind != "f" or not g.X.size:
        return g.X
    if not np.isfinite(g.X).all() or not g.X.any(axis=1).all():
        return g.X
    proba = np.abs(g.X) / np.abs(g.X).max()
    return proba / proba.sum(axis=1, keepdims=True)


def proba_score(name):
    def run(g):
        finite(getattr(sktransfer, name)(probabilities(g)))

    return run


def splitter(make):
    def run(g):
        for train, test in make().split(g.X, g.y, sample_domain=g.d):
            assert not set(train) & set(test)
            assert len(test)
            assert max(train.max(), test.max()) < n_rows(g.X)

    return run


def scorer(make):
    """Score a model fitted on plain rows at hostile ones."""

    def run(g):
        known = plain()
        model = sktransfer.AdaptedClassifier(LogisticRegression(), sktransfer.CORALAdapter())
        model.fit(known.X, known.y, sample_domain=known.d)
        finite(make()(model, g.X, g.y, sample_domain=g.d))

    return run


def deep(name, **params):
    """A deep method of tables: one epoch, one small batch after the other."""

    def make():
        cls = getattr(sktransfer, name)
        return cls(None, max_epochs=1, batch_size=16, random_state=0, device="cpu", **params)

    return predictor(make, classes=not name.endswith("Regressor"))


def source_free(name):
    """A method that adapts a fitted deep model to target rows alone."""

    def make():
        known = plain()
        fitted = sktransfer.DANNClassifier(None, max_epochs=1, batch_size=16, random_state=0, device="cpu")
        return getattr(sktransfer, name)(fitted.fit(known.X, known.y, sample_domain=known.d))

    return predictor(make, fit={})


def evidence(g):
    Xs, ys, Xt = parts(g)
    labels = np.resize([0, 1], n_rows(Xt))
    found = sktransfer.transfer_evidence(Xs, ys, Xt, y_pred=labels, y_baseline=1 - labels)
    return [*found.agreement, *found.return_accuracy, found.disagreement]


def packed(g):
    Xs, ys, Xt = parts(g)
    X, y, d = sktransfer.pack_domains(source=(Xs, ys), target=Xt)
    assert n_rows(X) == len(y) == len(d) == n_rows(g.X)
    return [0.0]


def selection(g):
    for method in ("typical", "coverage", "margin", "badge"):
        y = None if g.y is None else np.array(g.y, dtype=object)
        if y is not None:
            y[len(y) // 2 :] = None
        rows = sktransfer.select_for_labeling(g.X, 3, y=y, method=method, random_state=0)
        assert len(set(rows.tolist())) == 3
        assert rows.min() >= n_rows(g.X) // 2 or g.y is None
    return [0.0]


TREE = DecisionTreeClassifier(max_depth=2, random_state=0)
SUBJECTS = {
    # adapters
    **{
        name: adapter(getattr(sktransfer, name))
        for name in (
            "CORALAdapter",
            "ColumnMappingAdapter",
            "DomainStandardizer",
            "FeatureAugmentationAdapter",
            "GFKAdapter",
            "MMDAdapter",
            "SubspaceAlignmentAdapter",
        )
    },
    # weighters
    **{
        name: weighter(getattr(sktransfer, name))
        for name in (
            "DomainClassifierWeighter",
            "KLIEPWeighter",
            "KMMWeighter",
            "LabelShiftWeighter",
            "NearestNeighborWeighter",
            "RuLSIFWeighter",
            "SourceSelector",
        )
    },
    # predictors
    "AdaptedClassifier": predictor(sktransfer.AdaptedClassifier, weight=True),
    "AdaptedRegressor": predictor(sktransfer.AdaptedRegressor, classes=False, weight=True),
    "EasyTLClassifier": predictor(sktransfer.EasyTLClassifier),
    "MEDAClassifier": predictor(sktransfer.MEDAClassifier),
    "PrototypeClassifier": predictor(sktransfer.PrototypeClassifier),
    "TrAdaBoostClassifier": predictor(lambda: sktransfer.TrAdaBoostClassifier(n_estimators=3)),
    "TrAdaBoostRegressor": predictor(lambda: sktransfer.TrAdaBoostRegressor(n_estimators=3), classes=False),
    "TransferredForestClassifier": predictor(
        lambda: sktransfer.TransferredForestClassifier(RandomForestClassifier(3), random_state=0)
    ),
    "TransferredGradientBoostingClassifier": predictor(
        lambda: sktransfer.TransferredGradientBoostingClassifier(max_iter=3, cv=2, random_state=0), weight=True
    ),
    "TransferredGradientBoostingRegressor": predictor(
        lambda: sktransfer.TransferredGradientBoostingRegressor(max_iter=3, cv=2, random_state=0),
        classes=False,
        weight=True,
    ),
    "TransferredLogisticRegression": predictor(
        lambda: sktransfer.TransferredLogisticRegression(Cs=3, cv=2), weight=True
    ),
    "TransferredRidge": predictor(sktransfer.TransferredRidge, classes=False, weight=True),
    "WeightedConformalClassifier": conformal("WeightedConformalClassifier"),
    "WeightedConformalRegressor": conformal("WeightedConformalRegressor", make_pipeline(StandardScaler(), Ridge())),
    # distances
    **{
        name: distance(getattr(sktransfer, name))
        for name in (
            "coral_distance",
            "energy_distance",
            "frechet_distance",
            "mmd_distance",
            "proxy_a_distance",
            "wasserstein_distance",
        )
    },
    "class_conditional_distance": with_labels(
        lambda g: sktransfer.class_conditional_distance(
            sktransfer.energy_distance, parts(g)[0], parts(g)[1], parts(g)[2], np.resize([0, 1], n_rows(parts(g)[2]))
        )
    ),
    "class_proportions": with_labels(lambda g: list(sktransfer.class_proportions(*parts(g), random_state=0).values())),
    "label_shift_distance": with_labels(lambda g: sktransfer.label_shift_distance(*parts(g), random_state=0)),
    # scores of features and labels
    **{
        name: score(name)
        for name in (
            "gbc_score",
            "h_score",
            "logme_score",
            "nleep_score",
            "parc_score",
            "sfda_score",
            "transrate_score",
            "neighborhood_agreement_score",
        )
    },
    "leep_score": with_labels(lambda g: sktransfer.leep_score(probabilities(g), g.y)),
    "nce_score": with_labels(lambda g: sktransfer.nce_score(np.resize([0, 1, 2], n_rows(g.X)), g.y)),
    **{
        name: proba_score(name)
        for name in (
            "class_confusion_score",
            "information_maximization_score",
            "prediction_entropy_score",
            "soft_neighborhood_density_score",
        )
    },
    "return_accuracy_score": with_labels(
        lambda g: sktransfer.return_accuracy_score(*parts(g), np.resize([0, 1], n_rows(parts(g)[2])))
    ),
    "transfer_evidence": with_labels(evidence),
    "pack_domains": with_labels(packed),
    "select_for_labeling": with_labels(selection),
    "duplicate_pairs": with_labels(lambda g: sktransfer.duplicate_pairs(g.X).similarity),
    # splitters and scorers
    "DomainKFold": splitter(lambda: sktransfer.DomainKFold(2)),
    "LeaveOneDomainOut": splitter(sktransfer.LeaveOneDomainOut),
    "TimeDomainSplit": splitter(lambda: sktransfer.TimeDomainSplit(1)),
    "SourceTargetShuffleSplit": splitter(lambda: sktransfer.SourceTargetShuffleSplit(2, random_state=0)),
    "StratifiedDomainShuffleSplit": splitter(lambda: sktransfer.StratifiedDomainShuffleSplit(2, random_state=0)),
    **{
        name: scorer(getattr(sktransfer, name))
        for name in (
            "CircularValidationScorer",
            "ClassConfusionScorer",
            "DEVScorer",
            "ImportanceWeightedScorer",
            "InformationMaximizationScorer",
            "MixValScorer",
            "NeighborhoodAgreementScorer",
            "PredictionEntropyScorer",
            "SoftNeighborhoodDensityScorer",
            "TransferEvidenceScorer",
            "labeled_scorer",
            "oracle_scorer",
        )
    },
}
if find_spec("ot"):
    SUBJECTS["OTAdapter"] = adapter(sktransfer.OTAdapter)
DEEP = [
    "ADDAClassifier",
    "AFNClassifier",
    "BNMClassifier",
    "CDANClassifier",
    "DANClassifier",
    "DANNClassifier",
    "DANNRegressor",
    "DSANClassifier",
    "DeepCORALClassifier",
    "DeepCORALRegressor",
    "DeepJDOTClassifier",
    "JANClassifier",
    "MCCClassifier",
    "MCDClassifier",
    "MDDClassifier",
    "OSBPClassifier",
    "PADAClassifier",
]
SUBJECTS |= {name: deep(name) for name in DEEP}
SUBJECTS |= {
    name: source_free(name) for name in ("SHOTClassifier", "TENTClassifier", "AdaBNClassifier", "LAMEClassifier")
}

# Why the others are not of tables: each reads pictures or names, or stands for parameters only, and what is done to its
# inputs is tested where it is written.
PICTURES = "reads pictures: tests/modalities and the tests of its room"
NOT_OF_TABLES = {
    **dict.fromkeys(("BackboneSearch", "FineTunedClassifier", "FineTunedRegressor", "FixMatchClassifier"), PICTURES),
    **dict.fromkeys(("FourierAdapter", "PixelAdapter", "PretrainedFeatureExtractor", "grad_cam"), PICTURES),
    "SelfSupervisedBackbone": PICTURES,
    **dict.fromkeys(
        ("FineTunedSegmenter", "PixelClassifier", "mean_iou_scorer", "object_features", "pixel_accuracy_scorer"),
        PICTURES,
    ),
    **dict.fromkeys(("GradCAMDisplay", "rank_backbones", "make_image_domains"), PICTURES),
    "TokenSaliencyDisplay": "reads texts: tests/inspection",
    **dict.fromkeys(("BSS", "CoTuning", "DELTA", "L2SP", "LwF", "RKD", "StochNorm"), "holds parameters of a training"),
    **dict.fromkeys(("clear_cache", "keep_freed_memory", "list_backbones", "load_backbone"), "takes no rows"),
    **dict.fromkeys(("AudioBackbone", "FeatureCache", "ImageBackbone", "Recipe", "TextBackbone"), "takes no rows"),
    **dict.fromkeys(("export_onnx", "load_folder", "make_domain_shift"), "takes no rows"),
    **dict.fromkeys(
        ("CoverageDisplay", "DomainShiftDisplay", "LabelEfficiencyDisplay", "LearningHistoryDisplay"),
        "draws: tests/inspection",
    ),
    **dict.fromkeys(
        ("NegativeTransferDisplay", "SegmentationDisplay", "TransferabilityDisplay"), "draws: tests/inspection"
    ),
    **dict.fromkeys(("TransferSearchCV", "negative_transfer_report"), "fits the estimators above by the dozen"),
    "__version__": "a string",
}

# What takes long, and what shares all its reading of inputs with DANNClassifier, gets the part of the table that tells.
FEW = ("plain", "one row", "single target row", "one class", "constant columns", "all rows equal", "1e20", "1e39")
FEW += ("inf", "strings", "y short", "sample_domain short", "one domain")
SLOW = {"MEDAClassifier", "OTAdapter", "DEVScorer", "ImportanceWeightedScorer", "KLIEPWeighter", *DEEP} - {
    "DANNClassifier"
}
SLOW |= {
    "label_shift_distance",
    "proxy_a_distance",
    "SHOTClassifier",
    "TENTClassifier",
    "AdaBNClassifier",
    "LAMEClassifier",
}


def test_every_public_name_is_in_the_table_or_says_why_not():
    optional = set() if find_spec("ot") else {"OTAdapter"}
    assert set(sktransfer.__all__) - optional == set(SUBJECTS) | set(NOT_OF_TABLES)
    assert not set(SUBJECTS) & set(NOT_OF_TABLES)


def answer_or_named_error(name, hostile):
    given = HOSTILE[hostile]()
    with warnings.catch_warnings():
        # Said in our own words; numpy's RuntimeWarning is none of them.
        for kind in (UserWarning, ConvergenceWarning, DataConversionWarning):
            warnings.simplefilter("ignore", kind)
        try:
            SUBJECTS[name](given)
        except (ValueError, TypeError) as error:
            assert hostile != "plain", error
            assert NAMED.search(str(error)), f"names no parameter: {error}"


def wrong_of(name, table):
    """What comes of the hostile inputs of which neither a right answer comes nor an error that names the parameter."""
    wrong = {}
    for hostile in table:
        try:
            answer_or_named_error(name, hostile)
        except Exception as error:  # whatever it is, and after it the rest of the table
            wrong[hostile] = f"{type(error).__name__}: {error}"
    return wrong


@pytest.mark.parametrize("name", SUBJECTS)
def test_right_answer_or_an_error_that_names_the_parameter(name):
    assert wrong_of(name, FEW if name in SLOW else HOSTILE) == {}


def test_what_is_wrong_is_found(monkeypatch):
    def subject(g):
        if len(g.X) == 1:
            raise KeyError("raw")
        if len(g.X) < 40:
            raise ValueError("says nothing")
        np.log(np.sign(g.X.min()) * np.ones(2))

    monkeypatch.setitem(SUBJECTS, "subject", subject)
    wrong = wrong_of("subject", ("plain", "one row", "no rows", "all zero"))
    assert {hostile: words.split(":")[0] for hostile, words in wrong.items()} == {
        "plain": "RuntimeWarning",
        "one row": "KeyError",
        "no rows": "AssertionError",
        "all zero": "RuntimeWarning",
    }
