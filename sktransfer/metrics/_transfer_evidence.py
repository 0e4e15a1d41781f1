"""Whether predictions for unlabelled target rows fit these rows: by their neighbours, and by the way back."""

import warnings
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import NearestNeighbors
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import normalize
from sklearn.utils import Bunch

from sktransfer.domains import Domains, as_labels, read_source_labels, take_rows
from sktransfer.metrics._validation import check_labels, check_pair
from sktransfer.utils._deviations import ColumnScaler, column_statistics
from sktransfer.utils._tables import check_table
from sktransfer.utils._threads import small_algebra

__all__ = [
    "evidence_of_models",
    "fell_back_message",
    "neighborhood_agreement_score",
    "return_accuracy_score",
    "transfer_evidence",
]

# Chosen on 549 pairs of task and adapter, see benchmarks/accuracy/guard.md: the least rise of the agreement in units of
# 1 / sqrt(n_target); the greatest falls that are put up with; and the rise that makes up for a greater fall of the raw
# agreement, as where the baseline says one class of nearly all rows.
_LEAST_GAIN, _GREATEST_FALL, _MAKES_UP = 0.5, 0.1, 3.0


@small_algebra
def neighborhood_agreement_score(X: Any, y_pred: Any, *, n_neighbors: int = 5) -> float:
    """Return how often rows are predicted to be of the class of their nearest neighbours, beyond chance.

    With a the mean share of a row's neighbours that are predicted to be of its class, and p_c the share of rows
    predicted to be of class c, the score is ``(a - sum_c p_c^2) / (1 - sum_c p_c^2)``: chance is taken off as in
    Cohen's kappa [1]_, so that one class for all rows scores nothing. A model whose predictions ignore how the
    unlabelled rows lie scores low; no label is needed.

    Parameters
    ----------
    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        Rows whose true classes are not known, as they were before any adaptation.
    y_pred : array-like of shape (n_samples,)
        Predicted classes.
    n_neighbors : int, default=5
        Number of neighbours, by the cosine of the rows; fewer where there are not so many other rows.

    Returns
    -------
    score : float
        At most 1; 0 is chance, also where all predictions are the same.

    Raises
    ------
    ValueError
        If there are fewer than two rows, values or predictions are missing, or `n_neighbors` is less than 1.

    See Also
    --------
    transfer_evidence : Compares two models by it.

    Notes
    -----
    Costs O(n^2 d) time and O(n n_neighbors) memory for n rows of d features.

    References
    ----------
    .. [1] J. Cohen, "A Coefficient of Agreement for Nominal Scales", Educational and Psychological Measurement 20(1),
       1960.

    Examples
    --------
    >>> from sktransfer import neighborhood_agreement_score
    >>> X = [[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0]]
    >>> neighborhood_agreement_score(X, ["a", "a", "b", "b"], n_neighbors=1)
    1.0
    >>> neighborhood_agreement_score(X, ["a", "b", "a", "b"], n_neighbors=1)
    -1.0
    """
    X = check_table(X, name="X", min_rows=2, accept_sparse=True)
    codes = check_labels(y_pred, n_rows=X.shape[0], name="y_pred", of="X")
    if n_neighbors < 1:
        raise ValueError(f"n_neighbors must be at least 1, got {n_neighbors!r}.")
    return _beyond_chance(*_agreement(_neighbors(X, n_neighbors), codes))


