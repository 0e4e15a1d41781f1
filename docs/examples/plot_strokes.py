"""
Strokes become maps
===================

A person draws a few strokes, :class:`~sktransfer.PixelClassifier` labels every pixel, the person looks where it is
wrong and draws there. The pictures pass the network once: later rounds find their maps in the cache.
"""

import matplotlib.pyplot as plt
import numpy as np

from sktransfer import PixelClassifier, SegmentationDisplay

rng = np.random.default_rng(0)
rows, columns = np.mgrid[:96, :128]


def scene():
    """Fine stripes on a disk and dots on a square, on coarse stripes of the same colours."""
    top, left, across = rng.integers(25, 70), rng.integers(25, 50), rng.integers(75, 100)
    truth = np.zeros(rows.shape, dtype=int)
    truth[(rows - top) ** 2 + (columns - left) ** 2 < 20**2] = 1
    truth[(abs(rows - 96 + top) < 16) & (abs(columns - across) < 16)] = 2
    textures = columns % 12 < 6, (rows + columns) % 4 < 2, (rows % 4 < 2) & (columns % 4 < 2)
    picture = 60 + 120 * np.choose(truth, textures) + rng.integers(0, 50, rows.shape)
    return picture.astype(np.uint8), truth


pictures, truth = map(np.array, zip(*[scene() for _ in range(6)], strict=True))
NAMES = {0: "ground", 1: "disk", 2: "square"}

# %%
# Where nothing is drawn stands -1. The first strokes: three short lines on the first picture.
strokes = np.full(truth.shape, -1)
for label in NAMES:
    row = np.flatnonzero((truth[0] == label).any(axis=1)).mean().astype(int)
    line = np.flatnonzero(truth[0, row] == label)[3:13]
    strokes[0, row, line] = label
model = PixelClassifier("sktransfer_mini", random_state=0).fit(pictures[:3], strokes[:3])

# %%
# In each further round twelve pixels that are wrong are corrected on the first three pictures; the last three are
# never drawn upon.
scores = [model.score(pictures[3:], truth[3:])]
for _ in range(3):
    wrong = np.argwhere(model.predict(pictures[:3]) != truth[:3])
    places = tuple(rng.permutation(wrong)[:12].T)
    strokes[places] = truth[places]
    model.fit(pictures[:3], strokes[:3])
    scores.append(model.score(pictures[3:], truth[3:]))
print("mean intersection over union, round by round:", np.round(scores, 2))

# %%
SegmentationDisplay.from_estimator(model, pictures[3:], truth[3:], n_pictures=2, class_names=NAMES).plot_iou()
plt.show()
