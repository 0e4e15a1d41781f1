"""What adaptation without source data does to a classifier of digits on worsened rows, of even classes and of 1 to 20.

A network of two layers with BatchNorm learns 800 of scikit-learn's digits (8 x 8 pixels); the others come worsened, all
of them or each class less often than the one before, down to a twentieth. Run ``python benchmarks/accuracy/test_time.py
[seeds]``; it writes test_time.md beside itself.
"""

import sys

import numpy as np
from _common import markdown_table, provenance, publish
from scipy import ndimage
from sklearn.datasets import load_digits

from sktransfer import AdaBNClassifier, DANNClassifier, LAMEClassifier, Recipe, TENTClassifier

KINDS = ("noise", "blur", "contrast", "cover", "shift")
N_SOURCE, RAREST = 800, 20
METHODS = {
    "AdaBN": lambda source: AdaBNClassifier(source),
    "TENT without its guards": lambda source: TENTClassifier(
        source, margin=None, smoothness=0.0, reset=0.0, balanced=False, random_state=0
    ),
    "TENT": lambda source: TENTClassifier(source, random_state=0),
    "LAME": lambda source: LAMEClassifier(source),
}


def worsened(X: np.ndarray, kind: str, rng: np.random.Generator) -> np.ndarray:
    """Give rows of pixels as a worse camera would."""
    pictures = X.reshape(-1, 8, 8).copy()
    if kind == "noise":
        pictures += rng.normal(0, 0.35, pictures.shape)
    elif kind == "blur":
        pictures = ndimage.gaussian_filter(pictures, (0, 1.0, 1.0))
    elif kind == "contrast":
        pictures = 0.3 * pictures + 0.35
    elif kind == "cover":
        for picture in pictures:
            i, j = rng.integers(0, 6, 2)
            picture[i : i + 3, j : j + 3] = 1
    else:
        pictures = np.stack([np.roll(picture, rng.integers(-1, 2), axis=1) for picture in pictures])
    return pictures.reshape(-1, 64)


def thinned(y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Choose rows of which each class is rarer than the one before, the last by `RAREST`."""
    shares = RAREST ** (-np.arange(10) / 9.0)
    found = [np.flatnonzero(y == label) for label in rng.permutation(10)]
    return rng.permutation(
        np.concatenate([rows[: max(1, round(s * len(rows)))] for rows, s in zip(found, shares, strict=True)])
    )


def source_model(X: np.ndarray, y: np.ndarray, seed: int) -> DANNClassifier:
    """Train on the source alone, which stands for the target too."""
    domain = np.repeat(["source", "target"], [len(X), 40])
    clf = DANNClassifier(
        None,
        trade_off=0,
        statistics="shared",
        bottleneck=(64, 64),
        max_epochs=15,
        lr=0.01,
        recipe=Recipe(optimizer="adamw"),
        random_state=seed,
    )
    return clf.fit(np.vstack([X, X[:40]]), np.concatenate([y, y[:40]]), sample_domain=domain)


def measure(seed: int) -> dict[tuple[str, str], list[float]]:
    """Accuracy in percent of the source model and of each method, by stream and kind."""
    X, y = load_digits(return_X_y=True)
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(X))
    source_rows, rest = order[:N_SOURCE], order[N_SOURCE:]
    source = source_model(X[source_rows] / 16, y[source_rows], seed)
    found = {}
    for kind in KINDS:
        rows = worsened(X[rest] / 16, kind, rng)
        for stream, chosen in (("even", np.arange(len(rest))), ("1 to 20", thinned(y[rest], rng))):
            Z, labels = rows[chosen], y[rest][chosen]
            scores = [source.score(Z, labels)]
            scores += [make(source).fit(Z).score(Z, labels) for make in METHODS.values()]
            found[stream, kind] = [100 * float(score) for score in scores]
            print(seed, stream, kind, [round(score, 1) for score in found[stream, kind]], file=sys.stderr, flush=True)
    return found


def main() -> None:
    seeds = range(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
    runs = [measure(seed) for seed in seeds]
    header = ["stream", "worsened by", "source", *METHODS]
    table = []
    for stream in ("even", "1 to 20"):
        means = [np.mean([run[stream, kind] for run in runs], axis=0) for kind in KINDS]
        table += [[stream, kind, *map(float, values)] for kind, values in zip(KINDS, means, strict=True)]
        table.append([stream, "mean", *map(float, np.mean(means, axis=0))])
    text = f"""# Adaptation at test time, even and uneven: accuracy in percent

{provenance("torch", "scikit-learn")}

{markdown_table(header, table)}

Means of {len(runs)} seeds. Digits of 8 x 8 pixels; a network of two layers with BatchNorm, trained on {N_SOURCE}; the
others worsened: by Gaussian noise (0.35 of the range), blur (1 pixel), contrast (0.3), a square of 3 x 3, a shift by a
pixel. "1 to 20": each class is rarer than the one before, the last by 20. All methods with default parameters; "TENT
without its guards" counts all rows, looks not uphill, never begins again, and takes the statistics of all rows.
"""
    publish("test_time", text)


if __name__ == "__main__":
    main()
