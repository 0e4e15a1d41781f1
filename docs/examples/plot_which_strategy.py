"""
Which strategy?
===============

:class:`~sktransfer.TransferSearchCV` tries what there is, from the cheapest to the dearest, and is the winner.
Strategies that fall behind on part of the rows are not trained on all of them.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.model_selection import train_test_split

from sktransfer import TransferSearchCV, make_image_domains

X, y, _ = make_image_domains(200, 1, kind="digits", random_state=0)
X_train, X_test, y_train, y_test = train_test_split(X, y, train_size=100, stratify=y, random_state=0)

# %%
strategies = ["no_transfer", "frozen_linear", "frozen_knn", "frozen_prototypes", "head"]
search = TransferSearchCV("sktransfer_mini", strategies, random_state=0).fit(X_train, y_train)
print(search.report_)
print(f"on the test pictures: {search.score(X_test, y_test):.1%}")

results = search.cv_results_
order = np.argsort(results["mean_test_score"])
names = [str(results["strategy"][i]) for i in order]
_, ax = plt.subplots(figsize=(6.5, 2.8), layout="constrained")
ax.bar_label(ax.barh(names, np.asarray(results["mean_test_score"])[order]), fmt="{:.0%}", padding=3)
ax.set(xlim=(0, 1.1), xlabel="mean accuracy on the folds that each was tried on")
plt.show()
