"""How often the test of ``negative_transfer_report`` finds a difference between two classifiers that are equally good.

Two classes of rows whose first ten columns tell them apart as well as the last ten; one classifier sees the former, the
other the latter. Run with ``python benchmarks/accuracy/false_alarms.py``; writes ``false_alarms.md``.
"""

import warnings

import numpy as np
from _common import markdown_table, provenance, publish
from scipy import stats
from sklearn.model_selection import KFold, cross_val_score
from sklearn.neighbors import NearestCentroid
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from sktransfer import negative_transfer_report
from sktransfer.inspection._paired import corrected_t_test

LEVEL = 0.05


def first(X):
    return X[:, :10]


def last(X):
    return X[:, 10:]


PAIR = [make_pipeline(FunctionTransformer(columns), NearestCentroid()) for columns in (first, last)]


def draw(n, rng):
    y = np.arange(n) % 2
    return rng.normal(size=(n, 20)) + 0.35 * y[:, np.newaxis], y


def one_domain(n_splits, n_rows, repeats, n_draws):
    """Rates of the corrected and of the plain t test, in percent."""
    rng = np.random.RandomState(0)
    found = np.zeros(2)
    for _ in range(n_draws):
        X, y = draw(n_rows, rng)
        folds = [fold for _ in range(repeats) for fold in KFold(n_splits, shuffle=True, random_state=rng).split(X)]
        a, b = (cross_val_score(estimator, X, y, cv=folds) for estimator in PAIR)
        corrected = corrected_t_test(a, b, 1 / (n_splits - 1), confidence=1 - LEVEL)[2]
        found += corrected < LEVEL, stats.ttest_rel(a, b).pvalue < LEVEL
    return 100 * found / n_draws


def two_domains(n_source, n_target, n_draws):
    """Rate of the whole report, in percent."""
    rng = np.random.RandomState(0)
    found = 0
    for _ in range(n_draws):
        X, y = draw(n_source + n_target, rng)
        domain = np.repeat(["source", "target"], [n_source, n_target])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            report = negative_transfer_report(
                *PAIR, X, y, sample_domain=domain, label_sizes=None, random_state=rng.randint(2**31 - 1)
            )
        found += report.p_value < LEVEL
    return 100 * found / n_draws


def main(n_draws=1000, n_reports=300):
    """Compute and publish."""
    cases = [(5, 100, 1), (10, 100, 1), (5, 100, 4), (10, 60, 3)]
    rows = []
    for k, n, repeats in cases:
        corrected, plain = one_domain(k, n, repeats, n_draws)
        times = "" if repeats == 1 else f", {repeats} times"
        rows.append([f"{k} folds{times}, {n} rows", f"{corrected:.1f}", f"{plain:.1f}"])
    for n_source, n_target in ((100, 100), (400, 60)):
        rate = two_domains(n_source, n_target, n_reports)
        rows.append([f"report, 5 folds, {n_source} source and {n_target} target rows", f"{rate:.1f}", ""])
    publish(
        "false_alarms",
        f"""# False alarms of the test on paired folds

Percent of {n_draws} draws (of the report: {n_reports}) in which two equally good classifiers differ at the 5 % level:
by the corrected resampled t test, and by the plain one.

{markdown_table(["folds", "corrected", "plain"], rows)}

`python benchmarks/accuracy/false_alarms.py`, {provenance("scikit-learn", "numpy", "scipy")}
""",
    )


if __name__ == "__main__":
    main()
