import numpy as np
import pandas as pd
import pytest
from PIL import Image

from sktransfer import duplicate_pairs

TEXTS = ["Good value, arrived in time.", "Broke after a week.", "GOOD VALUE - arrived in time!"]


@pytest.fixture
def files(tmp_path):
    """Three pictures, of which the last is the first, smaller."""
    rng = np.random.default_rng(0)
    first, second = (Image.fromarray(rng.integers(0, 256, (6, 6), dtype=np.uint8)).resize((96, 96)) for _ in range(2))
    paths = [tmp_path / f"{number}.png" for number in range(3)]
    for path, picture in zip(paths, (first, second, first.resize((64, 48))), strict=True):
        picture.save(path)
    return paths


def pairs_of(*arguments, **parameters):
    return duplicate_pairs(*arguments, **parameters).pairs.tolist()


def test_pictures_in_every_form(files):
    opened = [Image.open(path) for path in files]
    arrays = [np.asarray(picture) for picture in opened]
    for given in (files, list(map(str, files)), pd.Series(list(map(str, files))), opened, arrays):
        assert pairs_of(given) == [[0, 2]]
    assert pairs_of([path.read_bytes() for path in files], kind="pictures") == [[0, 2]]
    assert pairs_of(files[2:], files[:2]) == [[0, 0]]
    stack = np.stack([np.asarray(picture.resize((40, 40))) for picture in opened])
    assert pairs_of(stack) == [[0, 2]]


def test_texts_in_every_form():
    for given in (TEXTS, tuple(TEXTS), np.array(TEXTS), pd.Series(TEXTS), pd.DataFrame({"text": TEXTS})):
        assert pairs_of(given) == [[0, 2]]
    assert pairs_of(TEXTS[2:], TEXTS[:2]) == [[0, 0]]
    assert pairs_of(["x" * 5000, "a\0b", "X" * 5000]) == [[0, 2]]


def test_files_are_compared_byte_by_byte(tmp_path):
    paths = [tmp_path / name for name in ("a.wav", "b.wav", "c.wav")]
    for path, content in zip(paths, (b"RIFF1", b"RIFF2", b"RIFF1"), strict=True):
        path.write_bytes(content)
    assert pairs_of(paths) == [[0, 2]]
    assert pairs_of([path.read_bytes() for path in paths]) == [[0, 2]]
    assert pairs_of(paths[:1], paths[1:]) == [[0, 1]]
    assert pairs_of([np.arange(4), np.arange(3), np.arange(4)], kind="files") == [[0, 2]]


def test_rows_in_every_form():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(30, 40))
    X[20] = X[3] + 0.01 * rng.normal(size=40)
    for given in (X, X.tolist(), X.astype(np.float32), pd.DataFrame(X), 1e3 * X + 7):
        assert pairs_of(given) == [[3, 20]]
    assert pairs_of(X[:10], X[10:]) == [[3, 10]]


def test_the_most_similar_come_first_and_a_tuple_unpacks():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(30, 40))
    X[20], X[21] = X[3] + 0.2 * rng.normal(size=40), X[4]
    pairs, similarity = duplicate_pairs(X, threshold=0.9)
    assert pairs.tolist() == [[4, 21], [3, 20]]
    assert similarity[0] == pytest.approx(1.0, abs=1e-5)
    assert 0.9 < similarity[1] < 1.0


def test_nothing_is_found():
    found = duplicate_pairs(np.random.default_rng(0).normal(size=(10, 50)))
    assert found.pairs.shape == (0, 2)
    assert found.similarity.shape == (0,)
    assert duplicate_pairs(TEXTS[:2]).pairs.shape == (0, 2)


@pytest.mark.parametrize(
    ("arguments", "parameters", "message"),
    [
        ((TEXTS, np.ones((3, 4))), {}, "X holds texts and X_other rows"),
        (("one text",), {}, r"X is one str, 'one text': pass a list of samples, \[X\]"),
        ((TEXTS,), {"kind": "text"}, "kind must be one of .* Did you mean 'texts'"),
        ((TEXTS,), {"threshold": 1.5}, "threshold must be a number above 0 and at most 1, got 1.5"),
        ((["a", 3],), {}, "X holds 3, which is no text"),
        ((np.ones((3, 4)), np.ones((3, 5))), {}, "X has 4 features, but X_other has 5"),
        (([[1.0, np.nan]],), {}, "X contains NaN"),
    ],
)
def test_errors(arguments, parameters, message):
    with pytest.raises(ValueError, match=message):
        duplicate_pairs(*arguments, **parameters)