@small_algebra
def return_accuracy_score(Xs: Any, ys: Any, Xt: Any, y_pred: Any) -> float:
    """Return how well predictions for the target lead back to the labels of the source.

    A logistic regression learns the predictions on the target rows and is scored on the source rows, each domain
    standardised by itself: circular validation [1]_ with a model that is the same for all predictions.

    Parameters
    ----------
    Xs : {array-like, sparse matrix} of shape (n_source, n_features)
        Source rows, before any adaptation.
    ys : array-like of shape (n_source,)
        Their classes.
    Xt : {array-like, sparse matrix} of shape (n_target, n_features)
        Target rows, before any adaptation.
    y_pred : array-like of shape (n_target,)
        Predicted classes of the target rows.

    Returns
    -------
    score : float
        Accuracy on the source rows.

    Raises
    ------
    ValueError
        If numbers of rows or features differ, or values are missing.

    See Also
    --------
    CircularValidationScorer : With the model itself, fitted backwards.
    transfer_evidence : Compares two models by it.

    References
    ----------
    .. [1] L. Bruzzone, M. Marconcini, "Domain Adaptation Problems: A DASVM Classification Technique and a Circular
       Validation Strategy", IEEE Transactions on Pattern Analysis and Machine Intelligence 32(5), 2010.

    Examples
    --------
    >>> import numpy as np
    >>> from sktransfer import return_accuracy_score
    >>> rng = np.random.default_rng(0)
    >>> y = np.repeat([0, 1], 100)
    >>> X = rng.normal(size=(200, 2)) + 5 * np.eye(2)[y]
    >>> return_accuracy_score(X, y, X + 3, y), return_accuracy_score(X, y, X + 3, 1 - y)
    (1.0, 0.0)
    """
    Xs, Xt = check_pair(Xs, Xt, min_rows=2)
    check_labels(ys, n_rows=Xs.shape[0], name="ys", of="Xs")
    check_labels(y_pred, n_rows=Xt.shape[0], name="y_pred", of="Xt")
    ys, labels = as_labels(ys, name="ys"), as_labels(y_pred, name="y_pred")
    if len(set(labels.tolist())) == 1:
        return float(np.mean(ys == labels[0]))
    model = make_pipeline(ColumnScaler(), LogisticRegression(C=0.1, max_iter=200))
    with warnings.catch_warnings():
        # It is compared with one that stopped as early.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(Xt, labels)
    return float(np.mean(_predict_standardised(model, Xs, Xt) == ys))


def _predict_standardised(model: Any, Xs: Any, Xt: Any) -> np.ndarray:
    """Predict source rows standardised by themselves, by a model of target rows standardised by themselves."""
    Zs, classifier = ColumnScaler().fit_transform(Xs), model[-1]
    if not sparse.issparse(Zs):
        return classifier.predict(Zs)
    # Means stay on sparse rows; the difference of what both domains have of them is taken off the decision.
    means = [mean / scale for mean, scale in map(column_statistics, (Xs, Xt))]
    decision = classifier.decision_function(Zs) - np.ravel(classifier.coef_ @ (means[0] - means[1]))
    best = np.argmax(decision, axis=1) if decision.ndim == 2 else (decision > 0).astype(int)
    return classifier.classes_[best]


@small_algebra
def transfer_evidence(Xs: Any, ys: Any, Xt: Any, *, y_pred: Any, y_baseline: Any) -> Bunch:
    """Compare predictions for unlabelled target rows with those of a model without transfer.

    Three numbers are computed for both. ``agreement``: :func:`neighborhood_agreement_score` on the target rows.
    ``raw_agreement``: the same share of neighbours without the correction for chance. ``return_accuracy``:
    :func:`return_accuracy_score`, the way back to the source.

    Transfer is taken to help where the agreement rises by more than ``0.5 / sqrt(n_target)``, the return accuracy falls
    by no more than 0.1, and neither does the raw agreement, unless the agreement rises by three times as much:
    predictions that follow the target's own neighbourhoods better are believed if they lead back to the source.

    Parameters
    ----------
    Xs : {array-like, sparse matrix} of shape (n_source, n_features)
        Source rows, before any adaptation.
    ys : array-like of shape (n_source,)
        Their classes.
    Xt : {array-like, sparse matrix} of shape (n_target, n_features)
        Target rows, before any adaptation.
    y_pred : array-like of shape (n_target,)
        Classes of the target rows as predicted with transfer.
    y_baseline : array-like of shape (n_target,)
        Classes of the target rows as predicted without.

    Returns
    -------
    evidence : Bunch
        ``agreement``, ``raw_agreement``, ``return_accuracy``: each a pair of floats, without transfer and with it;
        ``threshold``: the rise of the agreement that is asked for; ``disagreement``: the share of target rows whose
        predictions differ; ``helps``: bool.

    Raises
    ------
    ValueError
        If numbers of rows or features differ, or values are missing.

    See Also
    --------
    AdaptedClassifier : Falls back to the model without transfer by this evidence, with ``guard=True``.

    Notes
    -----
    The thresholds are those that kept half of the gain of classical adapters on benchmark tasks while hardly any fell
    behind. Evidence is not proof: it may miss a gain, and where the classes of the domains differ it may be wrong. Rows
    are compared as they are; bring columns of different units to one scale first.

    References
    ----------
    .. [1] Z. Wang, Z. Dai, B. Poczos, J. Carbonell, "Characterizing and Avoiding Negative Transfer", CVPR 2019.

    Examples
    --------
    >>> import numpy as np
    >>> from sktransfer import transfer_evidence
    >>> rng = np.random.default_rng(0)
    >>> y = np.repeat([0, 1], 100)
    >>> X = rng.normal(size=(200, 2)) + 3 * np.eye(2)[y]
    >>> guess = rng.permutation(y)
    >>> transfer_evidence(X, y, X, y_pred=y, y_baseline=guess).helps
    True
    >>> transfer_evidence(X, y, X, y_pred=guess, y_baseline=y).helps
    False
    """
    Xs, Xt = check_pair(Xs, Xt, min_rows=2)
    neighbors = _neighbors(Xt, 5)
    found = []
    for name, labels in (("y_baseline", y_baseline), ("y_pred", y_pred)):
        codes = check_labels(labels, n_rows=Xt.shape[0], name=name, of="Xt")
        raw, chance = _agreement(neighbors, codes)
        found.append((_beyond_chance(raw, chance), raw, return_accuracy_score(Xs, ys, Xt, labels)))
    pairs = dict(zip(("agreement", "raw_agreement", "return_accuracy"), zip(*found, strict=True), strict=True))
    rise, raw, back_again = (after - before for before, after in pairs.values())
    threshold = _LEAST_GAIN / np.sqrt(Xt.shape[0])
    coherent = raw >= -_GREATEST_FALL or rise > -_MAKES_UP * raw
    helps = rise > threshold and back_again >= -_GREATEST_FALL and coherent
    differ = as_labels(y_pred, name="y_pred") != as_labels(y_baseline, name="y_baseline")
    return Bunch(**pairs, threshold=float(threshold), disagreement=float(np.mean(differ)), helps=bool(helps))


