"""Distils the bundled ``"text:sktransfer_mini"``: a table of embeddings of tokens, from all-MiniLM-L6-v2.

Each token of a part of the teacher's vocabulary is read by the teacher as a text of its own; the rows are reduced by
principal components, weighted by how rare a token may be expected to be, and stored as whole numbers of 8 bits with one
scale a row. No text but the vocabulary itself is read. Two minutes on one core.

The rows are weighted by the formula of Arora, Liang & Ma ("A Simple but Tough-to-Beat Baseline for Sentence
Embeddings", ICLR 2017), a / (a + p), with the share p of a token after Zipf's law from its place in the vocabulary,
which is ordered by frequency; so does model2vec (Tulkens & van Dongen, 2024).

    python benchmarks/mini_text/distil.py TEACHER_FOLDER OUTPUT_FOLDER
"""

import argparse
import json
import shutil
from pathlib import Path

import numpy as np
import safetensors.numpy
from tokenizers import Tokenizer

from sktransfer import PretrainedFeatureExtractor

N_TOKENS = 16_000
N_FEATURES = 128
A = 1e-4  # model2vec's 1e-4
LIMIT = 2_500_000  # bytes of the folder


def kept_tokens(vocabulary: dict[str, int]) -> list[str]:
    """Tokens in the teacher's order: the special ones that are used, Latin characters, and the commonest words."""
    ordered = sorted(vocabulary, key=vocabulary.__getitem__)
    latin = [t for t in ordered if not t.startswith("[") and all(ord(c) < 0x250 for c in t)]
    single = [t for t in latin if len(t.removeprefix("##")) == 1]
    others = [t for t in latin if len(t.removeprefix("##")) > 1]
    return ["[PAD]", "[UNK]", *single, *others[: N_TOKENS - len(single) - 2]]


def student_tokenizer(teacher: str, tokens: list[str]) -> str:
    """Give the teacher's tokenizer with fewer tokens, and none that begins or ends a text."""
    document = json.loads(teacher)
    document["model"]["vocab"] = {token: i for i, token in enumerate(tokens)}
    document["post_processor"] = document["truncation"] = document["padding"] = None
    document["added_tokens"] = [
        {**entry, "id": tokens.index(entry["content"])}
        for entry in document["added_tokens"]
        if entry["content"] in ("[PAD]", "[UNK]")
    ]
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    Tokenizer.from_str(text)  # it is one
    return text


def reduced(rows: np.ndarray) -> np.ndarray:
    """Principal components of the rows, and the weights of their tokens."""
    centred = rows - rows.mean(0)
    directions = np.linalg.svd(centred, full_matrices=False)[2][:N_FEATURES]
    share = 1 / (np.arange(len(rows)) + 2)
    share /= share.sum()
    return centred @ directions.T * (A / (A + share))[:, None]


def main() -> None:
    """Distil, and write the folder."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("teacher", type=Path)
    parser.add_argument("output", type=Path)
    arguments = parser.parse_args()
    teacher = (arguments.teacher / "tokenizer.json").read_text(encoding="utf-8")
    tokens = kept_tokens(json.loads(teacher)["model"]["vocab"])
    extractor = PretrainedFeatureExtractor(f"text:{arguments.teacher}", cache=None)
    table = reduced(extractor.fit_transform([token.removeprefix("##") or token for token in tokens]).astype(np.float64))
    table[0] = table[1] = 0
    scale = np.maximum(np.abs(table).max(1), 1e-12) / 127
    stored = {"embeddings": np.rint(table / scale[:, None]).astype(np.int8), "scale": scale.astype(np.float32)}
    arguments.output.mkdir(parents=True, exist_ok=True)
    safetensors.numpy.save_file(stored, arguments.output / "model.safetensors")
    (arguments.output / "tokenizer.json").write_text(student_tokenizer(teacher, tokens), encoding="utf-8")
    config = {"model_type": "model2vec", "architectures": ["StaticModel"], "normalize": True, "hidden_dim": N_FEATURES}
    (arguments.output / "config.json").write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
    shutil.copyfile(arguments.teacher / "LICENSE", arguments.output / "LICENSE")
    size = sum(file.stat().st_size for file in arguments.output.iterdir())
    print(f"{len(tokens)} tokens, {N_FEATURES} features, {size:,} bytes of {LIMIT:,}")
    if size > LIMIT:
        raise SystemExit("It is too large.")


if __name__ == "__main__":
    main()
