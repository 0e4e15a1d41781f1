"""
Which backbone?
===============

Networks ranked by a score of their features, without training any of them. The bundled network is compared with its
own architecture at random, and with a larger network at random: a score that is worth something puts the pretrained
one first.
"""

import matplotlib.pyplot as plt
from sklearn.datasets import load_digits

from sktransfer import ImageBackbone, TransferabilityDisplay, rank_backbones

X, y = load_digits(return_X_y=True)
X, y = X[:200], y[:200]

# %%
candidates = {  # names of your own, or a list of names of timm
    "sktransfer_mini": "sktransfer_mini",
    "mobilenetv2_050, random": ImageBackbone("mobilenetv2_050", weights=None, image_size=96),
    "resnet10t, random": ImageBackbone("resnet10t", weights=None, image_size=64),
}
ranking = rank_backbones(candidates, X, y, random_state=0)
TransferabilityDisplay.from_ranking(ranking)
plt.show()
