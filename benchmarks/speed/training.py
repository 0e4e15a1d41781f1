"""Trainings against a loop written by hand and fastai's, steps, batches and optimizer being the same."""

import functools

import numpy as np

from speed._job import Job

__all__ = ["JOBS"]

_BATCH = 32
_N_CLASSES = 10
_BUNDLED = "sktransfer_mini"  # mobilenetv2_050
_LR, _WEIGHT_DECAY = 1e-3, 0.01


def _pictures(n, size):
    """Noise in the colour of its class."""
    rng = np.random.default_rng(0)
    y = np.arange(n) % _N_CLASSES
    colours = rng.integers(0, 128, (_N_CLASSES, 1, 1, 3))
    return (rng.integers(0, 128, (n, size, size, 3)) + colours[y]).astype(np.uint8), y


def _source(name, size):
    """Name the network and its weights: the bundled ones, or random ones."""
    return {"backbone": name, "weights": "pretrained" if name == _BUNDLED else None, "image_size": size}


def _classifier(name, size, **options):
    from sktransfer import FineTunedClassifier, Recipe

    return FineTunedClassifier(
        **_source(name, size),
        batch_size=_BATCH,
        lr=_LR,
        recipe=Recipe(optimizer="adamw", weight_decay=_WEIGHT_DECAY),
        device="cpu",
        precision="float32",
        n_jobs=1,
        random_state=0,
        **options,
    )


def _ours(name, size, n, *, keep_memory=False, **options):
    """Fit from pictures, preprocessing included; what is frozen is in the cache from the untimed call on."""

    def prepare():
        import torch

        from sktransfer import keep_freed_memory

        torch.set_num_threads(1)
        X, y = _pictures(n, size)
        classifier = _classifier(name, size, **options)
        if keep_memory and not keep_freed_memory():
            raise RuntimeError("This system has another allocator than glibc's.")
        return lambda: classifier.fit(X, y).history_[-1]["train_loss"]

    return prepare


def _network(name, size, n):
    """Give what makes the same network with a new classifier, and the preprocessed pictures as tensors."""
    import copy

    import torch
    from PIL import Image

    from sktransfer import load_backbone

    torch.set_num_threads(1)
    backbone = load_backbone(**_source(name, size), random_state=0)
    preprocess = backbone.modality.preprocessor()
    X, y = _pictures(n, size)
    pictures = torch.from_numpy(np.stack([preprocess(Image.fromarray(picture)) for picture in X]))

    def make():
        torch.manual_seed(0)
        module = copy.deepcopy(backbone.module).requires_grad_(True)
        module.reset_classifier(_N_CLASSES)
        return module

    return make, torch.utils.data.TensorDataset(pictures, torch.from_numpy(y))


def _bare(name, size, n, *, max_epochs, learns=None):
    """Write the loop by hand; where modules are named in `learns`, no others learn, and those are in eval mode."""

    def prepare():
        import torch
        from torch import nn

        make, data = _network(name, size, n)

        def call():
            module = make().train()
            if learns is not None:
                module.requires_grad_(False).eval()
                for part in learns:
                    module.get_submodule(part).requires_grad_(True).train()
            parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
            optimizer = torch.optim.AdamW(parameters, lr=_LR, weight_decay=_WEIGHT_DECAY)
            criterion = nn.CrossEntropyLoss()
            for _ in range(max_epochs):
                total = 0.0
                for x, y in torch.utils.data.DataLoader(data, batch_size=_BATCH, shuffle=True):
                    optimizer.zero_grad()
                    loss = criterion(module(x), y)
                    loss.backward()
                    optimizer.step()
                    total += loss.item() * len(x)
            return total / len(data)

        return call

    return prepare


def _fastai(name, size, n, *, max_epochs):
    def prepare():
        import torch

        make, data = _network(name, size, n)
        # Behind our imports, which make torchvision work.
        from fastai.data.core import DataLoaders
        from fastai.learner import Learner
        from fastai.optimizer import OptimWrapper

        def call():
            loader = torch.utils.data.DataLoader(data, batch_size=_BATCH, shuffle=True)
            learner = Learner(
                DataLoaders(loader, []),
                make(),
                loss_func=torch.nn.CrossEntropyLoss(),
                opt_func=functools.partial(OptimWrapper, opt=torch.optim.AdamW),
                lr=_LR,
                wd=_WEIGHT_DECAY,
            )
            with learner.no_logging():
                learner.fit(max_epochs)
            return float(learner.recorder.losses[-1])

        return call

    return prepare


def _check(results):
    if not all(np.isfinite(loss) for loss in results.values()):
        raise AssertionError(f"A training diverged: {results}.")
    return "training loss at the end: " + ", ".join(f"{side} {loss:.3g}" for side, loss in results.items())


def _full(name, size, n, max_epochs, goals, *, with_allocator=False, rounds=3):
    sides = {"ours": _ours(name, size, n, trainable="all", max_epochs=max_epochs)}
    if with_allocator:
        sides["ours, keep_freed_memory"] = _ours(
            name, size, n, trainable="all", max_epochs=max_epochs, keep_memory=True
        )
    sides["bare loop"] = _bare(name, size, n, max_epochs=max_epochs)
    sides["fastai"] = _fastai(name, size, n, max_epochs=max_epochs)
    return Job(
        title=f"full fine-tuning, {name} at {size} px",
        sides=sides,
        goals=goals,
        check=_check,
        rounds=rounds,
        packages={"fastai": "fastai"},
        note=f"{n} pictures in memory, batches of {_BATCH}, AdamW, epochs: {max_epochs}, one thread; "
        "the others get preprocessed float tensors, ours uint8 arrays, which it preprocesses",
    )


def _frozen(title, name, size, n, trainable, learns, goal, *, epochs):
    return Job(
        title=f"an epoch on a frozen part, {name} at {size} px, {title}",
        sides={
            "ours": _ours(name, size, n, trainable=trainable, max_epochs=epochs),
            "bare loop": _bare(name, size, n, max_epochs=1, learns=learns),
        },
        goals={("ours", "bare loop"): goal},
        check=_check,
        rounds=5,
        share={"ours": 1 / epochs},
        note=f"{n} pictures, batches of {_BATCH}, AdamW, one thread; the bare loop computes the frozen part (in eval "
        f"mode) in its one epoch; ours is a {epochs}th of {epochs} epochs, with what a fit costs besides, the features "
        "being in the cache",
    )


JOBS = {
    "full 96 px": _full(
        *(_BUNDLED, 96, 256, 3),
        {("ours", "bare loop"): 1.5, ("ours", "fastai"): 1.5},
    ),
    "full 224 px": _full(
        *("mobilenetv2_100", 224, 96, 1),
        {
            ("ours", "bare loop"): 1.3,
            ("ours", "fastai"): 1.3,
            ("ours, keep_freed_memory", "bare loop"): 2.5,
        },
        with_allocator=True,
    ),
    "frozen, head": _frozen(*("the head alone learns", _BUNDLED, 96, 512, "head", ["classifier"], 250), epochs=100),
    "frozen, head, 224 px": _frozen(
        *("the head alone learns", "mobilenetv2_100", 224, 96, "head", ["classifier"], 250), epochs=100
    ),
    "frozen, last stage": _frozen(
        *("the last stage learns", _BUNDLED, 96, 256, 1, ["blocks.6", "conv_head", "bn2", "classifier"], 4),
        epochs=5,
    ),
}
