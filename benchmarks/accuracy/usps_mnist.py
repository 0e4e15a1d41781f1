"""USPS and MNIST, 256 pixels, the split of the JDA paper: both directions against published numbers.

Run: ``python benchmarks/accuracy/usps_mnist.py``; it writes usps_mnist.md beside itself.
"""

import time

import numpy as np
from _common import data_folder, markdown_table, provenance, publish
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer
from sklearn.svm import SVC

from sktransfer.adaptation import (
    AdaptedClassifier,
    CORALAdapter,
    EasyTLClassifier,
    GFKAdapter,
    MEDAClassifier,
    MMDAdapter,
    SubspaceAlignmentAdapter,
)

# Table 3 of the MEDA paper (ACM Multimedia 2018): USPS to MNIST, MNIST to USPS.
PUBLISHED = {
    "1-NN, no transfer": (44.7, 65.9),
    "TCA": (51.2, 56.3),
    "GFK": (46.5, 61.2),
    "JDA": (59.7, 67.3),
    "CORAL": (30.5, 49.2),
    "MEDA": (72.1, 89.5),
}


def nearest():
    return KNeighborsClassifier(1)


def components(**params):
    unit = make_pipeline(Normalizer(), nearest())
    return lambda: AdaptedClassifier(unit, MMDAdapter(100, kernel="primal", mu=0.1, **params))


METHODS = {
    # CORAL under a ridge beyond all bounds changes nothing.
    "1-NN, no transfer": (lambda: AdaptedClassifier(nearest(), CORALAdapter(reg=1e12)), "1-NN"),
    "TCA": (components(), "100 components, no kernel, ridge 0.1, 1-NN"),
    "JDA": (components(conditional=0.5), "as TCA"),
    "BDA (weight by A-distance)": (components(conditional="auto"), "as TCA"),
    "GFK": (lambda: AdaptedClassifier(nearest(), GFKAdapter(20)), "20 dimensions, 1-NN"),
    "SA": (lambda: AdaptedClassifier(nearest(), SubspaceAlignmentAdapter(20)), "20 dimensions, 1-NN"),
    "CORAL": (lambda: AdaptedClassifier(SVC(kernel="linear"), CORALAdapter()), "reg 1, linear SVM, C=1"),
    "EasyTL": (lambda: EasyTLClassifier(), ""),
    "MEDA": (lambda: MEDAClassifier(40), "40 dimensions, else the defaults"),
}


def load() -> tuple:
    """Flattened pictures of unit length, and digits."""
    arrays = np.load(data_folder() / "data" / "usps_mnist_jda" / "usps_mnist_16x16.npz")
    unit = Normalizer()
    return tuple(
        (unit.transform(arrays[f"{name}_X"].reshape(len(arrays[f"{name}_y"]), -1).astype(float)), arrays[f"{name}_y"])
        for name in ("usps", "mnist")
    )


def main() -> None:
    usps, mnist = load()
    table = []
    for name, (make, setting) in METHODS.items():
        start, cpu, values = time.perf_counter(), time.process_time(), []
        for (Xs, ys), (Xt, yt) in ((usps, mnist), (mnist, usps)):
            y = np.concatenate([ys, np.full(len(yt), -1)])
            values.append(100 * float(np.mean(make().fit(np.vstack([Xs, Xt]), y).predict(Xt) == yt)))
        seconds, cpu = (time.perf_counter() - start) / 2, (time.process_time() - cpu) / 2
        known = PUBLISHED.get(name, ("", ""))
        table.append([name, values[0], known[0], values[1], known[1], f"{seconds:.1f} ({cpu:.1f})", setting])
        print(*table[-1], flush=True)
    header = ["method", "U→M", "published", "M→U", "published", "s a task (cpu)", "setting"]
    text = f"""# USPS and MNIST: target accuracy in percent

{provenance("scikit-learn", "numpy", "scipy")}

{markdown_table(header, table)}

1800 USPS and 2000 MNIST pictures of 16 x 16 pixels, scaled to unit length; all target rows are in fit, unlabelled,
and are scored. Published: Table 3 of Wang et al., ACM Multimedia 2018, which does not state every parameter.
"""
    publish("usps_mnist", text)


if __name__ == "__main__":
    main()
