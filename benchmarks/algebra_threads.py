"""What threads of BLAS do to small linear algebra, on this machine and beside the work that it has.

A grid search over logistic regressions on 300 x 1280 features (21 fits), and ``MMDAdapter(kernel="rbf")`` on 4000 rows
of 512, each by the threads that BLAS takes by itself and by one: of the environment, of threadpoolctl around the call,
and as sktransfer limits its own. Every side is a process of its own; sides take turns, and medians are shown. Writes
``results/algebra_threads.md``.
"""

import argparse
import contextlib
import datetime
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

from one_thread import ONE_THREAD
from threadpoolctl import threadpool_info, threadpool_limits

RESULT = Path(__file__).resolve().parent / "results" / "algebra_threads.md"
SIDES = ("as it comes", "OPENBLAS_NUM_THREADS=1", "threadpool_limits(1)")
JOBS = ("21 logistic regressions, 300 x 1280", "MMDAdapter(kernel='rbf'), 4000 x 512")


def search():
    """Prepare a user's own search; sktransfer has no hand in it."""
    import warnings

    import numpy as np
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV

    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(300, 1280)).astype(np.float32), np.arange(300) % 4
    warnings.simplefilter("ignore", ConvergenceWarning)
    return GridSearchCV(LogisticRegression(max_iter=100), {"C": [0.01, 0.1, 1.0, 10.0]}, cv=5).fit, X, y


def adapter(limited):
    """Prepare an adapter: its `fit`, and what is below its limit."""
    import numpy as np

    from sktransfer import MMDAdapter

    rng = np.random.default_rng(0)
    X = rng.normal(size=(4000, 20)) @ rng.normal(size=(20, 512)) + rng.normal(size=(4000, 512))
    X[2000:] += 0.5
    model = MMDAdapter(20, kernel="rbf", random_state=0)
    y = np.where(np.arange(4000) < 2000, 0, -1)
    return (model.fit if limited else lambda X, y: model._fit_domains(X, y, None)), X, y


def work(job, side):
    """Time one call in this process: seconds by the clock, CPU seconds."""
    limited = side == "threadpool_limits(1)"
    call, X, y = search() if job == JOBS[0] else adapter(limited)
    call(X[::10], y[::10])  # what is done once
    with threadpool_limits(1) if limited and job == JOBS[0] else contextlib.nullcontext():
        before, start = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
        call(X, y)
        wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF)
    print(wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def measure(job, side):
    """Time one call in a process of its own."""
    env = {name: value for name, value in os.environ.items() if name not in ONE_THREAD}
    if side == SIDES[1]:
        env.update(ONE_THREAD)
    command = [sys.executable, __file__, "--worker", job, side]
    printed = subprocess.run(command, env=env, check=True, stdout=subprocess.PIPE, text=True).stdout
    return tuple(map(float, printed.split()))


def report(rows, rounds, loads):
    """Write the table."""
    blas = next(pool for pool in threadpool_info() if pool["user_api"] == "blas")
    lines = [
        "# Threads of BLAS in small linear algebra",
        "",
        f"Medians of {rounds} rounds in which the sides take turns, each call in a process of its own: seconds by the "
        "clock (CPU seconds). The limit of the adapter in the last column is its own.",
        "",
        f"| job | {' | '.join(SIDES)} |",
        "|---|---|---|---|",
    ]
    for job, times in rows.items():
        medians = [[statistics.median(column) for column in zip(*times[side], strict=True)] for side in SIDES]
        cells = [f"{wall:.2f} ({cpu:.2f})" for wall, cpu in medians]
        lines.append(f"| {job} | {' | '.join(cells)} |")
    lines += [
        "",
        f"{datetime.date.today()}, {os.cpu_count()} CPU cores ({platform.machine()}), {blas['internal_api']} "
        f"{blas['version']} with its kernels for {blas.get('architecture')}; load average of the machine "
        f"meanwhile: {min(loads):.0f} to {max(loads):.0f}.",
    ]
    return "\n".join(lines) + "\n"


def main():
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    rows = {job: {side: [] for side in SIDES} for job in JOBS}
    loads = []
    for _ in range(rounds):
        for job, times in rows.items():
            loads.append(os.getloadavg()[0])
            for side in SIDES:
                times[side].append(measure(job, side))
    RESULT.write_text(report(rows, rounds, loads))
    print(RESULT.read_text())


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        work(*sys.argv[2:])
    else:
        import numpy as np  # noqa: F401  (its BLAS is named in the table)

        main()
