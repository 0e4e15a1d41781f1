"""
Products in a shop: a few classes, a few pictures
=================================================

Pictures of goods before a plain ground, ten of each kind. The pictures are generated: bottles, mugs and boxes in any
colour, so that colour says nothing and form says all.
"""

import matplotlib.pyplot as plt
import numpy as np
from PIL import Image, ImageDraw
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import ConfusionMatrixDisplay
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sktransfer import PretrainedFeatureExtractor


def draw(kind, rng):
    """Draw a product somewhere in a picture of 64 x 64 pixels."""
    ground, paint = (tuple(int(v) for v in rng.integers(*limits, 3)) for limits in ((190, 250), (0, 170)))
    image = Image.new("RGB", (64, 64), ground)
    pen = ImageDraw.Draw(image)
    x, y, size = rng.integers(6, 22), rng.integers(4, 14), rng.integers(30, 40)
    if kind == "bottle":
        pen.rounded_rectangle((x + size / 4, y + size / 3, x + size * 0.65, y + size * 1.2), 4, fill=paint)
        pen.rectangle((x + size * 0.37, y, x + size * 0.53, y + size / 3), fill=paint)
    elif kind == "mug":
        pen.rectangle((x, y + size / 3, x + size * 0.7, y + size), fill=paint)
        pen.ellipse((x + size * 0.55, y + size * 0.45, x + size, y + size * 0.85), outline=paint, width=4)
    else:
        pen.rectangle((x, y + size / 4, x + size, y + size), fill=paint)
        pen.line((x + size / 2, y + size / 4, x + size / 2, y + size), fill=ground, width=2)
    return image


rng = np.random.default_rng(0)
y = np.repeat(["bottle", "mug", "box"], 20)
X = [draw(kind, rng) for kind in y]

# %%
model = make_pipeline(
    PretrainedFeatureExtractor("sktransfer_mini"), StandardScaler(), LogisticRegression(C=0.01, max_iter=1000)
)
predicted = cross_val_predict(model, X, y, cv=5)

figure = plt.figure(figsize=(9, 3.6), layout="constrained")
left, right = figure.subfigures(1, 2)
for ax, i in zip(left.subplots(3, 4).flat, range(0, 60, 5), strict=True):
    ax.imshow(X[i])
    ax.set_axis_off()
ConfusionMatrixDisplay.from_predictions(y, predicted, ax=right.subplots(), colorbar=False)
plt.show()
