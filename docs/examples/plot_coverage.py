"""
Sets that keep their promise in another domain
==============================================

A conformal classifier promises sets that hold the true class in 90 % of the cases, for rows like those it was
calibrated on. In the target it breaks the promise; weights of the calibration rows, by how much they resemble the
target, mend it.
"""

import matplotlib.pyplot as plt
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures

from sktransfer import CoverageDisplay, DomainClassifierWeighter, WeightedConformalClassifier, make_domain_shift

X, y, domain = make_domain_shift(600, 600, shift="covariate", strength=0.4, noise=0.6, random_state=0)
target = domain == "target"

# %%
# The classifier is a straight line, which is wrong where the target lies.
weighter = DomainClassifierWeighter(make_pipeline(PolynomialFeatures(2), LogisticRegression()))
_, axes = plt.subplots(1, 2, figsize=(9, 4), layout="constrained")
for name, model in {
    "plain": WeightedConformalClassifier(LogisticRegression(), random_state=0),
    "weighted": WeightedConformalClassifier(LogisticRegression(), weighter, random_state=0),
}.items():
    model.fit(X, y, sample_domain=domain)
    CoverageDisplay.from_estimator(model, X[target], y[target], name=name, ax=axes)
plt.show()
