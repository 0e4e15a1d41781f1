"""
Intervals that keep their promise in another domain
===================================================

A conformal regressor promises intervals that hold the truth in 90 % of the cases, for rows like those that it was
calibrated on. In the target, where the noise is greater, it breaks the promise; weights of the calibration rows, by
how much they resemble the target, mend it. The numbers are generated.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.linear_model import LinearRegression

from sktransfer import CoverageDisplay, DomainClassifierWeighter, WeightedConformalRegressor

rng = np.random.default_rng(0)
X = np.concatenate([rng.normal(0, 1, (800, 1)), rng.normal(0.8, 0.8, (800, 1))])
y = X[:, 0] + (0.3 + np.exp(X[:, 0])) * rng.standard_normal(1600)
domain = np.repeat(["source", "target"], 800)
target = domain == "target"

# %%
# Without `sample_domain` there is one domain, and every row counts alike.
_, axes = plt.subplots(1, 2, figsize=(9, 4), layout="constrained")
plain = WeightedConformalRegressor(LinearRegression(), random_state=0).fit(X[~target], y[~target])
weighted = WeightedConformalRegressor(LinearRegression(), DomainClassifierWeighter(), random_state=0)
weighted.fit(X, y, sample_domain=domain)
for name, model in {"plain": plain, "weighted": weighted}.items():
    CoverageDisplay.from_estimator(model, X[target], y[target], name=name, ax=axes)
plt.show()
