"""PrototypeClassifier: class means of few labelled rows, refined on rows without a label."""

import warnings
from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any

import numpy as np
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from sktransfer.base import LabelledScoreMixin
from sktransfer.domains import (
    check_class_labels,
    check_domains,
    check_length,
    holds_minus_one,
    labels_of_fit,
    missing_labels,
    plain_labels,
    read_source_labels,
    refuse_scoring,
    refuse_wrapper,
)
from sktransfer.exceptions import NegativeTransferWarning
from sktransfer.few_labels._choice import PLAIN, Choice, Settings, Views, choose, fit_mixed
from sktransfer.few_labels._guard import Verdict, stand_back
from sktransfer.few_labels._plain import span_of
from sktransfer.few_labels._space import Space, standardize
from sktransfer.utils._compat import Interval, StrOptions, fit_context
from sktransfer.utils._deviations import column_statistics
from sktransfer.utils._messages import caller_level, shorten
from sktransfer.utils._tables import check_table, check_table_of
from sktransfer.utils._threads import small_algebra

__all__ = ["PrototypeClassifier"]


class PrototypeClassifier(LabelledScoreMixin, ClassifierMixin, BaseEstimator):
    """Classify by class means of few labelled rows, refined on rows without a label.

    Rows are standardised and scaled to norm 1, and each class is the direction of its mean. Rows without a label are
    shared among the classes by their cosine similarities, and the means are taken again over all rows, in turns [1]_,
    [2]_. What a linear model of the labelled rows says of each row counts beside the similarities [3]_, so that with
    many labels nothing is lost. Three kinds of data are told apart:

    - some labels are missing (-1 for integers, None or NaN): all rows are of one kind, those with a label keep it;
    - `sample_domain` is given: the class means are those of the source, every domain is standardised by itself, and the
      means move to the target rows, whose labels are not read;
    - every row has a label: nearest class mean and linear model, mixed by cross-validation.

    Parameters
    ----------
    refine : int, default=10
        Rounds of refinement; 0 leaves the means of the labelled rows.
    temperature : "auto" or float, default="auto"
        How sharply similarities decide: the factor of the cosine. ``"auto"`` takes what predicts held-out labels best
        where classes have two labels or more, else 20.
    prior : {"uniform", "estimated"} or array-like of shape (n_classes,), default="uniform"
        Shares of the classes among the rows without a label, in the order of `classes_`. ``"estimated"`` takes them
        from the rows as they are shared, in each round.
    n_prototypes : int, default=1
        Prototypes a class, where it has so many labelled rows that differ.
    mixture : "auto" or float, default="auto"
        Weight of the log probabilities of the linear model beside those of the prototypes; 0 leaves it out but for the
        first round. ``"auto"`` takes what predicts held-out labels best where classes have two labels or more, else 2.
    n_components : int, default=128
        Leading principal axes of all rows in which means and similarities are taken.
    prototypes_init : array-like of shape (n_classes, n_features), dict of label to array-like or None, default=None
        Prototypes to start from, such as embeddings of the names of the classes: in the order of `classes_`, or by
        label, where a class may have no labelled row at all. Each counts as one labelled row; their common mean is
        taken off first, so that embeddings of another kind (texts beside pictures) may be given.
    target_domain : label or list of labels, default="target"
        Which labels of `sample_domain` are the target; all others are sources.
    guard : bool, default=True
        Whether to stand back to the linear model, with a ``NegativeTransferWarning``, where rows without a label seem
        to do harm: held-out labels are predicted better without; or, with one label a class, labelled rows leave their
        class where groups of rows alone decide; or, with two domains, predictions disagree more with their neighbours
        than those of the linear model.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Class labels.
    prototypes_ : ndarray of shape (n_prototypes, n_components)
        Directions of the prototypes along the principal axes, of norm 1.
    prototype_classes_ : ndarray of shape (n_prototypes,)
        Class label of each.
    mixture_ : float
        Weight of the linear model; infinity where it decides alone.
    temperature_ : float
        Factor of the cosine.
    class_shares_ : ndarray of shape (n_classes,) or None
        Estimated shares of the classes among the rows without a label; None where all had one.
    stood_back_ : bool
        Whether the guard stood back.
    report_ : str
        What was given, chosen and found, in words.
    mean_ : ndarray of shape (n_features,)
        Mean of the rows, or of the target rows.
    scale_ : ndarray of shape (n_features,)
        Their standard deviation, with a floor under it where features share a unit.
    space_ : object
        The principal axes.
    model_ : object
        Linear model and prototypes.
    factor_ : float
        Of the scores, for probabilities.
    minus_one_is_missing_ : bool
        Whether -1 in integer labels means "no label" in :meth:`score`.
    source_domains_ : list
        Names of the source domains; empty without `sample_domain`.
    n_features_in_ : int
        Number of features seen in fit.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of features seen in fit, where all are strings.

    See Also
    --------
    select_for_labeling : Which rows to label.
    EasyTLClassifier : Distances to class centres of a source, for domain adaptation.

    Notes
    -----
    New rows are classified without refitting, and no row depends on the others in a call of :meth:`predict`.

    Refinement assumes that rows form groups of about equal size, one or more a class. Where the pool is very
    unbalanced, the linear model and the guard keep the loss small, but the gain is small too.

    In the linear model, and in nothing else, rows have all their features. Means and similarities are taken along the
    leading axes, each divided by the square root of its standard deviation: with equal weights the weakest would bring
    noise, as they are the strongest would decide alone.

    References
    ----------
    .. [1] J. Snell, K. Swersky, R. Zemel, "Prototypical Networks for Few-shot Learning", NeurIPS 2017.
    .. [2] I. Ziko, J. Dolz, E. Granger, I. Ben Ayed, "Laplacian Regularized Few-Shot Learning", ICML 2020.
    .. [3] R. Zhang, W. Zhang, R. Fang, P. Gao, K. Li, J. Dai, Y. Qiao, H. Li, "Tip-Adapter: Training-free Adaption of
       CLIP for Few-shot Classification", ECCV 2022.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_digits
    >>> from sktransfer import PrototypeClassifier
    >>> X, digits = load_digits(return_X_y=True)
    >>> y = np.full(len(X), -1)
    >>> y[:20] = digits[:20]  # two labels a class
    >>> model = PrototypeClassifier().fit(X, y)
    >>> round(float(np.mean(model.predict(X[20:]) == digits[20:])), 2)
    0.85
    """

    # Requested by default: `cross_validate(model, X, y, params={"sample_domain": d})` works as it stands.
    __metadata_request__fit = {"sample_domain": True}

    _parameter_constraints: dict = {
        "refine": [Interval(Integral, 0, None, closed="left")],
        "temperature": [StrOptions({"auto"}), Interval(Real, 0, None, closed="neither")],
        "prior": [StrOptions({"uniform", "estimated"}), "array-like"],
        "n_prototypes": [Interval(Integral, 1, None, closed="left")],
        "mixture": [StrOptions({"auto"}), Interval(Real, 0, None, closed="left")],
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "prototypes_init": ["array-like", Mapping, None],
        "target_domain": "no_validation",
        "guard": ["boolean"],
    }

    def __init__(
        self,
        *,
        refine: int = 10,
        temperature: float | str = "auto",
        prior: Any = "uniform",
        n_prototypes: int = 1,
        mixture: float | str = "auto",
        n_components: int = 128,
        prototypes_init: Any = None,
        target_domain: Any = "target",
        guard: bool = True,
    ) -> None:
        self.refine = refine
        self.temperature = temperature
        self.prior = prior
        self.n_prototypes = n_prototypes
        self.mixture = mixture
        self.n_components = n_components
        self.prototypes_init = prototypes_init
        self.target_domain = target_domain
        self.guard = guard

    @fit_context(prefer_skip_nested_validation=True)
    @small_algebra
    def fit(self, X: Any, y: Any, *, sample_domain: Any = None) -> "PrototypeClassifier":
        """Learn from rows with a label, and from those without.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        y : array-like of shape (n_samples,)
            Labels; missing ones are -1 for integers, and NaN or None.
        sample_domain : array-like of shape (n_samples,) or None, default=None
            Domain label of each row; rows whose label is in `target_domain` are the target, whose labels are not read,
            all others the source. None takes all rows for one domain.

        Returns
        -------
        self : object
            The fitted classifier.

        Raises
        ------
        ValueError
            If there are fewer than two classes, or it cannot be told whether -1 is one.
        DomainError
            If, with `sample_domain`, there is no source row or no target row, or a source row has no label.
        """
        y = labels_of_fit(y, caller=type(self).__name__)
        refuse_wrapper(self, y, sample_domain, target_domain=self.target_domain, holds_minus_one=holds_minus_one)
        X = check_table_of(self, X, min_rows=2).astype(np.float64, copy=False)
        check_length(y, len(X), name="y")
        codes, parts = self._read_rows(y, sample_domain, len(X))
        S = np.empty_like(X)
        for rows in parts:
            # The last part is that of the rows which will be predicted.
            self.mean_, self.scale_ = column_statistics(X[rows])
            S[rows] = standardize(X[rows], self.mean_, self.scale_)
        self.space_ = Space.of(S, self.n_components)
        S, codes = self._with_init(S, codes)
        self._fit_views(self.space_.whole(S), self.space_.grouped(S), codes, apart=sample_domain is not None)
        return self

    def _read_rows(self, y: np.ndarray, sample_domain: Any, n: int) -> tuple[np.ndarray, list[np.ndarray]]:
        """Return class numbers, -1 where there is no label, and the rows that are standardised together."""
        if sample_domain is None:
            missing = missing_labels(y)
            labels, has_label = plain_labels(y[~missing]), np.flatnonzero(~missing)
            self.source_domains_, parts = [], [np.arange(n)]
        else:
            domains = check_domains(sample_domain, y, target_domain=self.target_domain, n_samples=n)
            labels, has_label = read_source_labels(y, domains)
            self.source_domains_ = list(domains.source_names)
            parts = [*map(domains.rows_of, domains.source_names), domains.target_rows]
        if len(labels):
            check_class_labels(labels)
        named = list(self.prototypes_init) if isinstance(self.prototypes_init, Mapping) else []
        self.classes_ = np.unique(plain_labels(np.array([*labels.tolist(), *named], dtype=object)))
        if len(self.classes_) < 2:
            raise ValueError(_too_few_classes(self.classes_, y, len(has_label), sample_domain))
        self.minus_one_is_missing_ = not holds_minus_one(self.classes_)
        codes = np.full(n, -1)
        codes[has_label] = np.searchsorted(self.classes_, labels)
        return codes, parts

    def _with_init(self, S: np.ndarray, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return rows and class numbers with the starting prototypes behind them."""
        if self.prototypes_init is None:
            return S, codes
        given, found = self.prototypes_init, self.classes_.tolist()
        if isinstance(given, Mapping):
            owners, rows = [found.index(label) for label in given], list(given.values())
        else:
            owners, rows = list(range(len(found))), given
        P = check_table(rows, name="prototypes_init")
        if P.shape != (len(owners), S.shape[1]):
            raise ValueError(
                f"prototypes_init has shape {P.shape}; expected one row for each of the {len(owners)} classes "
                f"{found}, of {S.shape[1]} features. To give prototypes of some classes only, pass a dict of label to "
                "row."
            )
        P = standardize(P, P.mean(axis=0) if len(P) > 1 else self.mean_, self.scale_)
        return np.vstack([S, P]), np.append(codes, owners)

    def _fit_views(self, Z: np.ndarray, W: np.ndarray, codes: np.ndarray, *, apart: bool) -> None:
        basis = span_of(Z[codes >= 0])
        views = Views(Z if basis is None else Z @ basis, W, codes, apart)
        settings = self._settings()
        choice = choose(views, settings)
        verdict = Verdict(choice)
        if self.guard and self.refine and (codes < 0).any():
            verdict = stand_back(choice, views, settings)
            choice = verdict.choice
        mixed = fit_mixed(views, settings, mixture=choice.mixture, temperature=choice.temperature)
        self.factor_, self.mixture_, self.temperature_ = choice.factor, choice.mixture, choice.temperature
        coef = mixed.plain.coef if basis is None else mixed.plain.coef @ basis.T
        self.model_ = mixed._replace(plain=mixed.plain._replace(coef=coef))
        self.prototypes_ = mixed.prototypes.directions
        self.prototype_classes_ = self.classes_[mixed.prototypes.owners]
        free = codes < 0
        shares = softmax(self.factor_ * mixed.scores(views.Z[free], W[free]), axis=1) if free.any() else None
        self.class_shares_ = None if shares is None else shares.mean(axis=0)
        self.stood_back_ = verdict.stood_back
        self.report_ = self._describe(codes, choice, verdict.finding)
        if verdict.stood_back:
            warnings.warn(verdict.finding, NegativeTransferWarning, stacklevel=caller_level())

    def _settings(self) -> Settings:
        n_classes = len(self.classes_)
        log_prior = np.zeros(n_classes)
        if not isinstance(self.prior, str):
            prior = np.asarray(self.prior, dtype=np.float64)
            if prior.shape != (n_classes,) or not (np.isfinite(prior).all() and (prior > 0).all()):
                raise ValueError(
                    f"prior must be 'uniform', 'estimated' or one positive share for each of the {n_classes} classes "
                    f"{self.classes_.tolist()}, got {shorten(self.prior)}."
                )
            log_prior = np.log(prior / prior.sum())
        return Settings(
            rounds=self.refine,
            n_prototypes=self.n_prototypes,
            log_prior=log_prior,
            estimate_prior=isinstance(self.prior, str) and self.prior == "estimated",
            mixture=None if isinstance(self.mixture, str) else float(self.mixture),
            temperature=None if isinstance(self.temperature, str) else float(self.temperature),
            guard=self.guard,
        )

    def _describe(self, codes: np.ndarray, choice: Choice, finding: str) -> str:
        counts = np.bincount(codes[codes >= 0], minlength=len(self.classes_))
        n_free = int(np.sum(codes < 0))
        kind = "target rows" if self.source_domains_ else "rows without a label"
        each = f"{counts.min()} to {counts.max()} a class"
        lines = [f"{counts.sum()} labels of {len(counts)} classes ({each}), {n_free} {kind}."]
        by = f"by {choice.n_held_out} labels held out in turn" if choice.n_held_out else "no label was held out"
        if choice.mixture == PLAIN:
            lines.append(f"The linear model alone ({by}).")
        else:
            lines.append(f"Mixture {choice.mixture:g}, temperature {choice.temperature:g} ({by}).")
        if self.class_shares_ is not None:
            low, high = self.class_shares_.min(), self.class_shares_.max()
            lines.append(f"Estimated shares of the classes: {low:.1%} to {high:.1%}.")
        return " ".join([*lines, *([finding] if finding else [])])

    def _scores(self, X: Any) -> np.ndarray:
        check_is_fitted(self)
        refuse_scoring(self)
        X = check_table_of(self, X, reset=False).astype(np.float64, copy=False)
        S = standardize(X, self.mean_, self.scale_)
        return self.model_.scores(self.space_.whole(S), self.space_.grouped(S))

    @small_algebra
    def predict(self, X: Any) -> np.ndarray:
        """Predict labels.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows, of the target where there are two domains; new ones need no refitting.

        Returns
        -------
        y_pred : ndarray of shape (n_samples,)
            Labels.
        """
        best = np.argmax(self._scores(X), axis=1)
        return self.classes_[best]

    @small_algebra
    def predict_proba(self, X: Any) -> np.ndarray:
        """Predict probabilities.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows, of the target where there are two domains; new ones need no refitting.

        Returns
        -------
        proba : ndarray of shape (n_samples, n_classes)
            Rows sum to 1. Sharpened or flattened to suit held-out labels, where there were any.
        """
        scores = self._scores(X)
        return softmax(self.factor_ * scores, axis=1)


def _too_few_classes(classes: np.ndarray, y: np.ndarray, n_labelled: int, sample_domain: Any) -> str:
    if n_labelled == 0 and len(classes) == 0:
        return (
            f"None of the {len(y)} labels in y is there (missing are -1 of integers, NaN and None): give at least one "
            "label of each of two classes."
        )
    text = (
        f"y has one class only, {classes.tolist()[0]!r}, among {n_labelled} labels; two classes in the data are needed"
    )
    if sample_domain is None and n_labelled < len(y) and missing_labels(y, minus_one=False).sum() == 0:
        text += (
            ". The others are -1, which means that there is no label. If -1 is a class, write the classes as strings "
            "or as 0 and 1, and mark a missing label by None or -1"
        )
    return text + "."
