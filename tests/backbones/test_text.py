"""Networks for texts against the libraries that wrote them."""

import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from common_process import run_code
from common_texts import BLOCKS, LENGTH, WIDTH, reviews, write_encoder, write_static
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone

from sktransfer import FineTunedClassifier, PretrainedFeatureExtractor, TextBackbone, clear_cache, load_backbone
from sktransfer.exceptions import WeightsMismatchError, WeightsNotFoundError
from sktransfer.utils._compat import load_torchvision_operators

DATA = Path(os.environ.get("SKTRANSFER_DATA", Path(__file__).parents[2] / ".." / "shared"))
MINILM = DATA / "weights" / "all-MiniLM-L6-v2"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_encoder(tmp_path_factory.mktemp("text") / "tiny")


@pytest.fixture(scope="module")
def static(tmp_path_factory):
    return write_static(tmp_path_factory.mktemp("text") / "static")


def features(backbone, X, **options):
    return PretrainedFeatureExtractor(backbone, cache=None, **options).fit_transform(X)


def encoded(folder, X, **options):
    load_torchvision_operators()
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(folder), local_files_only=True, device="cpu").encode(list(X), **options)


X, y = reviews(24)


@pytest.mark.parametrize("pooling", ["mean_tokens", "cls_token", "max_tokens", "mean_sqrt_len_tokens"])
@pytest.mark.parametrize("dense", [False, True])
def test_equals_sentence_transformers(tmp_path, pooling, dense):
    folder = write_encoder(tmp_path / "model", pooling=pooling, dense=dense, normalize=dense)
    assert_allclose(features(f"text:{folder}", X), encoded(folder, X), atol=2e-6)


@pytest.mark.parametrize("kind", ["bert", "roberta", "distilbert", "mpnet"])
def test_kinds_of_encoders_are_cut_into_their_blocks(tmp_path, kind):
    folder = write_encoder(tmp_path / "model", kind=kind, normalize=False, pooling="mean_tokens")
    backbone = load_backbone(f"text:{folder}")
    assert len(backbone.stage_names) == BLOCKS
    assert_allclose(features(f"text:{folder}", X), encoded(folder, X), atol=2e-6)
    assert_allclose(features(f"text:{folder}", X, layer=-1), encoded(folder, X), atol=2e-6)


def test_an_encoder_of_transformers_is_averaged(tmp_path):
    folder = write_encoder(tmp_path / "model", pooling=None)
    assert_allclose(features(f"text:{folder}", X), encoded(folder, X), atol=2e-6)


def test_layers_are_the_hidden_states(folder):
    load_torchvision_operators()
    import torch
    import transformers

    network = transformers.AutoModel.from_pretrained(folder).eval()
    tokens = transformers.AutoTokenizer.from_pretrained(folder)(X, padding=True, return_tensors="pt")
    tokens.pop("token_type_ids", None)
    with torch.no_grad():
        states = network(**tokens, output_hidden_states=True).hidden_states
    mask = tokens["attention_mask"][..., None]
    for layer in range(BLOCKS):
        mean = (states[layer + 1] * mask).sum(1) / mask.sum(1)
        assert_allclose(features(f"text:{folder}", X, layer=layer), mean.numpy(), atol=2e-6)
    highest = states[2].masked_fill(mask == 0, -np.inf).amax(1)
    assert_allclose(features(f"text:{folder}", X, layer=1, pooling="max"), highest.numpy(), atol=2e-6)
    assert_allclose(features(f"text:{folder}", X, layer=0, pooling="cls"), states[1][:, 0].numpy(), atol=2e-6)
    assert features(f"text:{folder}", X, layer=[0, 2, None]).shape == (24, 3 * WIDTH)
    assert_allclose(features(f"text:{folder}", X, layer=[0, 2, None])[:, WIDTH : 2 * WIDTH], mean.numpy(), atol=2e-6)


def test_nothing_depends_on_company(folder):
    whole = features(f"text:{folder}", X)
    for rows in ([3], [5, 1], range(23, -1, -1)):
        assert_allclose(features(f"text:{folder}", [X[i] for i in rows]), whole[list(rows)], atol=1e-6)


def test_a_prompt_stands_before_each_text(tmp_path):
    folder = write_encoder(tmp_path / "model", prompts={"query": "this book "})
    expected = encoded(folder, X, prompt_name="query")
    assert_allclose(features(TextBackbone(folder, prompt="query"), X), expected, atol=2e-6)
    assert_allclose(features(TextBackbone(folder, prompt="this book "), X), expected, atol=2e-6)
    assert np.abs(features(TextBackbone(folder), X) - expected).max() > 0.01
    with pytest.raises(ValueError, match=r"prompt='querry' is none of the network's prompts, \['query'\]"):
        features(TextBackbone(folder, prompt="querry"), X)


def test_long_texts(folder):
    long = " ".join(["good kettle"] * 9)  # 18 words, and 10 fit between the ends
    with pytest.warns(UserWarning, match=r"2 of 3 texts have more than 12 tokens.*rows 0, 2\. .*long_texts='chunk'"):
        cut = features(f"text:{folder}", [long, "good", long])
    assert_allclose(cut[0], features(f"text:{folder}", [" ".join(["good kettle"] * 5)])[0], atol=1e-6)
    both = features(TextBackbone(folder, long_texts="chunk"), [long, "good"])
    windows = features(f"text:{folder}", [" ".join(["good kettle"] * 5), " ".join(["good kettle"] * 4), "good"])
    assert_allclose(both, [windows[:2].mean(0), windows[2]], atol=1e-6)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"long_texts": "cut"}, "long_texts must be one of .* got 'cut'"),
        ({"pooling": "avg"}, r"pooling must be one of .* or None, got 'avg'"),
        ({"max_length": 2}, "max_length=2: expected a number of tokens from 3 on"),
        ({"max_length": 99}, f"max_length=99: .* takes at most {LENGTH} tokens"),
    ],
)
def test_wrong_words(folder, params, message):
    with pytest.raises(ValueError, match=message):
        features(TextBackbone(folder, **params), X)


