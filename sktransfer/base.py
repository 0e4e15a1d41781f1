"""Base classes of adapters and weighters: the domain contract, written once.

An adapter maps rows of both domains to where they agree; a weighter weighs source rows by how much the target needs
them. Both read roles through :func:`sktransfer.domains.check_domains` and leave to the subclass one method that
gets plain arrays.
"""

from abc import ABCMeta, abstractmethod
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from sktransfer.domains import (
    Domains,
    as_labels,
    check_domains,
    labelled_rows,
    n_rows,
    plain_labels,
    refuse_pipeline,
    take_rows,
)
from sktransfer.utils._compat import fit_context
from sktransfer.utils._tables import check_table_of
from sktransfer.utils._threads import small_algebra

__all__ = ["BaseAdapter", "BaseWeighter", "LabelledScoreMixin", "labelled_part"]


class _DomainEstimator(BaseEstimator):
    """Validation and roles of the rows, the same for adapters and weighters."""

    # Requested by default: `cross_validate(pipe, X, y, params={"sample_domain": d})` reaches every step by itself.
    __metadata_request__fit = {"sample_domain": True}

    _parameter_constraints: dict = {"target_domain": "no_validation"}

    def _read_domains(self, X: Any, y: Any, sample_domain: Any) -> Domains:
        """Return the roles of the training rows."""
        return check_domains(sample_domain, y, target_domain=self.target_domain, n_samples=n_rows(X))

    def _fit_domains(self, X: Any, y: Any, sample_domain: Any) -> tuple[np.ndarray, Domains]:
        X = self._check_table(X, reset=True)
        domains = self._read_domains(X, y, sample_domain)
        self.source_domains_ = list(domains.source_names)
        self._fit_rows(X, domains, y)
        return X, domains

    def _check_rows(self, X: Any) -> np.ndarray:
        check_is_fitted(self)
        return self._check_table(X, reset=False)

    def _check_table(self, X: Any, *, reset: bool) -> Any:
        return check_table_of(
            self, X, reset=reset, min_rows=2 if reset else 1, allow_nan=self._complete_reason() is None
        )

    def _complete_reason(self) -> str | None:
        """Say why the parameters as they are allow no missing values; None where they allow them.

        Tag and error are made of it.
        """
        return "it computes with every entry of X"

    def _dense_reason(self) -> str | None:
        """Say why the parameters as they are allow no sparse matrix; None where they allow it.

        Tag and error are made of it. A subclass that takes a CSR array wherever an ndarray comes overrides it.
        """
        return "it computes with every entry of X"

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = False
        tags.input_tags.sparse = self._dense_reason() is None
        tags.input_tags.allow_nan = self._complete_reason() is None
        return tags


class BaseAdapter(ClassNamePrefixFeaturesOutMixin, TransformerMixin, _DomainEstimator, metaclass=ABCMeta):
    """Base of all feature-level adapters.

    A subclass stores its parameters, `target_domain` among them, and writes `_fit_rows(X, domains, y)`, which learns
    the map and sets `n_features_out_`, and `_transform_rows(X, is_target)`, which applies it. A method that gives its
    training rows another image than the same rows met later also overrides `_adapt_training_rows`; one that tells
    several source domains apart overrides `_transform_domains`. `y` reaches `_fit_rows` as the caller gave it; only
    its source rows may be read.
    """

    __metadata_request__transform = {"sample_domain": True}

    @abstractmethod
    def _fit_rows(self, X: np.ndarray, domains: Domains, y: Any) -> None:
        """Learn the map from validated rows."""

    @abstractmethod
    def _transform_rows(self, X: np.ndarray, is_target: np.ndarray) -> np.ndarray:
        """Map validated rows; `is_target` says which are target rows."""

    def _transform_domains(self, X: np.ndarray, domains: Domains | None) -> np.ndarray:
        """Map validated rows; without `domains`, all are target rows."""
        return self._transform_rows(X, np.ones(X.shape[0], dtype=bool) if domains is None else domains.is_target)

    def _adapt_training_rows(self, X: np.ndarray, domains: Domains) -> np.ndarray:
        return self._transform_domains(X, domains)

    @fit_context(prefer_skip_nested_validation=True)
    @small_algebra
    def fit(self, X: Any, y: Any = None, *, sample_domain: Any = None) -> "BaseAdapter":
        """Learn the map from source and target rows.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows of all domains. Who takes no sparse matrix says why, and what to put before.
        y : array-like of shape (n_samples,) or None, default=None
            Labels; without `sample_domain`, rows with a missing label (NaN, None, or -1 for integers) are the target.
        sample_domain : array-like of shape (n_samples,) or None, default=None
            Domain label of each row; rows whose label is in `target_domain` are the target, all others the source.

        Returns
        -------
        self : object
            The fitted adapter.

        Raises
        ------
        DomainError
            If there is no source row or no target row.
        """
        self._fit_domains(X, y, sample_domain)
        return self

    @fit_context(prefer_skip_nested_validation=True)
    @small_algebra
    def fit_transform(self, X: Any, y: Any = None, *, sample_domain: Any = None) -> np.ndarray:
        """Learn the map and return the adapted training rows, each as what it is: source or target.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows of all domains.
        y : array-like of shape (n_samples,) or None, default=None
            Labels, as in :meth:`fit`.
        sample_domain : array-like of shape (n_samples,) or None, default=None
            Domain label of each row, as in :meth:`fit`.

        Returns
        -------
        Z : {ndarray, CSR array} of shape (n_samples, n_features_out)
            Adapted rows, in the order of `X`; what comes of a sparse matrix say the notes of the class.
        """
        refuse_pipeline(self, y, sample_domain)
        X, domains = self._fit_domains(X, y, sample_domain)
        return self._adapt_training_rows(X, domains)

    @small_algebra
    def transform(self, X: Any, *, sample_domain: Any = None) -> np.ndarray:
        """Map rows; new rows need no refitting.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows.
        sample_domain : array-like of shape (n_samples,) or None, default=None
            Domain label of each row; None takes all rows for target rows.

        Returns
        -------
        Z : {ndarray, CSR array} of shape (n_samples, n_features_out)
            Adapted rows.
        """
        X = self._check_rows(X)
        domains = None
        if sample_domain is not None:
            domains = check_domains(
                sample_domain, target_domain=self.target_domain, n_samples=X.shape[0], require_both=False
            )
        return self._transform_domains(X, domains)

    @property
    def _n_features_out(self) -> int:
        return self.n_features_out_

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


