"""Which backbone: eight small networks of different pretraining, ranked before and judged after fine-tuning.

Each network is fine-tuned on every picture set, and ranked on the same training rows by each score of its frozen
features; test pictures judge both. Each finished training is written at once to ``results/backbone_ranking.jsonl`` and
not computed again, so that a run can be stopped (``--minutes``) and continued. Run with
``python benchmarks/accuracy/backbone_ranking.py``; writes ``backbone_ranking.md``. With ``--linear`` a linear model on
frozen features is what is foretold, and ``backbone_ranking_linear.md`` is written.
"""

import argparse
import functools
import json
import math
import time
from typing import NamedTuple

import numpy as np
import torch
from _common import HERE, data_folder, markdown_table, provenance, publish
from scipy.stats import weightedtau
from sklearn.linear_model import LogisticRegression

from sktransfer import BackboneSearch, FineTunedClassifier, Recipe, clear_cache, rank_backbones

BACKBONES = (
    "mobilenetv2_100.tf2_in1k",
    "mobilenetv2_100.inat17_bird",
    "mobilenetv2_100.inat17_insect",
    "mobilenetv1_050.tf_qat_r160_in1k",
    "mobilenetv1_025.tf_in1k",
    "mobilenetv1_025.vww_r96",
    "cifar_resnet20.c10",
    "cifar_resnet56.c10",
)
DATASETS = ("hymenoptera", "flowers5", "ucmerced_subset", "bccd_cells", "pacs_cartoon", "pneumonia_mnist")
SEEDS = (0, 1)
MOST_PICTURES, EPOCHS, IMAGE_SIZE = 320, 6, 64
# The recipe that did best in fine_tuning.md: a probe, then the whole network with frozen BatchNorm.
RECIPE = {
    "trainable": "all",
    "batch_norm": "frozen",
    "max_epochs": EPOCHS,
    "probe_epochs": 60,
    "probe_lr": 1e-3,
    "optimizer": "adamw",
    "weight_decay": 0.01,
    "schedule": "cosine",
    "batch_size": 16,
    "image_size": IMAGE_SIZE,
}
# Each network gets the rate with the best accuracy on training pictures of flowers5 that it did not learn from; of
# equals the smallest.
RATES = (1e-4, 3e-4, 1e-3, 3e-3)
CHOICE = "flowers5, held-out training pictures"
# LogME first: its ranking computes the features.
SCORES = ("logme", "h_score", "nleep", "parc", "gbc", "sfda", "transrate", "leep", "nce")
PROBE, SIZE = "5-fold CV of logistic regression", "number of parameters"
REFINED = "LogME, then CV of the best 3"
TEXT = """# Which backbone, before training any

Eight small networks of different pretraining, each fine-tuned on each set and judged by test pictures (mean of {seeds}
seeds), and scored before that on the frozen features of the same training rows (at most {pictures}). Pictures at
{size} pixels, for time; the head alone for 60 epochs, then the whole network for {epochs} with BatchNorm frozen,
AdamW, cosine schedule, batches of 16: what did best in fine_tuning.md. Each network has the learning rate, of {rates},
with the best accuracy on training pictures of flowers5 that it did not learn from (of equals the smallest); nothing was
chosen by test pictures. The networks of CIFAR-10 see larger pictures than they were made for.

{accuracies}

## Does the score order the networks as fine-tuning does?

Weighted Kendall tau (`scipy.stats.weightedtau`), 1 for the same order, 0 for no relation.

{taus}

## What does choosing by the score cost?

Accuracy of the best network minus that of the chosen one. Less than the standard errors above is not to be told from
nothing. Cross-validation of a linear classifier on the same frozen features chooses the same network as LogME on {same}
of {of} sets: what LogME misses there, the frozen features at {size} pixels do not show.

{regrets}

## Time

{seconds}

`python benchmarks/accuracy/backbone_ranking.py`, {provenance}
"""
RESULTS = HERE / "results" / "backbone_ranking.jsonl"
SCORED = HERE / "results" / "backbone_ranking_scores.jsonl"


