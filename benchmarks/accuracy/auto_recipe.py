"""What ``recipe="auto"`` makes of ``trainable=2``, beside the head alone and a constant rate of 1e-3.

An ImageNet MobileNetV2 at 96 pixels. The rates were chosen on flowers5 and on two draws of hymenoptera, the probe on
flowers5 and bccd_cells at 5 labels a class; ucmerced took no part. Results are kept in a file, so that a run that was
cut off goes on. Run ``python benchmarks/accuracy/auto_recipe.py``; it writes auto_recipe.md beside itself.
"""

import argparse
import json
import time
import warnings
from pathlib import Path

import numpy as np
from _common import data_folder, markdown_table, provenance, publish

from sktransfer import FineTunedClassifier, Recipe

SETS = {"flowers5": "flowers5", "hymenoptera": "hymenoptera", "ucmerced": "ucmerced_subset"}
LABELS, SEEDS, PIXELS, N_TEST = (5, 20), (0, 1), 96, 200
ENDINGS = (".jpg", ".jpeg", ".png", ".tif")
_CALM = Recipe(trainable=2, lr=1e-4, head_lr_factor=10.0, schedule="cosine", batch_norm="frozen")
WAYS = {
    "head alone": {},
    "trainable=2, lr=1e-3": {"trainable": 2, "lr": 1e-3},
    "trainable=2, no probe": {"recipe": _CALM},
    "trainable=2": {"trainable": 2},
}


def run(folder: str, n_labels: int, seed: int, options: dict) -> tuple[float, float]:
    """Accuracy in percent on pictures that took no part, and seconds of the training."""
    files = sorted(p for p in (data_folder() / "data" / folder).rglob("*") if p.suffix.lower() in ENDINGS)
    y = np.array([file.parent.name for file in files])
    rng = np.random.default_rng(seed)
    train = np.concatenate([rng.permutation(np.flatnonzero(y == label))[:n_labels] for label in np.unique(y)])
    test = rng.permutation(np.setdiff1d(np.arange(len(y)), train))[:N_TEST]
    backbone = f"local-dir:{data_folder() / 'weights' / 'mobilenetv2_100.tf2_in1k'}"
    start = time.perf_counter()
    model = FineTunedClassifier(backbone, image_size=PIXELS, random_state=seed, n_jobs=1, **options)
    model.fit([str(files[i]) for i in train], y[train])
    seconds = time.perf_counter() - start
    return 100 * float(model.score([str(files[i]) for i in test], y[test])), seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kept", type=Path, default=Path("auto_recipe.json"), help="results so far")
    parser.add_argument("--only-kept", action="store_true", help="lay out what there is, and run nothing")
    arguments = parser.parse_args()
    kept = arguments.kept
    warnings.simplefilter("ignore")
    done = json.loads(kept.read_text()) if kept.exists() else {}
    for seed in () if arguments.only_kept else SEEDS:
        for name, folder in SETS.items():
            for n_labels in LABELS:
                for way, options in WAYS.items():
                    key = f"{name} {n_labels} {way} {seed}"
                    if key not in done:
                        done[key] = run(folder, n_labels, seed, options)
                        kept.write_text(json.dumps(done))
                        print(key, done[key], flush=True)
    table = []
    for way in WAYS:
        ran = [
            [done[f"{name} {n} {way} {s}"] for s in SEEDS if all(f"{name} {n} {w} {s}" in done for w in WAYS)]
            for name in SETS
            for n in LABELS
        ]
        means = [np.mean([score for score, _ in of_set]) for of_set in ran]
        table.append([way, *map(float, means), float(np.mean(means))])
    counts = sorted(len(of_set) for of_set in ran)
    header = ["", *(f"{name}, {n}" for name in SETS for n in LABELS), "mean"]
    text = f"""# Fine-tuning without a word about rates: accuracy in percent

{provenance("torch", "timm", "scikit-learn")}

{markdown_table(header, table)}

ImageNet MobileNetV2 at {PIXELS} pixels; {" and ".join(map(str, LABELS))} labels a class, tested on {N_TEST} other
pictures; means of {counts[0]} to {counts[-1]} draws, which differ by some points. The second row is what
``trainable=2`` did at first: AdamW at a constant rate of 1e-3 for everything.

Where 30 epochs are less than 100 steps (at 5 labels a class of flowers5 and hymenoptera 30 of them, at 20 of
hymenoptera 60), a rate of 1e-4 moves little, and the head is hardly fitted when the rate has fallen. ``trainable=2``
then begins by a probe of the head of as many steps as lack. It sees cached features, so that it takes a fraction of a
second, where as many more epochs of all took three times as long and were not better in the mean. In the other columns
there is none, and the last two rows are the same training.
"""
    publish("auto_recipe", text)


if __name__ == "__main__":
    main()
