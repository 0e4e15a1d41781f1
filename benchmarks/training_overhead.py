"""What the estimator costs on top of the training itself: FineTunedClassifier against a bare PyTorch loop.

Both do the same steps with the same network, optimizer and batches, on one thread: in ``full``, the whole network
learns, and pictures are preprocessed by the same function, by the bare loop in every epoch and by the estimator once,
which also trains channels last; in ``head``, a linear layer learns on pooled features that are already there. In each
round ours and the bare loop take turns in one process, and the bare loop runs twice: how far it is from itself is the
noise. Two lengths of training tell what a further epoch costs from what is paid once a fit. Run with ``python
benchmarks/training_overhead.py``; writes ``results/training_overhead.md``.
"""

import argparse
import copy
import datetime
import gc
import importlib.metadata
import os
import platform
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from threadpoolctl import threadpool_limits
from torch import nn

from sktransfer import FineTunedClassifier, PretrainedFeatureExtractor, Recipe, clear_cache, load_backbone
from sktransfer.backbones._timm import timm

N_CLASSES = 10
BATCH = 32
LR, WEIGHT_DECAY = 1e-3, 0.01
VARIANTS = ("bare", "ours", "bare again")


class Setting(NamedTuple):
    """One comparison: pictures, and the two lengths of training."""

    trainable: str
    n_pictures: int
    epochs: tuple[int, int]


class Seconds(NamedTuple):
    """Time of one fit."""

    cpu: float
    wall: float


def pictures(n, size):
    """Random pictures in memory, and labels."""
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (n, size, size, 3), dtype=np.uint8), np.arange(n) % N_CLASSES


def train_bare(module, batch_of, targets, epochs):
    """Train as one writes it by hand, the mean loss of each epoch kept."""
    optimizer = timm.optim.create_optimizer_v2(module, opt="adamw", lr=LR, weight_decay=WEIGHT_DECAY)
    criterion = nn.CrossEntropyLoss()
    history = []
    for _ in range(epochs):
        module.train()
        order, total = torch.randperm(len(targets)), 0.0
        for rows in order.split(BATCH):
            optimizer.zero_grad()
            loss = criterion(module(batch_of(rows)), targets[rows])
            loss.backward()
            optimizer.step()
            total += loss.item() * len(rows)
        history.append(total / len(targets))
    return history


def bare_full(backbone, X, y, epochs):
    """Copy the network, give it a new classifier and train all of it."""
    module = copy.deepcopy(backbone.module).requires_grad_(True)
    module.reset_classifier(N_CLASSES)
    preprocess = backbone.modality.preprocessor()

    def batch_of(rows):
        return torch.stack([torch.from_numpy(preprocess(Image.fromarray(X[row]))) for row in rows.tolist()])

    return train_bare(module, batch_of, torch.from_numpy(y), epochs)


def bare_head(features, y, epochs):
    """Train a linear layer on features."""
    features = torch.from_numpy(features)
    return train_bare(nn.Linear(features.shape[1], N_CLASSES), lambda rows: features[rows], torch.from_numpy(y), epochs)


def ours(name, size, setting, X, y, epochs):
    """Do the same through the estimator."""
    classifier = FineTunedClassifier(
        name,
        trainable=setting.trainable,
        max_epochs=epochs,
        batch_size=BATCH,
        lr=LR,
        recipe=Recipe(optimizer="adamw", weight_decay=WEIGHT_DECAY),
        image_size=size,
        device="cpu",
        precision="float32",
        n_jobs=1,
        random_state=0,
    )
    return classifier.fit(X, y).history_


def timed(call, *arguments):
    """CPU and wall seconds of one call."""
    gc.collect()
    cpu, wall = time.process_time(), time.perf_counter()
    history = call(*arguments)
    seconds = Seconds(time.process_time() - cpu, time.perf_counter() - wall)
    last = history[-1]
    if not np.isfinite(last if isinstance(last, float) else last["train_loss"]):
        raise RuntimeError(f"{call.__name__} diverged.")
    return seconds


def calls_of(setting, name, size):
    """Each variant's call, which takes the number of epochs."""
    X, y = pictures(setting.n_pictures, size)
    backbone = load_backbone(name, image_size=size)
    if setting.trainable == "head":
        extractor = PretrainedFeatureExtractor(name, image_size=size, device="cpu", n_jobs=1)
        features = np.ascontiguousarray(extractor.fit_transform(X), dtype=np.float32)

        def bare(epochs):
            return bare_head(features, y, epochs)
    else:

        def bare(epochs):
            return bare_full(backbone, X, y, epochs)

    def estimator(epochs):
        return ours(name, size, setting, X, y, epochs)

    return {"bare": bare, "ours": estimator, "bare again": bare}


def measure(setting, name, size, rounds):
    """Seconds by variant and length, one entry a round; the first round warms up and is dropped."""
    clear_cache()
    calls = calls_of(setting, name, size)
    found = {(variant, epochs): [] for variant in VARIANTS for epochs in setting.epochs}
    for number in range(rounds + 1):
        for epochs in setting.epochs:
            for variant in VARIANTS if number % 2 else VARIANTS[::-1]:
                seconds = timed(calls[variant], epochs)
                if number:
                    found[variant, epochs].append(seconds)
        print(f"{setting.trainable}, round {number} of {rounds}", flush=True)
    return {key: np.array(values) for key, values in found.items()}


