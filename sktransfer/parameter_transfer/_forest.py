"""TransferredForestClassifier: the trees of a source forest, changed by labelled target rows."""

from numbers import Real
from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.ensemble import RandomForestClassifier
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils import check_random_state

from sktransfer.base import LabelledScoreMixin
from sktransfer.domains import labels_of_fit
from sktransfer.parameter_transfer._base import TransferBase
from sktransfer.parameter_transfer._labels import ClassesMixin
from sktransfer.parameter_transfer._trees import PlainTree, expand_and_reduce, move_thresholds
from sktransfer.utils._compat import EstimatorOf, Interval, StrOptions, fit_context
from sktransfer.utils._seeds import set_random_states

__all__ = ["TransferredForestClassifier"]


class TransferredForestClassifier(LabelledScoreMixin, ClassesMixin, ClassifierMixin, TransferBase):
    """The trees of a forest that was fitted on the source, changed by a few labelled target rows: SER and STRUT [1]_.

    SER lets target rows fall through each tree, grows the leaves on in which they are of several classes, and makes a
    leaf of what gets more of them wrong than a leaf would. STRUT keeps the structure of each tree and moves its
    thresholds to where the target rows fall apart as the source rows did, turned around if need be. **Labels of target
    rows are read**: this method exists to use them, and needs at least one; target rows without a label are left out.

    Parameters
    ----------
    source : classifier, fitted or not, or None, default=None
        A random forest, extra trees or a single tree of scikit-learn, or a pipeline that ends in one, whose other steps
        then prepare the rows here too. Where it is fitted, `X` and `y` of ``fit`` are target rows. Where it is not, a
        clone is fitted on the source rows. None takes ``RandomForestClassifier()``.
    method : {"mix", "ser", "strut"}, default="mix"
        How trees are changed; ``"mix"`` lets trees of both kinds vote.
    prior_weight : float, default=1.0
        How many target rows the class shares that the source has in a leaf count as, and by how many more target rows a
        leaf must be right before it takes the place of what the source has; 0 forgets the source wherever a target row
        falls, as in the paper.
    bootstrap : bool, default=True
        Whether each tree is changed by target rows that are drawn anew, with replacement, as in the paper.
    random_state : int, RandomState or None, default=None
        Seed of the draws, of trees that grow, and of a source whose own `random_state` is None.
    target_domain : label or list of labels, default="target"
        Which labels of `sample_domain` are the target; all others are sources, taken together as one.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Class labels of the source and of target rows.
    trees_ : list
        The changed trees.
    source_ : object
        The fitted source.
    preprocessing_ : Pipeline or None
        Its steps before the last.
    minus_one_is_missing_ : bool
        Whether -1 in integer labels of target rows means "no label"; not where -1 is a class of the source.
    source_domains_ : list
        Names of the source domains; empty without `sample_domain`.
    n_features_in_ : int
        Number of features seen in fit.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of features seen in fit, where all are strings.

    See Also
    --------
    TransferredGradientBoostingClassifier : Boosting that goes on from any classifier of the source.
    TransferredLogisticRegression : The same idea for linear models.

    Notes
    -----
    Of a tree, parts that no target row reaches stay as they were. Missing values go where they went in the source.

    References
    ----------
    .. [1] N. Segev, M. Harel, S. Mannor, K. Crammer, R. El-Yaniv, "Learn on Source, Refine on Target: A Model Transfer
       Learning Framework with Random Forests", IEEE TPAMI 39(9), 2017.

    Examples
    --------
    >>> from sktransfer import TransferredForestClassifier, make_domain_shift
    >>> X, y, sample_domain = make_domain_shift(200, 140, shift="concept", random_state=0)
    >>> model = TransferredForestClassifier(random_state=0)
    >>> model = model.fit(X[:240], y[:240], sample_domain=sample_domain[:240])
    >>> model.score(X[240:], y[240:]) > model.source_.score(X[240:], y[240:])
    True
    """

    _fitted_marks = ("tree_", "estimators_")
    _trees_read_rows = True
    _allowed_source = (
        "pass a RandomForestClassifier, an ExtraTreesClassifier or a DecisionTreeClassifier, or a pipeline that ends "
        "in one, fitted or not."
    )
    _parameter_constraints: dict = {
        "source": [EstimatorOf(("classifier",)), None],
        "method": [StrOptions({"mix", "ser", "strut"})],
        "prior_weight": [Interval(Real, 0, None, closed="left")],
        "bootstrap": ["boolean"],
        "random_state": ["random_state"],
        "target_domain": "no_validation",
    }

    def __init__(
        self,
        source: Any = None,
        *,
        method: str = "mix",
        prior_weight: float = 1.0,
        bootstrap: bool = True,
        random_state: int | np.random.RandomState | None = None,
        target_domain: Any = "target",
    ) -> None:
        self.source = source
        self.method = method
        self.prior_weight = prior_weight
        self.bootstrap = bootstrap
        self.random_state = random_state
        self.target_domain = target_domain

    @fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: Any, y: Any, *, sample_domain: Any = None) -> "TransferredForestClassifier":
        """Learn from labelled target rows, and from source rows where the source is not fitted.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Target rows, or rows of all domains; a frame or whatever the first step of a pipeline as source takes.
        y : array-like of shape (n_samples,)
            Labels, those of target rows included; target rows without one (NaN, None, or -1 for integers) are left out.
        sample_domain : array-like of shape (n_samples,) or None, default=None
            Domain label of each row; rows whose label is in `target_domain` are the target, all others the source,
            which are left out where the source is fitted. None, with a fitted source, takes all rows for the target.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        DomainError
            If no target row has a label; or, with a source that is not fitted, if there is no source row or one without
            a label.
        ValueError
            If the source has no trees.
        """
        y = labels_of_fit(y, caller=type(self).__name__)
        self._rng_ = check_random_state(self.random_state)
        rows = self._read(X, y, sample_domain, None)
        known = self._match_classes(rows.y)
        codes, columns = np.searchsorted(self.classes_, rows.y), np.searchsorted(self.classes_, known)
        self.trees_ = []
        for fitted in self._source_trees_:
            tree = PlainTree.of(fitted.tree_, columns, len(self.classes_))
            n = len(codes)
            drawn = np.sort(self._rng_.randint(n, size=n)) if self.bootstrap else np.arange(n)
            Z, c = rows.X[drawn], codes[drawn]
            if self.method != "strut":
                self.trees_.append(expand_and_reduce(tree, Z, c, self._grower(fitted), prior_weight=self.prior_weight))
            if self.method != "ser":
                self.trees_.append(move_thresholds(tree, Z, c, prior_weight=self.prior_weight))
        del self._rng_, self._source_trees_
        return self

    def _grower(self, fitted: Any) -> Any:
        """Return what grows a tree of rows with the parameters of a tree of the source, but for its limits of size."""
        params = {name: getattr(fitted, name) for name in ("criterion", "max_features", "splitter", "ccp_alpha")}

        def grow(X: np.ndarray, codes: np.ndarray) -> PlainTree:
            grown = DecisionTreeClassifier(**params, random_state=self._rng_.randint(2**31 - 1)).fit(X, codes)
            return PlainTree.of(grown.tree_, grown.classes_, len(self.classes_))

        return grow

    def _dense_reason(self) -> str | None:
        return "target rows are sent through the trees one feature at a time"

    def _features(self, X: Any) -> np.ndarray:
        # Trees compare in single precision.
        return np.asarray(super()._features(X), dtype=np.float32)

    def _default_source(self, X: Any) -> RandomForestClassifier:
        return RandomForestClassifier()

    def _seeded(self, source: Any) -> Any:
        return set_random_states(source, self._rng_)

    def _learn_model(self, model: Any) -> None:
        if hasattr(model, "tree_"):
            trees = [model]
        else:
            trees = list(np.ravel(np.asarray(getattr(model, "estimators_", []), dtype=object)))
        if not trees or not all(isinstance(tree, DecisionTreeClassifier) for tree in trees):
            raise ValueError(f"source={self.source!r} is not made of classification trees: {self._allowed_source}")
        self._source_trees_, self._known_ = trees, np.asarray(model.classes_)

    def predict_proba(self, X: Any) -> np.ndarray:
        """Predict class probabilities: the mean of the trees.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        proba : ndarray of shape (n_samples, n_classes)
            Probabilities, in the order of ``classes_``.
        """
        features = self._new_features(X)
        return np.mean([tree.value[tree.apply(features)] for tree in self.trees_], axis=0)
