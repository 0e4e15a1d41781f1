"""Ways to stay near the source while fine-tuning, as parameter objects."""

from __future__ import annotations

import functools
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

from sklearn.base import BaseEstimator, clone

from sktransfer.utils._compat import Interval
from sktransfer.utils._messages import did_you_mean

if TYPE_CHECKING:
    from sktransfer._nets import _penalty

__all__ = [
    "BSS",
    "DELTA",
    "L2SP",
    "REGULARIZERS",
    "RKD",
    "CoTuning",
    "LwF",
    "Regularizer",
    "StochNorm",
    "resolve_regularizer",
]

_WEIGHT = [Interval(Real, 0, None, closed="left")]


class Regularizer(BaseEstimator):
    """Base of what is passed as ``regularizer``: holds parameters, which a search can reach."""

    _parameter_constraints: dict = {}
    _penalty_name = "Penalty"

    def _penalty(self) -> _penalty.Penalty:
        """Validate the parameters and make what computes, for one training."""
        from sktransfer._nets import _penalty

        self._validate_params()
        return getattr(_penalty, self._penalty_name)(**self.get_params())


class L2SP(Regularizer):
    """Pull the weights to those of the source [1]_.

    Adds alpha / 2 ||w - w0||^2 + beta / 2 ||v||^2 to the loss: w are the weights of the backbone that learn, w0 their
    values in the source network, v the weights of the new head (not its intercept).

    Parameters
    ----------
    alpha : float, default=0.1
        Pull to the source; [1]_ finds 0.1 or 0.01 best. 0 lets the weights go.
    beta : float, default=0.01
        Pull of the head to zero, as in [1]_.

    Notes
    -----
    The optimizer's ``weight_decay`` pulls to zero besides; the method of [1]_ is ``weight_decay=0``. With
    ``trainable="lora"`` the low-rank additions to the weights are w - w0.

    References
    ----------
    .. [1] Li, X., Grandvalet, Y. & Davoine, F. "Explicit Inductive Bias for Transfer Learning with Convolutional
       Networks", ICML 2018.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sktransfer.fine_tuning import FineTunedClassifier, L2SP
    >>> X, y = load_digits(return_X_y=True)
    >>> clf = FineTunedClassifier("sktransfer_mini", trainable=1, regularizer=L2SP(0.01), max_epochs=1, random_state=0)
    >>> clf.fit(X[:50], y[:50]).predict(X[50:53]).shape
    (3,)
    """

    _penalty_name = "L2SPPenalty"
    _parameter_constraints = {"alpha": _WEIGHT, "beta": _WEIGHT}

    def __init__(self, alpha: float = 0.1, *, beta: float = 0.01):
        self.alpha = alpha
        self.beta = beta


class DELTA(Regularizer):
    """Pull the feature maps to those of the source network [1]_.

    Adds alpha sum_l ||F_l(x) - F0_l(x)||^2 / ||F0_l(x)||^2 + beta / 2 ||v||^2 to the loss: F_l is the output of the
    l-th stage behind the frozen part and F0_l that of the source network for the same pictures of the batch, and v
    are the weights of the new head.

    Parameters
    ----------
    alpha : float, default=0.1
        Pull to the source. The code of [1]_ has no denominator; here it lets one value serve networks of any scale.
    beta : float, default=0.01
        Pull of the head to zero, as in [1]_.

    Notes
    -----
    All channels count alike; the supervised attention of [1]_, one training per channel switched off, is left out. Each
    step runs the source network too. Where only the head learns nothing but ``beta`` has an effect.

    References
    ----------
    .. [1] Li, X. et al. "DELTA: Deep Learning Transfer using Feature Map with Attention for Convolutional Networks",
       ICLR 2019.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sktransfer.fine_tuning import DELTA, FineTunedClassifier
    >>> X, y = load_digits(return_X_y=True)
    >>> clf = FineTunedClassifier("sktransfer_mini", trainable=1, regularizer=DELTA(), max_epochs=1, random_state=0)
    >>> clf.fit(X[:50], y[:50]).predict(X[50:53]).shape
    (3,)
    """

    _penalty_name = "DELTAPenalty"
    _parameter_constraints = {"alpha": _WEIGHT, "beta": _WEIGHT}

    def __init__(self, alpha: float = 0.1, *, beta: float = 0.01):
        self.alpha = alpha
        self.beta = beta


