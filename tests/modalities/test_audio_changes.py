import numpy as np
import pytest
import torch
from common_recordings import tone
from numpy.testing import assert_array_equal
from sklearn.base import BaseEstimator

from sktransfer.modalities import LogMel, Recordings


@pytest.fixture
def modality():
    return Recordings(LogMel(), 96)


def changes(modality, sound, how, n=30, seed=0):
    windows = modality.parts(modality.open(BaseEstimator(), [sound], reset=True)).samples
    read, change = modality.changed(windows, how)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return [change(read(0)).numpy() for _ in range(n)], modality.prepare(windows, 0)


@pytest.mark.parametrize("how", ["light", "spec", "strong"])
def test_torchs_generator_decides(modality, how):
    first, plain = changes(modality, tone(800, 2), how)
    again, _ = changes(modality, tone(800, 2), how)
    assert_array_equal(first, again)
    others, _ = changes(modality, tone(800, 2), how, seed=1)
    assert any((one != other).any() for one, other in zip(first, others, strict=True))
    assert all(one.shape == plain.shape and np.isfinite(one).all() for one in first)
    assert len({one.tobytes() for one in first}) > 25


def test_masks_take_stretches_out_and_leave_the_rest(modality):
    found, plain = changes(modality, tone(800, 2), "spec", n=60)
    shares, rows = [], []
    for picture in found:
        masked = picture[0] == plain[0].mean()
        assert_array_equal(picture[0][~masked], plain[0][~masked])
        rows.append(masked.all(axis=1).sum())
        shares.append(masked.mean())
    assert 0 < np.mean(shares) < 0.5
    assert max(rows) <= 2 * int(0.2 * 96)


def test_gain_shift_and_noise(modality):
    found, plain = changes(modality, tone(800, 2, loud=0.3), "light", n=60)
    band = plain[0].mean(axis=0).argmax()
    loud = np.array([picture[0, :, band].mean() - plain[0, :, band].mean() for picture in found])
    most = 6 / 20 * np.log(10)
    assert np.abs(loud).max() < most + 0.6 and loud.std() > 0.2
    quiet = plain[0].mean(axis=0).argmin()
    assert np.mean([picture[0, :, quiet].mean() for picture in found]) > plain[0, :, quiet].mean()


def test_a_recording_that_silence_fills_up_loses_nothing(modality):
    click = np.zeros(3200, dtype=np.float32)
    click[:100] = 0.5  # at its very beginning
    found, _ = changes(modality, click, "light", n=40)
    loudest = [picture[0].max(axis=1).argmax() for picture in found]
    assert min(picture.max() for picture in found) > 0
    assert len(set(loudest)) > 3 and max(loudest) <= 11


def test_a_function_of_ones_own(modality):
    rates = []

    def half(sound, rate):
        rates.append(rate)
        return sound / 2

    found, plain = changes(modality, tone(800, 1), half, n=1)
    assert rates == [16000]
    band = plain[0].mean(axis=0).argmax()
    assert found[0][0, 20, band] == pytest.approx(plain[0, 20, band] - np.log(2), abs=1e-3)
    shorter, _ = changes(modality, tone(800, 1), lambda sound, rate: torch.from_numpy(sound[:4000]), n=1)
    assert shorter[0].shape == plain.shape
    for bad in (None, np.zeros((2, 100)), np.array([np.nan]), np.zeros(10, dtype=int)):
        with pytest.raises(TypeError, match=r"augment returned a .*expected finite floats of shape \(n,\)"):
            changes(modality, tone(800, 1), lambda sound, rate, bad=bad: bad, n=1)


def test_words_of_pictures_are_refused(modality):
    with pytest.raises(ValueError, match="augment='default' changes pictures; for recordings pass 'light'"):
        changes(modality, tone(800, 1), "default")
