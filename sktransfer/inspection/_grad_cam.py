"""Grad-CAM: where in a picture the evidence for a class lies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from sklearn.base import is_regressor
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from sktransfer._nets import NetEstimator
from sktransfer.feature_extraction import PretrainedFeatureExtractor

__all__ = ["Explanation", "Parts", "columns_of", "explain", "grad_cam", "take_apart"]

_BLOCK_ENTRIES = 2**24  # of unit vectors that go through the estimators behind the features at once
_LINEAR_TOLERANCE = 1e-4


class Explanation(NamedTuple):
    """Maps ``(n, H, W)``, pictures ``(n, H, W, 3)`` as the network saw them, and the columns that were explained."""

    maps: np.ndarray
    pictures: np.ndarray
    columns: np.ndarray


def grad_cam(estimator: Any, X: Any, *, target: Any = None, layer: int | str | None = None) -> np.ndarray:
    """Return maps of where in the pictures the evidence for a class lies, by Grad-CAM [1]_.

    With A_k the maps of a layer, and s the score of the class (before any softmax),

        map = max(0, sum_k a_k A_k),    a_k = mean over positions of ds / dA_k,

    enlarged to the size of the network's input and divided by its maximum.

    Parameters
    ----------
    estimator : fitted estimator
        :class:`FineTunedClassifier` or another with a trained network; a pipeline of
        :class:`PretrainedFeatureExtractor` and estimators whose scores are linear in the features (scalers, PCA,
        logistic regression, linear SVM, ridge, ...); :class:`BackboneSearch` or scikit-learn's searches over these.
    X : pictures or recordings
        Of the kind that the estimator was fitted on.
    target : label, array-like of shape (n_samples,) or None, default=None
        Class to be explained, one for all pictures or one for each; None takes the one with the highest score. Of a
        regressor with several outputs, the number of the output.
    layer : int, str or None, default=None
        Whose maps: the number of a stage (negative counts from the end) or the name of a module. None takes the last
        map with more than one position, or the last layer of a :class:`PretrainedFeatureExtractor` with layers of its
        own; of vision transformers the input of the last block's attention, because behind it a class token has no
        gradient at the patches.

    Returns
    -------
    maps : ndarray of shape (n_samples, height, width), float32
        From 0 to 1, at the size of the network's input: of a picture that was cropped, the crop. Zero everywhere where
        nothing speaks for the class. Of recordings ``(n_samples, n_mels, n_frames)``, low pitches at the bottom: the
        maps of all windows put together, and zero behind the end of recordings that are shorter than the longest.

    Raises
    ------
    TypeError
        If the estimator is none of those above.
    ValueError
        If `target` is no class of the estimator, if the estimators behind the features are not linear, or if the layer
        has no map.

    See Also
    --------
    GradCAMDisplay : Draws the maps over the pictures.

    Notes
    -----
    For a network that averages its last maps and ends in one linear layer, this is the class activation map of [2]_.
    Layers before the map are passed without gradients, and the estimator stays as it is.

    A map says which places the score depends on, to first order, and no more: a coarse grid (7 x 7 for most networks at
    224 pixels), and nothing of why.

    References
    ----------
    .. [1] R. R. Selvaraju, M. Cogswell, A. Das, R. Vedantam, D. Parikh, D. Batra, "Grad-CAM: Visual Explanations from
       Deep Networks via Gradient-Based Localization", ICCV 2017.
    .. [2] B. Zhou, A. Khosla, A. Lapedriza, A. Oliva, A. Torralba, "Learning Deep Features for Discriminative
       Localization", CVPR 2016.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sktransfer import FineTunedClassifier, grad_cam
    >>> X, y = load_digits(return_X_y=True)
    >>> model = FineTunedClassifier("sktransfer_mini", max_epochs=5, random_state=0).fit(X[:100], y[:100])
    >>> grad_cam(model, X[:3]).shape
    (3, 96, 96)
    """
    return explain(estimator, X, target=target, layer=layer).maps


class Parts(NamedTuple):
    """A fitted estimator, taken apart: who read the pictures, the network, and scores ``(n, k)`` of its outputs."""

    reader: Any
    batch_size: int
    X: Any
    backbone: Any
    taps: list
    place: Any
    scores: Callable
    gives_numbers: bool


def explain(estimator: Any, X: Any, *, target: Any, layer: int | str | None) -> Explanation:
    """Compute maps, and keep the pictures that they belong to; see :func:`grad_cam`."""
    import torch

    from sktransfer.modalities import iter_batches, resolve_threads
    from sktransfer.utils._device import resolve_device

    parts = take_apart(estimator, X, layer)
    reader, backbone = parts.reader, parts.backbone
    samples = backbone.modality.open(reader, parts.X, reset=False)
    columns = columns_of(estimator, target, len(samples))
    device = resolve_device(reader.device)
    in_parts = backbone.modality.parts(samples)
    if in_parts is not None:
        return _explain_parts(parts, in_parts, columns, device)
    preprocess = backbone.modality.preprocessor(reader.input_spec_.resize)
    size = (len(samples), *preprocess.input_size)
    out = Explanation(np.zeros(size, np.float32), np.zeros((*size, 3), np.float32), np.zeros(len(samples), np.intp))
    batches = iter_batches(
        samples,
        np.arange(len(samples)),
        backbone.modality,
        batch_size=parts.batch_size,
        n_threads=resolve_threads(reader.n_jobs),
        on_error="raise",
    )
    for rows, batch, _ in batches:
        pictures: Any = batch  # which is a tensor, of images
        x = pictures.to(device)
        wanted = None if columns is None else torch.as_tensor(columns[rows], device=device)
        with torch.enable_grad():
            maps, explained = _maps(parts, x, wanted)
        most = maps.amax((1, 2), keepdim=True)
        maps = maps / torch.where(most > 0, most, 1.0)
        out.maps[rows] = maps.cpu().numpy()
        out.pictures[rows] = _as_seen(pictures.numpy(), preprocess)
        out.columns[rows] = explained.cpu().numpy()
    return out


def _maps(parts, x, columns):
    """Compute maps ``(n, H, W)`` of a batch, not yet scaled, and the columns of the scores that they explain."""
    import torch

    from sktransfer.backbones import outputs_from

    cut, outputs = outputs_from(parts.backbone, x, parts.place, parts.taps)
    if cut.ndim not in (3, 4):
        raise ValueError(
            f"layer={parts.place.where!r} gives arrays of shape {tuple(cut.shape[1:])} a picture; pass one with a map "
            "(height, width, channels) or with tokens of patches."
        )
    scores = parts.scores(outputs)
    n_outputs = scores.shape[1]
    if parts.gives_numbers and (n_outputs > 1 if columns is None else not 0 <= int(columns[0]) < n_outputs):
        raise ValueError(f"The estimator gives {n_outputs} numbers a picture; pass target=, from 0 to {n_outputs - 1}.")
    if columns is None:
        columns = scores.argmax(1)
    (slope,) = torch.autograd.grad(scores.gather(1, columns[:, None]).sum(), cut, allow_unused=True)
    if slope is None:
        raise ValueError(f"layer={parts.place.where!r} does not reach the scores. Pass a layer that does.")
    activations, slopes = (parts.backbone.as_map(values.detach())[0].float() for values in (cut, slope))
    maps = (slopes.mean((2, 3), keepdim=True) * activations).sum(1, keepdim=True).clamp(min=0)
    maps = torch.nn.functional.interpolate(maps, size=x.shape[2:], mode="bilinear", align_corners=False)[:, 0]
    return maps, columns


def _explain_parts(parts, in_parts, columns, device):
    """Explain recordings, window by window."""
    import torch

    from sktransfer.inspection._grad_cam_sound import explain_windows
    from sktransfer.modalities import iter_batches, resolve_threads

    modality = parts.backbone.modality

    def batches():
        threads = resolve_threads(parts.reader.n_jobs)
        return iter_batches(in_parts.samples, None, modality, batch_size=parts.batch_size, n_threads=threads)

    def scores(batch):
        with torch.no_grad():
            return parts.scores(parts.backbone.outputs(batch.to(device), parts.taps)).cpu().numpy()

    def maps(batch, wanted):
        with torch.enable_grad():
            return _maps(parts, batch.to(device), torch.as_tensor(wanted, device=device))[0].cpu().numpy()

    found = explain_windows(
        modality, in_parts.samples, in_parts.owner, columns, batches=batches, scores=scores, maps=maps
    )
    return Explanation(*found)


def _as_seen(pictures, preprocess):
    """Pictures ``(n, C, H, W)`` as the network takes them, back as colours from 0 to 1, ``(n, H, W, 3)``."""
    mean, std = (np.reshape(values, (1, -1, 1, 1)) for values in (preprocess.mean, preprocess.std))
    colors = np.moveaxis(np.clip(pictures * std + mean, 0, 1), 1, -1)
    if colors.shape[3] not in (1, 3):  # bands: the first three as colours, the first of two as grey
        colors = colors[..., : 3 if colors.shape[3] > 3 else 1]
    return np.broadcast_to(colors, (*colors.shape[:3], 3))


def take_apart(estimator: Any, X: Any, layer: int | str | None, *, of_words: bool = False) -> Parts:
    """Take a fitted estimator apart, of texts or of what has places; see :func:`grad_cam` for those that can be."""
    check_is_fitted(estimator)
    found = estimator
    while isinstance(found, FrozenEstimator) or hasattr(found, "best_estimator_"):
        found = found.estimator if isinstance(found, FrozenEstimator) else found.best_estimator_
    steps = [step for _, step in found.steps] if isinstance(found, Pipeline) else [found]
    kinds = (PretrainedFeatureExtractor, NetEstimator)
    place = next((i for i, step in enumerate(steps) if isinstance(step, kinds)), None)
    if place is None or (isinstance(steps[place], PretrainedFeatureExtractor) and place == len(steps) - 1):
        raise _not_explained(estimator)
    if isinstance(steps[place], NetEstimator) and place < len(steps) - 1:
        raise _not_explained(estimator)
    backbone = steps[place].backbone_
    if hasattr(backbone.module, "word_embeddings") != of_words:
        what = "TokenSaliencyDisplay explains texts" if of_words else "grad_cam explains what has places"
        raise TypeError(
            f"estimator was fitted to a {backbone.modality.noun}, and {what}: take "
            f"{'GradCAMDisplay' if of_words else 'TokenSaliencyDisplay'}."
        )
    for step in steps[:place]:
        X = step.transform(X)
    if isinstance(steps[place], NetEstimator):
        return _of_net(steps[place], X, layer)
    return _of_features(steps[place], found[place + 1 :], X, layer)


def _not_explained(estimator):
    return TypeError(
        f"estimator is a {type(estimator).__name__}; expected FineTunedClassifier or another estimator with a trained "
        "network, a pipeline of PretrainedFeatureExtractor and a linear model, or a search over these."
    )


def _of_net(net, X, layer):
    import copy

    from sktransfer.backbones import Tap, last_map
    from sktransfer.utils._device import resolve_device

    backbone, trained = net._as_backbone(), net.net_.module_
    device = resolve_device(net.device)
    # Copies: the mode and the gradients of the estimator's own layers stay as they are.
    behind = [copy.deepcopy(part).eval().requires_grad_(False).to(device) for part in (trained.neck, trained.head)]
    place = last_map(backbone) if layer is None else backbone.tap(layer, None)

    def scores(outputs):
        return behind[1](behind[0](outputs[0] * trained.feature_scale))

    return Parts(net, net._batch_size, X, backbone, [Tap("features")], place, scores, is_regressor(net))


def _of_features(extractor, behind, X, layer):
    import torch

    from sktransfer._frozen import PooledLayers
    from sktransfer.backbones import last_map

    backbone, taps = extractor.backbone_, list(extractor.taps_)
    pooled = PooledLayers(backbone, tuple(taps), extractor.pooling)
    if extractor.pooling is None:
        raise ValueError("pooling=None of PretrainedFeatureExtractor gives maps, which no linear model takes.")
    if layer is not None:
        place = backbone.tap(layer, None)
    elif extractor.pooling == "cls" or any(tap.kind in ("features", "map") for tap in taps):
        place = last_map(backbone)
    else:
        order = [name for name, _ in backbone.module.named_modules()]
        names = {tap: backbone.stage_names[tap.where] if tap.kind == "stage" else tap.where for tap in taps}
        place = max(taps, key=lambda tap: order.index(names[tap]))
    coefs, offsets = _linearised(behind, extractor.n_features_out_)

    def scores(outputs):
        features = pooled.pool(outputs).float()
        given = _scores_of(behind, features.detach().cpu().numpy())
        linear = features.detach().cpu().numpy().astype(np.float64) @ coefs + offsets
        if np.abs(given - linear).max() > _LINEAR_TOLERANCE * max(np.abs(given).max(), np.abs(linear).max()):
            raise ValueError(
                f"The scores of {behind!r} are not linear in the features, so that no gradient can be taken. Put "
                "linear steps behind PretrainedFeatureExtractor (LogisticRegression, LinearSVC, Ridge, scalers, PCA)."
            )
        weights, constants = (torch.as_tensor(part, dtype=torch.float32).to(features) for part in (coefs, offsets))
        return features @ weights + constants

    return Parts(extractor, extractor.batch_size, X, backbone, taps, place, scores, is_regressor(behind))


def _scores_of(behind, features):
    """Scores ``(n, k)`` of a pipeline of estimators on features; two columns for two classes."""
    values = behind.predict(features) if is_regressor(behind) else _decisions(behind, features)
    values = np.asarray(values, dtype=np.float64)
    if values.ndim == 2:
        return values
    return values[:, np.newaxis] if is_regressor(behind) else np.column_stack([-values, values])


def _decisions(behind, features):
    if not hasattr(behind, "decision_function"):
        raise TypeError(
            f"{type(behind[-1]).__name__} has no decision_function. Put a linear classifier behind "
            "PretrainedFeatureExtractor, such as LogisticRegression."
        )
    return behind.decision_function(features)


def _linearised(behind, n_features):
    """Coefficients ``(d, k)`` and offsets ``(k,)`` of scores that are linear in the features, whoever computes them."""
    offsets = _scores_of(behind, np.zeros((1, n_features)))[0]
    size = max(1, _BLOCK_ENTRIES // n_features)
    blocks = [np.eye(min(size, n_features - start), n_features, start) for start in range(0, n_features, size)]
    return np.vstack([_scores_of(behind, block) for block in blocks]) - offsets, offsets


def columns_of(estimator: Any, target: Any, n_samples: int) -> np.ndarray | None:
    """Give the columns of the scores to be explained, or None for the highest."""
    if target is None:
        return None
    if is_regressor(estimator):
        return np.full(n_samples, target, dtype=np.intp)
    classes = np.asarray(estimator.classes_)
    given = np.asarray(target)
    labels = np.full(n_samples, given) if given.ndim == 0 else given
    if labels.shape != (n_samples,):
        raise ValueError(
            f"target has shape {labels.shape}; expected one label, or one for each of {n_samples} pictures."
        )
    known = {label: column for column, label in enumerate(classes.tolist())}
    unknown = [label for label in labels.tolist() if label not in known]
    if unknown:
        raise ValueError(f"target={unknown[0]!r} is none of the classes {classes.tolist()}.")
    return np.array([known[label] for label in labels.tolist()], dtype=np.intp)
