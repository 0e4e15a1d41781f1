"""Judge the exported backbone by linear models on sets it never saw, beside simple baselines.

Every row of a table uses the same protocol: StandardScaler and LogisticRegression on fixed features, C chosen by
3-fold cross-validation on the training part. Prints two markdown tables and writes them with their circumstances.
"""

import argparse
import datetime
import platform
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import sklearn
import torch
from common import ARCHITECTURE, DATA, EXPORT, REPO, TEACHER, WEIGHTS, grey_pictures, import_timm, read_folder
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, roc_auc_score
from sklearn.model_selection import GridSearchCV, StratifiedKFold, StratifiedShuffleSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

OUTPUT = REPO / "benchmarks" / "accuracy" / "mini_backbone.md"
GRID = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
SEEDS = 5
FEW = 10
BASELINES = ("random weights", "raw pixels", "histogram")


@dataclass
class Task:
    """One judged set: pictures, labels and the splits they are scored on."""

    name: str
    pictures: list
    y: np.ndarray
    splits: list
    grey: bool
    pixel_side: int
    scores: tuple = ("accuracy",)


def fixed_task(name, train, test, **options):
    """Join a training and a test part, each given as (pictures, labels), into a task of one split."""
    y = np.concatenate([train[1], test[1]]).astype(int)
    split = (np.arange(len(train[1])), np.arange(len(train[1]), len(y)))
    return Task(name, train[0] + test[0], y, [split], **options)


def halved_task(name, pictures, y, **options):
    """Make a task of five random stratified half splits."""
    halves = StratifiedShuffleSplit(n_splits=SEEDS, test_size=0.5, random_state=0)
    return Task(name, pictures, y, list(halves.split(np.zeros(len(y)), y)), **options)


def read_tasks():
    """Read the judged sets."""
    ants = [read_folder(DATA / "hymenoptera" / part) for part in ("train", "val")]
    cifar = np.load(DATA / "cifar10_subset" / "cifar10_32x32.npz")
    chest = np.load(DATA / "pneumonia_mnist" / "pneumonia_28x28.npz")
    parts = ("train", "test")
    cifar = [(grey_pictures(cifar[f"{part}_X"]), cifar[f"{part}_y"].ravel()) for part in parts]
    chest = [(grey_pictures(chest[f"{part}_X"]), chest[f"{part}_y"].ravel()) for part in parts]
    digits = load_digits()
    digit_pictures = grey_pictures((digits.images * (255 / 16)).astype(np.uint8))
    tasks = [fixed_task("hymenoptera", *ants, grey=False, pixel_side=32)]
    for domain in ("amazon", "webcam"):
        pictures, y = read_folder(DATA / "office_caltech10_images" / domain)
        tasks.append(halved_task(f"office {domain}", pictures, y, grey=False, pixel_side=32))
    tasks.append(fixed_task("cifar10 subset", *cifar, grey=False, pixel_side=32))
    tasks.append(fixed_task("pneumonia", *chest, grey=True, pixel_side=28, scores=("accuracy", "ROC AUC")))
    tasks.append(halved_task("digits 8x8", digit_pictures, digits.target, grey=True, pixel_side=8))
    return tasks


def deep_features(model, pictures):
    """Return the pooled features of pictures under a timm model's own preprocessing."""
    timm = import_timm()
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model), is_training=False)
    model = model.eval().to(memory_format=torch.channels_last)
    features = []
    with torch.inference_mode():
        for start in range(0, len(pictures), 64):
            batch = torch.stack([transform(picture) for picture in pictures[start : start + 64]])
            features.append(model(batch.to(memory_format=torch.channels_last)).float().numpy())
    return np.concatenate(features)


def pixel_features(task):
    """Return flattened pixels at the task's side, one plane for grey pictures."""
    size = (task.pixel_side, task.pixel_side)
    pictures = [picture.convert("L") if task.grey else picture for picture in task.pictures]
    return np.stack([np.asarray(picture.resize(size, Image.Resampling.BICUBIC)).ravel() / 255 for picture in pictures])


def histogram_features(task):
    """Return relative frequencies: 8 x 8 x 8 colours, or 32 grey levels."""
    rows = []
    for picture in task.pictures:
        if task.grey:
            codes, bins = np.asarray(picture.convert("L")).ravel() // 8, 32
        else:
            codes, bins = np.asarray(picture).reshape(-1, 3) // 32 @ np.array([64, 8, 1]), 512
        rows.append(np.bincount(codes, minlength=bins) / len(codes))
    return np.stack(rows)


def all_features(task, models):
    """Return the features of a task by representation."""
    features = {name: deep_features(model, task.pictures) for name, model in models.items()}
    return features | {"raw pixels": pixel_features(task), "histogram": histogram_features(task)}


def predict(X, y, train, test):
    """Fit the linear model on the training part and return class probabilities of the test part."""
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000, tol=1e-3))
    folds = StratifiedKFold(3, shuffle=True, random_state=0)
    search = GridSearchCV(model, {"logisticregression__C": GRID}, cv=folds)
    return search.fit(X[train], y[train]).predict_proba(X[test])


def score(name, y, probabilities):
    """Score class probabilities; classes are numbered from 0 without gaps."""
    if name == "accuracy":
        return accuracy_score(y, probabilities.argmax(axis=1))
    return roc_auc_score(y, probabilities[:, 1])


def few_labels(y, train, seed):
    """Choose a few training rows of each class."""
    rng = np.random.default_rng(seed)
    classes = [train[y[train] == label] for label in np.unique(y)]
    return np.concatenate([rng.choice(rows, min(FEW, len(rows)), replace=False) for rows in classes])


