"""Cross-validation of two domains: every fold has source and target rows, and labels of target rows decide nothing."""

from abc import abstractmethod
from collections.abc import Iterator
from numbers import Integral
from typing import Any, NamedTuple

import numpy as np
from sklearn.model_selection import BaseCrossValidator
from sklearn.utils import check_random_state

from sktransfer.domains import Domains, as_labels, check_domains, domain_folds, mask_labels, n_rows
from sktransfer.exceptions import DomainError
from sktransfer.few_labels import watch_twins
from sktransfer.model_selection._drawing import check_sizes, draw_rows

__all__ = [
    "NO_LABELS",
    "DomainKFold",
    "DomainSplitter",
    "Fold",
    "SourceTargetShuffleSplit",
    "StratifiedDomainShuffleSplit",
    "one_of",
]

NO_LABELS = "split_masked needs y, the labels; it yields those of each training part."


class Fold(NamedTuple):
    """One fold, its training labels as an honest estimator may see them.

    Attributes
    ----------
    train, test : ndarray of int
        Row numbers.
    y : ndarray of shape (n_train,)
        Labels of the training rows; those of target rows are missing.
    sample_domain : ndarray of shape (n_train,)
        Domain labels of the training rows.
    """

    train: np.ndarray
    test: np.ndarray
    y: np.ndarray
    sample_domain: np.ndarray


