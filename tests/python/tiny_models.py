"""A random llama of byte tokens as a GGUF file of a few hundred kB, for tests of the program that need no trained model.

Every text without !! is as many tokens as it has bytes; no token ends an answer, so only a limit, the context or a signal does.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import numpy as np

HIDDEN, HEADS, HEAD_DIM, FEED_FORWARD = 128, 2, 64, 256


def byte_tokens() -> list[str]:
    """The 256 byte tokens in GPT-2's alphabet: printable Latin-1 stands for itself, the rest for U+0100 and what follows."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    moved = iter(range(0x100, 0x200))
    return [chr(byte if byte in printable else next(moved)) for byte in range(256)]


def write_tiny_model(path: Path, *, layers: int = 2, context: int = 1 << 17, **changes: Any) -> Path:
    """changes: name= architecture= vocab= tokens= merges= types= eos= template=, keys= whole numbers of the architecture, shapes= of
    tensors that it has besides, or none where it lacks a usual one, and tensors=, a dict of arrays in place of the random ones."""
    random = np.random.default_rng(5)
    architecture = changes.get("architecture", "llama")
    tokens = changes.get("tokens", [*byte_tokens(), "!!"])
    vocab = changes.get("vocab", len(tokens))
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_name(changes.get("name", "tiny"))
    writer.add_block_count(layers)
    writer.add_embedding_length(HIDDEN)
    writer.add_feed_forward_length(FEED_FORWARD)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(1)
    writer.add_context_length(context)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(vocab)
    for key, number in changes.get("keys", {}).items():
        writer.add_uint32(f"{architecture}.{key}", number)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    writer.add_token_merges(changes.get("merges", ["! !"]))
    if "eos" in changes:
        writer.add_eos_token_id(changes["eos"])
    if "types" in changes:
        writer.add_token_types(changes["types"])
    if "template" in changes:
        writer.add_chat_template(changes["template"])
    shapes = {"token_embd.weight": (vocab, HIDDEN), "output_norm.weight": (HIDDEN,)}
    for layer in range(layers):
        for name, shape in (
            ("attn_norm", (HIDDEN,)),
            ("ffn_norm", (HIDDEN,)),
            ("attn_q", (HEADS * HEAD_DIM, HIDDEN)),
            ("attn_k", (HEAD_DIM, HIDDEN)),
            ("attn_v", (HEAD_DIM, HIDDEN)),
            ("attn_output", (HIDDEN, HEADS * HEAD_DIM)),
            ("ffn_gate", (FEED_FORWARD, HIDDEN)),
            ("ffn_up", (FEED_FORWARD, HIDDEN)),
            ("ffn_down", (HIDDEN, FEED_FORWARD)),
        ):
            shapes[f"blk.{layer}.{name}.weight"] = shape
    shapes = {name: shape for name, shape in (shapes | changes.get("shapes", {})).items() if shape is not None}
    given = changes.get("tensors", {})
    for name, shape in shapes.items():
        numbers = np.ones(shape) if len(shape) == 1 else random.normal(size=shape) / np.sqrt(shape[-1])
        writer.add_tensor(name, np.asarray(given.get(name, numbers), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
