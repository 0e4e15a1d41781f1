import io

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.signal import resample_poly

from sktransfer.modalities._sounds import ArraySound, FileSound, full_scale, open_file, resampled_length, stretch

soundfile = pytest.importorskip("soundfile")


def noise(n, channels=None, seed=0):
    shape = (n,) if channels is None else (n, channels)
    return (0.3 * np.random.default_rng(seed).standard_normal(shape)).clip(-0.99, 0.99).astype(np.float32)


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 44100, 48000, 96000, 15999])
def test_a_stretch_at_another_rate_is_that_of_the_whole(rate):
    sound = ArraySound(noise(3 * rate // 2), rate)
    common = np.gcd(rate, 16000)
    whole = resample_poly(sound.samples, 16000 // common, rate // common)
    assert len(whole) == resampled_length(len(sound), rate, 16000)
    for start, stop in ((0, 5000), (3, 90), (7001, 22000), (len(whole) - 100, len(whole))):
        assert_allclose(stretch(sound, start, stop, 16000), whole[start:stop], atol=1e-5)


def test_silence_before_and_behind():
    sound = ArraySound(noise(100), 16000)
    found = stretch(sound, -10, 130, 16000)
    assert_array_equal(found, np.concatenate([np.zeros(10), sound.samples, np.zeros(30)]))
    assert_array_equal(stretch(sound, 200, 220, 16000), np.zeros(20))


def test_only_what_is_needed_is_read(monkeypatch):
    sound, read = ArraySound(noise(10**6), 44100), []
    plain = sound.read
    monkeypatch.setattr(sound, "read", lambda start, stop: read.append(stop - start) or plain(start, stop))
    stretch(sound, 200_000, 216_000, 16000)
    assert sum(read) < 16000 * 44100 / 16000 + 1000


@pytest.mark.parametrize(
    ("form", "subtype", "exact"),
    [
        ("WAV", "PCM_U8", 1 / 127),
        ("WAV", "PCM_16", 1e-4),
        ("WAV", "PCM_24", 1e-6),
        ("WAV", "PCM_32", 1e-6),
        ("WAV", "FLOAT", 0),
        ("WAV", "DOUBLE", 0),
        ("FLAC", "PCM_16", 1e-4),
        ("FLAC", "PCM_24", 1e-6),
    ],
)
def test_files_of_every_width(tmp_path, form, subtype, exact):
    samples = noise(5000)
    soundfile.write(tmp_path / "a", samples, 16000, format=form, subtype=subtype)
    sound = open_file(str(tmp_path / "a"))
    assert (len(sound), sound.rate) == (5000, 16000)
    assert_allclose(sound.read(0, 5000), samples, atol=exact + 1e-9)
    assert_array_equal(sound.read(700, 900), sound.read(0, 5000)[700:900])


@pytest.mark.parametrize("form", ["OGG", "MP3"])
def test_compressed_files(tmp_path, form):
    if form not in soundfile.available_formats():
        pytest.skip(f"this libsndfile writes no {form}")
    time = np.arange(32000) / 16000
    samples = (0.5 * np.sin(2 * np.pi * 440 * time)).astype(np.float32)
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, 16000, format=form)
    sound = FileSound(buffer.getvalue())
    found = sound.read(0, len(sound))
    assert abs(len(found) - len(samples)) < 3000
    spectrum = np.abs(np.fft.rfft(found[4000:20000]))
    assert spectrum.argmax() == 440
    for start in (9000, 9500, 20000, 3000, 31000, 9000):  # there, on, and back
        assert_allclose(sound.read(start, start + 900), found[start : start + 900], atol=1e-6)


@pytest.mark.parametrize("form", ["OGG", "MP3"])
def test_long_compressed_files_are_read_block_by_block(monkeypatch, form):
    monkeypatch.setattr("sktransfer.modalities._sounds._BLOCK", 1000)
    if form not in soundfile.available_formats():
        pytest.skip(f"this libsndfile writes no {form}")
    buffer = io.BytesIO()
    soundfile.write(buffer, noise(44100), 44100, format=form)
    whole, sound = soundfile.read(io.BytesIO(buffer.getvalue()), dtype="float32")[0], FileSound(buffer.getvalue())
    for start in range(0, 40000, 1700):
        assert_allclose(sound.read(start, start + 3100), whole[start : start + 3100], atol=1e-6)
        assert len(sound._kept) < 5000


def test_one_channel_is_the_mean(tmp_path):
    samples = noise(3000, 2)
    soundfile.write(tmp_path / "a.wav", samples, 96000, subtype="FLOAT")
    assert_allclose(open_file(str(tmp_path / "a.wav")).read(5, 2000), samples[5:2000].mean(axis=1), atol=1e-7)
    for array in (samples, samples.T):
        assert_allclose(ArraySound(array, 96000).read(5, 2000), samples[5:2000].mean(axis=1), atol=1e-7)
    with pytest.raises(ValueError, match=r"an array of shape \(96, 64\) is no recording"):
        ArraySound(np.zeros((96, 64)), 16000)


def test_whole_numbers_are_on_the_scale_of_files():
    assert_allclose(full_scale(np.array([-32768, 0, 16384], dtype=np.int16)), [-1, 0, 0.5])
    assert_allclose(full_scale(np.array([0, 128, 192], dtype=np.uint8)), [-1, 0, 0.5])
    assert_allclose(full_scale(np.array([-(2**31), 2**30], dtype=np.int32)), [-1, 0.5])
    floats = np.array([0.25, 3.0], dtype=np.float32)
    assert full_scale(floats) is floats


def test_damage_is_said(tmp_path):
    path = tmp_path / "a.flac"
    soundfile.write(path, noise(50000), 16000)
    path.write_bytes(path.read_bytes()[:30000])
    with pytest.raises(ValueError):
        sound = open_file(str(path))
        sound.read(0, len(sound))
    with pytest.raises(ValueError, match="ormat not rec"):
        FileSound(b"what is this?")
    with pytest.raises(ValueError, match="NaN or infinite"):
        stretch(ArraySound(np.array([0.0, np.nan, 0.0]), 16000), 0, 3, 16000)
    (tmp_path / "empty.wav").touch()
    with pytest.raises(ValueError, match="there is nothing in it"):
        open_file(str(tmp_path / "empty.wav"))
    with pytest.raises(OSError, match="it is a folder"):
        open_file(str(tmp_path))