class Cell(NamedTuple):
    """One training."""

    dataset: str
    backbone: str
    lr: float
    seed: int


class Parts(NamedTuple):
    """Pictures and labels for training and for testing."""

    X: np.ndarray
    y: np.ndarray
    X_test: np.ndarray
    y_test: np.ndarray


def register_architectures():
    """Tell timm the architectures that it has without a name, as the README of the weights says."""
    import sktransfer.backbones  # noqa: F401  (makes the import of timm work beside any torchvision)

    # isort: split
    from timm.models import build_model_with_cfg, register_model
    from timm.models.byobnet import ByoBlockCfg, ByobNet, ByoModelCfg
    from timm.models.efficientnet import _gen_mobilenet_v1

    def cifar_resnet(name, depth, pretrained, options):
        blocks = tuple(ByoBlockCfg("basic", d=depth, c=c, s=s) for c, s in ((16, 1), (32, 2), (64, 2)))
        config = ByoModelCfg(blocks, stem_type="7x7", stem_pool="", stem_chs=16)
        features = {"out_indices": (0, 1, 2), "flatten_sequential": True}
        return build_model_with_cfg(ByobNet, name, pretrained, model_cfg=config, feature_cfg=features, **options)

    @register_model
    def mobilenetv1_025(pretrained=False, **options):
        return _gen_mobilenet_v1("mobilenetv1_100", 0.25, pretrained=pretrained, **options)

    @register_model
    def mobilenetv1_050(pretrained=False, **options):
        return _gen_mobilenet_v1("mobilenetv1_100", 0.5, pretrained=pretrained, **options)

    @register_model
    def cifar_resnet20(pretrained=False, **options):
        return cifar_resnet("cifar_resnet20", 3, pretrained, options)

    @register_model
    def cifar_resnet56(pretrained=False, **options):
        return cifar_resnet("cifar_resnet56", 9, pretrained, options)


def path_of(backbone):
    """Name of a network as ``backbone=`` takes it."""
    return f"local-dir:{data_folder()}/weights/{backbone}"


def folder(path):
    """Paths and labels of one part of a picture folder."""
    files = sorted(path.glob("*/*.jpg"))
    return np.array(files, dtype=object), np.array([file.parent.name for file in files])


def draw(y, share, seed):
    """Rows: a share of each class."""
    rng = np.random.default_rng(seed)
    by_class = [rng.permutation(np.flatnonzero(y == label)) for label in np.unique(y)]
    return np.sort(np.concatenate([rows[: round(share * len(rows))] for rows in by_class]))


@functools.cache
def load(name):
    """Read one data set: at most MOST_PICTURES training rows, the same for all networks, and all test rows."""
    data = data_folder() / "data"
    if name == CHOICE:
        X, y = folder(data / "flowers5" / "train")
        rows = draw(y, 0.4, 100)
        rest = np.setdiff1d(np.arange(len(y)), rows)
        return Parts(X[rows], y[rows], X[rest], y[rest])
    if name == "pneumonia_mnist":
        with np.load(data / name / "pneumonia_28x28.npz") as z:
            X, y, X_test, y_test = (z[key] for key in ("train_X", "train_y", "test_X", "test_y"))
    elif name == "pacs_cartoon":
        X, y = folder(data / "pacs_photo_cartoon" / "cartoon")
        rows = draw(y, 0.6, 0)
        rest = np.setdiff1d(np.arange(len(y)), rows)
        X, y, X_test, y_test = X[rows], y[rows], X[rest], y[rest]
    else:
        test = "test" if (data / name / "test").is_dir() else "val"
        X, y, X_test, y_test = *folder(data / name / "train"), *folder(data / name / test)
    rows = draw(y, min(1.0, MOST_PICTURES / len(y)), 0)
    return Parts(X[rows], y[rows], X_test, y_test)


