"""Distil the small backbone from the cached teacher features and export it.

A checkpoint is written after every epoch and the run goes on from it when started again. ``train_log.csv`` in this
folder gains one line an epoch, and the export (moving average of the weights) is renewed after every epoch.
"""

import argparse
import csv
import json
import math
import time
from pathlib import Path

import numpy as np
import torch
from common import ARCHITECTURE, EXPORT, INPUT_SIZE, WORK, import_timm
from distil import Distiller, single_precision_depthwise
from safetensors.torch import save_file
from torch.nn import functional

LOG = Path(__file__).resolve().parent / "train_log.csv"
VALIDATION = 1500
CALIBRATION = 6000
MEAN = STD = (0.5, 0.5, 0.5)


def load_views():
    """Read the rendered chunks.

    Returns
    -------
    views : ndarray of shape (n, side, side, 3)
        Pictures of type uint8.
    targets : ndarray of shape (n, 1280)
        Teacher features of type float16.
    labels : ndarray of shape (n,)
        Joint classes, -1 without one.
    maps : ndarray of shape (n, n_values)
        Flattened teacher maps of type float16.
    """
    chunks = [path.stem[-3:] for path in sorted(WORK.glob("labels_*.npy"))]
    names = ("views", "teacher", "labels", "maps")
    read = [[np.load(WORK / f"{name}_{chunk}.npy") for chunk in chunks] for name in names]
    return tuple(np.concatenate(parts) for parts in read)


