"""What tests of deep adaptation share: an easy pair of domains, and rows of both in one batch."""

import functools

import numpy as np
import torch
from common_adapters import two_and_two

from sktransfer import FineTunedClassifier, deep_adaptation, make_image_domains
from sktransfer.deep_adaptation._alignment import Side
from sktransfer.deep_adaptation._classifier import DeepClassifier
from sktransfer.deep_adaptation._regressor import DeepRegressor


@functools.cache
def easy_pair(seed, kind="digits", target="inverted", n=200):
    """Pictures, labels and domains: white on black, and black on white."""
    return make_image_domains(n, n, kind=kind, target=target, random_state=seed)


@functools.cache
def source_only(seed, kind="digits", target="inverted", n=200):
    """Accuracy on the target of a head that never saw it."""
    X, y, domain = easy_pair(seed, kind, target, n)
    source = domain == "source"
    clf = FineTunedClassifier("sktransfer_mini", random_state=seed).fit(X[source], y[source])
    return clf.score(X[~source], y[~source])


def spurious_numbers(seed, n=300):
    """A table whose second column goes with the target numbers in the source only."""
    rng = np.random.default_rng(seed)
    y, domain = rng.normal(size=2 * n), np.repeat(["source", "target"], n)
    X = rng.normal(size=(2 * n, 6))
    X[:, 0] = y + 0.5 * rng.normal(size=2 * n)
    X[:, 1] = np.where(domain == "target", 2 * X[:, 1], y + 0.3 * X[:, 1])
    return X, y, domain


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


class _DomainSupplied:
    """Left of a public class: where a check gives no domain, half of the rows are target."""

    def _read_domains(self, X, y, sample_domain):
        sample_domain = two_and_two(len(y)) if sample_domain is None else sample_domain
        return super()._read_domains(X, y, sample_domain)


def _for_checks(cls):
    supplied = type(cls)(f"Supplied{cls.__name__}", (_DomainSupplied, cls), {"__module__": __name__})
    globals()[supplied.__name__] = supplied  # some checks pickle
    made = supplied(None, bottleneck=32, max_epochs=4, lr=0.1, batch_size=64, random_state=0)
    if cls is deep_adaptation.OSBPClassifier or issubclass(cls, DeepRegressor):  # they learn less in a step
        made.set_params(max_epochs=8, lr=0.05)
    return made.set_params(discriminator_hidden=16) if hasattr(made, "discriminator_hidden") else made


# Every method on tables; on pictures DANN alone, as nothing of the method knows what the features come from.
ESTIMATORS = [
    _for_checks(cls)
    for name in deep_adaptation.__all__
    if issubclass(cls := getattr(deep_adaptation, name), (DeepClassifier, DeepRegressor))
]
