"""A label for every pixel: streets and membranes of neurons, from a few labelled pixels on a few pictures.

PixelClassifier with an ImageNet MobileNetV2, the same network with random weights, FineTunedSegmenter on it, and what
trainable segmentation tools do: filters made by hand and a random forest. Each cell is written at once to ``--kept``,
so that a run can go on where another ended. Run with ``python benchmarks/accuracy/pixels.py``; ``--minutes 30`` ends
early. Writes ``pixels.md``.
"""

import argparse
import itertools
import json
import time
import warnings
from pathlib import Path

import numpy as np
from _common import data_folder, markdown_table, provenance, publish
from PIL import Image
from sklearn.ensemble import RandomForestClassifier

from sktransfer import FineTunedSegmenter, PixelClassifier
from sktransfer.dense import LabelPicture, confusion_of, iou_of
from sktransfer.dense._filters import multiscale_filters

SETS = ("camvid", "isbi_membrane")
# By how much of the network learns beside the decoder. The rate and the loss of the last were chosen on 15 of the 60
# pictures of CamVid, by what the other 45 taught.
ALL = {"trainable": "all", "augment": "light"}
TUNED = {
    "tuned: decoder alone": {"trainable": "head"},
    "tuned: last 2 stages": {"trainable": 2},
    "tuned: all": ALL,
    "tuned: all, Dice, lr=1e-3": {**ALL, "loss": "dice", "lr": 1e-3},
}
FROZEN = ("ImageNet", "ImageNet, scale=1.5", "ImageNet + filters, scale=2", "random weights", "filters + forest")
METHODS = (*FROZEN, *TUNED)
ONLY = {"ImageNet, scale=1.5": "camvid", "ImageNet + filters, scale=2": "isbi_membrane"}
PICTURES = (6, 20, "all")
MARKS = (20, 200, "masks")
CELLS = [(n, k) for k in MARKS for n in PICTURES]
N_DRAWS = 3
MOST = 20_000
SHOWN = 360  # times that FineTunedSegmenter sees a picture, or ten times each, 20 where all learns


def load(name, part):
    """Give pictures and label pictures, in the order of their names."""
    folder = data_folder() / "data" / name / part
    files = sorted((folder / "pictures").iterdir())
    labels = [np.asarray(Image.open(folder / "labels" / f"{file.stem}.png")) for file in files]
    return [np.asarray(Image.open(file).convert("RGB")) for file in files], labels


def scribble(labels, n_pixels, rng):
    """Leave `n_pixels` labelled pixels of each class in a label picture."""
    if n_pixels == "masks":
        return labels
    marked = np.full(labels.shape, 255, dtype=np.uint8)
    for label in np.setdiff1d(labels, [255]):
        places = np.flatnonzero(labels == label)
        marked.flat[rng.choice(places, min(n_pixels, len(places)), replace=False)] = label
    return marked


