import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import r2_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sktransfer import (
    AdaptedClassifier,
    AdaptedRegressor,
    CircularValidationScorer,
    CORALAdapter,
    MixValScorer,
    MMDAdapter,
    make_domain_shift,
)
from sktransfer.model_selection._validation_scorers import _partners


@pytest.fixture(scope="module")
def data():
    return make_domain_shift(100, 80, shift="subspace", n_features=5, random_state=0)


def labels_of(y, kept):
    return np.where(kept, y, -1)


def test_way_back_of_an_adapter_by_hand(data):
    X, y, names = data
    source = names == "source"
    model = AdaptedClassifier(adapter=MMDAdapter(n_components=2)).fit(X, y, sample_domain=names)
    back = AdaptedClassifier(adapter=MMDAdapter(n_components=2))
    labels = np.where(source, -1, 0)
    labels[~source] = model.predict(X[~source])
    back.fit(X, labels)
    expected = np.mean(back.predict(X[source]) == y[source])
    assert CircularValidationScorer()(model, X, y, sample_domain=names) == expected > 0.9
    # Nor do labels of source rows reach the way back of a model that reads labels of its target.
    reading = AdaptedClassifier(adapter=MMDAdapter(n_components=2), use_target_labels=True).fit(X, labels_of(y, source))
    assert CircularValidationScorer()(reading, X, y, sample_domain=names) == expected
    # Several sources become one target.
    three = np.where(np.arange(180) < 40, "other source", names)
    assert CircularValidationScorer()(model, X, y, sample_domain=three) == expected


@pytest.mark.parametrize("target", ["target", "source", "clinic", 3])
def test_way_back_under_other_names(data, target):
    X, y, names = data
    expected_model = AdaptedClassifier(adapter=CORALAdapter()).fit(X, y, sample_domain=names)
    expected = CircularValidationScorer()(expected_model, X, y, sample_domain=names)
    renamed = [target if name == "target" else "elsewhere" for name in names]
    model = AdaptedClassifier(adapter=CORALAdapter(target_domain=target)).fit(X, y, sample_domain=renamed)
    assert CircularValidationScorer(target_domain=target)(model, X, y, sample_domain=renamed) == expected


def test_way_back_of_a_classifier_without_domains():
    X, y, names = make_domain_shift(100, 80, random_state=0)
    source = names == "source"
    words = np.array(["ant", "bee"])[y]
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(X[source], words[source])
    predicted = model.predict(X[~source])
    back = make_pipeline(StandardScaler(), LogisticRegression()).fit(X[~source], predicted)
    expected = back.score(X[source], words[source])
    assert 0.5 < expected < 1
    assert CircularValidationScorer()(model, X, words, sample_domain=names) == expected
    assert CircularValidationScorer("f1_macro")(model, X, words, sample_domain=names) != expected


def test_minus_one_may_be_a_class(data):
    X, y, names = data
    signs = np.where(y == 1, 1, -1)
    scores = [
        CircularValidationScorer()(
            AdaptedClassifier(adapter=MMDAdapter(n_components=2)).fit(X, labels, sample_domain=names),
            X,
            labels,
            sample_domain=names,
        )
        for labels in (y, signs)
    ]
    assert scores[0] == scores[1]


def test_one_predicted_class_is_scored_not_fitted(data):
    X, y, names = data
    source = names == "source"
    rare = np.where(np.arange(180) % 10 == 0, y, 1)
    for labels, scoring, expected in (
        (rare, "accuracy", np.mean(rare[source] == 1)),
        (rare, "balanced_accuracy", 0.5),
        (y, "roc_auc", 0.5),
    ):
        model = DummyClassifier(strategy="constant", constant=1).fit(X, labels)
        assert CircularValidationScorer(scoring)(model, X, labels, sample_domain=names) == pytest.approx(expected)
    # The class predicted need not be among the labels of this fold.
    strange = DummyClassifier(strategy="constant", constant=7).fit(X, np.append(y[:-1], 7))
    assert CircularValidationScorer()(strange, X, np.append(y[:-1], 7), sample_domain=names) == 0.0


def test_way_back_of_numbers():
    X, y, names = make_domain_shift(80, 80, n_classes=None, random_state=0)
    source = names == "source"
    model = AdaptedRegressor(Ridge(), CORALAdapter()).fit(X, y, sample_domain=names)
    labels = np.where(source, np.nan, 0.0)
    labels[~source] = model.predict(X[~source])
    back = AdaptedRegressor(Ridge(), CORALAdapter()).fit(X, labels)
    expected = r2_score(y[source], back.predict(X[source]))
    assert CircularValidationScorer("r2")(model, X, y, sample_domain=names) == pytest.approx(expected)


class HalfPlane(ClassifierMixin, BaseEstimator):
    """Class 0 below zero, class 1 from zero, class 2 from ten; of the first column of tables, the mean of pictures."""

    def fit(self, X, y):
        self.classes_ = np.array([0, 1, 2])
        return self

    def predict(self, X):
        self.seen_ = X
        if sparse.issparse(X):
            X = X.toarray()
        values = np.asarray(X, dtype=float).reshape(len(X), -1)[:, 0]
        return (values >= 0).astype(int) + (values >= 10)


