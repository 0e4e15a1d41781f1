"""Wrong features for networks of one's own: what differs in anything never shares a key, and what is equal does."""

import copy
import enum
import functools
import importlib.util
import itertools
import pickle
import types
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from common_frozen import count_pictures, make_pictures
from common_process import run_code
from numpy.testing import assert_array_equal
from torch import nn
from torch.nn.utils import parametrize

from sktransfer import PretrainedFeatureExtractor, clear_cache, load_backbone
from sktransfer.backbones._reading import read_network
from sktransfer.backbones._timm import timm
from sktransfer.exceptions import CacheWarning

X = make_pictures(3, size=8)


class Net(nn.Module):
    """Weights that are always the same, and a place for what differs."""

    def __init__(self, **attributes):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        with torch.no_grad():
            self.conv.weight.copy_(torch.linspace(-1, 1, self.conv.weight.numel()).view_as(self.conv.weight))
            self.conv.bias.zero_()
        for name, value in attributes.items():
            setattr(self, name, value)

    def forward(self, x):
        return self.change(self.conv(x)).mean((2, 3))

    def change(self, x):
        return x


def kind(source, **attributes):
    """A class of which this is the changing method, as a cell of a notebook defines it."""
    namespace = {"Net": Net, "torch": torch, "nn": nn, "np": np, "__name__": "__main__", **attributes}
    exec(f"class Own(Net):\n    {source}", namespace)
    return namespace["Own"]


class Keep(Net):
    def change(self, x):
        return x[:, list(self.keep)]


class Ways(Net):
    def change(self, x):
        return x * 2 if self.way is Way.DOUBLE else x


class Way(enum.Enum):
    DOUBLE = "double"
    PLAIN = "plain"


class Apply(Net):
    def change(self, x):
        return self.function(x)


class Times(Net):
    def change(self, x):
        return x * torch.as_tensor(self.factor)


class Named(Net):
    def change(self, x):
        return x * self._options["factor"]


class Slotted:
    __slots__ = ("factor",)

    def __init__(self, factor):
        self.factor = factor

    def __call__(self, x):
        return x * self.factor


class Callable:
    def __init__(self, factor):
        self.table = {"deep": [{"factor": factor}]}

    def __call__(self, x):
        return x * self.table["deep"][0]["factor"]


class Steps(Net):
    def change(self, x):
        for step in self.steps.values():
            x = step(x)
        return x


class Dropping(Net):
    def change(self, x):
        return x * (1 - self.drop.p)


class Asking(Net):
    """Computes with what another object says, which no attribute of the network holds."""

    def change(self, x):
        return x * HELD.factor


HELD = types.SimpleNamespace(factor=1.0)


def times(factor):
    return lambda x: x * factor


def buffered(value):
    net = Times()
    net.register_buffer("factor", torch.tensor(value), persistent=False)
    return net


def hooked(factor):
    net = Net()
    net.conv.register_forward_hook(lambda module, inputs, output: output * factor)
    return net


def pre_hooked(factor):
    net = Net()
    net.register_forward_pre_hook(lambda module, inputs: (inputs[0] * factor,))
    return net


def patched(factor):
    net = Net()
    net.forward = lambda x: net.conv(x).mean((2, 3)) * factor
    return net


def bound(factor):
    net = Net()
    net.change = types.MethodType(lambda self, x: x * factor, net)
    return net


class Scaled(nn.Module):
    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def forward(self, weight):
        return weight * self.factor


def parametrized(factor):
    net = Net()
    parametrize.register_parametrization(net.conv, "weight", Scaled(factor))
    return net


def weight_normed(dim):
    net = Net()
    nn.utils.parametrizations.weight_norm(net.conv, dim=dim)
    state = Net().conv.weight
    with torch.no_grad():
        net.conv.parametrizations.weight.original0.fill_(2.0)
        net.conv.parametrizations.weight.original1.copy_(state)
    return net


def with_global(value):
    return kind("def change(self, x): return x * FACTOR", FACTOR=value)()


def with_module(value):
    module = types.ModuleType("settings_of_one")
    module.FACTOR = value
    return kind("def change(self, x): return x * settings.FACTOR", settings=module)()


