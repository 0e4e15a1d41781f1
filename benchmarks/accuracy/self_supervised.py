"""Whether pretraining that goes on, on files without a label, helps where labels are few.

The last two stages of a pretrained network learn from two changed views of each file of the pool (VICReg, SimSiam, or
VICReg with a pull to the features of the source); what comes before them stays, so that its output for a few views of
each file is computed once. Five labels a class are drawn from the pool, and models on features are judged on other
files. Each finished part is written at once to ``results/self_supervised.jsonl`` and not computed again. Run with
``python benchmarks/accuracy/self_supervised.py`` (``--only SET``, ``--minutes`` stops it); writes
``self_supervised.md``. Times are of one core.
"""

import argparse
import copy
import functools
import itertools
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
from torch import nn
from torch.nn import functional

from sktransfer import PrototypeClassifier, load_backbone
from sktransfer.utils._deviations import ColumnScaler

RESULTS = HERE / "results" / "self_supervised.jsonl"
DRAWS, LABELS, VIEWS, TRAINED = 10, 5, 4, 2
PIXELS, MORE_PIXELS = 64, 128
BATCH, WARM_UP, HEAD_RATE, WIDTH = 128, 0.1, 1e-3, 512
FROZEN, LONGER = "VICReg, BatchNorm statistics kept", "VICReg, a fifth of the rate, longer"
# Method, rate of the network, weight of the pull to the source.
METHODS = {
    "VICReg": ("vicreg", 1e-3, 0.0),
    "VICReg, near the source": ("vicreg", 1e-3, 5.0),
    "SimSiam": ("simsiam", 5e-4, 0.0),
    FROZEN: ("vicreg", 1e-3, 0.0),
    LONGER: ("vicreg", 2e-4, 0.0),
}
TIMES_AS_LONG = {LONGER: 5}
EPOCHS = (5, 10)
SETS = ("bccd", "ucmerced", "pneumonia")
PLAIN, STATISTICS, LARGER = "as pretrained", "BatchNorm statistics of the pool", f"as pretrained, {MORE_PIXELS} pixels"
ORDER = (PLAIN, *METHODS, STATISTICS, LARGER)
MODELS = ("logistic regression", "nearest class mean", "PrototypeClassifier")
# Each way to turn or mirror a picture: of aerial pictures and cells all, of others two, of X-rays none.
TURNS = {"ucmerced": 8, "bccd": 8, "pneumonia": 1}
LEAST_AREA = {"ucmerced": 0.35, "bccd": 0.35, "pneumonia": 0.6}
COLOURS = {"ucmerced": 0.4, "bccd": 0.2, "pneumonia": 0.2}


class Files(NamedTuple):
    """Files of a pool without labels and of a test, and the classes of both."""

    pool: list
    y: np.ndarray
    test: list
    y_test: np.ndarray


def squared(picture, pixels):
    return np.asarray(picture.resize((pixels, pixels), Image.Resampling.BICUBIC).convert("RGB"))


def folder(name, pool, test, pixels):
    def read(part):
        paths = sorted((data_folder() / "data" / name / part).glob("*/*.jpg"))
        labels = np.unique([path.parent.name for path in paths], return_inverse=True)[1]
        return [squared(Image.open(path), pixels) for path in paths], labels

    return Files(*read(pool), *read(test))


def x_rays(pixels):
    file = np.load(data_folder() / "data" / "pneumonia_mnist" / "pneumonia_28x28.npz")
    rows = np.random.default_rng(0).permutation(len(file["train_X"]))[:450]
    pool, test = (
        [squared(Image.fromarray(x), pixels) for x in part] for part in (file["train_X"][rows], file["test_X"])
    )
    return Files(pool, file["train_y"][rows].astype(int), test, file["test_y"].astype(int))


READ = {
    "ucmerced": lambda pixels: folder("ucmerced_subset", "train", "test", pixels),
    "bccd": lambda pixels: folder("bccd_cells", "train", "test", pixels),
    "pneumonia": x_rays,
}


