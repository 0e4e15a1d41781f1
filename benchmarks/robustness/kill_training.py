"""Kill a training with ``checkpoint_dir`` at random moments and see that its end is that of one that was left alone.

    python benchmarks/robustness/kill_training.py [--kills 20] [--seed 0]

Each training runs in a process of its own, which is ended by ``SIGKILL`` after a random time; the next one goes on from
the checkpoint. A training that ends before its kill is compared, bit for bit in weights and history, with one that was
never killed, and begun anew until all kills are spent. The script fails if an end differs, or if a process ended by
anything but the kill. POSIX only: processes are forked.
"""

import argparse
import hashlib
import multiprocessing
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits

from sktransfer import FineTunedClassifier, Recipe


def train(folder: Path, result: Path) -> None:
    """Train with everything that has a state, and write a digest of what it left."""
    torch.set_num_threads(1)
    X, y = load_digits(return_X_y=True)
    clf = FineTunedClassifier(
        "sktransfer_mini",
        trainable="all",
        max_epochs=8,
        augment="light",
        recipe=Recipe(probe_epochs=1, ema_decay=0.9, schedule="cosine"),
        early_stopping=True,
        validation_fraction=0.25,
        random_state=0,
        checkpoint_dir=folder,
    )
    clf.fit(X[:40], y[:40])
    digest = hashlib.sha256(clf.predict_proba(X[40:140]).tobytes())
    for name, tensor in clf.net_.module_.state_dict().items():
        digest.update(name.encode() + tensor.numpy().tobytes())
    losses = [(row["train_loss"], row["valid_loss"]) for row in clf.history_]
    digest.update(np.array(losses).tobytes())
    result.write_text(digest.hexdigest())


def run(folder: Path, result: Path, seconds: float | None) -> bool:
    """Train in a process, for so many seconds at most; give whether it was killed."""
    process = multiprocessing.get_context("fork").Process(target=train, args=(folder, result))
    process.start()
    process.join(seconds)
    if process.exitcode is None:
        process.kill()
        process.join()
        return True
    if process.exitcode not in (0, -signal.SIGKILL):
        raise SystemExit(f"A training ended with exit code {process.exitcode}.")
    return False


def main() -> int:
    """Spend all kills and say how many ends were compared."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    kills = ends = wrong = 0
    with tempfile.TemporaryDirectory() as name:
        base = Path(name)
        begun = time.monotonic()
        run(base / "alone", base / "alone.txt", None)
        seconds = time.monotonic() - begun
        expected = (base / "alone.txt").read_text()
        while kills < options.kills or (base / "killed").exists():
            left = options.kills - kills
            if run(base / "killed", base / "killed.txt", rng.uniform(0, seconds / 2) if left else None):
                kills += 1
                continue
            ends += 1
            wrong += (base / "killed.txt").read_text() != expected
            shutil.rmtree(base / "killed")
    sys.stdout.write(f"{kills} kills, {ends} trainings ended, {wrong} of them unlike the one left alone\n")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
