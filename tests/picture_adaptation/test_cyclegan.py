"""Losses, networks and a training step of the translation between two domains."""

import math

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from sktransfer import make_image_domains
from sktransfer.picture_adaptation._cyclegan import (
    CycleGAN,
    Discriminator,
    Generator,
    SourceClassifier,
    colour_map,
    cycle_loss,
    discriminator_loss,
    generator_loss,
    semantic_loss,
)
from sktransfer.utils._random import isolated_rng


def draw(*shape, seed=0):
    return torch.tensor(np.random.default_rng(seed).normal(size=shape), requires_grad=True)


def planes(pictures):
    return np.moveaxis(pictures, -1, 1).astype(np.float32) / 127.5 - 1


def test_losses_of_generator_and_discriminator():
    real, fake = draw(3, 1, 2, 2), draw(5, 1, 2, 2, seed=1)
    r, f = real.detach().numpy().ravel(), fake.detach().numpy().ravel()
    assert_allclose(generator_loss(fake).item(), sum((v - 1) ** 2 for v in f) / len(f))
    expected = sum((v - 1) ** 2 for v in r) / (2 * len(r)) + sum(v**2 for v in f) / (2 * len(f))
    assert_allclose(discriminator_loss(real, fake).item(), expected)
    assert torch.autograd.gradcheck(generator_loss, (fake,))
    assert torch.autograd.gradcheck(discriminator_loss, (real, fake))


def test_discriminator_that_knows_all_and_one_that_knows_nothing():
    one, half, zero = (torch.full((4, 1, 2, 2), value) for value in (1.0, 0.5, 0.0))
    assert discriminator_loss(one, zero) == 0
    # The optimum where both domains look the same.
    assert discriminator_loss(half, half) == 0.25
    assert generator_loss(one) == 0


def test_cycle_loss():
    x, back = draw(2, 3, 4, 4), draw(2, 3, 4, 4, seed=1)
    a, b = x.detach().numpy().ravel(), back.detach().numpy().ravel()
    assert_allclose(cycle_loss(x, back).item(), sum(abs(v - w) for v, w in zip(a, b, strict=True)) / len(a))
    assert_allclose(cycle_loss(3 * x, 3 * back).item(), 3 * cycle_loss(back, x).item())
    assert cycle_loss(x, x) == 0
    assert torch.autograd.gradcheck(cycle_loss, (x, back))


def test_semantic_loss_leaves_out_rows_without_a_label():
    scores, labels = draw(4, 3), torch.tensor([2, -1, 0, 2])
    s = scores.detach().numpy()
    expected = [math.log(np.exp(s[row]).sum()) - s[row, label] for row, label in ((0, 2), (2, 0), (3, 2))]
    assert_allclose(semantic_loss(scores, labels).item(), np.mean(expected))
    assert torch.autograd.gradcheck(lambda z: semantic_loss(z, labels), (scores,))
    nothing = semantic_loss(scores, torch.full((4,), -1))
    nothing.backward()
    assert nothing == 0
    assert not scores.grad.any()


def test_colour_map_gives_mean_and_spread_of_the_target():
    rng = np.random.default_rng(0)
    source = rng.gamma(2.0, size=(6, 3, 8, 8))
    target = np.array([0.5, 2.0, 1.0])[:, None, None] * rng.gamma(2.0, size=(4, 3, 8, 8)) - 1
    scale, shift = colour_map(source, target)
    moved = scale[:, None, None] * source + shift[:, None, None]
    assert (scale > 0).all()
    assert_allclose(moved.mean(axis=(0, 2, 3)), target.mean(axis=(0, 2, 3)))
    assert_allclose(moved.std(axis=(0, 2, 3)), target.std(axis=(0, 2, 3)), rtol=0.01)


def test_colour_map_turns_to_the_negative_only_where_that_is_closer():
    for style, negative in (("inverted", True), ("low_contrast", False), ("colored", False), ("textured", False)):
        X, _, domain = make_image_domains(30, 30, target=style, image_size=16, random_state=0)
        source, target = planes(X[domain == "source"]), planes(X[domain == "target"])
        scale, shift = colour_map(source, target)
        assert_array_equal(scale < 0, [negative] * 3)
        if style == "inverted":
            assert_allclose(scale, -1, atol=0.1)
            assert_allclose(shift, 0, atol=0.1)


def test_colour_map_of_flat_pictures_is_finite():
    flat = np.zeros((2, 1, 8, 8))
    assert np.isfinite(colour_map(flat, flat + 1)).all()
    assert np.isfinite(colour_map(flat, draw(2, 1, 8, 8).detach().numpy())).all()


