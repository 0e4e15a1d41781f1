"""Saved files that somebody crafted: whatever is in one, load gives a working estimator or one clear error."""

import contextlib
import copy
import json
import random

import numpy as np
import pytest
import safetensors
import safetensors.torch
import torch
from common_fitted import NET, pictures, table

from sktransfer import DANNClassifier, DANNRegressor, FineTunedClassifier, load_backbone
from sktransfer.backbones._saved import _digest
from sktransfer.exceptions import WeightsMismatchError

NASTY = (
    *(None, True, -1, 0, 1, 3, 2**31, 10**30, 1.5, "", "x", "../../etc/passwd", "/tmp/evil", "\x00"),
    *([], [[]], ["a", 1], {}, {"a": 1}, {"$float": "nan"}, {"$tuple": [1, 2]}, {"$path": "/tmp/evil"}),
    *({"$unknown": 1}, {"$array": [1, 2], "dtype": "<U100000000", "shape": [2]}, {"$device": "no such"}),
    {"$array": [1.0], "dtype": "V8", "shape": [-1, 0]},
)


def fit(kind):
    X, y, domain = table()
    if kind == "table":
        return DANNClassifier(None, bottleneck=8, max_epochs=1, random_state=0).fit(X, y, sample_domain=domain), X
    if kind == "numbers":
        return DANNRegressor(None, bottleneck=8, max_epochs=1, random_state=0).fit(X, y, sample_domain=domain), X
    images, labels, _ = pictures()
    return FineTunedClassifier(**NET, trainable=1).fit(images, labels), images


class Crafted:
    """The parts of a saved file, to be changed and signed anew."""

    def __init__(self, path, estimator, X):
        self.path, self.cls, self.X = path, type(estimator), X[:2]
        estimator.save(path)
        with safetensors.safe_open(path, "pt") as file:
            self.header = json.loads(file.metadata()["sktransfer"])
        self.document = self.header["document"]
        # Copies: some releases of safetensors map the file into memory, which `load` writes over.
        self.tensors = {name: tensor.clone() for name, tensor in safetensors.torch.load_file(path).items()}

    def load(self, cls=None):
        text = json.dumps(self.header)
        metadata = {"sktransfer": text, "sktransfer_digest": _digest(text, self.tensors)}
        safetensors.torch.save_file(self.tensors, self.path, metadata=metadata)
        return (cls or self.cls).load(self.path)

    def works_or_is_refused(self):
        """Whether it was refused, with an error that names the file."""
        try:
            estimator = self.load()
        except ValueError as error:  # WeightsMismatchError is one
            assert str(self.path) in str(error) or "The file describes" in str(error)
            return True
        with contextlib.suppress(ValueError):  # it may have learned of other pictures, or of a device that is not here
            assert len(estimator.predict(self.X)) == len(self.X)
        assert estimator.cache in (None, "memory")
        assert estimator.checkpoint_dir is None
        assert isinstance(repr(estimator), str)
        return False


@pytest.fixture(scope="module")
def originals():
    return {kind: fit(kind) for kind in ("table", "numbers", "pictures")}


