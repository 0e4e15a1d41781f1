import numpy as np
import pytest
from numpy.testing import assert_array_equal

from sktransfer.few_labels._similar_texts import equal_pairs, plain_text, similar_texts

WORDS = [f"word{number}" for number in range(400)]


def test_plain_text():
    assert plain_text("  Don\u2019t  STOP, \uff22ob!\n") == "don t stop bob"


def test_equal_pairs():
    pairs, similarity = equal_pairs(["a", "b", "a", "c", "b", "a"])
    assert_array_equal(sorted(pairs.tolist()), [[0, 2], [0, 5], [1, 4], [2, 5]])
    assert (similarity == 1).all()
    assert equal_pairs(["a", "b"])[0].shape == (0, 2)


def test_cosine_by_hand():
    """Of six words, four sequences; the last word changed leaves three of them."""
    pairs, similarity = similar_texts(["a b c d e f", "A b, c d e g", "h i j k l m"], 0.5)
    assert_array_equal(pairs, [[0, 1]])
    assert similarity == pytest.approx([0.75])
    assert len(similar_texts(["a b c d e f", "a b c d e g"], 0.8)[0]) == 0


def test_all_planted_are_found_and_no_others():
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(WORDS, 30)) for _ in range(200)]
    changed = ["; ".join(word.upper() if rng.random() < 0.5 else word for word in text.split()) for text in texts[:100]]
    replaced = [" ".join(["other", *text.split()[1:]]) for text in texts[100:150]]
    pairs, similarity = similar_texts([*texts, *changed, *replaced], 0.7)
    assert sorted(pairs.tolist()) == [[row, 200 + row] for row in range(150)]
    assert (np.sort(similarity)[50:] == 1).all()


def test_copies_of_both_are_all_pairs():
    pairs, similarity = similar_texts(["a b c d e f g", "a b c d e f h", "A B C D E F G"], 0.7)
    assert_array_equal(sorted(pairs.tolist()), [[0, 1], [0, 2], [1, 2]])
    assert sorted(similarity.tolist()) == pytest.approx([0.8, 0.8, 1.0])


def test_figures_of_speech_make_no_twins():
    texts = [f"as a matter of fact {number} {number + 1000}" for number in range(120)]
    assert len(similar_texts(texts, 0.3)[0]) == 0


def test_texts_of_one_word_and_none():
    assert_array_equal(similar_texts(["yes", "Yes!", "no", "..."], 0.7)[0], [[0, 1]])
    assert len(similar_texts(["one and the same"] * 3, 0.7)[0]) == 3