def train(cell):
    """Fine-tune and judge; the record to be kept."""
    data = load(cell.dataset)
    start = time.process_time()
    recipe = Recipe(lr=cell.lr, **{name: value for name, value in RECIPE.items() if name != "image_size"})
    options = {"image_size": IMAGE_SIZE, "device": "cpu", "n_jobs": 1, "random_state": cell.seed}
    model = FineTunedClassifier(path_of(cell.backbone), recipe=recipe, **options)
    model.fit(data.X, data.y)
    seconds = time.process_time() - start
    accuracy = float(np.mean(model.predict(data.X_test) == data.y_test))
    return {**cell._asdict(), "accuracy": accuracy, "seconds": round(seconds, 2), "recipe": RECIPE}


def finished():
    """Read the trainings that there are, of this recipe."""
    rows = [json.loads(line) for line in RESULTS.read_text().splitlines()] if RESULTS.exists() else []
    return {Cell(*(row[key] for key in Cell._fields)): row for row in rows if row["recipe"] == RECIPE}


def rates(done):
    """Learning rate of each network whose candidates are all there."""
    chosen = {}
    for backbone in BACKBONES:
        found = [done.get(Cell(CHOICE, backbone, lr, 0)) for lr in RATES]
        if all(found):
            chosen[backbone] = max(RATES, key=lambda lr: (found[RATES.index(lr)]["accuracy"], -lr))
    return chosen


def wanted(done):
    """All trainings, the choice of learning rates first, then one seed of everything."""
    yield from (Cell(CHOICE, backbone, lr, 0) for backbone in BACKBONES for lr in RATES)
    chosen = rates(done)
    yield from (Cell(d, b, chosen[b], seed) for seed in SEEDS for d in DATASETS for b in BACKBONES)


def run(minutes):
    """Compute what is missing."""
    torch.set_num_threads(1)
    RESULTS.parent.mkdir(exist_ok=True)
    done, end = finished(), time.monotonic() + 60 * minutes
    for cell in wanted(done):
        if cell in done:
            continue
        if time.monotonic() > end:
            print("out of time; run again to go on")
            return
        done[cell] = train(cell)
        with RESULTS.open("a") as file:
            file.write(json.dumps(done[cell]) + "\n")
        print(f"{'/'.join(map(str, cell))}: {done[cell]['accuracy']:.3f}, {done[cell]['seconds']} s", flush=True)


def scores_of(dataset):
    """Score all networks on the training rows of a data set: values by score, and seconds of LogME with features."""
    data = load(dataset)
    backbones = {backbone: path_of(backbone) for backbone in BACKBONES}
    options = {"image_size": IMAGE_SIZE, "device": "cpu", "n_jobs": 1, "random_state": 0}
    clear_cache()
    values, seconds = {}, 0.0
    for score in SCORES:
        start = time.process_time()
        ranking = rank_backbones(backbones, data.X, data.y, score=score, **options)
        if score == "logme":  # the first: features are computed here and cached
            seconds = time.process_time() - start
            values[SIZE] = dict(zip(ranking.backbone, ranking.parameters.tolist(), strict=True))
        values[score] = dict(zip(ranking.backbone, ranking.score.tolist(), strict=True))
    search = BackboneSearch(LogisticRegression(max_iter=1000), backbones, refine=len(backbones), **options)
    ranking = search.fit(data.X, data.y).ranking_
    values[PROBE] = dict(zip(ranking.backbone, ranking.cv_score.tolist(), strict=True))
    order = sorted(BACKBONES, key=lambda backbone: -values["logme"][backbone])
    # As BackboneSearch(refine=3) chooses: the best three by cross-validation, the others after them.
    values[REFINED] = {b: values[PROBE][b] if b in order[:3] else -1.0 - order.index(b) for b in BACKBONES}
    return {"dataset": dataset, "values": values, "seconds": seconds}


