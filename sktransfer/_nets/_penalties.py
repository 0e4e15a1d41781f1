"""What pulls a fine-tuned network to its source, as functions of tensors, and stochastic normalisation."""

from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import nn
from torch.nn.functional import batch_norm, kl_div, one_hot, smooth_l1_loss

__all__ = [
    "StochNorm",
    "bss_penalty",
    "category_relation",
    "delta_penalty",
    "distillation_loss",
    "l2_sp_penalty",
    "plain_norms",
    "rkd_angle_loss",
    "rkd_distance_loss",
    "soft_cross_entropy",
    "stochastic_norms",
]


def l2_sp_penalty(parameters: Iterable[torch.Tensor], source_parameters: Iterable[torch.Tensor]) -> torch.Tensor:
    """Half the squared distance of weights from those of the source [1]_: 1/2 sum ||w - w0||^2.

    Parameters
    ----------
    parameters, source_parameters : iterable of torch.Tensor
        Tensors of any shapes, pairwise the same; at least one.

    Returns
    -------
    torch.Tensor of shape ()

    References
    ----------
    .. [1] Li, X., Grandvalet, Y. & Davoine, F. "Explicit Inductive Bias for Transfer Learning with Convolutional
       Networks", ICML 2018.
    """
    return sum((w - w0).square().sum() for w, w0 in zip(parameters, source_parameters, strict=True)) / 2


def delta_penalty(maps: Sequence[torch.Tensor], source_maps: Sequence[torch.Tensor]) -> torch.Tensor:
    """Squared distance of feature maps from those of the source [1]_, as a share of their own square.

    Sum over the layers of ||F - F0||^2 / ||F0||^2, the norms over rows, channels and positions. In shares the same
    weight suits networks and layers of any scale, and pictures of any size.

    Parameters
    ----------
    maps, source_maps : sequence of torch.Tensor
        One a layer, at least one, of any shape.

    Returns
    -------
    torch.Tensor of shape ()

    References
    ----------
    .. [1] Li, X. et al. "DELTA: Deep Learning Transfer using Feature Map with Attention for Convolutional Networks",
       ICLR 2019.
    """
    pairs = [(_precise(new), _precise(old)) for new, old in zip(maps, source_maps, strict=True)]
    return sum((new - old).square().mean() / old.square().mean().clamp_min(1e-12) for new, old in pairs)


def bss_penalty(features: torch.Tensor, n_singular_values: int = 1) -> torch.Tensor:
    """Batch spectral shrinkage [1]_: sum of the squares of the k smallest singular values of a batch of features.

    Parameters
    ----------
    features : torch.Tensor of shape (n, d)
    n_singular_values : int, default=1
        The k; at most min(n, d) count.

    Returns
    -------
    torch.Tensor of shape ()
        Its gradient is finite where singular values coincide, too.

    References
    ----------
    .. [1] Chen, X. et al. "Catastrophic Forgetting Meets Negative Transfer: Batch Spectral Shrinkage for Safe Transfer
       Learning", NeurIPS 2019.
    """
    features = _precise(features)
    constant = features.detach()
    if not torch.isfinite(constant).all():
        return features.square().sum()  # no number either: whoever watches the loss says what happened
    with _exact(features):
        # Ky Fan: the sum is min ||U'F||^2 over U with k orthonormal columns, attained at the last left singular
        # vectors. At a minimum the change of U does not count, so U may be taken as constant: the gradient 2 UU'F
        # never divides by differences of singular values.
        left = torch.linalg.svd(constant, full_matrices=False).U[:, -n_singular_values:]
        return (left.T @ features).square().sum()


def distillation_loss(scores: torch.Tensor, source_scores: torch.Tensor, temperature: float) -> torch.Tensor:
    """T^2 KL(softmax(s0 / T) || softmax(s / T)), mean over rows: the loss of learning without forgetting [1]_.

    It differs from the cross-entropy of softened probabilities in [1]_ by what does not depend on `scores`, hence is
    zero where the scores agree; T^2 keeps its gradient of one size for all T [2]_.

    Parameters
    ----------
    scores, source_scores : torch.Tensor of shape (n, n_source_classes)
    temperature : float
        The T; above 1 the smaller probabilities count more.

    Returns
    -------
    torch.Tensor of shape ()

    References
    ----------
    .. [1] Li, Z. & Hoiem, D. "Learning without Forgetting", ECCV 2016.
    .. [2] Hinton, G., Vinyals, O. & Dean, J. "Distilling the Knowledge in a Neural Network", 2015.
    """
    new = (_precise(scores) / temperature).log_softmax(1)
    old = (_precise(source_scores) / temperature).log_softmax(1)
    return temperature**2 * kl_div(new, old, reduction="batchmean", log_target=True)


