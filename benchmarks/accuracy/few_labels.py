"""Few labels: prototypes against what scikit-learn has, on balanced and unbalanced pools, and between two domains.

A quarter of the rows of each set is put aside (inductive figures); the others are the pool, some of them with a label
(transductive figures: the pool's rows without one). Each finished draw is written at once to
``results/few_labels.jsonl`` and not computed again. Run with ``python benchmarks/accuracy/few_labels.py``
(``--minutes`` stops it); writes ``few_labels.md``.
"""

import argparse
import json
import time
import warnings
from collections import defaultdict

import numpy as np
from _common import HERE, markdown_table, provenance, publish
from _few_sets import CHOICE, SHOWN, pictures
from _tasks import surf, written
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer, StandardScaler
from sklearn.semi_supervised import LabelSpreading, SelfTrainingClassifier

from sktransfer import AdaptedClassifier, CORALAdapter, DSANClassifier, MCCClassifier, MMDAdapter, PrototypeClassifier
from sktransfer.adaptation import DomainStandardizer
from sktransfer.utils._deviations import ColumnScaler

RESULTS = HERE / "results" / "few_labels.jsonl"
LABELS, RATIOS, SEEDS, SEEDS_OF_CHOICE = (1, 2, 5, 20), (1, 5, 20), 5, 2
OURS, PLAIN, UNGUARDED = "PrototypeClassifier", "logistic regression", "without the guard"
RIVALS = (PLAIN, "SelfTrainingClassifier", "LabelSpreading", "k-NN")
# Each rival gets standardised rows, and the same at norm 1; the better of the two, by the mean of a column, is shown.
PREPARED = {"": (), ", norm 1": (Normalizer(),)}


def linear(prepared):
    return LogisticRegression(C=100.0 if prepared else 1.0, max_iter=500)


def rivals(n_labels):
    """Name -> estimator of what scikit-learn has."""
    made = {}
    for name, prepared in PREPARED.items():
        models = (
            linear(prepared),
            SelfTrainingClassifier(linear(prepared), threshold=0.6),
            LabelSpreading(kernel="knn", n_neighbors=7),
            KNeighborsClassifier(1 if n_labels < 5 else 5, metric="cosine", weights="distance"),
        )
        made |= {rival + name: (prepared, model) for rival, model in zip(RIVALS, models, strict=True)}
    return made


