"""Which strategy of transfer: tried from the cheapest to the dearest, dropped as soon as they fall behind."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from functools import partial
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, MetaEstimatorMixin, clone
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import check_scoring
from sklearn.utils import check_consistent_length, check_random_state
from sklearn.utils.validation import validate_data

from sktransfer._frozen import FeatureCache
from sktransfer.backbones import describe, means_table
from sktransfer.base import LabelledScoreMixin
from sktransfer.domains import (
    Domains,
    Evaluator,
    check_class_labels,
    check_domains,
    domain_folds,
    holds_minus_one,
    labels_of_fit,
    missing_labels,
    plain_labels,
    read_source_labels,
    refuse_wrapper,
    split_rows,
)
from sktransfer.exceptions import NegativeTransferWarning
from sktransfer.few_labels import watch_twins
from sktransfer.metrics import evidence_of_models
from sktransfer.model_selection._ensemble import answers_of, check_averaged, check_refit, fit_ensemble
from sktransfer.model_selection._halving import Candidate, Clock, report, tabulate
from sktransfer.model_selection._neighborhood_scorer import TransferEvidenceScorer
from sktransfer.model_selection._race import run_race
from sktransfer.model_selection._refinement import half_and_folds
from sktransfer.model_selection._scorers import asks_for_domains
from sktransfer.model_selection._strategies import ON_REQUEST, features_of, make_strategies
from sktransfer.model_selection._winner import WinnerMixin
from sktransfer.utils._compat import Interval, StrOptions, fit_context
from sktransfer.utils._deviations import ColumnScaler
from sktransfer.utils._messages import caller_level
from sktransfer.utils._tables import refuse_sparse
from sktransfer.utils._threads import small_algebra

if TYPE_CHECKING:
    from torch import nn

__all__ = ["TransferSearchCV"]

# So many strategies meet all folds where they are to be averaged.
_N_KEPT = 3
_READING = ("backbone", "weights", "image_size", "image_shape", "batch_size", "device", "cache", "n_jobs")


class TransferSearchCV(LabelledScoreMixin, WinnerMixin, ClassifierMixin, MetaEstimatorMixin, BaseEstimator):
    """Find the strategy of transfer that suits the data, and be that estimator.

    The strategies are tried from the cheapest to the dearest by successive halving on folds [1]_: all meet the first
    fold, the best third of them the second, and so on until one is left. The first fold trains on one half of the rows
    and tests on the other, which is cheaper and tells more; those of `cv` follow. A baseline without transfer meets
    every fold that is run; the winner is who is most ahead of it, and is fitted to all rows.

    Without a target domain the labels of `y` decide, and the strategies are ``"no_transfer"`` (the baseline: a linear
    model on the pixels of thumbnails), ``"frozen_prototypes"``, ``"frozen_linear"`` and ``"frozen_knn"`` on frozen
    features, and networks fine-tuned by the recipes of these names (see :class:`Recipe`), ``"head"``, ``"full"`` and
    ``"lp-ft"``, and ``"last_stages"``, which is ``trainable=2`` and nothing else; ``"gradual"``, ``"lora"`` and
    ``"from_scratch"`` on request. With a target domain, whose labels are not read, they are
    ``"no_adaptation"`` (the baseline: a linear model on frozen features of the source), ``"prototypes"``, ``"coral"``,
    ``"subspace_alignment"``, ``"jda"`` and ``"label_shift"`` on frozen features, ``"head"``, and the deep methods
    ``"mcc"``, ``"bnm"`` and ``"dsan"``.

    Parameters
    ----------
    backbone : str, ImageBackbone, torch.nn.Module, fitted estimator or None, default="resnet18"
        The pretrained network, as in :class:`FineTunedClassifier`. None searches on tables of numbers, which needs a
        target domain.
    strategies : "auto", list of str or dict of str to classifier or "auto", default="auto"
        Which strategies to try. A list chooses by name; a dict may also bring classifiers of your own, which are tried
        last: ``{"frozen_linear": "auto", "mine": classifier}``. The baseline is always among them.
    weights : str, path-like or None, default="pretrained"
        Weights of the backbone, as in :class:`FineTunedClassifier`.
    scoring : str, callable or None, default=None
        What decides: a scorer of scikit-learn or one of this package, on the test rows of each fold, and with a target
        domain on all target rows, whose labels taught nothing. None takes accuracy without a target domain, and with
        one :class:`TransferEvidenceScorer`, which needs no labels of the target.
    cv : int, splitter or iterable, default=5
        Folds: an int for that many stratified ones, behind the first of halves; with a target domain without that,
        and with rows of every domain in each. Fewer where no class has as many rows. A splitter gives all folds, and
        gets the domain labels as its groups.
    factor : int, default=3
        After each fold, the best ``1 / factor`` of the strategies go on.
    time_budget : float or None, default=None
        Seconds that the search may take, the last fit included. Strategies that there is no time for are left out, and
        a training that would take longer is stopped and dropped. The baseline is always fitted, so that a very short
        budget is overrun by it. None sets no limit.
    error_score : "raise" or float, default=nan
        The score of a fold in which a strategy fails, as in scikit-learn's searches; with nan the strategy is out of
        the race, with a warning.
    refit : True or "ensemble", default=True
        What predicts in the end. True: the winner. ``"ensemble"``: an average of the probabilities of the best, which
        is better than a choice where labels are so few that the folds cannot tell the strategies apart. Three at least
        then meet all folds, and greedy selection on what they say of the test rows weighs them and the baseline [2]_;
        each that has a weight is fitted once, as far as `time_budget` goes. Not with a target domain, for the weights
        need labels.
    guard : bool, default=False
        With a target domain, whether to fit the baseline too, outside `time_budget`, and to fall back to it, with a
        ``NegativeTransferWarning``, where :func:`transfer_evidence` does not speak for the winner.
    target_domain : label or list of labels, default="target"
        Which labels of `sample_domain` are the target; all others are sources.
    max_epochs : int or None, default=None
        Epochs of the networks that are trained; None for as many as the recipe of each says.
    batch_size : int, default=32
        Pictures a step.
    image_size : int, tuple of int or None, default=None
        Height and width in pixels at which the network sees the pictures; None takes its own.
    image_shape : tuple of int or None, default=None
        Shape of flattened pictures.
    device : str or torch.device, default="auto"
        ``"auto"`` takes cuda, mps or cpu, whichever there is.
    cache : {"memory"}, path-like, FeatureCache or None, default="memory"
        Where frozen features are kept, so that all strategies and folds share them; see
        :class:`PretrainedFeatureExtractor`.
    n_jobs : int or None, default=None
        Threads that decode pictures.
    random_state : int, RandomState or None, default=None
        Seed of folds and trainings.
    verbose : int, default=0
        Show a progress bar over the strategies of a fold if not 0.

    Attributes
    ----------
    best_strategy_ : str
        Name of the winner; of the baseline, if the guard fell back to it.
    best_estimator_ : estimator
        The winner, fitted to all rows; with ``refit="ensemble"`` a ``VotingClassifier`` of fitted strategies.
    best_score_ : float
        Mean score of the winner over the folds that it has met.
    ensemble_weights_ : dict of str to float or None
        Weights of the strategies that are averaged, greatest first; they sum to one. None with ``refit=True``.
    baseline_ : str
        Name of the baseline.
    cv_results_ : dict of ndarray
        One entry a strategy, cheapest first: ``strategy``, ``mean_test_score``, ``std_test_score``,
        ``rank_test_score``, ``n_folds``, ``mean_fit_time``, ``mean_score_time``, ``split<i>_test_score`` (NaN where it
        did not come to that fold; the first is that of halves) and ``outcome`` in words; with ``refit="ensemble"``
        ``ensemble_weight``. Means of strategies that met different folds are not comparable to the last digit.
    report_ : str
        What was tried and found, in plain words.
    evidence_ : Bunch or None
        What :func:`transfer_evidence` found about the winner; None where the guard was not asked.
    seconds_ : float
        Seconds that the search took.
    n_folds_ : int
        Number of folds there were, that of halves included.
    scorer_ : callable
        What decided.
    classes_ : ndarray of shape (n_classes,)
        Class labels.
    minus_one_is_missing_ : bool
        Whether -1 in integer labels means "no label" in :meth:`score`; not where a label seen in fit is -1.

    See Also
    --------
    BackboneSearch : Which backbone, for features.
    negative_transfer_report : Whether one estimator is better than another, with interval and test.

    Notes
    -----
    One fold of a few hundred rows tells strategies apart by some points, not less: the winner is one of the best, and
    ``report_`` says how far ahead it was on how many folds.

    References
    ----------
    .. [1] K. Jamieson, A. Talwalkar, "Non-stochastic Best Arm Identification and Hyperparameter Optimization",
       AISTATS 2016.
    .. [2] R. Caruana, A. Niculescu-Mizil, G. Crew, A. Ksikes, "Ensemble Selection from Libraries of Models", ICML 2004.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sktransfer import TransferSearchCV
    >>> X, y = load_digits(return_X_y=True)
    >>> search = TransferSearchCV("sktransfer_mini", strategies=["frozen_linear", "frozen_knn"], random_state=0)
    >>> search = search.fit(X[:300], y[:300])
    >>> search.best_strategy_ in ("no_transfer", "frozen_linear", "frozen_knn")
    True
    >>> search.predict(X[300:303]).shape
    (3,)
    """

    __metadata_request__fit = {"sample_domain": True}

    _parameter_constraints = {
        "backbone": "no_validation",
        "strategies": [str, list, tuple, Mapping],
        "weights": [str, os.PathLike, None],
        "scoring": [str, callable, None],
        "cv": ["cv_object"],
        "factor": [Interval(Integral, 2, None, closed="left")],
        "time_budget": [Interval(Real, 0, None, closed="neither"), None],
        "error_score": [StrOptions({"raise"}), Real],
        "refit": "no_validation",  # check_refit says what the words mean
        "guard": ["boolean"],
        "target_domain": "no_validation",
        "max_epochs": [Interval(Integral, 1, None, closed="left"), None],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        backbone: str | nn.Module | BaseEstimator | None = "resnet18",
        strategies: str | Sequence[str] | Mapping[str, Any] = "auto",
        *,
        weights: str | os.PathLike[str] | None = "pretrained",
        scoring: Any = None,
        cv: Any = 5,
        factor: int = 3,
        time_budget: float | None = None,
        error_score: str | float = np.nan,
        refit: bool | str = True,
        guard: bool = False,
        target_domain: Any = "target",
        max_epochs: int | None = None,
        batch_size: int = 32,
        image_size: int | tuple[int, int] | None = None,
        image_shape: tuple[int, ...] | None = None,
        device: Any = "auto",
        cache: str | os.PathLike[str] | FeatureCache | None = "memory",
        n_jobs: int | None = None,
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
    ):
        self.backbone = backbone
        self.strategies = strategies
        self.weights = weights
        self.scoring = scoring
        self.cv = cv
        self.factor = factor
        self.time_budget = time_budget
        self.error_score = error_score
        self.refit = refit
        self.guard = guard
        self.target_domain = target_domain
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.image_size = image_size
        self.image_shape = image_shape
        self.device = device
        self.cache = cache
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose

    @fit_context(prefer_skip_nested_validation=True)
    @small_algebra
    def fit(self, X: Any, y: Any, *, sample_domain: Any = None) -> TransferSearchCV:
        """Search, and fit the winner to all rows.

        Parameters
        ----------
        X : pictures, or array-like of shape (n_samples, n_features) where ``backbone=None``
            Samples.
        y : array-like of shape (n_samples,)
            Labels. With a target domain those of target rows are not read by the strategies, and by the scorer only
            if it is one that needs them (:func:`oracle_scorer`). Without `sample_domain`, rows with a missing label
            (NaN, None, or -1 for integers) are the target.
        sample_domain : array-like of shape (n_samples,) or None, default=None
            Domain label of each row; None for one domain, unless labels are missing.

        Returns
        -------
        self : TransferSearchCV
            The fitted search.

        Raises
        ------
        DomainError
            If `sample_domain` names no source or no target row.
        ValueError
            If a strategy is not known, or ``backbone=None`` comes without a target domain, or ``refit="ensemble"``
            with one, or with a strategy that gives no probabilities.
        """
        clock, averages = Clock(self.time_budget), check_refit(self.refit)
        y = labels_of_fit(y, caller=type(self).__name__)
        check_consistent_length(X, y)
        if sample_domain is not None or missing_labels(y).any():
            refuse_wrapper(self, y, sample_domain, target_domain=self.target_domain, holds_minus_one=holds_minus_one)
        domains = self._read_domains(X, y, sample_domain)
        labels = y if domains is None else read_source_labels(y, domains)[0]
        check_class_labels(plain_labels(labels))
        if len(set(labels.tolist())) < 2:
            raise ValueError(f"y holds one class only, {labels[0]!r}: a search needs labels of at least two classes.")
        self.minus_one_is_missing_ = not holds_minus_one(labels)
        X = self._check_rows(X)
        seed = check_random_state(self.random_state).randint(2**31 - 1)
        candidates = self._candidates(domains is not None, seed)
        if averages:
            check_averaged(candidates, with_target=domains is not None)
        self.baseline_, baseline = candidates[0].name, candidates[0]
        self.scorer_ = self._choose_scorer(baseline.estimator, domains)
        evaluator = Evaluator(X, y, domains, self._score_rows)
        folds = list(watch_twins(X, self._folds(X, y, domains, seed)))
        winner = run_race(
            candidates,
            evaluator,
            folds,
            factor=self.factor,
            clock=clock,
            error_score=self.error_score,
            n_kept=_N_KEPT if averages else 1,
            answer=partial(answers_of, classes=np.unique(plain_labels(labels))) if averages else None,
            show=bool(self.verbose),
        )
        self.ensemble_weights_: dict[str, float] | None = None
        if averages:
            fitted = fit_ensemble(candidates, evaluator, folds, clock=clock)
            self.best_estimator_, self.ensemble_weights_ = fitted
        else:
            self.best_estimator_ = evaluator.fit(clone(winner.estimator), np.arange(len(y)))
        winner = self._guarded(winner, baseline, evaluator)
        self.best_strategy_, self.best_score_ = winner.name, winner.mean_score
        self.n_folds_, self.cv_results_ = len(folds), tabulate(candidates, len(folds), self.ensemble_weights_)
        self.seconds_ = clock.seconds
        self.report_ = report(
            winner, candidates, len(folds), self.seconds_, budget=self.time_budget, weights=self.ensemble_weights_
        )
        return self

    def _dense_reason(self) -> str:
        return "networks among its strategies compute with every entry"

    def _read_domains(self, X: Any, y: np.ndarray, sample_domain: Any) -> Domains | None:
        if sample_domain is None and not missing_labels(y).any():
            return None
        return check_domains(sample_domain, y, target_domain=self.target_domain, n_samples=len(y))

    def _check_rows(self, X: Any) -> Any:
        if means_table(self.backbone):
            refuse_sparse(self, X)
            return validate_data(self, X)
        description = describe(self)
        description.load().modality.open(self, X, reset=True, **description.reading)
        return X

    @property
    def _reading(self) -> dict[str, Any] | None:
        """Parameters of the extractor, None for tables."""
        return None if means_table(self.backbone) else {name: getattr(self, name) for name in _READING}

    def _candidates(self, with_target: bool, seed: int) -> list[Candidate]:
        if means_table(self.backbone) and not with_target:
            raise ValueError(
                "backbone=None searches among ways to adapt tables to a target domain, but there is none. Pass "
                "sample_domain (pack_domains builds it), or a backbone for pictures."
            )
        known, baseline = make_strategies(
            with_target=with_target,
            reading=self._reading,
            training={name: getattr(self, name) for name in ("max_epochs", "batch_size", "device")},
            target_domain=self.target_domain,
            seed=seed,
        )
        given = self.strategies
        if isinstance(given, str):
            if given != "auto":
                raise ValueError(f"strategies must be 'auto', a list of names or a dict, got {given!r}.")
            given = [name for name in known if name not in ON_REQUEST]
        named = dict(given) if isinstance(given, Mapping) else dict.fromkeys(given, "auto")
        unknown = [name for name, estimator in named.items() if isinstance(estimator, str) and name not in known]
        if unknown or not all(hasattr(est, "fit") or est == "auto" for est in named.values()):
            raise ValueError(
                f"strategies={self.strategies!r}: {unknown or 'a value'} is not known here. "
                f"There are {sorted(known)}; a dict may bring classifiers of your own, or 'auto' for one of these."
            )
        order = [name for name in known if name in named] + [name for name in named if name not in known]
        chosen = {name: known[name] if isinstance(named[name], str) else named[name] for name in order}
        return [Candidate(name, est) for name, est in {baseline: known[baseline], **chosen}.items()]

    def _choose_scorer(self, estimator: Any, domains: Domains | None) -> Any:
        if domains is None:
            return check_scoring(estimator, scoring=self.scoring or "accuracy")
        if self.scoring is None:
            reading = self._reading
            features = ColumnScaler() if reading is None else features_of(reading)
            return TransferEvidenceScorer(features=features, target_domain=self.target_domain)
        if not asks_for_domains(self.scoring):
            raise ValueError(
                f"scoring={self.scoring!r} with a target domain: scikit-learn's scorers read labels of all rows, and "
                "those of the target are not there, or not to be read. Pass one of the scorers without labels, or "
                f"oracle_scorer({self.scoring if isinstance(self.scoring, str) else 'accuracy'!r}) to read them."
            )
        return self.scoring

    def _score_rows(self, model: Any, X: Any, y: np.ndarray, domains: Domains | None) -> float:
        if domains is None:
            return self.scorer_(model, X, y)
        if self.scoring is None:  # the scorer is ours, and goes by the same roles
            return self.scorer_.score_domains(model, X, y, domains)
        return self.scorer_(model, X, y, sample_domain=domains.names)

    def _folds(self, X: Any, y: np.ndarray, domains: Domains | None, seed: int) -> list:
        if not isinstance(self.cv, Integral):
            return split_rows(self.cv, X, y, None if domains is None else domains.names)
        if domains is not None:
            return list(domain_folds(domains, y, n_splits=int(self.cv), random_state=seed))
        return half_and_folds(int(self.cv), y, seed)

    def _guarded(self, winner: Candidate, baseline: Candidate, evaluator: Evaluator) -> Candidate:
        """Return the baseline, fitted, if the evidence is against the winner."""
        self.evidence_ = None
        if not self.guard or evaluator.domains is None or winner is baseline or not baseline.scores:
            return winner
        X, y, domains = evaluator.X, evaluator.y, evaluator.domains
        unadapted = evaluator.fit(clone(baseline.estimator), np.arange(len(y)))
        reading = self._reading
        table = X if reading is None else features_of(reading).fit_transform(X)
        self.evidence_ = evidence_of_models(self.best_estimator_, unadapted, X, y, domains, table=table)
        if self.evidence_.helps or self.evidence_.disagreement == 0:
            return winner
        warnings.warn(
            f"The strategy {winner.name!r} was best by its score, but transfer_evidence does not speak for it (see "
            f"evidence_); {baseline.name!r} is used. Set guard=False to keep the other.",
            NegativeTransferWarning,
            stacklevel=caller_level(),
        )
        winner.outcome = "best by its score, but dropped by the guard"
        self.best_estimator_, baseline.outcome = unadapted, "best"
        return baseline

    @property
    def _given(self) -> Any:
        return LogisticRegression()

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = tags.input_tags.string = not means_table(self.backbone)
        return tags
