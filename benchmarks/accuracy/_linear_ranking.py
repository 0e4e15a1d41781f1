"""Features of many networks for many sets of pictures, kept on disk, and what scores of them say of a linear model."""

import numpy as np
import torch
from _common import data_folder, markdown_table, provenance, publish
from _few_sets import kept
from backbone_ranking import BACKBONES, draw, folder, path_of
from scipy.stats import rankdata, weightedtau
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedShuffleSplit

from sktransfer import PretrainedFeatureExtractor
from sktransfer.metrics import (
    gbc_score,
    h_score,
    logme_score,
    nce_score,
    parc_score,
    sfda_score,
    transrate_score,
)
from sktransfer.utils._deviations import ColumnScaler

IMAGE_SIZE, MOST_ROWS = 112, 400
FOLDERS = {
    "hymenoptera": ("hymenoptera", "train"),
    "flowers5": ("flowers5", "train"),
    "ucmerced": ("ucmerced_subset", "train"),
    "blood cells": ("bccd_cells", "train"),
    "PACS cartoon": ("pacs_photo_cartoon", "cartoon"),
}
SETS = tuple(FOLDERS)
SPLITS = 3
LINEAR = "leave-one-out of a ridge model"
# Ranks of several scores, whose mean is a score.
RANKS = {
    "mean rank of LogME, H-score, PARC": ("logme", "h_score", "parc"),
    "mean rank of PARC and the ridge model": ("parc", LINEAR),
    "mean rank of LogME, H-score, PARC, NCE and the ridge model": ("logme", "h_score", "parc", "nce", LINEAR),
}
TEXT = """# Which backbone for a linear model on frozen features

What is foretold here is the accuracy of a linear model (logistic regression on scaled features) on rows that it did not
learn, and not that of fine-tuning, for which see backbone_ranking.md. Eight networks of different pretraining and three
of them with random weights, pictures at {size} pixels, {splits} splits of at most {rows} pictures into halves: scores
see the half that the linear model learns from. Regret is the accuracy of the best network minus that of the one with
the highest score, both in the mean of the splits. ``rank_backbones`` and ``BackboneSearch`` take PARC by default: what
comes from a linear model foretells linear models a little better and fine-tuning much worse, and of the scores it is
the best in both tables.

{accuracies}

{regrets}

The same order as that of the accuracies (weighted Kendall tau, 1 is the same):

{taus}

`python benchmarks/accuracy/backbone_ranking.py --linear`, {provenance}
"""
CONTROLS = ("mobilenetv2_100.tf2_in1k", "mobilenetv1_025.tf_in1k", "cifar_resnet20.c10")


def pictures(name):
    """At most MOST_ROWS pictures of a set, the same for all networks, and their labels."""
    X, y = folder(data_folder().joinpath("data", *FOLDERS[name]))
    rows = draw(y, min(1.0, MOST_ROWS / len(y)), 0)
    return X[rows], y[rows]


def networks():
    """Names of the networks, those with random weights last, and what an extractor takes."""
    found = {name: (path_of(name), "pretrained") for name in BACKBONES}
    return found | {f"{name}, random": (path_of(name), None) for name in CONTROLS}


def features(dataset, network):
    """Frozen features, labels, and the likeliest class of the source task of each picture."""
    path, weights = networks()[network]

    def compute():
        X, y = pictures(dataset)
        options = {"image_size": IMAGE_SIZE, "device": "cpu", "n_jobs": 1, "cache": None}
        extractor = PretrainedFeatureExtractor(path, weights=weights, **options)
        torch.manual_seed(0)
        rows = extractor.fit_transform(X)
        classifier = extractor.backbone_.module.get_classifier()
        with torch.inference_mode():
            classes = classifier(torch.as_tensor(rows)).argmax(dim=1).numpy()
        return np.column_stack([classes, rows]), y

    table, y = kept(f"ranking_{dataset}_{network}_{IMAGE_SIZE}".replace(" ", "_"), compute)
    return table[:, 1:], y, table[:, 0].astype(int)


