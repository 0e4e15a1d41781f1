"""Which words carry a decision: sums that are known, words that are known, and what is drawn."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from common_texts import BAD, GOOD, reviews, write_encoder, write_static
from numpy.testing import assert_allclose
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sktransfer import FineTunedClassifier, PretrainedFeatureExtractor, TextBackbone, TokenSaliencyDisplay, grad_cam

X, Y = reviews(60)


@pytest.fixture(autouse=True)
def _closed():
    yield
    plt.close("all")


def test_words_of_a_sum_add_up(tmp_path):
    folder = write_static(tmp_path / "static", normalize=False)
    pipe = make_pipeline(PretrainedFeatureExtractor(f"text:{folder}"), Ridge()).fit(X, Y)
    display = TokenSaliencyDisplay.from_estimator(pipe, X[:5])
    sums = [scores.sum() for scores in display.scores]
    assert_allclose(sums, pipe.predict(X[:5]) - pipe[-1].intercept_, atol=1e-5)
    assert [" ".join(words) for words in display.words] == X[:5]
    table = pipe[0].backbone_.module.embedding.weight.numpy()
    tokens = pipe[0].backbone_.modality._windows(X[0])[0]
    assert_allclose(display.scores[0], table[tokens] @ pipe[-1].coef_ / len(tokens), atol=1e-6)


def test_words_of_rows_of_length_1_add_up_too(tmp_path):
    folder = write_static(tmp_path / "static", normalize=True)
    pipe = make_pipeline(PretrainedFeatureExtractor(f"text:{folder}"), Ridge()).fit(X, Y)
    texts = [*X[:4], X[0].split()[0]]
    assert_allclose(np.linalg.norm(pipe[0].transform(texts), axis=1), 1, rtol=1e-5)
    display = TokenSaliencyDisplay.from_estimator(pipe, texts)
    sums = [scores.sum() for scores in display.scores]
    assert_allclose(sums, pipe.predict(texts) - pipe[-1].intercept_, atol=1e-5)
    assert len(display.scores[-1]) == 1 and abs(display.scores[-1][0]) > 1e-3


@pytest.mark.parametrize("kind", ["pipeline", "head", "tuned", "chunk"])
def test_words_that_decide(tmp_path, kind):
    folder = write_encoder(tmp_path / "model")
    backbone = TextBackbone(folder, long_texts="chunk" if kind == "chunk" else "truncate")
    if kind in ("pipeline", "chunk"):
        model = make_pipeline(PretrainedFeatureExtractor(backbone), StandardScaler(), LogisticRegression())
    else:
        trainable = "head" if kind == "head" else 1
        model = FineTunedClassifier(backbone, trainable=trainable, lr=0.01, max_epochs=15, random_state=0)
    model.fit(X, Y)
    display = TokenSaliencyDisplay.from_estimator(model, X, target=1)
    by_word = {}
    for words, scores in zip(display.words, display.scores, strict=True):
        for word, score in zip(words, scores, strict=True):
            by_word.setdefault(word, []).append(score)
    good, bad = (np.mean([np.mean(by_word[word]) for word in words if word in by_word]) for words in (GOOD, BAD))
    assert good > bad


def test_tokens_of_a_word_are_one(tmp_path):
    folder = write_encoder(tmp_path / "model", prompts={"query": "this is "})
    model = FineTunedClassifier(TextBackbone(folder, prompt="query"), max_epochs=1, random_state=0).fit(X, Y)
    display = TokenSaliencyDisplay.from_estimator(model, ["Good kettle!"])
    assert display.words == [["Good", "kettle", "!"]]


def test_what_is_drawn(tmp_path):
    model = FineTunedClassifier(f"text:{write_static(tmp_path / 's')}", max_epochs=3, random_state=0)
    model.fit(X, np.where(Y, "<good>", "bad"))
    display = TokenSaliencyDisplay.from_estimator(model, [*X[:2], " ".join(X[:8])], target=["<good>", "bad", "bad"])
    assert [axis.get_title(loc="left") for axis in display.axes_] == ["for <good>", "for bad", "for bad"]
    drawn = [text.get_text() for text in display.axes_[0].texts]
    assert drawn == X[0].split()
    rows = {text.get_position()[1] for text in display.axes_[2].texts}
    assert len(rows) > 1  # lines
    page = display.to_html()
    assert page == display._repr_html_()
    assert page.count("<span") == sum(map(len, display.words))
    assert "&lt;good&gt;" in page
    _, axis = plt.subplots()
    assert TokenSaliencyDisplay.from_estimator(model, X[:1], ax=axis).figure_ is axis.figure
    with pytest.raises(ValueError, match="1 axes for 2 texts"):
        TokenSaliencyDisplay.from_estimator(model, X[:2], ax=axis)


def test_what_is_refused(tmp_path):
    model = FineTunedClassifier(f"text:{write_static(tmp_path / 's')}", max_epochs=1, random_state=0).fit(X, Y)
    with pytest.raises(ValueError, match="target=7 is none of the classes"):
        TokenSaliencyDisplay.from_estimator(model, X[:1], target=7)
    with pytest.raises(
        TypeError, match="fitted to a text, and grad_cam explains what has places: take TokenSaliencyDisplay"
    ):
        grad_cam(model, X[:1])
    pictures, digits = load_digits(return_X_y=True)
    other = FineTunedClassifier("sktransfer_mini", max_epochs=1, random_state=0).fit(pictures[:20], digits[:20])
    with pytest.raises(TypeError, match="was fitted to a picture, and TokenSaliencyDisplay explains texts"):
        TokenSaliencyDisplay.from_estimator(other, pictures[:1])
