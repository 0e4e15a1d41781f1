"""One card: results as on the CPU, number formats, files between devices, two jobs at once, memory, speed."""

import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from sktransfer import (
    DANNClassifier,
    FineTunedClassifier,
    FineTunedRegressor,
    PretrainedFeatureExtractor,
    Recipe,
    make_image_domains,
)

TOLERANCE = {"float32": 1e-3, "bfloat16": 5e-2, "float16": 1e-2}  # of the largest feature; TF32 has 10 bits
NET = {"image_size": 32, "cache": None, "random_state": 0}


@pytest.fixture(scope="module")
def shapes():
    return make_image_domains(96, 96, random_state=0)


def extractor(device, **options):
    return PretrainedFeatureExtractor("sktransfer_mini", device=device, **{"cache": None, **options})


def tuned(device, **options):
    options = {"trainable": 1, "max_epochs": 3, **NET, **options}
    return FineTunedClassifier("sktransfer_mini", device=device, **options)


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_features_are_those_of_the_cpu(device, shapes, precision):
    X = shapes[0]
    expected = extractor("cpu", precision="float32").fit_transform(X)
    found = extractor(device, precision=precision).fit_transform(X)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=TOLERANCE[precision] * np.abs(expected).max(), rtol=0)


def test_features_do_not_depend_on_the_other_rows(device, shapes):
    X = shapes[0]
    found = extractor(device).fit(X)
    np.testing.assert_array_equal(found.transform(X)[5:8], found.transform(X[5:8]))


@pytest.mark.parametrize("layer", [None, 1])
@pytest.mark.parametrize("backbone", ["test_resnet", "test_vit", "test_convnext"])
def test_kinds_of_networks(device, shapes, backbone, layer):
    options = {"weights": None, "image_size": 64, "layer": layer, "cache": None, "precision": "float32"}
    found, expected = (
        PretrainedFeatureExtractor(backbone, device=place, **options).fit_transform(shapes[0][:8])
        for place in (device, "cpu")
    )
    np.testing.assert_allclose(found, expected, atol=1e-3 * np.abs(expected).max(), rtol=0)


@pytest.mark.parametrize("precision", ["auto", "float32", "bfloat16", "float16"])
@pytest.mark.parametrize("trainable", ["head", 1, "all"])
def test_fine_tuning_learns_in_each_number_format(device, shapes, precision, trainable):
    X, y, domain = shapes
    X, y = X[domain == "source"], y[domain == "source"]
    clf = tuned(device, trainable=trainable, precision=precision, max_epochs=15, lr=3e-3).fit(X, y)
    assert clf.score(X, y) > 2 / len(clf.classes_)
    assert np.isfinite(clf.predict_proba(X)).all()
    assert all(np.isfinite(epoch["train_loss"]) for epoch in clf.history_)


@pytest.mark.parametrize(
    "options",
    [
        {"recipe": Recipe(gradient_checkpointing=True)},
        {"augment": "light"},
        {"recipe": Recipe(ema_decay=0.9)},
        {"regularizer": "l2-sp"},
        {"lr": "auto"},
        {"recipe": Recipe(mixup=0.2)},
        {"early_stopping": True, "validation_fraction": 0.3},
        {"trainable": "lora"},
    ],
    ids=str,
)
def test_options_of_a_training(device, shapes, options):
    X, y, _ = shapes
    assert np.isfinite(tuned(device, **options).fit(X, y).predict_proba(X)).all()


def test_regression(device, shapes):
    X, y, _ = shapes
    reg = FineTunedRegressor("sktransfer_mini", device=device, **NET).fit(X, y.astype(float))
    assert np.isfinite(reg.predict(X)).all()


@pytest.mark.parametrize("precision", ["auto", "float32", "float16"])
def test_deep_adaptation(device, shapes, precision):
    X, y, domain = shapes
    clf = DANNClassifier("sktransfer_mini", trainable=1, max_epochs=2, device=device, precision=precision, **NET).fit(
        X, y, sample_domain=domain
    )
    assert np.isfinite(clf.predict_proba(X)).all()


