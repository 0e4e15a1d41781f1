import torch

from sktransfer.deep_adaptation._running_mean import RunningMean


def test_follows_the_formula_of_an_exponential_average():
    mean = RunningMean(2, 0.5)
    mean.update(torch.tensor([1.0, 0.0]))
    torch.testing.assert_close(mean.mean, torch.tensor([0.55, 0.45]))
    given = mean.update(torch.tensor([1.0, 0.0]))
    torch.testing.assert_close(given, torch.tensor([0.595, 0.405]))


def test_values_that_are_no_numbers_are_not_taken_in():
    mean = RunningMean(2, 0.5)
    mean.update(torch.tensor([float("nan"), 1.0]))
    torch.testing.assert_close(mean.mean, torch.tensor([0.5, 0.55]))


def test_belongs_to_the_state_and_does_not_learn():
    mean = RunningMean(2, 0.5)
    assert list(mean.state_dict()) == ["mean"]
    assert not list(mean.parameters())
