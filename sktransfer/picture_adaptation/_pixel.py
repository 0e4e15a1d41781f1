"""Adaptation of the pictures themselves: a translation from source to target, learned from unpaired pictures."""

from __future__ import annotations

import math
from collections.abc import Iterator
from numbers import Integral, Real
from typing import Any

import numpy as np
import torch
from sklearn.utils import check_consistent_length, check_random_state
from sklearn.utils.multiclass import type_of_target
from tqdm.auto import tqdm

from sktransfer.domains import Domains, as_labels, missing_labels, plain_labels
from sktransfer.exceptions import DivergenceError, DomainError
from sktransfer.picture_adaptation._cyclegan import CycleGAN, Generator
from sktransfer.picture_adaptation._fourier import PictureAdapter, content_seed
from sktransfer.utils._compat import Interval
from sktransfer.utils._device import resolve_device
from sktransfer.utils._device_forward import forward_in_micro_batches
from sktransfer.utils._random import isolated_rng

__all__ = ["PixelAdapter"]

# The discriminators halve a picture twice and look at neighbours then.
_SMALLEST_SIDE = 8
# Epochs in which the classifier learns the source before it judges translated pictures.
_CLASSIFIER_EPOCHS = 8
_CLASSIFIER_BATCH = 32
_ROWS_AT_ONCE = 256
_LUMINANCE = np.array([0.299, 0.587, 0.114])


