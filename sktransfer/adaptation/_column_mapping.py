"""Tables of other columns: what a domain did not measure, predicted by what both did."""

from typing import Any

import numpy as np
from sklearn.base import OneToOneFeatureMixin, clone
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.utils.multiclass import type_of_target

from sktransfer.base import BaseAdapter
from sktransfer.domains import Domains, as_labels, check_length, missing_labels, plain_labels, read_source_labels
from sktransfer.exceptions import DomainError
from sktransfer.utils._compat import EstimatorOf
from sktransfer.utils._deviations import ColumnScaler

__all__ = ["ColumnMap", "ColumnMappingAdapter"]

_ALPHAS = np.logspace(-2, 4, 7)


class ColumnMap:
    """Predict columns that only one role has for the rows of the other.

    Parameters
    ----------
    estimator : regressor
        Predicts several columns at once; cloned.
    known : ndarray of shape (n_samples, n_known)
        Columns that rows of both roles have, or the labels as columns.
    columns : ndarray of shape (n_samples, n_columns)
        What is to be predicted, in the same rows.
    """

    def __init__(self, estimator: Any, known: np.ndarray, columns: np.ndarray) -> None:
        self.n_columns = columns.shape[1]
        self.regressor = clone(estimator).fit(known, columns if self.n_columns > 1 else columns[:, 0])

    def __call__(self, known: np.ndarray) -> np.ndarray:
        """Predict from what rows have, shape (n_samples, n_columns)."""
        return np.asarray(self.regressor.predict(known), dtype=np.float64).reshape(len(known), self.n_columns)


