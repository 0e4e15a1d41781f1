"""Sparse matrices as X: every estimator and distance of tables gives what it gives for the same array, or refuses."""

import tracemalloc
from importlib.util import find_spec

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.base import clone
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline

import sktransfer
from sktransfer import (
    AdaptedClassifier,
    AdaptedRegressor,
    CORALAdapter,
    DANNClassifier,
    DomainClassifierWeighter,
    DomainStandardizer,
    EasyTLClassifier,
    FeatureAugmentationAdapter,
    GFKAdapter,
    KLIEPWeighter,
    KMMWeighter,
    LabelShiftWeighter,
    MEDAClassifier,
    MMDAdapter,
    NearestNeighborWeighter,
    OTAdapter,
    RuLSIFWeighter,
    SourceSelector,
    SubspaceAlignmentAdapter,
    TrAdaBoostClassifier,
    TrAdaBoostRegressor,
    TransferredLogisticRegression,
    TransferredRidge,
    TransferSearchCV,
    WeightedConformalClassifier,
    WeightedConformalRegressor,
    pack_domains,
)

# Solvers that end where they do for dense rows.
LINEAR = LogisticRegression(tol=1e-8, max_iter=1000)
RIDGE = Ridge(solver="lsqr", tol=1e-12)
TRANSPORT = [
    OTAdapter(),
    OTAdapter("emd"),
    OTAdapter("lpl1", metric="cosine"),
    OTAdapter("emd", metric="cityblock"),
    OTAdapter(metric="euclidean"),
]
ADAPTERS = [
    CORALAdapter(),
    CORALAdapter(0.1, align_means=True),
    CORALAdapter(0.01, shrinkage="auto"),
    CORALAdapter(0.0, shrinkage=0.5),
    SubspaceAlignmentAdapter(3),
    SubspaceAlignmentAdapter("auto"),
    GFKAdapter(3),
    GFKAdapter(3, center=True),
    DomainStandardizer(with_mean=False),
    DomainStandardizer(with_mean=False, with_std=False),
    FeatureAugmentationAdapter(),
    MMDAdapter(3),
    MMDAdapter(3, kernel="primal", conditional=0.5),
    MMDAdapter(3, kernel="rbf", conditional="auto", n_iter=3),
    MMDAdapter(3, kernel="poly"),
    MMDAdapter(3, kernel="rbf", solver="nystroem", n_landmarks=20, random_state=0),
    *(TRANSPORT if find_spec("ot") else []),
]
WEIGHTERS = [
    KMMWeighter(),
    KMMWeighter(kernel="linear", B=10),
    KMMWeighter(kernel="poly", B=10),
    KLIEPWeighter(),
    RuLSIFWeighter(),
    NearestNeighborWeighter(),
    NearestNeighborWeighter(3),
    DomainClassifierWeighter(LINEAR, random_state=0),
    LabelShiftWeighter(LINEAR, random_state=0, soft=True),
    LabelShiftWeighter(method="kernel"),
    SourceSelector(),
    SourceSelector(9, weighter=KMMWeighter(B=10)),
]
CLASSIFIERS = [
    EasyTLClassifier(),
    EasyTLClassifier(None, metric="sqeuclidean"),
    EasyTLClassifier(metric="cityblock"),
    EasyTLClassifier(metric="cosine"),
    MEDAClassifier(3),
    TrAdaBoostClassifier(n_estimators=5, random_state=0),
    TrAdaBoostClassifier(LogisticRegression(C=0.01, tol=1e-8), n_estimators=5, target_share=0.5),
    TransferredLogisticRegression(LINEAR, C=0.1, tol=1e-8),
    TransferredLogisticRegression(LINEAR, tol=1e-8, Cs=3),
    AdaptedClassifier(LINEAR, CORALAdapter()),
    AdaptedClassifier(LINEAR, CORALAdapter(), guard=True),
    AdaptedClassifier(LINEAR, KMMWeighter()),
    AdaptedClassifier(LINEAR, FeatureAugmentationAdapter(), use_target_labels=True),
    AdaptedClassifier(LINEAR, make_pipeline(TruncatedSVD(5, random_state=0), CORALAdapter())),
    make_pipeline(TruncatedSVD(5, random_state=0), AdaptedClassifier(LINEAR, GFKAdapter(2))),
]
REGRESSORS = [
    TrAdaBoostRegressor(n_estimators=5, random_state=0),
    TrAdaBoostRegressor(RIDGE, n_estimators=4, two_stage=True, n_steps=3, random_state=0),
    TransferredRidge(RIDGE),
    AdaptedRegressor(RIDGE, CORALAdapter()),
    AdaptedRegressor(RIDGE, RuLSIFWeighter()),
]


