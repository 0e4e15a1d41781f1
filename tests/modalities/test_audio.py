import io
import pickle

import numpy as np
import pytest
from common_process import run_code
from common_recordings import RATE, tone
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import BaseEstimator

from sktransfer.exceptions import InvalidAudioError, InvalidSampleError
from sktransfer.modalities import AudioSpec, LogMel, Recordings, Windows

soundfile = pytest.importorskip("soundfile")


@pytest.fixture
def modality():
    return Recordings(LogMel(), 96)


def opened(modality, X):
    return modality.open(BaseEstimator(), X, reset=True)


def windows_of(modality, X):
    return modality.parts(opened(modality, X)).samples


def encoded(samples, rate=RATE, **options):
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, **{"format": "WAV", "subtype": "FLOAT", **options})
    return buffer.getvalue()


def test_the_same_recording_in_every_form(modality, tmp_path):
    sound = tone(800, 0.7)
    soundfile.write(tmp_path / "a.wav", sound, RATE, subtype="FLOAT")
    forms = [sound, (sound, RATE), encoded(sound), str(tmp_path / "a.wav"), {"array": sound, "sampling_rate": RATE}]
    windows = windows_of(modality, [*forms, (np.stack([sound, sound]), RATE), {"bytes": encoded(sound), "path": None}])
    first = modality.prepare(windows, 0)
    assert first.shape == (1, 96, 64) and first.dtype == np.float32
    for i in range(1, len(windows)):
        assert_allclose(modality.prepare(windows, i), first, atol=1e-6)


@pytest.mark.parametrize("rate", [8000, 22050, 44100, 48000, 96000])
def test_other_rates_are_resampled(modality, rate):
    found, expected = (
        modality.prepare(windows_of(modality, [(tone(800, 1, r, loud=0.5), r)]), 0) for r in (rate, RATE)
    )
    band = expected[0].mean(axis=0).argmax()
    assert found[0].mean(axis=0).argmax() == band
    assert_allclose(found[0, 5:-5, band], expected[0, 5:-5, band], atol=0.02)


@pytest.mark.parametrize(
    ("seconds", "starts"),
    [
        (0.001, [0]),
        (0.5, [0]),
        (0.975, [0]),
        (0.985, [0, 1]),
        (2.895, [0, 96, 192]),
        (2.0, [0, 51, 102]),
    ],
)
def test_windows_are_spread_evenly_from_the_beginning_to_the_end(modality, seconds, starts):
    windows = windows_of(modality, [tone(800, seconds)])
    assert (windows.starts / 160).tolist() == starts
    last = windows.starts[-1] + modality.length
    assert len(windows) == 1 or 0 <= round(seconds * RATE) - last < 160


def test_windows_are_stretches_of_the_recording(modality):
    sound = tone(800, 3.2)
    windows = windows_of(modality, [tone(300, 0.2), sound])
    assert_array_equal(windows.rows, [0] + [1] * (len(windows) - 1))
    for i in range(1, len(windows)):
        start = windows.starts[i]
        assert_array_equal(windows.read(i, length=modality.length), sound[start : start + modality.length])
    assert_array_equal(windows.read(0, length=modality.length)[3200:], 0)
    assert len({windows.digest(i) for i in range(len(windows))}) == len(windows)
    taken = pickle.loads(pickle.dumps(windows.take([2, 0])))
    assert isinstance(taken, Windows)
    assert_array_equal(taken.rows, [1, 0])
    assert_array_equal(taken.read(0, length=500), windows.read(2, length=500))
    assert taken.digest(0) == windows.digest(2)
    assert modality.parts(windows) is None


def test_gain_and_offset_a_channel():
    sound = tone(800, 1)
    plain = Recordings(LogMel(), 96)
    coloured = Recordings(LogMel(), 96, gain=(1.0, 0.5, 2.0), offset=(0.0, 1.0, -1.0))
    picture = plain.picture(sound[: plain.length])[0]
    assert_allclose(coloured.picture(sound[: plain.length]), [picture, picture / 2 + 1, 2 * picture - 1], rtol=1e-5)
    assert coloured.blank().shape == (3, 96, 64)
    assert coloured.key(None) != plain.key(None)


