"""Networks for texts: an encoder of transformers, and what makes one row of its tokens.

Between its parts go tensors ``(n, n_tokens, d + 1)``: what the encoder gives of each token, and behind it 1 for a token
and 0 for what fills up a shorter text. So nothing of a text depends on the texts beside it.
"""

import copy
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

__all__ = ["POOLINGS", "TextNetwork", "UnitRows"]


class UnitRows(nn.Module):
    """Give rows the length 1."""

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """Divide each row by its length."""
        return nn.functional.normalize(rows, dim=-1)


class TextNetwork(nn.Module):
    """An encoder, the pooling of its tokens, and layers behind it.

    Parameters
    ----------
    encoder : torch.nn.Module
        Of the package transformers.
    pooling : sequence of str
        Of "mean", "cls", "max", "lasttoken", "mean_sqrt_len_tokens" and "weightedmean"; several are put side by side.
    behind : torch.nn.Module
        What comes behind the pooling.
    normalize : bool
        Whether rows get the length 1.
    max_length : int
        Tokens that it takes at once.
    """

    def __init__(
        self, encoder: nn.Module, pooling: Sequence[str], behind: nn.Module, *, normalize: bool, max_length: int
    ):
        super().__init__()
        self.encoder = encoder
        self.pooling = tuple(pooling)
        self.behind = behind
        self.normalize = normalize
        self.scaler = UnitRows() if normalize else nn.Identity()
        self.max_length = max_length
        self.tuning_lr = 5e-5  # Devlin et al., "BERT", NAACL 2019
        self.places = _places(encoder)

    @property
    def chain_parts(self) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
        """Names of the embeddings and of the blocks, where the encoder has such."""
        if self.places is None:
            return None
        embeddings, blocks = self.places
        n = sum(1 for _ in self.encoder.get_submodule(blocks).children())
        return (f"encoder.{embeddings}",), tuple(f"encoder.{blocks}.{i}" for i in range(n))

    @property
    def word_embeddings(self) -> nn.Module:
        """What turns numbers of tokens into vectors."""
        encoder: Any = self.encoder
        return encoder.get_input_embeddings()

    def forward(self, x: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Turn tokens into rows ``(n, d)``."""
        return self.forward_head(self.run(x))

    def forward_features(self, x: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Turn tokens into what the encoder gives of each."""
        return self.run(x)

    def forward_head(self, x: torch.Tensor, pre_logits: bool = True) -> torch.Tensor:
        """Turn what the encoder gives of each token into one row."""
        hidden, mask = x[..., :-1], x[..., -1:]
        rows = self.behind(torch.cat([POOLINGS[name](hidden, mask) for name in self.pooling], -1))
        return self.scaler(rows)

    def pooled(self, x: torch.Tensor, pooling: str | None) -> torch.Tensor:
        """Pool the tokens of any block in another way than the network's own.

        Raises
        ------
        ValueError
            If that is no way to pool tokens.
        """
        names = {"avg": "mean", "max": "max", "cls": "cls"}
        if pooling not in names:
            raise ValueError(f"pooling={pooling!r}: the tokens of a text are pooled by 'avg', 'max' or 'cls'.")
        return POOLINGS[names[pooling]](x[..., :-1], x[..., -1:])

    def run(
        self,
        x: Any,
        *,
        start: int = 0,
        stop: int | None = None,
        keep: list[torch.Tensor] | None = None,
    ) -> torch.Tensor:
        """Run from boundary `start` to boundary `stop`; see :meth:`Chain.run`.

        With `stop` given the result is filled up to the greatest length, so that all texts have one shape.
        """
        if isinstance(x, Mapping):
            given, mask = x["input_ids"], x["attention_mask"].bool()
        else:
            given, mask = x[..., :-1], x[..., -1] > 0
        longest = mask.shape[1] if torch.compiler.is_compiling() else max(int(mask.sum(-1).max()), 1)
        seen: list[torch.Tensor] = []
        last = self._encode(given[:, :longest], _never_empty(mask[:, :longest]), start, stop, seen)
        length = mask.shape[1] if stop is None else self.max_length
        for hidden in seen if keep is not None else ():
            keep.append(_packed(hidden, mask, length))  # type: ignore[union-attr]  # asked above
        return _packed(last if stop is None else seen[-1], mask, length)

    def _encode(self, given, mask, start, stop, seen):
        needs_mask = torch.compiler.is_compiling() or not bool(mask.all())
        options: dict[str, Any] = {"attention_mask": mask.long() if needs_mask else None}
        options["input_ids" if given.ndim == 2 else "inputs_embeds"] = given
        whole = self.places is None
        encoder = self.encoder if whole else _view(self.encoder, *self.places, start, stop, given, seen)
        output = encoder(**options)
        return output[0] if isinstance(output, tuple) else output.last_hidden_state


def _never_empty(mask):
    """Let each row have a token: of rows without any, which fill up a batch, attention would make NaN."""
    if not torch.compiler.is_compiling() and bool(mask[:, 0].all()):
        return mask
    mask = mask.clone()
    mask[:, 0] = True
    return mask


def _packed(hidden, mask, length):
    mask = mask[:, : hidden.shape[1], None].to(hidden.dtype)
    packed = torch.cat([hidden * mask, mask], -1)
    missing = length - packed.shape[1]
    # A graph is for texts of any length: it cannot ask.
    fills = torch.compiler.is_compiling() or missing > 0
    return nn.functional.pad(packed, (0, 0, 0, missing)) if fills else packed


def _mean(hidden, mask):
    return (hidden * mask).sum(-2) / mask.sum(-2).clamp(min=1)


def _last(hidden, mask):
    at = (mask[..., 0].sum(-1).long() - 1).clamp(min=0)
    return hidden.gather(-2, at[..., None, None].expand(*at.shape, 1, hidden.shape[-1]))[..., 0, :]


def _weighted_mean(hidden, mask):
    weights = mask * torch.arange(1, mask.shape[-2] + 1, device=mask.device, dtype=mask.dtype)[:, None]
    return (hidden * weights).sum(-2) / weights.sum(-2).clamp(min=1)


POOLINGS = {
    "mean": _mean,
    "max": lambda hidden, mask: hidden.masked_fill(mask == 0, torch.finfo(hidden.dtype).min).amax(-2),
    "cls": lambda hidden, mask: hidden[..., 0, :],
    "lasttoken": _last,
    "mean_sqrt_len_tokens": lambda hidden, mask: (hidden * mask).sum(-2) / mask.sum(-2).clamp(min=1).sqrt(),
    "weightedmean": _weighted_mean,
}


def _places(encoder: nn.Module) -> tuple[str, str] | None:
    """Find embeddings and list of blocks of an encoder; None where it has no such list."""
    lists = [
        (name, part)
        for name, part in encoder.named_modules()
        if isinstance(part, nn.ModuleList) and len(part) and len({type(block) for block in part}) == 1
    ]
    lists = [(name, part) for name, part in lists if ".".join(name.split(".")[:-2]) not in dict(lists)]
    if not lists:
        return None
    blocks = max(lists, key=lambda entry: sum(p.numel() for p in entry[1].parameters()))[0]
    for name, part in encoder.named_children():
        inside = blocks == name or blocks.startswith(f"{name}.")
        if not inside and any(isinstance(layer, nn.Embedding) for layer in part.modules()):
            return name, blocks
    return None


def _view(encoder, embeddings, blocks, start, stop, given, seen):
    """Give the encoder with some of its blocks alone: new objects on the way to them, the blocks themselves shared.

    What transformers does around the blocks (masks, positions) it goes on doing.
    """
    watched = [_Watched(block, seen) for block in encoder.get_submodule(blocks)[start:stop]]
    view = top = _shallow(encoder)
    *path, last = blocks.split(".")
    for name in path:
        top._modules[name] = _shallow(top._modules[name])
        top = top._modules[name]
    top._modules[last] = nn.ModuleList(watched)
    if given.ndim == 3:
        view._modules[embeddings] = _Given(given)
    return view


def _shallow(module):
    twin = copy.copy(module)
    twin._modules = dict(module._modules)
    twin._forward_hooks = OrderedDict()  # of those who watch the network itself, and know its parts
    return twin


class _Given(nn.Module):
    """In place of the embeddings where a text enters behind them."""

    def __init__(self, hidden):
        super().__init__()
        self.hidden = hidden

    def forward(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        return self.hidden


class _Watched(nn.Module):
    """A block whose output is noted."""

    def __init__(self, block, seen):
        super().__init__()
        self.block, self.seen = block, seen

    def __getattr__(self, name):
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("block"), name)  # what a kind of block says of its attention

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        output = self.block(*args, **kwargs)
        self.seen.append(output[0] if isinstance(output, tuple) else output)
        return output