def with_helper(source):
    namespace = {}
    exec(f"def helper(x): return {source}", namespace)
    return kind("def change(self, x): return helper(x)", helper=namespace["helper"])()


def decorated(factor):
    def times(function):
        @functools.wraps(function)
        def run(self, x):
            return function(self, x) * factor

        return run

    return type("Own", (Net,), {"change": times(Net.change)})()


def of_timm():
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return timm.create_model("test_resnet", pretrained=False).eval()


def timm_changed(change):
    net = of_timm()
    change(net)
    return net


def forward_patched(net, factor):
    forward = net.forward_features
    net.forward_features = lambda x: forward(x) * factor


PAIRS = {
    "list of channels": lambda: (Keep(keep=[0, 1]), Keep(keep=[2, 3])),
    "tuple": lambda: (Keep(keep=(0, 1)), Keep(keep=(1, 0))),
    "array": lambda: (Keep(keep=np.array([0, 1])), Keep(keep=np.array([2, 3]))),
    "dictionary": lambda: (Named(_options={"factor": 1}), Named(_options={"factor": 2})),
    "tensor": lambda: (Times(factor=torch.tensor(1.0)), Times(factor=torch.tensor(2.0))),
    "numpy number": lambda: (Times(factor=np.float32(1)), Times(factor=np.float32(2))),
    "threshold": lambda: (Times(factor=0.5), Times(factor=0.500001)),
    "buffer that is not saved": lambda: (buffered(1.0), buffered(2.0)),
    "enumeration": lambda: (Ways(way=Way.DOUBLE), Ways(way=Way.PLAIN)),
    "partial": lambda: tuple(Apply(function=functools.partial(torch.mul, other=f)) for f in (1.0, 2.0)),
    "lambda": lambda: (Apply(function=lambda x: x), Apply(function=lambda x: x * 2)),
    "closure": lambda: (Apply(function=times(1.0)), Apply(function=times(2.0))),
    "default of a function": lambda: tuple(Apply(function=eval(f"lambda x, f={f}: x * f")) for f in (1.0, 2.0)),
    "function of a library": lambda: (Apply(function=torch.relu), Apply(function=torch.tanh)),
    "object that is called": lambda: (Apply(function=Callable(1.0)), Apply(function=Callable(2.0))),
    "object with slots": lambda: (Apply(function=Slotted(1.0)), Apply(function=Slotted(2.0))),
    "hook": lambda: (hooked(1.0), hooked(2.0)),
    "hook before": lambda: (pre_hooked(1.0), pre_hooked(2.0)),
    "forward of one object": lambda: (patched(1.0), patched(2.0)),
    "method of one object": lambda: (bound(1.0), bound(2.0)),
    "parametrization": lambda: (parametrized(1.0), parametrized(2.0)),
    "weight_norm": lambda: (weight_normed(0), weight_normed(1)),
    "order of a ModuleDict": lambda: tuple(
        Steps(
            steps=nn.ModuleDict(
                {name: {"leak": nn.LeakyReLU(0.5), "clip": nn.Hardtanh(-0.1, 0.1)}[name] for name in names}
            )
        )
        for names in (("leak", "clip"), ("clip", "leak"))
    ),
    "p of dropout": lambda: (Dropping(drop=nn.Dropout(0.1)), Dropping(drop=nn.Dropout(0.2))),
    "code of a method": lambda: tuple(kind(f"def change(self, x): return x * {f}")() for f in (1, 2)),
    "attribute of the class": lambda: tuple(
        kind(f"factor = {f}\n    def change(self, x): return x * self.factor")() for f in (1, 2)
    ),
    "property": lambda: tuple(
        kind(f"factor = property(lambda self: {f})\n    def change(self, x): return x * self.factor")() for f in (1, 2)
    ),
    "base class": lambda: tuple(type("Own", (kind(f"def change(self, x): return x * {f}"),), {})() for f in (1, 2)),
    "constant of the module": lambda: (with_global(1.0), with_global(2.0)),
    "array of the module": lambda: (with_global(torch.ones(4, 1, 1)), with_global(torch.arange(4.0).view(4, 1, 1))),
    "constant of another module": lambda: (with_module(1.0), with_module(2.0)),
    "function that forward calls": lambda: (with_helper("x"), with_helper("x * 2")),
    "decorator": lambda: (decorated(1.0), decorated(2.0)),
    "timm's forward patched": lambda: tuple(
        timm_changed(functools.partial(forward_patched, factor=f)) for f in (1.0, 2.0)
    ),
    "timm's and hooked": lambda: (
        of_timm(),
        timm_changed(lambda net: net.layer1.register_forward_hook(lambda module, inputs, output: output * 2)),
    ),
}


