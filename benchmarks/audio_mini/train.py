"""Distil YAMNet into the network that comes with the package, on generated sounds alone.

``python benchmarks/audio_mini/train.py`` writes ``sktransfer/backbones/sktransfer_audio_mini`` but for its card and
licence; a quarter of an hour on one core. ``SKTRANSFER_DATA`` is the folder with the teacher's weights.
"""

import json
import os
import sys
import time
from pathlib import Path

import numpy as np
import torch
from generate import sound
from safetensors.torch import save_file
from torch.nn import functional

from sktransfer import load_backbone
from sktransfer.backbones import Tap
from sktransfer.backbones._timm import timm

REPO = Path(__file__).resolve().parents[2]
TEACHER = Path(os.environ.get("SKTRANSFER_DATA", REPO.parent / "shared")) / "weights/mobilenetv1_100.yamnet_audioset"
EXPORT = REPO / "sktransfer" / "backbones" / "sktransfer_audio_mini"
ARCHITECTURE, ARGUMENTS = "resnet10t", {"in_chans": 1, "channels": [24, 48, 96, 136], "stem_width": 16}
MEAN, STD = -4.0, 2.5  # about those of log-mel values of sounds
N_SOUNDS, SECONDS, BATCH, LR = 10_000, 600, 48, 4e-3
PAIRS = ((0, 1), (1, 2), (2, 3), (3, 4))  # stages of student and teacher whose maps are of one size


def teach(teacher, pictures):
    """Give the teacher's maps of stages 2 to 5, in half precision, and its pooled features."""
    taps = [teacher.tap(stage, None) for _, stage in PAIRS] + [Tap("features")]
    with torch.inference_mode():
        return [found.half() for found in teacher.outputs(pictures, taps)]


class Distiller(torch.nn.Module):
    """The student, with a layer that leads from each of its stages to the teacher's."""

    def __init__(self, examples, classifier):
        super().__init__()
        self.student = timm.create_model(ARCHITECTURE, num_classes=0, **ARGUMENTS)
        widths = [(mine, theirs.shape[1]) for mine, theirs in zip(ARGUMENTS["channels"], examples, strict=False)]
        self.bridges = torch.nn.ModuleList(torch.nn.Conv2d(*width, 1) for width in widths)
        self.pooled = torch.nn.Linear(ARGUMENTS["channels"][-1], examples[-1].shape[1])
        self.classifier = classifier
        spreads = [e.float().transpose(0, 1).flatten(1).std(1) for e in examples]
        self.spreads = [s.clamp_min(0.25 * float(s.mean())) for s in spreads]

    def forward(self, pictures, taught):
        """Compute the errors of maps and features in units of the teacher's spread, and of its answers."""
        student = self.student
        x = student.maxpool(student.act1(student.bn1(student.conv1((pictures - MEAN) / STD))))
        loss = 0.0
        for i in range(4):
            x = getattr(student, f"layer{i + 1}")(x)
            error = (self.bridges[i](x) - taught[i].float()) / self.spreads[i][:, None, None]
            loss = loss + functional.smooth_l1_loss(error, torch.zeros_like(error))
        features = self.pooled(x.mean((2, 3)))
        error = (features - taught[-1].float()) / self.spreads[-1]
        loss = loss + functional.smooth_l1_loss(error, torch.zeros_like(error))
        said, right = self.classifier(features), self.classifier(taught[-1].float()).sigmoid()
        return loss + 20 * functional.binary_cross_entropy_with_logits(said, right)


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
            "mean": [MEAN],
            "std": [STD],
            "crop_pct": 1.0,
            "interpolation": "bicubic",
            "first_conv": "conv1.0",
            "classifier": "fc",
            "license": "Apache-2.0",
        },
    }
    (EXPORT / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    state = {name: t for name, t in student.state_dict().items() if not name.endswith("num_batches_tracked")}
    save_file(
        {name: (t.half() if t.ndim > 1 else t).contiguous() for name, t in state.items()}, EXPORT / "model.safetensors"
    )


def main():
    """Generate, teach, train, write."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    teacher = load_backbone(f"audio:local-dir:{TEACHER}")
    modality = teacher.modality
    start = time.process_time()
    pictures = torch.from_numpy(np.stack([modality.picture(sound(rng)) for _ in range(N_SOUNDS)]))
    parts = [teach(teacher, batch) for batch in pictures.split(32)]
    taught = [torch.cat(part) for part in zip(*parts, strict=True)]
    print(f"{N_SOUNDS} sounds taught after {time.process_time() - start:.0f} s", file=sys.stderr)
    classifier = teacher.module.get_classifier()
    distiller = Distiller([part[:2000] for part in taught], classifier)
    learning = [p for p in distiller.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(learning, lr=LR, weight_decay=0.02)
    begun, losses = time.process_time(), []
    while (over := (time.process_time() - begun) / SECONDS) < 1:
        for rows in torch.randperm(N_SOUNDS).split(BATCH):
            over = (time.process_time() - begun) / SECONDS
            if over >= 1:
                break
            for group in optimizer.param_groups:
                group["lr"] = LR * min(1, over / 0.03) * 0.5 * (1 + np.cos(np.pi * over))
            loss = distiller(pictures[rows], [part[rows] for part in taught])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        print(f"{over:.2f} {np.mean(losses[-200:]):.4f}", file=sys.stderr)
    export(distiller.student.eval())
    n = sum(p.numel() for p in distiller.student.parameters())
    print(f"{n} parameters, {time.process_time() - start:.0f} s in all", file=sys.stderr)


if __name__ == "__main__":
    main()
