import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import accuracy_score, make_scorer, max_error, r2_score
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.random_projection import GaussianRandomProjection

from sktransfer import (
    AdaptedClassifier,
    CORALAdapter,
    DEVScorer,
    DomainClassifierWeighter,
    ImportanceWeightedScorer,
    make_domain_shift,
)
from sktransfer.model_selection._weighted_scorers import control_variate_risk


@pytest.fixture(scope="module")
def data():
    return make_domain_shift(200, 150, noise=0.5, random_state=0)


@pytest.fixture(scope="module")
def model(data):
    X, y, names = data
    return LogisticRegression().fit(X[names == "source"], y[names == "source"])


def cubes(X):
    return X**3


def ratios(Z, names, max_weight=20.0):
    weighter = DomainClassifierWeighter(max_weight=max_weight, random_state=0).fit(Z, sample_domain=names)
    return weighter.weights_ * weighter.scale_


def test_risk_in_closed_form():
    rng = np.random.default_rng(0)
    w, losses = rng.exponential(size=50), rng.integers(0, 2, 50).astype(float)
    covariance = np.cov(w * losses, w)
    expected = np.mean(w * losses) - covariance[0, 1] / covariance[1, 1] * (np.mean(w) - 1)
    assert control_variate_risk(losses, w) == pytest.approx(expected)
    # Equal losses are known without error, whatever the weights.
    assert control_variate_risk(np.full(50, 0.3), w) == pytest.approx(0.3)
    assert control_variate_risk(losses, np.ones(50)) == pytest.approx(losses.mean())
    assert control_variate_risk(losses, np.full(50, 0.5)) == pytest.approx(losses.mean() / 2)


def test_control_variate_lowers_the_variance():
    rng = np.random.default_rng(0)
    plain, controlled = [], []
    for _ in range(300):
        x = rng.normal(size=60)
        w, losses = np.exp(0.7 * x - 0.245), (x > -0.5).astype(float)  # of N(0.7, 1) to N(0, 1)
        plain.append(np.mean(w * losses))
        controlled.append(control_variate_risk(losses, w))
    truth = 0.8849  # P(N(0.7, 1) > -0.5)
    assert np.mean(controlled) == pytest.approx(truth, abs=0.02)
    assert np.std(controlled) < 0.5 * np.std(plain)


def test_weighted_accuracy_by_hand(data, model):
    X, y, names = data
    w = ratios(X, names)
    hits = model.predict(X[names == "source"]) == y[names == "source"]
    expected = (w * hits).sum() / w.sum()
    assert expected != pytest.approx(hits.mean(), abs=0.005)
    assert ImportanceWeightedScorer()(model, X, y, sample_domain=names) == pytest.approx(expected)
    own = make_scorer(accuracy_score)
    assert ImportanceWeightedScorer(own)(model, X, y, sample_domain=names) == pytest.approx(expected)


def test_weights_find_the_error_of_the_target():
    # In the source the model errs where the target is.
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(0, 1, 800), rng.normal(1.5, 0.6, 800)])[:, np.newaxis]
    y = (x[:, 0] > 0).astype(int)
    y[x[:, 0] > 1] = 0
    names = np.repeat(["source", "target"], 800)
    model = LogisticRegression(C=1e6).fit([[-0.1], [0.1]], [0, 1])
    source, target = np.mean(model.predict(x[:800]) == y[:800]), np.mean(model.predict(x[800:]) == y[800:])
    weighted = ImportanceWeightedScorer()(model, x, y, sample_domain=names)
    dev = 1 + DEVScorer()(model, x, y, sample_domain=names)
    assert source > 0.8
    assert weighted == pytest.approx(target, abs=0.1)
    assert dev == pytest.approx(target, abs=0.1)


