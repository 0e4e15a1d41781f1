"""Render the training views and store what the teacher makes of each.

Writes chunks ``views_NNN.npy`` (uint8 pictures for the student), ``teacher_NNN.npy`` (float16 pooled features of the
teacher on the very same view, seen larger) and ``labels_NNN.npy`` (class of the joint label set, -1 without one) into
the work folder. Chunks that exist are left alone, so a killed run goes on where it stopped.
"""

import argparse
import json
import time

import numpy as np
import torch
from common import DATA, TEACHER, WEIGHTS, WORK, grey_pictures, import_timm, read_folder
from generate import GENERATORS, gradient, random_colour, shape_mask
from PIL import Image, ImageEnhance, ImageFilter
from sklearn.datasets import load_sample_images

CHUNK = 4000
TEACHER_SIDE = 160
# A little larger than the student's input: training shifts the picture by cropping.
STORED_SIDE = 104
# Source, share of the views, smallest area of a crop.
SOURCES = (
    ("flowers", 0.16, 0.08),
    ("aerial", 0.10, 0.10),
    ("sample", 0.12, 0.01),
    ("cells", 0.04, 0.30),
    ("digits", 0.13, 0.70),
    ("fashion", 0.08, 0.60),
    ("generated", 0.15, 0.15),
    ("composite", 0.22, 0.15),
)


def read_sources():
    """Read the open pictures and number their classes jointly.

    Returns
    -------
    sources : dict of str to tuple of (list of PIL.Image.Image, ndarray)
        Pictures and joint labels (-1: no label) of each source.
    classes : dict
        ``n_classes``, the number of joint classes, and ``digits``, those that a mirror would falsify.
    """
    folders = {
        "flowers": ("flowers5", ("train", "val")),
        "aerial": ("ucmerced_subset", ("train", "test")),
        "cells": ("bccd_cells", ("train", "val", "test")),
    }
    raw = {}
    for name, (folder, parts) in folders.items():
        read = [read_folder(DATA / folder / part) for part in parts]
        joined = [picture for pictures, _ in read for picture in pictures]
        raw[name] = (joined, np.concatenate([labels for _, labels in read]))
    mnist = np.load(DATA / "mnist_t10k" / "mnist_t10k_28x28.npz")
    raw["digits"] = (grey_pictures(mnist["X"]), mnist["y"])
    fashion = np.load(DATA / "fashion_mnist" / "fashion_mnist_28x28.npz")
    parts = ("train", "test")
    raw["fashion"] = (
        grey_pictures(np.concatenate([fashion[f"{part}_X"] for part in parts])),
        np.concatenate([fashion[f"{part}_y"] for part in parts]),
    )
    sources, first = {}, 0
    for name, (pictures, labels) in raw.items():
        sources[name] = (pictures, labels.astype(int) + first)
        first += int(labels.max()) + 1
    samples = [Image.fromarray(picture) for picture in load_sample_images().images]
    sources["sample"] = (samples, np.full(len(samples), -1))
    return sources, {"n_classes": first, "digits": sorted(set(sources["digits"][1].tolist()))}


def crop(picture, rng, smallest, turn):
    """Cut a random window of a picture and bring it to the teacher's side.

    Parameters
    ----------
    picture : PIL.Image.Image
        Whole picture.
    rng : numpy.random.Generator
        Source of randomness.
    smallest : float
        Smallest share of the area of the largest square-like window.
    turn : float
        Standard deviation of a rotation in degrees, used on half of the crops.

    Returns
    -------
    view : PIL.Image.Image
        Square view.
    """
    if turn and rng.random() < 0.5:
        picture = picture.rotate(float(rng.normal(0, turn)), resample=Image.Resampling.BILINEAR)
    area = np.exp(rng.uniform(np.log(smallest), 0.0))
    shape = np.exp(rng.uniform(-0.25, 0.25))
    shorter = min(picture.size) * np.sqrt(area)
    width, height = (min(side, shorter * f) for side, f in zip(picture.size, (shape, 1 / shape), strict=True))
    left, top = rng.uniform(0, picture.width - width), rng.uniform(0, picture.height - height)
    box = (left, top, min(left + width, picture.width), min(top + height, picture.height))
    return picture.resize((TEACHER_SIDE, TEACHER_SIDE), Image.Resampling.BICUBIC, box=box)


def recolour(view, rng):
    """Change brightness, contrast and saturation a little; sometimes make the view grey, negative or soft."""
    for enhance in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
        view = enhance(view).enhance(float(np.exp(rng.normal(0, 0.22))))
    fate = rng.random()
    if fate < 0.10:
        view = view.convert("L").convert("RGB")
    elif fate < 0.14:
        view = view.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.5, 3))))
    elif fate < 0.17:
        view = Image.fromarray(255 - np.asarray(view))
    return view


