"""
Who is speaking?
================

Five recordings of each voice are enough to tell voices apart, whatever they say. The voices are generated: pulses of
a throat through resonances that belong to the speaker.
"""

import matplotlib.pyplot as plt
import numpy as np
from scipy.signal import lfilter
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import ConfusionMatrixDisplay
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sktransfer import PretrainedFeatureExtractor

RATE = 16000


def speak(pitch, resonances, rng):
    """Speak for a second; pitch and resonances wander a little."""
    n = RATE
    wander = 1 + 0.06 * np.interp(np.arange(n), np.linspace(0, n, 6), rng.standard_normal(6))
    phase = np.cumsum(pitch * wander) / RATE
    sound = np.diff(np.floor(phase), prepend=0) + 0.01 * rng.standard_normal(n)
    for centre in resonances:
        centre, radius = centre * rng.uniform(0.93, 1.07), 0.97
        sound = lfilter([1], [1, -2 * radius * np.cos(2 * np.pi * centre / RATE), radius**2], sound)
    return 0.3 * sound / np.abs(sound).max()


speakers = {"anna": (210, (700, 1900, 2900)), "ben": (110, (550, 1300, 2400)), "cleo": (180, (450, 2200, 3100))}
rng = np.random.default_rng(0)
y = np.repeat(list(speakers), 15)
X = [speak(*speakers[name], rng) for name in y]
train = np.arange(len(y)) % 15 < 5

# %%
model = make_pipeline(
    PretrainedFeatureExtractor("audio:sktransfer_mini"), StandardScaler(), LogisticRegression(C=0.01, max_iter=1000)
)
model.fit([X[i] for i in np.flatnonzero(train)], y[train])
ConfusionMatrixDisplay.from_estimator(model, [X[i] for i in np.flatnonzero(~train)], y[~train], colorbar=False)
plt.title("five recordings of each voice, ten unheard ones")
plt.show()
