"""Cross-validation of several domains: each in turn is the target."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from sktransfer.domains import Domains, as_labels, check_domains, mask_labels, n_rows
from sktransfer.exceptions import DomainError
from sktransfer.model_selection._drawing import check_sizes, draw_rows
from sktransfer.model_selection._splitters import NO_LABELS, DomainSplitter, Fold, one_of

__all__ = ["LeaveOneDomainOut"]


class LeaveOneDomainOut(DomainSplitter):
    """Each domain in turn is the target.

    Parameters
    ----------
    test_size : float, default=0.2
        Share of the rows of each domain that is tested where the target is kept, between 0 and 1; rounded up.
    keep_target : bool, default=True
        Whether both parts hold rows of all domains, the one left out among them: domain adaptation, which may look at
        rows of the target but not at their labels. False trains on all other domains and tests on all rows of the one
        left out: domain generalisation [1]_.
    random_state : int, RandomState or None, default=None
        Seed of which rows are tested; an integer gives the same folds in every call.
    target_domain : label, default="target"
        What :meth:`split_masked` calls the domain left out, so that estimators with this `target_domain` work as they
        are. A domain of this name that is not left out gets the name of the one that is.

    See Also
    --------
    sklearn.model_selection.LeaveOneGroupOut : The folds of ``keep_target=False``.
    DomainKFold : Folds with one target.

    Notes
    -----
    With ``keep_target=True`` use :meth:`split_masked`. :meth:`split` gives row numbers only: an estimator that takes
    no domains, in a plain ``cross_validate``, would be fitted on the labels of the domain left out, and one that does
    take them would not know which one it is.

    References
    ----------
    .. [1] I. Gulrajani, D. Lopez-Paz, "In Search of Lost Domain Generalization", ICLR 2021.

    Examples
    --------
    >>> from sktransfer import LeaveOneDomainOut
    >>> X, y, sample_domain = list("abcdef"), [0, 1, 0, 1, 0, 1], ["a", "a", "b", "b", "c", "c"]
    >>> splitter = LeaveOneDomainOut(test_size=0.5, random_state=0)
    >>> for fold in splitter.split_masked(X, y, sample_domain=sample_domain):
    ...     print(fold.sample_domain.tolist(), fold.y.tolist())
    ['target', 'b', 'c'] [-1, 1, 0]
    ['a', 'target', 'c'] [0, -1, 1]
    ['a', 'b', 'target'] [0, 0, -1]
    """

    def __init__(
        self,
        *,
        test_size: float = 0.2,
        keep_target: bool = True,
        random_state: int | np.random.RandomState | None = None,
        target_domain: Any = "target",
    ) -> None:
        self.test_size = test_size
        self.keep_target = keep_target
        self.random_state = random_state
        self.target_domain = target_domain

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None, *, sample_domain: Any = None) -> int:
        """Return the number of folds, one for each domain.

        Parameters
        ----------
        X : samples or None, default=None
            Not used.
        y : array-like of shape (n_samples,) or None, default=None
            Not used.
        groups : array-like of shape (n_samples,) or None, default=None
            The same as `sample_domain`.
        sample_domain : array-like of shape (n_samples,) or None, default=None
            Domain label of each row; needed in one of the two ways.

        Returns
        -------
        n_splits : int
            Number of domains.
        """
        return len(_names_of(self._read_domains(one_of(groups, sample_domain), None, None)))

    def split_masked(self, X: Any, y: Any, *, sample_domain: Any = None) -> Iterator[Fold]:
        """Yield the rows of each fold with the training labels, those of the domain left out taken away.

        Parameters
        ----------
        X : samples
            Rows of all domains.
        y : array-like of shape (n_samples,)
            Labels; those of the domain left out are not read.
        sample_domain : array-like of shape (n_samples,)
            Domain label of each row.

        Yields
        ------
        fold : tuple ``(train, test, y, sample_domain)``, with these names
            Row numbers of both parts, then of the training rows the labels (missing for the domain left out: NaN for
            floats, -1 for integers, else None) and the domain labels (`target_domain` for the domain left out).

        Raises
        ------
        DomainError
            If there are no domain labels, fewer than two domains, or too few rows in one.
        """
        if y is None:
            raise ValueError(NO_LABELS)
        self._check_parameters()
        labels = as_labels(y, name="y")
        domains = self._read_domains(sample_domain, labels, n_rows(X))
        for left_out, (train, test) in zip(_names_of(domains), self._split_domains(domains, labels), strict=True):
            # Swapped, so that no other domain has the target's name.
            swap = {left_out: self.target_domain, self.target_domain: left_out}
            names = domains.names[train].tolist()
            is_target = np.array([name == left_out for name in names], dtype=bool)
            y_train = mask_labels(labels[train], is_target) if is_target.any() else labels[train]
            yield Fold(train, test, y_train, as_labels([swap.get(name, name) for name in names], name="sample_domain"))

    def _check_parameters(self) -> None:
        check_sizes(self.test_size, None)
        if isinstance(self.target_domain, Iterable) and not isinstance(self.target_domain, str | bytes):
            raise ValueError(f"target_domain of LeaveOneDomainOut must be one label, got {self.target_domain!r}.")

    def _read_domains(self, names: Any, labels: np.ndarray | None, n_samples: int | None) -> Domains:
        if names is None:
            raise DomainError(
                "LeaveOneDomainOut needs the domain label of each row: pass sample_domain (or groups). Missing labels "
                "in y cannot tell several domains apart."
            )
        params = {"target_domain": self.target_domain, "n_samples": n_samples, "require_both": False}
        domains = check_domains(names, labels, **params)
        if len(_names_of(domains)) < 2:
            raise DomainError(
                f"sample_domain holds the domains {list(_names_of(domains))!r} only; give rows of two or more."
            )
        return domains

    def _split_domains(self, domains: Domains, y: np.ndarray | None) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        rng = check_random_state(self.random_state)
        rows_of = {name: domains.rows_of(name) for name in _names_of(domains)}
        parts = {f"the domain {name!r}": (rows, np.zeros(len(rows), dtype=int)) for name, rows in rows_of.items()}
        for rows in rows_of.values():
            if self.keep_target:
                yield draw_rows(parts, self.test_size, None, rng)
            else:
                yield np.setdiff1d(np.arange(len(domains.names)), rows), rows


def _names_of(domains: Domains) -> tuple:
    return (*domains.source_names, *domains.target_names)
