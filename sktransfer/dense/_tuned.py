"""What FineTunedSegmenter tells the training engine, and how it asks what was trained."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import replace
from numbers import Integral
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from sklearn.model_selection import train_test_split
from sklearn.utils.validation import check_is_fitted

from sktransfer._nets import NetEstimator, Recipe, begin_fit
from sktransfer.dense._answers import each_picture
from sktransfer.dense._coded import coded_tiles
from sktransfer.dense._layers import Layers, taps_for
from sktransfer.dense._maps import cut_for
from sktransfer.dense._scored import LabelsPixelsMixin
from sktransfer.dense._tiling import Tiling
from sktransfer.dense._trained import TrainedMaps, answers_of_tile, held_out_scores
from sktransfer.modalities import Images, Samples, TiledImages

if TYPE_CHECKING:
    from sktransfer._nets import MapHead
    from sktransfer.backbones import Backbone, Tap

__all__ = ["BaseSegmenter"]

# By every recipe that is a name: tiles a step, and steps, of which a few pictures make too few in 30 epochs.
_BATCH_SIZE = 8
_ENOUGH_STEPS = 200
_NOT_HERE = {
    "mixup": 0.0,
    "cutmix": 0.0,
    "compile": False,
}


class _OfRows:
    """A method of networks that give one row a sample, which this one has not."""

    def __set_name__(self, owner, name):
        self.name = name

    def __get__(self, instance, owner):
        raise AttributeError(f"{owner.__name__} labels pixels and has no {self.name}, which is of one row a sample.")


class BaseSegmenter(LabelsPixelsMixin, NetEstimator, auto_wrap_output_keys=None):  # type: ignore[call-arg]  # scikit-learn has it
    """Pictures to scores at every pixel, by a pretrained network with a decoder."""

    _is_calm = True
    transform: Any = _OfRows()
    fit_transform: Any = _OfRows()
    get_feature_names_out: Any = _OfRows()
    module_: Any = _OfRows()

    @abstractmethod
    def __init__(self):
        """Store the parameters."""

    def _learn(self, backbone, learned_from, held_out, checkpoint, seed, reported):
        from sktransfer._nets import MapTargets

        settings = self._settings()
        if held_out is not None:
            values = held_out[1]
            settings = replace(
                settings,
                monitor="valid_loss" if self.scoring is None else f"valid_{self.scoring}",
                score=lambda scores: held_out_scores(scores, values),
            )
        begin_fit(self, *reported, settings.n_epochs)
        self._train(
            backbone,
            (learned_from[0], MapTargets(learned_from[1])),
            None if held_out is None else (held_out[0], MapTargets(held_out[1])),
            settings=settings,
            checkpoint=checkpoint,
            seed=seed,
            reported=reported,
        )

    def _coded(self, held_out, tiling, classes):
        samples, labels, sizes, rows, name = held_out
        rows = np.arange(len(sizes)) if rows is None else rows
        return coded_tiles(samples, labels, sizes, rows, tiling, classes, name)[:2]

    def _split(self, n, seed):
        try:
            return train_test_split(np.arange(n), test_size=self.validation_fraction, random_state=seed)
        except ValueError as error:
            raise ValueError(
                f"early_stopping=True cannot hold out validation_fraction={self.validation_fraction} of {n} pictures: "
                f"{error} Pass a larger validation_fraction, more pictures, X_val and y_val, or early_stopping=False."
            ) from error

    @property
    def _n_outputs(self):
        return len(self.classes_)

    @property
    def _learns_classes(self):
        return True

    def _criterion(self):
        from sktransfer._nets import MapLoss

        gamma = self.focal_gamma if self.loss == "focal" else 0.0
        weights = getattr(self, "_class_weights", [1.0] * len(self.classes_))  # a file holds none: nothing is trained
        return MapLoss(self.loss, weights, gamma=gamma, smoothing=self.recipe_.label_smoothing)

    def _penalty(self):
        return None

    def _answers(self):
        return None

    def _settings(self):
        from sktransfer._nets import TrainingSettings

        return TrainingSettings.on(
            self.device,
            self.precision,
            self.recipe_,
            n_jobs=self.n_jobs,
            verbose=self.verbose,
            callbacks=self.callbacks,
            cache=self.cache,
            early_stopping=self.early_stopping,
            n_iter_no_change=self.n_iter_no_change,
        )

    def _take_recipe(self):
        super()._take_recipe()
        recipe = self.recipe_
        for name, off in _NOT_HERE.items():
            if getattr(recipe, name) != off:
                raise ValueError(
                    f"{name}={getattr(recipe, name)!r} of the recipe is not for labels of pixels: leave it at {off!r}."
                )
        if recipe.label_smoothing and self.loss == "dice":
            raise ValueError(
                f"label_smoothing={recipe.label_smoothing} of the recipe does not go with loss='dice', which compares "
                "areas. Leave it at 0, or pass another loss."
            )
        if isinstance(recipe.augment, str) and recipe.augment not in ("light", "default"):
            raise ValueError(
                f"augment={recipe.augment!r} of the recipe does not change labels of pixels: pass 'light', 'default', "
                "a function of a picture and labels, or None."
            )
        if isinstance(self.recipe, str) and self.batch_size is None:
            self.recipe_ = Recipe(**{**recipe.get_params(deep=False), "batch_size": _BATCH_SIZE})

    def _suit_recipe(self, backbone, *, is_a_pass=False, n_rows=None):
        super()._suit_recipe(backbone, is_a_pass=is_a_pass, n_rows=n_rows)
        if isinstance(self.recipe, str) and self.max_epochs is None and n_rows:
            steps = math.ceil(n_rows / self.recipe_.batch_size)
            epochs = max(self.recipe_.max_epochs, math.ceil(_ENOUGH_STEPS / steps))
            self.recipe_ = Recipe(**{**self.recipe_.get_params(deep=False), "max_epochs": epochs})

    def _open(self, X: Any, seed: int, *, anew: bool = True) -> tuple[Backbone, Samples]:
        from sktransfer.backbones import describe

        # image_size is that of the pictures, which the network need not take whole.
        said = SimpleNamespace(backbone=self.backbone, weights=self.weights, image_shape=self.image_shape)
        description = describe(said)
        backbone = description.load(random_state=seed)
        if not isinstance(backbone.modality, Images):
            raise ValueError(
                f"backbone={self.backbone!r} sees a {backbone.modality.noun}, which has no pixels: FineTunedSegmenter "
                "takes networks for pictures."
            )
        samples = backbone.modality.open(self, X, reset=True, **description.reading)
        return description.fitted(backbone, samples), samples

    def _tiling_of(self, backbone: Backbone, taps: Sequence[Tap]) -> Tiling:
        given: Any = self.image_size
        if given is not None:
            given = (int(given),) * 2 if isinstance(given, Integral) else (int(given[0]), int(given[1]))
        layers = Layers(tuple(taps), tuple(range(len(taps))))
        return cut_for(backbone, layers, tile=self.tile, overlap=self.overlap, scale=float(self.scale), size=given)

    def _head(self, backbone: Backbone) -> MapHead:
        from sktransfer._nets import MapHead

        return MapHead(
            self.decoder,
            taps_for(backbone, self.layers, self.decoder),
            self._frozen_of(backbone),
            TiledImages(cast(Images, backbone.modality)),
        )

    def _answers_of(self, samples: Samples, sizes: np.ndarray, method: str) -> Iterator[tuple[int, np.ndarray]]:
        from sktransfer.utils._device import resolve_device

        module = self.net_.module_
        options = {
            "batch_size": self._batch_size,
            "device": self.device,
            "precision": self.precision,
            "cache": None if module.entry == 0 else self.cache,
            "n_jobs": self.n_jobs,
        }
        layers = Layers(module.taps, ())
        maps = TrainedMaps(
            self.backbone_,
            layers,
            self._tiling_of(self.backbone_, module.taps),
            False,
            options,
            self.net_,
            resolve_device(self.device),
        )
        return each_picture(
            maps,
            samples,
            sizes,
            lambda found: answers_of_tile(found, self.classes_, method),
            verbose=self.verbose,
        )

    def _as_backbone(self):
        check_is_fitted(self)
        module = self.net_.module_
        return self.backbone_.tuned(None if self.plan_.start is None else module.body, None)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags = None
        tags.target_tags.required = True
        return tags
