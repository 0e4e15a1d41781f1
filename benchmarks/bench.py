"""Speed, memory and sizes against named peers, in one interleaved run: ``make bench``.

Every side of every job lives in a process of its own, because some packages change the settings of others when they
are imported, and has one thread in every library. The sides of a job take turns, one call each, so that a busy minute
of the machine meets all of them. Writes ``results/bench.md`` with the machine and the versions. ``python
benchmarks/bench.py NAME ...`` runs the jobs whose module or title holds a NAME; their rows replace those of earlier
runs.
"""

import argparse
import ctypes
import datetime
import importlib
import importlib.metadata
import importlib.util
import json
import os
import pickle
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from one_thread import ONE_THREAD, check_one_thread

HERE = Path(__file__).resolve().parent
MODULES = ("extraction", "decoding", "searches", "training", "algebra", "files", "cluster")
RESULTS = HERE / "results" / "bench.md"
KEPT = HERE / "results" / "bench.json"
PACKAGES = (
    *("sktransfer", "torch", "timm", "scikit-learn", "skorch", "numpy", "scipy", "pillow", "onnxruntime", "skada"),
    *("POT", "fastai", "embetter", "dask", "distributed"),
)


def jobs(module):
    """Jobs of a module, by name."""
    return importlib.import_module(f"speed.{module}").JOBS


def seconds():
    """CPU seconds of this process and of its ended children, and seconds by the clock."""
    own, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime, time.perf_counter()


def worker(module, name, side):
    """Do one side of a job as often as the parent asks."""
    job = jobs(module)[name]
    call = job.sides[side]()
    result = call() if job.warm_up else None
    check_one_thread()
    reply(ready=True)
    for line in sys.stdin:
        if line.strip() == "result":
            with tempfile.NamedTemporaryFile(delete=False, suffix=".pickle") as file:
                pickle.dump(result, file)
            reply(path=file.name)
            continue
        if line.strip() == "memory":
            before = settled_memory()
            result = call()
            reply(peak=memory("VmHWM") - before)
            continue
        cpu, wall = seconds()
        result = call()
        cpu_after, wall_after = seconds()
        value = result["value"] if job.measure == "value" else None
        reply(cpu=cpu_after - cpu, wall=wall_after - wall, value=value)


def settled_memory():
    """Give back what is free and begin a new peak; return the memory of this process in MiB. Linux only."""
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    return memory("VmRSS")