def network(method, draw, n):
    """Build the estimator for `n` pictures."""
    if method in TUNED:
        return FineTunedSegmenter(
            f"local-dir:{data_folder() / 'weights' / 'mobilenetv2_100.tf2_in1k'}",
            decoder="fpn",
            layers=(1, 2, 4, 6),
            batch_size=4,
            max_epochs=max(20 if TUNED[method]["trainable"] == "all" else 10, SHOWN // n),
            random_state=draw,
            **TUNED[method],
        )
    if method == "random weights":
        return PixelClassifier("mobilenetv2_100", weights=None, random_state=draw)
    scale = float(method.partition("scale=")[2] or 1)
    folder = data_folder() / "weights" / "mobilenetv2_100.tf2_in1k"
    return PixelClassifier(f"local-dir:{folder}", scale=scale, filters="filters" in method, random_state=draw)


class FilterForest:
    """Filters made by hand and a random forest, on every second row and column of the test pictures."""

    def __init__(self, draw):
        self.draw = draw

    def fit(self, X, y):
        """Learn from at most as many pixels as PixelClassifier does."""
        rng = np.random.default_rng(self.draw)
        rows, labels = [], []
        for picture, marked in zip(X, y, strict=True):
            places = np.flatnonzero(marked != 255)
            places = rng.permutation(places)[: -(-MOST // len(X))]
            found = multiscale_filters(picture.transpose(2, 0, 1))
            rows.append(found.reshape(len(found), -1)[:, places].T)
            labels.append(marked.flat[places])
        self.forest = RandomForestClassifier(100, random_state=self.draw).fit(
            np.concatenate(rows), np.concatenate(labels)
        )
        return self

    def confusion(self, X, y):
        """Count as PixelClassifier.confusion does."""
        pairs = []
        for picture, labels in zip(X, y, strict=True):
            found = multiscale_filters(picture.transpose(2, 0, 1))[:, ::2, ::2]
            some = labels[::2, ::2]
            predicted = self.forest.predict(found.reshape(len(found), -1).T).reshape(some.shape)
            pairs.append((LabelPicture(some, some != 255), predicted))
        return confusion_of(pairs)


def run(name, train, test, cell, method, draw):
    """Give mean IoU, pixel accuracy, IoU of each class and seconds of one cell."""
    n_pictures, n_pixels = cell
    rng = np.random.default_rng(draw)
    n = len(train[0]) if n_pictures == "all" else n_pictures
    chosen = rng.choice(len(train[0]), n, replace=False)
    X, y = [train[0][row] for row in chosen], [scribble(train[1][row], n_pixels, rng) for row in chosen]
    model = FilterForest(draw) if method == "filters + forest" else network(method, draw, n)
    start = time.perf_counter()
    model.fit(X, y)
    classes, confusion = model.confusion(*test)
    seconds = time.perf_counter() - start
    iou = dict(zip(map(str, classes.tolist()), iou_of(confusion).tolist(), strict=True))
    accuracy = np.trace(confusion) / confusion.sum()
    return {"iou": iou, "mean": float(np.mean(list(iou.values()))), "accuracy": float(accuracy), "seconds": seconds}


def main():
    """Compute what is not there yet, and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--kept", type=Path, default=Path("pixels.json"), help="results so far")
    parser.add_argument("--methods", nargs="*", default=METHODS, help="those that are run; all are written")
    parser.add_argument("--sets", nargs="*", default=SETS, help="likewise")
    parser.add_argument("--pictures", nargs="*", default=PICTURES, type=lambda n: int(n) if n.isdigit() else n)
    parser.add_argument("--marks", nargs="*", default=MARKS, type=lambda n: int(n) if n.isdigit() else n)
    parser.add_argument("--minutes", type=float, default=float("inf"), help="no cell begins later")
    options = parser.parse_args()
    warnings.filterwarnings("ignore", message="lbfgs failed to converge")
    done = json.loads(options.kept.read_text()) if options.kept.exists() else {}
    end = time.monotonic() + 60 * options.minutes
    data = {name: (load(name, "train"), load(name, "test")) for name in SETS}
    # What tells most comes first.
    cells = [cell for cell in CELLS if cell[0] in options.pictures and cell[1] in options.marks]
    for cell, name, draw, method in itertools.product(cells, options.sets, range(N_DRAWS), options.methods):
        key = f"{name}|{cell[0]}|{cell[1]}|{method}|{draw}"
        skipped = ONLY.get(method, name) != name
        if key not in done and not skipped and time.monotonic() < end:
            done[key] = run(name, *data[name], cell, method, draw)
            options.kept.write_text(json.dumps(done))
            print(key, {k: v for k, v in done[key].items() if k != "iou"}, flush=True)
    publish("pixels", report(done))


def table(done, name, value):
    """Means over the draws that are there, one row a method, one column a cell."""
    rows = []
    for method in METHODS:
        found = []
        for cell in CELLS:
            keys = [f"{name}|{cell[0]}|{cell[1]}|{method}|{draw}" for draw in range(N_DRAWS)]
            values = [value(done[key]) for key in keys if key in done]
            few = f" ({len(values)})" if len(values) < N_DRAWS else ""
            found.append(f"{np.mean(values):.1f}{few}" if values else "")
        if any(found):
            rows.append([method, *found])
    kept = [place for place in range(len(CELLS)) if any(row[place + 1] for row in rows)]
    header = [f"{CELLS[place][0]} x {CELLS[place][1]}" for place in kept]
    body = [[row[0], *(row[place + 1] for place in kept)] for row in rows]
    return markdown_table(["pictures x labelled pixels a class", *header], body)


def report(done):
    """Lay out the tables."""
    seconds = {
        method: np.median([found["seconds"] for key, found in done.items() if f"|{method}|" in key] or [np.nan])
        for method in METHODS
    }
    return "\n\n".join(
        [
            "# A label for every pixel",
            "Means of up to 3 draws of pictures and pixels (where fewer are there, their number stands in brackets), "
            "in percent, on\nall test pictures. ImageNet: MobileNetV2, all stages, logistic regression (the defaults "
            "of `PixelClassifier`), where\nsaid at another `scale` and with `filters=True`; random weights: the same "
            "network; filters + forest: intensity, edges\nand texture at six scales of each channel and a forest of "
            "100 trees, as in trainable segmentation tools, judged on a\nquarter of the test pixels. At most 20,000 "
            "pixels are learned from. Tuned: `FineTunedSegmenter` on the same network, a\npyramid on stages 1, 2, 4 "
            "and 6, 360 times a picture (or ten times each) in steps of 4; where all learns twenty times, with crops\n"
            "and mirror images. The rate and the loss of the last row were chosen on 15 of CamVid's 60 pictures.",
            "## CamVid: mean intersection over union of 11 classes (60 pictures to learn from, 40 test pictures)",
            table(done, "camvid", lambda found: 100 * found["mean"]),
            "Pixel accuracy:",
            table(done, "camvid", lambda found: 100 * found["accuracy"]),
            "## Membranes of neurons (80 pictures to learn from, 40 test pictures): intersection over union of them",
            table(done, "isbi_membrane", lambda found: 100 * found["iou"].get("1", 0.0)),
            "Share of wrong pixels:",
            table(done, "isbi_membrane", lambda found: 100 - 100 * found["accuracy"]),
            "## Seconds",
            "Median seconds of a fit and the prediction of all test pictures (a fit that finds its maps in the cache "
            "takes less):\n"
            + ", ".join(f"{method} {value:.0f}" for method, value in seconds.items() if np.isfinite(value))
            + ".",
            "`python benchmarks/accuracy/pixels.py`, " + provenance("sktransfer", "torch", "timm", "scikit-learn"),
        ]
    )


if __name__ == "__main__":
    main()
