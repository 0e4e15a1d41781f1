"""
A label for every pixel, from a few strokes
===========================================

Two pictures with a few strokes on them are enough for a map of every other one: a classifier of pixels on frozen
features. The pictures are generated: grains of one texture on a ground of another, of the same mean grey.
"""

import matplotlib.pyplot as plt
import numpy as np
from scipy.ndimage import gaussian_filter

from sktransfer import PixelClassifier, SegmentationDisplay

rng = np.random.default_rng(0)
rows, columns = np.mgrid[:96, :128]


def draw():
    """Draw four grains of fine texture on a coarse one."""
    mask = np.zeros(rows.shape, dtype=int)
    for _ in range(4):
        top, left, size = rng.integers(12, 84), rng.integers(12, 116), rng.integers(9, 18)
        mask[(rows - top) ** 2 + ((columns - left) * rng.uniform(0.7, 1.3)) ** 2 < size**2] = 1
    fine, coarse = (gaussian_filter(rng.standard_normal(rows.shape), sigma) for sigma in (0.7, 2.5))
    texture = np.where(mask, fine / fine.std(), coarse / coarse.std())
    return (128 + 35 * texture).clip(0, 255).astype(np.uint8), mask


X, masks = map(np.array, zip(*[draw() for _ in range(5)], strict=True))

# %%
# A stroke is a row of 30 pixels: two on grains and two on the ground in each of two pictures. -1 is "not labelled".
strokes = np.full((2, *rows.shape), -1)
for picture in range(2):
    for label in (0, 1):
        for at in rng.choice(np.argwhere(masks[picture] == label), 2):
            here = (slice(at[0], at[0] + 1), slice(max(at[1] - 15, 0), at[1] + 15))
            same = masks[picture][here] == label
            strokes[picture][here][same] = label

model = PixelClassifier("sktransfer_mini", layers=(0, 1), scale=2, random_state=0).fit(X[:2], strokes)
print(f"{(strokes >= 0).sum()} labelled pixels; mean intersection over union {model.score(X[2:], masks[2:]):.2f}")
SegmentationDisplay.from_estimator(model, X[2:], masks[2:], class_names={0: "ground", 1: "grain"})
plt.show()
