"""Tiny networks for texts, written as sentence-transformers and model2vec write theirs."""

import json
from pathlib import Path

import numpy as np
import safetensors.numpy
import torch
from sklearn.utils.validation import validate_data
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from sktransfer import PretrainedFeatureExtractor
from sktransfer.utils._compat import load_torchvision_operators

GOOD = ["good", "great", "fine", "lovely", "quick"]
BAD = ["bad", "poor", "broken", "slow", "awful"]
OTHER = ["the", "a", "kettle", "book", "film", "is", "was", "very", "and", "so", "it", "this"]
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *GOOD, *BAD, *OTHER]
WIDTH, BLOCKS, LENGTH = 32, 3, 12


def reviews(n, seed=0):
    """Short texts of known words, the better half of them labelled 1."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 2
    texts = []
    for label in y:
        words = [*rng.choice(OTHER, rng.integers(2, 7)), *rng.choice(GOOD if label else BAD, rng.integers(1, 3))]
        texts.append(" ".join(rng.permutation(words)))
    return texts, y


def tokenizer():
    """Whole words."""
    built = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    built.normalizer = normalizers.Lowercase()
    built.pre_tokenizer = pre_tokenizers.Whitespace()
    return built


def write_encoder(
    folder, *, pooling="mean_tokens", dense=False, normalize=True, prompts=None, kind="bert", blocks=BLOCKS
):
    """Write a network of some blocks as sentence-transformers does; ``pooling=None`` as transformers does."""
    load_torchvision_operators()
    import transformers

    folder = Path(folder)
    sizes = {"vocab_size": len(WORDS), "num_hidden_layers": blocks, "num_attention_heads": 2, "hidden_size": WIDTH}
    if kind == "distilbert":
        sizes = {"vocab_size": len(WORDS), "n_layers": blocks, "n_heads": 2, "dim": WIDTH, "hidden_dim": 24}
    else:
        sizes["intermediate_size"] = 24
    config = transformers.AutoConfig.for_model(kind, **sizes, max_position_embeddings=LENGTH + 4, pad_token_id=0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = transformers.AutoModel.from_config(config)
        for name, parameter in network.named_parameters():  # of a size at which blocks and words make a difference
            if parameter.ndim == 2:
                parameter.data.normal_(std=1.0 if "word_embeddings" in name else 0.1)
        linear = torch.nn.Linear(WIDTH, 6)
    network.save_pretrained(folder)
    built = tokenizer()
    built.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=built, model_max_length=LENGTH, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]",
        sep_token="[SEP]",
    )  # fmt: skip
    fast.save_pretrained(folder)
    if pooling is None:
        return folder
    parts = [("", "Transformer"), ("1_Pooling", "Pooling")]
    _write(folder / "1_Pooling" / "config.json", {"word_embedding_dimension": WIDTH, f"pooling_mode_{pooling}": True,
           **({} if pooling == "mean_tokens" else {"pooling_mode_mean_tokens": False})})  # fmt: skip
    if dense:
        parts.append(("2_Dense", "Dense"))
        about = {"in_features": WIDTH, "out_features": 6, "bias": True}
        _write(folder / "2_Dense" / "config.json", {**about, "activation_function": "torch.nn.modules.activation.Tanh"})
        state = {f"linear.{name}": value.numpy() for name, value in linear.state_dict().items()}
        safetensors.numpy.save_file(state, folder / "2_Dense" / "model.safetensors")
    if normalize:
        parts.append((f"{len(parts)}_Normalize", "Normalize"))
        (folder / parts[-1][0]).mkdir()
    _write(folder / "modules.json", [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for i, (path, kind) in enumerate(parts)
    ])  # fmt: skip
    _write(folder / "sentence_bert_config.json", {"max_seq_length": LENGTH, "do_lower_case": False})
    if prompts:
        _write(folder / "config_sentence_transformers.json", {"prompts": prompts, "default_prompt_name": None})
    return folder


def write_static(folder, *, normalize=True, width=8):
    """Write static embeddings as model2vec does."""
    folder = Path(folder)
    folder.mkdir(exist_ok=True)
    table = np.random.default_rng(0).normal(size=(len(WORDS), width)).astype(np.float32)
    safetensors.numpy.save_file({"embeddings": table}, folder / "model.safetensors")
    tokenizer().save(str(folder / "tokenizer.json"))
    _write(folder / "config.json", {"model_type": "model2vec", "normalize": normalize, "hidden_dim": width})
    return folder


def _write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


# A row of numbers is a text: of each the word that it rounds to.
class TextsOfRows(PretrainedFeatureExtractor):
    """An extractor of texts that scikit-learn's own checks can feed."""

    def _texts(self, X, reset):
        table = validate_data(self, X, reset=reset)
        return [
            " ".join(WORDS[5 + int(value * 10) % (len(WORDS) - 5)] for value in row) for row in np.nan_to_num(table)
        ]

    def _open(self, X):
        samples = super()._open(self._texts(X, reset=True))
        validate_data(self, X, reset=True)  # a list of texts has no columns
        return samples

    def _samples(self, X):
        return super()._samples(self._texts(X, reset=False))


ESTIMATORS = [TextsOfRows("text:sktransfer_mini", cache=None)]
