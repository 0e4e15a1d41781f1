"""
A model of one hospital, and a few patients of another
======================================================

What a model knows of one hospital is a start for the next, where a few patients are labelled. Its coefficients are
drawn towards the source's, and how strongly is chosen by the labelled patients themselves. The numbers are generated.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sktransfer import TransferredLogisticRegression

rng = np.random.default_rng(0)
true_source = rng.standard_normal(12)
true_target = true_source + 0.4 * rng.standard_normal(12)  # alike, and not the same


def patients(n, coefficients):
    X = rng.standard_normal((n, 12))
    return X, (X @ coefficients + rng.logistic(size=n) > 0).astype(int)


Xs, ys = patients(400, true_source)
X_test, y_test = patients(2000, true_target)
source = make_pipeline(StandardScaler(), LogisticRegression()).fit(Xs, ys)

# %%
sizes, draws = (10, 20, 50, 100), 8
curves = {"source alone": [], "target alone": [], "both rows pooled": [], "transferred": []}
for size in sizes:
    found = {name: [] for name in curves}
    for _ in range(draws):
        X, y = patients(size, true_target)
        models = {
            "source alone": source,
            "target alone": make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y),
            "both rows pooled": LogisticRegression().fit(np.vstack([Xs, X]), np.hstack([ys, y])),
            "transferred": TransferredLogisticRegression(source).fit(X, y),
        }
        for name, model in models.items():
            found[name].append(model.score(X_test, y_test))
    for name, scores in found.items():
        curves[name].append(np.mean(scores))

_, ax = plt.subplots(layout="constrained")
for name, curve in curves.items():
    ax.plot(sizes, curve, marker="o", label=name)
ax.set(xscale="log", xticks=sizes, xticklabels=sizes, xlabel="labelled patients of the new hospital", ylabel="accuracy")
ax.minorticks_off()
ax.legend()
plt.show()