@pytest.fixture
def crafted(originals, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    yield lambda kind="pictures": Crafted(tmp_path / "file", *originals[kind])
    assert not list((tmp_path / "here").iterdir())  # no folder of the author's choosing


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d["attributes"]["classes_"].update({"$array": [0, 1], "shape": [2]}), "classes_ are 2 labels for"),
        (lambda d: d["attributes"]["classes_"].update({"$array": [0, 0, 0], "shape": [3]}), "not distinct"),
        (lambda d: d["attributes"].pop("classes_"), "classes_"),
        (lambda d: d["attributes"].update(classes_="cat"), "classes_ is a str"),
        (lambda d: d["attributes"].update(n_features_in_="many", feature_names_in_=["a"]), "is a (str|list)"),
        (lambda d: d["attributes"].update(history_=[1]), "int"),
        (lambda d: d["attributes"].update(_sklearn_output_config={"transform": "exec"}), "_sklearn_output_config"),
        (lambda d: d["attributes"].update({"../evil_": 1}), "no name of a fitted attribute"),
        (lambda d: d["attributes"].update(predict=1), "no name of a fitted attribute"),
        (lambda d: d["params"].update(batch_size="large"), "batch_size"),
        (lambda d: d["params"].update(parameter_of_tomorrow=1), "parameter_of_tomorrow"),
        (lambda d: d.pop("plan"), "plan"),
        (lambda d: d.update(plan=[]), "WeightsMismatchError|TypeError"),
        (lambda d: d["plan"].update(start=77), "does not fit|77|Missing"),
        (lambda d: d["input_spec"].update(kind="smells"), "input_spec_"),
        (lambda d: d["source"].update(architecture="hf-hub:org/name"), "does not know"),
        (lambda d: d["source"]["arguments"].update(checkpoint_path="/tmp/evil.pth"), "checkpoint_path"),
        (lambda d: d["source"]["arguments"].update(num_classes=10**12), "num_classes|an argument of 1e\\+12"),
        (lambda d: d["source"]["pretrained_cfg"].update(input_size=[3, 10**6, 10**6]), "an input size of 1e\\+06"),
        (lambda d: d["net"].update(bottleneck=[10**9]), "a width of 1e\\+09"),
        (lambda d: d["regularizers"].update(regularizer={"class": "os", "params": {}, "learned": {}}), "os"),
    ],
)
def test_load_refuses_a_crafted_document_by_the_name_of_what_is_wrong(crafted, change, message):
    file = crafted()
    change(file.document)
    with pytest.raises(WeightsMismatchError, match=f"(?s)({message})"):
        file.load()


@pytest.mark.parametrize("where", ["document", "aliases", "format", "sktransfer"])
@pytest.mark.parametrize("value", ["absent", None, [], 0, -1, 1.5, "1", {"a": "b"}], ids=str)
def test_load_refuses_a_header_with_missing_keys_and_wrong_types(crafted, where, value):
    file = crafted("table")
    if value == "absent":
        file.header.pop(where)
    else:
        file.header[where] = value
    # Who wrote it is for messages alone, and a file without equal tensors has no aliases.
    harmless = (where == "sktransfer" and value != "absent") or (where == "aliases" and value == [])
    assert file.works_or_is_refused() != harmless or where == "aliases"


def test_load_refuses_nests_deeper_than_python_reads(crafted):
    file = crafted("table")
    deep = []
    for _ in range(900):
        deep = [deep]
    file.document["attributes"]["deep_"] = deep
    file.header["document"] = {"$tuple": [file.document]}
    assert file.works_or_is_refused()
    text = '{"format": 1, "sktransfer": "0", "aliases": {}, "document": ' + "[" * 10**5 + "]" * 10**5 + "}"
    metadata = {"sktransfer": text, "sktransfer_digest": _digest(text, file.tensors)}
    safetensors.torch.save_file(file.tensors, file.path, metadata=metadata)
    with pytest.raises(WeightsMismatchError, match="header is not readable"):
        file.cls.load(file.path)


@pytest.mark.parametrize("name", ["../../evil", "net", "net.head.bias.more", "", "other.weight"])
def test_load_refuses_tensors_that_nothing_asks_for(crafted, name):
    file = crafted()
    file.tensors[name] = torch.zeros(3)
    assert file.works_or_is_refused()


@pytest.mark.parametrize("change", [lambda t: t * float("nan"), lambda t: t[:1], lambda t: t.to(torch.int8)[None]])
def test_load_refuses_weights_that_cannot_predict(crafted, change):
    file = crafted()
    file.tensors["net.head.bias"] = change(file.tensors["net.head.bias"])
    assert file.works_or_is_refused()


