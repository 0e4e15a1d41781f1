"""What the meta-estimators for classes and for numbers share: adapter on all rows, estimator on the source rows."""

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn import get_config
from sklearn.base import MetaEstimatorMixin, clone
from sklearn.pipeline import Pipeline
from sklearn.utils import TransformerTags, get_tags
from sklearn.utils.metadata_routing import MetadataRouter, MethodMapping, process_routing
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from sktransfer.adaptation._mmd import MMDAdapter
from sktransfer.adaptation._new_domain import NewDomainMixin
from sktransfer.adaptation._weighted_fit import fit_weighted
from sktransfer.domains import (
    Domains,
    as_labels,
    call_by_domain,
    check_domains,
    check_length,
    domain_parameters,
    labelled_rows,
    labels_of_fit,
    last_step,
    mask_labels,
    missing_labels,
    n_rows,
    plain_labels,
    read_source_labels,
    refuse_scoring,
    refuse_wrapper,
    take_if_per_row,
    take_rows,
)
from sktransfer.utils._compat import HasMethods, fit_context
from sktransfer.utils._missing import takes_missing
from sktransfer.utils._sparse import inner_dense_reason
from sktransfer.utils._tables import refuse_sparse
from sktransfer.utils._threads import small_algebra

__all__ = ["AdaptedMixin"]

_REQUEST = {"sample_domain": True}


def _estimator_has(attribute: str) -> Callable:
    # getattr, not hasattr: its error says what is missing.
    return lambda self: getattr(self._current("estimator"), attribute) is not None


def _adapter_has(attribute: str) -> Callable:
    return lambda self: getattr(self._current("adapter"), attribute) is not None


def _weighs(adapter: Any) -> bool:
    """Say whether this is a weighter, or a pipeline that ends in one."""
    return hasattr(last_step(adapter) if isinstance(adapter, Pipeline) else adapter, "predict_weights")


