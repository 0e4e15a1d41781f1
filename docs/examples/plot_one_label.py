"""
One label a class
=================

Ten labelled digits, one of each, and 390 without a label. Prototypes, refined on the rows without a label, against
what a linear model makes of the labels alone, and scikit-learn's self-training of both kinds of rows.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.semi_supervised import SelfTrainingClassifier

from sktransfer import PretrainedFeatureExtractor, PrototypeClassifier

X, y = load_digits(return_X_y=True)
X, y = X[:400], y[:400]
features = PretrainedFeatureExtractor("sktransfer_mini").fit_transform(X)

# %%
# -1 marks a missing label. Three draws of the labels, at 1, 2 and 5 a class.
linear = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=1000))
models = {
    "PrototypeClassifier": PrototypeClassifier(guard=False),
    "LogisticRegression": linear,
    "SelfTrainingClassifier": SelfTrainingClassifier(linear),
}
sizes, rng = (1, 2, 5), np.random.default_rng(0)
accuracy = {name: np.zeros((len(sizes), 3)) for name in models}
for at, size in enumerate(sizes):
    for draw in range(3):
        chosen = np.concatenate([rng.choice(np.flatnonzero(y == digit), size, replace=False) for digit in range(10)])
        labels = np.full(len(y), -1)
        labels[chosen] = y[chosen]
        for name, model in models.items():
            rows = chosen if name == "LogisticRegression" else np.arange(len(y))
            fitted = model.fit(features[rows], labels[rows])
            accuracy[name][at, draw] = (fitted.predict(features) == y)[labels < 0].mean()

_, ax = plt.subplots(layout="constrained")
for name, found in accuracy.items():
    ax.errorbar(sizes, found.mean(1), found.std(1), marker="o", capsize=3, label=name)
ax.set(xscale="log", xticks=sizes, xticklabels=sizes, xlabel="labels a class", ylabel="accuracy on the other rows")
ax.minorticks_off()
ax.legend()
plt.show()
