"""The report that says whether transfer helped."""

import warnings
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from sklearn.base import is_classifier, is_regressor
from sklearn.metrics import check_scoring
from sklearn.utils import Bunch, check_random_state
from sklearn.utils.validation import _num_samples

from sktransfer.domains import (
    as_labels,
    check_domains,
    missing_labels,
    plain_labels,
    read_source_labels,
    without_domains,
)
from sktransfer.exceptions import NegativeTransferWarning
from sktransfer.few_labels import watch_twins
from sktransfer.inspection._label_efficiency import check_label_sizes, curves_of_fold, summarize_curves
from sktransfer.inspection._paired import (
    Compared,
    check_folds,
    compared_folds,
    corrected_t_test,
    fit_and_score,
    make_folds,
    row_ratio,
)
from sktransfer.inspection._report_words import metric_name, summary_of
from sktransfer.inspection._shift_evidence import class_shares, domain_distances
from sktransfer.utils._features import check_features
from sktransfer.utils._messages import caller_level
from sktransfer.utils._threads import small_algebra

__all__ = ["NegativeTransferReport", "negative_transfer_report"]

_NO_LABELS = (
    "No target row has a label, so there is nothing to score the target by. Pass sample_domain and, in y, the true "
    "labels of some target rows; training never sees them. Without any label of the target, compare by the label-free "
    "scorers of sktransfer.model_selection, or let AdaptedClassifier(guard=True) decide."
)


class NegativeTransferReport(Bunch):
    """What :func:`negative_transfer_report` found; prints as a few sentences."""

    def __repr__(self) -> str:
        return self.summary

    __str__ = __repr__


