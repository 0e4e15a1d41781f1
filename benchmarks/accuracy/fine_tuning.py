"""Which way of fine-tuning, at how many labels: ImageNet's MobileNetV2 on four small tasks, and from scratch.

Strategies at 5, 10, 20 and all labels a class, three seeds; a seed decides the drawn labels and the training. Each
finished cell is written at once to ``results/fine_tuning.jsonl`` and not computed again, so that a run can be stopped
(``--minutes``) and continued. Run with ``python benchmarks/accuracy/fine_tuning.py --jobs 2`` (``--plan`` tells what it
would do and about how long it takes); writes ``fine_tuning.md``.
"""

import argparse
import concurrent.futures
import inspect
import itertools
import json
import math
import multiprocessing
import os
import time
from collections import defaultdict
from typing import NamedTuple

import numpy as np
from _common import HERE, data_folder, publish
from _fine_tuning_report import report

from sktransfer import FineTunedClassifier, Recipe

SIZES = ("5", "10", "20", "all")
SEEDS = (0, 1, 2)
# Optimizer steps rather than epochs, so that few labels get more of them; within these limits.
STEPS, EPOCHS, BATCH = 48, (3, 30), 16
# Epochs of a head on cached features, which cost next to nothing.
HEAD_EPOCHS = 60
MOST_PICTURES = 450
COMMON = {"optimizer": "adamw", "weight_decay": 0.01, "schedule": "cosine", "batch_size": BATCH}
FROZEN = "BatchNorm frozen, {}"
REGULARIZERS = ("l2-sp", "delta", "bss", "stochnorm", "lwf", "co-tuning", "rkd")
# The learning rate of each group of strategies is the one with the best mean accuracy on pictures of flowers5's
# training part that were not drawn, over two draws of 10 labels a class that the table does not use. Of equals the
# smallest.
RATES = {
    "scratch": (1e-3, 3e-3, 1e-2),
    "head": (3e-4, 1e-3, 3e-3),
    "fine": (3e-4, 1e-3, 3e-3),
    "frozen": (1e-4, 3e-4, 1e-3),
}
OF_GROUP = {"scratch": "from scratch", "head": "head only", "fine": "all", "frozen": "all, BatchNorm frozen"}
# With all labels, where a training costs most, the other strategies get fewer seeds (--all-seeds).
CORE = (
    "from scratch",
    "head only",
    "last 2 stages",
    "all",
    "LP-FT",
    "all, BatchNorm frozen",
    "LP-FT, BatchNorm frozen",
)
CHOICE, CHOICE_SEEDS = "flowers5, held-out training pictures", (100, 101)
DATASETS = ("hymenoptera", "flowers5", "ucmerced_subset", "pneumonia_mnist")
# Measured on one thread of the machine in the table: pictures a second in training of the whole network and in
# prediction, by image size. For --plan alone.
SPEED = {"size": (32, 48, 64, 96, 128), "train": (200, 155, 113, 68, 42), "predict": (410, 212, 200, 142, 140)}


class Cell(NamedTuple):
    """One training."""

    dataset: str
    size: str
    strategy: str
    seed: int


class Parts(NamedTuple):
    """Pictures and labels for training and for testing."""

    X: np.ndarray
    y: np.ndarray
    X_test: np.ndarray
    y_test: np.ndarray


def folder(path):
    """Paths and labels of one part of a picture folder."""
    files = sorted(path.glob("*/*.jpg"))
    return np.array(files, dtype=object), np.array([file.parent.name for file in files])


def load(name):
    """Read one data set."""
    data = data_folder() / "data" / name
    if name == "pneumonia_mnist":
        with np.load(data / "pneumonia_28x28.npz") as z:
            return Parts(z["train_X"], z["train_y"], z["test_X"], z["test_y"])
    test = "test" if (data / "test").is_dir() else "val"
    return Parts(*folder(data / "train"), *folder(data / test))


