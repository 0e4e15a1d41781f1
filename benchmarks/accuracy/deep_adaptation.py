"""Deep adaptation on real pictures: source alone, every method, and labels of the target as the ceiling.

Three seeds, the last epoch of every training, the package's own defaults, no choice by target labels anywhere. Each
finished cell is written at once to ``results/deep_adaptation.jsonl`` and not computed again, so that a run can be
stopped (``--minutes``) and continued. Run with ``python benchmarks/accuracy/deep_adaptation.py``; writes
``deep_adaptation.md``.
"""

import argparse
import functools
import json
import time
from collections import defaultdict
from typing import NamedTuple

import numpy as np
import torch
from _common import HERE, data_folder, markdown_table, provenance, publish
from sklearn.model_selection import StratifiedKFold
from torch import nn

import sktransfer
from sktransfer import FineTunedClassifier

SEEDS = (0, 1, 2)
DIGITS = 400  # pictures of each domain
NATURAL = ("amazon to webcam", "webcam to amazon", "photo to cartoon", "cartoon to photo")
DRAWN = ("MNIST to USPS", "USPS to MNIST", "MNIST to MNIST-M")
METHODS = (
    "DeepCORAL",
    "DAN",
    "JAN",
    "DSAN",
    "DeepJDOT",
    "DANN",
    "CDAN",
    "CDAN+E",
    "ADDA",
    "MCD",
    "MDD",
    "MCC",
    "BNM",
    "AFN",
    "FixMatch",
)
SOURCE_FREE = ("AdaBN", "TENT", "SHOT")
ADAPTERS = ("FourierAdapter", "PixelAdapter")
UNADAPTED = "same layers, trade_off=0"
HEAD = {"trainable": "head"}
ROWS = ("source alone", UNADAPTED, *METHODS, *SOURCE_FREE, *ADAPTERS, "target labels")
PARTIAL_ROWS = ("source alone", "DANN", "PADA")
PARTIAL = ("amazon to 4 classes of webcam", "photo to 3 classes of cartoon")
CORRUPTED = ("noisy", "blurred", "low_contrast")
CORRUPTED_ROWS = ("source alone", *SOURCE_FREE)
RESULTS = HERE / "results" / "deep_adaptation.jsonl"


class Cell(NamedTuple):
    """One training."""

    task: str
    method: str
    seed: int


class Task(NamedTuple):
    """Pictures and labels of two domains, and what the estimators are told."""

    X: np.ndarray
    y: np.ndarray
    domain: np.ndarray
    settings: dict


@functools.cache
def read_folder(*parts):
    """Paths of pictures in folders named by their classes, and these names."""
    paths = sorted((data_folder() / "data").joinpath(*parts).glob("*/*.jpg"))
    return np.array([str(path) for path in paths], dtype=object), np.array([path.parent.name for path in paths])


@functools.cache
def read_digits(name):
    """Digits at 32 x 32 pixels, and what they are."""
    from PIL import Image

    folder = data_folder() / "data"
    if name == "MNIST-M":
        with np.load(folder / "mnist_m/mnist_m_32x32.npz") as file:
            return file["train_X"][:DIGITS], file["train_y"][:DIGITS]
    if name == "MNIST":
        with np.load(folder / "mnist_t10k/mnist_t10k_28x28.npz") as file:
            X, y = file["X"][:DIGITS], file["y"][:DIGITS]
    else:
        with np.load(folder / "usps_mnist_jda/usps_mnist_16x16.npz") as file:
            X, y = np.uint8(255 * file["usps_X"]), file["usps_y"]
        rows = np.random.default_rng(0).permutation(len(y))[:DIGITS]
        X, y = X[rows], y[rows]
    return np.stack([np.asarray(Image.fromarray(x).resize((32, 32), Image.Resampling.BILINEAR)) for x in X]), y


def as_color(X):
    """Greyscale pictures with three channels."""
    return X if X.ndim == 4 else np.repeat(X[..., np.newaxis], 3, axis=3)


def from_scratch():
    """Give settings for a small network whose random weights are trained whole."""

    def block(n_in, n_out):
        return nn.Sequential(nn.Conv2d(n_in, n_out, 5, padding=2), nn.BatchNorm2d(n_out), nn.ReLU(), nn.MaxPool2d(2))

    torch.manual_seed(0)
    network = nn.Sequential(block(3, 16), block(16, 32), block(32, 64), nn.Flatten())
    return {"backbone": network, "image_size": 32, "trainable": "all", "max_epochs": 12}


