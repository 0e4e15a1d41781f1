"""Scorers that read nothing but the predicted probabilities of target rows."""

from abc import abstractmethod
from numbers import Real
from typing import Any

import numpy as np

from sktransfer.domains import Domains, take_rows
from sktransfer.metrics import (
    class_confusion_score,
    information_maximization_score,
    prediction_entropy_score,
    soft_neighborhood_density_score,
)
from sktransfer.model_selection._responses import class_probabilities
from sktransfer.model_selection._scorers import DomainScorer
from sktransfer.utils._compat import Interval

__all__ = [
    "ClassConfusionScorer",
    "InformationMaximizationScorer",
    "PredictionEntropyScorer",
    "SoftNeighborhoodDensityScorer",
]


class _ProbabilityScorer(DomainScorer):
    """Scores the probabilities of target rows; a subclass writes `_score_proba(proba)`."""

    _needs_source = False

    def _score(self, estimator: Any, X: Any, y: np.ndarray | None, domains: Domains) -> float:
        return self._score_proba(class_probabilities(estimator, take_rows(X, domains.target_rows)))

    @abstractmethod
    def _score_proba(self, proba: np.ndarray) -> float:
        """Return the score of probabilities of shape (n_target, n_classes)."""


class PredictionEntropyScorer(_ProbabilityScorer):
    """Score a classifier by how certain it is of target rows: minus the mean entropy of its predictions [1]_.

    Called as ``scorer(estimator, X, y, sample_domain=...)``; reads ``predict_proba`` of target rows, or a softmax of
    ``decision_function`` where there is none, and no label.

    Parameters
    ----------
    target_domain : label or list of labels, default="target"
        Which labels of `sample_domain` are the target; the same as that of the estimator.

    See Also
    --------
    prediction_entropy_score : The formula.
    InformationMaximizationScorer : Does not reward predicting one class for all rows.

    References
    ----------
    .. [1] P. Morerio, J. Cavazza, V. Murino, "Minimal-Entropy Correlation Alignment for Unsupervised Deep Domain
       Adaptation", ICLR 2018.

    Examples
    --------
    >>> from sktransfer import AdaptedClassifier, PredictionEntropyScorer, make_domain_shift
    >>> X, y, sample_domain = make_domain_shift(random_state=0)
    >>> model = AdaptedClassifier().fit(X, y, sample_domain=sample_domain)
    >>> PredictionEntropyScorer()(model, X, sample_domain=sample_domain) < 0
    True
    """

    def __init__(self, *, target_domain: Any = "target") -> None:
        self.target_domain = target_domain

    def _score_proba(self, proba: np.ndarray) -> float:
        return prediction_entropy_score(proba)


class InformationMaximizationScorer(_ProbabilityScorer):
    """Score a classifier by the mutual information of target rows and their predicted classes [1]_.

    Called as ``scorer(estimator, X, y, sample_domain=...)``; reads ``predict_proba`` of target rows, or a softmax of
    ``decision_function`` where there is none, and no label.

    Parameters
    ----------
    target_domain : label or list of labels, default="target"
        Which labels of `sample_domain` are the target; the same as that of the estimator.

    See Also
    --------
    information_maximization_score : The formula.
    ClassConfusionScorer : Rewards the same, bounded by one.

    References
    ----------
    .. [1] Y. Shi, F. Sha, "Information-Theoretical Learning of Discriminative Clusters for Unsupervised Domain
       Adaptation", ICML 2012.

    Examples
    --------
    >>> from sktransfer import AdaptedClassifier, InformationMaximizationScorer, make_domain_shift
    >>> X, y, sample_domain = make_domain_shift(random_state=0)
    >>> model = AdaptedClassifier().fit(X, y, sample_domain=sample_domain)
    >>> 0 < InformationMaximizationScorer()(model, X, sample_domain=sample_domain) < 0.7
    True
    """

    def __init__(self, *, target_domain: Any = "target") -> None:
        self.target_domain = target_domain

    def _score_proba(self, proba: np.ndarray) -> float:
        return information_maximization_score(proba)


class SoftNeighborhoodDensityScorer(_ProbabilityScorer):
    """Score a classifier by how near target rows are to each other in the space of its predictions [1]_.

    Called as ``scorer(estimator, X, y, sample_domain=...)``; reads ``predict_proba`` of target rows, or a softmax of
    ``decision_function`` where there is none, and no label.

    Parameters
    ----------
    temperature : float, default=0.05
        The smaller, the nearer neighbours must be to count; positive.
    target_domain : label or list of labels, default="target"
        Which labels of `sample_domain` are the target; the same as that of the estimator.

    See Also
    --------
    soft_neighborhood_density_score : The formula.

    Notes
    -----
    Folds must have the same number of target rows, or nearly so: the score grows with it.

    References
    ----------
    .. [1] K. Saito, D. Kim, P. Teterwak, S. Sclaroff, T. Darrell, K. Saenko, "Tune it the Right Way: Unsupervised
       Validation of Domain Adaptation via Soft Neighborhood Density", ICCV 2021.

    Examples
    --------
    >>> from sktransfer import AdaptedClassifier, SoftNeighborhoodDensityScorer, make_domain_shift
    >>> X, y, sample_domain = make_domain_shift(random_state=0)
    >>> model = AdaptedClassifier().fit(X, y, sample_domain=sample_domain)
    >>> 0 < SoftNeighborhoodDensityScorer()(model, X, sample_domain=sample_domain) < 4.6
    True
    """

    _parameter_constraints: dict = {
        **DomainScorer._parameter_constraints,
        "temperature": [Interval(Real, 0, None, closed="neither")],
    }

    def __init__(self, *, temperature: float = 0.05, target_domain: Any = "target") -> None:
        self.temperature = temperature
        self.target_domain = target_domain

    def _score_proba(self, proba: np.ndarray) -> float:
        return soft_neighborhood_density_score(proba, temperature=self.temperature)


class ClassConfusionScorer(_ProbabilityScorer):
    """Score a classifier by how little it confuses classes in the target, and how evenly it predicts them [1]_.

    Called as ``scorer(estimator, X, y, sample_domain=...)``; reads ``predict_proba`` of target rows, or a softmax of
    ``decision_function`` where there is none, and no label. Known as Corr-C and as SoftmaxCorr.

    Parameters
    ----------
    target_domain : label or list of labels, default="target"
        Which labels of `sample_domain` are the target; the same as that of the estimator.

    See Also
    --------
    class_confusion_score : The formula.
    InformationMaximizationScorer : Rewards the same, in nats.

    References
    ----------
    .. [1] W. Tu, W. Deng, L. Zheng, T. Gedeon, "What Does Softmax Probability Tell Us about Classifiers Ranking Across
       Diverse Test Conditions?", Transactions on Machine Learning Research, 2024.

    Examples
    --------
    >>> from sktransfer import AdaptedClassifier, ClassConfusionScorer, make_domain_shift
    >>> X, y, sample_domain = make_domain_shift(random_state=0)
    >>> model = AdaptedClassifier().fit(X, y, sample_domain=sample_domain)
    >>> 0.7 < ClassConfusionScorer()(model, X, sample_domain=sample_domain) < 1
    True
    """

    def __init__(self, *, target_domain: Any = "target") -> None:
        self.target_domain = target_domain

    def _score_proba(self, proba: np.ndarray) -> float:
        return class_confusion_score(proba)
