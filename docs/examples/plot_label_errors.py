"""
Wrong labels
============

Some labels are wrong on purpose here. Probabilities that were predicted out of fold, from frozen features, find them:
rows whose own label is improbable. How many to look at, cleanlab estimates from the same two arrays
(:doc:`/how_to/wrong_labels`).
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sktransfer import PretrainedFeatureExtractor

X, truth = load_digits(return_X_y=True)
X, truth = X[:500], truth[:500]
rng = np.random.default_rng(0)
y = truth.copy()
wrong = rng.choice(len(y), 15, replace=False)
y[wrong] = (y[wrong] + rng.integers(1, 10, len(wrong))) % 10

# %%
model = make_pipeline(
    PretrainedFeatureExtractor("sktransfer_mini"), StandardScaler(), LogisticRegression(C=0.01, max_iter=1000)
)
probabilities = cross_val_predict(model, X, y, cv=5, method="predict_proba")
suspects = probabilities[np.arange(len(y)), y].argsort()[:15]
print(f"{np.isin(suspects, wrong).sum()} of the 15 most suspicious rows are among the 15 wrong ones.")

_, axes = plt.subplots(3, 5, figsize=(8, 5.4), layout="constrained")
for ax, row in zip(axes.flat, suspects, strict=True):
    ax.imshow(X[row].reshape(8, 8), cmap="gray_r")
    ax.set_title(f"labelled {y[row]}", color="firebrick" if row in wrong else "black")
    ax.set_axis_off()
plt.suptitle("The most suspicious labels (red: really wrong)")
plt.show()
