"""Adversarial methods on frozen features: the source alone, every method by its defaults, and what they cost.

Three seeds, the last epoch of every training, no choice by target labels anywhere. Defaults were chosen on development
pairs (one seed of sketches to flowers and back, digits to inverted, and for statistics and the discriminator three
more); the pairs for the report took no part in it. Each finished cell is written at once to
``results/adversarial.jsonl`` and not computed again, so that a run can be stopped (``--minutes``) and continued. Run
with ``python benchmarks/accuracy/adversarial.py``; writes ``adversarial.md``.
"""

import argparse
import functools
import json
import time
from collections import defaultdict
from typing import NamedTuple

import numpy as np
from _common import HERE, data_folder, markdown_table, provenance, publish
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import sktransfer
from sktransfer import PretrainedFeatureExtractor

SEEDS = (0, 1, 2)
DIGITS = 800  # pictures of each domain
RESULTS = HERE / "results" / "adversarial.jsonl"
LINEAR = "logistic regression"
ALONE = "source alone"
STATISTICS = "source alone, statistics of the target"
METHODS = {
    "CDAN+E": ("CDAN", {"entropy": True}),
    "MCD": ("MCD", {}),
    "ADDA": ("ADDA", {}),
    "DANN": ("DANN", {}),
    "CDAN": ("CDAN", {}),
    "CDAN+E, smoothness=0.05": ("CDAN", {"entropy": True, "smoothness": 0.05}),
    "MDD": ("MDD", {}),
    "PADA": ("PADA", {}),
}
PAIRS = {
    "development": (
        "SURF caltech to amazon",
        "SURF amazon to webcam",
        "GoogLeNet dslr to amazon",
        "COIL1 to COIL2",
        "MNIST to MNIST-M",
        "digits to inverted",
        "flowers to sketches",
        "sketches to flowers",
        "flowers to posters",
        "posters to flowers",
    ),
    "report": (
        "amazon to webcam",
        "webcam to amazon",
        "photo to cartoon",
        "cartoon to photo",
        "MNIST to USPS",
        "USPS to MNIST",
    ),
    "partial": ("photo to 3 classes of cartoon", "amazon to 4 classes of webcam"),
    "partial development": ("flowers to 2 classes of sketches", "SURF caltech to 4 classes of amazon"),
}
ROWS = (LINEAR, ALONE, "CDAN+E", "MCD", "ADDA", "DANN", "CDAN", STATISTICS, "CDAN+E, smoothness=0.05", "MDD", "PADA")
PARTIAL_ROWS = (ALONE, "DANN", "PADA")


class Cell(NamedTuple):
    """One training."""

    pair: str
    method: str
    seed: int


def extract(pictures, **parameters):
    """Features of the ImageNet MobileNetV2, kept on disk."""
    backbone = f"local-dir:{data_folder()}/weights/mobilenetv2_100.tf2_in1k"
    extractor = PretrainedFeatureExtractor(backbone, cache=HERE / "results" / "cache", **parameters)
    return extractor.fit_transform(pictures)


def arrays(*parts):
    return np.load(data_folder().joinpath("data", *parts))


def paths(*parts):
    return sorted(data_folder().joinpath("data", *parts).glob("*/*.jpg"))


@functools.cache
def folder(*parts):
    found = paths(*parts)
    return extract([str(path) for path in found]), np.array([path.parent.name for path in found])


@functools.cache
def digits(name):
    """Digits and what they are; those of development are others than those of the report."""
    if name == "MNIST-M":
        file = arrays("mnist_m", "mnist_m_32x32.npz")
        X, y = file["train_X"][:DIGITS], file["train_y"][:DIGITS]
    elif name == "USPS":
        file = arrays("usps_mnist_jda", "usps_mnist_16x16.npz")
        rows = np.random.default_rng(0).permutation(len(file["usps_y"]))[:DIGITS]
        X, y = np.uint8(255 * file["usps_X"])[rows], file["usps_y"][rows]
    else:
        file = arrays("mnist_t10k", "mnist_t10k_28x28.npz")
        rows = slice(-DIGITS, None) if name == "other MNIST" else slice(DIGITS)
        X, y = file["X"][rows], file["y"][rows]
    X = X if X.ndim == 4 else np.repeat(X[..., None], 3, axis=3)
    return extract(X, image_size=96), y