@pytest.mark.parametrize("value", ["/tmp/evil", {"$path": "/tmp/evil"}, "folder", "../folder"])
def test_load_resets_cache_and_checkpoint_dir_that_a_file_names(crafted, value, tmp_path):
    file = crafted()
    file.document["params"].update(cache=value, checkpoint_dir=value)
    estimator = file.load()
    assert (estimator.cache, estimator.checkpoint_dir) == ("memory", None)
    estimator.predict(file.X)
    assert not (tmp_path / "folder").exists()


def test_save_leaves_out_where_its_author_kept_things(originals, tmp_path):
    estimator = copy.copy(originals["pictures"][0]).set_params(cache=tmp_path / "c", checkpoint_dir=str(tmp_path / "d"))
    estimator.save(tmp_path / "file")
    assert str(tmp_path).encode() not in (tmp_path / "file").read_bytes()
    again = FineTunedClassifier.load(tmp_path / "file")
    assert (again.cache, again.checkpoint_dir) == ("memory", None)


def test_save_says_which_parameter_load_would_refuse(originals, tmp_path):
    estimator = copy.copy(originals["pictures"][0]).set_params(lr=-1)
    with pytest.raises(ValueError, match="'lr' parameter"):
        estimator.save(tmp_path / "file")


def test_a_crafted_file_as_backbone_is_refused_too(crafted):
    file = crafted()
    file.document.pop("network")
    with pytest.raises(WeightsMismatchError, match="no network for pictures"):
        _as_backbone(file)
    file.document["network"] = [1]
    with pytest.raises(WeightsMismatchError, match="TypeError"):
        _as_backbone(file)


def _as_backbone(file):
    with contextlib.suppress(WeightsMismatchError):
        file.load()  # signs it
    return load_backbone(file.path)


def _places(value, path=()):
    """All places in a nest of lists and dicts."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield (*path, key)
        yield from _places(item, (*path, key))


def change_at_random(file, rng):
    if rng.random() < 0.15:
        name = rng.choice(sorted(file.tensors))
        tensor = file.tensors.pop(name)
        kind = rng.randrange(4)
        if kind == 0:
            file.tensors[name[1:] or "x"] = tensor
        elif kind == 1:
            file.tensors[name] = torch.zeros([n + 1 for n in tensor.shape], dtype=tensor.dtype)
        elif kind == 2:
            file.tensors[name] = torch.full_like(tensor, float("nan") if tensor.is_floating_point() else -9)
        return
    *path, key = rng.choice(list(_places(file.header)))
    holder = file.header
    for step in path:
        holder = holder[step]
    kind = rng.randrange(4)
    if kind == 0:
        del holder[key]
    elif kind == 1 and isinstance(holder, dict):
        holder[rng.choice(["new", "", "$array", "cache", "net", "evil_"])] = holder[key]
    else:
        holder[key] = copy.deepcopy(rng.choice(NASTY))


@pytest.mark.parametrize(("kind", "n"), [("table", 150), ("numbers", 100), ("pictures", 50)])
def test_a_fuzzer_finds_no_file_that_load_neither_understands_nor_refuses(crafted, kind, n):
    rng = random.Random(kind)
    refused = 0
    original = crafted(kind)
    for _ in range(n):
        file = copy.copy(original)
        file.header, file.tensors = copy.deepcopy(original.header), dict(original.tensors)
        file.document = file.header.get("document")
        for _ in range(rng.choice([1, 1, 3])):
            change_at_random(file, rng)
        refused += file.works_or_is_refused()
    assert 0 < refused < n


def test_numbers_read_back_are_numbers(crafted):
    file = crafted("numbers")
    file.document["attributes"]["target_scale_"] = copy.deepcopy(NASTY[-1])
    assert file.works_or_is_refused()
    assert np.isfinite(Crafted(file.path, *fit("numbers")).load().predict(file.X)).all()
