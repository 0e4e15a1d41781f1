"""Fit time and peak memory of domain adaptation, side by side with skada and POT in one interleaved run.

n source and n target rows of 512 features with about 20 intrinsic dimensions, RBF coefficient 1 / 512, one thread.
Every method runs in processes of its own (skada changes scikit-learn's configuration when it is imported), in rounds
that take turns. Run with ``python benchmarks/da_speed.py`` where skada and POT are installed, too; what is missing is
left out. Writes ``results/da_speed.md``.
"""

import argparse
import datetime
import importlib
import importlib.metadata
import json
import os
import platform
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from one_thread import ONE_THREAD

SIZES = (500, 1000, 2000, 5000)
N_FEATURES = 512
GAMMA = 1 / N_FEATURES

# label: (where, class, parameters). Of one group, the peers come after ours.
METHODS = {
    "KMM: sktransfer": ("sktransfer.weighting", "KMMWeighter", {"gamma": GAMMA}),
    "KMM: skada (Frank-Wolfe)": ("skada", "KMMReweightAdapter", {"gamma": GAMMA}),
    "KLIEP, one width: sktransfer": ("sktransfer.weighting", "KLIEPWeighter", {"gamma": GAMMA}),
    "KLIEP, one width: skada": ("skada", "KLIEPReweightAdapter", {"gamma": GAMMA}),
    "KLIEP, 7 widths, 5 folds: sktransfer": ("sktransfer.weighting", "KLIEPWeighter", {}),
    "RuLSIF, 7 x 5 candidates: sktransfer": ("sktransfer.weighting", "RuLSIFWeighter", {}),
    "domain classifier, 5 folds: sktransfer": ("sktransfer.weighting", "DomainClassifierWeighter", {"random_state": 0}),
    "domain classifier, in the sample: skada": ("skada", "DiscriminatorReweightAdapter", {}),
    "nearest neighbour: sktransfer": ("sktransfer.weighting", "NearestNeighborWeighter", {}),
    "nearest neighbour, fit without weights: skada": ("skada", "NearestNeighborReweightAdapter", {}),
    "label shift, 5 folds: sktransfer": ("sktransfer.weighting", "LabelShiftWeighter", {"random_state": 0}),
    "target shift, kernel means: sktransfer": (
        "sktransfer.weighting",
        "LabelShiftWeighter",
        {"method": "kernel", "gamma": GAMMA},
    ),
    "target shift, kernel means: skada": ("skada._reweight", "MMDTarSReweightAdapter", {"gamma": GAMMA}),
    "TCA, rbf: sktransfer": (
        "sktransfer.adaptation",
        "MMDAdapter",
        {"kernel": "rbf", "gamma": GAMMA, "mu": 0.1, "solver": "exact"},
    ),
    "TCA, rbf, Nystroem: sktransfer": (
        "sktransfer.adaptation",
        "MMDAdapter",
        {"kernel": "rbf", "gamma": GAMMA, "mu": 0.1, "solver": "nystroem", "n_landmarks": 500},
    ),
    "TCA, rbf: skada": ("skada", "TransferComponentAnalysisAdapter", {"n_components": 30}),
    "CORAL: sktransfer": ("sktransfer.adaptation", "CORALAdapter", {}),
    "CORAL: skada": ("skada", "CORALAdapter", {}),
    "subspace alignment: sktransfer": ("sktransfer.adaptation", "SubspaceAlignmentAdapter", {"n_components": 30}),
    "subspace alignment: skada": ("skada", "SubspaceAlignmentAdapter", {"n_components": 30}),
    "GFK, 30 components: sktransfer": ("sktransfer.adaptation", "GFKAdapter", {"n_components": 30}),
    # By default POT stops before the plan is exact.
    "OT, exact plan: sktransfer": ("sktransfer.adaptation", "OTAdapter", {"method": "emd"}),
    "OT, exact plan: POT": ("ot.da", "EMDTransport", {"max_iter": 1_000_000}),
    "OT, exact plan: skada": ("skada", "OTMappingAdapter", {"max_iter": 1_000_000}),
    "OT, entropy: sktransfer": ("sktransfer.adaptation", "OTAdapter", {}),
    "OT, entropy: POT": ("ot.da", "SinkhornTransport", {"reg_e": 0.1, "norm": "median"}),
    "MMD distance: sktransfer": ("sktransfer.metrics", "mmd_distance", {"gamma": GAMMA}),
    "sliced Wasserstein, 200 lines: sktransfer": (
        "sktransfer.metrics",
        "wasserstein_distance",
        {"n_projections": 200, "random_state": 0},
    ),
    "sliced Wasserstein, 200 lines: POT": ("ot", "sliced_wasserstein_distance", {"n_projections": 200, "seed": 0}),
}


def make_data(n):
    """Source and target rows, and class labels of the source that follow the features."""
    rng = np.random.default_rng(n)
    W = rng.normal(size=(20, N_FEATURES)) / np.sqrt(20)
    parts = [(rng.normal(size=(n, 20)) + move) @ W + 0.1 * rng.normal(size=(n, N_FEATURES)) for move in (0.0, 0.5)]
    return *parts, (parts[0][:, :4] @ rng.normal(size=(4, 4))).argmax(axis=1)


