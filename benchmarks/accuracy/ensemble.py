"""The average of the best candidates of a search against its choice, with two and five labels a class.

The race and the average are those of ``TransferSearchCV(refit="ensemble")`` and ``BackboneSearch(refit="ensemble")``,
called on rows of frozen features, which are computed once and kept on disk (``SKTRANSFER_FEATURES``). Run with
``python benchmarks/accuracy/ensemble.py``; writes ``ensemble.md``.
"""

import argparse
import warnings

import numpy as np
from _common import markdown_table, provenance, publish
from _linear_ranking import IMAGE_SIZE, SETS, features
from backbone_ranking import BACKBONES, register_architectures
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.dummy import DummyClassifier
from sklearn.exceptions import FitFailedWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import get_scorer
from sklearn.model_selection import StratifiedKFold
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import FunctionTransformer

from sktransfer import PrototypeClassifier
from sktransfer.domains import Evaluator, without_domains
from sktransfer.model_selection._ensemble import answers_of, fit_ensemble
from sktransfer.model_selection._halving import Candidate, Clock
from sktransfer.model_selection._race import run_race
from sktransfer.utils._deviations import ColumnScaler

LABELS, N_KEPT = (2, 5), 3
FIRST_DRAW = 3
QUICK = ["hymenoptera", "flowers5", "blood cells"]
TEXT = """# An average instead of a choice, with few labels

Accuracy on all pictures that nothing was learned from, on frozen features at {size} pixels; means of {seeds} draws of
the labelled pictures. Regret is the accuracy of the best candidate in hindsight, by the test pictures, minus that of
what was done without them: the choice of the folds (``refit=True``, or cross-validation), the average of
``refit="ensemble"``, the average of all candidates alike, and a candidate at random. The best of each draw profits from
chance; the last column compares with the candidate that is best in the mean of all draws of a set. The strategies are
those of ``TransferSearchCV`` that need no training of a network, and one linear model more; the networks are eight of
different pretraining, all of them cross-validated (``refine=8``).

Read the first table with care: its choice may fall back to a baseline that says one class of all rows, and does on few
rows. How many models the average adds to all of them was chosen on draws {before} of the same sets (adding one a row it
lost 3.6, 0.9, 6.1 and 3.5 points there, beginning with none 1.5, 1.1, 11.1 and 4.3); these are other draws of them.

{tables}
`python benchmarks/accuracy/ensemble.py`, {provenance}
"""
ROWS = ("the choice of the folds", "the average", "all alike", "one at random")


class OfColumns(ClassifierMixin, BaseEstimator):
    """A classifier of some columns, in the basis of its training rows.

    What is computed from distances and products, ridge penalties among them, is the same there, and much faster.
    """

    def __init__(self, estimator, start, stop, *, scaled=False):
        self.estimator = estimator
        self.start = start
        self.stop = stop
        self.scaled = scaled

    def fit(self, X, y):
        X = X[:, self.start : self.stop]
        self.scaler_ = (ColumnScaler() if self.scaled else FunctionTransformer()).fit(X)
        self.basis_ = np.linalg.qr(self.scaler_.transform(X).T)[0]
        self.estimator_ = clone(self.estimator).fit(self._map(X), y)
        self.classes_ = self.estimator_.classes_
        return self

    def _map(self, X):
        return self.scaler_.transform(X) @ self.basis_

    def predict_proba(self, X):
        return self.estimator_.predict_proba(self._map(X[:, self.start : self.stop]))

    def predict(self, X):
        return self.classes_[self.predict_proba(X).argmax(axis=1)]


class Neighbors(KNeighborsClassifier):
    """Of at most as many neighbours as there are rows."""

    def fit(self, X, y):
        self.n_neighbors = min(5, len(X))
        return super().fit(X, y)


def strategies(dataset):
    """Make classifiers of the features of one network, and the rows."""
    X, y, _ = features(dataset, BACKBONES[0])
    linear = LogisticRegression(max_iter=1000)
    return (
        X,
        y,
        {
            "frozen_linear": OfColumns(linear, 0, X.shape[1], scaled=True),
            "frozen_prototypes": PrototypeClassifier(guard=False),
            "frozen_knn": Neighbors(metric="cosine", weights="distance"),
            "strong penalty": OfColumns(LogisticRegression(C=0.01, max_iter=1000), 0, X.shape[1], scaled=True),
        },
    )


