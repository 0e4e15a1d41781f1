"""Every public estimator, fitted on little: for tests of what must hold for all of them once they are fitted."""

import functools

import numpy as np
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression, Ridge

import sktransfer
from sktransfer import make_domain_shift, make_image_domains

TINY = {"backbone": "test_resnet", "weights": None, "image_size": 32, "cache": None}
NET = {**TINY, "max_epochs": 1, "random_state": 0}
_META = {
    "AdaptedClassifier": lambda cls: cls(LogisticRegression(), sktransfer.CORALAdapter()),
    "AdaptedRegressor": lambda cls: cls(Ridge(), sktransfer.KMMWeighter()),
    "BackboneSearch": lambda cls: cls(backbones=[("test_resnet", None)], image_size=32, refine=0, cache=None),
    "FineTunedClassifier": lambda cls: cls(**NET, trainable=1),
    "FineTunedRegressor": lambda cls: cls(**NET),
    "FineTunedSegmenter": lambda cls: cls(**NET),
    "LabelShiftWeighter": lambda cls: cls(LogisticRegression()),
    "PixelAdapter": lambda cls: cls(max_epochs=1, device="cpu", random_state=0),
    "PixelClassifier": lambda cls: cls("test_resnet", weights=None, cache=None, random_state=0),
    "PretrainedFeatureExtractor": lambda cls: cls(**TINY),
    "SelfSupervisedBackbone": lambda cls: cls("sktransfer_mini", max_epochs=1, cache=None, random_state=0),
    "TrAdaBoostClassifier": lambda cls: cls(n_estimators=3, random_state=0),
    "TrAdaBoostRegressor": lambda cls: cls(n_estimators=3, random_state=0),
    "TransferredForestClassifier": lambda cls: cls(RandomForestClassifier(5), random_state=0),
    "TransferredGradientBoostingClassifier": lambda cls: cls(max_iter=3, cv=2, random_state=0),
    "TransferredGradientBoostingRegressor": lambda cls: cls(max_iter=3, cv=2, random_state=0),
    "TransferSearchCV": lambda cls: cls(None, ["coral"], cv=2, random_state=0),
}
_SOURCE_FREE = ("AdaBNClassifier", "SHOTClassifier", "TENTClassifier")
NAMES = sorted(
    name
    for name in sktransfer.__all__
    if isinstance(value := getattr(sktransfer, name), type) and hasattr(value, "fit")
)


@functools.cache
def table():
    return make_domain_shift(24, 24, n_features=4, random_state=0)


@functools.cache
def pictures():
    return make_image_domains(12, 12, random_state=0)


@functools.cache
def fitted(name):
    """Give a fitted estimator of the class of this name, and the X it was fitted on."""
    cls = getattr(sktransfer, name)
    (X, y, domain), (images, labels, image_domain) = table(), pictures()
    if name in _SOURCE_FREE:
        source = sktransfer.FineTunedClassifier(**NET, trainable=1).fit(images, labels)
        return cls(source, **({} if name == "AdaBNClassifier" else {"max_epochs": 1})).fit(images), images
    if name == "LAMEClassifier":
        return cls(LogisticRegression().fit(X, y)).fit(X), X
    of_pictures = ("FineTunedClassifier", "FineTunedRegressor", "PretrainedFeatureExtractor", "SelfSupervisedBackbone")
    if name in ("BackboneSearch", *of_pictures):
        return _META[name](cls).fit(images, labels), images
    if name in ("FineTunedSegmenter", "PixelClassifier"):
        return _META[name](cls).fit(images, (images.mean(-1) > images.mean()).astype(int)), images
    if name in ("FourierAdapter", "PixelAdapter"):
        return _META.get(name, lambda cls: cls())(cls).fit(images, sample_domain=image_domain), images
    if cls.__module__.startswith("sktransfer.deep_adaptation"):
        return cls(None, bottleneck=8, max_epochs=1, random_state=0).fit(X, y, sample_domain=domain), X
    return _META.get(name, lambda cls: cls())(cls).fit(X, y, sample_domain=domain), X


def answers(estimator, X):
    """What a fitted estimator says of X, by all of its methods."""
    # TrAdaBoost's wants the labels too.
    names = ("predict", "predict_proba", "predict_set", "predict_interval", "transform")
    names += ("predict_weights",) if not hasattr(estimator, "predict") else ()
    return {name: np.asarray(getattr(estimator, name)(X)) for name in names if hasattr(estimator, name)}