class PixelAdapter(PictureAdapter, auto_wrap_output_keys=None):  # type: ignore[call-arg]  # scikit-learn's
    """Translate source pictures into the look of the target (CycleGAN, CyCADA).

    Two generators learn to translate pictures from source to target and back, so that a discriminator of each domain
    cannot tell the translated pictures from its own [1]_ and that a source picture comes back as it was [2]_. Where the
    source is labelled, a small classifier must also find the same class in a picture and its translation [3]_. A
    classifier trained on the translated source pictures has then seen the look of the target. Target pictures come
    back unchanged, and their labels are never read.

    Parameters
    ----------
    target_domain : label or list of labels, default="target"
        Which domain labels are the target. Several source domains are translated by one generator.
    width : int, default=24
        Channels of the networks; the time for an epoch grows with its square.
    cycle_weight : float, default=1.0
        Weight of the difference between a picture and what comes back of it. That of target pictures, in which there
        is more than can come back, counts a quarter.
    identity_weight : float, default=0.5
        Weight of what a generator changes in pictures that are of its output's domain already; 0 saves a third of the
        time.
    semantic_weight : float, default=1.0
        Weight of the classifier's loss on translated pictures. There is no such loss without `y`, where the labels
        of the source are all missing or all the same, and where they are as good as all different, as numbers to be
        estimated are.
    max_epochs : int, default=20
        Rounds over the larger domain. The learning rate falls to zero over the second half of them.
    batch_size : int, default=8
        Pictures of each domain in a training step.
    lr : float, default=0.001
        Learning rate of all networks (Adam).
    image_size : int, tuple of int or None, default=None
        Height and width of the result in pixels, at least 8: the shorter side is brought to it, and what sticks out is
        cut. None takes the size of the pictures, where all have the same.
    image_shape : tuple of int or None, default=None
        ``(height, width)``, ``(height, width, channels)`` or ``(channels, height, width)`` of flattened pictures, or of
        arrays whose channel axis cannot be told.
    device : str or torch.device, default="auto"
        ``"auto"`` takes cuda, mps or cpu, whichever there is.
    n_jobs : int or None, default=None
        Threads that decode pictures. None takes as many as torch (all cores, or ``OMP_NUM_THREADS``), -1 all cores; in
        worker processes and threads of joblib or Dask never more than their share.
    random_state : int, RandomState or None, default=None
        Seed of the training, and of the random numbers that a picture is translated with. These follow from its pixels
        beside this seed, and not from its row.
    verbose : int, default=0
        Show a progress bar if not 0.

    Attributes
    ----------
    generator_ : dict of str to ndarray
        Weights of the generator from source to target.
    history_ : list of dict
        Mean losses of each epoch by name, not weighted: ``"generator_loss"``, ``"discriminator_loss"``,
        ``"cycle_loss"`` and, where there are any, ``"identity_loss"`` and ``"semantic_loss"``.
    n_channels_ : int
        1 where all pictures seen in fit are grey, so that translated pictures are, else 3.
    image_size_ : tuple of int
        Height and width of the result.
    n_features_out_ : int
        Number of values in a picture of the result.
    source_domains_ : list
        Source domains seen in fit.
    input_spec_ : InputSpec
        What was learned about the input: shape, channel order, value range.
    n_features_in_ : int
        Number of columns, where the pictures came flattened.
    feature_names_in_ : ndarray of str
        Names of the columns, where X was a data frame with string names.

    See Also
    --------
    FourierAdapter : Changes light and colour alone, without training.
    AdaptedClassifier : Fits a classifier on the adapted source pictures.

    Notes
    -----
    `X` is whatever :class:`PretrainedFeatureExtractor` takes. The result is an array of uint8 of shape
    (n, height, width, 3), also for grey pictures, which any other estimator for pictures takes.

    Other than in the papers, generators begin with the change of colours that gives source pictures the mean and
    spread of the target, turned to the negative where that is much closer; they get random numbers beside the picture,
    since a plain picture can become many coloured ones; discriminators see how much the pictures of a batch differ; and
    the classifier learns from translated pictures as well, because one that has seen the source alone says little
    about pictures in the target's look. Networks are small: pictures much larger than 64 pixels want more `width`.
    500 source and 500 target pictures of 32 x 32 pixels take about two minutes on one core of a CPU.

    References
    ----------
    .. [1] Mao, X. et al. "Least Squares Generative Adversarial Networks", ICCV 2017.
    .. [2] Zhu, J.-Y. et al. "Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial Networks",
       ICCV 2017.
    .. [3] Hoffman, J. et al. "CyCADA: Cycle-Consistent Adversarial Domain Adaptation", ICML 2018.

    Examples
    --------
    >>> from sktransfer import PixelAdapter, make_image_domains
    >>> X, y, sample_domain = make_image_domains(20, 20, target="inverted", image_size=16, random_state=0)
    >>> adapter = PixelAdapter(max_epochs=2, random_state=0)
    >>> Z = adapter.fit_transform(X, y, sample_domain=sample_domain)
    >>> print(X[sample_domain == "source"].mean() < 128 < Z[sample_domain == "source"].mean())
    True
    """

    _parameter_constraints: dict = {
        **PictureAdapter._parameter_constraints,
        "width": [Interval(Integral, 2, None, closed="left")],
        "cycle_weight": [Interval(Real, 0, None, closed="left")],
        "identity_weight": [Interval(Real, 0, None, closed="left")],
        "semantic_weight": [Interval(Real, 0, None, closed="left")],
        "max_epochs": [Interval(Integral, 1, None, closed="left")],
        "batch_size": [Interval(Integral, 2, None, closed="left")],
        "lr": [Interval(Real, 0, None, closed="neither")],
        "device": "no_validation",
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        *,
        target_domain: Any = "target",
        width: int = 24,
        cycle_weight: float = 1.0,
        identity_weight: float = 0.5,
        semantic_weight: float = 1.0,
        max_epochs: int = 20,
        batch_size: int = 8,
        lr: float = 0.001,
        image_size: int | tuple[int, int] | None = None,
        image_shape: tuple[int, ...] | None = None,
        device: Any = "auto",
        n_jobs: int | None = None,
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
    ) -> None:
        self.target_domain = target_domain
        self.width = width
        self.cycle_weight = cycle_weight
        self.identity_weight = identity_weight
        self.semantic_weight = semantic_weight
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.lr = lr
        self.image_size = image_size
        self.image_shape = image_shape
        self.device = device
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose

    def _fit_rows(self, X: np.ndarray, domains: Domains, y: Any) -> None:
        self._check_enough(domains)
        labels = self._class_numbers(y, domains) if self.semantic_weight else np.full(len(domains.source_rows), -1)
        self.n_channels_ = 1 if (X[..., :1] == X).all() else 3
        source, target = (self._planes(X[rows]) for rows in (domains.source_rows, domains.target_rows))
        device = resolve_device(self.device)
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        with isolated_rng(seed):
            gan = CycleGAN(
                source,
                target,
                int(labels.max()) + 1,
                width=self.width,
                cycle_weight=self.cycle_weight,
                identity_weight=self.identity_weight,
                semantic_weight=self.semantic_weight,
                lr=self.lr,
                device=device,
            )
            history = self._train(gan, *map(torch.from_numpy, (source, labels, target)))
        self.history_ = history
        self._seed = seed
        self.generator_ = {name: value.cpu().numpy() for name, value in gan.to_target.state_dict().items()}

    def _check_enough(self, domains):
        counts = len(domains.source_rows), len(domains.target_rows)
        if min(counts) < 2:
            raise DomainError(
                f"{type(self).__name__} needs at least 2 pictures of each domain, got {counts[0]} source and "
                f"{counts[1]} target pictures. Give more; they need no labels."
            )
        if min(self.image_size_) < _SMALLEST_SIDE:
            raise ValueError(
                f"{type(self).__name__} needs pictures of at least {_SMALLEST_SIDE} x {_SMALLEST_SIDE} pixels, got "
                f"{self.image_size_[0]} x {self.image_size_[1]}. Pass image_size={_SMALLEST_SIDE} or more."
            )

    @staticmethod
    def _class_numbers(y: Any, domains: Domains) -> np.ndarray:
        """Give source rows class numbers: -1 for those without a label, and for all where there are no classes.

        A source row of class -1 has a label: ``sample_domain`` says what it is, or another label marks the target.
        """
        numbers = np.full(len(domains.source_rows), -1)
        if y is None:
            return numbers
        check_consistent_length(y, domains.names)
        labels = as_labels(y, name="y")[domains.source_rows]
        labelled = ~missing_labels(labels, minus_one=False)
        known = plain_labels(labels[labelled])
        classes, found = np.unique(known, return_inverse=True)
        # Numbers to be estimated have about as many values as rows.
        if 1 < len(classes) <= len(known) / 2 and type_of_target(known) in ("binary", "multiclass"):
            numbers[labelled] = found
        return numbers

    def _planes(self, pictures: np.ndarray) -> np.ndarray:
        """Pictures as the networks take them: float32 from -1 to 1, shape (n, n_channels_, height, width)."""
        if self.n_channels_ == 1:
            pictures = (pictures @ _LUMINANCE)[..., np.newaxis]
        return np.ascontiguousarray(np.moveaxis(pictures, -1, 1) / 127.5 - 1, dtype=np.float32)

    def _train(self, gan, source, labels, target):
        if gan.classifier is not None:
            for _ in range(_CLASSIFIER_EPOCHS):
                for rows in _batches(len(source), _CLASSIFIER_BATCH):
                    gan.step_classifier(labels[rows].to(gan.device), source[rows].to(gan.device))
        n_rows = max(len(source), len(target))
        history: list[dict[str, float]] = []
        with tqdm(total=self.max_epochs, desc="epochs", unit="epoch", disable=not self.verbose) as bar:
            for epoch in range(self.max_epochs):
                pairs = zip(
                    _batches(len(source), self.batch_size, n_rows),
                    _batches(len(target), self.batch_size, n_rows),
                    strict=True,
                )
                steps = []
                for step, (s, t) in enumerate(pairs):
                    progress = (epoch + step * self.batch_size / n_rows) / self.max_epochs
                    gan.set_rate(min(1.0, 2 * (1 - progress)))
                    batch = source[s], labels[s], target[t]
                    losses = gan.step(*(part.to(gan.device) for part in batch))
                    steps.append({name: loss.detach() for name, loss in losses.items()})
                history.append(self._summary(epoch + 1, steps))
                bar.set_postfix({name: f"{value:.3f}" for name, value in history[-1].items() if name != "epoch"})
                bar.update()
        return history

    def _summary(self, epoch, steps):
        losses = {name: float(torch.stack([step[name] for step in steps]).mean()) for name in steps[0]}
        for name, value in losses.items():
            if not math.isfinite(value):
                raise DivergenceError(
                    f"Training diverged: the {name} of epoch {epoch} is {value} at lr={self.lr}. Pass a smaller lr."
                )
        return {"epoch": epoch, **losses}

    def _transform_rows(self, X: np.ndarray, is_target: np.ndarray) -> np.ndarray:
        Z = X.copy()
        source_rows = np.flatnonzero(~is_target)
        if not len(source_rows):
            return Z
        device = resolve_device(self.device)
        with isolated_rng(0):
            generator = Generator(self.n_channels_, len(self.generator_["coarse.bias"]))
        generator.load_state_dict({name: torch.from_numpy(value) for name, value in self.generator_.items()})
        generator.to(device).eval()

        def translate(rows: torch.Tensor) -> torch.Tensor:
            pictures = X[rows.cpu().numpy()]
            style, maps = self._noise(pictures)
            inputs = torch.from_numpy(self._planes(pictures)), torch.from_numpy(style), torch.from_numpy(maps)
            return generator(*(part.to(device) for part in inputs))

        for start in range(0, len(source_rows), _ROWS_AT_ONCE):
            rows = source_rows[start : start + _ROWS_AT_ONCE]
            planes = forward_in_micro_batches(
                translate, torch.from_numpy(rows), batch_size=32, device=device, precision="float32"
            )
            levels = np.rint(np.clip((planes + 1) * 127.5, 0, 255)).astype(np.uint8)
            Z[rows] = np.moveaxis(levels, 1, -1)
        return Z

    def _noise(self, pictures):
        shapes = Generator.noise_shapes(*self.image_size_)
        draws = []
        for picture in pictures:
            rng = np.random.default_rng(content_seed(picture, self._seed))
            draws.append([rng.standard_normal(shape, dtype=np.float32) for shape in shapes])
        return tuple(np.stack(parts) for parts in zip(*draws, strict=True))


def _batches(n_rows: int, batch_size: int, n_drawn: int | None = None) -> Iterator[torch.Tensor]:
    """Draw rows in random order, all before any comes again, until there are `n_drawn` of them."""
    n_batches = math.ceil((n_drawn or n_rows) / batch_size)
    rounds = math.ceil(n_batches * batch_size / n_rows)
    rows = torch.cat([torch.randperm(n_rows) for _ in range(rounds)])
    return iter(rows[: n_batches * batch_size].split(batch_size))