def make_batch(views, mirrored, side, rng):
    """Shift, mirror, tint and sometimes coarsen pictures, and scale them to the network's range.

    Parameters
    ----------
    views : ndarray of shape (n, stored_side, stored_side, 3)
        Pictures of type uint8.
    mirrored : ndarray of shape (n,)
        Whether a picture may be mirrored.
    side : int
        Side of the pictures fed to the network.
    rng : numpy.random.Generator or None
        Source of the changes; None for the centre crop alone.

    Returns
    -------
    pixels : Tensor of shape (n, 3, side, side)
        Pixels, channels last in memory.
    mirror : ndarray of shape (n,)
        Which pictures were mirrored.
    """
    count, slack = len(views), views.shape[1] - INPUT_SIZE
    cropped = np.empty((count, INPUT_SIZE, INPUT_SIZE, 3), dtype=np.uint8)
    offsets = np.full((count, 2), slack // 2) if rng is None else rng.integers(0, slack + 1, (count, 2))
    mirror = np.zeros(count, bool) if rng is None else mirrored & (rng.random(count) < 0.5)
    for i, (top, left) in enumerate(offsets):
        part = views[i, top : top + INPUT_SIZE, left : left + INPUT_SIZE]
        cropped[i] = part[:, ::-1] if mirror[i] else part
    pixels = torch.from_numpy(cropped).permute(0, 3, 1, 2).float().div(127.5).sub(1)
    if rng is not None:
        gain = torch.from_numpy(rng.normal(1, 0.08, (count, 3, 1, 1))).float()
        shift = torch.from_numpy(rng.normal(0, 0.05, (count, 3, 1, 1))).float()
        pixels = pixels.mul(gain).add(shift).clamp(-1, 1)
        # Many small data sets hold pictures of 8 to 32 pixels: some views lose their detail, the target does not.
        coarse = count // 5
        small = functional.interpolate(pixels[:coarse], size=int(rng.integers(20, 56)), mode="area")
        pixels[:coarse] = functional.interpolate(small, size=INPUT_SIZE, mode="bicubic", align_corners=False).clamp(
            -1, 1
        )
    if side != INPUT_SIZE:
        pixels = functional.interpolate(pixels, size=side, mode="bilinear", antialias=True)
    return pixels.contiguous(memory_format=torch.channels_last), mirror


def picture_side(epoch, epochs):
    """Return the side of the pictures in an epoch: small ones first, for speed."""
    return 80 if epoch < 0.75 * epochs else INPUT_SIZE


def learning_rate(progress, peak):
    """Return the learning rate at a share of the whole training: linear warm-up, then cosine to zero."""
    warm = 0.03
    if progress < warm:
        return peak * (0.01 + progress / warm)
    return 0.5 * peak * (1 + math.cos(math.pi * (progress - warm) / (1 - warm)))


def update_average(average, model, step):
    """Move the averaged state towards the student's; the memory grows from short to 1000 steps."""
    keep = min(0.999, (1 + step) / (10 + step))
    for name, value in model.state_dict().items():
        if value.is_floating_point():
            average[name].mul_(keep).add_(value, alpha=1 - keep)
        else:
            average[name].copy_(value)


def validate(average, views, targets):
    """Return the mean cosine of averaged student and teacher features on held-out views."""
    timm = import_timm()
    model = timm.create_model(ARCHITECTURE, num_classes=0).eval().to(memory_format=torch.channels_last)
    model.load_state_dict(average)
    cosines = []
    with torch.inference_mode():
        for start in range(0, len(views), 250):
            pixels, _ = make_batch(views[start : start + 250], None, INPUT_SIZE, None)
            taught = torch.from_numpy(targets[start : start + 250]).float()
            cosines.append(functional.cosine_similarity(model(pixels), taught))
    return float(torch.cat(cosines).mean())


def recalibrate(average, views, seed):
    """Estimate the batch-norm statistics of the averaged weights anew, on full-size training views.

    The training ends on pictures of another size and on moving weights, and the statistics follow both.

    Parameters
    ----------
    average : dict
        Averaged state; its statistics are replaced.
    views : ndarray of shape (n, stored_side, stored_side, 3)
        Training views.
    seed : int
        Seed of the windows.
    """
    timm = import_timm()
    model = timm.create_model(ARCHITECTURE, num_classes=0).train().to(memory_format=torch.channels_last)
    model.load_state_dict(average)
    norms = [module for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over the batches
    rng = np.random.default_rng([seed, 99])
    with torch.inference_mode():
        for start in range(0, len(views), 200):
            model(make_batch(views[start : start + 200], np.zeros(1, bool), INPUT_SIZE, rng)[0])
    for name, value in model.state_dict().items():
        average[name].copy_(value)


def export(average, folder):
    """Write the averaged weights in float16 with the timm configuration beside them."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {
        name: value.half().contiguous() if value.is_floating_point() else value.clone()
        for name, value in average.items()
        if not name.endswith("num_batches_tracked")
    }
    # A reader must never meet half a file.
    save_file(tensors, folder / "model.safetensors.new", metadata={"format": "pt"})
    # safetensors makes the file readable for its owner alone.
    (folder / "model.safetensors.new").chmod(0o644)
    (folder / "model.safetensors.new").replace(folder / "model.safetensors")
    pretrained_cfg = {
        "input_size": [3, INPUT_SIZE, INPUT_SIZE],
        "mean": list(MEAN),
        "std": list(STD),
        "crop_pct": 1.0,
        "interpolation": "bicubic",
        "first_conv": "conv_stem",
        "classifier": "classifier",
        "license": "Apache-2.0",
    }
    config = {
        "architecture": ARCHITECTURE,
        "num_classes": 0,
        "global_pool": "avg",
        "pretrained_cfg": pretrained_cfg,
    }
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")


def train_epoch(state, data, order, options):
    """Train one epoch.

    Parameters
    ----------
    state : dict
        Model, optimiser, averaged weights, epoch and step; changed in place.
    data : tuple of ndarray
        Views, targets, labels and maps.
    order : ndarray
        Indices of the training views.
    options : argparse.Namespace
        Options of the run.

    Returns
    -------
    loss : float
        Mean loss of the epoch.
    """
    views, targets, labels, maps = data
    model, optimiser = state["model"].train(), state["optimiser"]
    rng = np.random.default_rng([options.seed, state["epoch"]])
    batches = np.array_split(rng.permutation(order), len(order) // options.batch)
    side, total = picture_side(state["epoch"], options.epochs), 0.0
    for number, chosen in enumerate(batches):
        for group in optimiser.param_groups:
            group["lr"] = learning_rate((state["epoch"] + number / len(batches)) / options.epochs, options.rate)
        mirrored = ~np.isin(labels[chosen], state["digits"])
        pixels, mirror = make_batch(views[chosen], mirrored, side, rng)
        taught = torch.from_numpy(targets[chosen]).float(), torch.from_numpy(maps[chosen]).float()
        loss = model(pixels, *taught, torch.from_numpy(labels[chosen]), torch.from_numpy(mirror))
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimiser.step()
        state["step"] += 1
        update_average(state["average"], model.student, state["step"])
        total += float(loss.detach())
    return total / len(batches)


def build_state(data, options):
    """Make the model, the optimiser and the averaged weights, or read them from the last checkpoint.

    The student starts from what `shrink.py` wrote.
    """
    torch.manual_seed(options.seed)
    classes = json.loads((WORK / "classes.json").read_text())
    model = Distiller(classes["n_classes"], data[1][:20000], data[3][:2000])
    model.student.load_state_dict(torch.load(WORK / "initial.pt", weights_only=True))
    decayed = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": 0.03}, {"params": others, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=options.rate, fused=True)
    average = {name: value.clone() for name, value in model.student.state_dict().items()}
    state = {"model": model, "optimiser": optimiser, "average": average, "epoch": 0, "step": 0}
    checkpoint = WORK / "checkpoint.pt"
    if checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(saved["model"])
        optimiser.load_state_dict(saved["optimiser"])
        state |= {name: saved[name] for name in ("average", "epoch", "step")}
    single_precision_depthwise(model.student)
    return state | {"digits": classes["digits"]}


def log_line(line):
    """Append one line to the log, below a header when the log is new."""
    new = not LOG.exists()
    with LOG.open("a", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(line), lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerow(line)


def main():
    """Train from the last checkpoint, or from the start, to the last epoch."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--export-folder", type=Path, default=EXPORT)
    options = parser.parse_args()
    torch.set_num_threads(1)
    data = load_views()
    state = build_state(data, options)
    order = np.random.default_rng(options.seed).permutation(len(data[0]))
    held, order = order[:VALIDATION], order[VALIDATION:]
    while state["epoch"] < options.epochs:
        start = time.perf_counter()
        loss = train_epoch(state, data, order, options)
        cosine = validate(state["average"], data[0][held], data[1][held])
        log_line(
            {
                "epoch": state["epoch"],
                "side": picture_side(state["epoch"], options.epochs),
                "seconds": round(time.perf_counter() - start, 1),
                "loss": round(loss, 5),
                "validation_cosine": round(cosine, 5),
            }
        )
        state["epoch"] += 1
        saved = {name: state[name] for name in ("average", "epoch", "step")}
        saved |= {name: state[name].state_dict() for name in ("model", "optimiser")}
        torch.save(saved, WORK / "checkpoint.new")
        (WORK / "checkpoint.new").replace(WORK / "checkpoint.pt")
        export(state["average"], options.export_folder)
    recalibrate(state["average"], data[0][order[:CALIBRATION]], options.seed)
    print("recalibrated:", validate(state["average"], data[0][held], data[1][held]))
    export(state["average"], options.export_folder)


if __name__ == "__main__":
    main()
