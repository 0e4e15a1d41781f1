"""Distil YAMNet into the network that comes with the package, on generated sounds alone.

``python benchmarks/audio_mini/train.py`` writes ``sktransfer/backbones/sktransfer_audio_mini`` but for its card and
licence; five minutes on one core. ``SKTRANSFER_DATA`` is the folder with the teacher's weights.
"""

import itertools
import json
import os
import sys
import time
from pathlib import Path

import numpy as np
import torch
from generate import sound
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional

from sktransfer import load_backbone
from sktransfer.backbones._timm import timm

REPO = Path(__file__).resolve().parents[2]
TEACHER = Path(os.environ.get("SKTRANSFER_DATA", REPO.parent / "shared")) / "weights/mobilenetv1_100.yamnet_audioset"
EXPORT = REPO / "sktransfer" / "backbones" / "sktransfer_audio_mini"
ARCHITECTURE, ARGUMENTS = "mobilenetv1_short", {"in_chans": 1, "pad_type": "same"}
OFFSET = 0.001  # of the logarithm
N_SOUNDS, BATCH = 2400, 32
N_BATCHES, N_PLACES, ROUNDS, ROWS, LR = 60, 16, 8, 512, 0.01
LEAST_SPREAD = 0.1  # of the mean one, of a channel that hardly changes


def spectra(log_mel, n):
    """Generate sounds: magnitudes ``(n, frames, bands)``, more frames than a window has."""
    rng = np.random.default_rng(0)
    found = np.stack([np.exp(log_mel(sound(rng))) - OFFSET for _ in range(n)])
    return torch.from_numpy(found.astype(np.float32)).clamp_min(0)


def batch_of(sounds, n_frames):
    """Cut windows out of sounds, mix some, and make them louder or softer: log-mel pictures."""

    def windows():
        rows = torch.randint(len(sounds), (BATCH,)).tolist()
        begins = torch.randint(sounds.shape[1] - n_frames + 1, (BATCH,)).tolist()
        return torch.stack([sounds[row, at : at + n_frames] for row, at in zip(rows, begins, strict=True)])

    share = (torch.rand(BATCH) < 0.3) * torch.rand(BATCH)
    gain = 10 ** (1.2 * torch.rand(BATCH) - 0.8)
    mixed = gain[:, None, None] * (windows() + share[:, None, None] * windows())
    return (mixed + OFFSET).log()[:, None]


def layers_of(network):
    """Give the layers of a MobileNet, one behind another: convolutions, each with its normalisation.

    A plain convolution belongs to the layer before it: together they stand for one of the teacher's.
    """
    found = [[(network.conv_stem, network.bn1)]]
    for block in itertools.chain(*network.blocks):
        if hasattr(block, "conv_dw"):
            found += [[(block.conv_dw, block.bn1)], [(block.conv_pw, block.bn2)]]
        else:
            found[-1].append((block.conv, block.bn1))
    return found


def before_bend(norm, x):
    """Normalise as a layer does, without its activation."""
    told = norm.running_mean, norm.running_var, norm.weight, norm.bias, norm.training
    return functional.batch_norm(x, *told, eps=norm.eps)


def maps(layers, x):
    """Compute the map behind each layer, before its activation."""
    found = []
    for layer in layers:
        for convolution, norm in layer:
            made = before_bend(norm, convolution(x))
            x = norm.act(made.clone())  # which works in place
        found.append(made)
    return found


def patches(convolution, x):
    """Give what a convolution sees at some places of a map, and those places."""
    side, stride = convolution.kernel_size[0], convolution.stride[0]
    before = (side - stride) // 2  # as TensorFlow pads maps of an even size
    padded = functional.pad(x, (before, side - stride - before) * 2)
    seen = padded.unfold(2, side, stride).unfold(3, side, stride)  # n, channels, height, width, side, side
    n, _, height, width = seen.shape[:4]
    places = [torch.randint(size, (n * N_PLACES,)) for size in (height, width)]
    rows = torch.arange(n).repeat_interleave(N_PLACES)
    return seen[rows, :, places[0], places[1]], (rows, *places)


