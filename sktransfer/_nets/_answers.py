"""What the scores of a network mean, and a net that callbacks can ask as they ask one of skorch's."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from sklearn.metrics import accuracy_score, r2_score
from sklearn.utils import ClassifierTags, RegressorTags, Tags
from skorch.callbacks import Callback
from skorch.dataset import Dataset
from torch.utils.data import DataLoader

from sktransfer._nets._module import TunedModule
from sktransfer._nets._user_callbacks import check_learning
from sktransfer.utils._batch import take_rows_of

__all__ = ["Answers", "WatchedNetMixin"]


@dataclass(frozen=True)
class Answers:
    """Turns scores into predictions, and what is learned from back into y, for those who watch a training.

    Attributes
    ----------
    kind : {"classes", "labels", "numbers"}
        One class a row, an indicator matrix, or targets.
    n_outputs : int
    mean, scale : ndarray of shape (n_outputs,) or None
        Of the targets, where they are numbers.
    """

    kind: str
    n_outputs: int
    mean: np.ndarray | None = None
    scale: np.ndarray | None = None

    def proba(self, scores: torch.Tensor) -> torch.Tensor:
        """Probabilities, or predictions in the units of y: ``(n, n_outputs)``."""
        if self.kind == "numbers":
            return self._in_units(scores)
        return scores.float().softmax(1) if self.kind == "classes" else scores.float().sigmoid()

    def decide(self, proba: np.ndarray) -> np.ndarray:
        """Predictions from what :meth:`proba` gives: class numbers, an indicator matrix, or numbers."""
        if self.kind == "classes":
            return proba.argmax(1)
        if self.kind == "labels":
            return (proba > 0.5).astype(int)
        return proba[:, 0] if self.n_outputs == 1 else proba

    def true(self, values: torch.Tensor) -> torch.Tensor:
        """Give what :meth:`decide` should say; of rows that were mixed, what most of each is."""
        if self.kind == "classes":
            return values.argmax(1) if values.ndim == 2 else values
        if self.kind == "labels":
            return (values > 0.5).long()
        numbers = self._in_units(values)
        return numbers[:, 0] if self.n_outputs == 1 else numbers

    def _in_units(self, values):
        double = values.detach().cpu().double()
        return double * torch.from_numpy(self.scale) + torch.from_numpy(self.mean)


class WatchedNetMixin:
    """What callbacks of a user see of a net: batches, scores and predictions as skorch gives them."""

    answers: Answers | None = None
    guests: tuple[Callback, ...] = ()  # the callbacks of the user, while it trains
    # Of the net, as what stands behind `super` is.
    module: TunedModule
    optimizer_: Any
    history: Any
    batch_size: int
    predict_proba: Callable[[Any], np.ndarray]

    def _as_skorch_gives_it(self, *, batch, y_pred=None, **others):
        """Give a batch as inputs and y, and its scores, of the rows that have a label."""
        inputs, rows = batch
        values, scores = rows.values, None if y_pred is None else y_pred.scores.float()
        if rows.domain is not None:
            labelled = rows.weights > 0
            inputs, values = take_rows_of(inputs, labelled), values[labelled]
            scores = None if scores is None else scores[labelled.to(scores.device)]
        told = {"batch": (inputs, values if self.answers is None else self.answers.true(values)), **others}
        return told if scores is None else {"y_pred": scores, **told}

    @property
    def tuned(self) -> TunedModule:
        """The module itself, whatever is wrapped around it while it trains."""
        return self.module

    def run_single_epoch(self, iterator: Any, training: bool, prefix: str, step_fn: Any, **fit_params: Any) -> None:
        """Run over all batches, once what callbacks froze is what does not learn."""
        if training and self.guests:
            check_learning(self.tuned, self.optimizer_, self.guests, len(self.history))
            self.tuned.train(self.tuned.training, refresh=True)
        super().run_single_epoch(iterator, training, prefix, step_fn, **fit_params)  # type: ignore[misc]

    def get_iterator(self, dataset: Any, training: bool = False) -> Any:
        """Batches of our data sets, or of whatever a callback wants predictions for."""
        if isinstance(dataset, Dataset):
            return DataLoader(dataset, batch_size=self.batch_size)
        return super().get_iterator(dataset, training=training)  # type: ignore[misc]

    def evaluation_step(self, batch: Any, training: bool = False) -> torch.Tensor:
        """Scores of a batch, as what is predicted for it."""
        return super().evaluation_step(batch, training=training).scores.float()  # type: ignore[misc]

    def predict(self, X: Any) -> np.ndarray:
        """Predictions for what callbacks score: class numbers, an indicator matrix, or numbers."""
        return self._told().decide(self.predict_proba(X))

    def score(self, X: Any, y: np.ndarray) -> float:
        """Accuracy, or the coefficient of determination."""
        return (r2_score if self._told().kind == "numbers" else accuracy_score)(y, self.predict(X))

    def _told(self) -> Answers:
        if self.answers is None:  # it comes out of a file
            raise AttributeError("This net does not know what its scores mean: ask the estimator that holds it.")
        return self.answers

    @property
    def classes_(self) -> np.ndarray:
        """Class numbers."""
        if self.answers is None or self.answers.kind == "numbers":
            raise AttributeError("This net gives numbers and has no classes.")
        return np.arange(self.answers.n_outputs)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()  # type: ignore[misc]
        if self.answers is not None and self.answers.kind == "numbers":
            tags.estimator_type, tags.regressor_tags = "regressor", RegressorTags()
        elif self.answers is not None:
            tags.estimator_type, tags.classifier_tags = "classifier", ClassifierTags()
        return tags