def extractor(net, cache):
    return PretrainedFeatureExtractor(net, image_size=32 if hasattr(net, "layer1") else 8, cache=cache)


def identity(net):
    backbone = load_backbone(net, image_size=32 if hasattr(net, "layer1") else 8)
    return backbone.identify("features", lambda x: backbone.outputs(x, [backbone.tap(None, "avg")])[0])


@pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS)
def test_wrong_features_for_networks_of_ones_own_that_differ_in_one_thing(pair, tmp_path):
    one, other = pair()
    expected = [extractor(net, None).fit_transform(X) for net in (one, other)]
    assert not np.array_equal(*expected)
    for net, features in zip((one, other), expected, strict=True):
        assert_array_equal(extractor(net, tmp_path).fit_transform(X), features)
    assert (tmp_path / "sktransfer_features.sqlite").is_file()
    assert identity(one).key != identity(other).key  # of the memory too


def test_a_constant_that_is_changed_between_fit_and_transform_does_not_give_the_features_from_before(monkeypatch):
    fitted = extractor(Asking(), "memory").fit(X)
    before = fitted.transform(X)
    monkeypatch.setattr(HELD, "factor", 2.0)
    assert_array_equal(fitted.transform(X), 2 * before)


def test_a_class_that_is_changed_between_fit_and_transform_does_not_give_the_features_from_before():
    cls = kind("def change(self, x): return x")
    fitted = extractor(cls(), "memory").fit(X)
    before = fitted.transform(X)
    cls.change = kind("def change(self, x): return x * 2").change  # as IPython's autoreload does
    assert_array_equal(fitted.transform(X), 2 * before)


def test_a_pickle_does_not_bring_the_key_of_older_code(monkeypatch):
    backbone = load_backbone(Times(factor=1.0), image_size=8)
    before = backbone.key_now
    content = pickle.dumps(backbone)
    assert pickle.loads(content).key_now == before
    monkeypatch.setattr(Times, "change", lambda self, x: x)
    assert pickle.loads(content).key_now != before


EQUAL = {
    "built again": lambda net: Apply(function=Callable(2.0)),
    "deepcopy": copy.deepcopy,
    "pickle": lambda net: pickle.loads(pickle.dumps(net)),
    "after its own use": lambda net: (net(torch.randn(2, 3, 8, 8)), net)[1],
    "with gradients": lambda net: (net(torch.randn(2, 3, 8, 8)).sum().backward(), net)[1],
    "in training mode": lambda net: net.train(),
}


@pytest.mark.parametrize("way", EQUAL.values(), ids=EQUAL)
def test_equal_networks_of_ones_own_share_features_on_disk(way, tmp_path):
    net = Apply(function=Callable(2.0))
    extractor(net, tmp_path).fit_transform(X)
    equal = way(net)
    with count_pictures() as seen:
        extractor(equal, tmp_path).fit_transform(X)
    assert sum(seen) == 0


SOURCE = """
import torch
from torch import nn

NAMES = {"a", "b", "c"}

def act(x):
    return x.relu() if "a" in NAMES else x

class Own(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 4, 3)
        self.keep = {"b": [0, 1], "a": {1.5, 2.5}}
        self.conv.register_forward_hook(lambda module, inputs, output: act(output))

    def forward(self, x):
        return self.conv(x)[:, self.keep["b"]].mean((2, 3))
"""