@small_algebra
def negative_transfer_report(
    estimator: Any,
    baseline: Any,
    X: Any,
    y: Any,
    *,
    cv: Any = 5,
    sample_domain: Any = None,
    target_domain: Any = "target",
    use_target_labels: bool = False,
    scoring: str | Callable = "accuracy",
    features: Any = None,
    label_sizes: str | Iterable[int] | None = "auto",
    confidence: float = 0.95,
    n_jobs: int | None = None,
    random_state: int | np.random.RandomState | None = None,
) -> NegativeTransferReport:
    """Compare an estimator that transfers with one that does not, on the same folds, and say whether it helps.

    With domains, both are trained on the training rows of a fold, the labels of its target rows masked, and scored on
    the labelled target rows of its test part. An estimator whose ``fit`` takes no `sample_domain` learns from the
    source rows alone. Without domains, both learn from the same rows: fine-tuning against the same network with
    ``weights=None``, for example.

    Parameters
    ----------
    estimator : estimator
        The one that transfers. Neither it nor `baseline` is fitted itself; clones are.
    baseline : estimator
        The one that does not.
    X : samples of length n_samples
        Rows: a table, pictures, whatever both estimators take.
    y : array-like of shape (n_samples,)
        True labels. Target rows without one (NaN, None, or -1 for integers unless a source label is -1) are trained on
        but not scored.
    cv : int, splitter or iterable of (train, test), default=5
        A number makes shuffled folds that have their share of every domain and of the labelled target rows, or, without
        domains, of every class of a classification. A splitter's ``split`` gets `sample_domain` as groups.
    sample_domain : array-like of shape (n_samples,) or None, default=None
        Domain label of each row. None compares within one domain, for which every row needs a label.
    target_domain : label or list of labels, default="target"
        Which domain labels are the target; the estimators' own `target_domain` must say the same.
    use_target_labels : bool, default=False
        Whether training also sees the labels of its target rows, for methods that learn from them. A `baseline` that
        takes no domains then learns from the labelled target rows alone, so that the question is whether the source
        helps at all.
    scoring : str or callable, default="accuracy"
        Name of a scikit-learn scorer or ``scorer(estimator, X, y)``; higher is better. It sees labelled rows only.
    features : transformer, callable or None, default=None
        Makes the table of numbers that domain distances are computed on: fitted, not fitted, or a function of the rows.
        None takes `X` where it is a table, and otherwise the output of the first steps of a pipeline, up to
        the last one or the first that takes domains.
    label_sizes : "auto", None or list of int, default="auto"
        Numbers of labels for the curves of `label_efficiency`; "auto" takes up to five between one label a class and
        all, None leaves the curves out. Each number costs two more fits a fold.
    confidence : float, default=0.95
        Of the interval, between 0 and 1; `verdict` follows from it.
    n_jobs : int or None, default=None
        Number of folds that run at a time; None is one, -1 all processors.
    random_state : int, RandomState or None, default=None
        Seed of the folds and of the labels drawn for the curves. A number also seeds the random states of the
        estimators that are None, alike for both.

    Returns
    -------
    report : NegativeTransferReport
        A :class:`sklearn.utils.Bunch` that prints as its summary, with the fields

        - `verdict` : "helps" or "hurts" where the interval leaves out 0, else "no clear difference";
        - `summary` : str, the findings in plain words;
        - `scores`, `baseline_scores` : ndarrays of shape (n_folds,), NaN where a fit or its score failed; what follows
          is of the folds in which both have one;
        - `difference`, `interval`, `p_value` : mean of the paired differences, its interval and two-sided p-value by
          the corrected resampled t test [1]_;
        - `per_class` : dict of arrays `classes`, `with_transfer` and `without_transfer` (recall over all folds),
          `difference`, `support` (rows scored in all folds); None for a regression;
        - `label_efficiency` : dict of arrays `n_labels`, `with_transfer`, `with_transfer_std`, `without_transfer`,
          `without_transfer_std` (mean and standard deviation over the folds; NaN where there is none), and of `worth`:
          how many labels without transfer reach what transfer reaches with `at` labels (0 with domains), on straight
          lines between the points, inf where none do; None where left out. With domains, the curve without transfer is
          that of `baseline` on labelled target rows alone (one that takes domains learns from all rows);
        - `domain_distances` : dict with `mmd`, `mmd_p_value`, `proxy_a_distance` (None where `left_out` says why),
          `features` they come from, and for classes `label_shift_distance` (total variation), `classes`,
          `source_shares` and `target_shares`, of labelled rows; None without domains;
        - `metric`, `confidence`, `n_fits`.

    Raises
    ------
    ValueError
        If no target row has a label, if fewer than two folds give a score of both, if a fold has no labelled target row
        to be scored on or no row of a domain to be trained on, or if a parameter is out of range.

    Warns
    -----
    NegativeTransferWarning
        If the verdict is "hurts".
    FitFailedWarning
        If a fit or its score failed: its point is NaN, and the report goes on.

    See Also
    --------
    NegativeTransferDisplay : Draws the folds and classes of a report.
    LabelEfficiencyDisplay : Draws its curves.
    DomainShiftDisplay : Draws two domains before and after adaptation.

    Notes
    -----
    Scores of folds are not independent, because their training rows overlap. The corrected test multiplies the variance
    of the differences by 1 / k + n_test / n_train instead of 1 / k; with domains, target rows are counted. Where two
    classifiers were equally good, it found a difference at the 5 % level in 2 to 5 % of 1000 draws, the plain t test in
    8 % (five folds) to 37 % (five folds four times). With domains, 300 reports found one in 2 to 3 %
    (benchmarks/accuracy/false_alarms.md).

    Distances are computed on at most 1000 rows of each domain. Estimators are fitted `n_fits` times: twice a fold, and
    twice more for each number of labels.

    References
    ----------
    .. [1] C. Nadeau, Y. Bengio, "Inference for the Generalization Error", Machine Learning 52, 2003.
    .. [2] Z. Wang, Z. Dai, B. Poczos, J. Carbonell, "Characterizing and Avoiding Negative Transfer", CVPR 2019.

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sktransfer import AdaptedClassifier, MMDAdapter, make_domain_shift, negative_transfer_report
    >>> X, y, sample_domain = make_domain_shift(shift="subspace", n_features=5, random_state=0)
    >>> adapted = AdaptedClassifier(LogisticRegression(), MMDAdapter(n_components=2))
    >>> report = negative_transfer_report(
    ...     adapted, LogisticRegression(), X, y, sample_domain=sample_domain, random_state=0
    ... )
    >>> report.verdict
    'helps'
    """
    compared = _read_compared(estimator, X, y, sample_domain, target_domain, scoring)
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be between 0 and 1, got {confidence!r}.")
    if use_target_labels and compared.domains is None:
        raise ValueError("use_target_labels=True needs sample_domain: without domains all labels are used anyway.")
    check_features(features)
    rng = check_random_state(random_state)
    folds = list(watch_twins(X, make_folds(compared, cv, rng)))
    check_folds(compared, folds)
    sizes = check_label_sizes(label_sizes, compared, folds)
    seeds = rng.randint(2**31 - 1, size=len(folds)).tolist()
    pair = (estimator, baseline)
    run = {"target_labels": use_target_labels, "seed_estimators": random_state is not None}
    results = Parallel(n_jobs=n_jobs)(
        delayed(_run_fold)(compared, pair, fold, sizes, seed=seed, **run)
        for fold, seed in zip(folds, seeds, strict=True)
    )
    scores, baseline_scores = np.array([result[0] for result in results]).T
    there = compared_folds(scores, baseline_scores)
    kept = [folds[number] for number in there]
    test = corrected_t_test(scores[there], baseline_scores[there], row_ratio(compared, kept), confidence=confidence)
    report = NegativeTransferReport(
        scores=scores, baseline_scores=baseline_scores, difference=test[0], interval=test[1], p_value=test[2]
    )
    report.verdict = "helps" if test[1][0] > 0 else "hurts" if test[1][1] < 0 else "no clear difference"
    report.per_class = _recalls(compared, kept, [results[number][1] for number in there])
    report.label_efficiency = None
    if sizes:
        kind = {"has_domains": compared.domains is not None, "target_labels": use_target_labels}
        report.label_efficiency = summarize_curves(np.array([result[2] for result in results]), sizes, scores, **kind)
    report.domain_distances = _distances(compared, estimator, features, rng)
    report.update(metric=metric_name(scoring), confidence=confidence, n_fits=2 * len(folds) * (1 + len(sizes)))
    report.summary = summary_of(report)
    if report.verdict == "hurts":
        warnings.warn(report.summary.splitlines()[0], NegativeTransferWarning, stacklevel=caller_level())
    return report


