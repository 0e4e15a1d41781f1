"""
What to label next
==================

Active learning in a loop of four lines: :func:`~sktransfer.select_for_labeling` says which rows a person should look
at, the person says what they are, and a model is fitted again. Against rows drawn at random.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

from sktransfer import PretrainedFeatureExtractor, PrototypeClassifier, select_for_labeling

X, truth = load_digits(return_X_y=True)
X, truth = X[:500], truth[:500]
features = PretrainedFeatureExtractor("sktransfer_mini").fit_transform(X)


def at_random(features, n_select, *, y, random_state):
    """Choose rows without a label at random."""
    return np.random.default_rng(random_state).permutation(np.flatnonzero(y < 0))[:n_select]


# %%
_, ax = plt.subplots(layout="constrained")
for name, choose in {"select_for_labeling": select_for_labeling, "at random": at_random}.items():
    curves = []
    for seed in range(2):
        y, curve = np.full(len(truth), -1), []
        for _ in range(5):
            rows = choose(features, 10, y=y, random_state=seed)
            y[rows] = truth[rows]  # a person looks at X[rows]
            model = PrototypeClassifier(guard=False).fit(features, y)
            curve.append(model.score(features[y < 0], truth[y < 0]))
        curves.append(curve)
    ax.plot(range(10, 60, 10), np.mean(curves, axis=0), marker="o", label=name)
ax.set(xlabel="labels in all (ten classes)", ylabel="accuracy on the others", title="Mean of two starts")
ax.legend()
plt.show()