@pytest.fixture(params=[12, 200], ids=["more rows", "more features"])
def data(request):
    rng = np.random.default_rng(0)
    n, m = 60, 50
    y = rng.integers(0, 2, n + m)
    X = rng.random((n + m, request.param)) * (rng.random((n + m, request.param)) < 0.4)
    X[np.arange(n + m), y] += 1.0
    X[n:, request.param // 2 :] *= 1.5
    return X, y, np.repeat(["source", "target"], [n, m])


def name_of(estimator):
    return repr(estimator).replace("\n", "")


def dense(Z):
    return Z.toarray() if sparse.issparse(Z) else np.asarray(Z)


def fit(model, X, y, d):
    key = "adaptedclassifier__sample_domain" if hasattr(model, "steps") else "sample_domain"
    return clone(model).fit(X, y, **{key: d})


@pytest.mark.parametrize("adapter", ADAPTERS, ids=name_of)
class TestAdapters:
    def test_same_as_dense(self, adapter, data):
        X, y, d = data
        Z = adapter.fit_transform(X, y, sample_domain=d)
        new, new_d = X[40:80] * 1.1, d[40:80]
        adapted = adapter.transform(new, sample_domain=new_d)
        fitted = clone(adapter)
        assert_allclose(dense(fitted.fit_transform(sparse.csr_matrix(X), y, sample_domain=d)), Z, atol=1e-8)
        for rows in (sparse.csr_array(new), new):
            assert_allclose(dense(fitted.transform(rows, sample_domain=new_d)), adapted, atol=1e-8)
        assert_allclose(dense(adapter.transform(sparse.csr_array(new), sample_domain=new_d)), adapted, atol=1e-8)
        assert fitted.n_features_out_ == Z.shape[1]

    def test_formats_and_the_caller_s_matrix(self, adapter, data):
        X, y, d = data
        X32 = X.astype(np.float32)
        expected = adapter.fit_transform(X32, y, sample_domain=d)
        for make in (sparse.csc_matrix, sparse.coo_array, sparse.lil_matrix):
            given = make(X32)
            Z = dense(clone(adapter).fit_transform(given, y, sample_domain=d))
            assert Z.dtype == np.float32
            assert_allclose(Z, expected, atol=2e-4 * np.abs(expected).max())
            assert_array_equal(given.toarray(), X32)


@pytest.mark.parametrize("weighter", WEIGHTERS, ids=name_of)
def test_weighters(weighter, data):
    X, y, d = data
    fitted = clone(weighter).fit(X, y, sample_domain=d)
    new = X[50:90] * 1.1
    weights = fitted.predict_weights(new)
    again = clone(weighter).fit(sparse.csr_matrix(X), y, sample_domain=d)
    assert_allclose(again.weights_, fitted.weights_, atol=1e-6)
    for model, rows in ((again, sparse.csc_array(new)), (again, new), (fitted, sparse.csr_array(new))):
        assert_allclose(model.predict_weights(rows), weights, rtol=1e-6, atol=1e-6)


def test_the_default_classifier_of_domains(data):
    """Without the mean, its solver ends elsewhere within its tolerance."""
    X, _, d = data
    if X.shape[1] > len(X):
        pytest.skip("domains that a classifier tells apart without an error have weights of any size")
    weights = [
        DomainClassifierWeighter(random_state=0).fit(rows, sample_domain=d).weights_
        for rows in (X, sparse.csr_array(X))
    ]
    assert_allclose(*weights, rtol=0.01)


@pytest.mark.filterwarnings("ignore:No evidence that:sktransfer.exceptions.NegativeTransferWarning")
@pytest.mark.parametrize("model", CLASSIFIERS, ids=name_of)
def test_classifiers(model, data):
    X, y, d = data

    def scores(model, rows):
        return model.decision_function(rows) if hasattr(model, "decision_function") else model.predict_proba(rows)

    expected = scores(fit(model, X, y, d), X)
    fitted = fit(model, sparse.csr_matrix(X), y, d)
    assert_allclose(scores(fitted, sparse.csr_array(X)), expected, atol=1e-6 * np.abs(expected).max())
    partly = np.where(np.arange(len(y)) % 3 == 0, -1, y)
    assert fitted.score(sparse.csr_array(X), partly) == fitted.score(X, partly)


@pytest.mark.parametrize("model", REGRESSORS, ids=name_of)
def test_regressors(model, data):
    X, _, d = data
    y = X[:, 0] + np.linspace(0, 1, len(X))
    expected = fit(model, X, y, d).predict(X)
    assert_allclose(fit(model, sparse.coo_matrix(X), y, d).predict(sparse.csr_array(X)), expected, atol=1e-6)


@pytest.mark.filterwarnings("ignore:Coverage of:UserWarning")
@pytest.mark.parametrize("weighter", [RuLSIFWeighter(), LabelShiftWeighter(LINEAR)], ids=name_of)
def test_sets_of_classes(weighter, data):
    X, y, d = data
    model = WeightedConformalClassifier(LINEAR, weighter, confidence_level=0.6, random_state=0)
    expected = model.fit(X, y, sample_domain=d).predict_set(X)
    again = clone(model).fit(sparse.csr_matrix(X), y, sample_domain=d)
    assert_array_equal(again.predict_set(sparse.csr_array(X)), expected)


@pytest.mark.filterwarnings("ignore:Coverage of:UserWarning")
def test_intervals(data):
    X, _, d = data
    y = X[:, 0] + np.linspace(0, 1, len(X))
    model = WeightedConformalRegressor(RIDGE, RuLSIFWeighter(), confidence_level=0.6, random_state=0)
    expected = model.fit(X, y, sample_domain=d).predict_interval(X)
    again = clone(model).fit(sparse.csr_matrix(X), y, sample_domain=d)
    assert_allclose(again.predict_interval(sparse.csr_array(X)), expected, atol=1e-6)


class TestCORAL:
    """All that is computed of more features than rows is inner products of rows."""

    def test_no_matrix_of_features_squared(self):
        n, d = 300, 20_000
        X = sparse.csr_array(sparse.random(n, d, density=0.005, random_state=0))
        names = np.repeat(["source", "target"], n // 2)
        tracemalloc.start()
        adapter = CORALAdapter().fit(X, sample_domain=names)
        held, fitting = tracemalloc.get_traced_memory()
        Z = adapter.transform(X, sample_domain=names)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        # d x d doubles are 3.2 GB, the dense rows 48 MB.
        assert fitting < 30e6, fitting
        assert held < 10e6, held
        assert peak < 5 * Z.nbytes, peak
        assert Z.shape == (n, d)
        assert_allclose(Z[names == "target"], X[names == "target"].toarray())

    @pytest.mark.parametrize("params", [{}, {"align_means": True}, {"reg": 0.0, "shrinkage": "auto"}])
    def test_gram_form_is_the_formula(self, params):
        rng = np.random.default_rng(0)
        X = rng.random((40, 90)) * (rng.random((40, 90)) < 0.2)
        names = np.repeat(["source", "target"], 20)
        Z = CORALAdapter(**params).fit_transform(sparse.csr_array(X), sample_domain=names)
        Xs, Xt = X[:20], X[20:]
        roots = []
        for rows, power in ((Xs, -0.5), (Xt, 0.5)):
            C = np.cov(rows.T) + params.get("reg", 1.0) * np.eye(90)
            if params.get("shrinkage"):
                from sklearn.covariance import ledoit_wolf_shrinkage

                share = ledoit_wolf_shrinkage(rows)
                C = (1 - share) * C + share * np.trace(C) / 90 * np.eye(90)
            values, vectors = np.linalg.eigh(C)
            roots.append(vectors * values**power @ vectors.T)
        means = [part.mean(axis=0) if params.get("align_means") else np.zeros(90) for part in (Xs, Xt)]
        assert_allclose(Z[:20], (Xs - means[0]) @ roots[0] @ roots[1] + means[1], atol=1e-8)


class TestDistances:
    @pytest.mark.parametrize(
        ("name", "params"),
        [
            ("mmd_distance", {}),
            ("mmd_distance", {"gamma": [0.1, 1.0], "unbiased": True, "return_pvalue": True, "random_state": 0}),
            ("mmd_distance", {"kernel": "linear", "unbiased": True, "return_pvalue": True, "random_state": 0}),
            ("mmd_distance", {"kernel": "poly"}),
            ("coral_distance", {}),
            ("proxy_a_distance", {"random_state": 0, "estimator": LINEAR}),
            ("frechet_distance", {}),
            ("frechet_distance", {"squared": False}),
            ("wasserstein_distance", {"random_state": 0}),
            ("energy_distance", {}),
        ],
    )
    def test_same_as_dense(self, name, params, data):
        X, _, d = data
        function, s = getattr(sktransfer, name), d == "source"
        expected = function(X[s], X[~s], **params)
        assert_allclose(function(sparse.csr_matrix(X[s]), sparse.csc_array(X[~s]), **params), expected, rtol=1e-9)
        assert_allclose(function(sparse.csr_matrix(X[s]), X[~s], **params), expected, rtol=1e-9)

    def test_by_class_and_shares(self, data):
        X, y, d = data
        s, S = d == "source", sparse.csr_array(X)
        by_class = [
            sktransfer.class_conditional_distance(sktransfer.mmd_distance, Z[s], y[s], Z[~s], y[~s]) for Z in (X, S)
        ]
        assert_allclose(*by_class)
        shares = [
            list(sktransfer.class_proportions(Z[s], y[s], Z[~s], estimator=LINEAR, random_state=0).values())
            for Z in (X, S)
        ]
        assert_allclose(*shares, atol=1e-6)

    def test_evidence(self, data):
        X, y, d = data
        s, S = d == "source", sparse.csr_array(X)
        assert_allclose(sktransfer.neighborhood_agreement_score(S, y), sktransfer.neighborhood_agreement_score(X, y))
        found = [sktransfer.transfer_evidence(Z[s], y[s], Z[~s], y_pred=y[~s], y_baseline=1 - y[~s]) for Z in (X, S)]
        assert_allclose(found[1].agreement, found[0].agreement)
        assert_allclose(found[1].return_accuracy, found[0].return_accuracy, atol=1 / 60 + 1e-9)

    def test_the_way_back_takes_both_means_off(self):
        """Domains far apart, each standardised by itself: without the means, every source row is of one class."""
        rng = np.random.default_rng(0)
        X = (rng.random((200, 5)) < 0.5).astype(float)
        y = X[:, 0].astype(int)
        moved = X + 3
        for Xs, Xt in ((X, moved), (moved, X)):
            assert sktransfer.return_accuracy_score(sparse.csr_array(Xs), y, sparse.csr_array(Xt), y) == 1.0
        labels = X[:, 0] + 2 * X[:, 1]
        assert sktransfer.return_accuracy_score(sparse.csr_array(X), labels, sparse.csr_array(moved), labels) == 1.0


@pytest.mark.parametrize(
    "name",
    [
        "ClassConfusionScorer",
        "DEVScorer",
        "ImportanceWeightedScorer",
        "MixValScorer",
        "NeighborhoodAgreementScorer",
        "PredictionEntropyScorer",
        "TransferEvidenceScorer",
        "labeled_scorer",
        "oracle_scorer",
    ],
)
def test_scorers(name, data):
    X, y, d = data
    model = AdaptedClassifier(LINEAR, MMDAdapter(3)).fit(X, y, sample_domain=d)
    scorer = getattr(sktransfer, name)()
    values = [scorer(model, rows, y, sample_domain=d) for rows in (X, sparse.csr_matrix(X))]
    assert_allclose(*values, atol=0.02)


class TestRefusals:
    @pytest.mark.filterwarnings("ignore:Coverage of:UserWarning")
    @pytest.mark.parametrize(
        ("estimator", "reason"),
        [
            (DomainStandardizer(), r"DomainStandardizer .*taking off means fills it; with_mean=False leaves them"),
            (DomainClassifierWeighter(GaussianNB()), "GaussianNB inside of it takes none"),
            (LabelShiftWeighter(GaussianNB()), "GaussianNB inside of it takes none"),
            (TrAdaBoostClassifier(GaussianNB()), "GaussianNB inside of it takes none"),
            (WeightedConformalClassifier(GaussianNB()), "GaussianNB inside of it takes none"),
            (AdaptedClassifier(GaussianNB(), KMMWeighter()), "GaussianNB inside of it takes none"),
            (AdaptedClassifier(adapter=DomainStandardizer()), "DomainStandardizer inside of it takes none"),
            (TransferSearchCV(backbone=None, strategies=["coral"], cv=2), "networks among its strategies compute with"),
            (DANNClassifier(None), "DANNClassifier cannot take a sparse matrix as X, because"),
        ],
        ids=name_of,
    )
    def test_advice(self, estimator, reason, data):
        X, y, d = data
        with pytest.raises(TypeError, match=rf"{reason}.*TruncatedSVD\(n_components=100\)") as error:
            estimator.fit(sparse.csr_array(X), y, sample_domain=d)
        assert type(estimator).__name__ in str(error.value)
        if not isinstance(estimator, DANNClassifier):
            make_pipeline(TruncatedSVD(4), estimator).fit(
                X, y, **{f"{type(estimator).__name__.lower()}__sample_domain": d}
            )

    @pytest.mark.parametrize("name", ["logme_score", "h_score", "parc_score"])
    def test_scores_of_features(self, name, data):
        with pytest.raises(TypeError, match=r"features is a sparse matrix.*TruncatedSVD\(n_components=100\)"):
            getattr(sktransfer, name)(sparse.csr_array(data[0]), data[1])

    def test_values_and_shapes(self, data):
        X, _, d = data
        holed = sparse.csr_array(X)
        holed.data[3] = np.nan
        with pytest.raises(ValueError, match="X contains NaN"):
            CORALAdapter().fit(holed, sample_domain=d)
        holed.data[3] = 1e200
        with pytest.raises(ValueError, match="X holds values up to 1e"):
            CORALAdapter().fit(holed, sample_domain=d)
        adapter = CORALAdapter().fit(sparse.csr_array(X), sample_domain=d)
        with pytest.raises(ValueError, match="features, but CORALAdapter is expecting"):
            adapter.transform(sparse.csr_array(X[:, 1:]))
        with pytest.raises(sktransfer.exceptions.DomainError, match="sample_domain has 109 rows, but X has 110"):
            CORALAdapter().fit(sparse.csr_array(X), sample_domain=d[1:])

    def test_a_pipeline_without_an_adapter(self, data):
        X, y, d = data
        with pytest.raises(ValueError, match="No step of the pipeline given as adapter knows domains"):
            AdaptedClassifier(LINEAR, make_pipeline(TruncatedSVD(4))).fit(X, y, sample_domain=d)


REVIEWS = ["good film", "bad film", "fine story, good cast", "dull story, bad cast"] * 5
GADGETS = ["good mixer", "bad mixer", "fine blade, good motor", "weak blade, bad motor"] * 5


class TestTexts:
    """From lists of texts to predictions."""

    def packed(self):
        X, y, d = pack_domains(source=(REVIEWS, [1, 0] * 10), target=GADGETS)
        return TfidfVectorizer().fit_transform(X), y, d

    @pytest.mark.parametrize("adapter", [CORALAdapter(), KMMWeighter(), FeatureAugmentationAdapter()], ids=name_of)
    def test_in_one_pipeline(self, adapter):
        X, y, d = pack_domains(source=(REVIEWS, [1, 0] * 10), target=GADGETS)
        model = make_pipeline(TfidfVectorizer(), AdaptedClassifier(LINEAR, adapter))
        model.fit(X, y, adaptedclassifier__sample_domain=d)
        assert model.score(GADGETS, [1, 0] * 10) == 1.0

    def test_rows_that_were_vectorised_are_packed(self):
        vectorizer = TfidfVectorizer().fit(REVIEWS + GADGETS)
        Xs, Xt = vectorizer.transform(REVIEWS), vectorizer.transform(GADGETS)
        X, y, d = pack_domains(source=(Xs, [1, 0] * 10), target=Xt)
        assert sparse.issparse(X)
        fitted = AdaptedClassifier(LINEAR, CORALAdapter()).fit(X, y, sample_domain=d)
        assert fitted.score(Xt, [1, 0] * 10) == 1.0

    def test_searches_and_missing_labels(self):
        X, y, d = self.packed()
        y = np.where(d == "target", -1, y)
        adapted = AdaptedClassifier(LINEAR, make_pipeline(TruncatedSVD(3, random_state=0), CORALAdapter()))
        search = GridSearchCV(adapted, {"adapter__coraladapter__reg": [0.1, 1.0]}, cv=2, error_score="raise")
        search.fit(X, y, sample_domain=d)
        assert search.best_estimator_.adapter_[-1].reg in (0.1, 1.0)
        scores = cross_validate(AdaptedClassifier(LINEAR, KMMWeighter()), X, y, cv=2, params={"sample_domain": d})
        assert np.isfinite(scores["test_score"]).all()

    def test_the_target_domain_of_a_step(self):
        X, y, d = self.packed()
        names = np.where(d == "target", "gadgets", "films")
        adapter = make_pipeline(TruncatedSVD(3, random_state=0), CORALAdapter(target_domain="gadgets"))
        model = AdaptedClassifier(LINEAR, adapter).fit(X, y, sample_domain=names)
        # Source rows are moved, target rows are not.
        Z = model.adapter_[0].transform(X)
        assert_allclose(model.transform(X), Z)
        moved = model.transform(X, sample_domain=names)
        assert_allclose(moved[names == "gadgets"], Z[names == "gadgets"])
        assert not np.allclose(moved[names == "films"], Z[names == "films"])

    def test_selected_rows_stay_sparse(self):
        X, y, d = self.packed()
        kept, labels = SourceSelector(4).fit_resample(X, y, sample_domain=d)
        assert sparse.issparse(kept)
        assert kept.shape[0] == len(labels) == 4