class AdaptedMixin(NewDomainMixin, MetaEstimatorMixin):
    """Everything that classification and regression share.

    Stands left of ClassifierMixin and RegressorMixin, whose ``score`` counts rows without a label.
    """

    __metadata_request__fit = _REQUEST
    __metadata_request__predict = _REQUEST
    __metadata_request__predict_proba = _REQUEST
    __metadata_request__predict_log_proba = _REQUEST
    __metadata_request__decision_function = _REQUEST
    __metadata_request__transform = _REQUEST
    __metadata_request__score = _REQUEST

    _parameter_constraints: dict = {
        "adapter": [HasMethods(["fit", "transform"]), HasMethods(["fit", "predict_weights"]), Pipeline, None],
        "use_target_labels": ["boolean"],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        estimator: Any = None,
        adapter: Any = None,
        *,
        use_target_labels: bool = False,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.estimator = estimator
        self.adapter = adapter
        self.use_target_labels = use_target_labels
        self.random_state = random_state

    @fit_context(prefer_skip_nested_validation=False)
    @small_algebra
    def fit(self, X: Any, y: Any, *, sample_domain: Any = None, **fit_params: Any) -> "AdaptedMixin":
        """Fit the adapter on all rows and the estimator on the source rows.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows of all domains; whatever the adapter takes.
        y : array-like of shape (n_samples,)
            Labels. Those of target rows are not read, unless ``use_target_labels=True``. Without `sample_domain`, rows
            with a missing label (NaN, None, or -1 for integers) are the target.
        sample_domain : array-like of shape (n_samples,) or None, default=None
            Domain label of each row; rows whose label is in the adapter's `target_domain` are the target.
        **fit_params : Any
            Passed to the estimator's ``fit``, e.g. `sample_weight`; of array-likes with n_samples entries, the entries
            of the rows it is fitted on. With metadata routing enabled, the estimator must request them.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        DomainError
            If there is no source row or no target row, or if a source row has no label.
        """
        y = labels_of_fit(y, caller=type(self).__name__)
        check_length(y, n_rows(X), name="y")
        refuse_sparse(self, X)
        self._refuse_wrapper(y, sample_domain)
        fit_params = self._route(fit_params)
        domains = self._read_domains(X, y, sample_domain)
        labels, rows = read_source_labels(y, domains)
        self._check_labels(labels)
        self.minus_one_is_missing_ = not self._holds_minus_one(labels)
        labels, rows = self._with_target_labels(y, domains, labels, rows)
        params = {name: take_if_per_row(value, rows, len(y)) for name, value in fit_params.items()}
        X_rows, weights = self._fit_adapter(X, y, domains, rows)
        self.estimator_ = self._fit_estimator(X_rows, labels, weights, params)
        self._copy_fitted()
        self._after_fit(X, y, domains, rows, labels, params)
        return self

    def _fit_estimator(self, X: Any, labels: np.ndarray, weights: np.ndarray | None, params: dict) -> Any:
        return fit_weighted(
            clone(self._default_estimator() if self.estimator is None else self.estimator),
            X,
            labels,
            weights=weights,
            fit_params=params,
            random_state=self.random_state,
        )

    def _after_fit(self, X, y, domains, rows, labels, params) -> None:
        """Give a subclass the last word on the fitted parts."""

    def _read_domains(self, X: Any, y: np.ndarray, sample_domain: Any) -> Domains:
        """Return the roles of the training rows."""
        return check_domains(sample_domain, y, target_domain=self._target_domain, n_samples=len(y))

    @property
    def _target_domain(self) -> Any:
        adapter = self._current("adapter", fitted=False)
        parts = [step for _, step in adapter.steps] if isinstance(adapter, Pipeline) else [adapter]
        return next((part.target_domain for part in parts if hasattr(part, "target_domain")), "target")

    def _dense_reason(self) -> str | None:
        adapter, estimator = (self._current(role, fitted=False) for role in ("adapter", "estimator"))
        # Behind an adapter, the estimator gets what that makes of the rows.
        return inner_dense_reason(adapter, estimator if _weighs(adapter) else None)

    def _refuse_wrapper(self, y: np.ndarray, sample_domain: Any) -> None:
        inner, adapter = (type(self._current(role, fitted=False)).__name__ for role in ("estimator", "adapter"))
        refuse_wrapper(
            self,
            y,
            sample_domain,
            target_domain=self._target_domain,
            holds_minus_one=self._holds_minus_one,
            inside=(f"{inner}()", f"{type(self).__name__}({{}}, {adapter}())"),
        )

    def _route(self, fit_params: dict) -> dict:
        misspelt = [name for name in fit_params if "domain" in name and "__" not in name]
        if misspelt:  # the estimator would be told, and its error speak of the wrong thing
            raise TypeError(
                f"{type(self).__name__}.fit got {misspelt[0]}=. The domain of each row is passed as sample_domain=; "
                "which of them are the target says the target_domain of the adapter."
            )
        if fit_params and get_config()["enable_metadata_routing"]:
            return dict(process_routing(self, "fit", **fit_params).estimator.fit)
        return fit_params

    def _with_target_labels(self, y, domains, labels, rows):
        if not self.use_target_labels:
            return labels, rows
        target_rows = domains.target_rows
        labelled = ~missing_labels(y[target_rows], minus_one=self.minus_one_is_missing_)
        rows = np.sort(np.concatenate([rows, target_rows[labelled]]))
        labels = plain_labels(y[rows])
        self._check_labels(labels)
        return labels, rows

    def _fit_adapter(self, X, y, domains, rows):
        """Return the samples the estimator is fitted on, and their weights (None for an adapter)."""
        self.adapter_ = clone(self._current("adapter", fitted=False))
        # What the adapter never gets, it cannot read.
        y = y if self.use_target_labels else mask_labels(y, domains.is_target)
        params = self._domain_parameters(domains.names)
        if not _weighs(self.adapter_):
            Z = self.adapter_.fit_transform(X, y, **params)
            return take_rows(Z, rows), None
        self.adapter_.fit(X, y, **params)
        weighter = last_step(self.adapter_) if isinstance(self.adapter_, Pipeline) else self.adapter_
        weights = np.ones(len(y))
        weights[domains.source_rows] = weighter.weights_
        return take_rows(X, rows), weights[rows]

    def _domain_parameters(self, names: np.ndarray) -> dict:
        """Return what the adapter's ``fit`` takes domain labels by."""
        if not isinstance(self.adapter_, Pipeline):
            return {"sample_domain": names}
        params = domain_parameters(self.adapter_, names)
        if not params or not (_weighs(self.adapter_) or hasattr(self.adapter_, "transform")):
            raise ValueError(
                f"No step of the pipeline given as adapter knows domains: {self.adapter_!r}. End it in "
                "an adapter or a weighter, e.g. make_pipeline(TruncatedSVD(n_components=100), CORALAdapter()) or "
                "make_pipeline(SimpleImputer(), StandardScaler(), KMMWeighter())."
            )
        return params

    def _copy_fitted(self) -> None:
        for name in ("n_features_in_", "feature_names_in_"):
            if hasattr(self.adapter_, name):
                setattr(self, name, getattr(self.adapter_, name))
            elif hasattr(self, name):
                delattr(self, name)

    def _current(self, role: str, *, fitted: bool = True) -> Any:
        """Return the fitted estimator or adapter if there is one, else the given one, else the default."""
        if fitted and hasattr(self, f"{role}_"):
            return getattr(self, f"{role}_")
        given = getattr(self, role)
        if given is not None:
            return given
        return self._default_estimator() if role == "estimator" else MMDAdapter()

    def _adapt(self, X: Any, sample_domain: Any) -> Any:
        check_is_fitted(self)
        if _weighs(self.adapter_):
            return X
        if isinstance(self.adapter_, Pipeline):
            return call_by_domain(self.adapter_, "transform", X, sample_domain)
        return self.adapter_.transform(X, sample_domain=sample_domain)

    @small_algebra
    def predict(self, X: Any, *, sample_domain: Any = None) -> np.ndarray:
        """Predict labels of rows.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows.
        sample_domain : array-like of shape (n_samples,) or None, default=None
            Domain label of each row; None takes all rows for target rows.

        Returns
        -------
        y_pred : ndarray of shape (n_samples,)
            Predicted labels.
        """
        return self._delegate("predict", X, sample_domain)

    def _delegate(self, method: str, X: Any, sample_domain: Any) -> np.ndarray:
        Z = self._adapt(X, sample_domain)
        refuse_scoring(self)
        return getattr(self.estimator_, method)(Z)

    @available_if(_estimator_has("predict_proba"))
    def predict_proba(self, X: Any, *, sample_domain: Any = None) -> np.ndarray:
        """Predict class probabilities.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows.
        sample_domain : array-like of shape (n_samples,) or None, default=None
            Domain label of each row; None takes all rows for target rows.

        Returns
        -------
        proba : ndarray of shape (n_samples, n_classes)
            As the estimator returns them.
        """
        return self._delegate("predict_proba", X, sample_domain)

    @available_if(_estimator_has("predict_log_proba"))
    def predict_log_proba(self, X: Any, *, sample_domain: Any = None) -> np.ndarray:
        """Predict logarithms of class probabilities.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows.
        sample_domain : array-like of shape (n_samples,) or None, default=None
            Domain label of each row; None takes all rows for target rows.

        Returns
        -------
        log_proba : ndarray of shape (n_samples, n_classes)
            As the estimator returns them.
        """
        return self._delegate("predict_log_proba", X, sample_domain)

    @available_if(_estimator_has("decision_function"))
    def decision_function(self, X: Any, *, sample_domain: Any = None) -> np.ndarray:
        """Return the decision values of the classes.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows.
        sample_domain : array-like of shape (n_samples,) or None, default=None
            Domain label of each row; None takes all rows for target rows.

        Returns
        -------
        decision : ndarray of shape (n_samples,) or (n_samples, n_classes)
            As the estimator returns them.
        """
        return self._delegate("decision_function", X, sample_domain)

    @available_if(_adapter_has("transform"))
    def transform(self, X: Any, *, sample_domain: Any = None) -> Any:
        """Return the adapted rows that the estimator sees.

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
        return self._adapt(X, sample_domain)

    @available_if(_adapter_has("transform"))
    def fit_transform(self, X: Any, y: Any, *, sample_domain: Any = None, **fit_params: Any) -> Any:
        """Fit and return the adapted rows, taken for what `sample_domain` says, or for target rows without it.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows of all domains.
        y : array-like of shape (n_samples,)
            Labels, as in :meth:`fit`.
        sample_domain : array-like of shape (n_samples,) or None, default=None
            Domain label of each row.
        **fit_params : Any
            As in :meth:`fit`.

        Returns
        -------
        Z : {ndarray, CSR array} of shape (n_samples, n_features_out)
            Adapted rows.
        """
        return self.fit(X, y, sample_domain=sample_domain, **fit_params).transform(X, sample_domain=sample_domain)

    @available_if(_adapter_has("get_feature_names_out"))
    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Return the names of the adapted features.

        Parameters
        ----------
        input_features : array-like of str or None, default=None
            Passed to the adapter.

        Returns
        -------
        names : ndarray of str of shape (n_features_out,)
            Names.
        """
        check_is_fitted(self)
        return self.adapter_.get_feature_names_out(input_features)

    def score(self, X: Any, y: Any, sample_weight: Any = None, *, sample_domain: Any = None) -> float:
        """Score predictions on the rows that have a label.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows.
        y : array-like of shape (n_samples,)
            Labels; rows where they are missing (NaN, None, or -1 for integers, unless -1 was a source label) are left
            out.
        sample_weight : array-like of shape (n_samples,) or None, default=None
            Weights of the rows.
        sample_domain : array-like of shape (n_samples,) or None, default=None
            Domain label of each row; None takes all rows for target rows.

        Returns
        -------
        score : float
            Accuracy of a classifier, R^2 of a regressor.

        Raises
        ------
        ValueError
            If no row has a label.
        """
        check_is_fitted(self)
        y = as_labels(y, name="y")
        rows = labelled_rows(y, minus_one=self.minus_one_is_missing_)
        if sample_domain is not None:
            sample_domain = as_labels(sample_domain, name="sample_domain")[rows]
        if sample_weight is not None:
            sample_weight = take_rows(sample_weight, rows)
        y_pred = self.predict(take_rows(X, rows), sample_domain=sample_domain)
        return self._score(plain_labels(y[rows]), y_pred, sample_weight=sample_weight)

    def get_metadata_routing(self) -> MetadataRouter:
        """Return the metadata that this estimator takes itself and passes on.

        Returns
        -------
        routing : MetadataRouter
            Requests of this estimator and of the estimator inside.
        """
        mapping = MethodMapping().add(caller="fit", callee="fit")
        router = MetadataRouter(owner=self).add_self_request(self)
        return router.add(estimator=self._current("estimator", fitted=False), method_mapping=mapping)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        adapter = self._current("adapter", fitted=False)
        adapter_tags = get_tags(adapter)
        tags.input_tags = adapter_tags.input_tags
        tags.input_tags.sparse = self._dense_reason() is None
        estimator = self._current("estimator", fitted=False)
        tags.input_tags.allow_nan = takes_missing(adapter) and (not _weighs(adapter) or takes_missing(estimator))
        if hasattr(adapter, "transform"):
            tags.transformer_tags = adapter_tags.transformer_tags or TransformerTags()
        return tags
