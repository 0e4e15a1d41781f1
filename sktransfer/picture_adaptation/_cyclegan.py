"""Translation of pictures between two domains: small networks, their losses, and a training step of all of them."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.nn import functional

__all__ = [
    "N_MAPS",
    "N_STYLES",
    "CycleGAN",
    "Discriminator",
    "Generator",
    "SourceClassifier",
    "colour_map",
    "cycle_loss",
    "discriminator_loss",
    "generator_loss",
    "semantic_loss",
]

# Random numbers that a generator gets for a picture: one vector, and maps of a quarter of its height and width.
N_STYLES = 8
N_MAPS = 4
_MAP_STRIDE = 4
# Share of the target's cycle in the cycle loss: colours and textures drawn at random cannot come back as they were, and
# a generator made to try hides them in the translated picture.
_TARGET_CYCLE = 0.25


def generator_loss(fake_scores: torch.Tensor) -> torch.Tensor:
    """Least-squares loss of a generator: ``mean((D(G(x)) - 1)^2)`` [1]_.

    Parameters
    ----------
    fake_scores : torch.Tensor of any shape
        What the discriminator says of translated pictures.

    Returns
    -------
    torch.Tensor of shape ()

    References
    ----------
    .. [1] Mao, X. et al. "Least Squares Generative Adversarial Networks", ICCV 2017.
    """
    return (fake_scores - 1).square().mean()


def discriminator_loss(real_scores: torch.Tensor, fake_scores: torch.Tensor) -> torch.Tensor:
    """Least-squares loss of a discriminator: ``(mean((D(t) - 1)^2) + mean(D(G(x))^2)) / 2``.

    Parameters
    ----------
    real_scores, fake_scores : torch.Tensor of any shape
        What it says of pictures of its domain and of translated ones.

    Returns
    -------
    torch.Tensor of shape ()
    """
    return ((real_scores - 1).square().mean() + fake_scores.square().mean()) / 2


def cycle_loss(pictures: torch.Tensor, translated_back: torch.Tensor) -> torch.Tensor:
    """Mean absolute difference of pictures and what comes back of them [1]_; of the identity loss too.

    Parameters
    ----------
    pictures, translated_back : torch.Tensor of shape (n, channels, height, width)

    Returns
    -------
    torch.Tensor of shape ()

    References
    ----------
    .. [1] Zhu, J.-Y. et al. "Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial Networks",
       ICCV 2017.
    """
    return (pictures - translated_back).abs().mean()


def semantic_loss(scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Mean cross-entropy of the classes of pictures, over those that have a label.

    Parameters
    ----------
    scores : torch.Tensor of shape (n, n_classes)
    labels : torch.Tensor of int of shape (n,)
        -1 where there is none.

    Returns
    -------
    torch.Tensor of shape ()
        0 without any label.
    """
    return functional.cross_entropy(scores, labels, ignore_index=-1, reduction="sum") / max(1, int((labels >= 0).sum()))