@functools.cache
def surf(source, target):
    """Bags of words of both domains, scaled together."""
    file = arrays("office_caltech10_surf", "surf_l10.npz")
    parts = {name: file[f"{name}_X"] / file[f"{name}_X"].sum(1, keepdims=True) for name in (source, target)}
    scaler = StandardScaler().fit(np.vstack(list(parts.values())))
    return [(scaler.transform(X).astype(np.float32), file[f"{name}_y"]) for name, X in parts.items()]


def coil(name):
    file = arrays("coil20_jda", "coil20_32x32.npz")
    X = np.uint8(np.clip(255 * (file[f"{name}_X"] / file["scale"]), 0, 255))
    return extract(np.repeat(X[..., None], 3, axis=3), image_size=96), file[f"{name}_y"]


def drawn(look):
    X, y, domain = sktransfer.make_image_domains(600, 600, target=look, random_state=0)
    features = extract(X, image_size=96)
    return [(features[domain == name], y[domain == name]) for name in ("source", "target")]


@functools.cache
def styled(look):
    """Flowers as they are, and other flowers as sketches or posters."""
    from PIL import Image, ImageFilter, ImageOps

    found = paths("flowers5", "train")
    found = [found[row] for row in np.random.default_rng(0).permutation(len(found))]

    def drawn_from(path):
        picture = Image.open(path).convert("RGB").resize((160, 160))
        if look == "sketches":
            edges = picture.convert("L").filter(ImageFilter.FIND_EDGES)
            return np.asarray(ImageOps.invert(ImageOps.autocontrast(edges)).convert("RGB"))
        flat = ImageOps.posterize(picture.filter(ImageFilter.MedianFilter(7)), 2)
        return np.asarray(flat.filter(ImageFilter.EDGE_ENHANCE_MORE))

    plain = [np.asarray(Image.open(path).convert("RGB").resize((160, 160))) for path in found[::2]]
    changed = [drawn_from(path) for path in found[1::2]]
    y = np.array([path.parent.name for path in found])
    return [(extract(np.stack(X), image_size=160), y[rest::2]) for rest, X in enumerate((plain, changed))]


def first_classes(domain, n):
    X, y = domain
    kept = np.isin(y, np.unique(y)[:n])
    return X[kept], y[kept]


@functools.cache
def load(pair):
    """Source and target of a pair: features and classes."""
    source, _, target = pair.partition(" to ")
    n_classes, _, whole = target.partition(" classes of ")
    if whole:
        source_rows, target_rows = load(f"{source} to {whole}")
        return source_rows, first_classes(target_rows, int(n_classes))
    if source.startswith("SURF"):
        return surf(source.removeprefix("SURF "), target)
    if source.startswith("GoogLeNet"):
        file = arrays("office_caltech10_googlenet", "googlenet1024.npz")
        return [(file[f"{name}_X"], file[f"{name}_y"]) for name in (source.removeprefix("GoogLeNet "), target)]
    if source.startswith("COIL"):
        return [coil(name.lower()) for name in (source, target)]
    if pair == "MNIST to MNIST-M":
        return digits("other MNIST"), digits(target)
    if source in ("MNIST", "USPS"):
        return digits(source), digits(target)
    if source == "digits":
        return drawn(target)
    if source == "flowers":
        return styled(target)
    if target == "flowers":
        return styled(source)[::-1]
    room = "office_caltech10_images" if source in ("amazon", "webcam") else "pacs_photo_cartoon"
    return folder(room, source), folder(room, target)


def build(method, seed):
    """Make the estimator of a row."""
    if method == ALONE:
        return sktransfer.DANNClassifier(None, trade_off=0.0, statistics="shared", random_state=seed)
    if method == STATISTICS:
        return sktransfer.DANNClassifier(None, trade_off=0.0, random_state=seed)
    name, options = METHODS[method]
    return getattr(sktransfer, f"{name}Classifier")(None, **options, random_state=seed)


def accuracy(cell):
    """Accuracy on all rows of the target, and the seconds of the processor for the training."""
    (Xs, ys), (Xt, yt) = load(cell.pair)
    start = time.process_time()
    if cell.method == LINEAR:
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=500)).fit(Xs, ys)
    else:
        # Labels of the target are not there for any method to read.
        X, y, domain = sktransfer.pack_domains(source=(Xs, ys), target=Xt)
        model = build(cell.method, cell.seed).fit(X, y, sample_domain=domain)
    return float(np.mean(model.predict(Xt) == yt)), time.process_time() - start


