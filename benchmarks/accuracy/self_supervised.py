"""Whether pretraining that goes on, on pictures without a label, helps where labels are few.

SelfSupervisedBackbone by its defaults on the pictures of a pool, labels unseen, then five labels a class from it and
models on features, judged on other pictures. Each finished part is written at once to
``results/self_supervised.jsonl`` and not computed again. Run with ``python benchmarks/accuracy/self_supervised.py``
(``--only SET``, ``--minutes`` stops it); writes ``self_supervised.md``. One core.
"""

import argparse
import functools
import json
import time
import warnings
from typing import NamedTuple

import numpy as np
import torch
from _common import HERE, data_folder, markdown_table, provenance, publish
from _tasks import BACKBONE
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.preprocessing import normalize

from sktransfer import PretrainedFeatureExtractor, PrototypeClassifier, SelfSupervisedBackbone
from sktransfer.utils._deviations import ColumnScaler

RESULTS = HERE / "results" / "self_supervised.jsonl"
DRAWS, LABELS, SEEDS = 10, 5, (0, 1)
PIXELS = (64, 128)
SETS = ("bccd", "ucmerced", "pneumonia")
PLAIN = "as pretrained"
METHODS = {PLAIN: None, "VICReg": {}, "SimSiam": {"method": "simsiam"}}
MODELS = ("logistic regression", "PrototypeClassifier")


class Files(NamedTuple):
    """Pictures of a pool without labels and of a test, and the classes of both."""

    pool: list
    y: np.ndarray
    test: list
    y_test: np.ndarray


def folder(name):
    def read(part):
        paths = sorted((data_folder() / "data" / name / part).glob("*/*.jpg"))
        return [str(path) for path in paths], np.unique([path.parent.name for path in paths], return_inverse=True)[1]

    return Files(*read("train"), *read("test"))


def x_rays():
    file = np.load(data_folder() / "data" / "pneumonia_mnist" / "pneumonia_28x28.npz")
    rows = np.random.default_rng(0).permutation(len(file["train_X"]))[:450]
    pool, test = ([Image.fromarray(x) for x in part] for part in (file["train_X"][rows], file["test_X"]))
    return Files(pool, file["train_y"][rows].astype(int), test, file["test_y"].astype(int))


@functools.cache
def files_of(name):
    return x_rays() if name == "pneumonia" else folder({"bccd": "bccd_cells", "ucmerced": "ucmerced_subset"}[name])


def judged(pool, y, test, y_test):
    """Mean over draws of labels of the mean accuracy of the classes, for each model."""
    scaler = ColumnScaler().fit(pool)
    rows, rows_test = normalize(scaler.transform(pool)), normalize(scaler.transform(test))
    scores: dict[str, list[float]] = {model: [] for model in MODELS}
    for draw in range(DRAWS):
        rng = np.random.default_rng(100 + draw)
        chosen = np.concatenate([rng.permutation(np.flatnonzero(y == label))[:LABELS] for label in np.unique(y)])
        partly = np.full(len(y), -1)
        partly[chosen] = y[chosen]
        linear = LogisticRegression(C=100.0, max_iter=500).fit(rows[chosen], y[chosen])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            prototypes = PrototypeClassifier().fit(pool, partly)
        for model, answer in zip(MODELS, (linear.predict(rows_test), prototypes.predict(test)), strict=True):
            scores[model].append(100 * balanced_accuracy_score(y_test, answer))
    return {model: float(np.mean(values)) for model, values in scores.items()}


def run(name, pixels, method, seed):
    """Train, extract and judge."""
    files, options = files_of(name), METHODS[method]
    backbone = f"local-dir:{data_folder() / 'weights' / BACKBONE}"
    began = time.process_time()
    if options is None:
        network = PretrainedFeatureExtractor(backbone, image_size=pixels, cache=None).fit(files.pool)
    else:
        network = SelfSupervisedBackbone(backbone, image_size=pixels, cache=None, random_state=seed, **options)
        network.fit(files.pool)
    seconds = time.process_time() - began
    pool, test = (network.transform(part).astype(float) for part in (files.pool, files.test))
    return {**judged(pool, files.y, test, files.y_test), "seconds": seconds}


def read():
    return {tuple(key): value for key, value in map(json.loads, RESULTS.open())} if RESULTS.exists() else {}


def main() -> None:
    """Compute and publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=240.0)
    parser.add_argument("--only", choices=SETS, action="append")
    given = parser.parse_args()
    torch.set_num_threads(1)
    end = time.monotonic() + 60 * given.minutes
    for seed in SEEDS:
        for method, options in METHODS.items():
            for pixels in PIXELS:
                for name in given.only or SETS:
                    key = (name, pixels, method, seed)
                    if key in read() or (options is None and seed) or time.monotonic() > end:
                        continue
                    RESULTS.parent.mkdir(exist_ok=True)
                    with RESULTS.open("a") as file:
                        file.write(json.dumps([key, run(*key)]) + "\n")
                    print(key, read()[key], flush=True)
    publish("self_supervised", report(read()))


def table(done, model):
    """Accuracy by method, pixels and set; the gain beside it; "-" where nothing was computed."""
    rows = []
    for pixels in PIXELS:
        for method in METHODS:
            row = [f"{method}, {pixels} px"]
            for name in SETS:
                values = [done[key][model] for seed in SEEDS if (key := (name, pixels, method, seed)) in done]
                plain = done.get((name, pixels, PLAIN, 0))
                gain = "" if method == PLAIN or not plain or not values else f" ({np.mean(values) - plain[model]:+.1f})"
                row.append(f"{np.mean(values):.1f}{gain}" if values else "-")
            if set(row[1:]) != {"-"}:
                rows.append(row)
    return markdown_table([model, *SETS], rows)


def report(done):
    """Lay out the tables."""
    trained = [found["seconds"] for (_, _, method, _), found in done.items() if method != PLAIN]
    n_seeds = {sum((*key[:3], seed) in done for seed in SEEDS) for key in done if key[2] != PLAIN}
    low, high = (function(trained, default=0) for function in (min, max))
    trainings = sorted({min(n_seeds, default=0), max(n_seeds, default=0)})
    return f"""# Pretraining that goes on, on pictures without a label

Mean accuracy of the classes in percent on test pictures, {LABELS} labels a class, mean of {DRAWS} draws of the labels
and of the trainings ({" to ".join(map(str, trainings))} each). In brackets the points gained on the network as it was.
An ImageNet MobileNetV2; the defaults of `SelfSupervisedBackbone` (its last two stages, 10 epochs, 4 views) on the pool:
450 blood cells, 336 aerial pictures, 450 X-rays of 28 pixels.

{table(done, MODELS[0])}

{table(done, MODELS[1])}

Logistic regression sees the labelled pictures alone, standardised by the pool and scaled to norm 1; PrototypeClassifier
the pictures without a label too. A training took {low:.0f} to {high:.0f} seconds of a core.

`python benchmarks/accuracy/self_supervised.py`, {provenance("scikit-learn", "torch", "timm")}
"""


if __name__ == "__main__":
    main()