@functools.cache
def load(task):
    """Read a task by its name."""
    source, _, target = task.partition(" to ")
    if task in CORRUPTED:
        X, y, domain = sktransfer.make_image_domains(400, 400, target=task, random_state=0)
        return Task(X, y, domain, from_scratch())
    if task in DRAWN:
        (Xs, ys), (Xt, yt) = read_digits(source), read_digits(target)
        X = np.concatenate([as_color(Xs), as_color(Xt)])
        settings = from_scratch()
    else:
        target, classes = target.rpartition(" of ")[2], target.partition(" classes")[0]
        room = "office_caltech10_images" if source in ("amazon", "webcam") else "pacs_photo_cartoon"
        (Xs, ys), (Xt, yt) = read_folder(room, source), read_folder(room, target)
        if task in PARTIAL:
            kept = np.isin(yt, np.unique(yt)[: int(classes)])
            Xt, yt = Xt[kept], yt[kept]
        X = np.concatenate([Xs, Xt])
        settings = {"backbone": f"local-dir:{data_folder()}/weights/mobilenetv2_100.tf2_in1k"}
    domain = np.repeat(["source", "target"], [len(ys), len(yt)])
    return Task(X, np.concatenate([ys, yt]), domain, {**settings, "cache": str(HERE / "results" / "cache")})


def source_model(task, seed):
    """Fit on the source alone what the methods fit on both."""
    source = task.domain == "source"
    return FineTunedClassifier(**task.settings, random_state=seed).fit(task.X[source], task.y[source])


def build(method, task, seed):
    """Make the estimator of a row that learns from both domains."""
    settings = {**task.settings, "random_state": seed}
    if method == UNADAPTED:
        return sktransfer.DANNClassifier(**settings, trade_off=0.0)
    if method == "CDAN+E":
        return sktransfer.CDANClassifier(**settings, entropy=True)
    return getattr(sktransfer, f"{method}Classifier")(**settings)


def accuracy(cell):
    """Accuracy on all pictures of the target, and the seconds of the training."""
    task = load(cell.task)
    target = task.domain == "target"
    X, y = task.X[target], task.y[target]
    if cell.method == "target labels":
        start, hits = time.perf_counter(), 0.0
        for train, test in StratifiedKFold(2, shuffle=True, random_state=cell.seed).split(X, y):
            model = FineTunedClassifier(**task.settings, random_state=cell.seed).fit(X[train], y[train])
            hits += float(np.sum(model.predict(X[test]) == y[test]))
        return hits / len(y), time.perf_counter() - start
    if cell.method == "source alone":
        start = time.perf_counter()
        model = source_model(task, cell.seed)
        return model.score(X, y), time.perf_counter() - start
    if cell.method in SOURCE_FREE:
        model, options = source_model(task, cell.seed), {}
        if cell.method == "SHOT" and cell.task in NATURAL:
            # New layers to adapt on frozen features; training the backbone at 224 pixels takes too long here.
            model, options = build(UNADAPTED, task, cell.seed).fit(task.X, task.y, sample_domain=task.domain), HEAD
        start = time.perf_counter()
        seed = {} if cell.method == "AdaBN" else {"random_state": cell.seed}
        model = getattr(sktransfer, f"{cell.method}Classifier")(model, **seed, **options).fit(X)
        return model.score(X, y), time.perf_counter() - start
    start = time.perf_counter()
    if cell.method in ADAPTERS:
        size = None if cell.task in DRAWN else 224
        adapter = getattr(sktransfer, cell.method)(image_size=size, random_state=cell.seed)
        Z = adapter.fit_transform(task.X, task.y, sample_domain=task.domain)
        model = FineTunedClassifier(**task.settings, random_state=cell.seed).fit(Z[~target], task.y[~target])
        return model.score(Z[target], y), time.perf_counter() - start
    model = build(cell.method, task, cell.seed).fit(task.X, task.y, sample_domain=task.domain)
    return model.score(X, y), time.perf_counter() - start


def cells():
    """All cells, one seed of everything first."""
    for seed in SEEDS:
        for task in (*NATURAL, *DRAWN):
            yield from (Cell(task, method, seed) for method in ROWS if is_affordable(task, method, seed))
        yield from (Cell(task, method, seed) for task in PARTIAL for method in PARTIAL_ROWS)
        yield from (Cell(task, method, seed) for task in CORRUPTED for method in CORRUPTED_ROWS)


