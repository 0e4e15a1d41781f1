"""Which model a scorer without target labels picks from a grid of adaptation methods and their parameters.

Every candidate is fitted once on four fifths of the source (labelled) and all target rows (unlabelled), scored by every
scorer on the rest of the source and the target rows, and judged by the target's labels, which nothing else sees. Run
with ``python benchmarks/accuracy/label_free_selection.py``; writes ``label_free_selection.md``. Finished candidates are
kept in ``results/label_free_selection.jsonl``.
"""

import argparse
import json
import time
import warnings
from collections import defaultdict

import numpy as np
from _common import HERE, markdown_table, provenance, publish
from _tasks import load_tasks
from scipy.stats import spearmanr
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split

import sktransfer
from sktransfer import AdaptedClassifier

RESULTS = HERE / "results" / "label_free_selection.jsonl"
GROUPS = ("SURF", "pictures", "digits", "partial")
ALONE = "no adaptation"


def adapted(adapter):
    return AdaptedClassifier(LogisticRegression(max_iter=300), adapter, random_state=0)


def deep(method, **parameters):
    return getattr(sktransfer, f"{method}Classifier")(None, max_epochs=15, random_state=0, **parameters)


def candidates():
    """Name -> estimator."""
    grid = {ALONE: adapted(sktransfer.DomainStandardizer(with_mean=False, with_std=False))}
    grid["standardised"] = adapted(sktransfer.DomainStandardizer())
    for reg in (1e-2, 1.0):
        grid[f"CORAL, reg {reg:g}"] = adapted(sktransfer.CORALAdapter(reg=reg))
    for k in (10, 30, 80):
        grid[f"TCA, {k}"] = adapted(sktransfer.MMDAdapter(k))
        grid[f"subspaces, {k}"] = adapted(sktransfer.SubspaceAlignmentAdapter(k))
    for k in (20, 60):
        grid[f"JDA, {k}"] = adapted(sktransfer.MMDAdapter(k, kernel="primal", conditional=0.5))
    grid["GFK"] = adapted(sktransfer.GFKAdapter())
    for method, reg in (("sinkhorn", 0.1), ("sinkhorn", 1.0), ("lpl1", 1.0)):
        grid[f"transport, {method}, {reg:g}"] = adapted(sktransfer.OTAdapter(method, reg=reg))
    grid["KMM"] = adapted(sktransfer.KMMWeighter())
    grid["domain classifier"] = adapted(sktransfer.DomainClassifierWeighter())
    grid["label shift"] = adapted(sktransfer.LabelShiftWeighter())
    for trade_off in (0.3, 1.0):
        grid[f"MCC, {trade_off:g}"] = deep("MCC", trade_off=trade_off)
    grid["DSAN"] = deep("DSAN")
    return grid


SCORERS = {
    "transfer evidence": sktransfer.TransferEvidenceScorer(),
    "neighbourhood agreement": sktransfer.NeighborhoodAgreementScorer(),
    "importance weighted": sktransfer.ImportanceWeightedScorer(),
    "DEV": sktransfer.DEVScorer(),
    "prediction entropy": sktransfer.PredictionEntropyScorer(),
    "information maximisation": sktransfer.InformationMaximizationScorer(),
    "soft neighbourhood density": sktransfer.SoftNeighborhoodDensityScorer(),
    "class confusion": sktransfer.ClassConfusionScorer(),
    "circular validation": sktransfer.CircularValidationScorer(),
    "MixVal": sktransfer.MixValScorer(random_state=0),
}


def evaluate(task, estimator):
    """Accuracy on the target, accuracy on held-out source rows, and the value and seconds of each scorer."""
    train, test = train_test_split(np.arange(len(task.ys)), test_size=0.2, stratify=task.ys, random_state=0)
    X = np.vstack([task.Xs, task.Xt])
    # No scorer nor method can read what is not there.
    y = np.concatenate([task.ys, task.ys[:1].repeat(len(task.yt))])
    domain = np.repeat(["source", "target"], [len(task.ys), len(task.yt)])
    target = np.flatnonzero(domain == "target")
    rows, held_out = np.concatenate([train, target]), np.concatenate([test, target])
    model = estimator.fit(X[rows], y[rows], sample_domain=domain[rows])
    found, seconds = {}, {}
    for name, scorer in SCORERS.items():
        start = time.perf_counter()
        found[name] = float(scorer(model, X[held_out], y[held_out], sample_domain=domain[held_out]))
        seconds[name] = time.perf_counter() - start
    return float(np.mean(model.predict(task.Xt) == task.yt)), found, seconds


