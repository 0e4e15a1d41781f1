"""Domain-adaptation estimators for scikit-learn's checks, and test doubles of weighters.

The checks call ``fit(X, y)`` without domains. The subclasses here read two rows as source then, the next two as target,
and so on, so that the checks run the real code; the public classes never invent a domain.
"""

from importlib.util import find_spec

import numpy as np
from scipy import sparse
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.tree import DecisionTreeClassifier

from sktransfer.adaptation import (
    AdaptedClassifier,
    AdaptedRegressor,
    ColumnMappingAdapter,
    CORALAdapter,
    DomainStandardizer,
    EasyTLClassifier,
    FeatureAugmentationAdapter,
    GFKAdapter,
    MEDAClassifier,
    MMDAdapter,
    OTAdapter,
    SubspaceAlignmentAdapter,
)
from sktransfer.base import BaseWeighter
from sktransfer.domains import check_domains
from sktransfer.weighting import (
    DomainClassifierWeighter,
    KLIEPWeighter,
    KMMWeighter,
    LabelShiftWeighter,
    NearestNeighborWeighter,
    RuLSIFWeighter,
    SourceSelector,
    TrAdaBoostClassifier,
    TrAdaBoostRegressor,
    WeightedConformalClassifier,
    WeightedConformalRegressor,
)


