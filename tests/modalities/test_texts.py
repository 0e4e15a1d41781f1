"""Texts as X: what is accepted, what is refused and how, and what becomes of single bad rows."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from common_texts import LENGTH, WORDS, tokenizer
from numpy.testing import assert_array_equal
from sklearn.base import BaseEstimator

from sktransfer.exceptions import InvalidTextError
from sktransfer.modalities import LazyItems, Texts, open_texts
from sktransfer.utils._batch import n_rows_of

GIVEN = ["good kettle", "a bad book", "the film is fine"]


class Lazy:
    def __init__(self, texts):
        self.texts = texts

    def __len__(self):
        return len(self.texts)

    def __getitem__(self, row):
        return self.texts[row]


def texts(**options):
    return Texts(tokenizer().to_str(), max_length=LENGTH, special_tokens=False, **options)


def opened(X, reset=True):
    return open_texts(BaseEstimator(), X, reset=reset)


@pytest.mark.parametrize(
    "X",
    [
        GIVEN,
        tuple(GIVEN),
        np.array(GIVEN),
        np.array(GIVEN, dtype=object),
        np.array(GIVEN, dtype=object)[:, None],
        [[text] for text in GIVEN],
        pd.Series(GIVEN, index=[7, 3, 5]),
        pd.Series(GIVEN, dtype="string"),
        pd.Series(GIVEN, dtype="category"),
        pd.DataFrame({"text": GIVEN}),
        pl.Series(GIVEN),
        pl.DataFrame({"text": GIVEN}),
        Lazy(GIVEN),
        Lazy([(text, 1) for text in GIVEN]),
    ],
    ids=lambda X: type(X).__name__,
)
def test_containers(X):
    samples = opened(X)
    assert [samples.read(i) for i in range(3)] == GIVEN
    assert samples.digest(1) == opened(GIVEN).digest(1) != samples.digest(0)
    assert samples.take([2]).read(0) == GIVEN[2]


@pytest.mark.parametrize(
    ("X", "error", "message"),
    [
        ("good kettle", TypeError, r"X is a single text \('good kettle'\).*pass \[X\]"),
        (b"good kettle", TypeError, "X is a bytes, which is no collection of texts"),
        ({"a": "good"}, TypeError, "X is a dict"),
        ((text for text in GIVEN), TypeError, r"X is a generator.*pass list\(X\)"),
        ([], ValueError, r"0 sample\(s\)"),
        (np.zeros((3, 4)), ValueError, r"shape \(3, 4\): expected one column of texts"),
        (np.zeros(3), TypeError, "X is a ndarray of numbers, and the network reads texts"),
        (pd.DataFrame({"a": GIVEN, "b": GIVEN}), ValueError, r"X\[\['text'\]\]"),
    ],
)
def test_what_is_no_collection_of_texts(X, error, message):
    with pytest.raises(error, match=message):
        opened(X)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (None, r"Row 1 of X cannot be read as a text: it is missing \(None or NaN\)"),
        (np.nan, "Row 1 .*missing"),
        (pd.NA, "Row 1 .*missing"),
        ("", "Row 1 .*it is empty"),
        (" \n\t", "Row 1 .*it is empty"),
        (b"good", r"Row 1 .*bytes: decode them first"),
        (3, r"Row 1 .*it is a number, 3, and no text"),
        (["good", "bad"], r"Row 1 .*it is a list"),
    ],
)
def test_single_bad_rows(entry, message):
    samples = opened([GIVEN[0], entry, GIVEN[2]])
    for ask in (samples.read, samples.digest):
        with pytest.raises(InvalidTextError, match=message):
            ask(1)
    assert samples.read(2) == GIVEN[2]


def test_columns_are_learned():
    estimator = BaseEstimator()
    open_texts(estimator, pd.DataFrame({"text": GIVEN}), reset=True)
    assert_array_equal(estimator.feature_names_in_, ["text"])
    with pytest.raises(ValueError, match="feature names should match"):
        open_texts(estimator, pd.DataFrame({"other": GIVEN}), reset=False)
    open_texts(estimator, GIVEN, reset=True)
    assert not hasattr(estimator, "feature_names_in_")


def test_tokens_and_batches():
    kind = texts()
    samples = opened([*GIVEN, "good"])
    assert_array_equal(kind.prepare(samples, 0), [WORDS.index("good"), WORDS.index("kettle")])
    batch = kind.collate([kind.prepare(samples, i) for i in range(4)])
    assert batch["input_ids"].shape == batch["attention_mask"].shape == (4, 4)
    assert_array_equal(batch["attention_mask"].sum(1), [2, 3, 4, 1])
    assert n_rows_of(kind.example(3)) == 3
    assert_array_equal(kind.example(2, seed=1)["input_ids"], kind.example(2, seed=1)["input_ids"])


def test_texts_of_like_length_pass_together():
    lengths = np.random.default_rng(0).integers(1, LENGTH, 60)
    samples = opened(["good " * n for n in lengths])
    kind = texts(batch_tokens=20)
    groups = kind.batches(samples, range(60), 4)
    assert_array_equal(np.sort(np.concatenate(groups)), np.arange(60))
    for group in groups:
        assert len(group) * lengths[group].max() <= 20
        assert lengths[group].min() >= 0.9 * lengths[group].max()


def test_a_text_is_cut_into_tokens_once(monkeypatch):
    kind, seen = texts(), []
    windows = Texts._windows
    monkeypatch.setattr(Texts, "_windows", lambda self, text: seen.append(text) or windows(self, text))
    samples = opened(GIVEN)
    for group in kind.batches(samples, range(3), 4):
        for i in group:
            kind.prepare(samples, i)
    assert sorted(seen) == sorted(GIVEN)
    assert not samples.reader.tokens


def test_windows_are_parts():
    kind = texts(long_texts="chunk")
    samples = opened(["good " * 30, None, "bad"])
    parts = kind.parts(samples)
    assert_array_equal(parts.owner, [0, 0, 0, 1, 2])
    assert [len(kind.prepare(parts.samples, i)) for i in (0, 1, 2, 4)] == [12, 12, 6, 1]
    for ask in (parts.samples.digest, parts.samples.take([3]).read):
        with pytest.raises(InvalidTextError, match="Row 1 of X"):
            ask(3 if ask == parts.samples.digest else 0)
    assert kind.parts(parts.samples) is None
    assert len(set(map(parts.samples.digest, (0, 2, 4)))) == 3
    assert texts().parts(samples) is None


def test_words_are_left_out_at_random():
    kind = Texts(tokenizer().to_str(), max_length=LENGTH, special_tokens=True)
    samples = opened([" ".join(WORDS[4:14])])
    read, change = kind.changed(samples, "default")
    torch.manual_seed(0)
    lengths = {len(change(read(0))) for _ in range(50)}
    assert max(lengths) <= 10
    assert min(lengths) >= 4
    torch.manual_seed(0)
    again = change(read(0))
    torch.manual_seed(0)
    assert_array_equal(change(read(0)), again)
    assert set(again) <= set(kind.prepare(samples, 0))
    read, change = kind.changed(samples, lambda text: text.replace("good", "bad"))
    assert change(read(0))[0] == WORDS.index("bad")
    with pytest.raises(ValueError, match=r"augment='trivial' is of pictures. A text takes 'light' or 'default'"):
        kind.changed(samples, "trivial")
    read, change = kind.changed(samples, len)
    with pytest.raises(TypeError, match="augment gave a int for a text: it is to give a str"):
        change(read(0))


def test_keys_tell_what_decides_the_tokens():
    samples = opened(GIVEN)
    others = [{}, {"prompt": "a"}, {"long_texts": "chunk"}]
    keys = {texts(**options).key(samples) for options in others}
    keys |= {Texts(tokenizer().to_str(), max_length=5).key(samples)}
    assert len(keys) == 4


def test_a_lazy_container_is_asked_for_single_rows():
    assert isinstance(opened(Lazy(GIVEN)).items, LazyItems)