@pytest.mark.parametrize(("height", "width"), [(8, 8), (9, 13), (32, 20)])
def test_networks_take_any_size_from_8_pixels(height, width):
    style, maps = (torch.randn(2, *shape) for shape in Generator.noise_shapes(height, width))
    x = torch.randn(2, 3, height, width)
    assert Generator(3, 6)(x, style, maps).shape == x.shape
    assert Discriminator(3, 6)(x).isfinite().all()
    assert SourceClassifier(3, 6, 4)(x).shape == (2, 4)


def test_random_numbers_change_the_translation_as_a_whole_and_in_places():
    with isolated_rng(0):
        generator = Generator(3, 8)
        x = torch.zeros(1, 3, 16, 16)
        style, maps = (torch.zeros(1, *shape) for shape in Generator.noise_shapes(16, 16))
        other_style, other_maps = style + 1, maps.clone()
        other_maps[..., 0, 0] = 3.0
        with torch.no_grad():
            base, styled, mapped = (generator(x, *n) for n in ((style, maps), (other_style, maps), (style, other_maps)))
    changed = (styled - base).abs()
    assert changed.min() > 0
    change = (mapped - base).abs().mean(dim=1)[0]
    assert change[:4, :4].mean() > 10 * change[-4:, -4:].mean()


def test_discriminator_sees_whether_pictures_are_alike():
    with isolated_rng(0):
        discriminator = Discriminator(3, 8)
        pictures = torch.randn(4, 3, 16, 16)
    with torch.no_grad():
        together, alone = discriminator(pictures)[:1], discriminator(pictures[:1].expand(4, -1, -1, -1))[:1]
    assert not torch.allclose(together, alone)


def small_gan(n_classes=3, **options):
    X, y, domain = make_image_domains(24, 24, target="colored", n_classes=3, image_size=8, random_state=0)
    source, target = planes(X[domain == "source"]), planes(X[domain == "target"])
    options = {"cycle_weight": 2.0, "identity_weight": 0.5, "semantic_weight": 1.0, "lr": 0.001, **options}
    gan = CycleGAN(source, target, n_classes, width=8, device=torch.device("cpu"), **options)
    return gan, (torch.from_numpy(source), torch.from_numpy(y[domain == "source"]), torch.from_numpy(target))


def weights(module):
    return torch.cat([parameter.detach().flatten().clone() for parameter in module.parameters()])


def test_each_network_learns_its_own_loss():
    with isolated_rng(0):
        gan, batch = small_gan()
        parts = [gan.to_target, gan.to_source, *gan.judges, gan.classifier]
        before = [weights(part) for part in parts]
        gan.step(*batch)
        assert all((weights(part) != old).any() for part, old in zip(parts, before, strict=True))
        source, labels, target = batch
        # The generators' update leaves the others as they are, and these take gradients again afterwards.
        before = [weights(part) for part in parts]
        fakes = gan._translate(gan.to_target, source), gan._translate(gan.to_source, target)
        gan._step_generators(source, labels, target, *fakes)
    moved = [bool((weights(part) != old).any()) for part, old in zip(parts, before, strict=True)]
    assert moved == [True, True, False, False, False]
    assert all(parameter.requires_grad for part in parts for parameter in part.parameters())


def test_losses_that_are_not_asked_for_are_not_there():
    with isolated_rng(0):
        gan, (source, labels, target) = small_gan(n_classes=0, identity_weight=0.0)
        assert set(gan.step(source, labels, target)) == {"generator_loss", "discriminator_loss", "cycle_loss"}
        gan, batch = small_gan()
        assert {"identity_loss", "semantic_loss"} < set(gan.step(*batch))


@pytest.mark.parametrize(("option", "loss"), [("cycle_weight", "cycle_loss"), ("semantic_weight", "semantic_loss")])
def test_weights_of_losses_make_them_smaller(option, loss):
    ends = []
    for weight in (0.0, 5.0):
        with isolated_rng(0):
            gan, batch = small_gan(**{"cycle_weight": 0.0, option: weight})
            ends.append(np.mean([gan.step(*batch)[loss].item() for _ in range(40)][-15:]))
    assert ends[1] < 0.8 * ends[0]


def test_rate_of_zero_changes_nothing():
    with isolated_rng(0):
        gan, batch = small_gan()
        before = weights(gan.to_target)
        gan.set_rate(0.0)
        gan.step(*batch)
    assert_array_equal(weights(gan.to_target), before)
