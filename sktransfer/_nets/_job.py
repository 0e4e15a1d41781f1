"""One training of an estimator: from its settings and data to its fitted attributes."""

from __future__ import annotations

import copy
import hashlib
from numbers import Integral
from typing import Any

import numpy as np
from sklearn.utils import check_random_state

__all__ = ["TrainingJob"]

# Parameters that change how fast, where or how loudly a model is made, but not the model.
_NOT_PART_OF_THE_MODEL = {
    "accelerate",
    "backbone",  # its weights stand for it
    "cache",
    "callbacks",
    "checkpoint_dir",
    "compile",
    "device",
    "gradient_checkpointing",
    "n_jobs",
    "on_error",
    "recipe",
    "verbose",
    "warm_start",
}


class TrainingJob:
    """Trains the network of `estimator` and sets ``backbone_``, ``plan_``, ``net_``, ``lr_`` and what follows.

    Parameters
    ----------
    estimator : NetEstimator
        Gives its loss, what is added to it, and the number of its outputs.
    settings : TrainingSettings
    previous : TransferNet or None, default=None
        Whose weights are the start, in place of the backbone's.
    epochs_before : int or None, default=None
        Epochs of ``partial_fit`` so far, where this is another one; None for a whole training.
    """

    def __init__(self, estimator: Any, settings: Any, *, previous: Any = None, epochs_before: int | None = None):
        self.estimator = estimator
        self.settings = settings
        self.previous = previous
        self.epochs_before = epochs_before
        self.checkpoint = self._open_checkpoint()
        self.seed = self._draw_seed()

    def run(
        self, train: tuple, valid: tuple | None, *, reported: tuple[Any, Any] | None, callbacks: tuple = ()
    ) -> None:
        """Train.

        Parameters
        ----------
        train : tuple of (Samples, Targets)
        valid : tuple of (Samples, Targets) or None
        reported : tuple of (X, y) or None
            What scikit-learn's callbacks are told that the estimator is fitted to; None tells them nothing.
        callbacks : tuple of skorch callbacks, default=()
            What the training itself needs; used as they are.
        """
        from sktransfer._nets import check_callbacks, train_network
        from sktransfer.utils._device_memory import explained_out_of_memory
        from sktransfer.utils._random import isolated_rng

        estimator = self.estimator
        settings = self.settings
        check_callbacks(
            settings.callbacks,
            settings,
            is_validated=valid is not None,
            has_labels=bool(train[1].weights.any()),
            goes_on=self.checkpoint is not None,
            is_one_pass=self.epochs_before is not None,
        )
        self._load_backbone(train[0])
        penalty = estimator._penalty()
        if self.checkpoint is not None:
            self.checkpoint.begin(
                self.seed,
                self._identity(train, valid),
                n_epochs=settings.n_epochs,
                is_of_any_length=settings.recipe.schedule == "constant" and not (penalty and penalty.follows_progress),
            )
        optimizer = getattr(self.previous, "optimizer_", None) if self.epochs_before else None
        if settings.recipe.trainable == "lora":
            optimizer = None  # its matrices were merged into the weights
        with explained_out_of_memory(settings.device, *self._memory()), isolated_rng(self.seed):
            trained = train_network(
                estimator._trunk,
                train,
                valid,
                settings,
                n_outputs=estimator._n_outputs,
                criterion=estimator._criterion(),
                answers=estimator._answers(),
                frozen_features=estimator._frozen_features,
                penalty=penalty,
                penalty_setup=lambda: self._penalty_setup(*train),
                previous=self.previous,
                # A copy: torch goes on in these very tensors, and a training may fail.
                optimizer_state=None if optimizer is None else copy.deepcopy(optimizer.state_dict()),
                checkpoint=self.checkpoint,
                callbacks=(*callbacks, *(() if reported is None else self._reporters(*reported))),
            )
        estimator.plan_, estimator.net_ = trained.plan, trained.net
        estimator.lr_ = trained.net.lr
        if trained.curve is not None:
            estimator.lr_range_ = trained.curve
        # An epoch that was cut off has no duration, and is none.
        rows = [self._plain(row) for row in trained.net.history if "dur" in row]
        estimator.history_ = (estimator.history_ if self.epochs_before else []) + rows
        estimator.n_iter_ = len(estimator.history_)
        if trained.error is not None:
            raise trained.error

    def _memory(self):
        """Say what takes the memory of a training, and what makes it less."""
        params = self.estimator.get_params(deep=False)
        size = self.settings.recipe.batch_size
        remedies = [f"a smaller batch_size (e.g. {max(size // 2, 1)})"]
        if "recipe" in params and not self.settings.recipe.gradient_checkpointing:
            remedies.append("recipe=Recipe(gradient_checkpointing=True)")
        if "image_size" in params:
            remedies.append("a smaller image_size")
        return f"a training with batch_size={size}", ", or ".join(remedies)

    def _open_checkpoint(self):
        if self.estimator.checkpoint_dir is None:
            return None
        from sktransfer._nets import Checkpoint

        return Checkpoint(self.estimator.checkpoint_dir)

    def _draw_seed(self):
        if self.checkpoint is not None and self.checkpoint.saved is not None:
            return self.checkpoint.saved["seed"]
        state = self.estimator.random_state
        if self.epochs_before and isinstance(state, Integral):
            # Another pass, another order: the same seed would repeat the first one's.
            return int(np.random.SeedSequence([int(state), self.epochs_before]).generate_state(1)[0] >> 1)
        return int(check_random_state(state).randint(2**31 - 1))

    def _load_backbone(self, samples):
        from sktransfer._nets import plan_training

        estimator = self.estimator
        if self.previous is None:
            estimator.backbone_ = estimator._load_backbone(self.seed, samples)
            return
        trainable = self.settings.recipe.trainable
        plan = plan_training(estimator._trunk, trainable)
        n_outputs = self.previous.module_.head.out_features
        if plan != estimator.plan_ or n_outputs != estimator._n_outputs:
            raise ValueError(
                f"The network was trained with other settings (trainable={trainable!r} is new, or y has "
                f"{estimator._n_outputs} outputs where it had {n_outputs}) and cannot go on with these. Fit a clone, "
                "with backbone=this estimator to start from what it learned, or set warm_start=False."
            )

    def _penalty_setup(self, samples, targets):
        from sktransfer._nets import PenaltySetup

        estimator = self.estimator
        return PenaltySetup(
            backbone=estimator._trunk,
            targets=targets.of(np.arange(len(targets))).values,
            n_outputs=estimator._n_outputs,
            source_proba=lambda: estimator._frozen.source_proba(samples),
            source_features=lambda: estimator._frozen_features(samples, None),
            n_sources=0 if targets.domain is None else int(targets.domain.max()),
        )

    def _identity(self, train, valid):
        """Everything that decides the result, by name."""
        estimator = self.estimator
        # The recipe as it was resolved: by a name or by numbers, it is the same training.
        stated = {**estimator.get_params(deep=False), **self.settings.recipe.get_params(deep=False)}
        parameters = {
            name: getattr(value, "__qualname__", None) or repr(value)  # a function's repr holds its address
            for name, value in stated.items()
            if name not in _NOT_PART_OF_THE_MODEL
        }
        data = hashlib.blake2b(digest_size=8)
        for samples, targets in (train, valid) if valid else (train,):
            for row in range(len(samples)):
                data.update(samples.digest(row))
            for array in (targets.values, targets.weights, targets.draw, targets.domain):
                data.update(b"" if array is None else np.ascontiguousarray(array).tobytes())
        start = "" if self.previous is None else _digest_of(self.previous.module_)
        return {
            "estimator": type(estimator).__name__,
            **parameters,
            "backbone": f"{estimator._trunk.name} {estimator._trunk.key_now}{start}",
            "training data": data.hexdigest(),
        }

    def _reporters(self, X, y):
        """Tell scikit-learn's callbacks of each epoch, one task each."""
        from sktransfer._nets import Reporter, plan_training

        estimator = self.estimator
        if not hasattr(estimator, "_callback_fit_ctx"):  # scikit-learn before 1.9
            return ()
        root = estimator._callback_fit_ctx
        plan = plan_training(estimator._trunk, self.settings.recipe.trainable)
        tasks = []

        def begin(net):
            tasks.append(root.subcontext(task_name="epoch"))
            tasks[-1].call_on_fit_task_begin(estimator=estimator, X=X, y=y)

        def end(net):
            return tasks[-1].call_on_fit_task_end(
                estimator=estimator,
                X=X,
                y=y,
                reconstruction_attributes=lambda: {"net_": net, "plan_": plan, "n_iter_": len(net.history)},
            )

        return (Reporter(begin, end),)

    def _plain(self, row):
        """One entry of the history: plain numbers, counted on from earlier epochs."""
        entry = {
            "phase" if key == "event_phase" else key: value.item() if hasattr(value, "item") else value
            for key, value in row.items()
            if key != "batches" and not key.endswith("_best")
        }
        return {**entry, "epoch": entry["epoch"] + (self.epochs_before or 0)}


def _digest_of(module):
    digest = hashlib.blake2b(digest_size=8)
    for tensor in module.state_dict().values():
        digest.update(tensor.cpu().contiguous().numpy().tobytes())
    return f" from {digest.hexdigest()}"
