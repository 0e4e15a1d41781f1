import copy

import numpy as np
import pytest
import torch
from common_deep import easy_pair, source_only
from numpy.testing import assert_allclose
from skorch.callbacks import Callback
from torch.nn import functional

from sktransfer import Recipe, make_domain_shift
from sktransfer._nets import PenaltySetup, Rows, TunedModule, plan_training
from sktransfer.backbones import columns_as_features
from sktransfer.deep_adaptation._adda import _ADDA, ADDAClassifier, fooling_loss
from sktransfer.deep_adaptation._alignment import discriminator, domain_loss, ramp

TABLE = {"backbone": None, "bottleneck": 8, "discriminator_hidden": 8, "max_epochs": 8, "random_state": 0}


@pytest.fixture(scope="module")
def shifted():
    return make_domain_shift(60, 50, random_state=0)


class Watch(Callback):
    """Keeps the weights after each epoch; the estimator trains with a copy of it, so the class keeps them."""

    def on_epoch_end(self, net, **kwargs):
        type(self).seen.append(copy.deepcopy(net.tuned.state_dict()))


def watched(data, **options):
    """States after each epoch."""
    X, y, domain = data

    class Own(Watch):
        seen = []

    clf = ADDAClassifier(**{**TABLE, **options}, callbacks=[Own()]).fit(X, y, sample_domain=domain)
    return clf, Own.seen


def part_of(state, prefix):
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def step(progress, trade_off=0.5, dtype=torch.float64):
    """A module on a batch at a time of the training: its loss, and what made it."""
    torch.manual_seed(0)
    table = columns_as_features(4)
    module = TunedModule(table, plan_training(table, "head"), 3, neck=[5])
    method = _ADDA((6,), 0.5, trade_off=trade_off, trade_off_schedule="constant", separate=False)
    method.attach(module, PenaltySetup(table, torch.zeros(1), 3, None, None, 1))
    module.to(dtype).train()
    module.progress = progress
    x, rows = (
        torch.randn(12, 4, dtype=dtype),
        Rows(torch.arange(12) % 3, torch.ones(12), torch.tensor([1, 0]).repeat_interleave(6)),
    )
    outputs = module(x)
    return method, module, x, outputs, rows


class TestFoolingLoss:
    def test_equals_numpy(self):
        scores = np.array([[2.0], [-1.0], [0.3]])
        expected = -np.log(1 / (1 + np.exp(-scores))).mean()
        assert fooling_loss(torch.tensor(scores)).item() == pytest.approx(expected)

    def test_gradient(self):
        assert torch.autograd.gradcheck(fooling_loss, torch.randn(5, 1, dtype=torch.float64, requires_grad=True))

    def test_gradient_does_not_vanish_where_the_discriminator_is_sure(self):
        scores = torch.tensor([[-30.0]], requires_grad=True)
        fooling_loss(scores).backward()
        assert_allclose(scores.grad, [[-1.0]])


