"""
Reviews: from one department to another
=======================================

Praise and blame are learned from reviews of books, and asked for of kitchenware, where other words carry them. The
texts are generated from short phrases; ``"text:sktransfer_mini"`` comes with the package.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from sktransfer import AdaptedClassifier, FeatureAugmentationAdapter, PretrainedFeatureExtractor, pack_domains

PRAISE = {
    "books": [
        "a moving story",
        "wonderful characters",
        "I could not put it down",
        "beautifully written",
        "a joy to read",
    ],
    "kitchen": ["works perfectly", "sturdy and sharp", "easy to clean", "does what it should", "excellent value"],
}
BLAME = {
    "books": ["a boring plot", "poorly written", "a waste of paper", "I gave up after ten pages", "dull and too long"],
    "kitchen": ["broke after a week", "not worth the money", "cheap plastic", "it leaks and is loud", "a bad seal"],
}
THINGS = {"books": ["this novel", "the book", "her new story"], "kitchen": ["this pan", "the blender", "my new knife"]}


def reviews(department, n, rng):
    """Draw reviews, half of them good."""
    labels = np.arange(n) % 2
    texts = []
    for good in labels:
        phrases = rng.choice((PRAISE if good else BLAME)[department], 2, replace=False)
        texts.append(f"{rng.choice(THINGS[department])}: {phrases[0]}, {phrases[1]}")
    return texts, labels


rng = np.random.default_rng(0)
books, kitchen = reviews("books", 80, rng), reviews("kitchen", 80, rng)
few = np.where(np.arange(80) < 10, kitchen[1], -1)  # -1: no label
X, y, domain = pack_domains(source=books, target=(kitchen[0], few))

# %%
# Words alone; an embedding, to which words that it never met in a review of books mean something; and the same with
# ten labels of the kitchen, by which the two departments keep what they share and what each has for itself.
linear = LogisticRegression(max_iter=1000)
embedding = PretrainedFeatureExtractor("text:sktransfer_mini")
found = {
    "TF-IDF": make_pipeline(TfidfVectorizer(), linear).fit(*books).score(*kitchen),
    "embedding": make_pipeline(embedding, linear).fit(*books).score(*kitchen),
}
adapted = AdaptedClassifier(linear, FeatureAugmentationAdapter(), use_target_labels=True)
model = make_pipeline(embedding, adapted).fit(X, y, adaptedclassifier__sample_domain=domain)
found["embedding, ten labels"] = model.score(kitchen[0][10:], kitchen[1][10:])

_, ax = plt.subplots(figsize=(6, 2.4), layout="constrained")
bars = ax.barh(list(found), list(found.values()))
ax.bar_label(bars, fmt="{:.0%}", padding=3)
ax.set(xlim=(0, 1.1), xlabel="accuracy on kitchenware, learned from books")
plt.show()