def is_affordable(task, method, seed):
    """Whether a row is computed: each pass of pictures of its own through the network at 224 pixels takes minutes."""
    if method == "PixelAdapter":
        return task == "MNIST to MNIST-M" and not seed
    return task in DRAWN or not (method == "TENT" or (method in ("AdaBN", "FourierAdapter") and seed))


def run(minutes):
    """Compute what is missing."""
    done = {Cell(row["task"], row["method"], row["seed"]) for row in finished()}
    end = time.monotonic() + 60 * minutes
    RESULTS.parent.mkdir(exist_ok=True)
    for cell in cells():
        if cell in done:
            continue
        if time.monotonic() > end:
            print("out of time; run again to go on")
            return
        value, seconds = accuracy(cell)
        row = {**cell._asdict(), "accuracy": value, "seconds": seconds}
        with RESULTS.open("a") as file:
            file.write(json.dumps(row) + "\n")
        print(f"{cell.task:32} {cell.method:26} {cell.seed}  {100 * value:5.1f}  {seconds:6.1f} s", flush=True)


def finished():
    """Read the cells that there are."""
    return [json.loads(line) for line in RESULTS.read_text().splitlines()] if RESULTS.exists() else []


def table(tasks, methods, found):
    """Mean and spread over seeds, and the mean over tasks."""
    rows = []
    for method in methods:
        values = [found.get((task, method), []) for task in tasks]
        texts = [
            f"{np.mean(v):.1f} ± {np.std(v, ddof=1):.1f}" if len(v) > 1 else f"{v[0]:.1f}" if v else "" for v in values
        ]
        mean = f"{np.mean([np.mean(v) for v in values]):.1f}" if all(values) else ""
        rows.append((method, *texts, mean))
    return markdown_table(("accuracy, %", *tasks, "mean"), rows)


def harmful(found):
    """Name the tasks on which a method falls below the source alone, method by method."""
    for method in (*METHODS, *SOURCE_FREE, *ADAPTERS):
        both = [task for task in (*NATURAL, *DRAWN) if found.get((task, method))]
        gains = {task: np.mean(found[task, method]) - np.mean(found[task, "source alone"]) for task in both}
        losses = [f"{task} ({gain:+.1f})" for task, gain in gains.items() if gain < 0]
        if losses:
            yield f"{method}: {', '.join(losses)}"


def report():
    """Write the tables."""
    accuracies, seconds = defaultdict(list), defaultdict(list)
    for row in finished():
        accuracies[row["task"], row["method"]].append(100 * row["accuracy"])
        seconds[row["method"], "frozen" if row["task"] in NATURAL else "whole"].append(row["seconds"])
    times = [
        (method, *(f"{np.median(v):.1f}" if (v := seconds.get((method, kind))) else "" for kind in ("frozen", "whole")))
        for method in ROWS
    ]
    n_seeds = {len(values) for values in accuracies.values()}
    parts = [
        "# Deep adaptation on pictures",
        provenance("torch", "timm", "scikit-learn", "sktransfer"),
        f"Accuracy on all target pictures, whose labels no training saw; last epoch, mean ± standard deviation over "
        f"{max(n_seeds)} seeds (fewest in a cell: {min(n_seeds)}). Parameters are the package's defaults, chosen on "
        "drawn pictures and on SURF and GoogLeNet features of Office pictures (those of DANN, CDAN, ADDA and MCD: "
        "adversarial.md); the trade-off of PADA after a first look at this table. AdaBN, TENT and SHOT start from the "
        "source alone, SHOT on natural pictures from the second row, of which it trains the new layers.",
        "## Natural pictures, frozen ImageNet MobileNetV2, new layers on its features",
        table(NATURAL, ROWS, accuracies),
        f"## Digits, 32 x 32 pixels, {DIGITS} a domain, three convolutions trained from random weights for 12 epochs",
        table(DRAWN, ROWS, accuracies),
        "## Where a method is worse than the source alone",
        "\n".join(f"- {line}" for line in harmful(accuracies)) or "Nowhere.",
        "## The target has fewer classes than the source",
        table(PARTIAL, PARTIAL_ROWS, accuracies),
        "## Corrupted digits, without source pictures",
        table(CORRUPTED, CORRUPTED_ROWS, accuracies),
        "## Seconds of one training, median (the frozen features are cached after the first)",
        markdown_table(("method", "natural pictures", "digits"), times),
    ]
    publish("deep_adaptation", "\n\n".join(parts))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=1e6, help="stop after the cell in which this time is over")
    run(parser.parse_args().minutes)
    report()