def changed_pictures(name, pictures, generator):
    """Crop, turn, and change brightness, contrast and saturation, each picture in its own way."""
    n, spread = len(pictures), COLOURS[name]

    def between(low, high):
        return torch.rand(n, generator=generator) * (high - low) + low

    side = between(LEAST_AREA[name], 1).sqrt()
    ratio = torch.exp(between(-0.2, 0.2))
    sides = torch.stack([side * ratio, side / ratio], 1).clamp(max=1)
    turn = torch.randint(TURNS[name], (n,), generator=generator)
    flips = torch.stack([1.0 - 2 * (turn % 2), 1.0 - 2 * (turn // 2 % 2)], 1)
    scale = torch.diag_embed(sides * flips)
    scale = torch.where((turn >= 4)[:, None, None], scale.flip(2), scale)
    shift = (1 - sides) * torch.stack([between(-1, 1), between(-1, 1)], 1)
    grid = functional.affine_grid(torch.cat([scale, shift[:, :, None]], 2), list(pictures.shape), align_corners=False)
    x = functional.grid_sample(pictures, grid, align_corners=False, padding_mode="border")
    for towards in (lambda x: 0 * x, lambda x: x.mean((1, 2, 3), keepdim=True), lambda x: x.mean(1, keepdim=True)):
        centre = towards(x)
        x = centre + (x - centre) * between(1 - spread, 1 + spread)[:, None, None, None]
    return x.clamp(0, 1)


class Network:
    """A pretrained network, and how entries of a set reach it."""

    def __init__(self, name):
        self.name = name
        self.backbone = load_backbone(f"local-dir:{data_folder() / 'weights' / BACKBONE}")
        self.module = self.backbone.module.eval()
        self.start = len(self.backbone.stage_names) - TRAINED

    def batches(self, entries, generator=None):
        """Yield batches for the network, changed at random where there is a generator."""
        mean, std = (torch.tensor(self.backbone.config[key])[:, None, None] for key in ("mean", "std"))
        for first in range(0, len(entries), 32):
            x = torch.from_numpy(np.stack(entries[first : first + 32])).permute(0, 3, 1, 2).float() / 255
            x = x if generator is None else changed_pictures(self.name, x, generator)
            yield (x - mean) / std

    @torch.no_grad()
    def before(self, entries, generator=None, module=None):
        """Give the output of the stages that stay."""
        module = self.module if module is None else module
        parts = [self.backbone.boundary(x, self.start, module) for x in self.batches(entries, generator)]
        return torch.cat(parts)

    def with_statistics_of(self, entries):
        """Copy whose BatchNorm has the statistics of entries."""
        module = copy.deepcopy(self.module)
        layers = [layer for layer in module.modules() if isinstance(layer, nn.BatchNorm2d)]
        for layer in layers:
            layer.reset_running_stats()
            layer.momentum = None
        order = np.random.default_rng(0).permutation(len(entries))
        with torch.no_grad():
            module.train()
            for x in self.batches([entries[row] for row in order[: len(order) // 32 * 32]]):
                module(x)
        return module.eval()


@torch.no_grad()
def features(last_part, boundary):
    """Pooled features of what came before the part that learns."""
    last_part.eval()
    return torch.cat([last_part(rows.float()) for rows in boundary.split(32)])


def vicreg(a, b):
    """Invariance, variance and covariance of two views (Bardes et al., ICLR 2022), weighted 25, 25 and 1."""
    loss = 25 * functional.mse_loss(a, b)
    for rows in (a, b):
        rows = rows - rows.mean(0)
        covariance = rows.T @ rows / (len(rows) - 1)
        spread = functional.relu(1 - (rows.var(0) + 1e-4).sqrt()).mean()
        loss = loss + 25 / 2 * spread + (covariance - covariance.diag().diag()).square().sum() / rows.shape[1]
    return loss


def layers(*widths):
    """Linear layers with BatchNorm and ReLU between them."""
    found: list[nn.Module] = []
    for i, (n_in, n_out) in enumerate(itertools.pairwise(widths)):
        found += [nn.BatchNorm1d(n_in), nn.ReLU()] if i else []
        found.append(nn.Linear(n_in, n_out, bias=False))
    return nn.Sequential(*found)


class Heads(nn.Module):
    """The heads of a method, and its loss of the features of two views."""

    def __init__(self, method, n_features):
        super().__init__()
        self.method = method
        self.project = layers(n_features, WIDTH, WIDTH if method == "vicreg" else WIDTH // 2)
        self.predict = layers(WIDTH // 2, WIDTH // 8, WIDTH // 2)

    def forward(self, a, b):
        a, b = self.project(torch.cat([a, b])).chunk(2)
        if self.method == "vicreg":
            return vicreg(a, b)
        guesses = self.predict(torch.cat([a, b])).chunk(2)
        agreement = functional.cosine_similarity
        return -(agreement(guesses[0], b.detach()).mean() + agreement(guesses[1], a.detach()).mean()) / 2


def train(part, views, how, epochs, at_end, *, statistics=True) -> None:
    """Train the last part of a network on views ``(n_views, n, ...)`` of files; `at_end` is told of each epoch."""
    method, rate, pull = how
    source = torch.stack([features(part, view) for view in views])
    spread = source.flatten(0, 1).std(0) + 0.1 * source.std()
    part.requires_grad_(True)
    heads = Heads(method, source.shape[-1])
    groups = [{"params": part.parameters(), "lr": rate}, {"params": heads.parameters(), "lr": HEAD_RATE}]
    optimizer = torch.optim.AdamW(groups, weight_decay=1e-4)
    n = views.shape[1]
    n_steps, step = epochs * (n // BATCH), 0
    for epoch in range(1, epochs + 1):
        part.train(statistics)
        first = torch.randint(len(views), (n,))
        second = (first + torch.randint(1, len(views), (n,))) % len(views)
        for rows in torch.randperm(n).split(BATCH):
            if len(rows) < BATCH:
                continue
            done = step / n_steps
            for group, highest in zip(optimizer.param_groups, (rate, HEAD_RATE), strict=True):
                group["lr"] = highest * 0.5 * (1 + np.cos(np.pi * done))
            if done < WARM_UP:  # the heads learn alone
                optimizer.param_groups[0]["lr"] = 0.0
            both = torch.cat([views[first[rows], rows], views[second[rows], rows]]).float()
            found = part(both)
            loss = heads(*found.chunk(2))
            if pull:
                start = torch.cat([source[first[rows], rows], source[second[rows], rows]])
                loss = loss + pull * ((found - start) / spread).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step += 1
        at_end(epoch, float(loss.detach()))


def judged(pool, y, test, y_test):
    """Mean and standard deviation over draws of labels of the mean accuracy of the classes, for each model."""
    pool, test = np.asarray(pool, dtype=float), np.asarray(test, dtype=float)
    scaler = ColumnScaler().fit(pool)
    rows, rows_test = normalize(scaler.transform(pool)), normalize(scaler.transform(test))
    scores: dict[str, list[float]] = {model: [] for model in MODELS}
    for draw in range(DRAWS):
        rng = np.random.default_rng(100 + draw)
        chosen = np.concatenate([rng.permutation(np.flatnonzero(y == label))[:LABELS] for label in np.unique(y)])
        means = normalize([rows[chosen][y[chosen] == label].mean(0) for label in np.unique(y)])
        partly = np.full(len(y), -1)
        partly[chosen] = y[chosen]
        linear = LogisticRegression(C=100.0, max_iter=500).fit(rows[chosen], y[chosen])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            prototypes = PrototypeClassifier().fit(pool, partly)
        answers = linear.predict(rows_test), (rows_test @ means.T).argmax(1), prototypes.predict(test)
        for model, answer in zip(MODELS, answers, strict=True):
            scores[model].append(100 * balanced_accuracy_score(y_test, answer))
    return {model: [float(np.mean(values)), float(np.std(values))] for model, values in scores.items()}


def write(key, found) -> None:
    RESULTS.parent.mkdir(exist_ok=True)
    with RESULTS.open("a") as file:
        file.write(json.dumps([key, found]) + "\n")


def read():
    return {tuple(key): value for key, value in map(json.loads, RESULTS.open())} if RESULTS.exists() else {}


class Prepared(NamedTuple):
    """A set, its network, what the stages that stay give of its files, and the seconds that the views took."""

    files: Files
    network: Network
    pool: torch.Tensor
    test: torch.Tensor
    views: torch.Tensor
    seconds: float


@functools.cache
def prepared(name):
    files, network, began = READ[name](PIXELS), Network(name), time.process_time()
    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        views = torch.stack([network.before(files.pool, generator).half() for _ in range(VIEWS)])
    seconds = time.process_time() - began
    return Prepared(files, network, network.before(files.pool), network.before(files.test), views, seconds)


def untrained(name, what) -> None:
    """Judge the network as it is, with the statistics of the pool, or on larger pictures."""
    files, network = READ[name](MORE_PIXELS if what == LARGER else PIXELS), Network(name)
    module, part = network.module, network.backbone.suffix(network.start)
    if what == STATISTICS:
        module = network.with_statistics_of(files.pool)
        part.model.load_state_dict(module.state_dict(), strict=False)
    pool, test = (features(part, network.before(entries, module=module)) for entries in (files.pool, files.test))
    write((name, what, 0), judged(pool, files.y, test, files.y_test))


def trained(name, method) -> None:
    """Train by a method, and judge at some of the epochs."""
    files, network, pool, test, views, seconds = prepared(name)
    part, judged_at = network.backbone.suffix(network.start), marks(method)
    began = time.process_time()

    def at_end(epoch, loss):
        nonlocal seconds, began
        seconds += time.process_time() - began
        if epoch in judged_at:
            found = judged(features(part, pool), files.y, features(part, test), files.y_test)
            write((name, method, epoch), {**found, "loss": loss, "seconds": seconds})
        began = time.process_time()

    with torch.random.fork_rng():
        torch.manual_seed(0)
        train(part, views, METHODS[method], judged_at[-1], at_end, statistics=method != FROZEN)


def marks(method):
    """Epochs after which models are judged."""
    return [epoch * TIMES_AS_LONG.get(method, 1) for epoch in EPOCHS]


def last_epoch(what):
    return marks(what)[-1] if what in METHODS else 0


def table(done, model):
    """Accuracy by method and set, at the end of the training; the gain beside it; "-" where nothing was computed."""
    rows = []
    for what in ORDER:
        row = [what]
        for name in SETS:
            keys = (name, what, last_epoch(what)), (name, PLAIN, 0)
            found, plain = (done.get(key, {}).get(model) for key in keys)
            gain = "" if what == PLAIN or not (found and plain) else f" ({found[0] - plain[0]:+.1f})"
            row.append(f"{found[0]:.1f}{gain}" if found else "-")
        if set(row[1:]) != {"-"}:
            rows.append(row)
    return markdown_table([model, *SETS], rows)


def epochs_table(done):
    """Logistic regression at each judged epoch, and what the training took."""
    rows = []
    for name in SETS:
        for method in METHODS:
            epochs = marks(method)
            found = [done.get((name, method, epoch)) for epoch in epochs]
            if all(found):
                before, seconds = done[name, PLAIN, 0][MODELS[0]][0], found[-1]["seconds"]
                cells = " / ".join(f"{value:.1f}" for value in (before, *(one[MODELS[0]][0] for one in found)))
                rows.append([name, method, " / ".join(map(str, (0, *epochs))), cells, f"{seconds:.0f}"])
    return markdown_table(["set", "method", "epochs", MODELS[0], "CPU seconds"], rows)


def main() -> None:
    """Compute and publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=240.0)
    parser.add_argument("--only", choices=SETS, action="append")
    given = parser.parse_args()
    torch.set_num_threads(1)
    end = time.monotonic() + 60 * given.minutes
    for what in ORDER:
        for name in given.only or SETS:
            if (name, what, last_epoch(what)) in read():
                continue
            if time.monotonic() < end:
                (trained if what in METHODS else untrained)(name, what)
    report(read())


def report(done) -> None:
    publish(
        "self_supervised",
        f"""# Pretraining that goes on, on files without a label

Mean accuracy of the classes in percent on test files, {LABELS} labels a class, mean of {DRAWS} draws of the labels; one
training each. In brackets the points gained on the network as it was; "-" was not run. The network is an ImageNet
MobileNetV2 at {PIXELS} pixels, whose last {TRAINED} stages learn from {VIEWS} views of each picture of the pool: 450
blood cells, 336 aerial pictures, 450 X-rays. That BatchNorm keeps its statistics in training was decided when those of
the pool had lost on these sets; rates and epochs were not chosen by these figures.

{table(done, MODELS[0])}

{table(done, MODELS[1])}

{table(done, MODELS[2])}

Logistic regression and nearest class means see the labelled files alone, standardised by the pool and scaled to norm 1;
PrototypeClassifier the files without a label too.

## In the course of the training

{epochs_table(done)}

Seconds include the views. The trainings are short, far from ten minutes: what longer ones bring was not measured, nor
how much is left of the gain on larger pictures and with another seed.

`python benchmarks/accuracy/self_supervised.py`, {provenance("scikit-learn", "torch", "timm")}
""",
    )


if __name__ == "__main__":
    main()
