"""Every error can be caught as the builtin kind it is."""

import pickle

import pytest

from sktransfer import exceptions

KINDS = {
    "CacheWarning": UserWarning,
    "DivergenceError": RuntimeError,
    "DomainError": ValueError,
    "InvalidAudioError": ValueError,
    "InvalidImageError": ValueError,
    "InvalidImageWarning": UserWarning,
    "InvalidSampleError": ValueError,
    "InvalidSampleWarning": UserWarning,
    "InvalidTextError": ValueError,
    "NegativeTransferWarning": UserWarning,
    "WeightsMismatchError": ValueError,
    "WeightsNotFoundError": OSError,
}


def test_every_error_has_its_kind_here():
    assert exceptions.__all__ == sorted(KINDS)


@pytest.mark.parametrize("name", KINDS)
def test_kind(name):
    assert issubclass(getattr(exceptions, name), KINDS[name])


@pytest.mark.parametrize("name", KINDS)
def test_pickle_keeps_type_and_message(name):
    again = pickle.loads(pickle.dumps(getattr(exceptions, name)("row 3: nothing there")))
    assert type(again) is getattr(exceptions, name)
    assert str(again) == "row 3: nothing there"


def test_pickle_keeps_whether_there_are_weights():
    assert pickle.loads(pickle.dumps(exceptions.DivergenceError("epoch 3", True))).has_weights
