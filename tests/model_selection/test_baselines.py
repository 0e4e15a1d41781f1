"""What is known of X without any other data, against the libraries that it is made of."""

import numpy as np
import pandas as pd
import pytest
from common_texts import reviews, write_encoder
from numpy.testing import assert_allclose
from scipy.fft import dct
from sklearn.feature_extraction.text import TfidfVectorizer

from sktransfer import AudioBackbone, TransferSearchCV
from sktransfer.modalities import LogMel
from sktransfer.model_selection._baselines import SoundStatistics, WordWeights

X, Y = reviews(40)


@pytest.mark.parametrize("wrap", [list, pd.Series, lambda X: pd.DataFrame({"text": X})])
def test_words_are_those_of_scikit_learn(wrap):
    weights = WordWeights().fit(wrap(X[:30]))
    expected = TfidfVectorizer(sublinear_tf=True).fit(X[:30]).transform(X[30:])
    assert_allclose(weights.transform(wrap(X[30:])).toarray(), expected.toarray())


def test_statistics_of_a_sound():
    rng = np.random.default_rng(0)
    sounds = [0.1 * rng.normal(size=16000 + 240), 0.1 * rng.normal(size=40000)]
    statistics = SoundStatistics(AudioBackbone("resnet18", weights=None)).fit(sounds)
    found = statistics.transform(sounds)
    assert found.shape == (2, 40)
    assert_allclose(statistics.transform(sounds[::-1]), found[::-1])
    frames = dct(LogMel()(sounds[0]), norm="ortho")[:100, :20]
    assert_allclose(found[0, :20], frames.mean(0), atol=1e-4)
    assert_allclose(found[0, 20:], frames.std(0), atol=1e-4)


def test_a_search_over_texts(tmp_path):
    folder = write_encoder(tmp_path / "model")
    search = TransferSearchCV(
        f"text:{folder}", strategies=["frozen_linear", "head", "last_stages"], max_epochs=2, cv=2, random_state=0
    )
    search.fit(X, Y)
    names = list(search.cv_results_["strategy"])
    assert names[0] == "no_transfer"
    assert set(names) == {"no_transfer", "frozen_linear", "head", "last_stages"}
    assert search.score(X, Y) > 0.6
    with pytest.raises(ValueError, match="from_scratch"):
        TransferSearchCV(f"text:{folder}", strategies=["from_scratch"]).fit(X, Y)


def test_a_search_over_recordings():
    rng = np.random.default_rng(0)
    labels = np.arange(24) % 2
    time = np.arange(16000) / 16000
    tones = [np.sin(2 * np.pi * (400 + 900 * k + 50 * rng.uniform()) * time) for k in labels]
    backbone = AudioBackbone("resnet18", weights=None, clip_seconds=0.64)
    search = TransferSearchCV(backbone, strategies=["frozen_linear", "frozen_time"], cv=2, random_state=0)
    search.fit(tones, labels)
    assert list(search.cv_results_["strategy"]) == ["no_transfer", "frozen_linear", "frozen_time"]
    assert search.score(tones, labels) == 1