def ridge_score(X, y):
    """Share of the variance of the class indicators that ridge regression foretells when each row is left out in turn.

    The penalty is the best of fifteen; all in closed form, from one decomposition.
    """
    Z = ColumnScaler().fit_transform(X)
    Y = (y[:, np.newaxis] == np.unique(y)).astype(float)
    Y -= Y.mean(axis=0)
    U, values, _ = np.linalg.svd(Z - Z.mean(axis=0), full_matrices=False)
    errors = []
    for penalty in np.logspace(-4, 3, 15) * np.mean(values**2):
        kept_shares = values**2 / (values**2 + penalty)
        leverage = np.minimum(U**2 @ kept_shares + 1 / len(y), 1 - 1e-6)
        residuals = Y - U @ (kept_shares[:, np.newaxis] * (U.T @ Y))
        errors.append(np.sum((residuals / (1 - leverage)[:, np.newaxis]) ** 2))
    return 1 - min(errors) / np.sum(Y**2)


def linear_accuracy(X, y, X_test, y_test):
    """Accuracy in percent of logistic regression, in the basis of its training rows, where it is the same."""
    scaler = ColumnScaler().fit(X)
    basis = np.linalg.qr(scaler.transform(X).T)[0]
    model = LogisticRegression(max_iter=200).fit(scaler.transform(X) @ basis, y)
    return 100 * model.score(scaler.transform(X_test) @ basis, y_test)


def judge(dataset):
    """Accuracies of all networks, shape (networks, splits), and by score a table of that shape."""
    accuracies, scores = [], {}
    for network in networks():
        X, y, classes = features(dataset, network)
        splits = StratifiedShuffleSplit(SPLITS, train_size=0.5, test_size=0.5, random_state=0).split(X, y)
        row, found = [], {}
        for train, test in splits:
            row.append(linear_accuracy(X[train], y[train], X[test], y[test]))
            known = {
                "logme": logme_score(X[train], y[train]),
                "h_score": h_score(X[train], y[train], shrinkage=True),
                "parc": parc_score(X[train], y[train]),
                "nce": nce_score(classes[train], y[train]),
                "sfda": sfda_score(X[train], y[train]),
                "gbc": gbc_score(X[train], y[train]),
                "transrate": transrate_score(X[train], y[train]),
                LINEAR: ridge_score(X[train], y[train]),
            }
            for name, value in known.items():
                found.setdefault(name, []).append(value)
        accuracies.append(row)
        for name, values in found.items():
            scores.setdefault(name, []).append(values)
    scores = {name: np.nan_to_num(np.array(values), nan=-np.inf) for name, values in scores.items()}
    for name, parts in RANKS.items():
        scores[name] = np.mean([rankdata(scores[part], axis=0) for part in parts], axis=0)
    return np.array(accuracies), scores


def report_linear(datasets=SETS):
    """Write the tables."""
    judged = {dataset: judge(dataset) for dataset in datasets}
    regrets, taus = {}, {}
    for accuracies, scores in judged.values():
        means = accuracies.mean(axis=1)
        for name, values in scores.items():
            chosen = np.argmax(values, axis=0)
            regrets.setdefault(name, []).append(float(means.max() - means[chosen].mean()))
            tau = np.mean([weightedtau(column, means).statistic for column in values.T])
            taus.setdefault(name, []).append(f"{tau:.2f}")
        regrets.setdefault("any, at random", []).append(float(means.max() - means.mean()))
    rows = [(name, *row, float(np.mean(row)), float(np.max(row))) for name, row in regrets.items()]
    text = TEXT.format(
        size=IMAGE_SIZE,
        splits=SPLITS,
        rows=MOST_ROWS,
        accuracies=markdown_table(
            ["accuracy of the linear model, %", *datasets],
            [(name, *(float(judged[d][0][place].mean()) for d in datasets)) for place, name in enumerate(networks())],
        ),
        regrets=markdown_table(["regret, points", *datasets, "mean", "largest"], rows),
        taus=markdown_table(["weighted Kendall tau", *datasets], [(name, *row) for name, row in taus.items()]),
        provenance=provenance("scikit-learn", "timm", "torch", "sktransfer"),
    )
    publish("backbone_ranking_linear", text)