def evidence_of_models(
    model: Any, baseline: Any, X: Any, y: np.ndarray, domains: Domains, *, table: Any = None
) -> Bunch:
    """Return the :func:`transfer_evidence` of two fitted models on the rows that both have seen.

    Parameters
    ----------
    model, baseline : estimator
        With transfer, and without.
    X : samples
        Rows of all domains.
    y : ndarray of shape (n_samples,)
        Labels; those of target rows are not read.
    domains : Domains
        Roles of the rows.
    table : array-like of shape (n_samples, n_features) or None, default=None
        Numbers for the rows, which are compared; None takes `X`.
    """
    labels, source = read_source_labels(y, domains)
    target = take_rows(X, domains.target_rows)
    table = X if table is None else table
    return transfer_evidence(
        take_rows(table, source),
        labels,
        take_rows(table, domains.target_rows),
        y_pred=model.predict(target),
        y_baseline=baseline.predict(target),
    )


def fell_back_message(name: str, evidence: Bunch) -> str:
    """Say that there is no evidence for the adaptation by what is called `name`, and what is used instead."""
    numbers = zip(evidence.agreement, evidence.raw_agreement, evidence.return_accuracy, strict=True)
    before, after = (", ".join(f"{value:.2f}" for value in values) for values in numbers)
    return (
        f"No evidence that {name} helps: agreement of the target's predictions with their neighbours (beyond chance, "
        f"and raw) and accuracy on the way back to the source are {after} with it and {before} without. The estimator "
        "without adaptation is used; set guard=False to keep the adapted one."
    )


def _neighbors(X: np.ndarray, n_neighbors: int) -> np.ndarray:
    """Return the positions of the nearest other rows of each row, by cosine, shape (n_samples, n_neighbors)."""
    search = NearestNeighbors(n_neighbors=min(n_neighbors, X.shape[0] - 1)).fit(normalize(X))
    # Without an argument a row is no neighbour of itself, twins apart.
    return search.kneighbors(return_distance=False)


def _agreement(neighbors: np.ndarray, codes: np.ndarray) -> tuple[float, float]:
    """Return the share of neighbours of the same class, and what it would be by chance."""
    shares = np.bincount(codes) / len(codes)
    return float(np.mean(codes[neighbors] == codes[:, np.newaxis])), float(shares @ shares)


def _beyond_chance(agreement: float, chance: float) -> float:
    return (agreement - chance) / (1 - chance) if chance < 1 else 0.0