def test_a_training_is_repeated_by_its_seed(device, shapes):
    X, y, _ = shapes
    first, second = (tuned(device, precision="float32").fit(X, y).predict_proba(X) for _ in range(2))
    np.testing.assert_allclose(first, second, atol=1e-3)


@pytest.mark.parametrize("trainable", ["head", "all"])
def test_saved_on_one_device_and_loaded_on_the_other(device, shapes, tmp_path, trainable):
    X, y, _ = shapes
    for place, other in ((device, "cpu"), ("cpu", device)):
        clf = tuned(place, trainable=trainable, precision="float32").fit(X, y)
        clf.save(tmp_path / "file")
        again = FineTunedClassifier.load(tmp_path / "file").set_params(device=other)
        np.testing.assert_allclose(again.predict_proba(X), clf.predict_proba(X), atol=1e-2)
        np.testing.assert_allclose(
            extractor(other, precision="float32").set_params(backbone=clf, weights="pretrained").fit_transform(X[:4]),
            clf.set_params(device=other).transform(X[:4]),
            rtol=1e-2,
            atol=1e-2,
        )


def test_a_checkpoint_goes_on_on_the_other_device(device, shapes, tmp_path):
    X, y, _ = shapes
    tuned("cpu", checkpoint_dir=tmp_path, precision="float32").fit(X, y)
    clf = tuned(device, checkpoint_dir=tmp_path, precision="float32").fit(X, y)
    assert clf.n_iter_ == 3


JOB = """
import sys
import numpy as np
from sktransfer import FineTunedClassifier, make_image_domains
X, y, _ = make_image_domains(96, 96, random_state=0)
clf = FineTunedClassifier("sktransfer_mini", trainable=1, max_epochs=3, image_size=32, cache=None, random_state=0,
                          precision="float32", device=sys.argv[1]).fit(X, y)
np.save(sys.argv[2], clf.predict_proba(X))
"""


def test_two_jobs_on_one_card(device, shapes, tmp_path):
    jobs = [
        subprocess.Popen([sys.executable, "-c", JOB, device, str(tmp_path / f"{number}.npy")]) for number in range(2)
    ]
    assert [job.wait(timeout=280) for job in jobs] == [0, 0]
    first, second = (np.load(tmp_path / f"{number}.npy") for number in range(2))
    np.testing.assert_allclose(first, second, atol=1e-3)


def test_out_of_memory_names_the_remedy(card, shapes):
    X, y, _ = shapes
    total = torch.cuda.get_device_properties(card).total_memory
    torch.cuda.set_per_process_memory_fraction(min(1.0, 200 * 2**20 / total))
    try:
        options = {"backbone": "resnet50", "weights": None, "image_size": 512, "cache": None, "device": card}
        with pytest.raises(torch.OutOfMemoryError, match=r"Pass a smaller batch_size.*gradient_checkpointing=True"):
            FineTunedClassifier(**options, trainable="all", batch_size=96, random_state=0).fit(X, y)
        with pytest.raises(torch.OutOfMemoryError, match="Pass a smaller batch_size or image_size"):
            PretrainedFeatureExtractor(**options, batch_size=96).fit_transform(X)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert len(extractor(card).fit_transform(X[:4])) == 4  # the process goes on


def test_a_wrong_index_is_refused_by_name(card, shapes):
    wrong = f"cuda:{torch.cuda.device_count()}"
    with pytest.raises(ValueError, match=rf"device='{wrong}' is not available here.*'cuda:0'"):
        extractor(wrong).fit_transform(shapes[0])


@pytest.mark.parametrize("precision", ["float32", "auto"])
def test_pictures_a_second(device, say, precision):
    X = np.random.default_rng(0).integers(0, 256, (256, 224, 224, 3), dtype=np.uint8)
    X = X[:16] if torch.device(device).type == "cpu" else X
    options = {"weights": None, "cache": None, "batch_size": 128, "device": device, "precision": precision}
    features = PretrainedFeatureExtractor("resnet50", **options).fit(X)
    features.transform(X[:16])
    start = time.perf_counter()
    features.transform(X)
    rate = len(X) / (time.perf_counter() - start)
    say(f"resnet50 at 224 pixels, {device}, precision={precision}: {rate:.0f} pictures a second")
