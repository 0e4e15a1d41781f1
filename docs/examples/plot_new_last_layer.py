"""
A new last layer, and then more
===============================

The head alone, the last stages, the whole network: how far down training goes is one parameter. What was chosen for
the rates, and how the training went, is in ``recipe_`` and ``history_``.
"""

import matplotlib.pyplot as plt
from sklearn.model_selection import train_test_split

from sktransfer import FineTunedClassifier, LearningHistoryDisplay, make_image_domains

X, y, _ = make_image_domains(160, 1, kind="shapes", random_state=0)  # generated pictures
X_train, X_test, y_train, y_test = train_test_split(X, y, train_size=80, stratify=y, random_state=0)

# %%
# Everything below the first stage that trains runs once for each picture, not once an epoch.
_, ax = plt.subplots(layout="constrained")
for trainable in ("head", 2):
    clf = FineTunedClassifier("sktransfer_mini", trainable=trainable, max_epochs=20, random_state=0)
    clf.fit(X_train, y_train)
    accuracy = clf.score(X_test, y_test)
    print(f"trainable={trainable!r}: {accuracy:.1%} of the test pictures, {clf.recipe_}")
    LearningHistoryDisplay.from_estimator(clf, ax=ax, name=f"{trainable} ({accuracy:.0%})")
plt.show()
