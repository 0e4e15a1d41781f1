"""Whole data sets as X are refused with the line to write."""

import re

import numpy as np
import pytest
import torch

from sktransfer import PretrainedFeatureExtractor

EXTRACTORS = {
    "picture": PretrainedFeatureExtractor("sktransfer_mini"),
    "recording": PretrainedFeatureExtractor("audio:sktransfer_mini"),
    "text": PretrainedFeatureExtractor("text:sktransfer_mini"),
}


class Image:
    pass


class Audio:
    pass


class Value:
    pass


class ClassLabel:
    pass


class Columns:
    """As a data set of the package datasets looks: rows by number, columns by name."""

    def __init__(self, **features):
        self.features = features

    column_names = property(lambda self: list(self.features))

    def __getitem__(self, key):
        return {} if isinstance(key, int) else [key]


class Dataset(Columns):
    def __len__(self):
        return 2


class IterableDataset(Columns):
    pass


class DatasetDict(dict):
    column_names = property(lambda self: {name: part.column_names for name, part in self.items()})


FULL = {"photo": Image(), "sound": Audio(), "words": Value(), "kind": ClassLabel()}


@pytest.mark.parametrize(("noun", "column"), [("picture", "photo"), ("recording", "sound"), ("text", "words")])
def test_whole_data_sets_of_hugging_face(noun, column):
    extractor = EXTRACTORS[noun]
    line = rf"pass the one of the {noun}s, X\['{column}'\] as X and X\['kind'\] as y\."
    with pytest.raises(TypeError, match=rf"X is a Dataset of Hugging Face.*\['photo', 'sound', .*{line}"):
        extractor.fit(Dataset(**FULL))
    splits = DatasetDict(test=Dataset(**FULL), train=Dataset(**FULL))
    with pytest.raises(TypeError, match=re.escape(f"X['train']['{column}'] as X and X['train']['kind'] as y.")):
        extractor.fit(splits)
    with pytest.raises(
        TypeError, match=re.escape(f"[row['{column}'] for row in X] as X and [row['kind'] for row in X]")
    ):
        extractor.fit(IterableDataset(**FULL))
    with pytest.raises(TypeError, match=r"columns \['a'\]: pass the one of the \w+, X\['a'\]\.$"):
        extractor.fit(Dataset(a=Value()))


@pytest.mark.parametrize("noun", EXTRACTORS)
def test_loaders_of_torch(noun):
    pairs = [(np.zeros((8, 8, 3), np.uint8), 0)] * 4
    with pytest.raises(TypeError, match=r"X is a DataLoader.*pass what it reads from, X\.dataset.*batch_size="):
        EXTRACTORS[noun].fit(torch.utils.data.DataLoader(pairs))


def test_what_it_reads_from_is_x():
    pairs = [(np.full((8, 8, 3), level, np.uint8), level % 2) for level in (0, 1, 200)]
    X = torch.utils.data.DataLoader(pairs).dataset
    assert EXTRACTORS["picture"].fit_transform(X).shape == (3, 1280)


def test_the_package_itself():
    datasets = pytest.importorskip("datasets.arrow_dataset")  # its own name is that of a folder of tests, too
    whole = datasets.Dataset.from_dict({"text": ["good", "bad"], "label": [1, 0]})
    with pytest.raises(TypeError, match=r"X\['text'\] as X and X\['label'\] as y"):
        EXTRACTORS["text"].fit(whole)
    assert len(EXTRACTORS["text"].fit_transform(whole["text"])) == 2
