"""What estimators with a trained network share: the training, and the network's answers for new samples."""

from __future__ import annotations

import os
import warnings
from abc import ABCMeta, abstractmethod
from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin, is_classifier
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from sktransfer._frozen import FeatureCache, FrozenPart
from sktransfer._nets._persistence import PersistenceMixin
from sktransfer._nets._recipe import CALM, FLAT, Recipe, resolve_recipe, suited
from sktransfer.backbones import BackboneHolderMixin
from sktransfer.utils._compat import CallbackSupportMixin, Interval, StrOptions
from sktransfer.utils._messages import caller_level

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sktransfer._nets._batches import Targets
    from sktransfer._nets._checkpoint import Checkpoint
    from sktransfer._nets._job import Earlier
    from sktransfer._nets._settings import TrainingSettings
    from sktransfer.backbones import Backbone
    from sktransfer.modalities import Samples

__all__ = ["NetEstimator"]

# Parameters that change how fast, where or how loudly a model is made, but not the model.
_NOT_PART_OF_THE_MODEL = {
    "accelerate",
    "backbone",  # its weights stand for it
    "cache",
    "callbacks",
    "checkpoint_dir",
    "compile",
    "device",
    "gradient_checkpointing",
    "n_jobs",
    "on_error",
    "recipe",
    "verbose",
    "warm_start",
}


