"""Kernel methods on many rows, as multiples of one product of the rows with themselves in the same run.

A second means another thing on each machine and beside each other work; the product ``X @ X.T`` meets the same. Each
method is timed in CPU seconds between two products, and divided by the mean of these; the least of the rounds counts.
For ``MMDAdapter(kernel="rbf")`` the objective is compared with the exact one. Writes ``results/products.md``.
"""

import argparse
import datetime
import platform
import time
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_info

from sktransfer.adaptation import MEDAClassifier, MMDAdapter
from sktransfer.adaptation._pseudo_labels import mean_differences
from sktransfer.utils._kernels import kernel_blocks, pairwise_kernel

RESULT = Path(__file__).resolve().parent / "results" / "products.md"
METHODS = {
    "`MMDAdapter(kernel='rbf')`": lambda: MMDAdapter(20, kernel="rbf", random_state=0),
    "`MMDAdapter(kernel='rbf', solver='exact')`": lambda: MMDAdapter(20, kernel="rbf", solver="exact"),
    "`MEDAClassifier()`": lambda: MEDAClassifier(random_state=0),
}


def make_rows(n, n_features, intrinsic, seed=0):
    """Ten classes; `intrinsic` directions and noise, or as many directions as features."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 10, n)
    latent = rng.normal(size=(10, intrinsic))[y] + rng.normal(size=(n, intrinsic))
    if intrinsic < n_features:
        latent = latent @ rng.normal(size=(intrinsic, n_features)) / np.sqrt(intrinsic)
        latent += 0.1 * rng.normal(size=(n, n_features))
    latent[n // 2 :] += 0.3 * rng.normal(size=n_features)
    return latent, y, np.repeat(["source", "target"], [n // 2, n - n // 2])


def cpu(call):
    """CPU seconds of a call, all threads together."""
    start = time.process_time()
    call()
    return time.process_time() - start


def objective(model, X, is_target):
    """Variance that the components keep, tr((W'AW)^-1 W'BW), by the exact kernel in double precision."""
    params = {"kernel": "rbf", "gamma": model.gamma_}
    X = X - X.mean(axis=0)
    W = model.coef_.astype(np.float64)
    if model.landmarks_ is not None:
        # Of all coefficients of the training rows that give these ones of the landmarks, the smallest.
        landmarks = X[model.landmarks_]
        C = pairwise_kernel(X, landmarks, **params)
        squared, V = np.linalg.eigh(C.T @ C)
        kept = squared > squared[-1] * 1e-11
        ridge = 10.0 * np.finfo(np.float32).eps * len(landmarks)  # that nystroem_product adds
        W = C @ (V[:, kept] / squared[kept] @ (V[:, kept].T @ (C[model.landmarks_] @ W + ridge * W)))
    Z = np.vstack([K @ W for _, K in kernel_blocks(X, X, **params)])
    apart = Z.T @ mean_differences(is_target)
    Z -= Z.mean(axis=0)
    return float(np.trace(np.linalg.solve(model.mu * W.T @ W + apart @ apart.T, Z.T @ Z)))


def measure(X, y, sample_domain, rounds):
    """Return for each method its multiples of a product, and the shares of the exact objective."""
    is_target = sample_domain == "target"
    times, values = {name: [] for name in METHODS}, {}
    for _ in range(rounds):
        before = cpu(lambda: X @ X.T)
        for name, make in METHODS.items():
            model = make()
            spent = cpu(lambda model=model: model.fit(X, y, sample_domain=sample_domain))
            after = cpu(lambda: X @ X.T)
            times[name].append(2.0 * spent / (before + after))
            before = after
            if name not in values and isinstance(model, MMDAdapter):
                values[name] = objective(model, X, is_target)
            elif name not in values:
                values[name] = model.score(X[is_target], y[is_target])
    return times, values


def main():
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--features", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    lines = [
        "# Kernel methods as multiples of one product of the rows with themselves",
        "",
        f"{args.rows} rows of {args.features} features, half of them source; CPU time over that of `X @ X.T` just "
        f"before and after, the least of {args.rounds} rounds. Rows in 20 directions and noise, and in as many as "
        "features.",
        "",
        "| method | multiples, 20 directions | objective, accuracy | multiples, all directions | objective, accuracy |",
        "|---|---|---|---|---|",
    ]
    rows = {name: [] for name in METHODS}
    for intrinsic in (20, args.features):
        X, y, domains = make_rows(args.rows, args.features, intrinsic)
        times, values = measure(X, y, domains, args.rounds)
        exact = values["`MMDAdapter(kernel='rbf', solver='exact')`"]
        for name in METHODS:
            kept = f"{100 * values[name]:.1f} %"
            if "MMD" in name:
                kept = f"{100 * values[name] / exact:.2f} % of the exact one"
            rows[name] += [f"{min(times[name]):.2f}", kept]
    lines += [f"| {name} | {' | '.join(cells)} |" for name, cells in rows.items()]
    blas = next(pool for pool in threadpool_info() if pool["user_api"] == "blas")
    lines += [
        "",
        f"{datetime.date.today()}, {platform.machine()}, {blas['internal_api']} {blas['version']} with its kernels for "
        f"{blas.get('architecture')}, {blas['num_threads']} thread(s).",
    ]
    RESULT.write_text("\n".join(lines) + "\n")
    print(RESULT.read_text())


if __name__ == "__main__":
    main()
