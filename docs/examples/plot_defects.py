"""
Defects, one in twenty
======================

Rare classes: what weights of the classes, resampling of the features and the focal loss do. The parts are generated,
a scratch on one of twenty. Accuracy says nothing here (95 % for never finding one); average precision does.
"""

import matplotlib.pyplot as plt
import numpy as np
from PIL import Image, ImageDraw, ImageFilter
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import PrecisionRecallDisplay
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sktransfer import FineTunedClassifier, PretrainedFeatureExtractor


def part(is_defect, rng):
    """Draw a metal part of 48 x 48 pixels, scratched or not."""
    texture = rng.normal(150, 18, (48, 48)).clip(0, 255).astype(np.uint8)
    image = Image.fromarray(texture).filter(ImageFilter.GaussianBlur(rng.uniform(0.5, 1.2)))
    pen = ImageDraw.Draw(image)
    x, y = rng.integers(8, 40, 2)
    pen.ellipse((x - 5, y - 5, x + 5, y + 5), outline=90)  # a drilled hole, on every part
    if is_defect:
        x, y, angle = *rng.integers(10, 38, 2), rng.uniform(0, np.pi)
        dx, dy = 11 * np.cos(angle), 11 * np.sin(angle)
        pen.line((x - dx, y - dy, x + dx, y + dy), fill=int(rng.integers(70, 100)))
    return image.convert("RGB")


rng = np.random.default_rng(0)
y = (np.arange(600) % 20 == 0).astype(int)
X = [part(defect, rng) for defect in y]
train, test = np.arange(0, 300), np.arange(300, 600)
X_train, X_test = [X[i] for i in train], [X[i] for i in test]

# %%
# SMOTE of imbalanced-learn stands between the extractor and the classifier in imbalanced-learn's own Pipeline, as any
# resampler does.
extractor = PretrainedFeatureExtractor("sktransfer_mini", layer=3, pooling="max")
scaler = StandardScaler()
models = {
    "as it is": make_pipeline(extractor, scaler, LogisticRegression(C=0.01, max_iter=1000)),
    "class_weight": make_pipeline(
        extractor, scaler, LogisticRegression(C=0.01, max_iter=1000, class_weight="balanced")
    ),
    "fine-tuned, focal loss": FineTunedClassifier(
        "sktransfer_mini", trainable=2, loss="focal", class_weight="balanced", max_epochs=10, random_state=0
    ),
}
_, ax = plt.subplots(layout="constrained")
for name, model in models.items():
    PrecisionRecallDisplay.from_estimator(model.fit(X_train, y[train]), X_test, y[test], name=name, ax=ax)
ax.set_title("finding 15 scratched parts among 300")
plt.show()
