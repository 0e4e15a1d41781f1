"""The whole network as a module of torch, for captum and its like."""

import numpy as np
import pytest
import torch
from common_texts import reviews
from numpy.testing import assert_allclose
from sklearn.exceptions import NotFittedError

from sktransfer import DANNClassifier, FineTunedClassifier, FineTunedRegressor, clear_cache, make_domain_shift
from sktransfer.modalities import open_images

TINY = {"backbone": "test_resnet", "weights": None, "image_size": 32, "random_state": 0, "max_epochs": 1}


def prepared(estimator, X):
    """Pictures as the network takes them."""
    samples = open_images(estimator, X, reset=False)
    preprocess = estimator.backbone_.modality.preprocessor()
    return torch.from_numpy(np.stack([preprocess(samples.read(row)) for row in range(len(X))]))


@pytest.mark.parametrize("trainable", ["head", 1, "all"])
def test_scores_are_those_of_the_classifier(digits, trainable):
    X, y = digits[0][:30], digits[1][:30] % 3
    clf = FineTunedClassifier(**TINY, trainable=trainable).fit(X, y)
    expected = clf.predict_proba(X[:5])
    module = clf.module_
    with torch.no_grad():
        assert_allclose(module(prepared(clf, X[:5])).softmax(1), expected, rtol=1e-4, atol=1e-6)
    assert not module.training
    module.double().apply(lambda part: [parameter.data.zero_() for parameter in part.parameters()])
    clear_cache()
    assert_allclose(clf.predict_proba(X[:5]), expected)


def test_scores_have_the_gradient_of_the_picture(digits):
    X, y = digits[0][:30], digits[1][:30] % 3
    clf = FineTunedClassifier(**TINY, trainable=1).fit(X, y)
    module = clf.module_.double()
    # Noise: on flat pictures the largest of nine equal values has no gradient.
    x = torch.randn((2, 3, 32, 32), generator=torch.Generator().manual_seed(1), dtype=torch.float64).requires_grad_()
    (gradient,) = torch.autograd.grad(module(x)[:, 1].sum(), x)
    step = 1e-8 * torch.randn(x.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    with torch.no_grad():
        moved = (module(x + step) - module(x - step))[:, 1].sum()
    assert float((gradient * step).sum()) == pytest.approx(float(moved) / 2, rel=1e-3, abs=0)


def test_tables_and_texts_and_numbers(digits):
    X, y, domain = make_domain_shift(30, 30, n_features=4, random_state=0)
    dann = DANNClassifier(None, max_epochs=1, random_state=0).fit(X, y, sample_domain=domain)
    with torch.no_grad():
        found = dann.module_(torch.from_numpy(X).float()).softmax(1)
    assert_allclose(found, dann.predict_proba(X), rtol=1e-4, atol=1e-5)
    texts, labels = reviews(8)
    clf = FineTunedClassifier("text:sktransfer_mini", max_epochs=1, random_state=0).fit(texts, labels)
    modality = clf.backbone_.modality
    batch = modality.collate([modality.prepare(clf._samples(texts), row) for row in range(8)])
    with torch.no_grad():
        assert_allclose(clf.module_(batch).softmax(1), clf.predict_proba(texts), rtol=1e-4, atol=1e-6)
    reg = FineTunedRegressor(**TINY).fit(digits[0][:20], digits[1][:20])
    assert reg.module_(prepared(reg, digits[0][:3])).shape == (3, 1)


def test_there_is_none_before_fit():
    with pytest.raises(NotFittedError):
        FineTunedClassifier(**TINY).module_  # noqa: B018
    assert not hasattr(FineTunedClassifier(**TINY), "module_")


def test_captum(digits):
    attr = pytest.importorskip("captum.attr")
    clf = FineTunedClassifier(**TINY, trainable=1).fit(digits[0][:30], digits[1][:30] % 3)
    module, x = clf.module_, prepared(clf, digits[0][:2])
    found, delta = attr.IntegratedGradients(module).attribute(x, target=1, n_steps=64, return_convergence_delta=True)
    assert found.shape == x.shape
    assert float(delta.abs().max()) < 0.05 * float(found.abs().sum())
    maps = attr.LayerGradCam(module, module.trained.body).attribute(x, target=1)
    assert len(maps) == 2
