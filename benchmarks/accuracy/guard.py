"""What ``AdaptedClassifier(guard=True)`` saves and what it costs: classical adapters on matched and mismatched domains.

Every adapter with its default parameters, fitted on labelled source rows and all target rows without labels, scored on
these target rows: without adaptation, adapted, and guarded. Run with ``python benchmarks/accuracy/guard.py``; writes
``guard.md``. Finished cells are kept in ``results/guard.jsonl``.
"""

import argparse
import json
import time
import warnings

import numpy as np
from _common import HERE, markdown_table, provenance, publish
from _tasks import load_tasks
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

import sktransfer
from sktransfer.exceptions import NegativeTransferWarning

ADAPTERS = {
    "CORAL": lambda: sktransfer.CORALAdapter(),
    "standardised": lambda: sktransfer.DomainStandardizer(),
    "TCA": lambda: sktransfer.MMDAdapter(30),
    "JDA": lambda: sktransfer.MMDAdapter(30, kernel="primal", conditional=0.5),
    "subspaces": lambda: sktransfer.SubspaceAlignmentAdapter(),
    "GFK": lambda: sktransfer.GFKAdapter(),
    "transport": lambda: sktransfer.OTAdapter(),
    "transport, classes": lambda: sktransfer.OTAdapter("lpl1"),
    "domain classifier": lambda: sktransfer.DomainClassifierWeighter(),
    "KMM": lambda: sktransfer.KMMWeighter(),
    "label shift": lambda: sktransfer.LabelShiftWeighter(),
}
ESTIMATORS = {
    "logistic regression": lambda: LogisticRegression(max_iter=300),
    "1-NN": lambda: KNeighborsClassifier(1),
}
RESULTS = HERE / "results" / "guard.jsonl"


def measure(task, adapter, estimator):
    """Percent right on the target: without adaptation, adapted, guarded; seconds of the two fits; the evidence."""
    X = np.vstack([task.Xs, task.Xt])
    y = np.concatenate([task.ys, task.ys[:1].repeat(len(task.yt))])
    domain = np.repeat(["source", "target"], [len(task.ys), len(task.yt)])
    alone = estimator().fit(task.Xs, task.ys)
    found, seconds = [float(np.mean(alone.predict(task.Xt) == task.yt))], []
    for guard in (False, True):
        start = time.perf_counter()
        model = sktransfer.AdaptedClassifier(estimator(), adapter(), guard=guard, random_state=0)
        model.fit(X, y, sample_domain=domain)
        seconds.append(time.perf_counter() - start)
        found.append(float(np.mean(model.predict(task.Xt) == task.yt)))
    return [100 * value for value in found], seconds, model.evidence_


def compute(minutes):
    """Compute what is not yet there."""
    RESULTS.parent.mkdir(exist_ok=True)
    done = read()
    stop = time.monotonic() + 60 * minutes
    for group, tasks in load_tasks().items():
        for name, task in tasks.items():
            for classifier, estimator in ESTIMATORS.items():
                for method, adapter in ADAPTERS.items():
                    key = (group, name, classifier, method)
                    if key in done or time.monotonic() > stop:
                        continue
                    with warnings.catch_warnings():
                        warnings.simplefilter("ignore")
                        warnings.simplefilter("ignore", NegativeTransferWarning)
                        result = measure(task, adapter, estimator)
                    with RESULTS.open("a") as file:
                        file.write(json.dumps([key, *result]) + "\n")


def read():
    if not RESULTS.exists():
        return {}
    return {tuple(key): (values, seconds) for key, values, seconds, _ in map(json.loads, RESULTS.open())}


def summary(values):
    """Means, worst losses and the share of the gain that is kept."""
    alone, adapted, guarded = np.array(values).T
    raw, kept = adapted - alone, guarded - alone
    share = 100 * kept[kept > 0].sum() / max(raw[raw > 0].sum(), 1e-9)
    return [
        len(raw),
        float(alone.mean()),
        f"{raw.mean():+.2f}",
        f"{kept.mean():+.2f}",
        f"{raw.min():.1f}",
        f"{kept.min():.1f}",
        int(np.sum(raw < -3)),
        int(np.sum(kept < -3)),
        f"{share:.0f} %",
    ]


HEADER = ["", "cells", "alone", "adapted", "guarded", "worst adapted", "worst guarded", "adapted below -3"]
HEADER += ["guarded below -3", "gain kept"]


def table(done, position, names):
    rows = [[name, *summary([v for key, (v, _) in done.items() if key[position] == name])] for name in names]
    return markdown_table(HEADER, rows)


def main():
    """Compute and publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=120.0)
    compute(parser.parse_args().minutes)
    done = read()
    groups = list(dict.fromkeys(key[0] for key in done))
    losses = sorted((v[2] - v[0], key) for key, (v, _) in done.items())[:12]
    losses = [[*key, f"{loss:.1f}"] for loss, key in losses if loss < -1]
    tasks = {}
    for key, (v, _) in done.items():
        tasks.setdefault(key[:3], []).append(v[2] - v[0])
    worst = min((np.mean(values), key) for key, values in tasks.items())
    everything = markdown_table(HEADER, [["all", *summary([v for v, _ in done.values()])]])
    extra = np.median([after / before for _, (before, after) in done.values()])
    publish(
        "guard",
        f"""# What the guard saves, and what it costs

Accuracy on the target in percent without adaptation ("alone"), and the difference to it in points, adapted and guarded
(`AdaptedClassifier(guard=True)`). A cell is one task, one adapter with default parameters and one classifier. "gain
kept" is the sum of the gains with the guard over that without.

{everything}

Averaged over the adapters, the guarded estimator is worst on {", ".join(worst[1])}: {worst[0]:+.1f} points.

By classifier. The thresholds of `transfer_evidence` were chosen with logistic regression on the same domains, prepared
in another way (standardised by the source, C=0.1); 1-NN took no part in that.

{table(done, 2, ESTIMATORS)}

By group of tasks. "partial": the target has 4 of the classes. "mismatched": classes that have nothing to do with each
other, or 2 of 10 and of 7 classes.

{table(done, 0, groups)}

By adapter.

{table(done, 3, ADAPTERS)}

The greatest losses with the guard:

{markdown_table(["group", "task", "classifier", "adapter", "points"], losses)}

A guarded fit takes {extra:.1f} times as long as an adapted one (median).

`python benchmarks/accuracy/guard.py`, {provenance("scikit-learn", "numpy", "scipy")}
""",
    )


if __name__ == "__main__":
    main()