def draw(y, size, seed):
    """Rows of `size` labels a class (smaller draws are part of larger ones), or of all, at most MOST_PICTURES of them.

    None where a class has fewer.
    """
    rng = np.random.default_rng(seed)
    by_class = [rng.permutation(np.flatnonzero(y == label)) for label in np.unique(y)]
    if size == "all":
        share = min(1, MOST_PICTURES / len(y))
        return np.concatenate([rows[: round(share * len(rows))] for rows in by_class])
    n = int(size)
    return None if n > min(map(len, by_class)) else np.concatenate([rows[:n] for rows in by_class])


def epochs_for(n, limit):
    """Epochs that make about STEPS steps."""
    return min(limit, int(np.clip(round(STEPS / math.ceil(n / BATCH)), *EPOCHS)))


def strategies(epochs, rates):
    """Parameters of each strategy; `rates` gives the learning rate by group."""
    fine = {"trainable": "all", "max_epochs": epochs, "lr": rates["fine"]}
    frozen = {**fine, "batch_norm": "frozen", "lr": rates["frozen"]}
    probed = {"probe_epochs": HEAD_EPOCHS, "probe_lr": rates["head"]}
    return {
        "from scratch": {**fine, "weights": None, "lr": rates["scratch"]},
        "head only": {"trainable": "head", "max_epochs": HEAD_EPOCHS, "lr": rates["head"]},
        "last 2 stages": {**fine, "trainable": 2},
        "all": fine,
        "LP-FT": {**fine, **probed},
        "all, BatchNorm frozen": frozen,
        "LP-FT, BatchNorm frozen": {**frozen, **probed},
        # Head, then one of seven stages after the other.
        "gradual": {**fine, "unfreeze_every": max(1, epochs // 8)},
        "layer decay": {**fine, "layer_decay": 0.7},
        **{f"all, {name}": {**fine, "regularizer": name} for name in REGULARIZERS},
        # Not stochnorm, which is a way to train BatchNorm.
        **{FROZEN.format(name): {**frozen, "regularizer": name} for name in REGULARIZERS if name != "stochnorm"},
    }


def parameters(strategy, n, rates, image_size, limit):
    """All parameters of a cell that decide its result."""
    return {**COMMON, "image_size": image_size, **strategies(epochs_for(n, limit), rates)[strategy]}


def available(names):
    """Strategies that this version has."""
    known = {*inspect.signature(FineTunedClassifier).parameters, *inspect.signature(Recipe).parameters}
    rates = dict.fromkeys(RATES, 1e-3)
    return [name for name in names if set(strategies(1, rates)[name]) <= set(known)]


def cell_data(cell):
    """Drawn training rows and the pictures that judge them."""
    if cell.dataset != CHOICE:
        parts = load(cell.dataset)
        rows = draw(parts.y, cell.size, cell.seed)
        return None if rows is None else Parts(parts.X[rows], parts.y[rows], parts.X_test, parts.y_test)
    X, y, _, _ = load("flowers5")
    rows = draw(y, cell.size, cell.seed)
    rest = np.random.default_rng(cell.seed).permutation(np.setdiff1d(np.arange(len(y)), rows))[:150]
    return Parts(X[rows], y[rows], X[rest], y[rest])


def run_cell(cell, params):
    """Train and judge; the record to be kept."""
    import torch

    torch.set_num_threads(1)
    data = cell_data(cell)
    backbone = f"local-dir:{data_folder()}/weights/mobilenetv2_100.tf2_in1k"
    start = time.process_time()
    own, recipe = {}, {}
    for name, value in params.items():
        (recipe if name in inspect.signature(Recipe).parameters else own)[name] = value
    options = {**own, "recipe": Recipe(**recipe), "device": "cpu", "n_jobs": 1, "random_state": cell.seed}
    classifier = FineTunedClassifier(backbone, **options)
    classifier.fit(data.X, data.y)
    fitted = time.process_time()
    accuracy = float(np.mean(classifier.predict(data.X_test) == data.y_test))
    seconds = {"fit": round(fitted - start, 2), "predict": round(time.process_time() - fitted, 2)}
    return {**cell._asdict(), "accuracy": accuracy, "n_train": len(data.y), "seconds": seconds, "params": params}


class Book:
    """Finished cells, on disk at once."""

    def __init__(self, path):
        self.path = path
        path.parent.mkdir(exist_ok=True)
        lines = path.read_text().splitlines() if path.exists() else []
        self.records = [json.loads(line) for line in lines]

    def find(self, cell, params):
        """Record of a cell with just these parameters, or None."""
        wanted = {**cell._asdict(), "params": params}
        return next((r for r in self.records if all(r[key] == value for key, value in wanted.items())), None)

    def add(self, record):
        """Keep a record."""
        self.records.append(record)
        with self.path.open("a") as file:
            file.write(json.dumps(record) + "\n")


def compute(work, book, jobs, deadline):
    """Run what is not in the book; `work` is a list of (cell, parameters)."""
    left = [(cell, params) for cell, params in work if book.find(cell, params) is None]
    # Both must stand before a process starts: more threads than cores wait for one another, and activations that the
    # allocator gives back after every layer cost 5 to 15 % of the training.
    os.environ.update(
        OMP_NUM_THREADS="1",
        MALLOC_MMAP_THRESHOLD_="1000000000",
        MALLOC_TRIM_THRESHOLD_="8000000000",
        MALLOC_TOP_PAD_="200000000",
    )
    with concurrent.futures.ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn")) as pool:
        futures = {pool.submit(run_cell, cell, params): cell for cell, params in left}
        for number, future in enumerate(concurrent.futures.as_completed(futures), 1):
            if future.cancelled():
                continue
            cell = futures[future]
            if future.exception() is not None:
                print(f"{'/'.join(map(str, cell))} failed: {future.exception()!r}", flush=True)
            else:
                book.add(future.result())
                text = f"{future.result()['accuracy']:.3f} {future.result()['seconds']}"
                print(f"{number}/{len(left)} {'/'.join(map(str, cell))}: {text}", flush=True)
            if time.monotonic() > deadline:
                for waiting in futures:
                    waiting.cancel()


def choice_work(arguments):
    """Trainings that choose the learning rates: candidate by candidate of each group."""
    work = []
    for group in RATES:
        candidates = RATES[group] if available([OF_GROUP[group]]) else ()
        for rate in candidates:
            rates = dict.fromkeys(RATES, rate)
            params = parameters(OF_GROUP[group], 50, rates, arguments.image_size, arguments.max_epochs)
            work += [(group, rate, Cell(CHOICE, "10", OF_GROUP[group], seed), params) for seed in CHOICE_SEEDS]
    return work


def chosen_rates(book, work):
    """Learning rate of each group, and the accuracies it was chosen by."""
    found = defaultdict(list)
    for group, rate, cell, params in work:
        record = book.find(cell, params)
        if record is None:
            raise SystemExit(f"Learning rates are not chosen yet: {group} at {rate} is missing. Run again.")
        found[group, rate].append(record["accuracy"])
    means = {key: float(np.mean(values)) for key, values in found.items()}
    rates = dict.fromkeys(RATES, None)
    for group in {group for group, _ in means}:
        rates[group] = max(RATES[group], key=lambda rate: (means[group, rate], -rate))
    return rates, means


def table_work(arguments, rates):
    """Cells of the table with their parameters, in the order of computation: the costly column of all labels last."""
    counts = {}
    for dataset in arguments.datasets:
        y = load(dataset).y
        rows = {size: draw(y, size, 0) for size in arguments.sizes}
        counts.update({(dataset, size): len(row) for size, row in rows.items() if row is not None})
    order = itertools.product(arguments.seeds, arguments.sizes, arguments.strategies, arguments.datasets)
    work = []
    for seed, size, strategy, dataset in sorted(order, key=lambda place: place[1] == "all"):
        if strategy.startswith(FROZEN.format("")) and size not in SIZES[:2]:
            continue
        wanted = size != "all" or strategy in CORE or seed in arguments.seeds[: arguments.all_seeds]
        if wanted and (n := counts.get((dataset, size))):
            params = parameters(strategy, n, rates, arguments.image_size, arguments.max_epochs)
            work.append((Cell(dataset, size, strategy, seed), params))
    return work


def estimate(work, image_size):
    """Core minutes that the work takes, roughly."""
    train, predict = (np.interp(image_size, SPEED["size"], SPEED[key]) for key in ("train", "predict"))
    share = {"head only": 0.0, "last 2 stages": 0.3, "gradual": 0.6}
    share.update({f"all, {name}": 1.3 for name in ("delta", "lwf", "co-tuning", "rkd")})
    seconds = 0.0
    for cell, params in work:
        data = cell_data(cell)
        seen = share.get(cell.strategy, 1.0) * len(data.y) * params["max_epochs"]
        seconds += 0.3 + seen / train + len(data.y_test) / predict
    return seconds / 60


def read_arguments():
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    names = list(strategies(1, dict.fromkeys(RATES, 1e-3)))
    parser.add_argument("--datasets", nargs="+", choices=DATASETS, default=DATASETS)
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=SIZES)
    parser.add_argument("--strategies", nargs="+", choices=names, default=names)
    parser.add_argument("--seeds", nargs="+", type=int, default=SEEDS)
    parser.add_argument("--all-seeds", type=int, default=1, help="seeds of the other strategies with all labels")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--image-size", type=int, default=64)
    parser.add_argument("--max-epochs", type=int, default=EPOCHS[1])
    parser.add_argument("--minutes", type=float, default=math.inf, help="start no further cell after so many minutes")
    parser.add_argument("--plan", action="store_true", help="say what would be done, and stop")
    parser.add_argument("--name", default="fine_tuning", help="name of the written files")
    arguments = parser.parse_args()
    missing = sorted(set(arguments.strategies) - set(available(arguments.strategies)))
    if missing:
        print(f"Left out, because this version does not have them: {', '.join(missing)}")
    arguments.strategies = available(arguments.strategies)
    return arguments


def main():
    """Choose learning rates, fill and publish the table."""
    arguments = read_arguments()
    if arguments.plan:
        rates = {group: candidates[1] for group, candidates in RATES.items()}
        work = table_work(arguments, rates)
        first = [(cell, params) for _, _, cell, params in choice_work(arguments)]
        minutes = [estimate(part, arguments.image_size) for part in (first, work)]
        print(f"{len(first)} trainings choose learning rates, about {minutes[0]:.0f} core minutes")
        print(f"{len(work)} trainings fill the table, about {minutes[1]:.0f} core minutes")
        return
    deadline = time.monotonic() + 60 * arguments.minutes
    book = Book(HERE / "results" / f"{arguments.name}.jsonl")
    choice = choice_work(arguments)
    compute([(cell, params) for _, _, cell, params in choice], book, arguments.jobs, deadline)
    rates, means = chosen_rates(book, choice)
    work = table_work(arguments, rates)
    if time.monotonic() < deadline:
        compute(work, book, arguments.jobs, deadline)
    records = [record for cell, params in work if (record := book.find(cell, params)) is not None]
    if not records:
        raise SystemExit("No cell is finished yet.")
    shown = {
        group: ", ".join(f"{rate:g} ({100 * means[group, rate]:.1f} %)" for rate in RATES[group])
        for group in RATES
        if rates[group]
    }
    setting = {
        "image_size": arguments.image_size,
        "steps": STEPS,
        "epochs": (EPOCHS[0], min(EPOCHS[1], arguments.max_epochs)),
        "batch": BATCH,
        "head_epochs": HEAD_EPOCHS,
        "most": MOST_PICTURES,
        "rates": {group: rate for group, rate in rates.items() if rate},
        "candidates": shown,
        "missing": len(work) - len(records),
    }
    publish(arguments.name, report(records, setting))


if __name__ == "__main__":
    main()
