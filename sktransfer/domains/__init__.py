"""Whose row is whose: which rows are source and which are target, which have a label, and how estimators take them."""

from sktransfer.domains._callers import refuse_pipeline, refuse_scoring, refuse_wrapper
from sktransfer.domains._domains import Domains, check_domains, read_source_labels
from sktransfer.domains._estimators import call_by_domain, domain_parameters, fit_on_domains, last_step
from sktransfer.domains._evaluation import Evaluator, seeded_clone, without_domains
from sktransfer.domains._folds import domain_folds, split_rows
from sktransfer.domains._labels import (
    as_labels,
    check_class_labels,
    check_class_weight,
    check_number_labels,
    holds_minus_one,
    is_missing,
    label_kind,
    labelled_rows,
    labels_of_fit,
    mask_labels,
    missing_labels,
    plain_labels,
)
from sktransfer.domains._rows import check_length, n_rows, take_if_per_row, take_rows
from sktransfer.domains._stacking import pack_domains
from sktransfer.domains._weights import fit_with_weights, weight_route

__all__ = [
    "Domains",
    "Evaluator",
    "as_labels",
    "call_by_domain",
    "check_class_labels",
    "check_class_weight",
    "check_domains",
    "check_length",
    "check_number_labels",
    "domain_folds",
    "domain_parameters",
    "fit_on_domains",
    "fit_with_weights",
    "holds_minus_one",
    "is_missing",
    "label_kind",
    "labelled_rows",
    "labels_of_fit",
    "last_step",
    "mask_labels",
    "missing_labels",
    "n_rows",
    "pack_domains",
    "plain_labels",
    "read_source_labels",
    "refuse_pipeline",
    "refuse_scoring",
    "refuse_wrapper",
    "seeded_clone",
    "split_rows",
    "take_if_per_row",
    "take_rows",
    "weight_route",
    "without_domains",
]