class BSS(Regularizer):
    """Batch spectral shrinkage: give up what transfers badly [1]_.

    Adds alpha sum s_i^2 over the k smallest singular values s_i of the matrix of features of each batch, the directions
    that fine-tuning on few pictures fits to noise. It does not pull to the source, and is often combined with a low
    learning rate that does.

    Parameters
    ----------
    alpha : float, default=0.001
        Weight, as in [1]_.
    n_singular_values : int, default=1
        The k; [1]_ finds 1 enough.

    References
    ----------
    .. [1] Chen, X. et al. "Catastrophic Forgetting Meets Negative Transfer: Batch Spectral Shrinkage for Safe Transfer
       Learning", NeurIPS 2019.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sktransfer.fine_tuning import BSS, FineTunedClassifier
    >>> X, y = load_digits(return_X_y=True)
    >>> clf = FineTunedClassifier("sktransfer_mini", trainable=1, regularizer=BSS(), max_epochs=1, random_state=0)
    >>> clf.fit(X[:50], y[:50]).predict(X[50:53]).shape
    (3,)
    """

    _penalty_name = "BSSPenalty"
    _parameter_constraints = {"alpha": _WEIGHT, "n_singular_values": [Interval(Integral, 1, None, closed="left")]}

    def __init__(self, alpha: float = 1e-3, *, n_singular_values: int = 1):
        self.alpha = alpha
        self.n_singular_values = n_singular_values


class StochNorm(Regularizer):
    """Let BatchNorm mix the statistics of the batch with those that it has gathered since the source [1]_.

    In each training step every channel of every BatchNorm layer that learns is normalised by the statistics of the
    batch with probability p, else by the running ones. The fitted network has plain BatchNorm layers.

    Parameters
    ----------
    p : float, default=0.5
        Probability of the statistics of the batch: 1 is plain BatchNorm, 0 normalises as in prediction.

    Notes
    -----
    It has no effect with ``batch_norm="frozen"``, which takes running statistics always, nor where only the head
    learns. A network in which no BatchNorm learns although its body does is an error.

    References
    ----------
    .. [1] Kou, Z., You, K., Long, M. & Wang, J. "Stochastic Normalization", NeurIPS 2020.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sktransfer.fine_tuning import FineTunedClassifier, StochNorm
    >>> X, y = load_digits(return_X_y=True)
    >>> clf = FineTunedClassifier("sktransfer_mini", trainable=1, regularizer=StochNorm(), max_epochs=1, random_state=0)
    >>> clf.fit(X[:50], y[:50]).predict(X[50:53]).shape
    (3,)
    """

    _penalty_name = "StochNormPenalty"
    _parameter_constraints = {"p": [Interval(Real, 0, 1, closed="both")]}

    def __init__(self, p: float = 0.5):
        self.p = p


class LwF(Regularizer):
    """Learning without forgetting: keep the answers that the source classifier gives to the new pictures [1]_.

    Adds alpha T^2 KL(softmax(s0 / T) || softmax(s / T)) to the loss: s0 are the source network's scores of its classes,
    s those by the trained features and a copy of the source classifier that learns too and is dropped in the end.

    Parameters
    ----------
    alpha : float, default=1.0
        Weight, as in [1]_.
    temperature : float, default=2.0
        The T, as in [1]_; a higher one makes the improbable classes count more.

    Notes
    -----
    Needs weights that came with their classifier. Each step runs the source network too.

    References
    ----------
    .. [1] Li, Z. & Hoiem, D. "Learning without Forgetting", ECCV 2016.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sktransfer.fine_tuning import FineTunedClassifier, LwF
    >>> X, y = load_digits(return_X_y=True)
    >>> source = FineTunedClassifier("sktransfer_mini", max_epochs=1, random_state=0).fit(X[:50], y[:50] % 3)
    >>> clf = FineTunedClassifier(source, trainable=1, regularizer=LwF(0.5), max_epochs=1, random_state=0)
    >>> clf.fit(X[:50], y[:50]).predict(X[50:53]).shape
    (3,)
    """

    _penalty_name = "LwFPenalty"
    _parameter_constraints = {"alpha": _WEIGHT, "temperature": [Interval(Real, 0, None, closed="neither")]}

    def __init__(self, alpha: float = 1.0, *, temperature: float = 2.0):
        self.alpha = alpha
        self.temperature = temperature


