"""Generated sounds: voices, bells, noises, engines, birds, tunes; no recording of anything.

Every generator takes a random generator and gives `LENGTH` samples at 16 kHz, half as long again as a window.
"""

import numpy as np
from scipy.signal import butter, fftconvolve, lfilter, sosfilt

RATE = 16000
LENGTH = 24000
TIME = np.arange(LENGTH) / RATE


def glide(rng, low, high, stops):
    """Draw a curve over time through random values, even in logarithm."""
    places = np.sort(rng.uniform(0, 1, stops))
    return np.exp(np.interp(np.linspace(0, 1, LENGTH), places, rng.uniform(np.log(low), np.log(high), stops)))


def phase(frequency):
    """Add up a frequency over time to a phase."""
    return 2 * np.pi * np.cumsum(frequency) / RATE


def envelope(rng, begin=0, end=LENGTH, rise=0.01):
    """Draw how a sound between two samples rises and falls."""
    found = np.zeros(LENGTH)
    n = max(end - begin, 2)
    attack = max(2, int(min(rng.exponential(rise) * RATE, n / 2)))
    shape = np.ones(n)
    shape[:attack] = np.linspace(0, 1, attack)
    if rng.random() < 0.5:
        shape *= np.exp(-np.arange(n) / (RATE * rng.uniform(0.02, 0.6)))
    else:
        shape[-attack:] *= np.linspace(1, 0, attack)
    found[begin : begin + n] = shape[: LENGTH - begin]
    return found


def noise(rng, slope=None):
    """Draw noise whose strength falls with frequency."""
    spectrum = np.fft.rfft(rng.standard_normal(LENGTH))
    slope = rng.uniform(0, 1.2) if slope is None else slope
    return np.fft.irfft(spectrum / np.maximum(np.arange(len(spectrum)), 20) ** slope, LENGTH)


def band(rng, sound, low=100, high=7000):
    """Let a random band of a sound through."""
    centre, width = np.exp(rng.uniform(np.log(low), np.log(high))), rng.uniform(0.15, 1.2)
    edges = np.clip([centre * 2**-width, centre * 2**width], 40, 7900)
    return sosfilt(butter(2, edges, "bandpass", fs=RATE, output="sos"), sound)


def voiced(rng):
    """Pulses of a throat through moving resonances: what vowels are made of."""
    voice, throat = np.exp(rng.uniform(np.log(80), np.log(380))), rng.uniform(0.85, 1.25)  # of a man to that of a child
    pitch = glide(rng, 0.7 * voice, 1.5 * voice, rng.integers(2, 6))
    pitch *= 1 + 0.01 * rng.standard_normal(LENGTH).cumsum() / 100
    saw = (phase(pitch) / (2 * np.pi)) % 1
    source = np.diff(np.where(saw < rng.uniform(0.3, 0.7), saw, 0), prepend=0) + 0.02 * noise(rng, 0)
    out = np.zeros(LENGTH)
    block = 400
    tracks = [
        glide(rng, *limits, rng.integers(2, 6)) for limits in ((250, 900), (800, 2600), (2000, 3600), (3000, 5000))
    ]
    for track in tracks:
        width, state = rng.uniform(60, 250), np.zeros(2)
        radius = np.exp(-np.pi * width / RATE)
        for start in range(0, LENGTH, block):
            poles = [1, -2 * radius * np.cos(2 * np.pi * throat * track[start] / RATE), radius**2]
            part, state = lfilter([1 - radius], poles, source[start : start + block], zi=state)
            out[start : start + block] += part
    return out / (out.std() + 1e-9)


def speech(rng):
    """Syllables: voiced stretches, hisses and bursts, with gaps."""
    out, at = np.zeros(LENGTH), int(rng.uniform(0, 0.3) * LENGTH)
    throat = voiced(rng)
    while at < LENGTH - 800:
        end = min(LENGTH, at + int(rng.uniform(0.04, 0.35) * RATE))
        kind = rng.random()
        if kind < 0.65:
            part = throat
        else:
            part = band(rng, noise(rng, 0), 1500, 6500)
            part = rng.uniform(0.1, 0.7) * part / (part.std() + 1e-9)
        out += part * envelope(rng, at, end, 0.015 if kind < 0.85 else 0.002)
        at = end + int(max(0, rng.normal(0.01, 0.06)) * RATE)
        if rng.random() < 0.2:
            break
    return out


def bell(rng):
    """Let partials die away, in a row or not."""
    out = np.zeros(LENGTH)
    ratios = np.sort(np.concatenate([[1], rng.uniform(1.2, 8, rng.integers(2, 9))]))
    for _ in range(rng.integers(1, 6)):
        base, start = np.exp(rng.uniform(np.log(80), np.log(3000))), int(rng.uniform(0, 0.8) * LENGTH)
        for ratio in ratios[ratios * base < 7900]:
            decay = np.exp(-TIME[: LENGTH - start] / rng.uniform(0.02, 0.8))
            out[start:] += rng.random() * decay * np.sin(2 * np.pi * base * ratio * TIME[: LENGTH - start])
    return out