def runs_of(task, few):
    """Return (train, test) index pairs of the protocol with few or with all training labels."""
    if not few:
        return task.splits
    pairs = [task.splits[seed % len(task.splits)] for seed in range(SEEDS)]
    return [(few_labels(task.y, train, seed), test) for seed, (train, test) in enumerate(pairs)]


def margin_error(name, truths, ours, theirs):
    """Return the standard error of a margin.

    Over several runs it is that of their mean margin, but never less than the sampling error of one test part,
    found by a paired bootstrap over its pictures.

    Parameters
    ----------
    name : str
        Score.
    truths, ours, theirs : list of ndarray
        True labels and class probabilities of every run.

    Returns
    -------
    error : float
        Standard error.
    """
    rng, draws = np.random.default_rng(0), []
    y, first, second = truths[0], ours[0], theirs[0]
    for _ in range(300):
        chosen = rng.integers(0, len(y), len(y))
        draws.append(score(name, y[chosen], first[chosen]) - score(name, y[chosen], second[chosen]))
    margins = [score(name, y, a) - score(name, y, b) for y, a, b in zip(truths, ours, theirs, strict=True)]
    between = np.std(margins, ddof=1) / np.sqrt(len(margins)) if len(margins) > 1 else 0.0
    return max(float(np.std(draws)), float(between))


def judge_task(task, features, few):
    """Return one table line per score of a task.

    Parameters
    ----------
    task : Task
        Judged set.
    features : dict of str to ndarray
        Features by representation; "sktransfer_mini" and the baselines are needed.
    few : bool
        Whether only a few labels a class are used.

    Returns
    -------
    lines : list of dict
        Column name to cell text.
    """
    runs = runs_of(task, few)
    probabilities = {name: [predict(X, task.y, *run) for run in runs] for name, X in features.items()}
    truths, lines = [task.y[test] for _, test in runs], []
    for measure in task.scores:
        marks = {
            name: np.array([score(measure, y, p) for y, p in zip(truths, parts, strict=True)])
            for name, parts in probabilities.items()
        }
        line = {"set": f"{task.name} ({measure})", "train": str(len(runs[0][0])), "test": str(len(runs[0][1]))}
        for name, mark in marks.items():
            line[name] = f"{100 * mark.mean():.1f}" + (f" ± {100 * mark.std(ddof=1):.1f}" if len(mark) > 1 else "")
        best = max(BASELINES, key=lambda name: marks[name].mean())
        margin = marks["sktransfer_mini"].mean() - marks[best].mean()
        error = margin_error(measure, truths, probabilities["sktransfer_mini"], probabilities[best])
        line["margin over the best baseline"] = f"{100 * margin:+.1f} (s.e. {100 * error:.1f}; {best})"
        line["clear"] = "yes" if margin > 2 * error else "no"
        lines.append(line)
    return lines


def markdown(lines):
    """Return lines of cells as a markdown table."""
    names = list(lines[0])
    rows = [names, ["---"] * len(names), *[[line[name] for name in names] for line in lines]]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def describe(options, seconds):
    """Return the text above the tables: how, where and when they were made."""
    timm = import_timm()
    versions = f"python {platform.python_version()}, numpy {np.__version__}, scikit-learn {sklearn.__version__}"
    return f"""# sktransfer_mini: linear models on its frozen features

Made by `benchmarks/mini_backbone/judge.py` on {datetime.date.today()} in {seconds / 60:.1f} min, one thread, no GPU,
{platform.system()} {platform.machine()}; {versions}, torch {torch.__version__}, timm {timm.__version__}.

None of these sets, nor any picture of them, was used to train the backbone. Every column has one protocol:
StandardScaler + LogisticRegression on fixed features, C from {", ".join(f"{c:g}" for c in GRID)} by 3-fold
cross-validation on the training part. `hymenoptera`, `cifar10 subset` and `pneumonia` use their own training and test
parts; the others {SEEDS} random stratified half splits. "±" is the standard deviation over splits or label draws.
Random weights: the same architecture, as initialised (seed {options.seed}), same preprocessing. Raw pixels: 32 x 32, or
the native 28 x 28 and 8 x 8. Histogram: 8 x 8 x 8 colours, or 32 grey levels. The margin's standard error is the larger
of the one between runs and the one of a paired bootstrap of a test part; "clear" means a margin above two of them.

Two cautions. These sets chose between three versions: one from random weights, this one, and this one trained for five
more epochs. The teacher saw ImageNet, and hymenoptera is a part of ImageNet.
"""


def main():
    """Judge every set and write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backbone", type=Path, default=EXPORT)
    parser.add_argument("--output", type=Path, default=OUTPUT)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--teacher", action="store_true", help="add the teacher at its own 224 pixels, for reference")
    options = parser.parse_args()
    torch.set_num_threads(1)
    start = time.perf_counter()
    timm = import_timm()
    torch.manual_seed(options.seed)
    mini = timm.create_model(f"local-dir:{options.backbone}", pretrained=True)
    random = timm.create_model(ARCHITECTURE, num_classes=0, pretrained_cfg=mini.pretrained_cfg)
    models = {"sktransfer_mini": mini, "random weights": random}
    if options.teacher:
        models["teacher"] = timm.create_model(f"local-dir:{WEIGHTS / TEACHER}", pretrained=True, num_classes=0)
    tables = {True: [], False: []}
    for task in read_tasks():
        features = all_features(task, models)
        for few, lines in tables.items():
            lines += judge_task(task, features, few)
            print(markdown(lines[-len(task.scores) :]), flush=True)
    text = describe(options, time.perf_counter() - start)
    text += f"\n## {FEW} labels a class, {SEEDS} draws\n\n{markdown(tables[True])}\n"
    text += f"\n## All training labels\n\n{markdown(tables[False])}\n"
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