def backbones(dataset):
    """Linear classifiers of the features of each network, and the rows, where these stand beside each other."""
    parts = [features(dataset, name)[0] for name in BACKBONES]
    ends = np.cumsum([part.shape[1] for part in parts])
    linear = LogisticRegression(max_iter=1000)
    spans = zip(BACKBONES, ends - [part.shape[1] for part in parts], ends, strict=True)
    y = features(dataset, BACKBONES[0])[1]
    return np.hstack(parts), y, {name: OfColumns(linear, start, stop) for name, start, stop in spans}


def draw_rows(y, n_labels, seed):
    """Rows to learn from, so many of each class, and all others."""
    rng = np.random.default_rng(seed)
    train = np.concatenate([rng.permutation(np.flatnonzero(y == label))[:n_labels] for label in np.unique(y)])
    return train, np.setdiff1d(np.arange(len(y)), train)


def folds_of(y, n_labels, seed, *, with_half):
    """Folds of the search: that of halves first, where it has one."""
    rows = np.zeros(len(y))
    folds = list(StratifiedKFold(min(5, n_labels), shuffle=True, random_state=seed).split(rows, y))
    half = next(StratifiedKFold(2, shuffle=True, random_state=seed).split(rows, y))
    return [half, *folds] if with_half and n_labels > 2 else folds


def measure(X, y, estimators, n_labels, seed, *, is_race):
    """Accuracy in percent on the rows that nothing was learned from: of each candidate, and of ROWS."""
    train, test = draw_rows(y, n_labels, seed)
    folds = folds_of(y[train], n_labels, seed, with_half=is_race)
    classes = np.unique(y)
    evaluator = Evaluator(X[train], y[train], None, without_domains(get_scorer("accuracy")))
    baseline = Candidate("baseline", DummyClassifier(strategy="prior"))
    candidates = [baseline, *(Candidate(name, estimator) for name, estimator in estimators.items())]
    winner = run_race(
        candidates,
        evaluator,
        folds,
        factor=3,
        clock=Clock(None),
        n_kept=N_KEPT if is_race else len(candidates),
        answer=lambda model, X: answers_of(model, X, classes),
    )
    _, weights = fit_ensemble(candidates, evaluator, folds, clock=Clock(None))
    everyone = {candidate.name: candidate.estimator for candidate in candidates}
    models = {name: clone(estimator).fit(X[train], y[train]) for name, estimator in everyone.items()}
    said = {name: answers_of(model, X[test], classes) for name, model in models.items()}

    def accuracy(proba):
        return float(100 * np.mean(classes[proba.argmax(axis=1)] == y[test]))

    averaged = accuracy(sum(weight * said[name] for name, weight in weights.items()))
    alone = {name: accuracy(proba) for name, proba in said.items()}
    chosen = alone[winner.name]
    del alone["baseline"], said["baseline"]
    return list(alone.values()), [
        chosen,
        averaged,
        accuracy(sum(said.values())),
        float(np.mean(list(alone.values()))),
    ]


def table(kind, n_labels, datasets, draws):
    """Regret by set, against the best of each draw and against the best of all draws."""
    lines = {row: [] for row in ROWS}
    against_fixed = {row: [] for row in ROWS}
    best = []
    for dataset in datasets:
        X, y, estimators = kind(dataset)
        runs = [measure(X, y, estimators, n_labels, seed, is_race=kind is strategies) for seed in draws]
        alone = np.array([run[0] for run in runs])
        best.append(float(alone.max(axis=1).mean()))
        for place, row in enumerate(ROWS):
            found = np.mean([run[1][place] for run in runs])
            lines[row].append(best[-1] - found)
            against_fixed[row].append(alone.mean(axis=0).max() - found)
    rows = [(row, *lines[row], float(np.mean(lines[row])), float(np.mean(against_fixed[row]))) for row in ROWS]
    header = ["regret, points", *datasets, "mean", "mean, against the best of all draws"]
    return markdown_table(header, [*rows, ("accuracy of the best of each draw", *best, float(np.mean(best)), "")])


def main():
    """Compute and publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--sets", nargs="*", choices=SETS, default=QUICK)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", FitFailedWarning)
    register_architectures()
    draws = range(FIRST_DRAW, FIRST_DRAW + arguments.draws)
    sections = []
    for kind, title in ((strategies, "Strategies on one network"), (backbones, "Eight networks, one linear model")):
        for n_labels in LABELS:
            sections.append(f"## {title}, {n_labels} labels a class\n")
            sections.append(table(kind, n_labels, arguments.sets, draws) + "\n")
    before = f"0 to {FIRST_DRAW - 1}"
    made = {"size": IMAGE_SIZE, "seeds": arguments.draws, "before": before, "tables": "\n".join(sections)}
    publish("ensemble", TEXT.format(**made, provenance=provenance("scikit-learn", "timm", "torch", "sktransfer")))


if __name__ == "__main__":
    main()