def memory(name):
    """Read a figure of this process, in MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1024


def reply(**message):
    """Answer the parent; whatever the packages print goes elsewhere."""
    os.write(_ANSWERS, (json.dumps(message) + "\n").encode())


class Side:
    """One side of a job in its process."""

    def __init__(self, module, name, side):
        command = [sys.executable, str(HERE / "bench.py"), "--worker", module, name, side]
        env = {**os.environ, **ONE_THREAD}
        self.process = subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.rounds = []
        self._answer()

    def ask(self, what):
        """Send one request and wait for the answer."""
        self.process.stdin.write(what + "\n")
        self.process.stdin.flush()
        return self._answer()

    def result(self):
        """Fetch what the last call returned."""
        path = Path(self.ask("result")["path"])
        with path.open("rb") as file:
            result = pickle.load(file)
        path.unlink()
        return result

    def median(self, measure):
        """Median over the rounds."""
        return statistics.median(entry[measure] for entry in self.rounds)

    def end(self):
        """Let the process go."""
        self.process.stdin.close()
        self.process.wait(60)

    def _answer(self):
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"The process ended with {self.process.wait()}: its message stands above.")
        return json.loads(line)


def run(module, name):
    """Run one job; return what the table shows of it."""
    job = jobs(module)[name]
    needed = dict(job.packages)
    present = [side for side in job.sides if importlib.util.find_spec(needed.get(side, "numpy"))]
    sides = {side: Side(module, name, side) for side in present}
    try:
        for _ in range(job.rounds):
            for side in sides.values():
                side.rounds.append(side.ask("run"))
        peaks = {name: side.ask("memory")["peak"] if job.memory else None for name, side in sides.items()}
        agreement = job.check({name: side.result() for name, side in sides.items()})
    finally:
        for side in sides.values():
            side.end()
    share = dict(job.share)
    figures = {
        side: {
            "figure": process.median(job.measure) * share.get(side, 1.0),
            "peak": peaks[side],
            "rounds": [entry[job.measure] * share.get(side, 1.0) for entry in process.rounds],
        }
        for side, process in sides.items()
    }
    ratios = []
    for (ours, peer), goal in job.goals.items():
        if ours in figures and peer in figures:
            # Neighbouring rounds met the same machine: the median of their ratios, not the ratio of the medians.
            pairs = zip(figures[ours]["rounds"], figures[peer]["rounds"], strict=True)
            ratios.append([ours, peer, statistics.median(theirs / own for own, theirs in pairs), goal])
    return {
        "title": job.title,
        "measure": job.measure,
        "figures": {side: {key: entry[key] for key in ("figure", "peak")} for side, entry in figures.items()},
        "ratios": ratios,
        "agreement": agreement,
        "missing": [side for side in job.sides if side not in present],
        "parts": share,
        "rounds": job.rounds,
        "note": job.note,
        "date": datetime.date.today().isoformat(),
    }


def table(rows):
    """Write the report."""
    lines = [
        "# Speed and size against others",
        "",
        "Medians of rounds in which the sides take turns. `cpu`: CPU seconds of the process; `wall`: seconds by the "
        "clock; `bytes`: size. Ratio: how many times less the job costs us, the median over rounds; what misses its "
        "goal is bold. In brackets: the memory that a call needs beyond what the process had before it. Every library "
        "of every side has one thread: torch, OpenMP and BLAS.",
        "",
        "| job | figures | ratio (goal) | agreement |",
        "|---|---|---|---|",
    ]
    for row in rows.values():
        unit = {"cpu": "s cpu", "wall": "s wall", "value": "bytes"}[row["measure"]]
        figures = "; ".join(
            f"{side} {entry['figure']:.4g} {unit}"
            + (" (computed from a part)" if side in row["parts"] else "")
            + ("" if entry["peak"] is None else f" [{entry['peak']:.0f} MiB]")
            for side, entry in row["figures"].items()
        )
        ratios = "; ".join(
            ("{} over {}: {:.3g} ({:g})" if ratio >= goal else "**{} over {}: {:.3g}** ({:g})").format(
                ours, peer, ratio, goal
            )
            for ours, peer, ratio, goal in row["ratios"]
        )
        lines.append(f"| {row['title']} | {figures} | {ratios} | {row['agreement']} |")
    lines += [
        "",
        *[f"- {row['title']}: {row['note']} ({row['date']}, {row['rounds']} rounds)" for row in rows.values()],
    ]
    missing = sorted({side for row in rows.values() for side in row["missing"]})
    if missing:
        lines.append(f"- Not installed, and left out: {', '.join(missing)}.")
    return "\n".join([*lines, "", machine(), ""])


def machine():
    """Name the machine and the versions."""
    versions = []
    for package in PACKAGES:
        try:
            versions.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    return f"{datetime.date.today()}, {processor()}, Python {platform.python_version()}, {', '.join(versions)}."


def processor():
    """Name the processor and how many of its cores there are."""
    info = Path("/proc/cpuinfo")
    named = [line for line in info.read_text().splitlines() if line.startswith("model name")] if info.exists() else []
    model = named[0].partition(":")[2].strip() if named else platform.processor()
    return f"{os.cpu_count()} CPU cores of {model or 'an unnamed processor'} ({platform.machine()})"


def main():
    """Run the jobs that were asked for and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="parts of modules or jobs; all where none is given")
    wanted = parser.parse_args().names
    rows = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    order = [(module, name) for module in MODULES for name in jobs(module)]
    for module, name in order:
        if wanted and not any(part in f"{module} {name}" for part in wanted):
            continue
        rows[f"{module} {name}"] = run(module, name)
        rows = {key: rows[key] for key in (f"{m} {n}" for m, n in order) if key in rows}
        KEPT.write_text(json.dumps(rows, indent=1))
        RESULTS.write_text(table(rows))
        print(table({name: rows[f"{module} {name}"]}).split("|---|---|---|---|\n")[1].split("\n")[0], flush=True)
    print(RESULTS.read_text())


if __name__ == "__main__":
    sys.path.insert(0, str(HERE))
    if sys.argv[1:2] == ["--worker"]:
        # Answers travel on a descriptor that no package knows; what they print would mix with them.
        _ANSWERS = os.dup(1)
        os.dup2(2, 1)
        worker(*sys.argv[2:])
    else:
        main()