class ColumnMappingAdapter(OneToOneFeatureMixin, BaseAdapter):
    """Fill the columns that a domain lacks, for source and target tables of which only some columns agree.

    One clinic has other tests than the next. Missing blocks, as :func:`pack_domains` makes them of two frames, are
    filled by regression on the common columns [1]_: columns of the source alone in target rows, by what source rows
    teach, and columns of the target alone in source rows, by what target rows teach. Common columns stay as they are.
    The estimator behind learns from complete rows of all columns.

    Where no column is common, labels of some target rows can connect the tables (``use_target_labels=True``): what the
    label says of a missing column is predicted by the columns that a row has.

    Parameters
    ----------
    estimator : regressor or None, default=None
        Predicts missing columns, several at once. None takes a ridge regression on standardised columns, its strength
        by rows left out.
    use_target_labels : bool, default=False
        Whether labels of target rows are read where no column is common. Set the parameter of this name of
        :class:`AdaptedClassifier` too, which otherwise keeps them from all that is in it.
    target_domain : label or list of labels, default="target"
        Which labels of `sample_domain` are the target; all others are sources, taken together as one.

    Attributes
    ----------
    common_columns_ : ndarray of int
        Positions of the columns of which both source and target rows hold values.
    source_columns_ : ndarray of int
        Positions of those of source rows alone.
    target_columns_ : ndarray of int
        Positions of those of target rows alone.
    means_ : ndarray of shape (2, n_features)
        Means over source rows and over target rows, which fill single missing values of common columns; zero where
        there is no value.
    n_features_out_ : int
        Number of features, as many as came in.
    source_domains_ : list
        Names of the source domains.
    n_features_in_ : int
        Number of features seen in fit.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of features seen in fit, where all are strings.

    See Also
    --------
    sktransfer.pack_domains : Makes the table with missing blocks of two frames.
    MMDAdapter : Brings domains together that have the same columns; may follow in a pipeline.

    Notes
    -----
    Scale columns before, not after: :class:`~sklearn.preprocessing.StandardScaler` passes missing values on. Behind the
    adapter it would take the small spread of filled columns for their scale.

    A pandas frame given to :meth:`transform` may lack columns that were seen in ``fit``: new target rows come as they
    are. A column that no row holds a value of is zero.

    Filled columns hold no more than the regression knows, and their spread is less than that of measured ones. A
    predicted column is no measurement: do not read coefficients of the estimator behind as effects.

    References
    ----------
    .. [1] P. Wei, Y. Ke, C. K. Goh, "A General Domain Specific Feature Transfer Framework for Hybrid Domain
       Adaptation", IEEE Transactions on Knowledge and Data Engineering 31(8), 2019.

    Examples
    --------
    >>> import pandas as pd
    >>> from sktransfer import ColumnMappingAdapter, pack_domains
    >>> source = pd.DataFrame({"pulse": [60.0, 70.0, 80.0, 90.0], "pressure": [110.0, 120.0, 130.0, 140.0]})
    >>> target = pd.DataFrame({"pulse": [65.0, 85.0], "oxygen": [0.99, 0.95]})
    >>> X, y, sample_domain = pack_domains(source=(source, [0, 0, 1, 1]), target=target)
    >>> adapter = ColumnMappingAdapter().fit(X, sample_domain=sample_domain)
    >>> adapter.transform(target).round()
    array([[ 65., 115.,   1.],
           [ 85., 135.,   1.]])
    """

    _parameter_constraints: dict = {
        **BaseAdapter._parameter_constraints,
        "estimator": [EstimatorOf(("regressor",)), None],
        "use_target_labels": ["boolean"],
    }

    def __init__(
        self, estimator: Any = None, *, use_target_labels: bool = False, target_domain: Any = "target"
    ) -> None:
        self.estimator = estimator
        self.use_target_labels = use_target_labels
        self.target_domain = target_domain

    def _complete_reason(self) -> str | None:
        return None

    def _check_table(self, X: Any, *, reset: bool) -> Any:
        names = getattr(self, "feature_names_in_", None)
        if not reset and names is not None and hasattr(X, "reindex") and set(X.columns) < set(names):
            X = X.reindex(columns=names)
        return super()._check_table(X, reset=reset)

    def _fit_rows(self, X: np.ndarray, domains: Domains, y: Any) -> None:
        known = ~np.isnan(X)
        source, target = domains.source_rows, domains.target_rows
        by_source, by_target = known[source].any(axis=0), known[target].any(axis=0)
        self.common_columns_ = np.flatnonzero(by_source & by_target)
        self.source_columns_ = np.flatnonzero(by_source & ~by_target)
        self.target_columns_ = np.flatnonzero(by_target & ~by_source)
        self.n_features_out_ = X.shape[1]
        self.means_ = np.stack([_means(X[rows]) for rows in (source, target)])
        F = self._filled(X.astype(np.float64, copy=False), domains.is_target)
        if len(self.common_columns_):
            common = F[:, self.common_columns_]
            pairs = ((target, self.target_columns_), (source, self.source_columns_))
            self._maps_ = tuple(self._map(common[rows], F[np.ix_(rows, columns)]) for rows, columns in pairs)
        else:
            self._maps_ = self._maps_by_label(F, y, domains)

    def _map(self, known: np.ndarray, columns: np.ndarray) -> ColumnMap | None:
        if not columns.shape[1]:
            return None
        estimator = self.estimator
        if estimator is None:
            estimator = make_pipeline(ColumnScaler(), RidgeCV(_ALPHAS, alpha_per_target=columns.shape[1] > 1))
        return ColumnMap(estimator, known, columns)

    def _maps_by_label(self, F: np.ndarray, y: Any, domains: Domains) -> tuple:
        """Return what fills columns of the target in source rows and those of the source in target rows."""
        rows: tuple = ((), ())
        if self.use_target_labels:
            shown, rows = self._labels(y, domains)
        if min(map(len, rows)) < 2:
            raise DomainError(
                "Nothing connects source and target: no column holds values in rows of both, and "
                + ("fewer than two target rows have a label" if self.use_target_labels else "no target label is read")
                + ". Name columns that mean the same alike before pack_domains, or label target rows and set "
                "use_target_labels=True (in AdaptedClassifier or AdaptedRegressor, too)."
            )
        own, maps = (self.source_columns_, self.target_columns_), []
        for role in (0, 1):
            labelled, columns = rows[1 - role], own[1 - role]
            by_label = self._map(shown[labelled], F[np.ix_(labelled, columns)])
            # What the label says of the columns of the other role, as far as the own ones tell the label.
            expected = by_label(shown[rows[role]]) if by_label is not None else np.empty((len(rows[role]), 0))
            maps.append(self._map(F[np.ix_(rows[role], own[role])], expected))
        return tuple(maps)

    def _labels(self, y: Any, domains: Domains) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
        """Return labels as columns, and the rows of source and target that have one."""
        if y is None:
            raise ValueError("use_target_labels=True requires y to be passed, but the target y is None.")
        y = as_labels(y, name="y")
        check_length(y, len(domains.is_target), name="y")
        of_source, source = read_source_labels(y, domains)
        target = domains.target_rows
        target = target[~missing_labels(y[target], minus_one=-1 not in of_source.tolist())]
        labels = plain_labels(y[np.concatenate([source, target])])
        if type_of_target(labels) == "continuous":
            shown = labels[:, np.newaxis].astype(np.float64)
        else:
            shown = (labels[:, np.newaxis] == np.unique(labels)).astype(np.float64)
        indicators = np.zeros((len(y), shown.shape[1]))
        indicators[np.concatenate([source, target])] = shown
        return indicators, (source, target)

    def _filled(self, X: np.ndarray, is_target: np.ndarray) -> np.ndarray:
        """Return `X` with means of the role in place of what is missing."""
        return np.where(np.isnan(X), self.means_[is_target.astype(int)], X)

    def _transform_rows(self, X: np.ndarray, is_target: np.ndarray) -> np.ndarray:
        F = self._filled(X.astype(np.float64, copy=False), is_target)
        own = self.source_columns_, self.target_columns_
        for role, column_map in enumerate(self._maps_):
            rows, columns = np.flatnonzero(is_target == bool(role)), own[1 - role]
            if column_map is None or not len(rows):
                continue
            known = self.common_columns_ if len(self.common_columns_) else own[role]
            predicted, given = column_map(F[np.ix_(rows, known)]), X[np.ix_(rows, columns)]
            F[np.ix_(rows, columns)] = np.where(np.isnan(given), predicted, given)
        return F.astype(X.dtype, copy=False)


def _means(X: np.ndarray) -> np.ndarray:
    known = ~np.isnan(X)
    return np.where(known, X, 0.0).sum(axis=0, dtype=np.float64) / np.maximum(known.sum(axis=0), 1)