class DomainSplitter(BaseCrossValidator):
    """Reads the domains; a subclass deals the rows out in `_split_domains(domains, y)`."""

    __metadata_request__split = {"groups": True, "sample_domain": True}

    _least_splits = 1

    def split(
        self, X: Any, y: Any = None, groups: Any = None, *, sample_domain: Any = None
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield the rows of each fold.

        Parameters
        ----------
        X : samples
            Rows of all domains.
        y : array-like of shape (n_samples,) or None, default=None
            Labels; those of target rows are not read. Without domain labels, rows with a missing label (NaN, None, or
            -1 for integers) are the target.
        groups : array-like of shape (n_samples,) or None, default=None
            The same as `sample_domain`: what ``cross_validate(..., groups=...)`` passes.
        sample_domain : array-like of shape (n_samples,) or None, default=None
            Domain label of each row; rows whose label is in `target_domain` are the target, all others the source.

        Yields
        ------
        train, test : ndarray of int
            Row numbers.

        Raises
        ------
        DomainError
            If roles are missing, if a domain has too few rows, or if `groups` and `sample_domain` differ.

        Warns
        -----
        UserWarning
            If a file, picture or text stands in the training part and, as a copy, in the test part.
        """
        self._check_parameters()
        domains, labels = self._read(X, y, groups, sample_domain)
        yield from watch_twins(X, self._split_domains(domains, labels))

    def split_masked(self, X: Any, y: Any, *, sample_domain: Any = None) -> Iterator[Fold]:
        """Yield the rows of each fold with the training labels, those of target rows taken out.

        :meth:`split` yields row numbers only, so that whoever fits on them holds the labels of target rows too.

        Parameters
        ----------
        X : samples
            Rows of all domains.
        y : array-like of shape (n_samples,)
            Labels; those of target rows are not read.
        sample_domain : array-like of shape (n_samples,) or None, default=None
            Domain label of each row, as in :meth:`split`.

        Yields
        ------
        fold : tuple ``(train, test, y, sample_domain)``, with these names
            Row numbers of both parts, then of the training rows the labels (missing for target rows: NaN for floats,
            -1 for integers, else None) and the domain labels.

        Raises
        ------
        DomainError
            As in :meth:`split`.
        """
        if y is None:
            raise ValueError(NO_LABELS)
        self._check_parameters()
        labels = as_labels(y, name="y")
        domains = self._read_domains(sample_domain, labels, n_rows(X))
        for train, test in self._split_domains(domains, labels):
            is_target = domains.is_target[train]
            y_train = mask_labels(labels[train], is_target) if is_target.any() else labels[train]
            yield Fold(train, test, y_train, domains.names[train])

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None, *, sample_domain: Any = None) -> int:
        """Return the number of folds.

        Parameters
        ----------
        X : samples or None, default=None
            Not used.
        y : array-like of shape (n_samples,) or None, default=None
            Not used.
        groups : array-like of shape (n_samples,) or None, default=None
            Not used.
        sample_domain : array-like of shape (n_samples,) or None, default=None
            Not used.

        Returns
        -------
        n_splits : int
            Number of folds.
        """
        return self.n_splits

    def _read(self, X: Any, y: Any, groups: Any, sample_domain: Any) -> tuple[Domains, np.ndarray | None]:
        names = one_of(groups, sample_domain)
        labels = None if y is None else as_labels(y, name="y")
        return self._read_domains(names, labels, n_rows(X)), labels

    def _read_domains(self, names: Any, labels: np.ndarray | None, n_samples: int) -> Domains:
        return check_domains(names, labels, target_domain=self.target_domain, n_samples=n_samples)

    def _check_parameters(self) -> None:
        """Raise a ValueError if a parameter is out of range."""
        n_splits, least = self.n_splits, self._least_splits
        if not isinstance(n_splits, Integral) or isinstance(n_splits, bool) or n_splits < least:
            raise ValueError(f"n_splits must be an integer, at least {least}, got {n_splits!r}.")

    @abstractmethod
    def _split_domains(self, domains: Domains, y: np.ndarray | None) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield the row numbers of both parts of each fold; only labels of source rows may be read."""


class SourceTargetShuffleSplit(DomainSplitter):
    """Random parts of the source rows and of the target rows, each role split by itself.

    Parameters
    ----------
    n_splits : int, default=10
        Number of folds, at least 1.
    test_size : float, default=0.2
        Share of the rows of either role that is tested, between 0 and 1; rounded up.
    train_size : float or None, default=None
        Share of the rows of either role that is trained on; rounded down. None takes all rows that are not tested.
    random_state : int, RandomState or None, default=None
        Seed; an integer gives the same folds in every call.
    target_domain : label or list of labels, default="target"
        Which domain labels are the target; all others are sources.

    See Also
    --------
    StratifiedDomainShuffleSplit : Keeps the shares of domains and of source classes.
    DomainKFold : Tests every row once.

    References
    ----------
    .. [1] K. Musgrave, S. Belongie, S.-N. Lim, "Unsupervised Domain Adaptation: A Reality Check", arXiv:2111.15672,
       2021.

    Examples
    --------
    >>> from sktransfer import SourceTargetShuffleSplit
    >>> X, sample_domain = list("abcdefghij"), ["source"] * 5 + ["target"] * 5
    >>> splitter = SourceTargetShuffleSplit(1, random_state=0)
    >>> for train, test in splitter.split(X, groups=sample_domain):
    ...     print(len(train), [sample_domain[row] for row in test])
    8 ['source', 'target']
    """

    def __init__(
        self,
        n_splits: int = 10,
        *,
        test_size: float = 0.2,
        train_size: float | None = None,
        random_state: int | np.random.RandomState | None = None,
        target_domain: Any = "target",
    ) -> None:
        self.n_splits = n_splits
        self.test_size = test_size
        self.train_size = train_size
        self.random_state = random_state
        self.target_domain = target_domain

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_sizes(self.test_size, self.train_size)

    def _split_domains(self, domains: Domains, y: np.ndarray | None) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        rng = check_random_state(self.random_state)
        parts = self._parts(domains, y)
        for _ in range(self.n_splits):
            yield draw_rows(parts, self.test_size, self.train_size, rng)

    def _parts(self, domains: Domains, y: np.ndarray | None) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Return for each part that is split by itself its rows and the strata of these."""
        roles = {"source": domains.source_rows, "target": domains.target_rows}
        return {f"the {role}": (rows, np.zeros(len(rows), dtype=int)) for role, rows in roles.items()}


class StratifiedDomainShuffleSplit(SourceTargetShuffleSplit):
    """Random parts that keep the share of every domain, and of every class within a source domain.

    Labels of target rows are not read, so that target rows are split at random within each target domain.

    Parameters
    ----------
    n_splits : int, default=10
        Number of folds, at least 1.
    test_size : float, default=0.2
        Share of the rows of each domain that is tested, between 0 and 1; rounded up.
    train_size : float or None, default=None
        Share of the rows of each domain that is trained on; rounded down. None takes all rows that are not tested.
    random_state : int, RandomState or None, default=None
        Seed; an integer gives the same folds in every call.
    target_domain : label or list of labels, default="target"
        Which domain labels are the target; all others are sources.

    See Also
    --------
    SourceTargetShuffleSplit : Does not read labels at all.
    DomainKFold : Tests every row once, stratified in the same way.

    Notes
    -----
    A class of m rows in a source domain has m times the share of tested rows, rounded up or down, in the test part;
    a class of one row may be in either.

    References
    ----------
    .. [1] K. Musgrave, S. Belongie, S.-N. Lim, "Unsupervised Domain Adaptation: A Reality Check", arXiv:2111.15672,
       2021.

    Examples
    --------
    >>> from sktransfer import StratifiedDomainShuffleSplit
    >>> X, y = list("abcdefgh"), [0, 0, 1, 1, -1, -1, -1, -1]
    >>> for train, test in StratifiedDomainShuffleSplit(1, test_size=0.5, random_state=0).split(X, y):
    ...     print(sorted(y[row] for row in test))
    [-1, -1, 0, 1]
    """

    def _parts(self, domains: Domains, y: np.ndarray | None) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        parts = {}
        for name in (*domains.source_names, *domains.target_names):
            rows = domains.rows_of(name)
            if y is not None and name in domains.source_names:
                classes = _classes(y[rows])
            else:
                classes = np.zeros(len(rows), dtype=int)
            parts[f"the domain {name!r}"] = rows, classes
        return parts


class DomainKFold(DomainSplitter):
    """K folds, each with its share of every domain, and of every class within a source domain.

    Labels of target rows are not read.

    Parameters
    ----------
    n_splits : int, default=5
        Number of folds, at least 2; every domain needs as many rows.
    shuffle : bool, default=True
        Whether rows are shuffled before they are dealt out.
    random_state : int, RandomState or None, default=None
        Seed of the shuffling; an integer gives the same folds in every call.
    target_domain : label or list of labels, default="target"
        Which domain labels are the target; all others are sources.

    See Also
    --------
    StratifiedDomainShuffleSplit : Any number of folds of any size.
    LeaveOneDomainOut : Each domain in turn is the target.

    References
    ----------
    .. [1] R. Kohavi, "A Study of Cross-Validation and Bootstrap for Accuracy Estimation and Model Selection", IJCAI
       1995.

    Examples
    --------
    >>> from sktransfer import DomainKFold
    >>> X, y = list("abcdefgh"), ["cat", "cat", "dog", "dog", None, None, None, None]
    >>> for fold in DomainKFold(2, shuffle=False).split_masked(X, y):
    ...     print(fold.test.tolist(), fold.y.tolist())
    [0, 2, 4, 6] ['cat', 'dog', None, None]
    [1, 3, 5, 7] ['cat', 'dog', None, None]
    """

    _least_splits = 2

    def __init__(
        self,
        n_splits: int = 5,
        *,
        shuffle: bool = True,
        random_state: int | np.random.RandomState | None = None,
        target_domain: Any = "target",
    ) -> None:
        self.n_splits = n_splits
        self.shuffle = shuffle
        self.random_state = random_state
        self.target_domain = target_domain

    def _check_parameters(self) -> None:
        super()._check_parameters()
        if not self.shuffle and self.random_state is not None:
            raise ValueError(
                f"random_state={self.random_state!r} has no effect with shuffle=False; leave it at None, or shuffle."
            )

    def _split_domains(self, domains: Domains, y: np.ndarray | None) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        return domain_folds(domains, y, n_splits=self.n_splits, shuffle=self.shuffle, random_state=self.random_state)


def one_of(groups: Any, sample_domain: Any) -> Any:
    """Return the domain labels, which may come by either name; None if they do not come at all."""
    if groups is None or sample_domain is None:
        return groups if sample_domain is None else sample_domain
    if as_labels(groups, name="groups").tolist() != as_labels(sample_domain, name="sample_domain").tolist():
        raise DomainError(
            "groups and sample_domain are two names of the same thing, but differ here; pass the domain labels by one."
        )
    return sample_domain


def _classes(labels: np.ndarray) -> np.ndarray:
    """Return a number for each distinct label, whatever labels are."""
    return np.unique([str(label) for label in labels.tolist()], return_inverse=True)[1]
