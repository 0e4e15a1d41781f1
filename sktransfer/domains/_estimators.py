"""How estimators, and those inside of them, take domains."""

import inspect
from typing import Any

import numpy as np
from sklearn import get_config
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import has_fit_parameter

from sktransfer.domains._domains import Domains, read_source_labels
from sktransfer.domains._rows import take_rows

__all__ = ["call_by_domain", "domain_parameters", "fit_on_domains", "last_step"]


def domain_parameters(estimator: Any, names: np.ndarray) -> dict:
    """Return the parameters by which ``estimator.fit`` takes domain labels; none if it takes no domains.

    Parameters
    ----------
    estimator : estimator
        A scikit-learn estimator; of a pipeline every step that takes domains gets them, of a meta-estimator
        such as a search its estimator.
    names : ndarray of shape (n_samples,)
        Domain label of each row.

    Returns
    -------
    dict
        Parameters for ``fit``.
    """
    if isinstance(estimator, Pipeline):
        inner = {
            f"{step}__{parameter}": value
            for step, part in estimator.steps
            if hasattr(part, "fit")
            for parameter, value in domain_parameters(part, names).items()
        }
        # With metadata routing a pipeline takes one and passes it to the steps that request it.
        return {"sample_domain": names} if inner and get_config()["enable_metadata_routing"] else inner
    if has_fit_parameter(estimator, "sample_domain"):
        return {"sample_domain": names}
    # A search or a calibration passes on what it does not take itself.
    kinds = {parameter.kind for parameter in inspect.signature(estimator.fit).parameters.values()}
    passes_on = inspect.Parameter.VAR_KEYWORD in kinds and hasattr(estimator, "estimator")
    return domain_parameters(estimator.estimator, names) if passes_on else {}


def fit_on_domains(estimator: Any, X: Any, y: np.ndarray, domains: Domains) -> Any:
    """Fit an estimator that takes domains on all rows, any other on the source rows.

    Parameters
    ----------
    estimator : estimator
        Fitted in place.
    X : samples
        Rows of all domains.
    y : ndarray of shape (n_samples,)
        Labels. An estimator that takes domains gets them as they are, so that labels of target rows must be missing
        unless it may read them.
    domains : Domains
        Roles of the rows.

    Returns
    -------
    estimator : estimator
        The same.
    """
    parameters = domain_parameters(estimator, domains.names)
    if parameters:
        return estimator.fit(X, y, **parameters)
    labels, rows = read_source_labels(y, domains)
    return estimator.fit(take_rows(X, rows), labels)


def call_by_domain(estimator: Any, method: str, X: Any, names: np.ndarray) -> Any:
    """Call a method with the domain labels of the rows, as far as the estimator or its parts take them.

    Parameters
    ----------
    estimator : estimator
        Fitted. Of a pipeline every step that takes domain labels gets them, of a search its best estimator.
    method : str
        One that takes rows: ``"predict"``, ``"transform"``, ...
    X : samples
        Rows.
    names : ndarray of shape (n_samples,) or None
        Their domain labels; None leaves the rows for what each step takes them for, target rows.

    Returns
    -------
    result : Any
        What the method returns; where nothing takes domain labels, all rows are what it takes them for, target rows.
    """
    if isinstance(estimator, Pipeline):
        # Step by step: a pipeline passes nothing to its transformers but by metadata routing, which may be off.
        for _, step in estimator.steps[:-1]:
            if step is not None and step != "passthrough":
                X = call_by_domain(step, "transform", X, names)
        last = last_step(estimator)
        return X if last is None and method == "transform" else call_by_domain(last, method, X, names)
    bound = getattr(estimator, method)
    if names is not None and "sample_domain" in inspect.signature(bound).parameters:
        return bound(X, sample_domain=names)
    if hasattr(estimator, "best_estimator_"):
        return call_by_domain(estimator.best_estimator_, method, X, names)
    return bound(X)


def last_step(pipeline: Pipeline) -> Any:
    """Return the last step of a pipeline, None where it passes its rows through."""
    last = pipeline.steps[-1][1]
    return None if isinstance(last, str) else last
