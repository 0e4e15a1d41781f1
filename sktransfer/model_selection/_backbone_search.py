"""A search over backbones: ranked by a score, the best few cross-validated, the winner fitted."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, MetaEstimatorMixin, clone, is_classifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import check_scoring
from sklearn.model_selection import check_cv
from sklearn.pipeline import Pipeline
from sklearn.utils import check_array, check_consistent_length, column_or_1d, get_tags
from sklearn.utils.validation import check_is_fitted

from sktransfer._frozen import FeatureCache
from sktransfer.backbones import BackboneHolderMixin
from sktransfer.domains import check_class_labels, labels_of_fit
from sktransfer.feature_extraction import PretrainedFeatureExtractor
from sktransfer.model_selection._ensemble import average, check_probabilities, check_refit, greedy_weights
from sktransfer.model_selection._ranking import (
    SCORES,
    NamedBackbone,
    Ranked,
    as_ranking,
    best_first,
    rank,
    read_backbones,
)
from sktransfer.model_selection._refinement import fewer_folds, refine
from sktransfer.model_selection._winner import WinnerMixin
from sktransfer.utils._compat import EstimatorOf, Interval, StrOptions, fit_context
from sktransfer.utils._threads import small_algebra

__all__ = ["BackboneSearch"]


class BackboneSearch(BackboneHolderMixin, WinnerMixin, MetaEstimatorMixin, BaseEstimator):
    """Choose a backbone by the score of its frozen features, and fit an estimator on those of the winner.

    All backbones are ranked as by :func:`rank_backbones`; the best `refine` are cross-validated, each with a clone of
    `estimator` on its features, on the same folds; the best of these, or of the ranking where ``refine=0``, is fitted
    on all rows. Pictures pass each network once. To fine-tune the winner, pass the fitted search as ``backbone=`` of
    :class:`FineTunedClassifier`.

    Parameters
    ----------
    estimator : estimator or None, default=None
        Classifier or regressor of features; None takes ``LogisticRegression(max_iter=1000)``.
    backbones : list or dict, default=("sktransfer_mini",)
        Backbones as :func:`load_backbone` takes them, or pairs ``(backbone, weights)``. A dict gives them names.
    ranking_score : str or callable, default="auto"
        What ranks: "auto" ("parc" for classes, "logme" for numbers), "logme", "h_score", "nleep", "transrate", "parc",
        "gbc", "sfda", "leep", "nce", or a callable ``(features, y) -> float``; see :func:`rank_backbones`. Regressors
        take "auto", "logme" or a callable.
    refine : int, default=3
        How many of the best are cross-validated; 0 leaves the choice to the score.
    refit : True or "ensemble", default=True
        What predicts in the end. True: the best. ``"ensemble"``: an average of the probabilities, or of the numbers,
        on the best `refine` backbones, weighed by greedy selection on what they say of the test rows of the
        cross-validation [2]_. It is better than a choice where labels are few; each that has a weight is fitted once,
        and pictures then pass its network for every prediction.
    cv : int, cross-validation generator or iterable, default=5
        Folds of the cross-validation; of an int fewer where no class has as many rows.
    scoring : str, callable or None, default=None
        Scorer of the cross-validation and of :meth:`score`; None takes the estimator's ``score``.
    weights : str, path-like or None, default="pretrained"
        Weights of the backbones that come without their own.
    layer : None, int, str or list of these, default=None
        Where the features are taken, as in :class:`PretrainedFeatureExtractor`.
    pooling : {"avg", "max", "avgmax", "gem", "cls", "flatten"}, default="avg"
        How a feature map becomes a vector.
    image_size : int, tuple of int or None, default=None
        Height and width in pixels at which all networks see the pictures; None takes each one's own.
    image_shape : tuple of int or None, default=None
        Shape of flattened pictures, or of arrays whose channel axis cannot be told.
    batch_size : int, default=32
        Pictures decoded together.
    device : str or torch.device, default="auto"
        "auto" takes cuda, mps or cpu, whichever there is.
    precision : {"auto", "float32", "bfloat16", "float16"}, default="auto"
        Number format of the networks.
    cache : {"memory"}, path-like, FeatureCache or None, default="memory"
        Where features are kept; see :class:`FeatureCache`.
    n_jobs : int or None, default=None
        Threads that decode pictures ahead of the network.
    on_error : {"raise", "skip"}, default="raise"
        What a backbone does that cannot be loaded, or whose features cannot be scored: raise, or be left out with a
        warning.
    error_score : "raise" or float, default=nan
        The score of a fold in which the estimator fails, as in scikit-learn's searches; a mean with nan is nan, and
        loses.
    random_state : int, RandomState or None, default=None
        Seed of the scores "nleep" and "auto".
    verbose : int, default=0
        Show a progress bar for each backbone if not 0.

    Attributes
    ----------
    ranking_ : Bunch
        Columns of a table, highest score first (``pandas.DataFrame(search.ranking_)``): ``backbone``, ``score``,
        ``cv_score`` (mean over the folds, NaN where there was none), ``seconds``, ``parameters``, ``n_features``.
        With ``refit="ensemble"`` also ``ensemble_weight``.
    best_index_ : int
        Row of the winner in ``ranking_``; with ``refit="ensemble"`` that of the greatest weight.
    best_backbone_ : str
        Its name.
    best_estimator_ : sklearn.pipeline.Pipeline
        A :class:`PretrainedFeatureExtractor` with the winner, and the estimator, fitted on all rows; with
        ``refit="ensemble"`` a ``VotingClassifier`` or ``VotingRegressor`` of such pipelines.
    ensemble_weights_ : dict of str to float or None
        Weights of the backbones that are averaged, greatest first; they sum to one. None with ``refit=True``.
    classes_ : ndarray of shape (n_classes,)
        Class labels, of classifiers.
    n_features_in_ : int
        Number of columns, where the pictures came flattened.
    feature_names_in_ : ndarray of str
        Names of the columns, where X was a data frame with string names.

    See Also
    --------
    rank_backbones : The ranking alone.
    TransferabilityDisplay : Draws the ranking.
    sklearn.model_selection.GridSearchCV : Cross-validates all of them.

    References
    ----------
    .. [1] K. You, Y. Liu, Z. Zhang, J. Wang, M. I. Jordan, M. Long, "Ranking and Tuning Pre-trained Models: A New
       Paradigm for Exploiting Model Hubs", Journal of Machine Learning Research 23, 2022.
    .. [2] R. Caruana, A. Niculescu-Mizil, G. Crew, A. Ksikes, "Ensemble Selection from Libraries of Models", ICML 2004.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sktransfer import BackboneSearch
    >>> X, y = load_digits(return_X_y=True)
    >>> backbones = {"trained": "sktransfer_mini", "random": ("sktransfer_mini", None)}
    >>> search = BackboneSearch(LogisticRegression(max_iter=1000), backbones, refine=0)
    >>> search = search.fit(X[:200], y[:200])
    >>> search.best_backbone_
    'trained'
    >>> search.predict(X[200:203]).shape
    (3,)
    """

    _held = "backbones"
    _extractor_parameters = (
        *("layer", "pooling", "image_size", "image_shape", "batch_size"),
        *("device", "precision", "cache", "n_jobs", "verbose"),
    )
    _parameter_constraints = {
        "estimator": [EstimatorOf(("classifier", "regressor")), None],
        "backbones": "no_validation",  # read_backbones says more than a type list could
        "ranking_score": [StrOptions(set(SCORES)), callable],
        "refine": [Interval(Integral, 0, None, closed="left")],
        "refit": "no_validation",  # check_refit says what the words mean
        "cv": ["cv_object"],
        "scoring": [str, callable, None],
        "weights": [str, os.PathLike, None],
        **{name: PretrainedFeatureExtractor._parameter_constraints[name] for name in _extractor_parameters},
        "pooling": [StrOptions({"avg", "max", "avgmax", "gem", "cls", "flatten"})],
        "on_error": [StrOptions({"raise", "skip"})],
        "error_score": [StrOptions({"raise"}), Real],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        estimator: Any = None,
        backbones: Sequence[Any] | Mapping[str, Any] = ("sktransfer_mini",),
        *,
        ranking_score: str | Callable[[np.ndarray, np.ndarray], float] = "auto",
        refine: int = 3,
        refit: bool | str = True,
        cv: Any = 5,
        scoring: str | Callable | None = None,
        weights: str | os.PathLike[str] | None = "pretrained",
        layer: int | str | Sequence[int | str | None] | None = None,
        pooling: str = "avg",
        image_size: int | tuple[int, int] | None = None,
        image_shape: tuple[int, ...] | None = None,
        batch_size: int = 32,
        device: Any = "auto",
        precision: str = "auto",
        cache: str | os.PathLike[str] | FeatureCache | None = "memory",
        n_jobs: int | None = None,
        on_error: str = "raise",
        error_score: str | float = np.nan,
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
    ):
        self.estimator = estimator
        self.backbones = backbones
        self.ranking_score = ranking_score
        self.refine = refine
        self.refit = refit
        self.cv = cv
        self.scoring = scoring
        self.weights = weights
        self.layer = layer
        self.pooling = pooling
        self.image_size = image_size
        self.image_shape = image_shape
        self.batch_size = batch_size
        self.device = device
        self.precision = precision
        self.cache = cache
        self.n_jobs = n_jobs
        self.on_error = on_error
        self.error_score = error_score
        self.random_state = random_state
        self.verbose = verbose

    @fit_context(prefer_skip_nested_validation=False)
    @small_algebra
    def fit(self, X: Any, y: Any) -> BackboneSearch:
        """Rank the backbones, cross-validate the best few, and fit the winner.

        Parameters
        ----------
        X : pictures
            Paths, encoded bytes, PIL images, arrays, flattened arrays or a torch Dataset.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Labels of all rows: classes for a classifier, numbers for a regressor.

        Returns
        -------
        BackboneSearch
            The fitted search.

        Raises
        ------
        ValueError
            If `backbones` is empty, has two of one name, or none that could be loaded, if the score cannot be
            computed from these labels, or if ``refit="ensemble"`` comes with ``refine=0`` or with a classifier that
            gives no probabilities.
        WeightsNotFoundError
            If weights cannot be had and ``on_error="raise"``.
        """
        estimator, are_classes = self._given, is_classifier(self._given)
        y = self._read_labels(y, are_classes)
        check_consistent_length(X, y)
        averages = self._check_refit(y)
        kept = max(1, self.refine)
        rows: list[Ranked] = []
        for row in rank(
            read_backbones(self.backbones, self.weights),
            self._extractor,
            X,
            y,
            score=self.ranking_score,
            task="classification" if are_classes else "regression",
            on_error=self.on_error,
            random_state=self.random_state,
        ):
            rows = best_first([*rows, row])
            # Features of those that cannot win any more are let go.
            rows[kept:] = [loser._replace(extractor=None, features=None) for loser in rows[kept:]]
        cv = check_cv(fewer_folds(self.cv, y) if are_classes else self.cv, y, classifier=are_classes)
        folds = list(cv.split(np.zeros(len(y)), y)) if self.refine else []
        found = [
            refine(
                estimator,
                row.features,
                y,
                folds,
                name=row.named.name,
                scoring=self.scoring,
                error_score=self.error_score,
                answers=averages,
            )
            for row in rows[: self.refine]
            if row.features is not None
        ]
        cv_scores = np.full(len(rows), np.nan)
        cv_scores[: len(found)] = [score for score, _ in found]
        self.best_index_ = 0 if np.isnan(cv_scores).all() else int(np.nanargmax(cv_scores))
        weights = None
        if averages:
            weights = self._weigh([answers for _, answers in found], y, folds, len(rows))
            self.best_index_ = int(np.argmax(weights))
        self.best_estimator_ = self._refit(estimator, rows, y, weights)
        shares = {} if weights is None else {"ensemble_weight": weights}
        self.ranking_ = as_ranking(rows, cv_score=cv_scores, **shares)
        self.best_backbone_ = rows[self.best_index_].named.name
        return self

    def _read_labels(self, y, are_classes):
        if y is None or are_classes:
            y = labels_of_fit(y, caller=type(self).__name__)
            check_class_labels(y)
            return y
        y = check_array(y, ensure_2d=False, dtype="numeric", input_name="y")
        return y if y.ndim == 2 and y.shape[1] > 1 else column_or_1d(y, warn=True)

    def _extractor(self, named: NamedBackbone) -> PretrainedFeatureExtractor:
        options = {name: getattr(self, name) for name in self._extractor_parameters}
        return PretrainedFeatureExtractor(named.backbone, weights=named.weights, **options)

    def _check_refit(self, y: np.ndarray) -> bool:
        """Say whether an average is asked for, and refuse one that cannot be."""
        averages = check_refit(self.refit)
        if averages and not self.refine:
            raise ValueError(
                "refit='ensemble' weighs backbones by cross-validation, of which refine=0 leaves none. Set refine to "
                "how many may be averaged, or refit=True."
            )
        if averages and y.ndim > 1:
            raise ValueError(f"refit='ensemble' averages one column of y, got {y.shape[1]}. Set refit=True.")
        if averages and is_classifier(self._given):
            check_probabilities(self._given, name=type(self._given).__name__)
        return averages

    def _weigh(self, answers, y, folds, n_rows):
        """Weights of an average, one for each row of the ranking."""
        places = [place for place, known in enumerate(answers) if known is not None]
        if not places:
            raise ValueError(
                "refit='ensemble': none of the backbones was fitted on every fold, so that there is nothing to weigh "
                "them by; the warnings say why."
            )
        weights = np.zeros(n_rows)
        classes = np.unique(y) if is_classifier(self._given) else None
        tested = y[np.concatenate([test for _, test in folds])]
        weights[places] = greedy_weights(np.stack([answers[place] for place in places]), tested, classes)
        return weights

    def _refit(self, estimator, rows, y, weights):
        """Fit on all rows what predicts in the end, the winner or the average."""

        def pipeline(row):
            fitted = clone(estimator).fit(row.features, y)
            return Pipeline([("extractor", row.extractor), ("estimator", fitted)])

        self.ensemble_weights_ = None
        if weights is None:
            return pipeline(rows[self.best_index_])
        chosen = [place for place in np.argsort(-weights, kind="stable") if weights[place]]
        names = [rows[place].named.name for place in chosen]
        self.ensemble_weights_ = dict(zip(names, weights[chosen].tolist(), strict=True))
        return average(
            self.ensemble_weights_, [pipeline(rows[place]) for place in chosen], y, of_classes=is_classifier(estimator)
        )

    @property
    def _given(self):
        return LogisticRegression(max_iter=1000) if self.estimator is None else self.estimator

    def score(self, X: Any, y: Any) -> float:
        """Score predictions of the winner.

        Parameters
        ----------
        X : pictures
            Of the kind seen in :meth:`fit`.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Labels.

        Returns
        -------
        score : float
            By `scoring`; without it accuracy of a classifier, R^2 of a regressor.
        """
        check_is_fitted(self)
        return float(check_scoring(self.best_estimator_, self.scoring)(self.best_estimator_, X, y))

    @property
    def _extractor_of_the_best(self):
        """The first step of the pipeline that predicts, or of the one with the greatest weight."""
        best = self.best_estimator_
        return best[0] if self.ensemble_weights_ is None else best.estimators_[0].estimator[0]

    @property
    def n_features_in_(self) -> int:
        """Number of columns, where the pictures came flattened."""
        return self._extractor_of_the_best.n_features_in_

    @property
    def feature_names_in_(self) -> np.ndarray:
        """Names of the columns, where X was a data frame with string names."""
        return self._extractor_of_the_best.feature_names_in_

    def _as_backbone(self):
        check_is_fitted(self)
        return self._extractor_of_the_best._as_backbone()

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        inner = get_tags(self._given)
        tags.estimator_type = inner.estimator_type
        tags.classifier_tags = deepcopy(inner.classifier_tags)
        tags.regressor_tags = deepcopy(inner.regressor_tags)
        tags.target_tags = deepcopy(inner.target_tags)
        tags.input_tags = get_tags(PretrainedFeatureExtractor()).input_tags
        return tags