class NetEstimator(
    PersistenceMixin,
    CallbackSupportMixin,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    BackboneHolderMixin,
    BaseEstimator,
    metaclass=ABCMeta,
):
    """Samples to scores, by a pretrained network whose last part is trained.

    A subclass says what the network should give (`_n_outputs`, `_criterion`) and how it is trained (`_settings`).
    """

    _parameter_constraints = {
        "backbone": "no_validation",  # load_backbone says more than a type list could
        "weights": [str, os.PathLike, None],
        "recipe": "no_validation",  # resolve_recipe says more
        **{name: [*Recipe._parameter_constraints[name], None] for name in FLAT},
        "augment": [*Recipe._parameter_constraints["augment"], StrOptions({"none"})],
        "checkpoint_dir": [str, os.PathLike, None],
        "image_size": [Interval(Integral, 1, None, closed="left"), tuple, list, None],
        "image_shape": [tuple, list, None],
        "device": "no_validation",
        "precision": [StrOptions({"auto", "float32", "bfloat16", "float16"})],
        "cache": [str, os.PathLike, FeatureCache, None],
        "n_jobs": [Integral, None],
        "on_error": [StrOptions({"raise", "drop"})],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
        "callbacks": [list, tuple, None],
    }

    _takes_tables = False  # whether backbone=None means that X is a table
    _auto: Mapping[str, Any] = {}  # parameters of recipe="auto" that differ from the defaults of Recipe
    _is_calm = False  # whether what was pretrained changes little by recipe="auto"
    _n_views = 1  # of each sample, over which answers are averaged
    _interpolates = False  # whether the weights in the end may lie between those of the source and those tuned

    @property
    @abstractmethod
    def _n_outputs(self) -> int:
        """Classes or targets."""

    @abstractmethod
    def _criterion(self) -> Any:
        """Loss of scores, targets and weights, a torch module."""

    @abstractmethod
    def _penalty(self) -> Any:
        """Give what a training adds to the loss, a Penalty or None."""

    @abstractmethod
    def _settings(self) -> Any:
        """Give all that the training goes by, TrainingSettings."""

    def _take_recipe(self):
        """Resolve `recipe` and what is said beside it."""
        recipe = resolve_recipe(self.recipe, **{name: getattr(self, name) for name in FLAT}, auto=self._auto)
        if recipe.label_smoothing and not is_classifier(self):
            raise ValueError(
                f"label_smoothing={recipe.label_smoothing} of the recipe has no meaning for {type(self).__name__}, "
                "which learns numbers: leave it at 0."
            )
        if recipe.interpolate is not None and not self._interpolates:
            raise ValueError(
                f"interpolate={recipe.interpolate} of the recipe is of fine-tuning: {type(self).__name__} adapts what "
                "the weights of the source give to another domain. Leave it at None."
            )
        self.recipe_ = recipe

    def _suit_recipe(self, backbone: Backbone, *, is_a_pass: bool = False, n_rows: int | None = None) -> None:
        """Take the rates that the network wants, where nobody said a rate, and the epochs that `n_rows` rows want."""
        if not isinstance(self.recipe, str) or self.lr is not None:
            return
        is_calm = self._is_calm and self.recipe in CALM and not self._is_random
        penalty = self._penalty() if is_calm else None
        self.recipe_ = suited(
            self.recipe_,
            backbone,
            is_calm=is_calm,
            is_a_pass=is_a_pass,
            keeps_statistics=penalty is None or not penalty.needs_batch_statistics,
            n_rows=n_rows if self.recipe == "auto" and self.max_epochs is None else None,
        )

    @property
    def _is_random(self):
        """Whether the weights are asked to be random."""
        return self.weights is None or getattr(self.backbone, "weights", "") is None

    @property
    def _batch_size(self):
        """Rows of a pass, which may be changed after the training."""
        return self.recipe_.batch_size if self.batch_size is None else self.batch_size

    def _answers(self) -> Any:
        """Say what the scores mean to callbacks of the user."""
        from sktransfer._nets._answers import Answers

        if not is_classifier(self):
            return Answers("numbers", self._n_outputs, self.target_mean_, self.target_scale_)
        return Answers("labels" if getattr(self, "_multilabel", False) else "classes", self._n_outputs)

    def _open(self, X: Any, seed: int, *, anew: bool = True) -> tuple[Backbone, Samples]:
        """Load the network that training starts from (or take the present one), and open X as it says."""
        from sktransfer.backbones import describe

        description = describe(self, or_table=self._takes_tables)
        backbone = description.load(random_state=seed) if anew else self.backbone_
        samples = backbone.modality.open(self, X, reset=True, **description.reading)
        return (description.fitted(backbone, samples) if anew else backbone), samples

    def _samples(self, X: Any) -> Samples:
        """Open X as `fit` did."""
        return self.backbone_.modality.open(self, X, reset=False)

    def _start(self, epochs_before: int = 0) -> tuple[Checkpoint | None, int]:
        """Open the checkpoint, if there is to be one, and give the seed of the training."""
        if self.checkpoint_dir is not None:
            from sktransfer._nets._checkpoint import Checkpoint

            checkpoint = Checkpoint(self.checkpoint_dir)
            if checkpoint.saved is not None:
                return checkpoint, checkpoint.saved["seed"]
            return checkpoint, self._draw_seed(epochs_before)
        return None, self._draw_seed(epochs_before)

    def _draw_seed(self, epochs_before):
        if epochs_before and isinstance(self.random_state, Integral):
            # Another pass, another order: the same seed would repeat the first one's.
            return int(np.random.SeedSequence([int(self.random_state), epochs_before]).generate_state(1)[0] >> 1)
        return int(check_random_state(self.random_state).randint(2**31 - 1))

    @property
    def _frozen(self) -> FrozenPart:
        return self._frozen_of(self.backbone_)

    def _frozen_of(self, backbone: Backbone) -> FrozenPart:
        return FrozenPart(
            backbone,
            batch_size=self._batch_size,
            device=self.device,
            precision=self.precision,
            cache=self.cache,
            n_jobs=self.n_jobs,
            verbose=self.verbose,
        )

    def _begin(self, X, y, n_epochs):
        """Tell scikit-learn's callbacks, where there are any, that fitting begins."""
        if hasattr(self, "_init_callback_context"):
            context = self._init_callback_context(max_subtasks=n_epochs)
            context.call_on_fit_task_begin(estimator=self, X=X, y=y)

    def _readable(self, samples, *parts, name="X"):
        """Leave out samples that cannot be read, and their rows of `parts`, where ``on_error="drop"``."""
        from sktransfer.modalities import resolve_threads, unreadable, warning_of

        if self.on_error == "raise":
            return samples, *parts
        errors = unreadable(samples, resolve_threads(self.n_jobs))
        if not errors:
            return samples, *parts
        first = errors[min(errors)]
        if len(errors) == len(samples):
            raise type(first)(f"None of the {len(samples)} samples of {name} can be read. {first}") from first
        warnings.warn(
            f"{len(errors)} of {len(samples)} samples of {name} cannot be read and are left out. {first}",
            warning_of(first),
            stacklevel=caller_level(),
        )
        kept = np.setdiff1d(np.arange(len(samples)), list(errors))
        return samples.take(kept), *(None if part is None else np.asarray(part)[kept] for part in parts)

    def _train(
        self,
        backbone: Backbone,
        learned_from: tuple[Samples, Targets],
        held_out: tuple[Samples, Targets] | None = None,
        *,
        settings: TrainingSettings,
        checkpoint: Checkpoint | None,
        seed: int,
        earlier: Earlier | None = None,
        epochs_before: int | None = None,
        reported: tuple[Any, Any] | None = None,
        callbacks: tuple = (),
    ) -> None:
        """Train, and keep what was learned.

        `epochs_before` are those of earlier passes where this is another one, None for a whole training; `reported` are
        the X and y that scikit-learn's callbacks are told of.
        """
        from sktransfer._nets._batches import in_parts
        from sktransfer._nets._job import Task, train

        learned_from = in_parts(backbone.modality, *learned_from)
        held_out = None if held_out is None else in_parts(backbone.modality, *held_out)
        stated = {**self.get_params(deep=False), **settings.recipe.get_params(deep=False)}
        task = Task(
            self._frozen_of(backbone),
            self._n_outputs,
            self._criterion(),
            seed,
            answers=self._answers(),
            penalty=self._penalty(),
            earlier=earlier,
            epochs_before=epochs_before or 0,
            is_one_pass=epochs_before is not None,
            checkpoint=checkpoint,
            stated={
                "estimator": type(self).__name__,
                **{
                    # A function's repr holds its address.
                    name: getattr(value, "__qualname__", None) or repr(value)
                    for name, value in stated.items()
                    if name not in _NOT_PART_OF_THE_MODEL
                },
            },
            remedy=self._smaller(settings),
        )
        watchers = () if reported is None else self._reporters(backbone, settings, *reported)
        learned = train(task, settings, learned_from, held_out, (*callbacks, *watchers))
        self.backbone_, self.plan_, self.net_ = backbone, learned.plan, learned.net
        self.lr_ = learned.net.lr
        if learned.curve is not None:
            self.lr_range_ = learned.curve
        earlier_rows = list(self.history_) if epochs_before else []
        self.history_: list[dict[str, Any]] = earlier_rows + learned.history
        self.n_iter_ = len(self.history_)
        if learned.error is not None:
            raise learned.error

    def _smaller(self, settings):
        """Say what makes a training smaller."""
        params = self.get_params(deep=False)
        remedies = [f"a smaller batch_size (e.g. {max(settings.recipe.batch_size // 2, 1)})"]
        if "recipe" in params and not settings.recipe.gradient_checkpointing:
            remedies.append("recipe=Recipe(gradient_checkpointing=True)")
        if "image_size" in params:
            remedies.append("a smaller image_size")
        return ", or ".join(remedies)

    def _reporters(self, backbone, settings, X, y):
        """Tell scikit-learn's callbacks of each epoch, one task each."""
        from sktransfer._nets._callbacks import Reporter
        from sktransfer._nets._freezing import plan_training

        if not hasattr(self, "_callback_fit_ctx"):  # scikit-learn before 1.9
            return ()
        root = self._callback_fit_ctx
        plan = plan_training(backbone, settings.recipe.trainable)
        tasks = []

        def begin(net):
            tasks.append(root.subcontext(task_name="epoch"))
            tasks[-1].call_on_fit_task_begin(estimator=self, X=X, y=y)

        def end(net):
            made = {"backbone_": backbone, "net_": net, "plan_": plan, "n_iter_": len(net.history)}
            return tasks[-1].call_on_fit_task_end(estimator=self, X=X, y=y, reconstruction_attributes=lambda: made)

        return (Reporter(begin, end),)

    def _end(self, X, y):
        """Tell scikit-learn's callbacks that fitting ends."""
        if hasattr(self, "_callback_fit_ctx"):
            self._callback_fit_ctx.call_on_fit_task_end(
                estimator=self, X=X, y=y, reconstruction_attributes=lambda: {"net_": self.net_}
            )
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Give the features that the trained network has before its head.

        Parameters
        ----------
        X : pictures
            Of the kind seen in :meth:`fit`.

        Returns
        -------
        ndarray of shape (n_samples, n_features), float32
            What the last layer takes.
        """
        return self._outputs(X, "features", with_gaps=True)

    @property
    def module_(self) -> Any:
        """The whole network as one ``torch.nn.Module``, for tools of torch such as captum.

        It maps prepared samples to scores, before any softmax, on the CPU and in eval mode; ``frozen`` and ``trained``
        are its parts. ``backbone_.modality.preprocessor()`` prepares a picture. Each call makes a copy, so that what
        is done to it does not reach the estimator: keep it where tools ask for the network and for a layer of it.
        """
        from sktransfer._nets._whole import WholeNetwork

        check_is_fitted(self)
        return WholeNetwork(self)

    @property
    def _is_of_a_table(self):
        """Whether the features are columns of X, so that there is no network but the new layers."""
        from sktransfer.modalities import Tables

        return isinstance(self.backbone_.modality, Tables)

    @property
    def _n_features_out(self):
        return self.net_.module_.head.in_features

    def _outputs(self, X, output, *, with_gaps=False):
        """Scores ``(n_samples, n_outputs)`` or features ``(n_samples, n_features)`` of samples.

        With gaps and ``on_error="drop"``, rows that cannot be read are NaN; they raise otherwise.
        """
        check_is_fitted(self)
        return self._outputs_of_samples(self._samples(X), output, with_gaps)

    def _outputs_of_samples(self, samples, output, with_gaps):
        parts = self.backbone_.modality.parts(samples)
        if parts is not None:
            return parts.mean(self._outputs_of(parts.samples, output, with_gaps))
        return self._outputs_of(samples, output, with_gaps)

    def _outputs_of(self, samples, output, with_gaps):
        from sktransfer.utils._device import resolve_device

        device = resolve_device(self.device)
        module, start = self.net_.module_, self.plan_.start
        on_error = "nan" if with_gaps and self.on_error == "drop" else "raise"
        views = self.backbone_.modality.views(self._n_views) if self._n_views > 1 else []
        if self.plan_.has_frozen_prefix:
            inputs = self._frozen.features(samples, start, on_error, views)
            of_views = [inputs[:, number] for number in range(len(views))] if views else [inputs]
            found = [self.net_.run(rows, device, start, output, self.backbone_.cpu_rows) for rows in of_views]
            found = found[0] if len(found) == 1 else np.mean(found, axis=0)
            if on_error == "nan":
                found[np.isnan(inputs).reshape(len(inputs), -1).all(axis=1)] = np.nan
            return found
        width = module.head.in_features if output == "features" else module.head.out_features
        return self._frozen.whole(samples, module.to(device), output, width, on_error, views)

    def _as_backbone(self):
        check_is_fitted(self)
        if self._is_of_a_table:
            raise ValueError(
                f"{type(self).__name__} was fitted to a table (backbone=None), so that it holds no network for "
                "pictures. Fit it with a backbone, or use its transform."
            )
        module = self.net_.module_
        # A classifier behind layers of its own is none for the pooled features.
        head = None if len(module.neck) else module.head
        return self.backbone_.tuned(None if self.plan_.start is None else module.body, head)

    def set_params(self, **params: Any) -> NetEstimator:
        """Set parameters, those of the recipe and of other objects among them by ``recipe__name``.

        Parameters
        ----------
        **params
            Values by names.

        Returns
        -------
        self : object
            The estimator itself.
        """
        nested = [name for name in params if name.startswith("recipe__")]
        recipe = params.get("recipe", getattr(self, "recipe", None))
        if nested and isinstance(recipe, str):
            raise ValueError(
                f"{nested[0]}={params[nested[0]]!r}: recipe={recipe!r} is a name, which has no parameters. Pass a "
                "recipe of your own, recipe=Recipe(), to set and to search them."
            )
        return super().set_params(**params)

    def __sklearn_is_fitted__(self):
        return hasattr(self, "net_")  # a training that failed leaves other attributes

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.input_tags.string = True
        tags.transformer_tags.preserves_dtype = []  # features are float32 whatever the samples are
        tags.non_deterministic = False
        return tags
