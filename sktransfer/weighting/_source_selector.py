"""Keep the source rows that are most like the target."""

from numbers import Integral
from typing import Any

import numpy as np
from sklearn.base import clone

from sktransfer.base import BaseWeighter
from sktransfer.domains import Domains, as_labels, mask_labels, read_source_labels, take_rows
from sktransfer.utils._compat import HasMethods, Interval, RealNotInt, fit_context
from sktransfer.utils._missing import inner_complete_reason
from sktransfer.utils._sparse import inner_dense_reason
from sktransfer.utils._threads import small_algebra
from sktransfer.weighting._common import check_rows_of
from sktransfer.weighting._kliep import KLIEPWeighter

__all__ = ["SourceSelector", "largest"]


def largest(values: np.ndarray, n_kept: int) -> np.ndarray:
    """Return the positions of the `n_kept` largest of `values`, shape (n,), ascending; of equal ones the first."""
    return np.sort(np.argsort(-values, kind="stable")[:n_kept])


class SourceSelector(BaseWeighter):
    """Keep the source rows that are most like target rows, and drop the others.

    A weighter says how much each source row looks like the target; those with the largest weights are kept, all with
    the same weight. As a weighter, it gives the others the weight zero. As a sampler, in a pipeline of
    imbalanced-learn, :meth:`fit_resample` hands on the kept source rows alone. Labels of target rows are not read.

    Parameters
    ----------
    n_select : int or float, default=0.5
        How many source rows are kept: an integer is their number (all rows where there are not more), a float from 0 to
        1 their share, rounded, at least one row.
    weighter : weighter or None, default=None
        Any weighter; it is cloned, and its `target_domain` set to that of the selector. None takes
        ``KLIEPWeighter()``, whose weights are never zero, so that they rank all rows.
    target_domain : label or list of labels, default="target"
        Which labels of `sample_domain` are the target; all others are sources, taken together as one.

    Attributes
    ----------
    weights_ : ndarray of shape (n_source,)
        n_source / n_kept for the kept source rows, 0 for the others; their mean is one.
    sample_indices_ : ndarray of int of shape (n_kept,)
        Positions of the kept rows among all training rows, ascending.
    threshold_ : float
        Least weight of a kept row, as the weighter gives it. A new row is kept from there on; where it is zero, because
        the weighter gave fewer rows a weight than were to be kept, above it.
    weighter_ : weighter
        The weighter fitted on all rows.
    source_domains_ : list
        Names of the source domains.
    n_features_in_ : int
        Number of features seen in fit.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of features seen in fit, where all are strings.

    See Also
    --------
    NearestNeighborWeighter : Keeps all source rows, with weights.
    sktransfer.AdaptedClassifier : Fits any classifier on the weighted rows.

    References
    ----------
    .. [1] S. J. Pan, Q. Yang, "A Survey on Transfer Learning", IEEE Transactions on Knowledge and Data Engineering
       22(10), 2010.

    Examples
    --------
    >>> from sktransfer.weighting import NearestNeighborWeighter, SourceSelector
    >>> X = [[0.0], [1.0], [2.0], [0.9], [1.2]]
    >>> sample_domain = ["a", "a", "a", "target", "target"]
    >>> selector = SourceSelector(1, weighter=NearestNeighborWeighter())
    >>> selector.fit_resample(X, ["u", "v", "w", None, None], sample_domain=sample_domain)
    ([[1.0]], array(['v'], dtype='<U1'))
    """

    __metadata_request__fit_resample = {"sample_domain": True}

    _parameter_constraints: dict = {
        **BaseWeighter._parameter_constraints,
        "n_select": [Interval(Integral, 1, None, closed="left"), Interval(RealNotInt, 0, 1, closed="right")],
        "weighter": [HasMethods(["fit", "predict_weights"]), None],
    }

    def __init__(self, n_select: Any = 0.5, *, weighter: Any = None, target_domain: Any = "target") -> None:
        self.n_select = n_select
        self.weighter = weighter
        self.target_domain = target_domain

    def _dense_reason(self) -> str | None:
        return inner_dense_reason(self.weighter)

    def _complete_reason(self) -> str | None:
        return inner_complete_reason(KLIEPWeighter() if self.weighter is None else self.weighter)

    def _check_table(self, X: Any, *, reset: bool) -> Any:
        return check_rows_of(self, X, self.weighter, reset=reset)

    def _fit_rows(self, X: Any, domains: Domains, y: Any) -> None:
        self.weighter_ = KLIEPWeighter() if self.weighter is None else clone(self.weighter)
        self.weighter_.set_params(target_domain=self.target_domain)
        if y is not None:
            # What the weighter never gets, it cannot read.
            y = mask_labels(as_labels(y, name="y"), domains.is_target)
        self.weighter_.fit(X, y, sample_domain=domains.names)
        weights = self.weighter_.weights_
        n = len(weights)
        n_kept = min(int(self.n_select), n) if isinstance(self.n_select, Integral) else max(1, round(self.n_select * n))
        kept = largest(weights, n_kept)
        self.threshold_ = float(weights[kept].min())
        self.sample_indices_ = domains.source_rows[kept]
        self.weights_ = np.zeros(n)
        self.weights_[kept] = n / n_kept

    def _weigh_rows(self, X: np.ndarray) -> np.ndarray:
        # A kept row met again may come out lower in its last digits.
        threshold = max((1.0 - 1e-9) * self.threshold_, np.finfo(np.float64).tiny)
        return np.where(self.weighter_.predict_weights(X) >= threshold, self.weights_.max(), 0.0)

    @fit_context(prefer_skip_nested_validation=True)
    @small_algebra
    def fit_resample(self, X: Any, y: Any, *, sample_domain: Any = None) -> tuple[Any, np.ndarray]:
        """Fit, and return the kept source rows with their labels, as samplers of imbalanced-learn do.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows of all domains.
        y : array-like of shape (n_samples,)
            Labels; without `sample_domain`, rows with a missing label (NaN, None, or -1 for integers) are the target.
        sample_domain : array-like of shape (n_samples,) or None, default=None
            Domain label of each row; rows whose label is in `target_domain` are the target, all others the source.

        Returns
        -------
        X_kept : the container of `X`, n_kept rows
            Kept source rows, in the order of `X`.
        y_kept : ndarray of shape (n_kept,)
            Their labels.

        Raises
        ------
        DomainError
            If there is no source row or no target row, or if a source row has no label.
        """
        _, domains = self._fit_domains(X, y, sample_domain)
        labels, rows = read_source_labels(as_labels(y, name="y"), domains)
        kept = np.isin(rows, self.sample_indices_)
        return take_rows(X, self.sample_indices_), labels[kept]
