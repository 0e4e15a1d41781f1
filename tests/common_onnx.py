"""What another program does with an exported model: onnxruntime, tokenizers and numpy, and nothing of this package."""

import json

import numpy as np


def metadata_of(session):
    """Entries of a model's metadata."""
    return {key: json.loads(value) for key, value in session.get_modelmeta().custom_metadata_map.items()}


def tokens_of(session, texts):
    """Inputs of a model for texts."""
    from tokenizers import Tokenizer

    about = metadata_of(session)["preprocessing"]
    tokenizer = Tokenizer.from_str(about["tokenizer"])
    tokenizer.no_padding()
    tokenizer.enable_truncation(about["max_length"])
    texts = [about["prompt"] + text for text in texts]
    rows = [entry.ids for entry in tokenizer.encode_batch(texts, add_special_tokens=about["special_tokens"])]
    rows = [[token for token in row if token != about["left_out"]] for row in rows]
    ids = np.zeros((len(rows), max(map(len, rows))), dtype=np.int64)
    mask = np.zeros_like(ids)
    for row, tokens in enumerate(rows):
        ids[row, : len(tokens)], mask[row, : len(tokens)] = tokens, 1
    return {"input_ids": ids, "attention_mask": mask}
