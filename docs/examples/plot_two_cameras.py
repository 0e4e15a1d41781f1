"""
Two cameras
===========

Pictures of one camera are labelled, those of another, which sees the world inverted, are not. Features are moved
(:class:`~sktransfer.CORALAdapter`, :class:`~sktransfer.MMDAdapter`), or each camera is standardised by itself. None
is best everywhere, so that it pays to compare. The pictures are generated.
"""

import matplotlib.pyplot as plt
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sktransfer import (
    AdaptedClassifier,
    CORALAdapter,
    DomainShiftDisplay,
    DomainStandardizer,
    MMDAdapter,
    PretrainedFeatureExtractor,
    make_image_domains,
)

X, y, domain = make_image_domains(200, 200, kind="digits", target="inverted", random_state=0)
features = PretrainedFeatureExtractor("sktransfer_mini").fit_transform(X)
source, target = domain == "source", domain == "target"

# %%
# What no adaptation gives, and three ways to adapt. No label of the second camera is read; ``score`` reads them here
# to say how good that was.
linear = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=1000))
found = {"no adaptation": linear.fit(features[source], y[source]).score(features[target], y[target])}
for adapter in (DomainStandardizer(), CORALAdapter(), MMDAdapter(40)):
    adapted = AdaptedClassifier(linear, adapter).fit(features, y, sample_domain=domain)
    found[type(adapter).__name__] = adapted.score(features[target], y[target])

_, ax = plt.subplots(figsize=(6.5, 2.6), layout="constrained")
ax.bar_label(ax.barh(list(found), list(found.values())), fmt="{:.0%}", padding=3)
ax.set(xlim=(0, 1.1), xlabel="accuracy on the second camera")

# %%
# The domains before and after:
DomainShiftDisplay.from_estimator(adapted, features, sample_domain=domain, y=y, random_state=0)
plt.show()
