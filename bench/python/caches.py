"""A real model, what it makes of a text, and caches that hold the beginning of that: of this package, and those of Transformers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from qjl.hf import QJLCache
from qjl.hf.forward import cache_argument
from transformers import AutoModelForCausalLM, AutoTokenizer, DynamicCache, StaticCache

Rows = list[tuple[torch.Tensor, torch.Tensor]]  # of each layer, keys and values [1, kv_heads, tokens, head_dim]


def load(folder: Path, dtype: torch.dtype) -> Any:
    return AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).eval()


@dataclass
class Text:
    """A model, the tokens of a text, and the exact keys and values of the first of them."""

    model: Any
    tokens: torch.Tensor  # [1, tokens]
    rows: Rows

    def first(self, depth: int) -> Rows:
        return [(keys[:, :, :depth], values[:, :, :depth]) for keys, values in self.rows]

    def of(self, model: Any) -> Text:
        """The same numbers as another model's."""
        return Text(model, self.tokens, [(keys.to(model.dtype), values.to(model.dtype)) for keys, values in self.rows])


def read_text(folder: Path, text: Path, depth: int, more: int) -> Text:
    """The model of a folder in fp32, `depth` tokens of a text (over and over) that it has read, and `more` tokens to go on with."""
    model = load(folder, torch.float32)
    tokens = AutoTokenizer.from_pretrained(folder)(text.read_text(encoding="utf-8"), return_tensors="pt").input_ids
    tokens = tokens.repeat(1, 1 + (depth + more) // tokens.shape[1])
    cache = DynamicCache(config=model.config)
    model(tokens[:, :depth], logits_to_keep=1, **{cache_argument(model): cache})
    return Text(model, tokens, [(layer.keys, layer.values) for layer in cache.layers])


def compressed(config: Any, rows: Rows, cache_type: str, threads: int) -> QJLCache:
    cache = QJLCache(config, cache_type, threads=threads)
    filled(cache, rows)
    for layer in cache.compressed:
        layer.flush()
    return cache


def growing(config: Any, rows: Rows) -> DynamicCache:
    """Grows by concatenation: the cache that a model makes by itself."""
    return filled(DynamicCache(config=config), rows)


def fixed(config: Any, rows: Rows, room: int) -> StaticCache:
    """Of a fixed size: growing copies nothing, and all of it is attended to behind a mask."""
    return filled(StaticCache(config=config, max_cache_len=room), rows)


def filled(cache: Any, rows: Rows) -> Any:
    for i, (keys, values) in enumerate(rows):
        cache.update(keys, values, i)
    return cache
