"""
Where in the picture the evidence lies
======================================

:class:`~sktransfer.GradCAMDisplay` shows which part of a picture speaks for its class: here for shapes, by the last
map of the network, which is coarse, and by an earlier one, which is finer and knows less of shapes.
"""

import matplotlib.pyplot as plt
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sktransfer import GradCAMDisplay, PretrainedFeatureExtractor, make_image_domains

X, y, _ = make_image_domains(120, 1, kind="shapes", n_classes=2, random_state=0)
# %%
model = make_pipeline(
    PretrainedFeatureExtractor("sktransfer_mini"), StandardScaler(), LogisticRegression(C=0.01, max_iter=1000)
).fit(X, y)

_, axes = plt.subplots(2, 4, figsize=(9, 5), layout="constrained")
for row, layer in zip(axes, (None, 3), strict=True):
    GradCAMDisplay.from_estimator(model, X[:4], layer=layer, ax=row)
    row[0].set_title(f"layer={layer}: {row[0].get_title()}")
plt.show()
