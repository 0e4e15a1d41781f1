"""JPEG files to features, against the loop of tutorials and embetter."""

import functools
import tempfile

import numpy as np

from speed._job import Job
from speed._pictures import write_pictures

__all__ = ["JOBS"]

_N_PICTURES = 160
_held = []  # what lives as long as the process of a side


def _files():
    import torch

    torch.set_num_threads(1)
    folder, paths = write_pictures(_N_PICTURES)
    _held.append(folder)
    return paths


def _ours(backbone, **options):
    from sktransfer import PretrainedFeatureExtractor, clear_cache

    paths = _files()
    folder = tempfile.TemporaryDirectory(prefix="sktransfer_bench_")
    _held.append(folder)
    extractor = PretrainedFeatureExtractor(backbone, weights=None, cache=folder.name, n_jobs=1, **options)
    extractor.fit(paths)

    def call():  # the folder keeps the graph of ONNX Runtime, too
        clear_cache(folder.name)
        return extractor.transform(paths)

    return call


def _network(backbone):
    """Give the network with the same weights, and timm's own transform."""
    from sktransfer import load_backbone

    module = load_backbone(backbone, weights=None).module
    import timm.data

    return module, timm.data.create_transform(**timm.data.resolve_model_data_config(module))


def _plain(backbone):
    import torch
    from PIL import Image

    paths = _files()
    module, transform = _network(backbone)

    @torch.inference_mode()
    def call():
        features = []
        for start in range(0, len(paths), 32):
            pictures = [transform(Image.open(path).convert("RGB")) for path in paths[start : start + 32]]
            features.append(module.forward_head(module.forward_features(torch.stack(pictures)), pre_logits=True))
        return torch.cat(features).numpy()

    return call


def _embetter(backbone):
    paths = _files()
    module, _ = _network(backbone)
    import timm
    from embetter.vision import ImageLoader, TimmEncoder

    real, timm.create_model = timm.create_model, functools.partial(_unfetched, timm.create_model)
    try:
        encoder = TimmEncoder(backbone)
    finally:
        timm.create_model = real
    state = {key: value for key, value in module.state_dict().items() if key in encoder.model.state_dict()}
    encoder.model.load_state_dict(state)
    return lambda: np.asarray(encoder.transform(ImageLoader().transform(paths)))


def _unfetched(create, name, pretrained=True, **options):
    return create(name, pretrained=False, **options)  # there is nothing to fetch from here


def _check(results):
    expected = results["plain loop"]
    words = []
    for side, features in results.items():
        if side == "plain loop":
            continue
        error = np.abs(features - expected).max() / np.abs(expected).max()
        words.append(f"{side} within {error:.1e}")
        if side != "embetter":
            assert error < (1e-5 if "exact" in side else 0.02), words[-1]
    return ", ".join(words) + " of the largest feature of the plain loop"


def _job(backbone, goal, goal_onnx=None, embetter=False):
    sides = {
        "ours": functools.partial(_ours, backbone),
        "ours, exact resize": functools.partial(_ours, backbone, resize="exact"),
        "ours, onnxruntime": functools.partial(_ours, backbone, engine="onnxruntime"),
        "plain loop": functools.partial(_plain, backbone),
    }
    goals = {("ours", "plain loop"): goal}
    if goal_onnx:
        goals["ours, onnxruntime", "plain loop"] = goal_onnx
    if embetter:
        sides["embetter"] = functools.partial(_embetter, backbone)
        goals["ours", "embetter"] = goal
    return Job(
        title=f"JPEG files to features, {backbone}",
        sides=sides,
        goals=goals,
        check=_check,
        rounds=3,
        packages={"ours, onnxruntime": "onnxruntime", "embetter": "embetter"},
        note=f"{_N_PICTURES} files of 500 x 375 pixels and about 50 kB, 224 px, one thread, an empty cache on disk, "
        "random weights; the plain loop decodes with PIL, prepares with timm's transform and takes 32 at a time"
        + ("; embetter never leaves training mode, which is why its features are others" if embetter else ""),
    )


JOBS = {
    "mobilenetv2_100": _job("mobilenetv2_100", 4.0, 6.0, embetter=True),
    "resnet18": _job("resnet18", 1.3, 1.5),
    "vit_tiny": _job("vit_tiny_patch16_224", 1.1),
}
