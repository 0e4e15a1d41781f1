import inspect

import pytest

from sktransfer import DANNClassifier, DANNRegressor, DeepCORALClassifier
from sktransfer.deep_adaptation._base import DeepClassifier


class Own(DeepClassifier):
    """Something.

    Parameters
    ----------
    [[backbone]]
    lr : float, default=0.5
        Its own.
    [[training]]
    """

    def __init__(self, backbone=None, *, lr: float = 0.5, **training):
        super().__init__(backbone, lr=lr, **training)

    def _alignment(self, **options):
        raise NotImplementedError


def test_signature_holds_own_and_shared_parameters_once():
    names = list(inspect.signature(DANNClassifier).parameters)
    assert names[:4] == ["backbone", "trade_off", "discriminator_hidden", "class_weight"]
    assert len(names) == len(set(names))
    assert "training" not in names
    assert {"trainable", "checkpoint_dir", "callbacks"} < set(names)
    assert "class_weight" not in inspect.signature(DANNRegressor).parameters


def test_every_parameter_is_stored_and_can_be_set():
    clf = DeepCORALClassifier(None, lr=0.1, trade_off=3.0, batch_size=8)
    assert clf.get_params()["lr"] == 0.1
    assert clf.trade_off == 3.0
    assert set(clf.get_params()) == set(inspect.signature(DeepCORALClassifier).parameters)
    assert clf.set_params(max_epochs=2).max_epochs == 2


def test_unknown_parameter_is_a_type_error():
    with pytest.raises(TypeError, match="epochs"):
        DANNClassifier(None, epochs=3)


def test_own_default_and_its_documentation_take_the_place_of_the_shared():
    assert inspect.signature(Own).parameters["lr"].default == 0.5
    assert Own().lr == 0.5
    assert Own.__doc__.count("\n    lr : ") == 1
    assert "\n    max_epochs : int or None, default=None\n" in Own.__doc__
    assert "[[" not in Own.__doc__
