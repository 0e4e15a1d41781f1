"""
One's own model as the source
=============================

A fitted estimator is a backbone for the next: a network that learned ten digits is asked for letters of which there
are few. Against the network that both began with.
"""

import matplotlib.pyplot as plt
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sktransfer import FineTunedClassifier, PretrainedFeatureExtractor


def write(letter, rng):
    """Write a letter, moved, turned and thick or thin."""
    image = Image.new("L", (40, 40), 0)
    pen = ImageDraw.Draw(image)
    place = tuple(int(v) for v in rng.integers(6, 14, 2))
    pen.text(place, letter, fill=255, font=ImageFont.load_default(int(rng.integers(18, 26))))
    return image.rotate(rng.uniform(-25, 25)).resize((32, 32)).convert("RGB")


rng = np.random.default_rng(0)
digits = np.repeat(list("0123456789"), 30)
letters = np.repeat(list("ABCDEFGH"), 25)
X_digits, X_letters = [write(sign, rng) for sign in digits], [write(sign, rng) for sign in letters]

# %%
source = FineTunedClassifier("sktransfer_mini", trainable=2, max_epochs=12, random_state=0).fit(X_digits, digits)
train = np.arange(len(letters)) % 25 < 3  # three of each letter
found = {}
for name, backbone in {"sktransfer_mini": "sktransfer_mini", "tuned on digits": source}.items():
    model = make_pipeline(
        PretrainedFeatureExtractor(backbone), StandardScaler(), LogisticRegression(C=0.01, max_iter=1000)
    )
    model.fit([X_letters[i] for i in np.flatnonzero(train)], letters[train])
    found[name] = model.score([X_letters[i] for i in np.flatnonzero(~train)], letters[~train])

_, (left, right) = plt.subplots(1, 2, figsize=(9, 2.6), layout="constrained")
left.imshow(np.hstack([np.asarray(X_letters[i]) for i in range(0, 200, 25)]))
left.set_axis_off()
right.bar_label(right.barh(list(found), list(found.values())), fmt="{:.0%}", padding=3)
right.set(xlim=(0, 1.1), xlabel="accuracy on letters, three of each labelled")
plt.show()