def test_partners():
    rng = np.random.RandomState(0)
    codes = rng.randint(4, size=200)
    within, between = _partners(codes, rng)
    assert (codes[within] == codes).all()
    assert (within != np.arange(200)).all()
    assert sorted(within) == list(range(200))
    assert (codes[between] != codes).all()
    # Rows of all other classes are drawn, as often as there are such rows.
    drawn = np.zeros((4, 4))
    for seed in range(50):
        np.add.at(drawn, (codes, codes[_partners(codes, np.random.RandomState(seed))[1]]), 1)
    counts = np.bincount(codes)
    for c in range(4):
        expected = np.where(np.arange(4) == c, 0, counts) / (200 - counts[c])
        np.testing.assert_allclose(drawn[c] / drawn[c].sum(), expected, atol=0.03)


def test_partners_that_are_not_there():
    within, between = _partners(np.array([0, 1, 1]), np.random.RandomState(0))
    assert within.tolist() == [-1, 2, 1]
    assert between.tolist()[1:] == [0, 0]
    assert between[0] in (1, 2)
    assert _partners(np.zeros(3, dtype=int), np.random.RandomState(0))[1].tolist() == [-1, -1, -1]


def test_mixtures_in_closed_form():
    # Within a class of an interval nothing changes; between -9 and 1 the mixtures are -4.5 and -3.5.
    X = np.array([[-9.0], [-9.0], [-9.0], [1.0], [1.0], [5.0]])
    model, names = HalfPlane().fit(None, None), ["target"] * 5 + ["source"]
    assert MixValScorer()(model, X, sample_domain=names) == pytest.approx((1 + 3 / 5) / 2)
    # 0.95 * 1 - 0.05 * 9 = 0.5: like the larger part.
    assert MixValScorer(mix=0.95)(model, X, sample_domain=names) == 1.0


def test_mixtures_by_hand(data):
    X, y, names = data
    target = names == "target"
    model = AdaptedClassifier(adapter=MMDAdapter(n_components=2)).fit(X, y, sample_domain=names)
    rows, predicted = X[target], model.predict(X[target])
    shares = []
    for partner in _partners(predicted, np.random.RandomState(3)):
        mixed = np.array([0.55 * rows[i] + 0.45 * rows[j] for i, j in enumerate(partner)])
        shares.append(np.mean(model.predict(mixed) == predicted))
    found = MixValScorer(random_state=3)(model, X, sample_domain=names)
    assert found == pytest.approx(np.mean(shares))
    constant = DummyClassifier(strategy="constant", constant=1).fit(X, y)
    assert MixValScorer()(constant, X, sample_domain=names) == 0.5 < found


def test_no_pairs_within():
    X, names = np.array([[-1.0], [2.0], [0.0]]), ["target", "target", "source"]
    # 0.55 * -1 + 0.45 * 2 = 0.35 is of class 1, 0.55 * 2 - 0.45 too.
    assert MixValScorer()(HalfPlane().fit(None, None), X, sample_domain=names) == 0.5


def test_pictures_stay_pictures():
    X = np.random.default_rng(0).integers(0, 256, size=(6, 4, 4), dtype=np.uint8)
    model = HalfPlane().fit(None, None)
    MixValScorer()(model, X, sample_domain=["target"] * 6)
    assert model.seen_.dtype == np.uint8
    assert model.seen_.shape == (6, 4, 4)
    MixValScorer()(model, X.astype(np.float32), sample_domain=["target"] * 6)
    assert model.seen_.dtype == np.float32


def test_containers():
    X = np.random.default_rng(0).normal(size=(30, 2))
    model, names = HalfPlane().fit(None, None), ["target"] * 30
    expected = MixValScorer()(model, X, sample_domain=names)
    assert 0.5 < expected < 1
    assert MixValScorer()(model, X.tolist(), sample_domain=names) == expected
    assert MixValScorer()(model, pd.DataFrame(X, columns=["u", "v"]), sample_domain=names) == expected
    assert list(model.seen_.columns) == ["u", "v"]


def test_sparse_rows():
    X, y, names = make_domain_shift(40, 40, random_state=0)
    model = LogisticRegression().fit(X, y)
    dense = MixValScorer()(model, X, sample_domain=names)
    assert MixValScorer()(model, sparse.csr_array(X), sample_domain=names) == pytest.approx(dense)


@pytest.mark.parametrize(
    "rows",
    [["a.png", "b.png"], np.array(["a.png", "b.png"]), [b"\x89PNG", b"\x89PNG"], pd.DataFrame({"path": ["a", "b"]})],
    ids=["list", "array", "bytes", "frame"],
)
def test_rows_that_cannot_be_mixed(rows):
    with pytest.raises(ValueError, match=r"MixValScorer mixes rows by arithmetic.*Pass pictures as one array"):
        MixValScorer()(HalfPlane().fit(None, None), rows, sample_domain=["target", "target"])


def test_parameters(data):
    X, y, names = data
    model = LogisticRegression().fit(X, y)
    for mix in (0.5, 1.0, 0.2):
        with pytest.raises(ValueError, match="'mix' parameter of MixValScorer must be"):
            MixValScorer(mix=mix)(model, X, sample_domain=names)
    with pytest.raises(ValueError, match="not a valid scoring value"):
        CircularValidationScorer("acuracy")(model, X, y, sample_domain=names)
    with pytest.raises(ValueError, match="'scoring' parameter of CircularValidationScorer must be"):
        CircularValidationScorer(None)(model, X, y, sample_domain=names)