def category_relation(source_proba: torch.Tensor, targets: torch.Tensor, n_classes: int) -> torch.Tensor:
    """p(source class | target class), by the mean source probabilities of each target class [1]_.

    Parameters
    ----------
    source_proba : torch.Tensor of shape (n, n_source_classes)
        Probabilities of the source classes, rows summing to one.
    targets : torch.Tensor of shape (n,) or (n, n_classes)
        Class numbers, or the share of each class in each row.
    n_classes : int

    Returns
    -------
    torch.Tensor of shape (n_classes, n_source_classes)
        Rows sum to one; a class that no row has gets the mean of all rows.

    References
    ----------
    .. [1] You, K., Kou, Z., Long, M. & Wang, J. "Co-Tuning for Transfer Learning", NeurIPS 2020; the direct approach.
    """
    proba = source_proba.double()
    shares = (one_hot(targets.long(), n_classes) if targets.ndim == 1 else targets).double()
    counts = shares.sum(0)[:, None]
    relation = torch.where(counts > 0, shares.T @ proba / counts.clamp_min(1e-300), proba.mean(0))
    return relation / relation.sum(1, keepdim=True)


def soft_cross_entropy(scores: torch.Tensor, proba: torch.Tensor) -> torch.Tensor:
    """Cross-entropy from given probabilities, -sum_k p_k log softmax(s)_k, mean over rows; the loss of Co-Tuning.

    Parameters
    ----------
    scores, proba : torch.Tensor of shape (n, n_classes)

    Returns
    -------
    torch.Tensor of shape ()
    """
    return -(proba * _precise(scores).log_softmax(1)).sum(1).mean()


def rkd_distance_loss(features: torch.Tensor, source_features: torch.Tensor) -> torch.Tensor:
    """Smooth L1 difference of distances between rows, each in units of its network's mean distance [1]_.

    Parameters
    ----------
    features : torch.Tensor of shape (n, d)
    source_features : torch.Tensor of shape (n, d_source)

    Returns
    -------
    torch.Tensor of shape ()
        Mean over the pairs of different rows; 0 of fewer than two.

    References
    ----------
    .. [1] Park, W., Kim, D., Lu, Y. & Cho, M. "Relational Knowledge Distillation", CVPR 2019.
    """
    n = len(features)
    if n < 2:
        return 0 * _precise(features).sum()
    pair = ~torch.eye(n, dtype=torch.bool, device=features.device)
    new, old = (_distances(f)[pair] for f in (features, source_features))
    return smooth_l1_loss(*(_ratio(d, d.mean()) for d in (new, old)))


def rkd_angle_loss(features: torch.Tensor, source_features: torch.Tensor) -> torch.Tensor:
    """Smooth L1 difference of the cosines of the angles that rows i and k make at row j [1]_.

    Parameters
    ----------
    features : torch.Tensor of shape (n, d)
    source_features : torch.Tensor of shape (n, d_source)

    Returns
    -------
    torch.Tensor of shape ()
        Mean over the triplets of different rows; 0 of fewer than three. Where two rows coincide the cosine is 0.

    References
    ----------
    .. [1] Park, W., Kim, D., Lu, Y. & Cho, M. "Relational Knowledge Distillation", CVPR 2019.
    """
    n = len(features)
    if n < 3:
        return 0 * _precise(features).sum()
    other = ~torch.eye(n, dtype=torch.bool, device=features.device)
    triplet = other[:, :, None] & other[:, None, :] & other[None, :, :]
    return smooth_l1_loss(*(_cosines(_distances(f))[triplet] for f in (features, source_features)))


def _distances(features: torch.Tensor) -> torch.Tensor:
    features = _precise(features)
    # Differences, not scalar products: these would lose small distances. The gradient of a distance 0 is 0.
    with _exact(features):
        return torch.cdist(features, features, compute_mode="donot_use_mm_for_euclid_dist")


def _cosines(d: torch.Tensor) -> torch.Tensor:
    # Law of cosines, [j, i, k]: (d_ij^2 + d_kj^2 - d_ik^2) / (2 d_ij d_kj).
    squared = d.square()
    return _ratio(squared[:, :, None] + squared[:, None, :] - squared, 2 * d[:, :, None] * d[:, None, :])


