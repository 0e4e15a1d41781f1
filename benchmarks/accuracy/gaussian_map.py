"""The linear map of optimal transport between Gaussians beside CORAL, on tables of two domains.

Heart disease (each of four hospitals to each other one) and wine (red and white, both ways; "good" is a quality of 6
and more); logistic regression and the nearest neighbour, accuracy in percent. Run with
``python benchmarks/accuracy/gaussian_map.py``. POT has this map as ``ot.da.LinearTransport``; it is written out here.
"""

import itertools

import numpy as np
from scipy.linalg import sqrtm
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from tables import domains, prepared

from sktransfer import CORALAdapter, DomainStandardizer

CLASSIFIERS = {"logistic regression": LogisticRegression(max_iter=1000), "1-NN": KNeighborsClassifier(1)}


def gaussian_map(Xs, Xt, reg):
    """Move source rows by the map that carries one Gaussian to the other at the least squared distance."""
    Cs, Ct = (np.cov(X.T) + reg * np.eye(X.shape[1]) for X in (Xs, Xt))
    root = np.real(sqrtm(Cs))
    inverse = np.linalg.inv(root)
    A = inverse @ np.real(sqrtm(root @ Ct @ root)) @ inverse
    return (Xs - Xs.mean(axis=0)) @ A + Xt.mean(axis=0)


def sides(Xs, Xt):
    """Source and target rows of each side."""
    yield "nothing", Xs, Xt
    X, names = np.vstack([Xs, Xt]), np.repeat(["source", "target"], [len(Xs), len(Xt)])
    adapters = CORALAdapter(), CORALAdapter(align_means=True), DomainStandardizer()
    for adapter in adapters:
        Z = adapter.fit_transform(X, sample_domain=names)
        yield repr(adapter), Z[: len(Xs)], Z[len(Xs) :]
    for reg in (0.01, 1.0):
        yield f"Gaussian map, reg={reg}", gaussian_map(Xs, Xt, reg), Xt


def main():
    """Print means over the pairs of each data set."""
    scores = {}
    for data in ("heart", "wine"):
        tables = domains()[data]
        for source, target in itertools.permutations(tables, 2):
            (Xs, ys), (Xt, yt) = tables[source], tables[target]
            steps = prepared(None)[:-1]
            Xs = steps.fit_transform(Xs)
            for side, Zs, Zt in sides(Xs, steps.transform(Xt)):
                for name, classifier in CLASSIFIERS.items():
                    accuracy = 100 * classifier.fit(Zs, ys).score(Zt, yt)
                    scores.setdefault((data, name, side), []).append(accuracy)
    for key, values in scores.items():
        print(*key, f"{np.mean(values):.1f}", sep=" | ")


if __name__ == "__main__":
    main()