def two_and_two(n_samples):
    """Source, source, target, target, ...; some checks alternate the classes, and the source needs both."""
    return np.where(np.arange(n_samples) // 2 % 2 == 0, "source", "target")


class _DomainSupplied:
    """Left of a public class: where a check gives no domain, half of the rows are target."""

    def _read_domains(self, X, y, sample_domain):
        if sample_domain is None:
            target = getattr(self, "target_domain", "target")
            sample_domain = np.where(two_and_two(X.shape[0]) == "target", target, "source")
        domains = super()._read_domains(X, y, sample_domain)
        self._source_rows = X[domains.source_rows]
        return domains

    def _transform_domains(self, X, domains):
        if domains is None:
            # What the row was in fit, so that fit_transform and transform of all rows, some or one can be compared.
            rows, known = (Z.toarray() if sparse.issparse(Z) else Z for Z in (X, self._source_rows))
            was_source = (rows[:, np.newaxis] == known).all(axis=2).any(axis=1)
            domains = check_domains(
                np.where(was_source, "source", "target"),
                target_domain="target",
                n_samples=len(rows),
                require_both=False,
            )
        return super()._transform_domains(X, domains)


class CheckedMMDAdapter(_DomainSupplied, MMDAdapter):
    """MMDAdapter for scikit-learn's checks."""


class MeanShiftWeighter(BaseWeighter):
    """Test double: weighs source rows by a Gaussian around the mean of the target rows."""

    def __init__(self, *, target_domain="target"):
        self.target_domain = target_domain

    def _fit_rows(self, X, domains, y):
        self.center_ = X[domains.target_rows].mean(axis=0)
        self.scale_ = X.std() + 1e-12
        self.weights_ = self._weigh_rows(X[domains.source_rows])

    def _weigh_rows(self, X):
        distance = np.mean(((X - self.center_) / self.scale_) ** 2, axis=1)
        return np.exp(-np.minimum(distance, 50.0) / 2)


class CheckedWeighter(_DomainSupplied, MeanShiftWeighter):
    """The weighter base class for scikit-learn's checks."""


class _AdaptedDomainSupplied:
    """Left of a meta-estimator: as above."""

    def _read_domains(self, X, y, sample_domain):
        if sample_domain is None:
            sample_domain = two_and_two(len(y))
        return super()._read_domains(X, y, sample_domain)


class CheckedAdaptedClassifier(_AdaptedDomainSupplied, AdaptedClassifier):
    """AdaptedClassifier for scikit-learn's checks."""


class CheckedAdaptedRegressor(_AdaptedDomainSupplied, AdaptedRegressor):
    """AdaptedRegressor for scikit-learn's checks."""


class CheckedKMMWeighter(_DomainSupplied, KMMWeighter):
    """KMMWeighter for scikit-learn's checks."""


class CheckedKLIEPWeighter(_DomainSupplied, KLIEPWeighter):
    """KLIEPWeighter for scikit-learn's checks."""


class CheckedRuLSIFWeighter(_DomainSupplied, RuLSIFWeighter):
    """RuLSIFWeighter for scikit-learn's checks."""


class CheckedDomainClassifierWeighter(_DomainSupplied, DomainClassifierWeighter):
    """DomainClassifierWeighter for scikit-learn's checks."""


class CheckedNearestNeighborWeighter(_DomainSupplied, NearestNeighborWeighter):
    """NearestNeighborWeighter for scikit-learn's checks."""


class CheckedSourceSelector(_DomainSupplied, SourceSelector):
    """SourceSelector for scikit-learn's checks."""


class CheckedLabelShiftWeighter(_DomainSupplied, LabelShiftWeighter):
    """LabelShiftWeighter for scikit-learn's checks."""


class CheckedTrAdaBoostClassifier(_DomainSupplied, TrAdaBoostClassifier):
    """TrAdaBoostClassifier for scikit-learn's checks."""


class CheckedTrAdaBoostRegressor(_DomainSupplied, TrAdaBoostRegressor):
    """TrAdaBoostRegressor for scikit-learn's checks."""


class CheckedWeightedConformalClassifier(_AdaptedDomainSupplied, WeightedConformalClassifier):
    """WeightedConformalClassifier for scikit-learn's checks."""


class CheckedWeightedConformalRegressor(_AdaptedDomainSupplied, WeightedConformalRegressor):
    """WeightedConformalRegressor for scikit-learn's checks."""


class CheckedCORALAdapter(_DomainSupplied, CORALAdapter):
    """CORALAdapter for scikit-learn's checks."""


class CheckedColumnMappingAdapter(_DomainSupplied, ColumnMappingAdapter):
    """ColumnMappingAdapter for scikit-learn's checks."""


class CheckedDomainStandardizer(_DomainSupplied, DomainStandardizer):
    """DomainStandardizer for scikit-learn's checks."""


class CheckedEasyTLClassifier(_DomainSupplied, EasyTLClassifier):
    """EasyTLClassifier for scikit-learn's checks."""


class CheckedFeatureAugmentationAdapter(_DomainSupplied, FeatureAugmentationAdapter):
    """FeatureAugmentationAdapter for scikit-learn's checks."""


class CheckedGFKAdapter(_DomainSupplied, GFKAdapter):
    """GFKAdapter for scikit-learn's checks."""


class CheckedMEDAClassifier(_DomainSupplied, MEDAClassifier):
    """MEDAClassifier for scikit-learn's checks."""


class CheckedOTAdapter(_DomainSupplied, OTAdapter):
    """OTAdapter for scikit-learn's checks."""


class CheckedSubspaceAlignmentAdapter(_DomainSupplied, SubspaceAlignmentAdapter):
    """SubspaceAlignmentAdapter for scikit-learn's checks."""


ESTIMATORS = [
    CheckedMMDAdapter(),
    CheckedMMDAdapter(kernel="rbf"),
    CheckedMMDAdapter(kernel="poly", degree=2, mu=10.0),
    CheckedMMDAdapter(conditional=0.5, n_iter=3),
    CheckedMMDAdapter(kernel="primal", conditional="auto", n_iter=2),
    CheckedMMDAdapter(kernel="rbf", solver="nystroem", n_landmarks=20, conditional=1.0, class_weighting=True),
    CheckedCORALAdapter(),
    CheckedCORALAdapter(reg=0.0, shrinkage="auto", align_means=True),
    CheckedSubspaceAlignmentAdapter(),
    CheckedGFKAdapter(),
    CheckedDomainStandardizer(),
    CheckedColumnMappingAdapter(),
    CheckedFeatureAugmentationAdapter(),
    CheckedEasyTLClassifier(),
    CheckedEasyTLClassifier(None, metric="cosine"),
    CheckedMEDAClassifier(n_iter=2),
    CheckedMEDAClassifier(n_iter=2, solver="nystroem", n_landmarks=10),
    *([CheckedOTAdapter(), CheckedOTAdapter("emd"), CheckedOTAdapter("lpl1")] if find_spec("ot") else []),
    CheckedWeighter(),
    CheckedAdaptedClassifier(),
    CheckedAdaptedClassifier(DecisionTreeClassifier(random_state=0), MMDAdapter(kernel="rbf")),
    CheckedAdaptedClassifier(LogisticRegression(), MeanShiftWeighter()),
    CheckedAdaptedClassifier(LogisticRegression(), CORALAdapter(), guard=True),
    CheckedAdaptedRegressor(),
    CheckedAdaptedRegressor(Ridge(), MeanShiftWeighter()),
    CheckedKMMWeighter(),
    CheckedKMMWeighter(kernel="linear", B=10),
    CheckedKLIEPWeighter(),
    CheckedRuLSIFWeighter(),
    CheckedRuLSIFWeighter(0.0, gamma=1.0, reg=0.1),
    CheckedDomainClassifierWeighter(),
    CheckedDomainClassifierWeighter(calibration="isotonic", cv=2),
    CheckedNearestNeighborWeighter(),
    CheckedSourceSelector(),
    CheckedSourceSelector(3, weighter=NearestNeighborWeighter()),
    CheckedLabelShiftWeighter(),
    CheckedTrAdaBoostClassifier(n_estimators=20),
    CheckedTrAdaBoostClassifier(LogisticRegression(), n_estimators=5, target_share=0.5),
    CheckedTrAdaBoostRegressor(n_estimators=20),
    CheckedTrAdaBoostRegressor(two_stage=True, n_estimators=5, n_steps=3, cv=2),
    CheckedWeightedConformalClassifier(),
    CheckedWeightedConformalClassifier(weighter=LabelShiftWeighter(), method="aps", randomized=True),
    CheckedWeightedConformalClassifier(use_target_labels=True),
    CheckedWeightedConformalRegressor(),
    CheckedWeightedConformalRegressor(weighter=MeanShiftWeighter(), spread_estimator=Ridge()),
]


__all__ = [
    "ESTIMATORS",
    "CheckedAdaptedClassifier",
    "CheckedAdaptedRegressor",
    "CheckedMMDAdapter",
    "CheckedWeighter",
    "MeanShiftWeighter",
    "two_and_two",
]