def test_without_a_shift_it_is_the_score_of_the_source():
    X, y, names = make_domain_shift(300, 300, shift="none", noise=0.5, random_state=0)
    model = LogisticRegression().fit(X, y)
    expected = model.score(X[:300], y[:300])
    assert ImportanceWeightedScorer()(model, X, y, sample_domain=names) == pytest.approx(expected, abs=0.01)
    assert 1 + DEVScorer()(model, X, y, sample_domain=names) == pytest.approx(expected, abs=0.01)


def test_source_rows_are_predicted_as_source_rows(data):
    X, y, names = data
    model = AdaptedClassifier(adapter=CORALAdapter()).fit(X, y, sample_domain=names)
    source = names == "source"
    hits = model.predict(X[source], sample_domain=names[source]) == y[source]
    w = ratios(X, names)
    expected = (w * hits).sum() / w.sum()
    assert ImportanceWeightedScorer()(model, X, y, sample_domain=names) == pytest.approx(expected)
    # DEV tells the domains apart in the space of the adapter.
    Z = model.transform(X, sample_domain=names)
    expected = -control_variate_risk((~hits).astype(float), ratios(Z, names))
    assert DEVScorer()(model, X, y, sample_domain=names) == pytest.approx(expected)


@pytest.mark.parametrize("loss", ["log", "squared", "zero_one"])
def test_losses(data, model, loss):
    X, y, names = data
    source = names == "source"
    p = model.predict_proba(X[source])[np.arange(200), y[source]]
    wrong = (model.predict(X[source]) != y[source]).astype(float)
    losses = {"log": -np.log(p), "squared": wrong, "zero_one": wrong}[loss]
    expected = -control_variate_risk(losses, ratios(X, names))
    assert DEVScorer(loss)(model, X, y, sample_domain=names) == pytest.approx(expected)


def test_a_class_the_model_has_never_seen_costs_a_finite_log_loss(data, model):
    X, y, names = data
    unseen = y.copy()
    unseen[np.flatnonzero(names == "source")[0]] = 5
    assert np.isfinite(DEVScorer("log")(model, X, unseen, sample_domain=names))


def test_regression():
    X, y, names = make_domain_shift(100, 100, n_classes=None, random_state=0)
    model = Ridge().fit(X[:100], y[:100])
    w, predicted = ratios(X, names), model.predict(X[:100])
    masked = np.where(names == "target", np.nan, y)
    expected = r2_score(y[:100], predicted, sample_weight=w)
    assert ImportanceWeightedScorer("r2")(model, X, masked) == pytest.approx(expected)
    expected = -control_variate_risk((predicted - y[:100]) ** 2, w)
    assert DEVScorer()(model, X, masked) == pytest.approx(expected)


@pytest.mark.parametrize("cls", [ImportanceWeightedScorer, DEVScorer])
def test_features(data, model, cls):
    X, y, names = data

    def score(features, rows=X):
        return cls(features=features)(model, rows, y, sample_domain=names)

    expected = score(FunctionTransformer(cubes))
    assert score(cubes) == pytest.approx(expected)
    weights = ratios(cubes(X), names)
    hits = model.predict(X[names == "source"]) == y[names == "source"]
    by_hand = (weights * hits).sum() / weights.sum()
    assert expected == pytest.approx(
        by_hand if cls is ImportanceWeightedScorer else -control_variate_risk(1.0 - hits, weights)
    )
    # A transformer that is not fitted is cloned, and fitted to the rows of the call.
    pca = PCA(1, random_state=0)
    assert score(pca) == pytest.approx(score(lambda rows: PCA(1).fit_transform(rows)))
    assert not hasattr(pca, "components_")
    assert score(GaussianRandomProjection(1)) == score(GaussianRandomProjection(1))  # without a seed of its own
    fitted = PCA(1).fit(X * [[1, 100]])
    assert score(fitted) == pytest.approx(score(fitted.transform))
    assert score(fitted) != pytest.approx(score(pca), abs=1e-6)


