"""
When transfer hurts
===================

The target has two of the source's four classes. An adapter that matches the domains as a whole moves target rows onto
classes that are not there; the report says so, with an interval, and says how many target labels would have done as
well.
"""

import warnings

import matplotlib.pyplot as plt
from sklearn.linear_model import LogisticRegression

from sktransfer import (
    AdaptedClassifier,
    LabelEfficiencyDisplay,
    MMDAdapter,
    NegativeTransferDisplay,
    make_domain_shift,
    negative_transfer_report,
)

X, y, domain = make_domain_shift(200, 200, n_classes=4, shift="none", n_features=6, random_state=0)
kept = (domain == "source") | (y < 2)
X, y, domain = X[kept], y[kept], domain[kept]

# %%
adapted = AdaptedClassifier(LogisticRegression(), MMDAdapter(n_components=2))
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # NegativeTransferWarning, which is the point here
    report = negative_transfer_report(adapted, LogisticRegression(), X, y, sample_domain=domain, random_state=0)
print(report)

NegativeTransferDisplay.from_report(report)
LabelEfficiencyDisplay.from_report(report)
plt.show()
