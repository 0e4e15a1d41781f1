"""How a network is trained, as plain parameters."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from numbers import Integral, Real
from typing import Any

from sklearn.base import BaseEstimator

from sktransfer.utils._compat import Interval, StrOptions, check_words
from sktransfer.utils._messages import unknown_option

__all__ = ["CALM", "FLAT", "Recipe", "resolve_recipe", "suited"]

# What is changed daily, and so stands on the estimators too.
FLAT = ("trainable", "max_epochs", "batch_size", "lr", "augment")


class Recipe(BaseEstimator):
    """How a network is trained.

    Passed as `recipe` to every estimator that trains a network; its own `trainable`, `max_epochs`, `batch_size`, `lr`
    and `augment` come before those of the recipe. What was taken is in ``recipe_`` of the fitted estimator. The
    defaults are those of ``recipe="auto"``, with which fine-tuning of pretrained stages, where no `lr` is said, takes
    1e-4 for them (5e-5 for blocks of a transformer for texts) and 1e-3 for the head, both falling to nothing, and the
    statistics of the source in BatchNorm; where pictures are so few that `max_epochs`, if that is not said either, are
    less than 100 steps, a probe makes up for them. The other names are

    ============= =====================================================================================================
    ``"head"``    the new head alone, on frozen features, by a learning rate that falls to nothing [7]_
    ``"full"``    the whole network [7]_, at the rates named above and with the statistics of the source in BatchNorm
    ``"lp-ft"``   the same after 60 epochs of the head alone, so that a random head spoils no good features [1]_
    ``"gradual"`` the same, but that the stages begin to learn one after another, from the top [2]_
    ``"lora"``    low-rank additions to linear layers and ungrouped convolutions [3]_
    ============= =====================================================================================================

    Random weights, and deep adaptation, learn whole at 3e-4 by the three in the middle.

    Parameters
    ----------
    trainable : {"head", "all", "norm", "bias", "lora"}, int or list of str, default="head"
        What learns beside the new head. ``"head"``: nothing; ``"all"``: everything; an int k: the last k stages;
        ``"norm"``: the normalisation layers; ``"bias"``: the biases (BitFit [4]_); ``"lora"``: low-rank additions to
        the linear layers and ungrouped convolutions [3]_ (needs ``pip install 'sktransfer[lora]'``), which become part
        of the weights when training ends; a list: the parameters whose timm names fit one of the patterns
        (``"layer4"``, ``"blocks.[67].*"``).
    max_epochs : int, default=30
        Passes over the training pictures after the probe; fewer where training stops early.
    batch_size : int, default=32
        Pictures a step.
    lr : float or "auto", default=1e-3
        Learning rate of the head and, unless `layer_decay` or `head_lr_factor` say otherwise, of everything.
        ``"auto"`` finds it by a range test [5]_ of up to 100 steps.
    augment : {"light", "default", "trivial", "randaug", "spec", "strong"}, callable or None, default=None
        Random changes of the training pictures: ``"light"`` crops 70 to 100 % of the area and flips horizontally,
        ``"default"`` is timm's ImageNet recipe (crops of 35 to 100 %, flips, colour changes), ``"trivial"`` and
        ``"randaug"`` take one operation of random strength, or two strong ones, in place of the colour changes; a
        callable takes an RGB ``PIL.Image`` and returns a picture, an array or a tensor, and transforms of
        albumentations are called as they want to be. Of recordings, ``"light"`` moves them in time, makes
        them louder or softer and adds noise, ``"spec"`` masks stretches of time and pitch, ``"strong"`` does both; a
        callable takes samples and their rate and returns samples. Of texts, ``"light"`` and ``"default"`` leave out one
        token of ten or of five; a callable takes a str and returns one. None trains on the samples as they are.
    optimizer : str, default="adamw"
        One of timm's optimizers, e.g. ``"sgd"``, ``"adamw"``, ``"lion"``.
    schedule : {"constant", "cosine", "one_cycle", "step", "inverse"}, default="constant"
        How the learning rate moves over `max_epochs`: not at all; down to nothing along half a cosine; up from a 25th
        over three tenths of the steps, then down to nothing; to a tenth after each third; or by (1 + 10 p)^-0.75, where
        p is the share of the training that is over.
    warmup_epochs : int, default=0
        Epochs over which the learning rate rises to its value, before the schedule begins.
    weight_decay : float, default=0.01
        Pull of the weights to zero; biases and normalisation layers are exempt.
    layer_decay : float or None, default=None
        Factor in (0, 1] of the learning rate from each stage to the one before it. None for the same everywhere.
    head_lr_factor : float, default=1.0
        Factor of the learning rate of the head, and of everything else that is new.
    max_grad_norm : float or None, default=None
        Gradients whose norm is greater are scaled down to it.
    probe_epochs : int, default=0
        Epochs in which what is new is trained alone on features of the unchanged network, before `max_epochs` of
        training [1]_. They see the pictures as they are, without augmentation or mixing, each through the network once.
    probe_lr : float, default=1e-3
        Learning rate of those epochs.
    unfreeze_every : int or None, default=None
        Epochs after which the next stage begins to learn: the head first (unless it was probed), then the last stage,
        then the one before, until all learns that `trainable` names [2]_. None lets all learn at once.
    batch_norm : {"train", "frozen"}, default="train"
        Whether BatchNorm layers of the parts that learn normalise by the batch and go on estimating statistics, or
        keep those of the source. Layers that learn nothing always keep them.
    mixup, cutmix : float, default=0.0
        Parameter of the Beta distribution that draws how much of another picture is blended in, or pasted in; 0 for
        none. With both, each batch gets one of them at random. Labels are mixed alike. Not in deep adaptation.
    label_smoothing : float, default=0.0
        Share in [0, 1) of each label that is spread evenly over all classes.
    ema_decay : float or None, default=None
        Decay in (0, 1) of a moving average of the weights, which takes their place in validation and in the end.
    interpolate : float or None, default=None
        Share in [0, 1] of what was learned in the weights at the end, the rest being the weights of the source (WiSE-FT
        [6]_): more robust where pictures to come differ from those of the training. The head stands between that of
        the probe and that of the end, so that a probe belongs to it (``Recipe(trainable="all", probe_epochs=60,
        interpolate=0.5)``); without one it is that of the end. Statistics of BatchNorm that moved are estimated anew
        on the training rows; losses of ``history_`` are those before. In fine-tuning alone.
    lora_rank : int, default=8
        Rank of the additions where ``trainable="lora"``.
    compile : bool, default=False
        Compile the part that learns with ``torch.compile``: about a minute before the first step, faster steps after.
    gradient_checkpointing : bool, default=False
        Keep of each block of the network only what goes into it, and compute the rest once more for the gradients: the
        same model from a half to a tenth of the memory, in up to half as much time again.
    accelerate : bool, default=False
        Train on the devices and processes of ``accelerate launch`` (needs ``pip install 'sktransfer[accelerate]'``).

    See Also
    --------
    FineTunedClassifier : Trains by a recipe.

    References
    ----------
    .. [1] Kumar, A., Raghunathan, A., Jones, R., Ma, T. & Liang, P. "Fine-Tuning can Distort Pretrained Features and
       Underperform Out-of-Distribution", ICLR 2022.
    .. [2] Howard, J. & Ruder, S. "Universal Language Model Fine-tuning for Text Classification", ACL 2018.
    .. [3] Hu, E. J. et al. "LoRA: Low-Rank Adaptation of Large Language Models", ICLR 2022.
    .. [4] Ben Zaken, E., Goldberg, Y. & Ravfogel, S. "BitFit: Simple Parameter-efficient Fine-tuning for
       Transformer-based Masked Language-models", ACL 2022.
    .. [5] Smith, L. N. "Cyclical Learning Rates for Training Neural Networks", WACV 2017.
    .. [6] Wortsman, M. et al. "Robust fine-tuning of zero-shot models", CVPR 2022.
    .. [7] Kornblith, S., Shlens, J. & Le, Q. V. "Do better ImageNet models transfer better?", CVPR 2019.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sktransfer import FineTunedClassifier, Recipe
    >>> X, y = load_digits(return_X_y=True)
    >>> recipe = Recipe(schedule="cosine", probe_epochs=2)
    >>> clf = FineTunedClassifier("sktransfer_mini", recipe=recipe, max_epochs=3, random_state=0)
    >>> clf.fit(X[:100], y[:100]).recipe_
    Recipe(max_epochs=3, probe_epochs=2, schedule='cosine')
    """

    _parameter_constraints = {
        "trainable": [
            StrOptions({"head", "all", "norm", "bias", "lora"}),
            Interval(Integral, 1, None, closed="left"),
            bool,  # plan_training says what was meant
            list,
            tuple,
        ],
        "max_epochs": [Interval(Integral, 1, None, closed="left")],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "lr": [Interval(Real, 0, None, closed="neither"), StrOptions({"auto"})],
        "augment": [StrOptions({"light", "default", "trivial", "randaug", "spec", "strong"}), callable, None],
        "optimizer": [str],
        "schedule": [StrOptions({"constant", "cosine", "one_cycle", "step", "inverse"})],
        "warmup_epochs": [Interval(Integral, 0, None, closed="left")],
        "weight_decay": [Interval(Real, 0, None, closed="left")],
        "layer_decay": [Interval(Real, 0, 1, closed="right"), None],
        "head_lr_factor": [Interval(Real, 0, None, closed="neither")],
        "max_grad_norm": [Interval(Real, 0, None, closed="neither"), None],
        "probe_epochs": [Interval(Integral, 0, None, closed="left")],
        "probe_lr": [Interval(Real, 0, None, closed="neither")],
        "unfreeze_every": [Interval(Integral, 1, None, closed="left"), None],
        "batch_norm": [StrOptions({"train", "frozen"})],
        "mixup": [Interval(Real, 0, None, closed="left")],
        "cutmix": [Interval(Real, 0, None, closed="left")],
        "label_smoothing": [Interval(Real, 0, 1, closed="left")],
        "ema_decay": [Interval(Real, 0, 1, closed="neither"), None],
        "interpolate": [Interval(Real, 0, 1, closed="both"), None],
        "lora_rank": [Interval(Integral, 1, None, closed="left")],
        "compile": ["boolean"],
        "gradient_checkpointing": ["boolean"],
        "accelerate": ["boolean"],
    }

    def __init__(
        self,
        *,
        trainable: str | int | Sequence[str] = "head",
        max_epochs: int = 30,
        batch_size: int = 32,
        lr: float | str = 1e-3,
        augment: str | Callable | None = None,
        optimizer: str = "adamw",
        schedule: str = "constant",
        warmup_epochs: int = 0,
        weight_decay: float = 0.01,
        layer_decay: float | None = None,
        head_lr_factor: float = 1.0,
        max_grad_norm: float | None = None,
        probe_epochs: int = 0,
        probe_lr: float = 1e-3,
        unfreeze_every: int | None = None,
        batch_norm: str = "train",
        mixup: float = 0.0,
        cutmix: float = 0.0,
        label_smoothing: float = 0.0,
        ema_decay: float | None = None,
        interpolate: float | None = None,
        lora_rank: int = 8,
        compile: bool = False,
        gradient_checkpointing: bool = False,
        accelerate: bool = False,
    ):
        self.trainable = trainable
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.lr = lr
        self.augment = augment
        self.optimizer = optimizer
        self.schedule = schedule
        self.warmup_epochs = warmup_epochs
        self.weight_decay = weight_decay
        self.layer_decay = layer_decay
        self.head_lr_factor = head_lr_factor
        self.max_grad_norm = max_grad_norm
        self.probe_epochs = probe_epochs
        self.probe_lr = probe_lr
        self.unfreeze_every = unfreeze_every
        self.batch_norm = batch_norm
        self.mixup = mixup
        self.cutmix = cutmix
        self.label_smoothing = label_smoothing
        self.ema_decay = ema_decay
        self.interpolate = interpolate
        self.lora_rank = lora_rank
        self.compile = compile
        self.gradient_checkpointing = gradient_checkpointing
        self.accelerate = accelerate


# Whole ways of training by name. What trains the whole network keeps the statistics of the source, at a smaller rate:
# with few pictures nothing mattered more (benchmarks/accuracy/fine_tuning.md).
_WHOLE = {"trainable": "all", "lr": 3e-4, "schedule": "cosine", "batch_norm": "frozen"}
RECIPES: dict[str, dict[str, Any]] = {
    "auto": {},
    "head": {"trainable": "head", "schedule": "cosine"},  # Kornblith et al., CVPR 2019, as is the next
    "full": _WHOLE,
    "lp-ft": {**_WHOLE, "probe_epochs": 60},  # Kumar et al., ICLR 2022
    "gradual": {**_WHOLE, "unfreeze_every": 3},  # Howard & Ruder, ACL 2018
    "lora": {"trainable": "lora", "lora_rank": 8, "schedule": "cosine"},  # Hu et al., ICLR 2022
}
CALM = ("auto", "full", "lp-ft", "gradual")
_RATE = 1e-4  # at which pretrained stages learn by these
# At that rate fewer change little (benchmarks/accuracy/auto_recipe.md). Of the head they cost next to nothing, and as
# many more epochs of all were not better.
_ENOUGH_STEPS = 100
_SAY_WHAT_LEARNS = ("head", "full", "lora")
_NEED_MORE_THAN_THE_HEAD = ("lp-ft", "gradual")


def resolve_recipe(
    recipe: str | Recipe,
    *,
    trainable: Any = None,
    max_epochs: int | None = None,
    batch_size: int | None = None,
    lr: float | str | None = None,
    augment: Any = None,
    auto: Mapping[str, Any] | None = None,
) -> Recipe:
    """Give the recipe that a name or a recipe and what is said beside it make, None being nothing.

    Parameters
    ----------
    recipe : str or Recipe
    trainable, max_epochs, batch_size, lr, augment
        Those of :class:`Recipe`, which they override; ``augment="none"`` switches augmentation off.
    auto : mapping or None, default=None
        What ``recipe="auto"`` is for the kind of training; None for the defaults.

    Raises
    ------
    ValueError
        If the name is not known, a parameter has a value that it cannot have, or two contradict each other.
    """
    if isinstance(recipe, Recipe):
        check_words(recipe)
        recipe._validate_params()
        params = recipe.get_params(deep=False)
    elif isinstance(recipe, str) and recipe in RECIPES:
        params = (auto or {}) if recipe == "auto" else RECIPES[recipe]
        _check_agreement(recipe, trainable)
    else:
        raise ValueError(unknown_option("recipe", recipe, RECIPES, others="a Recipe"))
    flat = {"trainable": trainable, "max_epochs": max_epochs, "batch_size": batch_size, "lr": lr, "augment": augment}
    said = {name: value for name, value in flat.items() if value is not None}
    if isinstance(augment, str) and augment == "none":
        said["augment"] = None
    resolved = Recipe(**{**params, **said})
    if 0 < resolved.warmup_epochs >= resolved.max_epochs:
        raise ValueError(
            f"warmup_epochs={resolved.warmup_epochs} leaves none of max_epochs={resolved.max_epochs}; pass fewer."
        )
    return resolved


def suited(
    recipe: Recipe,
    backbone: Any,
    *,
    is_calm: bool,
    is_a_pass: bool,
    keeps_statistics: bool = True,
    n_rows: int | None = None,
) -> Recipe:
    """Give a recipe, called by its name, at the rates that a network takes where nobody said a rate.

    What was pretrained learns more slowly than what is new: blocks of a transformer for texts at 5e-5, and where
    `is_calm` the stages of any other network at 1e-4, the rate falling to nothing and BatchNorm as in the source.

    Parameters
    ----------
    recipe : Recipe
    backbone : Backbone
    is_calm : bool
    is_a_pass : bool
        Whether one pass is trained, of a number that nobody knows: the rate then stays where it is.
    keeps_statistics : bool, default=True
        Whether BatchNorm may keep the statistics of the source.
    n_rows : int or None, default=None
        Rows of the training, where the number of epochs may go by it: what a calm recipe then lacks of 100 steps is a
        probe before it.
    """
    rate = getattr(backbone.module, "tuning_lr", _RATE if is_calm else None)
    only_new = isinstance(recipe.trainable, str) and recipe.trainable in ("head", "norm", "bias", "lora")
    if rate is None or only_new or isinstance(recipe.lr, str) or recipe.lr <= rate:
        return recipe
    params = {**recipe.get_params(deep=False), "lr": rate, "head_lr_factor": recipe.probe_lr / rate}
    if not is_a_pass:
        params |= {"schedule": "cosine", "batch_norm": "frozen" if is_calm and keeps_statistics else recipe.batch_norm}
    if is_calm and n_rows is not None:
        steps = math.ceil(n_rows / recipe.batch_size)
        lacking = _ENOUGH_STEPS - recipe.max_epochs * steps
        params["probe_epochs"] = max(recipe.probe_epochs, math.ceil(lacking / steps))
    return Recipe(**params)


def _check_agreement(name, trainable):
    """Refuse a `trainable` under which the recipe of this name would be another one."""
    own = RECIPES[name].get("trainable")
    other = name in _SAY_WHAT_LEARNS and not (isinstance(trainable, str) and trainable == own)
    nothing = name in _NEED_MORE_THAN_THE_HEAD and isinstance(trainable, str) and trainable == "head"
    if trainable is not None and (other or nothing):
        raise ValueError(
            f"trainable={trainable!r} contradicts recipe={name!r}, in which trainable={own!r}. Leave trainable=None, "
            f"or pass a recipe of your own: recipe=Recipe(trainable={trainable!r})."
        )
