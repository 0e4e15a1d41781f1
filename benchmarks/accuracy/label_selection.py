"""Which rows to label: budgets of one, two and five labels a class in all, chosen from features alone.

The accuracy is that of all rows that were not chosen, of logistic regression and of PrototypeClassifier on the chosen
ones. ``"margin"`` and ``"badge"`` ask a classifier: they start from the typical rows of the budget before. Each
finished draw is written at once to ``results/label_selection.jsonl``. Run with
``python benchmarks/accuracy/label_selection.py`` (``--minutes`` stops it); writes ``label_selection.md``.
"""

import argparse
import json
import time
import warnings
from collections import defaultdict

import numpy as np
from _common import HERE, markdown_table, provenance, publish
from _few_sets import CHOICE, SHOWN
from few_labels import draw
from sklearn.cluster import KMeans
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer

from sktransfer import PrototypeClassifier, select_for_labeling
from sktransfer.utils._deviations import ColumnScaler

RESULTS = HERE / "results" / "label_selection.jsonl"
BUDGETS, SEEDS = (1, 2, 5), 2
UNBALANCED = ("UC Merced", "PACS photo")
PUBLISHED = "TypiClust as published"
METHODS = ("at random", "k-means medoids", PUBLISHED, "typical", "coverage", "margin", "badge")


def medoids(Z, n, seed):
    groups = KMeans(n, n_init=5, random_state=seed).fit(Z)
    return np.argmin(groups.transform(Z), axis=0)


def typiclust(Z, n, seed):
    """As many groups as labels are asked for, of each the row with the least mean distance to its 20 neighbours."""
    groups = KMeans(n, random_state=seed).fit(Z).labels_
    chosen = []
    for group in range(n):
        rows = np.flatnonzero(groups == group)
        distances = np.sort(np.linalg.norm(Z[rows][:, None] - Z[rows][None], axis=2), axis=1)
        chosen.append(rows[np.argmin(distances[:, 1:21].mean(axis=1)) if len(rows) > 1 else 0])
    return np.array(chosen)


def choose(method, X, Z, y, budget, seed):
    """Rows to label by a method; y is read only where labels are there already."""
    n_classes = len(np.unique(y))
    n = budget * n_classes
    if method == "at random":
        return np.random.default_rng(seed).permutation(len(X))[:n]
    if method == "k-means medoids":
        return medoids(Z, n, seed)
    if method == PUBLISHED:
        return typiclust(Z, n, seed)
    if method in ("typical", "coverage"):
        return select_for_labeling(X, n, method=method, random_state=seed)
    first = select_for_labeling(X, BUDGETS[BUDGETS.index(budget) - 1] * n_classes, random_state=seed)
    labels = np.full(len(y), -1)
    labels[first] = y[first]
    if len(np.unique(y[first])) < 2:
        return None
    then = select_for_labeling(X, n - len(first), y=labels, method=method, random_state=seed)
    return np.append(first, then)


def evaluate(X, y, method, budget, seed):
    """Accuracy of logistic regression and of prototypes, and the share of classes that have a label."""
    Z = make_pipeline(ColumnScaler(), Normalizer()).fit_transform(X)
    rows = choose(method, X, Z, y, budget, seed)
    if rows is None or len(np.unique(y[rows])) < 2:
        return [100.0 / len(np.unique(y))] * 2 + [1.0 / len(np.unique(y))]
    rest = np.setdiff1d(np.arange(len(y)), rows)
    labels = np.full(len(y), -1)
    labels[rows] = y[rows]
    linear = LogisticRegression(C=100.0, max_iter=500).fit(Z[rows], y[rows]).predict(Z[rest])
    ours = PrototypeClassifier().fit(X, labels).predict(X[rest])
    found = [100 * float(balanced_accuracy_score(y[rest], guess)) for guess in (linear, ours)]
    return [*found, len(np.unique(y[rows])) / len(np.unique(y))]


def jobs():
    """Give key and arguments of each draw."""
    for name, read_set in SHOWN.items():
        X, y = read_set()
        y = np.unique(y, return_inverse=True)[1]
        for kind, rows in (("balanced", np.arange(len(y))), ("1:10", draw(y, 10, 1, 0)[0])):
            if kind != "balanced" and name not in UNBALANCED:
                continue
            for budget in BUDGETS:
                for method in METHODS:
                    # Those that ask start from the budget before.
                    asks = method in ("margin", "badge")
                    if budget * (y.max() + 1) > len(rows) / 2 or (asks and budget == BUDGETS[0]):
                        continue
                    for seed in range(SEEDS):
                        yield (kind, name, budget, method, seed), (X[rows], y[rows], method, budget, seed)


def read():
    return {tuple(key): value for key, value in map(json.loads, RESULTS.open())} if RESULTS.exists() else {}


def compute(minutes):
    """Compute what is not yet there."""
    RESULTS.parent.mkdir(exist_ok=True)
    stop, done = time.monotonic() + 60 * minutes, read()
    for key, arguments in jobs():
        if key in done or time.monotonic() > stop:
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = evaluate(*arguments)
        with RESULTS.open("a") as file:
            file.write(json.dumps([key, found]) + "\n")


def table(done, kind, sets, part):
    """Mean over sets by budget; of the smallest budget also each set."""
    cells = defaultdict(lambda: defaultdict(list))
    for key, found in done.items():
        if key[0] == kind and key[1] in sets and key[4] < SEEDS:
            cells[key[3], key[2]][key[1]].append(found[part])
    names = [name for name in sets if name in cells[METHODS[0], 1]]
    rows = []
    for method in METHODS:
        row = [method]
        for budget in BUDGETS:
            by_set = cells.get((method, budget), {})
            row.append(float(np.mean([np.mean(values) for values in by_set.values()])) if by_set else "")
        first = cells.get((method, 1), {})
        rows.append(row + [float(np.mean(first[name])) if name in first else "" for name in names])
    return markdown_table(["a class in all", *BUDGETS, *(f"{name}, 1" for name in names)], rows)


def main():
    """Compute and publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=120.0)
    compute(parser.parse_args().minutes)
    done = read()
    publish(
        "label_selection",
        f"""# Which rows to label

Mean of the accuracies of the classes in percent on the rows that were not chosen, mean of {SEEDS} draws; the budget is
that of all classes together, so that a class may get no label at all. Sets as in few_labels.md; the number of axes was
chosen on {", ".join(CHOICE)}.
"As published": written for this table after the paper, on standardised rows at norm 1; scikit-activeml was not
installed where it was made. Margin and badge start from the typical rows of the budget before. UC Merced has
no column of five in the unbalanced pools.

## PrototypeClassifier on the chosen rows

{table(done, "balanced", SHOWN, 1)}

## Logistic regression on the chosen rows

{table(done, "balanced", SHOWN, 0)}

## Unbalanced pools, 1:10, PrototypeClassifier

{table(done, "1:10", UNBALANCED, 1)}

`python benchmarks/accuracy/label_selection.py`, {provenance("scikit-learn", "numpy")}
""",
    )


if __name__ == "__main__":
    main()
