"""The one reading of domains: which rows are source, which are target, and which have a label."""

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.utils import assert_all_finite

from sktransfer.domains._labels import as_labels, is_missing, missing_labels, plain_labels
from sktransfer.domains._rows import check_length
from sktransfer.exceptions import DomainError

__all__ = ["Domains", "check_domains", "read_source_labels"]

_HOW_TO_MARK = (
    "Pass sample_domain, one domain label a row, with the target rows labelled as in target_domain={targets!r}; or "
    "mark the target rows by a missing label in y (NaN for floats, None or NaN for objects and strings, -1 for "
    "integers). pack_domains(source=(Xs, ys), target=Xt) builds X, y and sample_domain."
)


@dataclass(frozen=True)
class Domains:
    """Which rows belong to which domain.

    Attributes
    ----------
    is_target : ndarray of bool, shape (n_samples,)
        True for target rows.
    names : ndarray, shape (n_samples,)
        Domain label of every row; can be passed on as ``sample_domain``.
    source_names : tuple
        The distinct source domains, sorted.
    target_names : tuple
        The distinct target domains that occur, sorted.
    """

    is_target: np.ndarray
    names: np.ndarray
    source_names: tuple
    target_names: tuple

    @property
    def is_source(self) -> np.ndarray:
        """True for source rows, shape (n_samples,)."""
        return ~self.is_target

    @property
    def source_rows(self) -> np.ndarray:
        """Positions of the source rows."""
        return np.flatnonzero(~self.is_target)

    @property
    def target_rows(self) -> np.ndarray:
        """Positions of the target rows."""
        return np.flatnonzero(self.is_target)

    def rows_of(self, name: Hashable) -> np.ndarray:
        """Positions of the rows of the domain `name`."""
        return np.flatnonzero([other == name for other in self.names.tolist()])

    def take(self, rows: np.ndarray, *, require_both: bool = False) -> "Domains":
        """Return the roles of some of the rows, which need no reading again.

        Parameters
        ----------
        rows : ndarray of int of shape (n_rows,)
            Positions.
        require_both : bool, default=False
            Whether at least one source and one target row must be among them.

        Returns
        -------
        domains : Domains
            Roles of these rows, in their order.

        Raises
        ------
        DomainError
            If a required role has no row.
        """
        names = self.names[rows]
        there = set(names.tolist())
        source_names, target_names = (
            tuple(name for name in all_names if name in there) for all_names in (self.source_names, self.target_names)
        )
        if require_both:
            _check_both(source_names, target_names, len(names), list(self.target_names))
        return Domains(self.is_target[rows], names, source_names, target_names)


def check_domains(
    sample_domain: Any,
    y: Any = None,
    *,
    target_domain: Any = "target",
    n_samples: int | None = None,
    require_both: bool = True,
) -> Domains:
    """Read the roles of the rows from `sample_domain` or, without it, from the missing labels of `y`.

    Parameters
    ----------
    sample_domain : array-like of shape (n_samples,) or None
        Domain label of each row. Labels in `target_domain` are the target, all others are sources. Where it is given,
        `y` is counted, not read.
    y : array-like of shape (n_samples,) or None, default=None
        Labels. Without `sample_domain`, a missing one (see :func:`missing_labels`) marks a target row.
    target_domain : label or list of labels, default="target"
        Which domain labels are the target.
    n_samples : int or None, default=None
        Number of rows to expect; None does not check.
    require_both : bool, default=True
        Whether at least one source and one target row must be there.

    Returns
    -------
    domains : Domains
        The roles of the rows.

    Raises
    ------
    DomainError
        If the rows have no roles, a required role has no row, or the lengths differ.
    """
    targets = _as_label_list(target_domain)
    if sample_domain is None:
        return _domains_from_labels(y, targets, n_samples, require_both)
    names = as_labels(sample_domain, name="sample_domain")
    check_length(names, n_samples, name="sample_domain")
    if y is not None:
        check_length(y, len(names) if n_samples is None else n_samples, name="y")
    if is_missing(names).any():
        raise DomainError("sample_domain holds missing values; every row needs a domain label.")
    found = _sorted_unique(names)
    target_names = tuple(name for name in found if name in targets)
    source_names = tuple(name for name in found if name not in targets)
    is_target = np.array([name in target_names for name in names.tolist()], dtype=bool)
    if require_both:
        _check_both(source_names, target_names, len(names), target_domain)
    return Domains(is_target, names, source_names, target_names)