def prepare(where, name, params, n):
    """Return the call to be timed, its data made beforehand."""
    Xs, Xt, ys = make_data(n)
    method = getattr(importlib.import_module(where), name)
    if not isinstance(method, type):
        return lambda: method(Xs, Xt, **params)
    model = method(**params)
    if where == "ot.da":
        return lambda: model.fit(Xs=Xs, ys=ys, Xt=Xt)
    X, y = np.vstack([Xs, Xt]), np.concatenate([ys, np.full(n, -1)])
    domains = np.repeat([1, -2] if where.startswith("skada") else ["source", "target"], n)
    return lambda: model.fit(X, y, sample_domain=domains)


def objective(model, n):
    """Return what kernel mean matching minimises, b'K b / 2 - kappa'b over n^2, at the best scale of the weights b."""
    from sklearn.metrics.pairwise import rbf_kernel

    Xs, Xt, _ = make_data(n)
    b = np.asarray(getattr(model, "weights_", getattr(model, "source_weights_", None)), dtype=float)[:n]
    matched = b @ rbf_kernel(Xs, Xt, gamma=GAMMA).mean(axis=1)
    return float(-(matched**2) / (2 * b @ rbf_kernel(Xs, gamma=GAMMA) @ b))


def child(label, largest):
    """Time one method at growing sizes, one line of JSON each."""
    prepare(*METHODS[label], 50)()
    for n in (size for size in SIZES if size <= largest):
        call = prepare(*METHODS[label], n)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        start = time.process_time()
        fitted = call()
        seconds = time.process_time() - start
        extra = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        line = {"n": n, "seconds": seconds, "extra": extra}
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()
        if label.startswith("KMM") and n <= 2000:
            sys.stdout.write(json.dumps({"n": n, "objective": objective(fitted, n)}) + "\n")
            sys.stdout.flush()


def run(label, largest, limit):
    """Lines of one process; sizes that it did not reach within `limit` seconds are missing."""
    root = Path(__file__).resolve().parents[1]
    paths = [str(root), os.environ.get("PYTHONPATH", "")]
    env = {**os.environ, **ONE_THREAD, "PYTHONPATH": os.pathsep.join(paths)}
    command = [sys.executable, "-W", "ignore", __file__, "--child", label, "--largest", str(largest)]
    process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        out, err = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
    if process.returncode and process.returncode > 0:
        print(f"{label}: {err.strip().splitlines()[-1] if err.strip() else process.returncode}", flush=True)
    return [json.loads(line) for line in out.splitlines() if line.startswith("{")]


def version_of(package):
    """Its version, or that it is not there."""
    try:
        return f"{package} {importlib.metadata.version(package)}"
    except importlib.metadata.PackageNotFoundError:
        return f"{package} not installed"


def cell(lines, n, reached, limit):
    """Median seconds and largest extra memory over the rounds."""
    seconds = [line["seconds"] for line in lines if line["n"] == n and "seconds" in line]
    if not seconds:
        return f"> {limit:.0f} s or failed" if reached else "failed"
    extra = max(line["extra"] for line in lines if line["n"] == n and "extra" in line)
    return f"{np.median(seconds):.2f} ({extra:.0f})"


def report(results, rounds, limit):
    """Markdown of all figures."""
    header = ["method", *(f"n = m = {n}" for n in SIZES)]
    lines = [
        "# Speed and memory of domain adaptation",
        f"CPU seconds of `fit` (of the call, for distances) on one thread, median of the rounds ({rounds}), in which "
        f"methods take turns; in brackets by how many MiB the peak memory of the process grew during it, over "
        f"all smaller sizes. {N_FEATURES} features, about 20 intrinsic dimensions. A process that takes more than "
        f"{limit:.0f} s of wall time for all sizes is ended.",
        "| " + " | ".join(header) + " |",
        "|" + "---|" * len(header),
    ]
    for label, found in results.items():
        if found:
            lines.append("| " + " | ".join([label, *(cell(found, n, True, limit) for n in SIZES)]) + " |")
    lines += ["", "What kernel mean matching minimises, at the best scale of the weights (lower is better):", ""]
    for label, found in results.items():
        left = {line["n"]: line["objective"] for line in found if "objective" in line}
        if left:
            lines.append(f"- {label}: " + ", ".join(f"{value:.6f} (n = {n})" for n, value in left.items()))
    packages = ("scikit-learn", "numpy", "scipy", "skada", "POT")
    machine = f"{os.cpu_count()} CPU cores ({platform.machine()}), shared with other work"
    lines += [
        "",
        f"{datetime.date.today()}, {machine}, Python {platform.python_version()}, "
        f"{', '.join(version_of(package) for package in packages)}.",
    ]
    text = "\n".join(lines[:2]) + "\n\n" + "\n".join(lines[2:])
    return text.replace("# Speed and memory of domain adaptation\n", "# Speed and memory of domain adaptation\n\n")


def main():
    """Run all methods in rounds and write the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--child")
    parser.add_argument("--largest", type=int, default=SIZES[-1])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--limit", type=float, default=120.0)
    parser.add_argument("--only", default="")
    arguments = parser.parse_args()
    if arguments.child:
        child(arguments.child, arguments.largest)
        return
    results = {label: [] for label in METHODS if arguments.only in label}
    for _ in range(arguments.rounds):
        for label, found in results.items():
            found += run(label, arguments.largest, arguments.limit)
            print(label, [f"{line['n']}: {line['seconds']:.2f}" for line in found if "seconds" in line], flush=True)
    text = report(results, arguments.rounds, arguments.limit)
    print(text)
    folder = Path(__file__).resolve().parent / "results"
    folder.mkdir(exist_ok=True)
    (folder / "da_speed.md").write_text(text.rstrip() + "\n")


if __name__ == "__main__":
    main()
