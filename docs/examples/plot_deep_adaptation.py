"""
A network that learns from both domains
=======================================

Digits in white on black are labelled, those in black on white are not. Features of a frozen network can be moved; a
network can also learn features in which the domains agree, class by class (:class:`~sktransfer.DSANClassifier`), and
how the two losses went is in its history.
"""

import matplotlib.pyplot as plt

from sktransfer import DSANClassifier, FineTunedClassifier, LearningHistoryDisplay, make_image_domains

X, y, domain = make_image_domains(150, 150, kind="digits", target="inverted", random_state=0)
source, target = domain == "source", domain == "target"

# %%
plain = FineTunedClassifier("sktransfer_mini", random_state=0).fit(X[source], y[source])
deep = DSANClassifier("sktransfer_mini", random_state=0).fit(X, y, sample_domain=domain)
scores = {"source alone": plain.score(X[target], y[target]), "DSANClassifier": deep.score(X[target], y[target])}

_, (left, right) = plt.subplots(1, 2, figsize=(10, 3.4), layout="constrained")
left.bar_label(left.bar(list(scores), list(scores.values())), fmt="{:.0%}", padding=3)
left.set(ylim=(0, 1.1), ylabel="accuracy on inverted digits")
LearningHistoryDisplay.from_estimator(deep, ax=right)
plt.show()