def read():
    if not RESULTS.exists():
        return {}
    return {tuple(key): value for key, *value in map(json.loads, RESULTS.open())}


def compute(minutes):
    """Compute what is not yet there."""
    RESULTS.parent.mkdir(exist_ok=True)
    stop, done = time.monotonic() + 60 * minutes, read()
    for group, tasks in load_tasks().items():
        for name, task in tasks.items() if group in GROUPS else ():
            for candidate, estimator in candidates().items():
                key = (group, name, candidate)
                if key in done or time.monotonic() > stop:
                    continue
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    result = evaluate(task, estimator)
                with RESULTS.open("a") as file:
                    file.write(json.dumps([key, *result]) + "\n")


def picked(cell, scorer):
    """Accuracy of the candidate of a task with the best score."""
    return max(cell.values(), key=lambda value: value[1][scorer])[0]


def pick_table(done, groups):
    """Mean accuracy over the tasks of each group of the candidate that each rule picks."""
    tasks = defaultdict(dict)
    for (group, task, candidate), (accuracy, scores, _) in done.items():
        tasks[group, task][candidate] = 100 * accuracy, scores

    def row(name, choose):
        means = [np.mean([choose(tasks[key]) for key in tasks if key[0] == group]) for group in groups]
        return [name, *map(float, means), float(np.mean([choose(cell) for cell in tasks.values()]))]

    rows = [
        row("*the best (target labels)*", lambda cell: max(accuracy for accuracy, _ in cell.values())),
        row("*no adaptation*", lambda cell: cell[ALONE][0]),
        row("*at random (mean)*", lambda cell: np.mean([accuracy for accuracy, _ in cell.values()])),
    ]
    for scorer in SCORERS:
        ranks = [
            spearmanr([s[scorer] for _, s in cell.values()], [a for a, _ in cell.values()]).statistic
            for cell in tasks.values()
        ]
        losses = [cell[ALONE][0] - picked(cell, scorer) for cell in tasks.values()]
        chosen = row(scorer, lambda cell, scorer=scorer: picked(cell, scorer))
        seconds = np.median([value[2][scorer] for value in done.values()])
        rows.append([*chosen, f"{np.nanmean(ranks):+.2f}", f"{max(losses):.1f}", f"{seconds:.2f}"])
    header = ["picked by", *groups, "all", "rank correlation", "worst loss", "seconds"]
    best = max(rows[3:], key=lambda line: line[len(groups) + 1])
    return markdown_table(header, [line + [""] * (len(header) - len(line)) for line in rows]), best[0], len(tasks)


def main():
    """Compute and publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=120.0)
    compute(parser.parse_args().minutes)
    done = read()
    groups = [group for group in GROUPS if any(key[0] == group for key in done)]
    text, best, n_tasks = pick_table(done, groups)
    publish(
        "label_free_selection",
        f"""# Choosing a model without target labels

Accuracy on the target in percent of the model that each scorer picks from {len(candidates())} candidates (methods of
adaptation and their parameters, no adaptation among them), mean over the tasks of a group and over all {n_tasks}. "rank
correlation": Spearman's, of the scores and the accuracies of a task's candidates, mean over the tasks. "worst loss":
points below no adaptation on the task where the pick is worst. "seconds": median of one call. "partial": the target has
4 of the classes.

{text}

The best of them over all tasks: {best}.

`python benchmarks/accuracy/label_free_selection.py`, {provenance("scikit-learn", "numpy", "torch")}
""",
    )


if __name__ == "__main__":
    main()