def all_scores(datasets):
    """Scores by data set, each computed once."""
    rows = [json.loads(line) for line in SCORED.read_text().splitlines()] if SCORED.exists() else []
    found = {row["dataset"]: row for row in rows}
    for dataset in datasets:
        if dataset not in found:
            found[dataset] = scores_of(dataset)
            with SCORED.open("a") as file:
                file.write(json.dumps(found[dataset]) + "\n")
    return found


def report():
    """Write the tables."""
    done = finished()
    chosen = rates(done)
    found = {(d, b): [done.get(Cell(d, b, chosen[b], seed)) for seed in SEEDS] for d in DATASETS for b in BACKBONES}
    found = {key: [row for row in rows if row] for key, rows in found.items()}
    datasets = [d for d in DATASETS if all(found[d, b] for b in BACKBONES)]
    accuracy = {key: 100 * np.mean([row["accuracy"] for row in rows]) for key, rows in found.items() if rows}
    scored = all_scores(datasets)
    taus, regrets = [], []
    for score in (*SCORES, REFINED, PROBE, SIZE):
        pairs = {
            d: ([scored[d]["values"][score][b] for b in BACKBONES], [accuracy[d, b] for b in BACKBONES])
            for d in datasets
        }
        row = [weightedtau(*pair).statistic for pair in pairs.values()]
        taus.append((score, *(f"{tau:.2f}" for tau in row), f"{np.mean(row[:4]):.2f}", f"{np.mean(row):.2f}"))
        row = [max(after) - after[int(np.argmax(before))] for before, after in pairs.values()]
        regrets.append((score, *row, np.mean(row[:4]), np.mean(row)))
    row = [max(a) - np.mean(a) for a in ([accuracy[d, b] for b in BACKBONES] for d in datasets)]
    regrets.append(("any, at random", *row, np.mean(row[:4]), np.mean(row)))
    spread = [
        np.sqrt(np.mean([accuracy[d, b] * (100 - accuracy[d, b]) for b in BACKBONES]) / len(load(d).y_test))
        for d in datasets
    ]
    training = [sum(np.mean([row["seconds"] for row in found[d, b]]) for b in BACKBONES) for d in datasets]
    header = [*datasets, "mean of the first 4", "mean of all"]
    picks = [[max(BACKBONES, key=scored[d]["values"][score].get) for score in ("logme", PROBE)] for d in datasets]
    n_seeds = sorted({len(found[d, b]) for d in datasets for b in BACKBONES})
    text = TEXT.format(
        seeds=" or ".join(map(str, n_seeds)),
        pictures=MOST_PICTURES,
        size=IMAGE_SIZE,
        same=sum(first == second for first, second in picks),
        of=len(datasets),
        epochs=EPOCHS,
        rates=", ".join(f"{lr:g}" for lr in RATES),
        accuracies=markdown_table(
            ["test accuracy, %", "learning rate", *datasets],
            [
                *((b, f"{chosen[b]:g}", *(accuracy[d, b] for d in datasets)) for b in BACKBONES),
                ("standard error of one figure, from the number of test pictures", "", *spread),
            ],
        ),
        taus=markdown_table(["weighted Kendall tau", *header], taus),
        regrets=markdown_table(["regret, points", *header], regrets),
        seconds=markdown_table(
            ["CPU seconds, all eight", *datasets],
            [
                ("features and LogME", *(scored[d]["seconds"] for d in datasets)),
                ("fine-tuning once, one learning rate", *training),
            ],
        ),
        provenance=provenance("torch", "timm", "scikit-learn", "sktransfer"),
    )
    publish("backbone_ranking", text)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=math.inf, help="start no further training after so long")
    parser.add_argument("--linear", nargs="*", metavar="SET", help="foretell a linear model instead, on these sets")
    arguments = parser.parse_args()
    register_architectures()
    if arguments.linear is not None:
        from _linear_ranking import SETS, report_linear

        report_linear(arguments.linear or SETS)
    else:
        run(arguments.minutes)
        report()
