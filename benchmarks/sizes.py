"""What every adapter and weighter takes of 100,000 rows of 100 features, and what it says beforehand.

Each is fitted on 2000 and on 8000 rows; CPU seconds and the peak of numpy's memory are extended to the size asked for,
by the power of the number of rows that they grew with (at least the first). With ``--full`` those that the estimate
finds to stay within a minute and 2 GiB are fitted at that size, too, each in a process. Methods that choose landmarks
for many rows get them here at both sizes. Writes ``results/sizes.md``.
"""

import argparse
import datetime
import json
import math
import os
import platform
import subprocess
import sys
import time
import tracemalloc
import warnings
from pathlib import Path

from one_thread import ONE_THREAD

RESULT = Path(__file__).resolve().parent / "results" / "sizes.md"
SMALL = (2000, 8000)
NYSTROEM = {"solver": "nystroem", "random_state": 0}
METHODS = {
    "CORALAdapter()": ("CORALAdapter", {}),
    "DomainStandardizer()": ("DomainStandardizer", {}),
    "FeatureAugmentationAdapter()": ("FeatureAugmentationAdapter", {}),
    "SubspaceAlignmentAdapter()": ("SubspaceAlignmentAdapter", {}),
    "GFKAdapter()": ("GFKAdapter", {}),
    "ColumnMappingAdapter()": ("ColumnMappingAdapter", {}),
    "MMDAdapter()": ("MMDAdapter", {}),
    "MMDAdapter(kernel='rbf')": ("MMDAdapter", {"kernel": "rbf", **NYSTROEM}),
    "MMDAdapter(conditional=0.5)": ("MMDAdapter", {"conditional": 0.5}),
    "OTAdapter()": ("OTAdapter", {}),
    "EasyTLClassifier()": ("EasyTLClassifier", {}),
    "MEDAClassifier()": ("MEDAClassifier", NYSTROEM),
    "MEDAClassifier(laplacian_weight=0)": ("MEDAClassifier", {"laplacian_weight": 0.0, **NYSTROEM}),
    "DomainClassifierWeighter()": ("DomainClassifierWeighter", {"random_state": 0}),
    "KLIEPWeighter()": ("KLIEPWeighter", {}),
    "KMMWeighter()": ("KMMWeighter", NYSTROEM),
    "LabelShiftWeighter()": ("LabelShiftWeighter", {"random_state": 0}),
    "LabelShiftWeighter(method='kernel')": ("LabelShiftWeighter", {"method": "kernel"}),
    "NearestNeighborWeighter()": ("NearestNeighborWeighter", {}),
    "RuLSIFWeighter()": ("RuLSIFWeighter", {}),
    "SourceSelector()": ("SourceSelector", {}),
    "TrAdaBoostClassifier(n_estimators=10)": ("TrAdaBoostClassifier", {"n_estimators": 10, "random_state": 0}),
}


def work(label, n, n_features):
    """Fit once and return seconds, bytes and what was said."""
    import numpy as np

    import sktransfer

    rng = np.random.default_rng(0)
    y = rng.integers(0, 5, n)
    latent = rng.normal(size=(5, 20))[y] + rng.normal(size=(n, 20))
    X = latent @ rng.normal(size=(20, n_features)) / 5.0 + 0.1 * rng.normal(size=(n, n_features))
    domains = np.repeat(["source", "target"], [n // 2, n - n // 2])
    X[n // 2 :] += 0.1
    name, params = METHODS[label]
    model = getattr(sktransfer, name)(**params)
    tracemalloc.start()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        start = time.process_time()
        try:
            model.fit(X, y, sample_domain=domains)
            refused = ""
        except MemoryError as error:
            refused = str(error)
        seconds = time.process_time() - start
    words = [refused] if refused else [str(w.message) for w in said if "will take" in str(w.message)]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return seconds, peak, (words or [""])[0]


def measure(label, n, n_features):
    """Fit in a process of its own, in one thread."""
    command = [sys.executable, __file__, "--worker", label, str(n), str(n_features)]
    printed = subprocess.run(command, env={**os.environ, **ONE_THREAD}, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(printed.stdout.splitlines()[-1])


def extended(small, large, n):
    """By the power of the number of rows that is seen, but at least the first."""
    power = max(1.0, math.log(max(large, 1e-9) / max(small, 1e-9)) / math.log(SMALL[1] / SMALL[0]))
    return large * (n / SMALL[1]) ** power


def cells(label, n, n_features, full):
    """One row of the table."""
    few, many = (work(label, size, n_features) for size in SMALL)
    seconds, size = (extended(few[part], many[part], n) for part in (0, 1))
    measured = ["", ""]
    if full and seconds < 60 and size < 2 * 2**30:
        found = measure(label, n, n_features)
        measured = [f"{found[0]:.1f}", f"{found[1] / 2**20:.0f}"]
    return [f"`{label}`", f"{many[0]:.2f}", f"{seconds:.0f}", f"{size / 2**20:.0f}", *measured]


def main():
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--features", type=int, default=100)
    parser.add_argument("--full", action="store_true")
    args = parser.parse_args()
    work("CORALAdapter()", 100, args.features)  # what is done once
    heads = [
        "method",
        f"seconds, {SMALL[1]} rows",
        f"seconds, {args.rows} rows, extended",
        "MiB, extended",
        "seconds, measured",
        "MiB, measured",
    ]
    lines = [
        f"# Adapters and weighters on {args.rows} rows of {args.features} features",
        "",
        f"Half of the rows are source. CPU seconds of one core and the peak of numpy's memory beside X, extended from "
        f"{SMALL[0]} and {SMALL[1]} rows; what does not grow with the rows is extended too, and what grows with their "
        "square is seen to do so late. More than a minute or 2 GiB is announced by the method before it begins.",
        "",
        f"| {' | '.join(heads)} |",
        "|" + "---|" * len(heads),
    ]
    for label in METHODS:
        lines.append(f"| {' | '.join(cells(label, args.rows, args.features, args.full))} |")
        print(lines[-1], flush=True)
    lines += ["", f"{datetime.date.today()}, {platform.machine()}."]
    RESULT.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        print(json.dumps(work(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))))
    else:
        main()