def cells(groups):
    """All cells of some groups, one seed of everything first."""
    for seed in SEEDS:
        for group in groups:
            rows = PARTIAL_ROWS if group.startswith("partial") else [row for row in ROWS if row != "PADA"]
            for method in rows if not seed else [row for row in rows if row != LINEAR]:
                yield from (Cell(pair, method, seed) for pair in PAIRS[group])


def run(minutes, groups):
    """Compute what is missing."""
    done = {Cell(row["pair"], row["method"], row["seed"]) for row in finished()}
    end = time.monotonic() + 60 * minutes
    RESULTS.parent.mkdir(exist_ok=True)
    for cell in cells(groups):
        if cell in done:
            continue
        if time.monotonic() > end:
            print("out of time; run again to go on")
            return
        value, seconds = accuracy(cell)
        with RESULTS.open("a") as file:
            file.write(json.dumps({**cell._asdict(), "accuracy": value, "seconds": seconds}) + "\n")
        print(f"{cell.pair:36} {cell.method:40} {cell.seed}  {100 * value:5.1f}  {seconds:6.1f} s", flush=True)


def finished():
    """Read the cells that there are."""
    return [json.loads(line) for line in RESULTS.read_text().splitlines()] if RESULTS.exists() else []


def table(pairs, methods, found):
    """Mean and spread over seeds, the mean over pairs, and the least gain over the source alone."""
    rows = []
    for method in methods:
        values = [found.get((pair, method), []) for pair in pairs]
        texts = [
            f"{np.mean(v):.1f} ± {np.std(v, ddof=1):.1f}" if len(v) > 1 else f"{v[0]:.1f}" if v else "" for v in values
        ]
        mean = f"{np.mean([np.mean(v) for v in values]):.1f}" if all(values) else ""
        both = [pair for pair in pairs if found.get((pair, method)) and found.get((pair, ALONE))]
        gains = [np.mean(found[pair, method]) - np.mean(found[pair, ALONE]) for pair in both]
        least = f"{min(gains):+.1f}" if gains and method != ALONE else ""
        rows.append((method, *texts, mean, least))
    return markdown_table(("accuracy, %", *pairs, "mean", "least gain"), rows)


def tables(found):
    """Give the tables of which there are cells, with their titles."""
    titles = {
        "report": "Pairs for the report: real pictures, which took no part in choosing defaults",
        "development": "Development pairs",
        "partial": "The target has fewer classes than the source: report",
        "partial development": "The target has fewer classes than the source: development",
    }
    for group, title in titles.items():
        rows = PARTIAL_ROWS if group.startswith("partial") else ROWS
        there = [row for row in rows if any(found.get((pair, row)) for pair in PAIRS[group])]
        if there:
            yield from (f"## {title}", table(PAIRS[group], there, found))


def report():
    """Write the tables."""
    accuracies, seconds = defaultdict(list), defaultdict(list)
    for row in finished():
        accuracies[row["pair"], row["method"]].append(100 * row["accuracy"])
        seconds[row["method"]].append(row["seconds"])
    n_seeds = {len(values) for (_, method), values in accuracies.items() if method != LINEAR}
    times = [(row, f"{np.median(seconds[row]):.1f}") for row in ROWS if seconds[row]]
    parts = [
        "# Adversarial methods on frozen features",
        provenance("torch", "timm", "scikit-learn", "sktransfer"),
        "Accuracy on all target rows, whose labels no training saw; last epoch, mean ± standard deviation over "
        f"{max(n_seeds)} seeds (fewest in a cell: {min(n_seeds)}). `backbone=None`, all parameters as they are by "
        "default, chosen on some of the development pairs of the script, one seed each, on the first 160 principal "
        "components of the features. Features of pictures are those of the frozen ImageNet MobileNetV2. The source "
        'alone is the same layers trained the same way with `trade_off=0` and `statistics="shared"`; with the '
        "statistics of the target, `trade_off=0` alone. *Least gain*: over the source alone, on the pair where it is "
        "least.",
        *tables(accuracies),
        "## Seconds of the processor for one training, median over all pairs",
        markdown_table(("", "seconds"), times),
    ]
    publish("adversarial", "\n\n".join(parts))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=1e6, help="stop after the cell in which this time is over")
    parser.add_argument("--groups", nargs="*", default=list(PAIRS), choices=list(PAIRS))
    arguments = parser.parse_args()
    run(arguments.minutes, arguments.groups)
    report()
