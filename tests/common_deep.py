"""What tests of deep adaptation share: an easy pair of domains, and rows of both in one batch."""

import functools

import numpy as np
import torch

from sktransfer import make_image_domains
from sktransfer.deep_adaptation._alignment import Side


@functools.cache
def easy_pair(seed, kind="digits", target="inverted", n=200):
    """Pictures, labels and domains: white on black, and black on white."""
    return make_image_domains(n, n, kind=kind, target=target, random_state=seed)


def side(features, scores=None, values=None, weights=None):
    """Rows of one domain, as a method gets them."""
    features = torch.as_tensor(features)
    n = len(features)
    return Side(
        features,
        torch.zeros(n, 2, dtype=features.dtype) if scores is None else torch.as_tensor(scores),
        features,
        torch.zeros(n, dtype=torch.long) if values is None else torch.as_tensor(values),
        torch.ones(n, dtype=features.dtype) if weights is None else torch.as_tensor(weights),
    )


def two_sides(n=7, m=5, d=4, k=3, seed=0):
    """Random float64 features and scores of both domains that take gradients."""
    rng = np.random.default_rng(seed)

    def draw(rows, *columns):
        return torch.tensor(rng.normal(size=(rows, *columns)), requires_grad=True)

    source = side(draw(n, d), draw(n, k), torch.tensor(rng.integers(0, k, n)))
    return source, side(draw(m, d), draw(m, k))
