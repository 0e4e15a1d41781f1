"""TransferSearchCV against trying every strategy on every fold, on five sets of pictures.

Both see the same training pictures, folds and strategies and begin with an empty feature cache; the test pictures
judge what they chose. Run with ``python benchmarks/accuracy/transfer_search.py``; writes ``transfer_search.md``.
Finished sets are kept in ``results/transfer_search.jsonl``.
"""

import argparse
import json
import time

import numpy as np
from _common import HERE, markdown_table, provenance, publish
from backbone_ranking import load, path_of, register_architectures
from sklearn.base import clone
from sklearn.model_selection import StratifiedKFold, cross_val_score

from sktransfer import TransferSearchCV, clear_cache

DATASETS = ("hymenoptera", "flowers5", "ucmerced_subset", "bccd_cells", "pneumonia_mnist")
BACKBONE = "mobilenetv2_100.tf2_in1k"
SETTINGS = {"max_epochs": 6, "image_size": 64, "batch_size": 16, "random_state": 0}
N_FOLDS = 5
RESULTS = HERE / "results" / "transfer_search.jsonl"


def measure(name):
    """Search, then try everything; scores, seconds and test accuracies."""
    data = load(name)
    clear_cache()
    start = time.process_time()
    search = TransferSearchCV(path_of(BACKBONE), cv=N_FOLDS, **SETTINGS).fit(data.X, data.y)
    found = {"search": search.best_strategy_, "search_seconds": time.process_time() - start}
    found["report"] = search.report_
    clear_cache()
    start = time.process_time()
    seed = np.random.RandomState(SETTINGS["random_state"]).randint(2**31 - 1)
    folds = list(StratifiedKFold(N_FOLDS, shuffle=True, random_state=seed).split(data.X, data.y))
    estimators = {candidate.name: candidate.estimator for candidate in search._candidates(False, seed)}
    scores = {
        strategy: cross_val_score(estimator, data.X, data.y, cv=folds, error_score="raise")
        for strategy, estimator in estimators.items()
    }
    best = max(scores, key=lambda strategy: scores[strategy].mean())
    chosen = clone(estimators[best]).fit(data.X, data.y)
    found |= {"exhaustive": best, "exhaustive_seconds": time.process_time() - start}
    found["cv"] = {strategy: float(values.mean()) for strategy, values in scores.items()}
    found["test"] = {best: float(chosen.score(data.X_test, data.y_test))}
    found["test"][search.best_strategy_] = float(search.score(data.X_test, data.y_test))
    found["rows"] = len(data.y), len(data.y_test)
    return found


def read():
    return dict(map(json.loads, RESULTS.open())) if RESULTS.exists() else {}


def main():
    """Compute and publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=120.0)
    stop = time.monotonic() + 60 * parser.parse_args().minutes
    register_architectures()
    RESULTS.parent.mkdir(exist_ok=True)
    for name in DATASETS:
        if name not in read() and time.monotonic() < stop:
            result = measure(name)
            with RESULTS.open("a") as file:
                file.write(json.dumps([name, result]) + "\n")
    done, rows, tests = read(), [], []
    strategies = list(next(iter(done.values()))["cv"])
    for name, r in done.items():
        test = {strategy: 100 * value for strategy, value in r["test"].items()}
        rows.append(
            [
                f"{name} ({r['rows'][0]} and {r['rows'][1]} pictures)",
                r["search"],
                test[r["search"]],
                f"{r['search_seconds']:.0f}",
                r["exhaustive"],
                test[r["exhaustive"]],
                f"{r['exhaustive_seconds']:.0f}",
                f"{r['search_seconds'] / r['exhaustive_seconds']:.2f}",
                f"{test[r['search']] - test[r['exhaustive']]:+.1f}",
            ]
        )
        tests.append([name, *(100 * r["cv"][strategy] for strategy in strategies)])
    ratio = sum(r["search_seconds"] for r in done.values()) / sum(r["exhaustive_seconds"] for r in done.values())
    differences = [r["test"][r["search"]] - r["test"][r["exhaustive"]] for r in done.values()]
    header = ["set", "search", "its test", "s", "exhaustive", "its test", "s", "time", "difference"]
    publish(
        "transfer_search",
        f"""# The search over strategies, and trying everything

MobileNetV2 with ImageNet weights at {SETTINGS["image_size"]} pixels, {SETTINGS["max_epochs"]} epochs, {N_FOLDS} folds:
`TransferSearchCV` with its defaults, and cross-validation of every strategy on every fold. Test accuracy in percent of
what each chose, and CPU seconds, the last fit included; both began with an empty feature cache.

{markdown_table(header, rows)}

All sets together: {ratio:.2f} of the time, {100 * np.mean(differences):+.1f} points of test accuracy on average.

Accuracy of all strategies in percent in cross-validation on the training pictures, all folds:

{markdown_table(["set", *strategies], tests)}

`python benchmarks/accuracy/transfer_search.py`, {provenance("scikit-learn", "torch", "timm", "skorch")}
""",
    )


if __name__ == "__main__":
    main()
