import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler

from sktransfer import (
    AdaptedClassifier,
    DomainStandardizer,
    MMDAdapter,
    NeighborhoodAgreementScorer,
    PretrainedFeatureExtractor,
    TransferEvidenceScorer,
    make_domain_shift,
    make_image_domains,
    neighborhood_agreement_score,
    return_accuracy_score,
)


@pytest.fixture
def data():
    return make_domain_shift(100, 80, shift="subspace", n_features=5, random_state=0)


def test_is_the_score_of_the_target_rows(data):
    X, y, names = data
    target = names == "target"
    model = AdaptedClassifier(LogisticRegression(), MMDAdapter(2)).fit(X, y, sample_domain=names)
    score = NeighborhoodAgreementScorer(n_neighbors=3)(model, X, y, sample_domain=names)
    assert score == neighborhood_agreement_score(X[target], model.predict(X[target]), n_neighbors=3)
    scaled = StandardScaler().fit_transform(X[target])
    expected = neighborhood_agreement_score(scaled, model.predict(X[target]))
    for features in (StandardScaler(), StandardScaler().fit(X[target]), lambda rows: scaled):
        scorer = NeighborhoodAgreementScorer(features=features)
        assert scorer(model, X, y, sample_domain=names) == pytest.approx(expected)


def test_evidence_is_the_sum_of_both_parts(data):
    X, y, names = data
    source, target = names == "source", names == "target"
    model = AdaptedClassifier(LogisticRegression(), MMDAdapter(2)).fit(X, y, sample_domain=names)
    predicted = model.predict(X[target])
    agreement = neighborhood_agreement_score(X[target], predicted)
    back = return_accuracy_score(X[source], y[source], X[target], predicted)
    for weight in (0.0, 0.5, 2.0):
        score = TransferEvidenceScorer(weight=weight)(model, X, y, sample_domain=names)
        assert score == pytest.approx(agreement + weight * back)


def test_tells_the_adapted_model_from_the_other(data):
    X, y, names = data
    same = DomainStandardizer(with_mean=False, with_std=False)
    models = [AdaptedClassifier(LogisticRegression(), adapter) for adapter in (same, MMDAdapter(2))]
    scores = [NeighborhoodAgreementScorer()(m.fit(X, y, sample_domain=names), X, sample_domain=names) for m in models]
    assert scores[1] > scores[0] + 0.3


def test_pictures_through_their_features():
    X, y, names = make_image_domains(20, 20, random_state=0)
    extractor = PretrainedFeatureExtractor("sktransfer_mini")
    Z = extractor.fit_transform(X)
    model = AdaptedClassifier(KNeighborsClassifier(), MMDAdapter(5)).fit(Z, y, sample_domain=names)

    class Model:
        def predict(self, pictures):
            return model.predict(extractor.transform(pictures))

    assert NeighborhoodAgreementScorer(features=extractor)(Model(), X, sample_domain=names) == pytest.approx(
        NeighborhoodAgreementScorer()(model, Z, sample_domain=names)
    )
    with pytest.raises(ValueError, match="NeighborhoodAgreementScorer needs rows of numbers to find neighbours"):
        NeighborhoodAgreementScorer()(Model(), X, sample_domain=names)


def test_parameters():
    with pytest.raises(ValueError, match="'n_neighbors' parameter of NeighborhoodAgreementScorer"):
        NeighborhoodAgreementScorer(n_neighbors=0)(None, np.eye(3), sample_domain=["source", "target", "target"])