def tune(rng):
    """Play notes one after another, alone or in chords."""
    out, at = np.zeros(LENGTH), 0
    base, step = rng.uniform(80, 500), rng.uniform(0.08, 0.5)
    strengths = rng.random(12) ** 2 * np.arange(1, 13.0) ** -rng.uniform(0, 2)
    while at < LENGTH - 400:
        end = min(LENGTH, at + int(step * RATE))
        for _ in range(rng.integers(1, 4)):
            pitch = base * 2 ** (rng.integers(0, 25) / 12)
            wave = phase(pitch * (1 + rng.choice([0, 0.01]) * np.sin(2 * np.pi * 5 * TIME)))
            out += envelope(rng, at, end) * sum(
                s * np.sin(k * wave) for k, s in enumerate(strengths, 1) if k * pitch < 7900
            )
        at = end
    return out


def bird(rng):
    """Fast glides with gaps."""
    out, at = np.zeros(LENGTH), int(rng.uniform(0, 0.3) * LENGTH)
    shape = glide(rng, 1200, 7000, rng.integers(2, 7))
    while at < LENGTH - 300:
        n = min(LENGTH - at, int(rng.uniform(0.02, 0.25) * RATE))
        curve = np.interp(np.linspace(0, 1, n), np.linspace(0, 1, LENGTH), shape)
        curve *= 1 + rng.choice([0, 0.1]) * np.sin(2 * np.pi * rng.uniform(10, 60) * TIME[:n])
        out[at : at + n] += np.hanning(n) * np.sin(phase(curve))
        at += n + int(rng.exponential(0.05) * RATE)
    return out


def engine(rng):
    """Pulses at a steady or moving rate through resonances, with noise in their time."""
    rate = glide(rng, 8, 180, rng.integers(1, 4))
    saw = (phase(rate) / (2 * np.pi)) % 1
    pulses = np.exp(-saw * rng.uniform(2, 30)) * (1 + rng.uniform(0, 2) * noise(rng, 0))
    return band(rng, pulses, 60, 2500) + 0.3 * band(rng, pulses)


def rain(rng):
    """Short bursts at random times, few or many."""
    hits = (rng.random(LENGTH) < rng.choice([3, 10, 100, 2000]) / RATE) * rng.standard_normal(LENGTH)
    decay = np.exp(-np.arange(2000) / rng.uniform(5, 600)) * rng.standard_normal(2000)
    return band(rng, fftconvolve(hits, decay)[:LENGTH])


def wind(rng):
    """Noise that swells."""
    return band(rng, noise(rng), 60, 4000) * glide(rng, 0.05, 1, rng.integers(2, 9)) + 0.1 * noise(rng)


def siren(rng):
    """Move a tone up and down, or let it beep."""
    wobble = np.sin(2 * np.pi * rng.uniform(0.3, 12) * TIME + rng.uniform(0, 6))
    wobble = np.sign(wobble) if rng.random() < 0.4 else wobble
    wave = phase(np.exp(rng.uniform(np.log(200), np.log(3000)) + rng.uniform(0, 0.5) * wobble).clip(50, 7000))
    out = sum(rng.random() / k * np.sin(k * wave) for k in range(1, rng.integers(2, 8)))
    return out * (wobble > 0) if rng.random() < 0.3 else out


KINDS = (speech, speech, speech, voiced, bell, tune, bird, engine, rain, wind, siren)


def sound(rng):
    """Draw a sound: one kind or two, in a room or not, near or far, over noise."""
    out = np.zeros(LENGTH)
    for _ in range(1 + (rng.random() < 0.3)):
        part = KINDS[rng.integers(len(KINDS))](rng)
        out += rng.uniform(0.3, 1) * part / (np.abs(part).max() + 1e-9)
    if rng.random() < 0.4:
        room = rng.standard_normal(6000) * np.exp(-np.arange(6000) / rng.uniform(300, 3000))
        out = out + rng.uniform(0, 1) * fftconvolve(out, room / np.linalg.norm(room))[:LENGTH]
    if rng.random() < 0.4:  # a narrow line, as of a telephone
        out = sosfilt(butter(4, rng.uniform(2500, 6000), "low", fs=RATE, output="sos"), out)
    out = out / (np.abs(out).max() + 1e-9) * 10 ** rng.uniform(-1.5, 0)
    hiss = noise(rng)
    out += hiss / (hiss.std() + 1e-9) * 10 ** rng.uniform(-5, -2)
    if rng.random() < 0.3:
        out[int(rng.uniform(0.2, 1) * LENGTH) :] = 0  # ends before the window does
    return out.astype(np.float32)
