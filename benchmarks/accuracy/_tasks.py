"""Pairs of domains as rows of numbers, for benchmarks of choosing: matched, partial and mismatched ones."""

import functools
from typing import NamedTuple

import numpy as np
from _common import HERE, data_folder
from scipy.sparse import csr_matrix, vstack
from sklearn.datasets import load_digits
from sklearn.decomposition import TruncatedSVD
from sklearn.preprocessing import normalize, scale

from sktransfer import PretrainedFeatureExtractor

BACKBONE = "mobilenetv2_100.tf2_in1k"
SURF = ("caltech", "amazon", "webcam", "dslr")


class Task(NamedTuple):
    """Rows and classes of both domains."""

    Xs: np.ndarray
    ys: np.ndarray
    Xt: np.ndarray
    yt: np.ndarray


def arrays(*parts):
    return np.load(data_folder().joinpath("data", *parts))


def extract(pictures, **parameters):
    """Frozen features of unit length, kept on disk."""
    backbone = f"local-dir:{data_folder()}/weights/{BACKBONE}"
    extractor = PretrainedFeatureExtractor(backbone, cache=HERE / "results" / "cache", **parameters)
    return normalize(extractor.fit_transform(pictures).astype(float))


@functools.cache
def surf(name):
    file = arrays("office_caltech10_surf", "surf_l10.npz")
    X = normalize(file[f"{name}_X"].astype(float), norm="l1")
    return scale(X), file[f"{name}_y"]


@functools.cache
def googlenet(name):
    file = arrays("office_caltech10_googlenet", "googlenet1024.npz")
    return normalize(file[f"{name}_X"].astype(float)), file[f"{name}_y"]


@functools.cache
def folder(*parts):
    paths = sorted(data_folder().joinpath("data", *parts).glob("*/*.jpg"))
    return extract([str(path) for path in paths]), np.array([path.parent.name for path in paths])


@functools.cache
def written(name):
    file = arrays("usps_mnist_jda", "usps_mnist_16x16.npz")
    return normalize(file[f"{name}_X"].reshape(len(file[f"{name}_y"]), -1).astype(float)), file[f"{name}_y"]


@functools.cache
def coil(name):
    file = arrays("coil20_jda", "coil20_32x32.npz")
    return normalize(file[f"{name}_X"].reshape(720, -1).astype(float)), file[f"{name}_y"]


@functools.cache
def heart(name):
    file = arrays("tabular_domains", "heart_disease.npz")
    middle, spread = (f(file["cleveland_X"], axis=0) for f in (np.nanmedian, np.nanstd))
    X = file[f"{name}_X"]
    return (np.where(np.isnan(X), middle, X) - middle) / spread, (file[f"{name}_num"] > 0).astype(int)


@functools.cache
def all_reviews():
    file = arrays("amazon_reviews_bow", "amazon_bow5000.npz")
    names = ("books", "dvd", "electronics", "kitchen")
    counts = []
    for name in names:
        parts = (file[f"{name}_train_{part}"] for part in ("data", "indices", "indptr"))
        counts.append(csr_matrix(tuple(parts), shape=(2000, 5000)).astype(float).log1p())
    X = normalize(TruncatedSVD(200, random_state=0).fit_transform(vstack(counts)))
    rows = np.random.default_rng(0).permutation(2000)[:1000]
    return {name: (X[2000 * i + rows], file[f"{name}_train_y"][rows]) for i, name in enumerate(names)}


def office(name):
    return folder("office_caltech10_images", name)


def pacs(name):
    return folder("pacs_photo_cartoon", name)


@functools.cache
def drawn_digits():
    """Features of small digits, and their numbers modulo five."""
    X, y = load_digits(return_X_y=True)
    pictures = np.repeat(np.kron(X[:900].reshape(-1, 8, 8), np.ones((1, 4, 4)))[..., None] * 15.9, 3, axis=3)
    return extract(pictures.astype(np.uint8), image_size=96), y[:900] % 5


def numbered(domain):
    X, y = domain
    return X, np.unique(y, return_inverse=True)[1]


def first_classes(domain, n):
    X, y = domain
    kept = np.isin(y, np.unique(y)[:n])
    return X[kept], y[kept]


def pairs(read, names):
    return {f"{source} to {target}": (read(source), read(target)) for source, target in names}


def both_ways(names):
    return [(a, b) for a in names for b in names if a != b]


def load_tasks():
    """All tasks by group and name."""
    pictures = {
        **pairs(office, both_ways(("amazon", "webcam"))),
        **pairs(pacs, both_ways(("photo", "cartoon"))),
    }
    surf_pairs = pairs(surf, both_ways(SURF))
    partial = {
        **{f"SURF {name}": surf_pairs[name] for name in ("amazon to webcam", "caltech to amazon", "webcam to caltech")},
        **pictures,
    }
    flowers = folder("flowers5", "train")
    groups = {
        "SURF": surf_pairs,
        "GoogLeNet": pairs(googlenet, both_ways(("amazon", "webcam", "dslr"))),
        "pictures": pictures,
        "digits": pairs(written, both_ways(("mnist", "usps"))),
        "COIL": pairs(coil, both_ways(("coil1", "coil2"))),
        "reviews": pairs(
            all_reviews().get,
            [("books", "kitchen"), ("kitchen", "books"), ("dvd", "electronics"), ("electronics", "dvd")],
        ),
        "heart": pairs(
            heart,
            [("cleveland", "hungarian"), ("cleveland", "va"), ("hungarian", "cleveland"), ("cleveland", "switzerland")],
        ),
        "partial": {f"{name}, 4 classes": (s, first_classes(t, 4)) for name, (s, t) in partial.items()},
        "mismatched": {
            "digits to flowers": (drawn_digits(), numbered(flowers)),
            "flowers to digits": (numbered(flowers), drawn_digits()),
            "photo to amazon": (numbered(pacs("photo")), numbered(office("amazon"))),
            "flowers to cartoon": (numbered(flowers), numbered(pacs("cartoon"))),
            "amazon to webcam, 2 classes": (office("amazon"), first_classes(office("webcam"), 2)),
            "photo to cartoon, 2 classes": (pacs("photo"), first_classes(pacs("cartoon"), 2)),
        },
    }
    return {
        group: {name: Task(*source, *target) for name, (source, target) in tasks.items()}
        for group, tasks in groups.items()
    }
