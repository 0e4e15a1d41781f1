"""
Words of a speaker who was never heard
======================================

Words are sequences of tones here, spoken by voices of different pitch; the last voice is left out of the training. A
layer that keeps time tells words, pooled features of the last layer do not, and each voice standardised by itself is
nearer to the others. All sounds are generated.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.linear_model import RidgeClassifier

from sktransfer import DomainStandardizer, PretrainedFeatureExtractor

RATE = 16000
WORDS = {"up": (1, 1.5, 2), "down": (2, 1.5, 1), "hill": (1, 2, 1), "dale": (2, 1, 2)}


def say(word, pitch, rng):
    """Say a word of three syllables in the pitch of a voice."""
    parts = []
    for step in WORDS[word]:
        time = np.arange(int(rng.uniform(0.13, 0.19) * RATE)) / RATE
        tone = sum(np.sin(2 * np.pi * k * pitch * step * time) / k for k in range(1, 6))
        parts.append(tone * np.hanning(len(time)))
    sound = np.concatenate(parts)
    return 0.3 * sound + 0.01 * rng.standard_normal(len(sound))


rng = np.random.default_rng(0)
voices = {"anna": 300, "ben": 220, "carl": 260, "dora": 360}
rows = [(word, voice) for voice in voices for word in WORDS for _ in range(6)]
X = [say(word, voices[voice] * rng.uniform(0.97, 1.03), rng) for word, voice in rows]
word, voice = np.array(rows).T
unheard = voice == "dora"

# %%
found = {}
for name, options in {"last layer, pooled": {}, "layer 2, time kept": {"layer": 2, "pooling": "time"}}.items():
    features = PretrainedFeatureExtractor("audio:sktransfer_mini", **options).fit_transform(X)
    by_voice = DomainStandardizer(target_domain="dora").fit_transform(features, sample_domain=voice)
    for way, rows in {"": features, ", by voice": by_voice}.items():
        model = RidgeClassifier(100).fit(rows[~unheard], word[~unheard])
        found[name + way] = model.score(rows[unheard], word[unheard])

_, ax = plt.subplots(figsize=(6.5, 2.6), layout="constrained")
ax.bar_label(ax.barh(list(found), list(found.values())), fmt="{:.0%}", padding=3)
ax.axvline(0.25, color="grey", linestyle=":")
ax.set(xlim=(0, 1.1), xlabel="accuracy on the unheard voice (dotted: chance)")
plt.show()