def test_the_same_class_built_again_in_another_process_has_the_same_key(tmp_path):
    (tmp_path / "of_my_own.py").write_text(SOURCE)
    spec = importlib.util.spec_from_file_location("of_my_own", tmp_path / "of_my_own.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    # The class in __main__, where the other process defines it; other hashes of words; hooks numbered otherwise.
    code = (
        SOURCE
        + "from test_identity import identity; nn.Linear(1, 1).register_forward_hook(print); print(identity(Own()).key)"
    )
    place = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
    status, printed, error = run_code(place + code)
    assert status == 0, error
    with torch.random.fork_rng():
        assert printed.strip() == identity(module.Own()).key


class Counting(Net):
    def change(self, x):
        self.passes += 1
        return x * (1 + (self.passes > 5))


class Remembering(Net):
    def change(self, x):
        self.highest.copy_(torch.maximum(self.highest, x.max()))
        return x


class Drawing(Net):
    def change(self, x):
        return nn.functional.dropout(x)


class Looking(Net):
    """Keeps what it saw last, as attention maps are kept: nothing of it decides what comes next."""

    def change(self, x):
        self.last = x
        return x


STATEFUL = {
    "counts its passes": lambda: Counting(passes=0),
    "buffer that forward mutates": lambda: Remembering(highest=nn.Buffer(torch.tensor(0.0))),
    "drops at random in eval mode": Drawing,
}


@pytest.mark.parametrize("cache", ["memory", "folder"])
@pytest.mark.parametrize("make", STATEFUL.values(), ids=STATEFUL)
def test_features_of_a_network_that_a_pass_changes_are_not_kept(make, cache, tmp_path):
    fitted = extractor(make(), tmp_path if cache == "folder" else cache).fit(X)
    with count_pictures() as seen:
        for _ in range(2):
            with pytest.warns(CacheWarning, match="are not kept: (its output|a forward pass changes)"):
                fitted.transform(X)
    assert sum(seen) == 2 * len(X)


def test_a_network_that_keeps_what_it_saw_last_is_cached(tmp_path):
    first = extractor(Looking(), tmp_path).fit_transform(X)
    with count_pictures() as seen:
        assert_array_equal(extractor(Looking(), tmp_path).fit_transform(X), first)
    assert sum(seen) == 0


def drawn_from(numbers):
    """A function that holds an iterator, of which nobody knows what is left in it."""
    steps = itertools.cycle(numbers)
    return lambda x: x * 2 if steps is not None else x


def scripted():
    return torch.jit.trace(nn.ReLU(), torch.zeros(1, 4, 8, 8))


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
@pytest.mark.parametrize("make", [lambda: Apply(function=drawn_from([1])), lambda: Apply(function=scripted())])
def test_a_network_of_which_something_cannot_be_read_has_a_key_of_its_own_object_and_never_the_disk(make, tmp_path):
    net = make()
    assert identity(net).key != identity(net).key
    assert identity(net).lasts is False
    with pytest.warns(CacheWarning, match=r"kept in this process alone, and not in .*cannot be read"):
        fitted = extractor(net, tmp_path).fit(X)
        fitted.transform(X)
    assert not list(tmp_path.iterdir())
    with count_pictures() as seen, warnings.catch_warnings():
        warnings.simplefilter("ignore", CacheWarning)
        fitted.transform(X)
    assert sum(seen) == 0  # in memory, for this object


def test_a_name_says_what_a_network_of_timms_is_and_nothing_is_probed(monkeypatch):
    monkeypatch.setattr("sktransfer.backbones._identity.read_network", None)
    clear_cache()
    PretrainedFeatureExtractor("test_resnet", weights=None, image_size=32).fit_transform(X)


def test_random_numbers_of_the_process_are_left_alone():
    net = Net()
    state = torch.random.get_rng_state()
    identity(net)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_what_refers_to_itself_and_what_is_deep_is_read():
    net = Net(loop=[])
    net.loop.append(net.loop)
    net.me = [net]
    deep = []
    for _ in range(10_000):
        deep = [deep]
    assert read_network(net).unreadable == ()
    assert "deeper" in read_network(Net(deep=deep)).unreadable[0]