def colour_map(source: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scale and shift of each channel that give source pictures the mean and spread of target pictures.

    The scale is negative where this brings the brightnesses much closer: white on black becomes black on white. The
    sign is the same for all channels.

    Parameters
    ----------
    source, target : ndarray of shape (n, channels, height, width)

    Returns
    -------
    scale, shift : ndarray of shape (channels,)
        ``scale * source + shift`` looks like the target.
    """
    axes = (0, 2, 3)
    spread = (target.std(axis=axes) + 1e-3) / (source.std(axis=axes) + 1e-3)
    levels = [_standard_quantiles(pictures.mean(axis=1)) for pictures in (source, target)]
    kept = np.abs(levels[0] - levels[1]).mean()
    turned = np.abs(-levels[0][::-1] - levels[1]).mean()
    scale = -spread if turned < kept / 2 else spread
    return scale, target.mean(axis=axes) - scale * source.mean(axis=axes)


def _standard_quantiles(brightness: np.ndarray) -> np.ndarray:
    quantiles = np.quantile(brightness, np.linspace(0.005, 0.995, 200))
    return (quantiles - brightness.mean()) / (brightness.std() + 1e-6)


def _convolution(n_in: int, n_out: int, size: int = 3, stride: int = 1) -> nn.Conv2d:
    # Zeros at the border would tell where it is, and a frame round the picture is the first thing that fools a
    # discriminator.
    return nn.Conv2d(n_in, n_out, size, stride, padding=1, padding_mode="reflect")


class _Modulation(nn.Module):
    """Scale and shift of channels by the style of a picture."""

    def __init__(self, width: int):
        super().__init__()
        self.linear = nn.Linear(N_STYLES, 2 * width)
        nn.init.normal_(self.linear.weight, std=0.3)
        nn.init.zeros_(self.linear.bias)

    def forward(self, maps: torch.Tensor, style: torch.Tensor) -> torch.Tensor:
        scale, shift = self.linear(style)[:, :, None, None].chunk(2, dim=1)
        return maps * (1 + scale) + shift


class Generator(nn.Module):
    """Translates pictures: a change of colours, and what a small network of two scales adds to it.

    Random numbers beside the picture let one source picture become any of several target pictures: a target is often
    richer than the source, and what it has more cannot be read from a source picture.

    Parameters
    ----------
    n_channels : int
        Of a picture.
    width : int
        Channels inside.
    """

    def __init__(self, n_channels: int, width: int):
        super().__init__()
        half = max(1, width // 2)
        self.colours = nn.Conv2d(n_channels + N_MAPS, n_channels, 1)
        self.coarse = _convolution(n_channels + N_MAPS, width, size=4, stride=2)
        self.coarse_norm = nn.InstanceNorm2d(width, affine=True)
        self.inner = _convolution(width, width)
        self.inner_norm = nn.InstanceNorm2d(width)
        self.inner_style = _Modulation(width)
        self.inner_last = _convolution(width, width)
        self.up = _convolution(width, half)
        self.fine = _convolution(n_channels + N_MAPS, half)
        self.mixed = _convolution(half, half)
        self.mixed_style = _Modulation(half)
        self.last = nn.Conv2d(half, n_channels, 1)
        self.set_colours(np.ones(n_channels), np.zeros(n_channels))
        with torch.no_grad():
            weight, bias = self.last.parameters()
            weight.mul_(0.1)
            bias.zero_()

    def set_colours(self, scale: np.ndarray, shift: np.ndarray) -> None:
        """Begin with a change of colours, from :func:`colour_map`, and a trace of the random maps."""
        n_channels = len(scale)
        with torch.no_grad():
            weight, bias = self.colours.parameters()
            weight.normal_(std=0.1)
            weight[:, :n_channels, 0, 0] = torch.diag(torch.as_tensor(scale))
            bias.copy_(torch.as_tensor(shift))

    def forward(self, x: torch.Tensor, style: torch.Tensor, maps: torch.Tensor) -> torch.Tensor:
        """Translate.

        Parameters
        ----------
        x : torch.Tensor of shape (n, n_channels, height, width)
            Pictures on the scale -1 to 1.
        style : torch.Tensor of shape (n, N_STYLES)
            Random numbers for the picture as a whole.
        maps : torch.Tensor of shape (n, N_MAPS, ceil(height / 4), ceil(width / 4))
            Random numbers for its places.

        Returns
        -------
        torch.Tensor of shape (n, n_channels, height, width)
            Not clipped: a discriminator sees by it where pixels are out of range.
        """
        size = x.shape[2:]
        seen = torch.cat([x, functional.interpolate(maps, size=size, mode="bilinear")], dim=1)
        h = self.coarse_norm(self.coarse(seen)).relu()
        h = h + self.inner_last(self.inner_style(self.inner_norm(self.inner(h)), style).relu())
        h = (functional.interpolate(self.up(h), size=size, mode="bilinear") + self.fine(seen)).relu()
        return self.colours(seen) + self.last(self.mixed_style(self.mixed(h), style).relu())

    @staticmethod
    def noise_shapes(height: int, width: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Give the shapes of `style` and `maps` of one picture."""
        return (N_STYLES,), (N_MAPS, -(-height // _MAP_STRIDE), -(-width // _MAP_STRIDE))


class Discriminator(nn.Module):
    """Tells pictures of a domain from translated ones, patch by patch.

    Parameters
    ----------
    n_channels : int
        Of a picture.
    width : int
        Channels of the first layer.
    """

    def __init__(self, n_channels: int, width: int):
        super().__init__()
        self.first = _convolution(n_channels, width, size=4, stride=2)
        self.second = _convolution(width, 2 * width, size=4, stride=2)
        self.last = _convolution(2 * width + 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Score patches of pictures: ``(n, channels, height, width)`` to ``(n, 1, height / 4, width / 4)``."""
        h = functional.leaky_relu(self.first(x), 0.2)
        h = functional.leaky_relu(self.second(h), 0.2)
        # How much the pictures of the batch differ: translations that are all alike are found out by it.
        spread = (h.var(dim=0, unbiased=False) + 1e-6).sqrt().mean()
        return self.last(torch.cat([h, spread.expand(len(h), 1, *h.shape[2:])], dim=1))


class SourceClassifier(nn.Sequential):
    """Classes of pictures.

    Parameters
    ----------
    n_channels : int
        Of a picture.
    width : int
        Channels of the first layer.
    n_classes : int
    """

    def __init__(self, n_channels: int, width: int, n_classes: int):
        super().__init__(
            _convolution(n_channels, width, size=4, stride=2),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            _convolution(width, 2 * width, size=4, stride=2),
            nn.BatchNorm2d(2 * width),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(4),
            nn.Flatten(),
            nn.Dropout(0.3),
            nn.Linear(32 * width, n_classes),
        )


class CycleGAN:
    """Two generators, two discriminators and a classifier that are trained together.

    Parameters
    ----------
    source, target : ndarray of shape (n, n_channels, height, width)
        Pictures on the scale -1 to 1, from which the change of colours is taken that training begins with.
    n_classes : int
        0 for no semantic loss.
    width : int
        Channels of the networks.
    cycle_weight, identity_weight, semantic_weight : float
        Weights of the losses beside those of the discriminators.
    lr : float
        Learning rate of all networks at the beginning.
    device : torch.device
    """

    def __init__(
        self,
        source: np.ndarray,
        target: np.ndarray,
        n_classes: int,
        *,
        width: int,
        cycle_weight: float,
        identity_weight: float,
        semantic_weight: float,
        lr: float,
        device: torch.device,
    ):
        n_channels = source.shape[1]
        self.to_target, self.to_source = (Generator(n_channels, width) for _ in range(2))
        self.to_target.set_colours(*colour_map(source, target))
        self.to_source.set_colours(*colour_map(target, source))
        self.judges = nn.ModuleList(Discriminator(n_channels, width) for _ in range(2))
        self.classifier = SourceClassifier(n_channels, width, n_classes) if n_classes else None
        generators = nn.ModuleList([self.to_target, self.to_source])
        parts = [part.to(device) for part in (generators, self.judges, self.classifier) if part is not None]
        # beta_1 = 0.5: more momentum makes generators and discriminators chase each other in circles.
        self.optimizers = [torch.optim.Adam(part.parameters(), lr, betas=(0.5, 0.999)) for part in parts]
        self.lr, self.device = lr, device
        self.cycle_weight, self.identity_weight, self.semantic_weight = cycle_weight, identity_weight, semantic_weight

    def set_rate(self, factor: float) -> None:
        """Set the learning rates to `factor` of those at the beginning."""
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = factor * self.lr

    def step(self, source: torch.Tensor, labels: torch.Tensor, target: torch.Tensor) -> dict[str, torch.Tensor]:
        """Train all networks on a batch.

        Parameters
        ----------
        source, target : torch.Tensor of shape (n, n_channels, height, width)
        labels : torch.Tensor of int of shape (n,)
            Class numbers of the source pictures, -1 where unknown.

        Returns
        -------
        dict of str to torch.Tensor of shape ()
            Losses by name.
        """
        fake_target, fake_source = self._translate(self.to_target, source), self._translate(self.to_source, target)
        losses = self._step_generators(source, labels, target, fake_target, fake_source)
        fakes = fake_target.detach(), fake_source.detach()
        losses["discriminator_loss"] = sum(
            discriminator_loss(judge(real), judge(fake))
            for judge, real, fake in zip(self.judges, (target, source), fakes, strict=True)
        )
        self._update(1, losses["discriminator_loss"])
        self.step_classifier(labels, source, fakes[0])
        return losses

    def step_classifier(self, labels: torch.Tensor, *views: torch.Tensor) -> None:
        """Train the classifier, if any, on a batch in one or several looks, each of which BatchNorm sees by itself."""
        if self.classifier is not None:
            self._update(2, sum(semantic_loss(self.classifier(pictures), labels) for pictures in views))

    def _step_generators(self, source, labels, target, fake_target, fake_source):
        for part in (self.judges, self.classifier):
            if part is not None:
                part.requires_grad_(False)
        losses = {
            "generator_loss": generator_loss(self.judges[0](fake_target)) + generator_loss(self.judges[1](fake_source)),
            "cycle_loss": cycle_loss(source, self._translate(self.to_source, fake_target))
            + _TARGET_CYCLE * cycle_loss(target, self._translate(self.to_target, fake_source)),
        }
        total = losses["generator_loss"] + self.cycle_weight * losses["cycle_loss"]
        if self.identity_weight:
            losses["identity_loss"] = cycle_loss(target, self._translate(self.to_target, target)) + cycle_loss(
                source, self._translate(self.to_source, source)
            )
            total = total + self.identity_weight * losses["identity_loss"]
        if self.classifier is not None:
            losses["semantic_loss"] = semantic_loss(self.classifier(fake_target), labels)
            total = total + self.semantic_weight * losses["semantic_loss"]
        self._update(0, total)
        for part in (self.judges, self.classifier):
            if part is not None:
                part.requires_grad_(True)
        return losses

    def _translate(self, generator, pictures):
        # Drawn on the CPU, the numbers are the same for all devices.
        style, maps = (torch.randn(len(pictures), *shape) for shape in Generator.noise_shapes(*pictures.shape[2:]))
        return generator(pictures, style.to(self.device), maps.to(self.device))

    def _update(self, which, loss):
        self.optimizers[which].zero_grad(set_to_none=True)
        loss.backward()
        self.optimizers[which].step()
