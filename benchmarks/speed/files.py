"""Sizes of what is fitted, as a file."""

import io
import pickle
import time

import numpy as np

from speed._job import Job

__all__ = ["JOBS"]

_N_CLASSES = 10


def _data():
    rng = np.random.default_rng(0)
    X = rng.integers(0, 256, (40, 64, 64, 3), dtype=np.uint8)
    return X, np.arange(40) % _N_CLASSES


def _measured(fitted, predict):
    """Pickle; load again in this process, which has the network; give size, milliseconds and agreement."""
    content = pickle.dumps(fitted)
    start = time.perf_counter()
    loaded = pickle.load(io.BytesIO(content))
    milliseconds = 1000 * (time.perf_counter() - start)
    return {
        "value": len(content),
        "milliseconds": milliseconds,
        "same": bool((predict(loaded) == predict(fitted)).all()),
    }


def _ours():
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    from sktransfer import PretrainedFeatureExtractor

    X, y = _data()
    extractor = PretrainedFeatureExtractor("resnet50", weights=None, image_size=64)
    pipe = make_pipeline(extractor, LogisticRegression(max_iter=1000)).fit(X, y)
    return lambda: _measured(pipe, lambda fitted: fitted.predict_proba(X[:4]))


def _our_head():
    from sktransfer import FineTunedClassifier

    X, y = _data()
    head = FineTunedClassifier("resnet50", weights=None, image_size=64, max_epochs=1, random_state=0).fit(X, y)
    return lambda: _measured(head, lambda fitted: fitted.predict_proba(X[:4]))


def _skorch():
    from skorch import NeuralNetClassifier

    from sktransfer.utils._compat import load_torchvision_operators

    load_torchvision_operators()
    import timm
    import torch

    X, y = _data()
    X = (X.transpose(0, 3, 1, 2) / 255).astype(np.float32)
    torch.manual_seed(0)
    module = timm.create_model("resnet50", num_classes=_N_CLASSES)
    net = NeuralNetClassifier(
        module, criterion=torch.nn.CrossEntropyLoss, optimizer=torch.optim.Adam, train_split=None, verbose=0
    )
    net.initialize()
    net.partial_fit(X[:8], y[:8])  # one step of Adam, whose moments are kept
    return lambda: _measured(net, lambda fitted: fitted.predict_proba(X[:4]))


def _check(results):
    for side in ("extractor + logistic regression", "fine-tuned head"):
        if not results[side]["same"]:
            raise AssertionError(f"{side} predicts otherwise after it was loaded")
    times = ", ".join(f"{side} {result['milliseconds']:.0f} ms" for side, result in results.items())
    return f"predictions the same bit for bit; loaded in {times}"


JOBS = {
    "pickle": Job(
        title="resnet50 behind a classifier, pickled",
        sides={"extractor + logistic regression": _ours, "fine-tuned head": _our_head, "skorch net": _skorch},
        goals={("extractor + logistic regression", "skorch net"): 2000, ("fine-tuned head", "skorch net"): 2000},
        check=_check,
        measure="value",
        rounds=1,
        packages={"skorch net": "skorch"},
        note=f"{_N_CLASSES} classes; the skorch net, a timm network as its module, has made one step of Adam; ours "
        "must load in under 50 ms where the process has the network",
    ),
}
