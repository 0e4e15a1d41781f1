"""Tables of other columns: what filling the missing blocks is worth beside the common columns and the target alone.

Rows and columns of scikit-learn's wine and breast cancer are split at random: a few columns common, of the others one
half in the source and one in the target. Ten of the target rows have a label, a quarter of all rows is held out. Means
of ten splits, accuracy of logistic regression in percent. Run with ``python benchmarks/accuracy/columns.py``.
"""

import numpy as np
from sklearn.datasets import load_breast_cancer, load_wine
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sktransfer import AdaptedClassifier, ColumnMappingAdapter

SETS = [(load_wine, 1), (load_wine, 2), (load_wine, 3), (load_breast_cancer, 2), (load_breast_cancer, 4)]
SETS += [(load_wine, 0), (load_breast_cancer, 0)]
N_LABELS = 10


def logistic():
    """Classifier of all sides."""
    return LogisticRegression(max_iter=500)


def split(load, n_common, seed):
    """Rows with missing blocks, labels, domains, positions of rows and columns."""
    X, y = load(return_X_y=True)
    rng = np.random.default_rng(seed)
    rows, columns = rng.permutation(len(X)), rng.permutation(X.shape[1])
    own, half = (X.shape[1] - n_common) // 2, len(X) // 2
    source, target = rows[:half], rows[half:]
    common, of_target = columns[:n_common], columns[n_common + own :]
    X[np.ix_(source, of_target)] = np.nan
    X[np.ix_(target, columns[n_common : n_common + own])] = np.nan
    train, test = target[: len(target) // 2], target[len(target) // 2 :]
    return X, y, np.isin(np.arange(len(X)), target), (source, train, test), (common, of_target)


def plain(X, y, train, columns, test):
    """Accuracy without filling."""
    model = make_pipeline(StandardScaler(), logistic())
    return model.fit(X[np.ix_(train, columns)], y[train]).score(X[np.ix_(test, columns)], y[test])


def filled(X, y, is_target, rows, n_labels, n_common):
    """Accuracy with filled columns."""
    source, train, test = rows
    known = np.where(is_target, -1, y)
    known[train[:n_labels]] = y[train[:n_labels]]
    params = {"use_target_labels": n_labels > 0}
    adapter = ColumnMappingAdapter(use_target_labels=n_common == 0)
    model = make_pipeline(StandardScaler(), AdaptedClassifier(logistic(), adapter, **params))
    used = np.concatenate([source, train])
    domains = np.where(is_target, "target", "source")[used]
    return model.fit(X[used], known[used], adaptedclassifier__sample_domain=domains).score(X[test], y[test])


def scores(load, n_common, seed):
    """Accuracy of each side."""
    X, y, is_target, rows, (common, of_target) = split(load, n_common, seed)
    source, train, test = rows
    labelled = train[:N_LABELS]
    found = {f"{N_LABELS} labels: target alone": plain(X, y, labelled, [*common, *of_target], test)}
    found[f"{N_LABELS} labels: filled, both"] = filled(X, y, is_target, rows, N_LABELS, n_common)
    if n_common:
        both = np.concatenate([source, labelled])
        found["no target label: common columns"] = plain(X, y, source, common, test)
        found["no target label: filled"] = filled(X, y, is_target, rows, 0, n_common)
        found[f"{N_LABELS} labels: common columns, both"] = plain(X, y, both, common, test)
    return found


def main():
    """Print means."""
    for load, n_common in SETS:
        draws = [scores(load, n_common, seed) for seed in range(10)]
        means = {side: np.mean([draw[side] for draw in draws]) for side in draws[0]}
        print(load.__name__, n_common, {side: round(100 * float(mean), 1) for side, mean in means.items()})


if __name__ == "__main__":
    main()
