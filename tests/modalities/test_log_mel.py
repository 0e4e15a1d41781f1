import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from sktransfer.modalities import LogMel


def by_the_book(sound, *, rate, n_mels, window, hop, n_fft, f_min, f_max, offset):
    """Write the formula down once more: frame by frame, band by band, with a transform of cosines and sines."""
    size, step = round(window * rate), round(hop * rate)
    hann = np.array([np.sin(np.pi * k / size) ** 2 for k in range(size)])
    bins = np.arange(n_fft // 2 + 1)
    waves = np.exp(-2j * np.pi * np.outer(bins, np.arange(size)) / n_fft)

    def mel(hertz):
        return 2595 * np.log10(1 + hertz / 700)

    edges = [mel(f_min) + k * (mel(f_max) - mel(f_min)) / (n_mels + 1) for k in range(n_mels + 2)]
    rows = []
    for start in range(0, len(sound) - size + 1, step):
        magnitudes = abs(waves @ (sound[start : start + size].astype(np.float64) * hann))
        row = []
        for low, top, high in zip(edges, edges[1:], edges[2:], strict=False):
            at = mel(bins * rate / n_fft)
            weights = np.where(at <= top, (at - low) / (top - low), (high - at) / (high - top)).clip(min=0)
            row.append(np.log(weights[1:] @ magnitudes[1:] + offset))
        rows.append(row)
    return np.array(rows)


YAMNET = {"rate": 16000, "n_mels": 64, "window": 0.025, "hop": 0.010, "n_fft": 512, "f_min": 125, "f_max": 7500}
OTHERS = [
    YAMNET,
    {"rate": 8000, "n_mels": 40, "window": 0.032, "hop": 0.016, "n_fft": 256, "f_min": 0, "f_max": 4000},
    {"rate": 32000, "n_mels": 128, "window": 0.032, "hop": 0.010, "n_fft": 4096, "f_min": 50, "f_max": 14000},
]


def sounds(rate):
    time = np.arange(rate) / rate
    rng = np.random.default_rng(0)
    return {
        "tone": np.sin(2 * np.pi * 1000 * time),  # silence everywhere else
        "noise": 0.3 * rng.standard_normal(rate),
        "sweep": 0.8 * np.sin(2 * np.pi * (100 + 1500 * time) * time) + 1e-4 * rng.standard_normal(rate),
        "silence": np.zeros(rate),
    }


@pytest.mark.parametrize("options", OTHERS)
@pytest.mark.parametrize("kind", ["tone", "noise", "sweep", "silence"])
def test_as_the_formula_says(options, kind):
    sound = sounds(options["rate"])[kind].astype(np.float32)[: options["rate"] // 3]
    names = {"rate": "sample_rate"}
    log_mel = LogMel(**{names.get(name, name): value for name, value in options.items()}, log_offset=0.001)
    expected = by_the_book(sound, **options, offset=0.001)
    found = log_mel(sound)
    assert found.dtype == np.float32
    assert_allclose(found, expected, atol=1e-4)


def test_yamnets_picture():
    log_mel = LogMel()
    assert (log_mel.frame_length, log_mel.hop_length, log_mel.samples_of(96)) == (400, 160, 15600)
    assert log_mel(np.zeros(15600, dtype=np.float32)).shape == (96, 64)
    assert [log_mel.frames_in(n) for n in (0, 399, 400, 559, 560, 15600)] == [0, 0, 1, 1, 2, 96]


def test_long_sounds_are_as_their_stretches(monkeypatch):
    sound = np.random.default_rng(0).standard_normal(40000).astype(np.float32)
    whole = LogMel()(sound)
    monkeypatch.setattr("sktransfer.modalities._log_mel._FRAMES", 7)
    assert_allclose(LogMel()(sound), whole, atol=1e-6)
    assert_allclose(LogMel()(sound[1600:17200]), whole[10:106], atol=1e-6)
    assert_array_equal(len(whole), LogMel().frames_in(40000))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"f_max": 9000}, "f_max at most half of sample_rate=16000"),
        ({"f_min": 3000, "f_max": 2000}, "expected 0 <= f_min < f_max"),
        ({"window": 0.05}, r"a frame has 800 samples.* Pass a larger n_fft"),
        ({"hop": 1e-6}, "expected a hop of at least 1"),
        ({"n_mels": 200}, "would be silent always. Pass fewer bands, or a larger n_fft than 512"),
    ],
)
def test_what_cannot_be_is_said(options, message):
    with pytest.raises(ValueError, match=message):
        LogMel(**options)
