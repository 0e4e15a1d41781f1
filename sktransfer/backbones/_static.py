"""Static embeddings of tokens: a table, read with tokenizers and safetensors alone."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import nn

from sktransfer.backbones._text_network import UnitRows
from sktransfer.exceptions import WeightsMismatchError
from sktransfer.utils._messages import first_line

__all__ = ["StaticNetwork", "is_static", "read_static"]

_BATCH_TOKENS = 2**14
_ANY_LENGTH = 2**20
_LENGTH = 512  # tokens of a text that model2vec reads


class StaticNetwork(nn.Module):
    """The mean of the embeddings of a text's tokens.

    Parameters
    ----------
    n_tokens, n_features : int
    normalize : bool
        Whether rows get the length 1.
    """

    def __init__(self, n_tokens: int, n_features: int, *, normalize: bool):
        super().__init__()
        self.embedding = nn.Embedding(n_tokens, n_features)
        self.normalize = normalize
        self.scaler = UnitRows() if normalize else nn.Identity()
        self.feature_info = [{"module": "embedding"}]

    @property
    def word_embeddings(self) -> nn.Module:
        """What turns numbers of tokens into vectors."""
        return self.embedding

    def forward(self, x: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Turn tokens into rows ``(n, d)``."""
        return self.forward_features(x)

    def forward_features(self, x: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Turn tokens into rows ``(n, d)``."""
        ids, mask = x["input_ids"].flatten(1), x["attention_mask"].flatten(1).to(self.embedding.weight.dtype)
        if torch.is_grad_enabled():  # each token by itself, so that a gradient can be asked for it
            rows = (self.embedding(ids) * mask[..., None]).sum(1)
        else:
            rows = nn.functional.embedding_bag(ids, self.embedding.weight, per_sample_weights=mask, mode="sum")
        rows = rows / mask.sum(1, keepdim=True).clamp(min=1)
        return self.scaler(rows)


def is_static(folder: Path) -> bool:
    """Whether a folder holds static embeddings, as model2vec or sentence-transformers writes them."""
    return _read_json(folder / "config.json").get("model_type") == "model2vec" or _static_module(folder) is not None


def _static_module(folder):
    modules = _read_json(folder / "modules.json") or []
    first = modules[0] if modules else {}
    return folder / first.get("path", "") if first.get("type", "").endswith("StaticEmbedding") else None


def _read_json(path):
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def read_static(folder: Path) -> tuple[StaticNetwork, dict[str, Any]]:
    """Read static embeddings.

    Parameters
    ----------
    folder : Path

    Returns
    -------
    network : StaticNetwork
    texts : dict
        Arguments of :class:`~sktransfer.modalities.Texts`.

    Raises
    ------
    WeightsMismatchError
        If the folder is not complete, or damaged.
    """
    config = _read_json(folder / "config.json")
    of_model2vec = config.get("model_type") == "model2vec"
    place = folder if of_model2vec else _static_module(folder)
    try:
        tensors = safetensors.torch.load_file(place / "model.safetensors")
        text = (place / "tokenizer.json").read_text(encoding="utf-8")
    except (OSError, safetensors.SafetensorError, UnicodeDecodeError) as error:
        raise WeightsMismatchError(
            f"The static embeddings in {str(folder)!r} cannot be read: {first_line(error)}. It is to hold "
            "model.safetensors and tokenizer.json, as model2vec writes them."
        ) from error
    table = _table(tensors, folder)
    normalize = config.get("normalize", False) if of_model2vec else _normalizes(folder)
    network = StaticNetwork(*table.shape, normalize=bool(normalize))
    network.load_state_dict({"embedding.weight": table})
    texts = {
        "tokenizer": text,
        "max_length": _LENGTH if of_model2vec else _ANY_LENGTH,
        "special_tokens": False,
        "left_out": _unknown(text) if of_model2vec else None,
        "batch_tokens": _BATCH_TOKENS,
        "filler": 1.0,
    }
    return network, texts


def _table(tensors, folder):
    """Give the rows of all tokens, their weights multiplied in."""
    name = next((name for name in ("embeddings", "embedding.weight") if name in tensors), None)
    if name is None or tensors[name].ndim != 2:
        raise WeightsMismatchError(
            f"{str(folder / 'model.safetensors')!r} has no table of embeddings (entries: {sorted(tensors)[:5]})."
        )
    table = tensors[name].float()
    if "scale" in tensors:  # of rows that are stored as whole numbers
        table = table * tensors["scale"].float()[:, None]
    if "mapping" in tensors:  # tokens that share a row
        table = table[tensors["mapping"].long()]
    return table * tensors["weights"].float()[:, None] if "weights" in tensors else table


def _normalizes(folder):
    return any(module.get("type", "").endswith("Normalize") for module in _read_json(folder / "modules.json"))


def _unknown(text):
    """Find the number of the token of unknown words, if there is one."""
    model = json.loads(text).get("model", {})
    vocabulary, unknown = model.get("vocab", {}), model.get("unk_token")
    if isinstance(vocabulary, list):  # of a unigram model, which names it by its number
        return model.get("unk_id")
    return vocabulary.get(unknown)