def _check_both(source_names: tuple, target_names: tuple, n_samples: int, target_domain: Any) -> None:
    if source_names and target_names:
        return
    missing = "target" if source_names else "source"
    raise DomainError(
        f"No {missing} rows among {_count(n_samples)}: sample_domain holds the domains "
        f"{list(source_names or target_names)!r} and target_domain={target_domain!r}. Rows whose label is in "
        f"target_domain are the target, all others are the source; set target_domain to the label of your target rows, "
        f"and give rows of both."
    )


def _domains_from_labels(y, targets, n_samples, require_both) -> Domains:
    if y is None:
        raise DomainError("Neither sample_domain nor y was given. " + _HOW_TO_MARK.format(targets=targets[0]))
    y = as_labels(y, name="y")
    check_length(y, n_samples, name="y")
    is_target = missing_labels(y)
    n_target = int(is_target.sum())
    if require_both and n_target in (0, len(y)):
        state = "no label in y is missing" if n_target == 0 else "every label in y is missing"
        role = "target" if n_target == 0 else "source"
        raise DomainError(
            f"No {role} rows among {_count(len(y))}: sample_domain is None and {state} (y is of dtype {y.dtype}). "
            + _HOW_TO_MARK.format(targets=targets[0])
        )
    target_name = targets[0]
    source_name = next(name for name in ("source", "not_target", "other") if name not in targets)
    names = np.empty(len(y), dtype=object)
    for position, masked in enumerate(is_target):
        names[position] = target_name if masked else source_name
    return Domains(
        is_target,
        names,
        (source_name,) if n_target < len(y) else (),
        (target_name,) if n_target else (),
    )


def read_source_labels(y: np.ndarray, domains: Domains) -> tuple[np.ndarray, np.ndarray]:
    """Return the labels of the source rows, and these rows; labels of target rows are not looked at.

    Parameters
    ----------
    y : ndarray of shape (n_samples,)
        Labels.
    domains : Domains
        Roles of the rows.

    Returns
    -------
    labels : ndarray of shape (n_source,)
        Labels, in the plainest dtype that holds them.
    rows : ndarray of int of shape (n_source,)
        Their positions in `y`.

    Raises
    ------
    DomainError
        If a source row has no label.
    ValueError
        If one is infinite.
    """
    rows = domains.source_rows
    # A row that sample_domain calls source is labelled by definition: -1 there is a label like any other.
    missing = missing_labels(y[rows], minus_one=False)
    if missing.any():
        raise DomainError(
            f"{int(missing.sum())} source rows have no label: y is NaN or None there (the first: rows "
            f"{rows[missing][:5].tolist()}). Leave these rows out, or mark them as target rows in sample_domain."
        )
    labels = plain_labels(y[rows])
    if labels.dtype.kind == "f":
        assert_all_finite(labels, input_name="y")
    return labels, rows


def _as_label_list(target_domain: Any) -> list:
    if isinstance(target_domain, str | bytes) or not isinstance(target_domain, Iterable):
        return [target_domain]
    labels = list(as_labels(target_domain, name="target_domain").tolist())
    if not labels:
        raise DomainError("target_domain is empty; name at least one target domain.")
    return labels


def _sorted_unique(names: np.ndarray) -> tuple:
    distinct = list(dict.fromkeys(names.tolist()))
    return tuple(sorted(distinct, key=lambda name: (isinstance(name, str), str(type(name)), name)))


def _count(n_samples: int) -> str:
    return "1 sample" if n_samples == 1 else f"{n_samples} samples"