class CoTuning(Regularizer):
    """Co-Tuning: train the source classifier on the new pictures, with labels of the source [1]_.

    The source network's mean probabilities for the pictures of a target class are p(source class | target class), the
    category relationship. A copy of the source classifier learns it: alpha times its cross-entropy from the row of each
    picture's class is added to the loss. The copy is dropped in the end.

    Parameters
    ----------
    alpha : float, default=2.3
        Weight, as in [1]_.

    Attributes
    ----------
    relation_ : ndarray of shape (n_classes, n_source_classes)
        The category relationship; rows sum to one. It is an attribute of the fitted estimator's ``regularizer_``.

    Notes
    -----
    The direct approach of [1]_, without its calibration of the source network. Needs weights that came with their
    classifier, and one class a picture.

    References
    ----------
    .. [1] You, K., Kou, Z., Long, M. & Wang, J. "Co-Tuning for Transfer Learning", NeurIPS 2020.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sktransfer.fine_tuning import CoTuning, FineTunedClassifier
    >>> X, y = load_digits(return_X_y=True)
    >>> source = FineTunedClassifier("sktransfer_mini", max_epochs=1, random_state=0).fit(X[:50], y[:50] % 3)
    >>> clf = FineTunedClassifier(source, trainable=1, regularizer=CoTuning(), max_epochs=1, random_state=0)
    >>> clf.fit(X[:50], y[:50]).regularizer_.relation_.shape  # p(remainder of three | digit)
    (10, 3)
    """

    _penalty_name = "CoTuningPenalty"
    _parameter_constraints = {"alpha": _WEIGHT}

    def __init__(self, alpha: float = 2.3):
        self.alpha = alpha

    def _penalty(self) -> _penalty.Penalty:
        penalty = super()._penalty()
        penalty.on_relation = functools.partial(setattr, self, "relation_")
        return penalty


class RKD(Regularizer):
    """Relational knowledge distillation: keep distances and angles between pictures [1]_.

    Adds alpha (L_D + angle L_A) to the loss: L_D compares the distances of the features of any two pictures of the
    batch, in units of their mean, with those in the source network, L_A the cosines of the angles in the triangle of
    any three, both by the smooth L1 loss. Features may turn, move and stretch as a whole.

    Parameters
    ----------
    alpha : float, default=25.0
        Weight of distances, as in [1]_ for classification.
    angle : float, default=2.0
        Weight of angles in units of `alpha`, as in [1]_. 0 leaves them out.

    Notes
    -----
    Each step runs the source network too, and memory grows with the third power of the batch size. Without effect where
    only the head learns.

    References
    ----------
    .. [1] Park, W., Kim, D., Lu, Y. & Cho, M. "Relational Knowledge Distillation", CVPR 2019.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sktransfer.fine_tuning import FineTunedClassifier, RKD
    >>> X, y = load_digits(return_X_y=True)
    >>> clf = FineTunedClassifier("sktransfer_mini", trainable=1, regularizer=RKD(10), max_epochs=1, random_state=0)
    >>> clf.fit(X[:50], y[:50]).predict(X[50:53]).shape
    (3,)
    """

    _penalty_name = "RKDPenalty"
    _parameter_constraints = {"alpha": _WEIGHT, "angle": _WEIGHT}

    def __init__(self, alpha: float = 25.0, *, angle: float = 2.0):
        self.alpha = alpha
        self.angle = angle


_BY_NAME = {
    "l2-sp": L2SP,
    "delta": DELTA,
    "bss": BSS,
    "stochnorm": StochNorm,
    "lwf": LwF,
    "co-tuning": CoTuning,
    "rkd": RKD,
}
REGULARIZERS = {cls.__name__: cls for cls in _BY_NAME.values()}


def resolve_regularizer(regularizer: str | Regularizer | None) -> Regularizer | None:
    """Turn the parameter ``regularizer`` into an object of its own for one training.

    Parameters
    ----------
    regularizer : str, Regularizer or None
        A name (default parameters), or an object, which is cloned.

    Returns
    -------
    Regularizer or None

    Raises
    ------
    ValueError
        If there is no regularizer of that name.
    TypeError
        If it is something else.
    """
    if regularizer is None:
        return None
    if isinstance(regularizer, str):
        if regularizer not in _BY_NAME:
            raise ValueError(_unknown(regularizer))
        return _BY_NAME[regularizer]()
    if not isinstance(regularizer, Regularizer):
        raise TypeError(f"regularizer={regularizer!r} of type {type(regularizer).__name__}: {_expected()}")
    return clone(regularizer)


def _unknown(name: Any) -> str:
    return f"regularizer={name!r} is not known.{did_you_mean(name, _BY_NAME)} {_expected()}"


def _expected() -> str:
    names = ", ".join(map(repr, sorted(_BY_NAME)))
    return f"Pass one of {names}, an object such as L2SP(alpha=0.1), or None."
