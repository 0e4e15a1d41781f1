import numpy as np
import pytest
import torch
from common_deep import side, two_sides

from sktransfer._nets import Outputs, PenaltySetup, Rows, TunedModule, plan_training
from sktransfer.backbones import columns_as_features
from sktransfer.deep_adaptation._alignment import Alignment, discriminator, domain_loss, ramp, reverse_gradient


def test_ramp_is_the_formula_of_the_paper():
    assert ramp(0.0) == 0.0
    assert ramp(0.5) == pytest.approx(np.tanh(2.5))
    assert ramp(1.0) == pytest.approx(0.9999092, abs=1e-7)


def test_reversed_gradient():
    x = torch.tensor([1.0, -2.0], requires_grad=True)
    y = reverse_gradient(x, 0.3)
    torch.testing.assert_close(y, x)
    (y**3).sum().backward()
    torch.testing.assert_close(x.grad, -0.3 * 3 * x.detach() ** 2)


class TestDomainLoss:
    def test_is_the_mean_log_loss_of_the_domains(self):
        source, target = np.array([[2.0], [-1.0], [0.5]]), np.array([[0.3], [-4.0]])
        p_source, p_target = 1 / (1 + np.exp(-source)), 1 / (1 + np.exp(-target))
        expected = -(np.log(p_source).mean() + np.log(1 - p_target).mean()) / 2
        assert domain_loss(torch.tensor(source), torch.tensor(target)).item() == pytest.approx(expected)

    def test_weights_count_within_a_domain(self):
        scores = torch.tensor([[2.0], [-1.0], [0.5]], dtype=torch.float64)
        weights = torch.tensor([0.0, 2.0, 0.0], dtype=torch.float64)
        assert domain_loss(scores, scores, weights).item() == domain_loss(scores[1:2], scores).item()
        twice = domain_loss(scores[[0, 0, 1]], scores)
        assert domain_loss(scores[:2], scores, torch.tensor([2.0, 1.0])).item() == pytest.approx(twice.item())

    def test_who_knows_nothing_loses_log_two(self):
        assert domain_loss(torch.zeros(3, 1), torch.zeros(9, 1)).item() == pytest.approx(np.log(2))

    def test_extreme_scores_stay_finite(self):
        scores = torch.tensor([[-1e4], [1e4]], requires_grad=True)
        domain_loss(scores, scores).backward()
        assert torch.isfinite(scores.grad).all()

    def test_gradient(self):
        source, target = two_sides(d=1)
        assert torch.autograd.gradcheck(domain_loss, (source.features, target.features))


def test_discriminator_sees_no_mean_and_variance_of_a_domain():
    torch.manual_seed(0)
    part = discriminator(3, (8, 4))
    x = torch.randn(20, 3)
    torch.testing.assert_close(part(x), part(5 * x + 2), atol=1e-3, rtol=1e-3)


class Mean(Alignment):
    """Minimises the distance of the means, and keeps what it was given."""

    def build(self, n_features, n_outputs):
        return torch.nn.Linear(n_features, n_outputs)

    def align(self, part, source, target, strength, module):
        self.seen = [*getattr(self, "seen", ()), (part, source, target, strength)]
        return strength * (source.features.mean(0) - target.features.mean(0)).square().sum()


def step(alignment, domain, progress=0.5, n_sources=2):
    """One call on features that tell their row."""
    table = columns_as_features(2)
    module = TunedModule(table, plan_training(table, "head"), 3)
    alignment.attach(module, PenaltySetup(table, torch.zeros(1), 3, None, None, n_sources))
    module.progress = progress
    n = len(domain)
    x = torch.arange(2.0 * n).reshape(n, 2)
    rows = Rows(torch.arange(n), torch.ones(n), torch.tensor(domain))
    return module, alignment(module, x, Outputs(torch.zeros(n, 3), x, []), rows), x


class TestAlignment:
    def test_first_half_is_the_source_second_the_target(self):
        alignment = Mean(2.0, "constant", False)
        module, loss, x = step(alignment, [1, 2, 1, 0, 0, 0])
        ((part, source, target, strength),) = alignment.seen
        assert part is module.alignment[0]
        torch.testing.assert_close(source.features, x[:3])
        torch.testing.assert_close(target.inputs, x[3:])
        assert source.values.tolist() == [0, 1, 2]
        assert strength == 2.0
        assert loss.item() == pytest.approx(2.0 * 2 * 6**2)

    def test_labelled_target_rows_are_no_source(self):
        alignment = Mean(1.0, "constant", False)
        _, _, x = step(alignment, [1, 0, 1, 0, 0, 0])
        torch.testing.assert_close(alignment.seen[0][1].features, x[[0, 2]])

    def test_separate_sources_have_parts_and_count_alike(self):
        alignment = Mean(1.0, "constant", True)
        module, loss, _ = step(alignment, [1, 1, 1, 2, 2, 0, 0, 0, 0, 0])
        assert [part for part, *_ in alignment.seen] == list(module.alignment)
        assert [len(source.features) for _, source, *_ in alignment.seen] == [3, 2]
        alone = [Mean(1.0, "constant", False) for _ in range(2)]
        first = step(alone[0], [1, 1, 1, 0, 0, 0, 0, 0, 0, 0])[1]
        second = step(alone[1], [0, 0, 0, 1, 1, 0, 0, 0, 0, 0])[1]
        assert loss.item() == pytest.approx((first.item() + second.item()) / 2)

    def test_a_source_of_one_row_is_left_out_of_the_batch(self):
        alignment = Mean(1.0, "constant", True)
        step(alignment, [1, 1, 1, 2, 0, 0, 0, 0])
        assert len(alignment.seen) == 1
        loss = step(Mean(1.0, "constant", True), [1, 2, 0, 0])[1]
        assert loss.item() == 0.0

    @pytest.mark.parametrize("progress", [0.0, 0.1, 1.0])
    def test_trade_off_grows(self, progress):
        alignment = Mean(3.0, "ramp", False)
        step(alignment, [1, 1, 0, 0], progress)
        assert alignment.seen[0][3] == pytest.approx(3 * ramp(progress))

    def test_leaves_nothing_behind(self):
        alignment = Mean(1.0, "ramp", False)
        module, _, _ = step(alignment, [1, 1, 0, 0])
        assert any(name.startswith("alignment") for name in module.state_dict())
        alignment.detach(module)
        assert not any(name.startswith("alignment") for name in module.state_dict())


def test_sides_of_the_tests_are_those_of_the_engine():
    assert side(np.zeros((3, 2))).weights.tolist() == [1, 1, 1]
