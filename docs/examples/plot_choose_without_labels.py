"""
Choosing a parameter without target labels
==========================================

How many components, when no row of the target has a label? Scorers rate predictions by themselves; a grid search with
one of them needs no label of the target. The dotted line is what labels, had there been any, would have said.
"""

import matplotlib.pyplot as plt
import sklearn
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV

from sktransfer import (
    AdaptedClassifier,
    MMDAdapter,
    SourceTargetShuffleSplit,
    TransferEvidenceScorer,
    make_domain_shift,
    oracle_scorer,
)

X, y, domain = make_domain_shift(150, 150, shift="subspace", n_features=8, random_state=0)

# %%
grid = {"adapter__n_components": [1, 2, 3, 4, 6, 8]}
curves = {}
for name, scorer in {
    "TransferEvidenceScorer": TransferEvidenceScorer(),
    "accuracy on the target": oracle_scorer("accuracy"),
}.items():
    search = GridSearchCV(
        AdaptedClassifier(LogisticRegression(), MMDAdapter()),
        grid,
        scoring=scorer,
        cv=SourceTargetShuffleSplit(3, random_state=0),
    )
    with sklearn.config_context(enable_metadata_routing=True):
        search.fit(X, y, sample_domain=domain)
    curves[name] = search.cv_results_["mean_test_score"]

_, ax = plt.subplots(layout="constrained")
for (name, curve), style in zip(curves.items(), ("-o", ":s"), strict=True):
    ax.plot(grid["adapter__n_components"], curve, style, label=name)
ax.set(xlabel="n_components of MMDAdapter", ylabel="score")
ax.legend()
plt.show()
