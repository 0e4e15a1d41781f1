"""EasyTL: distances to class centres, and a linear programme that gives every class its rows."""

from numbers import Real
from typing import Any

import numpy as np
from scipy import sparse
from scipy.optimize import linprog
from sklearn.metrics import pairwise_distances

from sktransfer.adaptation._coral import apply_power, covariance_power
from sktransfer.adaptation._domain_classifier import DomainClassifier
from sktransfer.domains import Domains
from sktransfer.utils._compat import Interval, StrOptions
from sktransfer.utils._kernels import squared_distances
from sktransfer.utils._sparse import column_means

__all__ = ["EasyTLClassifier", "class_prices", "intra_domain_programming"]


def intra_domain_programming(D: np.ndarray) -> np.ndarray:
    """Solve min sum D * M subject to M >= 0, rows that sum to 1, and columns that sum to at least 1.

    Parameters
    ----------
    D : ndarray of shape (n_target, n_classes)
        Distances of rows to classes.

    Returns
    -------
    labels : ndarray of int of shape (n_target,)
        Class of each row: of the solutions there is one in zeros and ones, and it is returned. With fewer rows than
        classes, not every class can have a row, and each row has its nearest class.
    """
    n, n_classes = D.shape
    labels = np.argmin(D, axis=1)
    # Without the constraint on columns the nearest class is best; where it leaves no class empty, nothing is to solve.
    if n < n_classes or len(np.unique(labels)) == n_classes:
        return labels
    each_row = sparse.kron(sparse.eye(n), np.ones((1, n_classes)), format="csr")
    each_class = sparse.kron(np.ones((1, n)), sparse.eye(n_classes), format="csr")
    solution = linprog(
        _in_units(D)[0].ravel(),
        A_ub=-each_class,
        b_ub=-np.ones(n_classes),
        A_eq=each_row,
        b_eq=np.ones(n),
        bounds=(0, 1),
        # The simplex method ends in a corner, where M is of zeros and ones: the constraints are those of a flow.
        method="highs-ds",
    )
    return np.argmax(solution.x.reshape(n, n_classes), axis=1)


