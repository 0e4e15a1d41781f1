"""Kill an extraction that writes a cache on disk, again and again: ``python benchmarks/robustness/kill_cache.py``.

A child extracts features into a folder and is killed (``kill -9``) at a random moment, 20 times on the same folder; the
last one may finish. Its features must be, bit for bit, those without a cache; no child may say that the cache had to be
rebuilt; and rows that were written before a kill must be found after it. Ends with status 1 where that is not so.
"""

import argparse
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

CHILD = """
import sys, warnings
import numpy as np
from pathlib import Path
from sktransfer import PretrainedFeatureExtractor

warnings.simplefilter("error")
folder, cache = sys.argv[1:3]
paths = sorted(map(str, Path(folder).glob("*.png")))
extractor = PretrainedFeatureExtractor(
    "test_resnet", weights=None, image_size=96, batch_size=8, n_jobs=1, cache=cache or None
).fit(paths)
print("begun", flush=True)
features = extractor.transform(paths)
np.save(sys.argv[3], features)
"""


def write_pictures(folder: Path, n: int) -> None:
    """Write pictures of noise."""
    rng = np.random.default_rng(0)
    for i in range(n):
        Image.fromarray(rng.integers(0, 256, (200, 200, 3), dtype=np.uint8)).save(folder / f"{i:05}.png")


def start(pictures: Path, cache: str, result: Path) -> subprocess.Popen:
    """Start an extraction, and return when it has begun."""
    command = [sys.executable, "-c", CHILD, str(pictures), cache, str(result)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    child.stdout.readline()
    return child


def finish(child: subprocess.Popen) -> str:
    """Wait for the end, and give what was said."""
    error = child.communicate()[1]
    return "" if child.returncode in (0, -signal.SIGKILL) else error.strip().splitlines()[-1]


def n_rows(cache: Path) -> int:
    """Count the rows that a new process finds."""
    code = (
        "import sys; from sktransfer._frozen._disk import DiskStore;"
        "print(DiskStore(sys.argv[1])._open().execute('SELECT count(*) FROM features').fetchone()[0])"
    )
    printed = subprocess.run([sys.executable, "-c", code, str(cache)], capture_output=True, text=True, check=True)
    return int(printed.stdout)


def main() -> int:
    """Kill, and compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--pictures", type=int, default=1500)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    draw = random.Random(options.seed)
    problems, kept = [], 0
    with tempfile.TemporaryDirectory() as base:
        pictures, cache = Path(base) / "pictures", Path(base) / "cache"
        pictures.mkdir()
        write_pictures(pictures, options.pictures)
        child = start(pictures, "", Path(base) / "expected.npy")
        begun = time.perf_counter()
        problems.append(finish(child))
        whole = time.perf_counter() - begun  # the kills together take twice as long: the last ones find it all there
        for kill in range(options.kills):
            child = start(pictures, str(cache), Path(base) / "killed.npy")
            try:
                child.wait(timeout=draw.uniform(0, 4 * whole / options.kills))
            except subprocess.TimeoutExpired:
                child.kill()
            problems.append(finish(child))
            before, kept = kept, n_rows(cache)
            problems.append(f"{before - kept} rows were lost" if kept < before else "")
            print(f"kill {kill + 1:>2}: {kept} of {options.pictures} rows in the cache", flush=True)
        problems.append(finish(start(pictures, str(cache), Path(base) / "got.npy")))
        same = np.load(Path(base) / "expected.npy").tobytes() == np.load(Path(base) / "got.npy").tobytes()
    problems = [problem for problem in problems if problem] + ([] if same else ["the features are others"])
    print(
        "\n".join(problems) or f"{options.kills} kills: the features are the same, bit for bit, and nothing was rebuilt"
    )
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