def draw(y, ratio, n_labels, seed):
    """Return rows of the pool, its labels of which most are -1, and the rows put aside; None where a class is short."""
    rng = np.random.default_rng(seed)
    classes = rng.permutation(y.max() + 1)
    aside, pool = [], []
    least = np.bincount(y).min()
    sizes = 0.75 * least * ratio ** (-np.arange(len(classes)) / max(1, len(classes) - 1))
    for c, size in zip(classes, np.maximum(sizes.round().astype(int), 3), strict=True):
        rows = rng.permutation(np.flatnonzero(y == c))
        aside.append(rows[: len(rows) // 4])
        pool.append(rows[len(rows) // 4 :][: size if ratio > 1 else None])
    if min(map(len, pool)) <= n_labels:
        return None
    labelled = np.concatenate([rows[:n_labels] for rows in pool])
    pool, aside = np.sort(np.concatenate(pool)), np.sort(np.concatenate(aside))
    return pool, np.where(np.isin(pool, labelled), y[pool], -1), aside


def judged(predict, X, y, pool, labels, aside):
    free = labels < 0
    return [100 * balanced_accuracy_score(y[rows], predict(X[rows])) for rows in (pool[free], aside)]


def evaluate(X, y, pool, labels, aside, ratio, n_labels):
    """Name -> transductive and inductive accuracy, seconds of the fit."""
    found = {}
    models = {OURS: PrototypeClassifier()} | ({UNGUARDED: PrototypeClassifier(guard=False)} if ratio > 1 else {})
    for name, model in models.items():
        start = time.perf_counter()
        model.fit(X[pool], labels)
        seconds = time.perf_counter() - start
        found[name] = [*judged(model.predict, X, y, pool, labels, aside), seconds]
    scaler = ColumnScaler().fit(X[pool])
    for name, (prepared, model) in rivals(n_labels).items():
        if ratio > 1 and not name.startswith(PLAIN):
            continue
        first = make_pipeline(scaler, *prepared)
        rows = first.fit_transform(X[pool])
        start = time.perf_counter()
        if name.startswith((PLAIN, "k-NN")):
            model.fit(rows[labels >= 0], labels[labels >= 0])
        else:
            model.fit(rows, labels)
        seconds = time.perf_counter() - start
        predict = make_pipeline(first, model).predict
        found[name] = [*judged(predict, X, y, pool, labels, aside), seconds]
    return found


def unguarded(X, y, pool, labels, aside):
    model = PrototypeClassifier(guard=False).fit(X[pool], labels)
    return {UNGUARDED: judged(model.predict, X, y, pool, labels, aside)}


def adaptation_tasks():
    """Name -> rows and labels of the source and of the target."""
    office = {name: pictures("office_caltech10_images", name) for name in ("amazon", "webcam")}
    pacs = {name: pictures("pacs_photo_cartoon", name) for name in ("photo", "cartoon")}
    digits = {name: written(name) for name in ("usps", "mnist")}
    bags = {name: surf(name) for name in ("amazon", "caltech", "webcam")}
    pairs = [
        *((pacs, *names) for names in (("photo", "cartoon"), ("cartoon", "photo"))),
        *((office, *names) for names in (("amazon", "webcam"), ("webcam", "amazon"))),
        *((digits, *names) for names in (("usps", "mnist"), ("mnist", "usps"))),
        *((bags, *names) for names in (("amazon", "caltech"), ("caltech", "amazon"), ("amazon", "webcam"))),
    ]
    return {f"{'SURF ' * (kind is bags)}{a} to {b}": (kind[a], kind[b]) for kind, a, b in pairs}


def adapters():
    """Name -> estimator that adapts to a target without labels."""

    def on_source(*adapters):
        model = AdaptedClassifier(LogisticRegression(max_iter=300), adapters[-1])
        return make_pipeline(StandardScaler(), *adapters[:-1], model)

    deep = {"max_epochs": 15, "random_state": 0}
    return {
        "source alone": on_source(DomainStandardizer(with_mean=False, with_std=False)),
        "standardised": on_source(DomainStandardizer()),
        "CORAL": on_source(CORALAdapter()),
        "JDA": on_source(MMDAdapter(30, kernel="primal", conditional=0.5)),
        "MCC": make_pipeline(StandardScaler(), MCCClassifier(None, **deep)),
        "DSAN": make_pipeline(StandardScaler(), DSANClassifier(None, **deep)),
        OURS: PrototypeClassifier(),
    }


def adapted(task, name):
    (Xs, ys), (Xt, yt) = task
    X, y = np.vstack([Xs, Xt]), np.concatenate([ys, ys[:1].repeat(len(yt))])
    domain = np.repeat(["source", "target"], [len(ys), len(yt)])
    model = adapters()[name]
    step = f"{model.steps[-1][0]}__" if hasattr(model, "steps") else ""
    start = time.perf_counter()
    model.fit(X, y, **{f"{step}sample_domain": domain})
    return {name: [100 * float(np.mean(model.predict(Xt) == yt)), time.perf_counter() - start]}


def jobs():
    """Give key and function of each part, the cheapest kind first."""
    for name, task in adaptation_tasks().items():
        for method in adapters():
            yield ("adaptation", name, method), lambda task=task, method=method: adapted(task, method)
    for sets, seeds in ((SHOWN, SEEDS), (CHOICE, SEEDS_OF_CHOICE)):
        for name, read in sets.items():
            X, y = read()
            y = np.unique(y, return_inverse=True)[1]
            for ratio in RATIOS:
                for n_labels in LABELS if ratio == 1 else LABELS[:3]:
                    for seed in range(seeds):
                        drawn = draw(y, ratio, n_labels, seed)
                        if drawn is None:
                            continue
                        key = ("pool", name, ratio, n_labels, seed)
                        yield key, lambda a=(X, y, *drawn, ratio, n_labels): evaluate(*a)
                        if ratio == 1 and n_labels < LABELS[-1]:
                            yield ("unguarded", *key[1:]), lambda a=(X, y, *drawn): unguarded(*a)


def read():
    return {tuple(key): value for key, value in map(json.loads, RESULTS.open())} if RESULTS.exists() else {}


def compute(minutes):
    """Compute what is not yet there."""
    RESULTS.parent.mkdir(exist_ok=True)
    stop, done = time.monotonic() + 60 * minutes, read()
    for key, run in jobs():
        if key in done or time.monotonic() > stop:
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = run()
        with RESULTS.open("a") as file:
            file.write(json.dumps([key, found]) + "\n")


def collect(done, ratio, part, sets):
    """Name of the method -> number of labels -> set -> mean accuracy."""
    cells = defaultdict(lambda: defaultdict(lambda: defaultdict(list)))
    for key, found in done.items():
        if key[0] in ("pool", "unguarded") and key[2] == ratio and key[1] in sets:
            for name, values in found.items():
                cells[name][key[3]][key[1]].append(values[part])
    return {
        name: {n: {one: float(np.mean(values)) for one, values in of.items()} for n, of in by.items()}
        for name, by in cells.items()
    }


def best_of(cells, rival, n_labels):
    """Accuracies by set of a rival as it was prepared better."""
    ways = [cells[rival + name][n_labels] for name in PREPARED]
    return max(ways, key=lambda by_set: np.mean(list(by_set.values())))


def mean(by_set):
    return float(np.mean(list(by_set.values())))


def balanced_table(done, part, sets):
    cells = collect(done, 1, part, sets)
    columns = [n for n in LABELS if n in cells[OURS]]
    rows = [[OURS, *(mean(cells[OURS][n]) for n in columns)]]
    rows += [[rival, *(mean(best_of(cells, rival, n)) for n in columns)] for rival in RIVALS]
    ahead = [rows[0][i] - max(row[i] for row in rows[1:]) for i in range(1, len(columns) + 1)]
    rows.append(["*ahead of the best of them*", *(f"{points:+.1f}" for points in ahead)])
    return markdown_table(["labels a class", *columns], rows)


def by_set_table(done, sets, n_labels):
    cells = collect(done, 1, 0, sets)
    names = [name for name in sets if name in cells[OURS].get(n_labels, {})]
    rows = [[OURS, *(cells[OURS][n_labels][name] for name in names)]]
    rows += [[rival, *(best_of(cells, rival, n_labels)[name] for name in names)] for rival in RIVALS]
    return markdown_table([f"{n_labels} a class", *names], rows)


def pool_table(done, sets):
    """Points ahead of the plain classifier by unbalance and labels: mean over the sets, and the worst set."""
    rows = []
    for ratio in RATIOS:
        cells = collect(done, ratio, 0, sets)
        for n in LABELS[:3]:
            plain = best_of(cells, PLAIN, n)
            row = [f"1:{ratio}", n, mean(plain)]
            for name in (OURS, UNGUARDED):
                if name in cells:
                    gains = {one: value - plain[one] for one, value in cells[name][n].items()}
                    worst = min(gains, key=gains.get)
                    row += [f"{mean(gains):+.1f}", f"{gains[worst]:+.1f} ({worst})"]
            rows.append(row + [""] * (7 - len(row)))
    header = ["pool", "labels", PLAIN, "with the guard", "worst set", "without", "worst set"]
    return markdown_table(header, rows)


def adaptation_table(done):
    names = list(adapters())
    cells = defaultdict(dict)
    for key, found in done.items():
        if key[0] == "adaptation":
            cells[key[1]][key[2]] = found[key[2]]
    rows = [[task, *(by[name][0] for name in names)] for task, by in cells.items() if len(by) == len(names)]
    rows.append(["*mean*", *(float(np.mean([row[i] for row in rows])) for i in range(1, len(names) + 1))])
    seconds = [f"{np.median([by[name][1] for by in cells.values() if name in by]):.1f}" for name in names]
    return markdown_table(["source to target", *names], [*rows, ["*seconds (median)*", *seconds]])


def main():
    """Compute and publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=120.0)
    compute(parser.parse_args().minutes)
    done = read()
    seconds = np.median([found[OURS][2] for key, found in done.items() if key[0] == "pool"])
    publish(
        "few_labels",
        f"""# Few labels

Mean of the accuracies of the classes in percent, mean of {SEEDS} draws. Rows are frozen features: of MobileNetV2 at 160
pixels for pictures, of all-MiniLM-L6-v2 for texts (departments of reviews), the third stage of YAMNet for recordings
(spoken digits of four speakers). Every rival gets standardised rows, and the same at norm 1, and is shown as it did
better in the mean of the column. Mixture, temperature, ridge and the thresholds of the guard were chosen on
{", ".join(CHOICE)}; all others are shown. Median fit: {seconds:.1f} s on a busy core.

## Balanced pools, rows of the pool without a label

{balanced_table(done, 0, SHOWN)}

{by_set_table(done, SHOWN, 1)}

{by_set_table(done, SHOWN, 2)}

{by_set_table(done, SHOWN, 20)}

UC Merced has too few pictures for 20 labels a class. In the spoken digits groups are speakers, not digits.

## The same models on rows that were put aside

{balanced_table(done, 1, SHOWN)}

## The sets that the constants were chosen on (pool, {SEEDS_OF_CHOICE} draws)

{balanced_table(done, 0, CHOICE)}

## Unbalanced pools

The sizes of the classes fall geometrically from the largest to a fifth or a twentieth of it; each class has the same
number of labels. Points ahead of logistic regression, prepared as it did better.

{pool_table(done, SHOWN)}

## Adaptation: labels in the source only

Accuracy on the target. All methods get standardised rows; the linear models are logistic regression, MCC and DSAN
train a small network for 15 epochs.

{adaptation_table(done)}

`python benchmarks/accuracy/few_labels.py`, {provenance("scikit-learn", "numpy", "torch")}
""",
    )


if __name__ == "__main__":
    main()
