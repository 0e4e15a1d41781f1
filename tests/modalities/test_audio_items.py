from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_array_equal
from scipy import sparse

from sktransfer.modalities._audio_items import open_recordings, unpack_recording

WAVE = np.linspace(-1, 1, 50, dtype=np.float32)


class Decoder:
    """What columns of datasets 4 hold."""

    def get_all_samples(self):
        samples = type("Samples", (), {})()
        samples.data, samples.sample_rate = torch.from_numpy(WAVE)[None], 22050
        return samples


@pytest.mark.parametrize(
    ("item", "rate"),
    [
        (WAVE, 16000),
        (WAVE.tolist(), 16000),
        (torch.from_numpy(WAVE), 16000),
        ((WAVE, 44100), 44100),
        ((WAVE, np.int64(8000)), 8000),
        ((torch.from_numpy(WAVE), 8000, "yes", 3), 8000),
        ((WAVE, 7), 16000),
        ((WAVE, 2.5), 16000),
        ((WAVE, "label"), 16000),
        ({"array": WAVE, "sampling_rate": 32000, "path": "x.wav"}, 32000),
        ({"array": WAVE}, 16000),
        (Decoder(), 22050),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str | int) else str(value),
)
def test_arrays_and_their_rates(item, rate):
    kind, value, found = unpack_recording(item, 16000)
    assert (kind, found) == ("array", rate)
    assert_array_equal(np.ravel(value), WAVE)


@pytest.mark.parametrize(
    ("item", "kind", "value"),
    [
        ("a.wav", "path", "a.wav"),
        (Path("a.wav"), "path", "a.wav"),
        (("a.wav", 3), "path", "a.wav"),
        (b"abc", "bytes", b"abc"),
        (bytearray(b"abc"), "bytes", b"abc"),
        ({"bytes": b"abc", "path": "a.wav"}, "bytes", b"abc"),
        ({"bytes": None, "path": "a.wav"}, "path", "a.wav"),
        (None, "missing", None),
        (np.nan, "missing", None),
        (pd.NA, "missing", None),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str | int) else str(value),
)
def test_files_and_what_is_missing(item, kind, value):
    assert unpack_recording(item, 16000)[:2] == (kind, value)


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ({"audio": 3, "text": 4}, r"a dict of \['audio', 'text'\]: pass the column"),
        (np.zeros((2, 3, 4)), r"an array of shape \(2, 3, 4\)"),
        (np.zeros(4, dtype=complex), "dtype complex128"),
        (np.zeros(4, dtype=bool), "dtype bool"),
        (object(), "an entry of type object"),
        (np.ma.masked_array(WAVE, WAVE > 0), "masked"),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str | int) else str(value),
)
def test_what_is_none(item, message):
    with pytest.raises(TypeError, match=message):
        unpack_recording(item, 16000)


class Data(torch.utils.data.Dataset):
    def __len__(self):
        return 3

    def __getitem__(self, i):
        return WAVE, i


@pytest.mark.parametrize(
    ("X", "form", "n"),
    [
        ([WAVE, WAVE[:9]], "list", 2),
        ([WAVE.tolist(), WAVE.tolist()[:9]], "list", 2),
        (["a.wav", Path("b.wav"), None], "list", 3),
        ([(WAVE, 16000)], "list", 1),
        (np.array(["a.wav", "b.wav"], dtype=object), "list", 2),
        (pd.Series(["a.wav", "b.wav"]), "list", 2),
        (pd.DataFrame({"path": ["a.wav", "b.wav"]}), "list", 2),
        (np.stack([WAVE] * 4), "table", 4),
        (torch.zeros(4, 50), "table", 4),
        (pd.DataFrame(np.stack([WAVE] * 4)), "table", 4),
        (np.zeros((3, 2, 50)), "list", 3),
        (Data(), "lazy", 3),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str | int) else str(value),
)
def test_containers(X, form, n):
    found, items = open_recordings(X)
    assert (found, len(items)) == (form, n)


@pytest.mark.parametrize(
    ("X", "message"),
    [
        ("a.wav", r"single str \('a.wav'\).* pass \[X\]"),
        (b"abc", r"single bytes.* pass \[X\]"),
        (WAVE, r"Expected 2D array.* a single recording .*pass \[X\]"),
        (torch.from_numpy(WAVE), r"a single recording .*pass \[X\]"),
        (WAVE.tolist(), r"a single recording .*pass \[X\]"),
        (pd.Series(WAVE), r"a single recording .*pass \[X\]"),
        ((WAVE, 16000), r"a single recording .*pass \[X\]"),
        (("a.wav", 3), r"a single recording .*pass \[X\]"),
        ({"array": WAVE, "sampling_rate": 16000}, r"a single recording .*pass \[X\]"),
        ({"bytes": b"", "path": ""}, r"a single recording .*pass \[X\]"),
        (Decoder(), r"a single recording .*pass \[X\]"),
        ({"a": 1}, "no fixed order"),
        ((x for x in [WAVE]), "pass list"),
        (sparse.eye(3).tocsr(), r"pass X.toarray\(\)"),
        (pd.DataFrame({"path": ["a.wav"], "text": ["b"]}), "2 columns that hold text"),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str | int) else str(value),
)
def test_what_is_no_collection(X, message):
    with pytest.raises((TypeError, ValueError), match=message):
        open_recordings(X)


def test_a_folder_is_no_collection(tmp_path):
    with pytest.raises(TypeError, match=r"rglob\('\*.wav'\)"):
        open_recordings(tmp_path)