def collect(layers, pictures):
    """Give of each layer of the teacher what it sees at some places, and what it makes of it."""
    found = []
    with torch.inference_mode():
        made = maps(layers, pictures)
        bent = [layer[-1][1].act(x.clone()) for layer, x in zip(layers, made, strict=True)]
        for layer, x, right in zip(layers, [pictures, *bent[:-1]], made, strict=True):
            seen, (rows, *places) = patches(layer[0][0], x)
            found.append((seen, right[rows, :, places[0], places[1]]))
    return found


def error_of(made, right):
    """Mean squared error of a map before and behind its activation, in units of the teacher's spread there."""
    found = 0.0
    for weight, mine, its in ((0.3, made, right), (1.0, made.clamp(0, 6), right.clamp(0, 6))):
        spread = its.transpose(0, 1).flatten(1).std(1)
        spread = spread.clamp_min(LEAST_SPREAD * float(spread.mean()))
        found = found + weight * ((mine - its) / spread.view(-1, *[1] * (its.ndim - 2))).square().mean()
    return found


def learn_layer(layer, seen, right):
    """Let one layer of the student make of what the teacher's sees what the teacher's makes of it."""
    parts = nn.ModuleList(itertools.chain(*layer))
    flat = layer[0][0].groups > 1  # few weights a channel
    rates = {LR: [p for p in parts.parameters() if p.ndim > 1 and not flat]}
    rates[3 * LR] = [p for p in parts.parameters() if p.ndim == 1 or flat]
    optimizer = torch.optim.Adam([{"params": params, "lr": rate} for rate, params in rates.items()])
    n_steps = ROUNDS * (len(seen) // ROWS)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, n_steps)
    for step in range(n_steps):
        if step % (n_steps // ROUNDS) == 0:
            order = torch.randperm(len(seen))
        parts.train(step < 0.5 * n_steps)  # from then on with fixed means and deviations, as in use
        rows, order = order[:ROWS], order[ROWS:]
        x = seen[rows]
        for convolution, norm in layer:
            made = before_bend(norm, functional.conv2d(x, convolution.weight, groups=convolution.groups))
            x = norm.act(made.clone())
        loss = error_of(made[:, :, 0, 0], right[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return loss.item()


def export(student):
    """Write configuration and weights as timm reads them, matrices in half precision."""
    EXPORT.mkdir(exist_ok=True)
    config = {
        "architecture": ARCHITECTURE,
        "num_classes": 0,
        "global_pool": "avg",
        "model_args": ARGUMENTS,
        "pretrained_cfg": {
            "input_size": [1, 96, 64],
            "mean": [0.0],
            "std": [1.0],
            "crop_pct": 1.0,
            "interpolation": "bicubic",
            "first_conv": "conv_stem",
            "classifier": "classifier",
            "license": "Apache-2.0",
        },
    }
    (EXPORT / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    state = {name: t for name, t in student.state_dict().items() if not name.endswith("num_batches_tracked")}
    save_file(
        {name: (t.half() if t.ndim > 1 else t).contiguous() for name, t in state.items()}, EXPORT / "model.safetensors"
    )


def main():
    """Generate, teach, write."""
    torch.manual_seed(0)
    teacher = load_backbone(f"audio:local-dir:{TEACHER}")
    n_frames = teacher.modality.n_frames
    student = timm.create_model(ARCHITECTURE, num_classes=0, **ARGUMENTS)
    layers = layers_of(student)
    sounds = spectra(teacher.modality.log_mel, N_SOUNDS)
    print(f"{N_SOUNDS} sounds after {time.process_time():.0f} s", file=sys.stderr)
    shown = [collect(layers_of(teacher.module)[: len(layers)], batch_of(sounds, n_frames)) for _ in range(N_BATCHES)]
    for i, layer in enumerate(layers):
        seen, right = (torch.cat(parts) for parts in zip(*(of_batch[i] for of_batch in shown), strict=True))
        error = learn_layer(layer, seen, right)
        print(f"layer {i}: {error:.4f} after {time.process_time():.0f} s", file=sys.stderr, flush=True)
    export(student.eval())
    n = sum(p.numel() for p in student.parameters())
    print(f"{n} parameters, {time.process_time():.0f} s in all", file=sys.stderr)


if __name__ == "__main__":
    main()