def ratios(found, setting, variant, column):
    """Ratio to the bare loop by round: of whole fits, and of further epochs."""
    short, long = setting.epochs
    whole = found[variant, long][:, column] / found["bare", long][:, column]

    def further(which):
        return found[which, long][:, column] - found[which, short][:, column]

    # A difference of two times is too noisy to divide round by round: its median over the rounds is divided.
    return whole, np.median(further(variant)) / np.median(further("bare"))


def spread(values):
    """Median, and the range of the rounds, as percentages above one."""
    low, middle, high = (100 * (q - 1) for q in np.percentile(values, [0, 50, 100]))
    return f"{middle:+.1f} % ({low:+.1f} to {high:+.1f})"


def rows_of(setting, found, label):
    """Lines of the table for one setting."""
    short, long = setting.epochs
    for variant in VARIANTS:
        cpu, wall = (np.median(found[variant, long][:, column]) for column in (0, 1))
        each = np.median(found[variant, long][:, 0] - found[variant, short][:, 0]) / (long - short)
        start = [label, variant, f"{cpu:.3f}", f"{wall:.3f}", f"{1000 * each:.1f}"]
        if variant == "bare":
            yield [*start, "", "", ""]
            continue
        (whole, further), (wall_ratios, _) = (ratios(found, setting, variant, column) for column in (0, 1))
        yield [*start, spread(whole), spread(wall_ratios), f"{100 * (further - 1):+.1f} %"]


def step_cost(setting, found):
    """Milliseconds that ours takes on top of the bare loop, a step and a fit."""
    short, long = setting.epochs
    steps = -(-setting.n_pictures // BATCH)
    extra = {n: np.median(found["ours", n][:, 0]) - np.median(found["bare", n][:, 0]) for n in setting.epochs}
    step = (extra[long] - extra[short]) / ((long - short) * steps)
    return 1000 * step, 1000 * (extra[short] - short * steps * step)


def report(results, name, size, rounds):
    """Markdown of all figures."""
    header = [
        "work",
        "loop",
        "CPU s a fit",
        "wall s a fit",
        "CPU ms a further epoch",
        "fit, CPU: above bare (range)",
        "fit, wall: above bare (range)",
        "further epoch, CPU: above bare",
    ]
    lines = [
        "# What fine-tuning costs on top of a bare loop",
        "",
        f"`{name}` at {size} pixels, batches of {BATCH}, AdamW, one thread, pictures in memory; medians of {rounds} "
        "rounds in one process, in which the loops take turns. Both loops do the same steps on the same pictures: "
        "with the whole network learning, they are preprocessed by the same function, by the bare loop in every epoch "
        "and by the estimator once, which also trains channels last; with the head alone, features are "
        "computed beforehand (the estimator finds them in its cache by the content of the pictures, which is part of "
        "its fit). `bare again` is the same bare loop a second time: its difference from "
        "itself is the noise. A further epoch is the difference of two lengths of training.",
        "",
        "| " + " | ".join(header) + " |",
        "|" + "---|" * len(header),
    ]
    for setting, found in results.items():
        what = "whole network" if setting.trainable == "all" else "head on cached features"
        label = f"{what}, {setting.n_pictures} pictures, {setting.epochs[1]} epochs"
        lines += ["| " + " | ".join(row) + " |" for row in rows_of(setting, found, label)]
    lines.append("")
    for setting, found in results.items():
        step, fit = step_cost(setting, found)
        lines.append(
            f"- trainable={setting.trainable!r}: the estimator takes {step:.2f} ms of CPU a step and {fit:.0f} ms "
            "a fit more than the bare loop."
        )
    packages = ("sktransfer", "torch", "timm", "skorch", "numpy")
    versions = ", ".join(f"{package} {importlib.metadata.version(package)}" for package in packages)
    machine = f"{os.cpu_count()} CPU cores ({platform.machine()}), shared with other work"
    return "\n".join(
        [*lines, "", f"{datetime.date.today()}, {machine}, Python {platform.python_version()}, {versions}."]
    )


def main():
    """Measure both settings and write the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--backbone", default="sktransfer_mini")
    parser.add_argument("--image-size", type=int, default=96)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--pictures", type=int, default=256)
    parser.add_argument("--only", choices=("all", "head"))
    parser.add_argument("--print", action="store_true", help="write no file")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    threadpool_limits(1)
    settings = (Setting("all", arguments.pictures, (1, 3)), Setting("head", 4 * arguments.pictures, (5, 30)))
    results = {
        setting: measure(setting, arguments.backbone, arguments.image_size, arguments.rounds)
        for setting in settings
        if arguments.only in (None, setting.trainable)
    }
    text = report(results, arguments.backbone, arguments.image_size, arguments.rounds)
    print(text)
    if not arguments.print:
        folder = Path(__file__).resolve().parent / "results"
        folder.mkdir(exist_ok=True)
        (folder / "training_overhead.md").write_text(text.rstrip() + "\n")


if __name__ == "__main__":
    main()
