"""Python values as JSON and back."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from sktransfer.backbones._plain import from_plain, to_plain


def through_json(value):
    return from_plain(json.loads(json.dumps(to_plain(value), allow_nan=False)))


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        3,
        2**70,
        0.1,
        float("inf"),
        "é",
        [1, (2, "a"), {"b": [None]}],
        (),
        {1: 0.5, "x": 2, None: 3, (1, 2): 4},
        {"$array": 1},
        frozenset({"a", "b"}),
        {1, 2},
        Path("a/b"),
        torch.device("cuda", 1),
    ],
    ids=lambda value: type(value).__name__,  # a frozenset has no order to be named by
)
def test_value_and_type_come_back(value):
    again = through_json(value)
    assert again == value
    assert type(again) is type(value)


def test_not_a_number_comes_back():
    assert np.isnan(through_json(float("nan")))


@pytest.mark.parametrize(
    "array",
    [
        np.array(["a", "longer"]),
        np.array([1, 2], dtype=np.int8),
        np.array([[0.1, np.inf]], dtype=np.float32),
        np.array([0.1, 1e-300]),
        np.array([True, False]),
        np.array(["a", "b"], dtype=object),
        np.array([1, "b", None], dtype=object),
        np.array([], dtype=np.float32),
        np.array(3, dtype=">u4"),
        np.float32(0.1),
        np.str_("a"),
        np.int64(7),
    ],
    ids=repr,
)
def test_array_comes_back_with_its_dtype(array):
    again = through_json(array)
    assert type(again) is type(array)
    assert again.dtype == array.dtype
    assert again.shape == array.shape
    np.testing.assert_array_equal(again, array)


class Number(int):
    pass


class Table(dict):
    pass


@pytest.mark.parametrize(
    ("value", "named"),
    [
        (len, "builtin_function_or_method"),
        (Number(3), "Number"),
        (Table(), "Table"),
        ([np.random.RandomState(0)], "RandomState"),
        (np.array(["2020-01-01"], dtype="datetime64[D]"), "datetime64"),
        (np.array([1j]), "complex128"),
        (np.longdouble(1), np.longdouble.__name__),
        (np.array([b"a"]), "S1"),
        (np.array([len], dtype=object), "builtin_function_or_method"),
        (torch.zeros(1), "Tensor"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_anything_else_is_refused_by_name(value, named):
    with pytest.raises(TypeError, match=named):
        to_plain(value)


def test_unknown_kind_is_named():
    with pytest.raises(ValueError, match=r"'\$later' is no kind of value"):
        from_plain([{"$later": 1}])
