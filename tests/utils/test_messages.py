"""Words for error messages."""

import numpy as np
import pytest

from sktransfer import FineTunedClassifier, FineTunedRegressor, MMDAdapter, Recipe
from sktransfer.utils._messages import first_line, unknown_option


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ValueError("one"), "one"),
        (RuntimeError("one\ntwo\nthree"), "one"),
        (OSError(2, "No such file"), "[Errno 2] No such file"),
        (KeyError("name"), "'name'"),
        (ValueError(), "ValueError"),
        (AssertionError(""), "AssertionError"),
    ],
)
def test_first_line_or_type(error, expected):
    assert first_line(error) == expected


@pytest.mark.parametrize(
    ("value", "hint"),
    [("liner", " Did you mean 'linear'?"), ("RBF", " Did you mean 'rbf'?"), ("zzz", ""), (3, "")],
)
def test_options_are_sorted_and_the_nearest_is_named(value, hint):
    said = unknown_option("kernel", value, {"rbf", "linear", "poly"})
    assert said == f"kernel must be one of ['linear', 'poly', 'rbf'], got {value!r}.{hint}"


def test_misspelt_option_of_an_estimator_is_named_with_the_one_meant():
    with pytest.raises(
        ValueError,
        match=r"'schedule' parameter of Recipe must be a str among \{'constant', "
        r"'cosine', 'inverse', 'one_cycle', 'step'\}\. Got 'cosin' instead\. Did you mean 'cosine'\?",
    ):
        FineTunedClassifier("sktransfer_mini", recipe=Recipe(schedule="cosin")).fit(np.zeros((4, 64)), [0, 1, 0, 1])
    with pytest.raises(ValueError, match=r"'kernel' parameter of MMDAdapter must be .* Did you mean 'linear'\?"):
        MMDAdapter(kernel="liner").fit(np.zeros((4, 2)), sample_domain=["source", "source", "target", "target"])


@pytest.mark.parametrize(
    ("value", "meant"), [(True, "'all' for the whole network"), (False, "'head' for the new head")]
)
def test_trainable_true_or_false_says_what_may_be_meant(value, meant):
    with pytest.raises(ValueError, match=f"trainable={value}: .*{meant}"):
        FineTunedClassifier("sktransfer_mini", trainable=value).fit(np.zeros((4, 64)), [0, 1, 0, 1])


@pytest.mark.parametrize("y", [["a", None, "b", "a"], [0.0, np.nan, 1.0, 1.0]])
def test_missing_labels_of_a_classifier_are_named(y):
    with pytest.raises(ValueError, match="y contains NaN or None: 1 rows have no label, the first is row 1"):
        FineTunedClassifier("sktransfer_mini").fit(np.zeros((4, 64)), y)


@pytest.mark.parametrize("dtype", [str, object])
def test_strings_as_targets_of_a_regressor_are_named(dtype):
    with pytest.raises(ValueError, match=r"FineTunedRegressor needs numbers as y, got 'cat'.*FineTunedClassifier"):
        FineTunedRegressor("sktransfer_mini").fit(np.zeros((2, 64)), np.array(["cat", "dog"], dtype=dtype))