class BaseWeighter(_DomainEstimator, metaclass=ABCMeta):
    """Base of all instance weighters.

    A subclass stores its parameters, `target_domain` among them, and writes `_fit_rows(X, domains, y)`, which sets
    `weights_`, one weight for each source row in the order of the rows, and `_weigh_rows(X)` for new source rows.
    """

    @abstractmethod
    def _fit_rows(self, X: np.ndarray, domains: Domains, y: Any) -> None:
        """Learn the weights from validated rows."""

    @abstractmethod
    def _weigh_rows(self, X: np.ndarray) -> np.ndarray:
        """Weigh validated source rows that were not in the training data."""

    @fit_context(prefer_skip_nested_validation=True)
    @small_algebra
    def fit(self, X: Any, y: Any = None, *, sample_domain: Any = None) -> "BaseWeighter":
        """Weigh the source rows by how much they look like target rows.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows of all domains. Who takes no sparse matrix says why, and what to put before.
        y : array-like of shape (n_samples,) or None, default=None
            Labels; without `sample_domain`, rows with a missing label (NaN, None, or -1 for integers) are the target.
        sample_domain : array-like of shape (n_samples,) or None, default=None
            Domain label of each row; rows whose label is in `target_domain` are the target, all others the source.

        Returns
        -------
        self : object
            The fitted weighter, its ``weights_`` in the order of the source rows.

        Raises
        ------
        DomainError
            If there is no source row or no target row.
        """
        self._fit_domains(X, y, sample_domain)
        return self

    @small_algebra
    def predict_weights(self, X: Any) -> np.ndarray:
        """Weigh source rows that were not in the training data.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Source rows.

        Returns
        -------
        weights : ndarray of shape (n_samples,)
            Non-negative weights.
        """
        return self._weigh_rows(self._check_rows(X))


class LabelledScoreMixin:
    """Stands left of ClassifierMixin and RegressorMixin, whose ``score`` counts rows without a label.

    The estimator has learned in ``minus_one_is_missing_`` whether -1 marks a missing label.
    """

    minus_one_is_missing_: bool

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Score predictions on the rows that have a label: accuracy of classes, R^2 of numbers.

        Parameters
        ----------
        X : pictures or array-like of shape (n_samples, n_features)
            Samples.
        y : array-like of shape (n_samples,)
            Labels; rows where they are missing (NaN, None, or -1 for integers, unless -1 was a source label) are left
            out.
        sample_weight : array-like of shape (n_samples,) or None, default=None
            Weights of the rows.

        Returns
        -------
        float
            The score.

        Raises
        ------
        ValueError
            If no row has a label.
        """
        return super().score(*labelled_part(self, X, y, sample_weight))  # type: ignore[misc]  # of ClassifierMixin, say


def labelled_part(estimator: Any, X: Any, y: Any, sample_weight: Any) -> tuple[Any, np.ndarray, np.ndarray | None]:
    """Give the rows that have a label, by ``minus_one_is_missing_`` of a fitted estimator, to score on."""
    check_is_fitted(estimator)
    y = as_labels(y, name="y")
    rows = labelled_rows(y, minus_one=estimator.minus_one_is_missing_)
    weights = None if sample_weight is None else np.asarray(sample_weight)[rows]
    return take_rows(X, rows), plain_labels(y[rows]), weights
