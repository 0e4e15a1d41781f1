"""What estimators with a trained network share: the training, and the network's answers for new samples."""

from __future__ import annotations

import os
from abc import ABCMeta, abstractmethod
from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin, is_classifier
from sklearn.utils.validation import check_is_fitted

from sktransfer._frozen import FeatureCache, FrozenPart
from sktransfer._nets._persistence import packed_net, read_estimator, unpack_net, write_estimator
from sktransfer._nets._progress import reporters, smaller, stated
from sktransfer._nets._recipe import CALM, FLAT, Recipe, resolve_recipe, suited
from sktransfer.backbones import BackboneHolderMixin
from sktransfer.utils._compat import CallbackSupportMixin, Interval, StrOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sktransfer._nets._batches import Targets
    from sktransfer._nets._checkpoint import Checkpoint
    from sktransfer._nets._job import Earlier
    from sktransfer._nets._map_head import MapHead
    from sktransfer._nets._settings import TrainingSettings
    from sktransfer.backbones import Backbone
    from sktransfer.modalities import Samples

__all__ = ["NetEstimator"]


class NetEstimator(
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
    _regularizer_classes: Callable[[], Mapping[str, type]] = dict  # what `regularizer` may be in a file, by names
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
        if recipe.label_smoothing and not self._learns_classes:
            raise ValueError(
                f"label_smoothing={recipe.label_smoothing} of the recipe has no meaning for {type(self).__name__}, "
                "which learns numbers: leave it at 0."
            )
        if recipe.interpolate is not None and not self._interpolates:
            raise ValueError(
                f"interpolate={recipe.interpolate} of the recipe is of fine-tuning: {type(self).__name__} does not mix "
                "its weights with those of the source, as FineTunedClassifier does. Leave it at None."
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
    def _learns_classes(self):
        """Whether what is learned are classes, and not numbers."""
        return is_classifier(self)

    @property
    def _is_random(self):
        """Whether the weights are asked to be random."""
        return self.weights is None or getattr(self.backbone, "weights", "") is None

    @property
    def _batch_size(self):
        """Rows of a pass, which may be changed after the training."""
        return self.recipe_.batch_size if self.batch_size is None else self.batch_size

    def _head(self, backbone: Backbone) -> MapHead | None:
        """Give what is put on the backbone; None for one linear layer on pooled features."""
        return None

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
        task = Task(
            self._frozen_of(backbone),
            self._n_outputs,
            self._criterion(),
            seed,
            head=self._head(backbone),
            answers=self._answers(),
            penalty=self._penalty(),
            earlier=earlier,
            epochs_before=epochs_before or 0,
            is_one_pass=epochs_before is not None,
            checkpoint=checkpoint,
            stated=stated(self, settings.recipe),
            remedy=smaller(self, settings.recipe),
        )
        watchers = () if reported is None else reporters(self, backbone, settings, *reported)
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

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fitted estimator to one file, from which :meth:`load` runs no code.

        The file is in the safetensors format. It holds the whole network, frozen part included, and so needs neither
        the hub nor a weight file where it is loaded: the network before training and the weights that training
        changed. Parameters (but for callbacks), labels and what was learned about the input stand as JSON in its
        header. Its path may be passed as ``backbone`` to any estimator. Of a regularizer of your own class the file
        holds the parameters and the name of the class, not its code: import its module before :meth:`load`.

        Parameters
        ----------
        path : str or path-like
            Name of the file, with any suffix or none. A file of this name is replaced once the new one is complete.

        Raises
        ------
        ValueError
            If a parameter or attribute is an object that JSON cannot hold (a callable, a RandomState instance, a
            network that timm cannot rebuild); names it and the way out.
        OSError
            If the file cannot be written; what was there is unchanged.

        See Also
        --------
        export_onnx : The network alone, for other programs.
        """
        write_estimator(self, path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Any:
        """Load a fitted estimator that :meth:`save` wrote; its predictions are the same.

        Where ``backbone`` was a network or a fitted estimator, it becomes `path`: a new ``fit`` starts from the tuned
        network in the file. ``cache`` and ``checkpoint_dir`` are their defaults again where they were folders: no file
        says where anything is written.

        Parameters
        ----------
        path : str or path-like
            The file.

        Returns
        -------
        estimator
            Of this class, fitted, on the CPU until it predicts.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        WeightsMismatchError
            If the file is damaged, was not written by :meth:`save`, or holds an estimator that could not predict.
        ValueError
            If it holds an estimator of another class, or was written by a newer version.
        """
        return read_estimator(cls, path)

    def export_onnx(self, path: str | os.PathLike[str]) -> None:
        """Write the whole network as an ONNX model, for programs without Python or torch.

        Its input ``pictures`` is float32 ``(batch, channels, height, width)``, prepared as the metadata entry
        ``preprocessing`` says; its output is ``probabilities`` ``(batch, n_classes)`` in the order of the metadata
        entry ``classes``, or ``predictions`` in the units of the targets. Both entries are JSON. A network for texts
        has the inputs ``input_ids`` and ``attention_mask`` instead, int64 ``(batch, tokens)``, and ``preprocessing``
        holds the tokenizer, ``tokenizers.Tokenizer.from_str(preprocessing["tokenizer"])``. Of a recording, and of a
        text with ``long_texts="chunk"``, the model sees one window: ``predict_proba`` is the mean over all of them.

        Parameters
        ----------
        path : str or path-like
            Name of the file. A file of this name is replaced once the new one is complete.

        Raises
        ------
        ImportError
            If onnx or onnxscript is not installed (``pip install 'sktransfer[onnx]'``).
        OSError
            If the file cannot be written; what was there is unchanged.
        """
        from sktransfer._nets._onnx import write_onnx

        check_is_fitted(self)
        write_onnx(self, path)

    def __getstate__(self):
        return packed_net(super().__getstate__())

    def __setstate__(self, state):
        super().__setstate__(state)
        unpack_net(self)

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