def _read_compared(estimator: Any, X: Any, y: Any, sample_domain: Any, target_domain: Any, scoring: Any) -> Compared:
    """Read roles and labels, and say what cannot be compared."""
    if not (isinstance(scoring, str) or callable(scoring)):
        raise ValueError(f"scoring must be the name of a scorer or a function (estimator, X, y), got {scoring!r}.")
    if scoring == "accuracy" and is_regressor(estimator):
        raise ValueError("scoring='accuracy' is for classes, and estimator is a regressor. Pass scoring='r2', say.")
    y = as_labels(y, name="y")
    if len(y) != _num_samples(X):
        raise ValueError(f"y has {len(y)} rows, but X has {_num_samples(X)}.")
    domains, labelled = None, np.ones(len(y), dtype=bool)
    if sample_domain is not None:
        domains = check_domains(sample_domain, target_domain=target_domain, n_samples=len(y))
        source_labels, _ = read_source_labels(y, domains)
        # Of classes -1 is missing unless the source has it, of numbers where none of them is negative.
        below_zero = source_labels.dtype.kind == "i" and (source_labels < 0).any()
        taken = -1 in source_labels.tolist() if is_classifier(estimator) else below_zero
        labelled = domains.is_target & ~missing_labels(y, minus_one=not taken)
    elif missing_labels(y, minus_one=is_classifier(estimator)).any():
        raise ValueError(
            f"{int(missing_labels(y).sum())} labels in y are missing (NaN, None, or -1 for integers) and sample_domain "
            "is None: these rows would be the target. " + _NO_LABELS
        )
    else:
        y = plain_labels(y)
    if not labelled.any():
        raise ValueError(_NO_LABELS)
    classes = np.unique(plain_labels(y[labelled])) if is_classifier(estimator) else None
    scorer = without_domains(check_scoring(estimator, scoring=scoring))
    return Compared(X, y, domains, scorer, labelled, classes)


def _run_fold(
    compared: Compared,
    pair: tuple[Any, Any],
    fold: tuple[np.ndarray, np.ndarray],
    sizes: list[int],
    *,
    seed: int,
    seed_estimators: bool,
    target_labels: bool,
) -> tuple[list[float], list[np.ndarray] | None, np.ndarray]:
    """Return the scores of a fold, which rows are classified right, and the curves of labels."""
    seed_of = seed if seed_estimators else None
    scores, correct = fit_and_score(compared, pair, fold, target_labels=target_labels, seed=seed_of)
    return scores, correct, curves_of_fold(compared, pair, fold, sizes, seed=seed, seed_estimators=seed_estimators)


def _recalls(compared: Compared, folds: list, correct: list) -> dict | None:
    """Return the recall of each class with and without transfer, over the test rows of all folds."""
    if compared.classes is None:
        return None
    labels = plain_labels(np.concatenate([compared.y[test[compared.labelled[test]]] for _, test in folds]))
    right = np.concatenate([np.array(both) for both in correct], axis=1)
    members = [labels == label for label in compared.classes]
    kept = [number for number, mask in enumerate(members) if mask.any()]
    recalls = np.array([right[:, members[number]].mean(axis=1) for number in kept])
    return {
        "classes": compared.classes[kept],
        "with_transfer": recalls[:, 0],
        "without_transfer": recalls[:, 1],
        "difference": recalls[:, 0] - recalls[:, 1],
        "support": np.array([int(members[number].sum()) for number in kept]),
    }


def _distances(compared: Compared, estimator: Any, features: Any, rng: np.random.RandomState) -> dict | None:
    if compared.domains is None:
        return None
    found = domain_distances(compared.X, compared.y, compared.domains, estimator, features, rng)
    if compared.classes is not None:
        found.update(class_shares(compared.y, compared.domains, compared.labelled))
    return found
