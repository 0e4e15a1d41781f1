"""Sets for benchmarks of few labels, as rows of numbers: features of pictures, texts and recordings, kept on disk.

They are computed once, into a folder outside the repository: ``SKTRANSFER_FEATURES``, or one of the system's for
temporary files.
"""

import functools
import gzip
import json
import os
import tempfile
from pathlib import Path

import numpy as np
from _common import data_folder
from _tasks import BACKBONE, arrays, surf
from scipy.signal import resample_poly, stft

from sktransfer import PretrainedFeatureExtractor
from sktransfer.utils._compat import load_torchvision_operators

IMAGE_SIZE = 160
TEXTS, FIRST_WORDS = 200, 60


def kept(name, compute):
    """Rows and labels of a set, from the folder of features where they lie there."""
    folder = Path(os.environ.get("SKTRANSFER_FEATURES", Path(tempfile.gettempdir()) / "sktransfer_features"))
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}.npz"
    if not file.exists():
        X, y = compute()
        np.savez(file, X=np.asarray(X, dtype=np.float32), y=y)
    with np.load(file) as stored:
        return stored["X"].astype(float), stored["y"]


def pictures(*parts):
    """Frozen features of a folder of pictures, not scaled."""

    def compute():
        paths = sorted(data_folder().joinpath("data", *parts).glob("*/*.jpg"))
        backbone = f"local-dir:{data_folder()}/weights/{BACKBONE}"
        extractor = PretrainedFeatureExtractor(backbone, image_size=IMAGE_SIZE, cache=None)
        return extractor.fit_transform([str(path) for path in paths]), np.array([path.parent.name for path in paths])

    return kept("_".join(parts), compute)


def departments():
    """Embeddings of reviews; the classes are the departments of the shop."""

    def compute():
        load_torchvision_operators()
        from sentence_transformers import SentenceTransformer

        texts, names = [], []
        for name in ("books", "dvd", "electronics", "kitchen"):
            with gzip.open(data_folder() / "data" / "amazon_reviews_text" / f"{name}.jsonl.gz", "rt") as file:
                rows = [json.loads(line) for line in file]
            chosen = np.random.default_rng(0).permutation(len(rows))[:TEXTS]
            texts += [" ".join(rows[row]["text"].split()[:FIRST_WORDS]) for row in chosen]
            names += [name] * TEXTS
        model = SentenceTransformer(str(data_folder() / "weights" / "all-MiniLM-L6-v2"), local_files_only=True)
        return model.float().encode(texts, batch_size=16), np.array(names)

    return kept("departments", compute)


def log_mel(audio, rate, n_frames=96):
    """Logarithm of 64 mel bands of a recording brought to 16 kHz, cut or padded to 96 frames of 10 ms."""
    sound = resample_poly(audio.astype(float) / 32768, 16000, rate)
    _, _, spectrum = stft(sound, 16000, "hann", nperseg=400, noverlap=240, nfft=512, boundary=None, scaling="spectrum")
    edges = np.linspace(*(2595 * np.log10(1 + np.array([125, 7500]) / 700)), 66)
    edges = 700 * (10 ** (edges / 2595) - 1)
    frequency = np.linspace(0, 8000, 257)
    rising = (frequency - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - frequency) / (edges[2:] - edges[1:-1])[:, None]
    # The window sums to 200, by which the spectrum is divided here and not in the network's own front end.
    bands = np.log(np.maximum(np.minimum(rising, falling), 0) @ (200 * np.abs(spectrum)) + 0.001).T
    padded = np.full((n_frames, 64), np.log(0.001))
    padded[: len(bands)] = bands[:n_frames]
    return padded


def spoken_digits():
    """Third stage of a sound network, its six time steps kept; the classes are ten digits of four speakers."""

    def compute():
        import torch

        from sktransfer import load_backbone

        maps, digits = [], []
        for name in ("george", "jackson", "lucas", "nicolas"):
            file = arrays("fsdd", f"{name}.npz")
            bounds = zip(file["offsets"][:-1], file["offsets"][1:], strict=True)
            maps += [log_mel(file["audio"][start:stop], int(file["rate"])) for start, stop in bounds]
            digits += file["digit"].tolist()
        network = load_backbone(f"local-dir:{data_folder()}/weights/mobilenetv1_100.yamnet_audioset").module.eval()
        rows = torch.tensor(np.stack(maps), dtype=torch.float32)[:, None]
        with torch.inference_mode():
            stages = [
                network.forward_intermediates(part, indices=[2], intermediates_only=True)[0] for part in rows.split(32)
            ]
        found = torch.cat(stages).mean(dim=3)
        steps = torch.nn.functional.adaptive_avg_pool1d(found, 6)
        return steps.flatten(1).numpy(), np.array(digits)

    return kept("spoken_digits", compute)


def raw(read, name):
    file = read("coil20_jda", "coil20_32x32.npz")
    return file[f"{name}_X"].reshape(720, -1) / float(file["scale"]), file[f"{name}_y"]


# Constants of the classifier and of its guard were chosen on the first, and are shown on the others.
CHOICE = {
    "flowers5": functools.partial(pictures, "flowers5", "train"),
    "COIL": functools.partial(raw, arrays, "coil1"),
    "SURF amazon": functools.partial(surf, "amazon"),
    "PACS cartoon": functools.partial(pictures, "pacs_photo_cartoon", "cartoon"),
}
SHOWN = {
    "UC Merced": functools.partial(pictures, "ucmerced_subset", "train"),
    "PACS photo": functools.partial(pictures, "pacs_photo_cartoon", "photo"),
    "blood cells": functools.partial(pictures, "bccd_cells", "train"),
    "office amazon": functools.partial(pictures, "office_caltech10_images", "amazon"),
    "departments": departments,
    "spoken digits": spoken_digits,
}