class TestStep:
    def test_nothing_but_the_labels_at_first(self):
        method, module, x, outputs, rows = step(0.49)
        assert method(module, x, outputs, rows).item() == 0
        assert not method(module, x, outputs, rows).requires_grad
        assert method.weigh(module, outputs, rows) is rows.weights
        outputs.scores.sum().backward()
        assert module.head.weight.grad is not None

    def test_features_fool_and_the_discriminator_learns_each_on_its_own(self):
        method, module, x, outputs, rows = step(0.5)
        outputs.features.retain_grad()
        loss = method(module, x, outputs, rows)
        loss.backward()
        part = module.alignment[0]
        found = [p.grad for p in part.parameters()]
        with torch.no_grad():
            source = module.alignment.source_encoder(x[:6], None)
        target = outputs.features[6:].detach().requires_grad_()
        # Both domains in one pass, as BatchNorm sees them.
        scores = part(torch.cat([source, target])).split(6)
        told, fooled = domain_loss(*scores), fooling_loss(scores[1])
        assert loss.item() == pytest.approx(told.item() + 0.5 * fooled.item())
        own = torch.autograd.grad(told, list(part.parameters()), retain_graph=True)
        for gradient, alone in zip(found, own, strict=True):
            torch.testing.assert_close(gradient, alone)
        (towards,) = torch.autograd.grad(fooled, target)
        assert towards.abs().max() > 1e-3
        torch.testing.assert_close(outputs.features.grad[6:], 0.5 * towards)
        assert outputs.features.grad[:6].abs().max() == 0
        assert all(p.grad is None for p in module.alignment.source_encoder.parameters())

    def test_labels_of_the_source_count_no_more_and_the_head_gets_no_gradient(self):
        method, module, _, outputs, rows = step(0.5)
        assert method.weigh(module, outputs, rows).tolist() == [0] * 6 + [1] * 6
        functional.cross_entropy(outputs.scores, rows.values).backward()
        assert module.head.weight.grad is None
        assert module.head.weight.requires_grad
        assert module.neck[0][0].weight.grad.abs().max() > 0

    def test_source_encoder_is_taken_over_once(self):
        _, module, x, _, _ = step(0.5)
        encoder = copy.deepcopy(module.alignment.source_encoder.state_dict())
        with torch.no_grad():
            module.neck[0][0].weight.mul_(2)
        module.progress = 0.7
        module(x)
        assert same(module.alignment.source_encoder.state_dict(), encoder)

    def test_never_without_trade_off(self):
        method, module, x, outputs, rows = step(0.9, trade_off=0.0)
        assert method(module, x, outputs, rows).item() == 0
        assert method.weigh(module, outputs, rows) is rows.weights

    def test_trade_off_grows_from_the_switch(self):
        method, module, _, _, _ = step(0.5)
        method.trade_off_schedule = "ramp"
        assert method.strength(module) == 0
        module.progress = 0.75
        assert method.strength(module) == pytest.approx(0.5 * ramp(0.5))

    def test_leaves_nothing_behind(self):
        method, module, x, _, _ = step(0.5)
        method.detach(module)
        assert module.alignment is None
        module(x).scores.sum().backward()
        assert module.head.weight.grad is not None


@pytest.mark.parametrize(
    "options",
    [
        {"recipe": Recipe(optimizer="adamw", weight_decay=0.5)},
        {"recipe": Recipe(optimizer="sgd", weight_decay=0.1), "lr": 0.05},  # timm's has momentum
        {"recipe": Recipe(layer_decay=0.5), "trainable": 1, "backbone": "sktransfer_mini", "max_epochs": 4},
    ],
)
def test_source_encoder_and_head_stand_still(shifted, options):
    data = shifted if "backbone" not in options else tuple(part[::8] for part in easy_pair(0))
    clf, states = watched(data, **options)
    half = len(states) // 2
    encoder = [part_of(state, "alignment.source_encoder.") for state in states]
    target = [{n: v for n, v in state.items() if n.startswith(("body.", "neck."))} for state in states]
    assert [bool(state["alignment.started"]) for state in states] == [False] * half + [True] * half
    assert same(encoder[half], target[half - 1])
    assert all(same(part, encoder[half]) for part in encoder[half:])
    head = [part_of(state, "head.") for state in states]
    assert not same(head[half - 2], head[half - 1])
    assert all(same(part, head[half - 1]) for part in head[half:])
    assert all(
        not torch.equal(target[half - 1][name], target[-1][name])
        for name in ("neck.0.0.weight", "neck.0.1.running_mean")
    )
    assert torch.equal(clf.net_.module_.neck[0][0].weight, target[-1]["neck.0.0.weight"])
    assert clf.net_.module_.head.weight.requires_grad


@pytest.mark.parametrize("killed_in", [3, 5, 6])
def test_goes_on_from_a_checkpoint(shifted, tmp_path, killed_in):
    X, y, domain = shifted

    class Killed(BaseException):
        """Nothing of ours handles it."""

    class Kill(Callback):
        def on_epoch_begin(self, net, **kwargs):
            if net.history[-1, "epoch"] == killed_in:
                raise Killed

    _, unbroken = watched(shifted)
    with pytest.raises(Killed):
        ADDAClassifier(**TABLE, checkpoint_dir=tmp_path, callbacks=[Kill()]).fit(X, y, sample_domain=domain)
    _, resumed = watched(shifted, checkpoint_dir=tmp_path)
    assert len(resumed) == 8 - killed_in + 1
    assert same(resumed[-1], unbroken[-1])


