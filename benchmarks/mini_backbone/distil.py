"""The student, what it is taught, and the joint loss."""

import numpy as np
import torch
from common import ARCHITECTURE, TEACHER, WEIGHTS, import_timm
from maps import MAPS, backbone_maps
from safetensors.torch import load_file
from torch.nn import functional

TEMPERATURE = 2.0


def single_precision_depthwise(model):
    """Run the depthwise convolutions of a model in float32 under autocast; oneDNN's bfloat16 backward is slow there."""

    def wrap(conv):
        plain = conv.forward

        def forward(x):
            with torch.autocast("cpu", enabled=False):
                return plain(x.float()).to(x.dtype)

        return forward

    for module in model.modules():
        if isinstance(module, torch.nn.Conv2d) and module.groups > 1:
            module.forward = wrap(module)


def spread_of(values):
    """Return the standard deviations along the first axis, kept from vanishing by a quarter of their mean."""
    spread = torch.from_numpy(values.astype(np.float32).std(axis=0))
    return spread.clamp_min(0.25 * float(spread.mean()))


def split_maps(flat):
    """Return the teacher's maps of shape (n, channels, side, side) from their flattened rows."""
    parts = flat.split([channels * side * side for _, channels, side in MAPS], dim=1)
    return [part.unflatten(1, (channels, side, side)) for part, (_, channels, side) in zip(parts, MAPS, strict=True)]


class Distiller(torch.nn.Module):
    """Student, teacher classifier and auxiliary heads with their joint loss.

    Parameters
    ----------
    n_classes : int
        Number of joint classes of the auxiliary head.
    targets : ndarray of shape (n, 1280)
        Teacher features, for their spread: errors count in units of it.
    maps : ndarray of shape (n, n_values)
        Flattened teacher maps, likewise.
    """

    def __init__(self, n_classes, targets, maps):
        super().__init__()
        timm = import_timm()
        self.student = timm.create_model(ARCHITECTURE, num_classes=0).to(memory_format=torch.channels_last)
        self.head = torch.nn.Linear(targets.shape[1], n_classes)
        sizes = [(block, channels) for block, channels, _ in MAPS if block is not None]
        with torch.no_grad():
            own = backbone_maps(self.student.eval(), torch.zeros(1, 3, 64, 64))
        # A 1 x 1 convolution leads from the student's narrower blocks to the teacher's channels.
        self.bridges = torch.nn.ModuleList(
            torch.nn.Conv2d(m.shape[1], channels, 1) for m, (_, channels) in zip(own[:-1], sizes, strict=True)
        )
        teacher = load_file(WEIGHTS / TEACHER / "model.safetensors")
        self.register_buffer("weight", teacher["classifier.weight"].float())
        self.register_buffer("bias", teacher["classifier.bias"].float())
        self.register_buffer("spread", spread_of(targets))
        for number, part in enumerate(split_maps(torch.from_numpy(maps))):
            rows = part.permute(0, 2, 3, 1).flatten(0, 2)
            self.register_buffer(f"spread_{number}", spread_of(rows.numpy())[:, None, None])

    def map_loss(self, own, flat, mirror):
        """Return the summed errors of the student's maps, in units of the teacher's spread."""
        loss = 0.0
        for number, (mine, taught) in enumerate(zip(own, split_maps(flat), strict=True)):
            taught = torch.where(mirror[:, None, None, None], taught.flip(3), taught)
            if number < len(self.bridges):
                mine = self.bridges[number](mine)
            side = min(mine.shape[-1], taught.shape[-1])
            mine, taught = (
                functional.adaptive_avg_pool2d(mine.float(), side),
                functional.adaptive_avg_pool2d(taught, side),
            )
            loss = loss + ((mine - taught) / getattr(self, f"spread_{number}")).square().mean()
        return loss

    def forward(self, pixels, targets, maps, labels, mirror):
        """Return the loss of a batch: maps, pooled features, soft teacher classes and true classes."""
        with torch.autocast("cpu", torch.bfloat16):
            own = backbone_maps(self.student, pixels)
            features = own[-1].mean((2, 3))
            loss = 0.5 * self.map_loss(own, maps, mirror)
            taught = functional.linear(targets, self.weight, self.bias)
            said = functional.linear(features, self.weight, self.bias)
            named = self.head(features)
        loss = loss + ((features.float() - targets) / self.spread).square().mean()
        loss = loss + functional.kl_div(
            functional.log_softmax(said.float() / TEMPERATURE, 1),
            functional.log_softmax(taught.float() / TEMPERATURE, 1),
            log_target=True,
            reduction="batchmean",
        )
        if (labels >= 0).any():
            loss = loss + 0.6 * functional.cross_entropy(named.float(), labels, ignore_index=-1, label_smoothing=0.05)
        return loss