def class_prices(D: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return prices u that make each row's class the one of smallest D - u: a dual solution of the programme.

    Parameters
    ----------
    D : ndarray of shape (n_target, n_classes)
        Distances of rows to classes.
    labels : ndarray of int of shape (n_target,)
        Solution of :func:`intra_domain_programming`.

    Returns
    -------
    prices : ndarray of shape (n_classes,)
        Not negative; zero for classes that have more than one row. Of all such prices those that keep every row as far
        as possible from changing its class, which is how new rows can be treated like those of the programme.
    """
    n_classes = D.shape[1]
    if np.array_equal(labels, np.argmin(D, axis=1)):
        return np.zeros(n_classes)
    D, unit = _in_units(D)
    counts = np.bincount(labels, minlength=n_classes)
    rows, bounds = [], []
    for own in np.flatnonzero(counts):
        of_class = D[labels == own]
        slack = np.min(of_class - of_class[:, [own]], axis=0)
        for other in np.flatnonzero(np.arange(n_classes) != own):
            # u_other - u_own + margin <= D_other - D_own for every row of the class.
            row = np.zeros(n_classes + 1)
            row[other], row[own], row[-1] = 1.0, -1.0, 1.0
            rows.append(row)
            bounds.append(slack[other])
    limits = [(0, 0) if count > 1 else (0, None) for count in counts]
    solution = linprog(
        np.append(np.zeros(n_classes), -1.0),
        A_ub=np.array(rows),
        b_ub=np.array(bounds),
        bounds=[*limits, (None, 1.0)],
        method="highs",
    )
    return unit * solution.x[:n_classes]


def _in_units(D: np.ndarray) -> tuple[np.ndarray, float]:
    """Return distances from 0 to 1, and the unit they are in: the solver knows tolerances and infinities in numbers.

    What a row has in common to all classes decides nothing.
    """
    rest = D - D.min(axis=1, keepdims=True)
    unit = float(rest.max()) or 1.0
    return rest / unit, unit


class EasyTLClassifier(DomainClassifier):
    """Classify target rows by their distance to class centres, so that every class gets its rows [1]_.

    Source rows are aligned to the target by their covariance, and their class means are the centres. A linear programme
    gives the target rows of the training data the classes of least total distance in which no class is empty. There is
    nothing to tune. Labels of target rows are not read.

    Parameters
    ----------
    alignment : {"coral", None}, default="coral"
        How source rows are aligned before; None takes them as they are.
    metric : {"euclidean", "sqeuclidean", "cosine", "cityblock"}, default="euclidean"
        Distance of a row to a class centre.
    reg : float, default=1.0
        Added to the diagonal of both covariances in the alignment, in squared feature units.
    target_domain : label or list of labels, default="target"
        Which labels of `sample_domain` are the target; all others are sources, taken together as one.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Class labels.
    centers_ : ndarray of shape (n_classes, n_features)
        Means of the aligned source rows of each class.
    prices_ : ndarray of shape (n_classes,)
        What is taken from the distance to each class so that it is not empty; zero for most.
    labels_ : ndarray of shape (n_target,)
        Labels that the programme gave the target rows of the training data.
    minus_one_is_missing_ : bool
        Whether -1 in integer labels means "no label" in :meth:`score`; not where a source label is -1.
    source_domains_ : list
        Names of the source domains.
    n_features_in_ : int
        Number of features seen in fit.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of features seen in fit, where all are strings.

    See Also
    --------
    CORALAdapter : The alignment by itself.
    MEDAClassifier : Learns more, and has more to choose.

    Notes
    -----
    The paper labels the target rows at hand only. New rows get the class of least distance less price, with the prices
    of the dual programme: the same rule that the optimal labels of the training rows obey, so that predicting these
    gives the same labels, and one row never depends on the others in the call.

    A sparse matrix is taken as it is; class centres are dense.

    Every class is taken to occur in the target. Where one does not, one row is forced into it. With fewer target rows
    than classes, this demand is dropped.

    References
    ----------
    .. [1] J. Wang, Y. Chen, H. Yu, M. Huang, Q. Yang, "Easy Transfer Learning by Exploiting Intra-Domain Structures",
       ICME 2019.

    Examples
    --------
    >>> from sktransfer.adaptation import EasyTLClassifier
    >>> from sktransfer.datasets import make_domain_shift
    >>> X, y, sample_domain = make_domain_shift(n_features=5, random_state=0)
    >>> model = EasyTLClassifier().fit(X, y, sample_domain=sample_domain)
    >>> model.predict(X[:3]).shape
    (3,)
    """

    _parameter_constraints: dict = {
        **DomainClassifier._parameter_constraints,
        "alignment": [StrOptions({"coral"}), None],
        "metric": [StrOptions({"euclidean", "sqeuclidean", "cosine", "cityblock"})],
        "reg": [Interval(Real, 0, None, closed="left")],
    }

    def __init__(
        self,
        alignment: str | None = "coral",
        *,
        metric: str = "euclidean",
        reg: float = 1.0,
        target_domain: Any = "target",
    ) -> None:
        self.alignment = alignment
        self.metric = metric
        self.reg = reg
        self.target_domain = target_domain

    def _dense_reason(self) -> str | None:
        return None

    def _fit_classes(self, X: Any, domains: Domains, codes: np.ndarray) -> None:
        Xs, Xt = X[domains.is_source], X[domains.is_target]
        n_classes = len(self.classes_)
        means = np.stack([column_means(Xs[codes == code]) for code in range(n_classes)])
        if self.alignment == "coral":
            # The map is linear, so means of mapped rows are mapped means.
            means = apply_power(means, covariance_power(Xs, -0.5, reg=self.reg))
            means = apply_power(means, covariance_power(Xt, 0.5, reg=self.reg))
        self.centers_ = means
        D = self._distances(Xt)
        labels = intra_domain_programming(D)
        self.prices_ = class_prices(D, labels)
        self.labels_ = self.classes_[labels]

    def _distances(self, X: Any) -> np.ndarray:
        if sparse.issparse(X) and self.metric == "sqeuclidean":
            return squared_distances(X, self.centers_)
        return pairwise_distances(X, self.centers_, metric=self.metric)

    def _class_scores(self, X: Any) -> np.ndarray:
        return self.prices_ - self._distances(X)
