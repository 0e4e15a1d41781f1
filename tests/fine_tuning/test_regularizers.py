"""Parameter objects of the ways to stay near the source."""

import functools
import pickle

import numpy as np
import pytest
from sklearn.base import clone

from sktransfer._nets import _penalty
from sktransfer.fine_tuning import _regularizers
from sktransfer.fine_tuning._regularizers import (
    BSS,
    DELTA,
    L2SP,
    REGULARIZERS,
    RKD,
    CoTuning,
    LwF,
    Regularizer,
    StochNorm,
    resolve_regularizer,
)

NAMES = {
    "l2-sp": L2SP,
    "delta": DELTA,
    "bss": BSS,
    "stochnorm": StochNorm,
    "lwf": LwF,
    "co-tuning": CoTuning,
    "rkd": RKD,
}
every_class = pytest.mark.parametrize("cls", NAMES.values())


@pytest.mark.parametrize(("name", "cls"), NAMES.items())
def test_names_stand_for_default_parameters(name, cls):
    resolved = resolve_regularizer(name)
    assert type(resolved) is cls
    assert resolved.get_params() == cls().get_params()


def test_table_of_classes():
    assert {cls.__name__: cls for cls in NAMES.values()} == REGULARIZERS
    assert set(REGULARIZERS) <= set(_regularizers.__all__)


def test_none_stays_none():
    assert resolve_regularizer(None) is None


@every_class
def test_parameters_travel(cls):
    (name, value), *_ = cls().get_params().items()
    other = cls().set_params(**{name: value / 2})
    for copied in (clone(other), pickle.loads(pickle.dumps(other)), cls(value / 2)):
        assert copied.get_params() == other.get_params()


def test_an_object_is_cloned():
    mine = CoTuning(alpha=0.5)
    used = resolve_regularizer(mine)
    used._penalty().on_relation(np.eye(2))
    assert used.alpha == 0.5
    assert used.relation_.tolist() == [[1, 0], [0, 1]]
    assert vars(mine) == {"alpha": 0.5}
    assert not hasattr(clone(used), "relation_")


@every_class
def test_penalty_holds_the_parameters(cls):
    regularizer = cls()
    penalty = regularizer._penalty()
    assert type(penalty) is getattr(_penalty, f"{cls.__name__}Penalty")
    assert regularizer.get_params().items() <= vars(penalty).items()


def test_penalty_of_co_tuning_tells_the_relation():
    regularizer = CoTuning()
    assert isinstance(regularizer._penalty().on_relation, functools.partial)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("l2sp", r"regularizer='l2sp' is not known\. Did you mean 'l2-sp'\? Pass one of 'bss', 'co-tuning'"),
        ("Co_Tuning", r"Did you mean 'co-tuning'\?"),
        ("LWF", r"Did you mean 'lwf'\?"),
        ("xyzzy", r"regularizer='xyzzy' is not known\. Pass one of .*, an object such as L2SP\(alpha=0\.1\)"),
    ],
)
def test_unknown_name(name, message):
    with pytest.raises(ValueError, match=message):
        resolve_regularizer(name)


@pytest.mark.parametrize("regularizer", [0.1, L2SP, object()])
def test_something_else(regularizer):
    with pytest.raises(TypeError, match=r"regularizer=.* of type \w+: Pass one of 'bss', 'co-tuning'"):
        resolve_regularizer(regularizer)


@pytest.mark.parametrize(
    ("regularizer", "parameter"),
    [
        (L2SP(-1), "alpha"),
        (L2SP(beta=-1), "beta"),
        (DELTA("much"), "alpha"),
        (BSS(n_singular_values=0), "n_singular_values"),
        (StochNorm(1.5), "p"),
        (LwF(temperature=0), "temperature"),
        (CoTuning(None), "alpha"),
        (RKD(angle=-1), "angle"),
    ],
)
def test_parameters_are_validated_where_they_are_used(regularizer, parameter):
    with pytest.raises(ValueError, match=f"The '{parameter}' parameter of {type(regularizer).__name__} must be"):
        resolve_regularizer(regularizer)._penalty()


def test_one_of_your_own():
    class Mine(Regularizer):
        pass

    assert type(resolve_regularizer(Mine())._penalty()) is _penalty.Penalty
