"""
Source rows that matter
=======================

Where the domains differ in where rows lie and not in what they mean, source rows that lie where the target does
should count more. A straight boundary cannot follow the whole source; weighted, it follows the part that matters.
"""

import matplotlib.pyplot as plt
from sklearn.inspection import DecisionBoundaryDisplay
from sklearn.linear_model import LogisticRegression

from sktransfer import AdaptedClassifier, KMMWeighter, RuLSIFWeighter, make_domain_shift

X, y, domain = make_domain_shift(200, 200, shift="covariate", strength=0.6, random_state=0)
source, target = domain == "source", domain == "target"

# %%
_, axes = plt.subplots(1, 3, figsize=(11, 3.8), layout="constrained", sharey=True)
plain = LogisticRegression().fit(X[source], y[source])
models = {"unweighted": (plain, None)}
for weighter in (KMMWeighter(), RuLSIFWeighter()):
    adapted = AdaptedClassifier(LogisticRegression(), weighter).fit(X, y, sample_domain=domain)
    models[type(weighter).__name__] = (adapted.estimator_, adapted.adapter_.weights_)
for ax, (name, (model, weights)) in zip(axes, models.items(), strict=True):
    DecisionBoundaryDisplay.from_estimator(model, X, response_method="predict", cmap="RdBu", alpha=0.25, ax=ax)
    ax.scatter(*X[target].T, c="lightgrey", s=8)
    size = 12 if weights is None else 2 + 20 * weights
    ax.scatter(*X[source].T, c=y[source], cmap="RdBu", s=size, edgecolors="k", linewidths=0.3)
    ax.set_title(f"{name}: {model.score(X[target], y[target]):.0%} of the target")
plt.show()
