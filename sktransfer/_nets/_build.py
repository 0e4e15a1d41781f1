"""From samples, targets and parameters to something that trains."""

import functools
from collections.abc import Callable

import numpy as np
import torch

from sktransfer._nets._batches import FeatureSet, PictureSet
from sktransfer._nets._freezing import TrainingPlan
from sktransfer.backbones import Backbone, train_transform
from sktransfer.inputs import ImagePreprocessor, Samples, to_pil
from sktransfer.utils._device import forward_in_micro_batches

__all__ = ["training_set"]


def training_set(
    samples: Samples,
    targets: np.ndarray,
    *,
    backbone: Backbone,
    plan: TrainingPlan,
    augment: str | Callable | None,
    frozen_features: Callable[[Samples], np.ndarray],
    batch_size: int,
    device: torch.device,
    precision: str,
    n_jobs: int | None,
) -> FeatureSet | PictureSet:
    """Choose how the data reaches the trained part: cached features where nothing before it changes.

    Parameters
    ----------
    samples : Samples
    targets : ndarray of shape (n,) or (n, n_outputs)
    backbone : Backbone
    plan : TrainingPlan
    augment : None, {"light", "default"} or callable
    frozen_features : callable
        Gives the boundary features of samples, each computed once.
    batch_size, device, precision, n_jobs
        For the frozen part, where augmented pictures must pass it in every epoch.
    """
    if plan.has_frozen_prefix and augment is None:
        return FeatureSet(frozen_features(samples), targets)
    prepare, finish = _preparation(samples, backbone, augment)
    prefix = None
    if plan.has_frozen_prefix:
        boundary = functools.partial(backbone.boundary, start=plan.start)

        def prefix(pictures):
            return torch.from_numpy(
                forward_in_micro_batches(boundary, pictures, batch_size=batch_size, device=device, precision=precision)
            )

    return PictureSet(samples, targets, prepare, finish, prefix=prefix, n_jobs=n_jobs)


def _preparation(samples, backbone, augment):
    preprocess = ImagePreprocessor(**backbone.preprocessing)

    def tensor(picture):
        return torch.from_numpy(preprocess(picture))

    def read(row):
        return to_pil(samples.read(row))

    if augment is None:
        return (lambda row: tensor(samples.read(row, min_size=preprocess.min_source_size))), (lambda ready: ready)
    if callable(augment):
        return read, (lambda picture: tensor(augment(picture)))
    transform = train_transform(backbone.config, augment)
    if backbone.in_chans == 1:
        return read, (lambda picture: transform(picture.convert("L")))
    return read, transform
