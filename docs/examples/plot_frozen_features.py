"""
Frozen features, pooled and as a map
====================================

A pretrained network without its last layer, and a linear model in its place: the oldest recipe of transfer learning.
The features are either averaged over the picture ("global average pooling") or taken as the whole map, as ``Flatten``
before a dense layer does. The map knows where things are, has many more numbers, and wants more labels.
"""

import matplotlib.pyplot as plt
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import LearningCurveDisplay, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sktransfer import PretrainedFeatureExtractor

X, y = load_digits(return_X_y=True)  # real scans that come with scikit-learn
X, y = X[:400], y[:400]

# %%
# ``layer=3`` is the third stage: earlier than the last, so that its map has some extent. Each picture passes the
# network once, however many folds and sizes follow.
pooled = PretrainedFeatureExtractor("sktransfer_mini")
as_map = PretrainedFeatureExtractor("sktransfer_mini", layer=3, pooling="flatten")
linear = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=1000))

_, ax = plt.subplots(layout="constrained")
cv = StratifiedKFold(3, shuffle=True, random_state=0)
for name, step in {"pooled": pooled, "map, flattened": as_map, "pixels": "passthrough"}.items():
    display = LearningCurveDisplay.from_estimator(
        make_pipeline(step, linear), X, y, train_sizes=[0.2, 0.5, 1.0], cv=cv, score_type="test", ax=ax
    )
    display.lines_[-1].set_label(name)
ax.set(title="Digits, logistic regression", ylabel="accuracy", xlabel="labelled pictures")
ax.legend()
plt.show()
