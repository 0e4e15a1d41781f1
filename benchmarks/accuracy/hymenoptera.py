"""Ants and bees: the package against the loop that everybody writes by hand.

244 training and 153 validation pictures, MobileNetV2 with ImageNet weights and with random ones. Run with
``python benchmarks/accuracy/hymenoptera.py``; writes ``hymenoptera.md``.
"""

import time

from _common import data_folder, markdown_table, provenance, publish
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sktransfer import FineTunedClassifier, PretrainedFeatureExtractor, clear_cache
from sktransfer.backbones._timm import create_timm_model, timm


def pictures(part):
    """Paths and labels of one part."""
    paths = sorted((data_folder() / "data" / "hymenoptera" / part).glob("*/*.jpg"))
    return paths, [path.parent.name for path in paths]


def by_hand(name, pretrained):
    """Features of a plain timm loop, one picture at a time, and the accuracy of a linear model on them."""
    import torch
    from PIL import Image

    torch.manual_seed(0)
    model = create_timm_model(name, pretrained=pretrained, num_classes=0).eval()
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model), is_training=False)

    def features(paths):
        with torch.inference_mode():
            return torch.cat([model(transform(Image.open(path).convert("RGB"))[None]) for path in paths]).numpy()

    (train, y), (valid, y_valid) = pictures("train"), pictures("val")
    head = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=1000)).fit(features(train), y)
    return head.score(features(valid), y_valid)


def measure(estimator):
    """Accuracy on the validation pictures in percent, and seconds of fit and score from an empty cache."""
    clear_cache()
    (train, y), (valid, y_valid) = pictures("train"), pictures("val")
    start = time.perf_counter()
    accuracy = estimator.fit(train, y).score(valid, y_valid)
    return 100 * accuracy, time.perf_counter() - start


def main():
    """Fill and publish the table."""
    imagenet = f"local-dir:{data_folder()}/weights/mobilenetv2_100.tf2_in1k"
    rows = []
    for weights, name, pretrained in (("ImageNet", imagenet, "pretrained"), ("random", "mobilenetv2_100", None)):
        start = time.perf_counter()
        rows.append(
            (
                weights,
                "timm loop by hand + linear model",
                100 * by_hand(name, pretrained is not None),
                time.perf_counter() - start,
            )
        )
        frozen = make_pipeline(
            PretrainedFeatureExtractor(name, weights=pretrained),
            StandardScaler(),
            LogisticRegression(C=0.01, max_iter=1000),
        )
        rows.append((weights, "PretrainedFeatureExtractor + linear model", *measure(frozen)))
        tuned = FineTunedClassifier(name, weights=pretrained, random_state=0)
        rows.append((weights, "FineTunedClassifier (head)", *measure(tuned)))
    tuned = FineTunedClassifier(imagenet, trainable=1, lr=1e-4, max_epochs=10, random_state=0)
    rows.append(("ImageNet", "FineTunedClassifier (last stage)", *measure(tuned)))
    table = markdown_table(("weights", "method", "accuracy, %", "seconds"), rows)
    publish(
        "hymenoptera",
        "# Ants and bees, MobileNetV2\n\n"
        "244 training pictures, accuracy on the 153 validation pictures; linear model: StandardScaler and\n"
        "LogisticRegression(C=0.01). Seconds of decoding, network and training together, from an empty cache.\n\n"
        f"{table}\n\n`python benchmarks/accuracy/hymenoptera.py`, "
        f"{provenance('sktransfer', 'torch', 'timm', 'scikit-learn')}",
    )


if __name__ == "__main__":
    main()
