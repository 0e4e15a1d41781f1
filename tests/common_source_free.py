"""What tests of adaptation without source data share: source models, and how scikit-learn's checks get one."""

import functools

from common_deep import SuppliedDANNClassifier, easy_pair
from torch import nn

from sktransfer import DANNClassifier, FineTunedClassifier, LAMEClassifier, Recipe, make_domain_shift
from sktransfer.deep_adaptation._adabn import AdaBNClassifier
from sktransfer.deep_adaptation._shot import SHOTClassifier
from sktransfer.deep_adaptation._tent import TENTClassifier
from sktransfer.utils._random import isolated_rng

METHODS = [AdaBNClassifier, TENTClassifier, SHOTClassifier]


def _block(n_in, n_out):
    return nn.Sequential(nn.Conv2d(n_in, n_out, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(n_out), nn.ReLU())


def small_network():
    """Three stages of convolutions with BatchNorm: 32 x 32 pixels to 64 features."""
    with isolated_rng(0):
        return nn.Sequential(_block(3, 16), _block(16, 32), _block(32, 64))


@functools.cache
def picture_source(seed, kind="shapes"):
    """A network whose BatchNorm layers have the statistics of white shapes on black."""
    X, y, domain = easy_pair(seed, kind, "noisy")
    clf = FineTunedClassifier(
        small_network(),
        image_size=32,
        trainable="all",
        max_epochs=15,
        lr=3e-3,
        recipe=Recipe(label_smoothing=0.1),
        random_state=seed,
    )
    return clf.fit(X[domain == "source"], y[domain == "source"])


def target_of(seed, kind="shapes", target="noisy"):
    """Target rows and their labels."""
    X, y, domain = easy_pair(seed, kind, target)
    return X[domain == "target"], y[domain == "target"]


@functools.cache
def table():
    """Rows and labels of a table with string labels, and the roles of the rows."""
    X, y, domain = make_domain_shift(100, 100, n_features=3, n_classes=3, shift="subspace", random_state=0)
    return X, y.astype(str), domain


@functools.cache
def table_source(bottleneck=16):
    """A network on a table."""
    X, y, domain = table()
    clf = DANNClassifier(None, trade_off=0, bottleneck=bottleneck, max_epochs=10, lr=0.01, random_state=0)
    return clf.fit(X, y, sample_domain=domain)


class _SourceSupplied:
    """Left of a public class: where a check gives no source model, one is fitted to its rows and labels."""

    def fit(self, X, y=None):
        given = self.estimator
        if given is None:
            source = SuppliedDANNClassifier(
                None, bottleneck=32, discriminator_hidden=16, max_epochs=4, lr=0.1, batch_size=64, random_state=0
            )
            self.estimator = source.fit(X, y)
        try:
            return super().fit(X, y)
        finally:
            self.estimator = given


def _for_checks(cls, **options):
    supplied = type(cls)(f"Supplied{cls.__name__}", (_SourceSupplied, cls), {"__module__": __name__})
    globals()[supplied.__name__] = supplied  # some checks pickle
    return supplied(None, **options)


ESTIMATORS = [
    _for_checks(AdaBNClassifier),
    _for_checks(TENTClassifier, max_epochs=2),
    _for_checks(SHOTClassifier, max_epochs=3),
    _for_checks(LAMEClassifier),
]