def test_what_is_of_pictures_is_refused(folder):
    with pytest.raises(ValueError, match="image_size=32 is of networks for pictures"):
        features(f"text:{folder}", X, image_size=32)
    with pytest.raises(ValueError, match="pooling='gem': the tokens of a text are pooled by"):
        features(f"text:{folder}", X, pooling="gem")
    with pytest.raises(ValueError, match=r"layer='encoder' of text:.*pass the number of a block"):
        features(f"text:{folder}", X, layer="encoder")
    with pytest.raises(ValueError, match=f"has {BLOCKS} stages"):
        features(f"text:{folder}", X, layer=BLOCKS)


def test_no_such_network_is_said_within_seconds(tmp_path):
    with pytest.raises(WeightsNotFoundError, match=r"Three ways out: \(1\) pass backbone='text:/path.*sktransfer_mini"):
        load_backbone("text:no-such-network")
    with pytest.raises(WeightsNotFoundError, match=r"holds no network for texts: neither modules"):
        load_backbone(f"text:{tmp_path}")


def test_damaged_files_are_named(folder, static, tmp_path):
    for name, source in (("a", folder), ("b", static)):
        broken = tmp_path / name
        shutil.copytree(source, broken)
        (broken / "model.safetensors").write_bytes(b"nothing")
        with pytest.raises(WeightsMismatchError, match="cannot be read"):
            load_backbone(f"text:{broken}")


def test_pickles_small_and_checks_the_weights(folder, tmp_path):
    here = tmp_path / "here"
    shutil.copytree(folder, here)
    extractor = PretrainedFeatureExtractor(TextBackbone(here, pooling="cls", max_length=10)).fit(X)
    parcel = pickle.dumps(extractor)
    assert len(parcel) < 5000
    assert_array_equal(pickle.loads(parcel).transform(X), extractor.transform(X))
    other = write_encoder(tmp_path / "other", kind="bert", normalize=False)
    shutil.copy(folder / "config.json", here)
    tensors = __import__("safetensors.numpy", fromlist=["x"])
    state = tensors.load_file(other / "model.safetensors")
    tensors.save_file({name: value + 1 for name, value in state.items()}, here / "model.safetensors")
    with pytest.raises(WeightsMismatchError, match="are not those that this estimator was fitted with"):
        pickle.loads(parcel)


def test_saved_without_pickle_and_without_the_folder(folder, tmp_path):
    here = tmp_path / "here"
    shutil.copytree(folder, here)
    model = FineTunedClassifier(f"text:{here}", trainable=1, max_epochs=1, random_state=0).fit(X, y)
    model.save(tmp_path / "model")
    expected = model.predict_proba(X)
    shutil.rmtree(here)
    clear_cache()
    out = tmp_path / "out.npy"
    code, _, error = run_code(f"""
        import numpy as np
        from sktransfer import FineTunedClassifier
        np.save({str(out)!r}, FineTunedClassifier.load({str(tmp_path / "model")!r}).predict_proba({X!r}))
    """)
    assert code == 0, error
    assert_allclose(np.load(out), expected, atol=1e-6)


def test_static_embeddings_equal_model2vec(static):
    model2vec = pytest.importorskip("model2vec")
    model = model2vec.StaticModel.from_pretrained(static)
    texts = [*X, "unheard words are good", "unheard"]
    assert_allclose(features(f"text:{static}", texts), model.encode(texts), atol=1e-6)


def test_static_embeddings_are_tuned(static):
    frozen = FineTunedClassifier(f"text:{static}", trainable="head", max_epochs=5, random_state=0).fit(X, y)
    model = FineTunedClassifier(f"text:{static}", trainable="all", max_epochs=5, lr=0.01, random_state=0).fit(X, y)
    assert model.score(X, y) >= frozen.score(X, y)
    table = model.net_.module_.body.model.embedding.weight
    assert (table != load_backbone(f"text:{static}").module.embedding.weight).any()


def test_the_same_description_loads_once(folder):
    assert load_backbone(f"text:{folder}") is load_backbone(TextBackbone(folder))
    assert load_backbone(TextBackbone(folder, max_length=8)) is not load_backbone(TextBackbone(folder))
    assert clone(TextBackbone(folder, max_length=8)).max_length == 8


def test_importing_is_light():
    code = (
        "import sys, sktransfer; sktransfer.TextBackbone('x');"
        "sys.exit(bool({'torch', 'transformers', 'sentence_transformers', 'tokenizers'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.skipif(not MINILM.is_dir(), reason=f"no weights in {MINILM}: set SKTRANSFER_DATA")
def test_minilm():
    texts = ["This kettle boils in seconds.", "It broke after a week, sadly.", "word " * 300]
    with pytest.warns(UserWarning, match="1 of 3 texts have more than 256 tokens"):
        got = features(f"text:{MINILM}", texts)
    load_torchvision_operators()
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(MINILM), local_files_only=True, device="cpu").float()
    assert_allclose(got, model.encode(texts), atol=2e-6)
