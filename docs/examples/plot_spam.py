"""
Spam, and the words that give it away
=====================================

A dozen messages of each kind, embeddings that come with the package, and a linear model; then the words of new
messages are coloured by how much they speak for spam, or against it.
"""

import matplotlib.pyplot as plt
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from sktransfer import PretrainedFeatureExtractor, TokenSaliencyDisplay

spam = [
    "You have won a free prize, call now to claim it",
    "Cheap loans approved today, no credit check",
    "Urgent: your account is suspended, verify your password",
    "Free ringtones, text WIN to 80085",
    "Exclusive offer, buy two and get one free",
    "Congratulations, you were selected for a cash award",
    "Lose weight fast with this one pill",
    "Claim your voucher before midnight",
]
ham = [
    "Are we still meeting for lunch tomorrow?",
    "I left my keys at your place, sorry",
    "Can you send me the notes of the lecture",
    "Happy birthday, see you on Sunday",
    "The train is late, start without me",
    "Mum says dinner is at seven",
    "Thanks for your help with the garden",
    "Did you feed the cat this morning?",
]
model = make_pipeline(PretrainedFeatureExtractor("text:sktransfer_mini"), LogisticRegression(C=100))
model.fit(spam + ham, ["spam"] * len(spam) + ["ham"] * len(ham))

# %%
new = ["call me when the train arrives", "claim your free train ticket now, call today"]
print(model.predict(new))
display = TokenSaliencyDisplay.from_estimator(model, new, target="spam")
plt.show()