def symbol(picture, rng, sources, smallest):
    """Make a view of a digit or a garment: plain, pixelated, tinted, or laid over another picture."""
    fate = rng.random()
    if fate < 0.35:
        # Coarse sampling, as the 8 by 8 digits of scanners of the nineties have.
        side = int(rng.integers(7, 20))
        margin = int(rng.integers(0, 5))
        inner = picture.crop((margin, margin, 28 - margin, 28 - margin))
        picture = inner.resize((side, side), Image.Resampling.BOX)
    view = crop(picture, rng, smallest, 8.0)
    if fate < 0.6:
        return view
    mask = view.convert("L")
    ground = Image.new("RGB", view.size, random_colour(rng)) if fate < 0.8 else photo(rng, sources)
    ink = random_colour(rng) if rng.random() < 0.7 else photo(rng, sources)
    ground.paste(ink, (0, 0, *view.size), mask)
    return ground


def photo(rng, sources):
    """Draw a crop of a photograph or, less often, a generated picture."""
    name = str(rng.choice(["flowers", "aerial", "sample", "cells", "generated"], p=[0.35, 0.2, 0.2, 0.05, 0.2]))
    if name == "generated":
        return Image.fromarray(GENERATORS[rng.integers(len(GENERATORS))](rng, TEACHER_SIDE))
    pictures = sources[name][0]
    return crop(pictures[rng.integers(len(pictures))], rng, 0.02 if name == "sample" else 0.15, 15.0)


def composite(rng, sources):
    """Put photographs together: cut out by shapes on plain or photographic ground, side by side, or blended."""
    fate = rng.random()
    first = photo(rng, sources)
    if fate < 0.15:
        return Image.blend(first, photo(rng, sources), float(rng.uniform(0.2, 0.8)))
    if fate < 0.4:
        left, top = rng.integers(0, TEACHER_SIDE * 2 // 3, 2)
        width, height = rng.integers(TEACHER_SIDE // 3, TEACHER_SIDE, 2)
        patch = photo(rng, sources).resize((int(width), int(height)))
        first.paste(patch, (int(left), int(top)))
        return first
    ground = Image.fromarray(gradient(rng, TEACHER_SIDE)) if fate < 0.75 else photo(rng, sources)
    for _ in range(rng.integers(1, 4)):
        mask = shape_mask(rng, TEACHER_SIDE, TEACHER_SIDE * rng.uniform(0.2, 0.55))
        ground.paste(first, (0, 0), mask)
        first = photo(rng, sources)
    return ground


def render(index, seed, sources):
    """Render one view.

    Parameters
    ----------
    index : int
        Number of the view; with the seed it decides everything.
    seed : int
        Seed of the whole set.
    sources : dict
        Pictures as `read_sources` returns them.

    Returns
    -------
    view : PIL.Image.Image
        View at the teacher's side.
    label : int
        Joint class, -1 without one.
    """
    rng = np.random.default_rng([seed, index])
    name, _, smallest = SOURCES[rng.choice(len(SOURCES), p=[share for _, share, _ in SOURCES])]
    if name == "generated":
        picture = Image.fromarray(GENERATORS[rng.integers(len(GENERATORS))](rng, TEACHER_SIDE))
        return recolour(crop(picture, rng, 0.5, 0.0) if rng.random() < 0.4 else picture, rng), -1
    if name == "composite":
        return recolour(composite(rng, sources), rng), -1
    pictures, labels = sources[name]
    chosen = rng.integers(len(pictures))
    picture, label = pictures[chosen], int(labels[chosen])
    if name in ("digits", "fashion"):
        return recolour(symbol(picture, rng, sources, smallest), rng), label
    if name in ("aerial", "cells"):
        picture = picture.rotate(90 * int(rng.integers(4)))
    return recolour(crop(picture, rng, smallest, 10.0), rng), label


def load_teacher():
    """Load the teacher as a function from uint8 views to float16 features."""
    timm = import_timm()
    model = timm.create_model(f"local-dir:{WEIGHTS / TEACHER}", pretrained=True, num_classes=0).eval()
    model = model.to(memory_format=torch.channels_last)

    def teach(views):
        pixels = torch.from_numpy(views).permute(0, 3, 1, 2).float().div(127.5).sub(1)
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            return model(pixels).float().numpy().astype(np.float16)

    return teach


def main():
    """Render all chunks that are missing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--views", type=int, default=48000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    WORK.mkdir(parents=True, exist_ok=True)
    sources, classes = read_sources()
    (WORK / "classes.json").write_text(json.dumps(classes))
    teach = load_teacher()
    for chunk in range(options.views // CHUNK):
        if (WORK / f"labels_{chunk:03d}.npy").exists():
            continue
        start = time.perf_counter()
        views, features, labels = [], [], []
        for batch in range(0, CHUNK, 100):
            pairs = [render(chunk * CHUNK + batch + i, options.seed, sources) for i in range(100)]
            small = (STORED_SIDE, STORED_SIDE)
            views += [np.asarray(view.resize(small, Image.Resampling.BICUBIC)) for view, _ in pairs]
            features.append(teach(np.stack([np.asarray(view) for view, _ in pairs])))
            labels += [label for _, label in pairs]
        np.save(WORK / f"views_{chunk:03d}.npy", np.stack(views))
        np.save(WORK / f"teacher_{chunk:03d}.npy", np.concatenate(features))
        # Written last: it marks the chunk as whole.
        np.save(WORK / f"labels_{chunk:03d}.npy", np.array(labels, dtype=np.int64))
        print(f"chunk {chunk}: {time.perf_counter() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main()
