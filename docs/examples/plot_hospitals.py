"""
Several hospitals, and one that is new
======================================

Each hospital measures on a scale of its own, and has its own share of the sick. Every hospital is left out in turn:
how good would a model have been there, without a single label of it? The numbers are generated.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sktransfer import AdaptedClassifier, CORALAdapter, DomainStandardizer

rng = np.random.default_rng(0)
hospitals = np.repeat(["north", "south", "east", "west"], 150)
y = np.concatenate([(rng.random(150) < share).astype(int) for share in (0.3, 0.5, 0.4, 0.5)])
X = rng.standard_normal((600, 8)) + 0.7 * y[:, None] * np.array([1, 1, -1, 0, 0, 0, 0.5, 0])
for name in np.unique(hospitals):  # a device of its own
    here = hospitals == name
    X[here] = X[here] * rng.uniform(0.4, 2.5, 8) + rng.normal(0, 2, 8)

# %%
# The hospital that is left out is the target: its rows are seen, its labels are not.
found = {"no adaptation": [], "DomainStandardizer": [], "CORALAdapter": []}
for name in np.unique(hospitals):
    new = hospitals == name
    plain = make_pipeline(StandardScaler(), LogisticRegression()).fit(X[~new], y[~new])
    found["no adaptation"].append(plain.score(X[new], y[new]))
    for adapter in (DomainStandardizer(target_domain=name), CORALAdapter(target_domain=name)):
        model = AdaptedClassifier(LogisticRegression(), adapter).fit(X, y, sample_domain=hospitals)
        found[type(adapter).__name__].append(model.score(X[new], y[new]))

_, ax = plt.subplots(layout="constrained")
for i, (name, accuracy) in enumerate(found.items()):
    ax.bar(np.arange(4) + 0.27 * (i - 1), accuracy, 0.25, label=f"{name} ({np.mean(accuracy):.0%})")
ax.set(xticks=range(4), xticklabels=np.unique(hospitals), ylabel="accuracy in the hospital left out", ylim=(0, 1.05))
ax.legend(loc="upper center", ncols=3, fontsize="small")
plt.show()