def test_representation_of_a_pipeline_and_of_a_search(data):
    X, y, names = data
    source = names == "source"
    steps = make_pipeline(StandardScaler(), FunctionTransformer(cubes), LogisticRegression())
    steps.fit(X[source], y[source])
    expected = DEVScorer(features=steps[:-1].transform)(steps, X, y, sample_domain=names)
    assert DEVScorer()(steps, X, y, sample_domain=names) == pytest.approx(expected)
    assert expected != pytest.approx(DEVScorer(features=lambda rows: rows)(steps, X, y, sample_domain=names), abs=1e-6)
    search = GridSearchCV(steps, {}, cv=2).fit(X[source], y[source])
    assert DEVScorer()(search, X, y, sample_domain=names) == pytest.approx(expected)


def test_large_weights_are_cut(data, model):
    X, y, names = data
    assert ratios(X, names, None).max() > 1.5
    cut = ImportanceWeightedScorer(max_weight=0.001)(model, X, y, sample_domain=names)
    # All ratios but the tiniest are equal then.
    w = np.minimum(ratios(X, names, None), 0.001)
    hits = model.predict(X[names == "source"]) == y[names == "source"]
    assert cut == pytest.approx((w * hits).sum() / w.sum())


class Constant(ClassifierMixin, BaseEstimator):
    """Predicts one class for whatever comes."""

    def fit(self, X, y):
        self.classes_ = np.array([0, 1])
        return self

    def predict(self, X):
        return np.zeros(len(X), dtype=int)


@pytest.mark.parametrize(
    "rows",
    [
        ["a.png", "b.png", "c.png", "d.png"],
        np.array(["a.png", "b.png", "c.png", "d.png"]),
        np.zeros((4, 8, 8), dtype=np.uint8),
        [np.zeros((8, 8)) for _ in range(4)],
        [["a.png"], ["b.png"], ["c.png"], ["d.png"]],
    ],
    ids=["list", "array", "pictures", "list of pictures", "column"],
)
@pytest.mark.parametrize("cls", [ImportanceWeightedScorer, DEVScorer])
def test_rows_that_are_no_table(rows, cls):
    names, y = ["source", "source", "target", "target"], [0, 1, 0, 1]
    with pytest.raises(ValueError, match=rf"{cls.__name__} needs rows of numbers.*PretrainedFeatureExtractor"):
        cls()(Constant().fit(rows, y), rows, y, sample_domain=names)
    scorer = cls(features=lambda rows: np.arange(len(rows), dtype=float)[:, np.newaxis])
    assert np.isfinite(scorer(Constant().fit(rows, y), rows, y, sample_domain=names))
    with pytest.raises(ValueError, match="features must give a table of numbers"):
        cls(features=lambda rows: rows)(Constant().fit(rows, y), rows, y, sample_domain=names)


def test_errors(data, model):
    X, y, names = data
    with pytest.raises(ValueError, match="'acuracy' is not a valid scoring value"):
        ImportanceWeightedScorer("acuracy")(model, X, y, sample_domain=names)
    with pytest.raises(ValueError, match="takes no sample_weight, by which source rows are weighted"):
        ImportanceWeightedScorer(make_scorer(max_error))(model, X, y, sample_domain=names)
    with pytest.raises(ValueError, match="'loss' parameter of DEVScorer must be"):
        DEVScorer("hinge")(model, X, y, sample_domain=names)
    with pytest.raises(ValueError, match="'max_weight' parameter of DEVScorer must be"):
        DEVScorer(max_weight=0)(model, X, y, sample_domain=names)
    with pytest.raises(ValueError, match="X contains NaN"):
        ImportanceWeightedScorer()(model, np.full_like(X, np.nan), y, sample_domain=names)

    def broken(estimator, X, y, sample_weight):
        raise TypeError("something else")

    with pytest.raises(TypeError, match="something else"):
        ImportanceWeightedScorer(broken)(model, X, y, sample_domain=names)