@pytest.mark.parametrize(
    "options",
    [{"recipe": Recipe(ema_decay=0.9)}, {"sources": "separate"}, {"lr": "auto"}, {"recipe": Recipe(max_grad_norm=1.0)}],
)
def test_goes_with_the_rest_of_the_engine(shifted, options):
    X, _, domain = shifted
    domain = np.where(np.arange(len(X)) % 2, domain, np.where(domain == "source", "other", domain))
    clf, states = watched((X, shifted[1], domain), **options)
    assert states[-1]["alignment.started"]
    assert np.isfinite(clf.predict_proba(X)).all()


def test_labels_of_the_target_are_learned_where_asked(shifted):
    X, y, domain = shifted
    flipped = np.where(domain == "target", 1 - y, y)
    options = {**TABLE, "max_epochs": 40, "lr": 0.01, "use_target_labels": True}
    clf = ADDAClassifier(**options).fit(X, flipped, sample_domain=domain)
    target = domain == "target"
    assert clf.score(X[target], flipped[target]) > 0.7


def told_apart(clf, states, X, is_target):
    """What a new discriminator gains over chance on source features of the source encoder and on target features."""
    torch.manual_seed(0)
    encoder = copy.deepcopy(clf.net_.module_.neck)
    if states[-1]["alignment.started"]:
        encoder.load_state_dict(part_of(states[-1], "alignment.source_encoder.neck."))
    with torch.no_grad():
        source = encoder.eval()(torch.tensor(X[~is_target]).float())
    target = torch.tensor(clf.transform(X[is_target]))
    part = discriminator(source.shape[1], 6)
    optimizer = torch.optim.Adam(part.parameters(), lr=0.01)
    for _ in range(200):
        optimizer.zero_grad()
        loss = domain_loss(part(source), part(target))
        loss.backward()
        optimizer.step()
    return np.log(2) - loss.item()


def test_encoders_are_told_apart_less():
    gains = []
    for seed in range(2):
        X, _, domain = data = make_domain_shift(150, 150, shift="covariate", random_state=seed)
        options = {"bottleneck": (64, 4), "discriminator_hidden": 32, "max_epochs": 30, "random_state": seed}
        options |= {"recipe": Recipe(lr=0.003), "statistics": "shared"}
        fitted = [watched(data, trade_off=t, **options) for t in (0.0, 1.0)]
        gains.append([told_apart(*pair, X, domain == "target") for pair in fitted])
    without, against = np.mean(gains, axis=0)
    assert against < 0.8 * without


def test_beats_the_source_alone_on_an_easy_pair():
    gains = []
    for seed in range(2):
        X, y, domain = easy_pair(seed, n=100)
        clf = ADDAClassifier("sktransfer_mini", bottleneck=32, max_epochs=15, lr=0.05, random_state=seed)
        clf.fit(X, y, sample_domain=domain)
        gains.append(clf.score(X[domain == "target"], y[domain == "target"]) - source_only(seed, n=100))
    assert np.mean(gains) > 0.06


def test_smallest_batches():
    X, y, domain = make_domain_shift(6, 3, random_state=0)
    clf = ADDAClassifier(None, batch_size=2, max_epochs=4, bottleneck=4, random_state=0).fit(X, y, sample_domain=domain)
    assert np.isfinite(clf.predict_proba(X)).all()


@pytest.mark.parametrize("bad", [{"source_share": 0}, {"source_share": 1.0}, {"discriminator_hidden": 0}])
def test_bad_parameters(bad):
    X, y, domain = make_domain_shift(20, 20, random_state=0)
    with pytest.raises(ValueError, match=next(iter(bad))):
        ADDAClassifier(None, **bad).fit(X, y, sample_domain=domain)