def _ratio(numerator: torch.Tensor, denominator: torch.Tensor) -> torch.Tensor:
    """Divide; 0 with gradient 0 where the denominator is 0."""
    is_zero = denominator == 0
    return torch.where(is_zero, 0.0, numerator / torch.where(is_zero, 1.0, denominator))


def _precise(x: torch.Tensor) -> torch.Tensor:
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def _exact(x: torch.Tensor) -> torch.autocast:
    """Switch autocast off: products in half precision would drown what is small."""
    return torch.autocast(x.device.type, enabled=False)


class StochNorm(nn.modules.batchnorm._BatchNorm):
    """BatchNorm that normalises some channels by the running statistics while it trains, too [1]_.

    Each channel is normalised by the statistics of the batch with probability p, else by the running ones (those before
    this batch), drawn anew in every step. In eval mode it is plain BatchNorm.

    Parameters
    ----------
    norm : torch.nn.BatchNorm1d, BatchNorm2d or BatchNorm3d
        Layer whose place is taken: parameters and statistics are its own tensors, under the same names. What a layer of
        timm does after normalising (``drop``, ``act``) is done here too.
    p : float
        Probability of the statistics of the batch: 1 is BatchNorm, 0 BatchNorm in eval mode.

    References
    ----------
    .. [1] Kou, Z., You, K., Long, M. & Wang, J. "Stochastic Normalization", NeurIPS 2020.
    """

    def __init__(self, norm: nn.modules.batchnorm._BatchNorm, p: float):
        super().__init__(norm.num_features, norm.eps, norm.momentum, affine=False, track_running_stats=False)
        self.affine, self.track_running_stats = norm.affine, True
        for name in ("running_mean", "running_var", "num_batches_tracked"):
            self.register_buffer(name, getattr(norm, name))
        self.weight, self.bias = norm.weight, norm.bias
        self.drop, self.act = getattr(norm, "drop", None), getattr(norm, "act", None)
        self.p = p
        self._norm = (norm,)  # in a tuple, lest it be a part of this module
        self.train(norm.training)

    def _check_input_dim(self, input: torch.Tensor) -> None:
        """Take any number of dimensions: the layer of before took them."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalise ``(n, C, ...)``."""
        if self.training:
            mean, var = self.running_mean.clone(), self.running_var.clone()
            by_batch = super().forward(x)  # updates the running statistics
            by_source = batch_norm(x, mean, var, self.weight, self.bias, False, 0.0, self.eps)
            chosen = torch.rand(x.shape[1], device=x.device) < self.p
            x = torch.where(chosen.view(1, -1, *[1] * (x.ndim - 2)), by_batch, by_source)
        else:
            x = super().forward(x)
        for step in (self.drop, self.act):
            x = x if step is None else step(x)
        return x

    def plain(self) -> nn.Module:
        """Give the layer of before, with the weights and statistics of now."""
        norm = self._norm[0]
        for name in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked"):
            setattr(norm, name, getattr(self, name))
        return norm.train(self.training)


def stochastic_norms(module: nn.Module, p: float) -> int:
    """Put :class:`StochNorm` in the place of every BatchNorm below `module` whose parameters learn, in place.

    Layers without running statistics stay as they are.

    Returns
    -------
    int
        How many were replaced.
    """
    found = [place for place in _children(module) if _is_replaceable(place[2])]
    for parent, name, norm in found:
        setattr(parent, name, StochNorm(norm, p))
    return len(found)


def plain_norms(module: nn.Module) -> None:
    """Put the layers that :func:`stochastic_norms` replaced back, with what they learned, in place."""
    for parent, name, norm in list(_children(module)):
        if isinstance(norm, StochNorm):
            setattr(parent, name, norm.plain())


def _children(module: nn.Module) -> Iterator[tuple[nn.Module, str, nn.Module]]:
    for parent in module.modules():
        for name, child in parent.named_children():
            yield parent, name, child


def _is_replaceable(norm: nn.Module) -> bool:
    plain = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
    # timm's BatchNormAct2d is a BatchNorm2d; of other descendants it is not known what they do besides.
    known = type(norm) in plain or (isinstance(norm, plain) and hasattr(norm, "drop") and hasattr(norm, "act"))
    learns = any(parameter.requires_grad for parameter in norm.parameters(recurse=False))
    return known and learns and norm.running_mean is not None
