"""A copy of a test sample among the training rows is said, once."""

import warnings

import numpy as np
import pytest
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from sktransfer import (
    PretrainedFeatureExtractor,
    SourceTargetShuffleSplit,
    TransferSearchCV,
    negative_transfer_report,
)
from sktransfer.few_labels import watch_twins

FOLDS = [(np.arange(4), np.arange(4, 8)), (np.arange(4, 8), np.arange(4))]
COPIES = "samples of a test part stand in its training part too, as copies: rows"


def pictures(n):
    return np.random.default_rng(0).integers(0, 255, (n, 8, 8, 3)).astype(np.uint8)


def test_texts_of_the_same_words_are_named_once_and_all_folds_come():
    X = ["Good value!", "b", "c", "d", "GOOD VALUE", "f", "g", "h"]
    with pytest.warns(UserWarning, match="1 samples .* rows 0 and 4") as caught:
        folds = list(watch_twins(X, FOLDS))
    assert len(caught) == 1
    assert folds == FOLDS


def test_files_of_the_same_content_are_copies_whatever_their_names(tmp_path):
    paths = [tmp_path / f"{i}.png" for i in range(8)]
    for path, picture in zip(paths, pictures(8), strict=True):
        Image.fromarray(picture).save(path)
    paths[7].write_bytes(paths[2].read_bytes())
    with pytest.warns(UserWarning, match="rows 2 and 7"):
        list(watch_twins([str(path) for path in paths], FOLDS))


def test_arrays_of_pictures_are_compared():
    X = pictures(8)
    X[5] = X[1]
    with pytest.warns(UserWarning, match="rows 1 and 5"):
        list(watch_twins(X, FOLDS))


@pytest.mark.parametrize(
    "X",
    [
        pictures(8),
        np.zeros((8, 3)),  # rows of a table may be equal and no copies
        ["a", "a", "b", "b", "c", "c", "d", "d"],  # copies on one side only
        [f"gone{i}.png" for i in range(8)],
        [(np.zeros(9), 16000)] * 8,
    ],
    ids=["pictures", "table", "one side", "texts", "pairs"],
)
def test_nothing_is_said_where_there_is_nothing_to_say(X):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert list(watch_twins(X, FOLDS)) == FOLDS


def test_a_row_that_is_trained_on_and_tested_is_no_copy_of_itself():
    folds = [(np.arange(8), np.arange(4, 8))]  # target rows without their labels
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        list(watch_twins(["a", "b", "c", "d", "e", "f", "g", "a b"], folds))


def planted():
    """Texts of two domains, of which one of the source stands in the target four times."""
    X = [f"{word} number {i}" for i in range(10) for word in ("good", "bad")]
    X[11:18:2] = [X[3].upper()] * 4
    return X, np.arange(20) % 2, np.repeat(["source", "target"], 10)


def test_splitters_of_domains_say_so():
    X, y, domain = planted()
    splitter = SourceTargetShuffleSplit(5, random_state=0)
    with pytest.warns(UserWarning, match=COPIES):
        list(splitter.split(X, y, sample_domain=domain))


def test_the_search_of_strategies_says_so():
    X, y, _ = planted()
    with pytest.warns(UserWarning, match=COPIES):
        TransferSearchCV("text:sktransfer_mini", ["no_transfer", "frozen_linear"], cv=2, random_state=0).fit(X, y)


def test_the_report_says_so():
    X, y, _ = planted()
    model = make_pipeline(PretrainedFeatureExtractor("text:sktransfer_mini"), LogisticRegression())
    with pytest.warns(UserWarning, match=COPIES):
        negative_transfer_report(model, model, X, y, cv=2, label_sizes=None, random_state=0)