BROKEN = {
    "nothing": (b"", "there is nothing in it"),
    "text": (b"hello there", "encoded bytes: .*ormat not rec"),
    "no samples": (np.zeros(0, dtype=np.float32), "there is nothing in it"),
    "header alone": (encoded(np.zeros(0, dtype=np.float32)), "there is nothing in it"),
    "nan": (np.array([0, np.nan, 0], dtype=np.float32), "NaN or infinite"),
    "inf": (encoded(np.array([0, np.inf, 0], dtype=np.float32)), "encoded bytes: it holds NaN or infinite"),
    "missing": (None, "missing"),
    "no file": ("no/such/file.wav", "'no/such/file.wav': No such file"),
    "address": ("https://example.org/a.wav", "it is a web address"),
    "number": (3, "an entry of type int"),
    "picture": (np.zeros((96, 64, 3)), r"shape \(96, 64, 3\)"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_what_cannot_be_read_is_named_by_its_row(modality, kind):
    item, message = BROKEN[kind]
    windows = windows_of(modality, [tone(800, 0.1), "placeholder" if item is None else item, tone(300, 0.1)][:3])
    if item is None:
        windows = windows_of(modality, [tone(800, 0.1), None, tone(300, 0.1)])
    assert len(windows) == 3
    with pytest.raises(InvalidAudioError, match=f"Row 1 of X cannot be read as a recording: .*{message}") as found:
        modality.prepare(windows, 1)
    assert isinstance(found.value, InvalidSampleError)
    modality.prepare(windows, 2)


def test_a_truncated_file(modality, tmp_path):
    path = tmp_path / "a.flac"
    soundfile.write(path, tone(800, 4), RATE)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    windows = windows_of(modality, [path])
    with pytest.raises(InvalidAudioError, match=r"Row 0 of X .*a\.flac"):
        for i in range(len(windows)):
            modality.prepare(windows, i)


def test_silence_and_very_short_ones_are_right(modality):
    windows = windows_of(modality, [np.zeros(16000), np.zeros(1), tone(800, 0.002)])
    silence = modality.prepare(windows, 0)
    assert_allclose(silence, np.log(0.001), rtol=1e-6)
    assert_array_equal(modality.prepare(windows, 1), silence)
    assert np.isfinite(modality.prepare(windows, 2)).all()


def test_floats_off_the_scale_warn_once(modality):
    X = [20000 * tone(800, 2), 20000 * tone(300, 2)]
    windows = windows_of(modality, X)
    with pytest.warns(UserWarning, match=r"Row 0 of X can be read in two ways: its floats reach .*32768") as caught:
        for i in range(len(windows)):
            modality.prepare(windows, i)
    assert len(caught) == 1
    whole = windows_of(modality, [(20000 * tone(800, 0.5)).astype(np.int16)])
    assert modality.prepare(whole, 0).max() < 5


def test_tables(modality):
    estimator = BaseEstimator()
    X = np.stack([tone(800, 0.1), tone(300, 0.1)])
    samples = modality.open(estimator, X, reset=True)
    assert estimator.input_spec_ == AudioSpec("arrays", 1600) and estimator.n_features_in_ == 1600
    assert_array_equal(samples.read(1), X[1])
    with pytest.raises(ValueError, match="1500 features"):
        modality.open(estimator, X[:, :1500], reset=False)
    assert len(modality.open(estimator, list(X[:, :1500]), reset=False)) == 2
    X[1, 5] = np.nan
    with pytest.raises(InvalidAudioError, match=r"Row 1 of X .*NaN"):
        modality.open(estimator, X, reset=False)
    with pytest.raises(ValueError, match="0 sample"):
        modality.open(estimator, [], reset=True)
    assert not hasattr(modality.open(estimator, list(X), reset=True), "n_features_in_")
    modality.check_spec(AudioSpec("arrays", 3), 3)
    for spec in (AudioSpec("arrays", 3), AudioSpec("other")):
        with pytest.raises(ValueError, match="input_spec_ is"):
            modality.check_spec(spec, 4)


def test_files_are_known_by_state_or_by_content(modality, tmp_path):
    soundfile.write(tmp_path / "a.wav", tone(800, 0.1), RATE)
    (tmp_path / "b.wav").write_bytes((tmp_path / "a.wav").read_bytes())
    samples = opened(modality, [tmp_path / "a.wav", tmp_path / "b.wav"])
    assert samples.digest(0) != samples.digest(1)
    assert samples.digest(0, "content") == samples.digest(1, "content")
    arrays = opened(modality, [tone(800, 0.1), (tone(800, 0.1), 8000), tone(800, 0.1)])
    assert arrays.digest(0) == arrays.digest(2) != arrays.digest(1)
    before = samples.digest(0)
    soundfile.write(tmp_path / "a.wav", tone(300, 0.2), RATE)
    assert opened(modality, [tmp_path / "a.wav"]).digest(0) != before
    assert len(windows_of(modality, [tmp_path / "a.wav"])) == 1


def test_one_opening_of_a_file_serves_its_windows(modality, tmp_path, monkeypatch):
    soundfile.write(tmp_path / "a.wav", tone(800, 20), RATE)
    calls, plain = [], soundfile.SoundFile.__init__
    windows = windows_of(modality, [tmp_path / "a.wav"])
    monkeypatch.setattr(soundfile.SoundFile, "__init__", lambda self, *a, **k: calls.append(1) or plain(self, *a, **k))
    for i in range(len(windows)):
        modality.prepare(windows, i)
    assert len(windows) > 15 and len(calls) == 1


class Counted(list):
    """A Dataset that counts."""

    def __init__(self, items):
        super().__init__(items)
        self.asked = []

    def __getitem__(self, i):
        self.asked.append(i)
        return super().__getitem__(i)


def test_entries_of_a_dataset_are_asked_for_once_a_pass(modality):
    class Data:
        def __init__(self):
            self.asked = []

        def __len__(self):
            return 3

        def __getitem__(self, i):
            self.asked.append(i)
            return tone(800, 5), i

    data = Data()
    windows = windows_of(modality, data)
    assert data.asked == [0, 1, 2]  # how long are they?
    for i in range(len(windows)):
        modality.prepare(windows, i)
    assert data.asked == [0, 1, 2] * 2


def test_a_missing_package_is_named(tmp_path):
    code = (
        f"import os, sys; os.chdir({str(tmp_path)!r}); sys.modules['soundfile'] = None\n"
        "from sktransfer import AudioBackbone, PretrainedFeatureExtractor\n"
        "e = PretrainedFeatureExtractor(AudioBackbone('test_resnet', weights=None, clip_seconds=0.32))\n"
        "e.fit_transform([[0.0] * 500])\n"
        "try:\n    e.transform(['setup.cfg'])\nexcept ImportError as error:\n    print(error)\n"
    )
    (tmp_path / "setup.cfg").write_text("x")
    status, printed, error = run_code(code)
    assert (status, error) == (0, "")
    assert "pip install 'sktransfer[audio]'" in printed
