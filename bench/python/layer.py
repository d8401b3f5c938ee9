"""The attention layers of a step alone, one token a step: what Transformers does at a layer, with each cache, and what is left of ours
without Transformers, and without Python.

A step goes through all layers of the model, as a real one does, and counts as its mean layer: the first does what is done once a step,
and each meets its own keys and values, which the others have pushed out of the nearer memory.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from caches import Rows, compressed, growing
from qjl.hf.attention import qjl_attention
from served import Served
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from turns import Variant, timed

STEPS = 8  # in a turn; with `tokens` a multiple of a page's no page is sealed in it
BINDING, KERNEL, STANDING = "KvCache.step", "the same in C++", "sdpa, nothing grown"


class Layers:
    """Those of a model over the tokens of `rows`."""

    def __init__(self, model: Any, rows: Rows, cache_type: str) -> None:
        self.cache_type = cache_type
        self.config = model.config
        self.modules = [layer.self_attn for layer in model.model.layers]
        self.rows = rows
        self.rope = compressed(self.config, self.rows, cache_type, 1).session.stores[0].kv.rope()
        _, self.kv_heads, self.tokens, self.head_dim = rows[0][0].shape
        self.group, self.scaling = self.modules[0].num_key_value_groups, self.modules[0].scaling
        # As a model's products leave them: [1, 1, heads * head_dim], seen as [1, heads, 1, head_dim].
        self.query, self.key, self.value = (
            torch.randn(1, 1, heads, self.head_dim, dtype=model.dtype).transpose(1, 2)
            for heads in (self.group * self.kv_heads, self.kv_heads, self.kv_heads)
        )

    def variants(self, served: Served) -> list[Variant]:
        return [self._compressed(), self._binding(), self._kernel(served), self._growing(), self._standing()]

    def _compressed(self) -> Variant:
        cache = compressed(self.config, self.rows, self.cache_type, 1)
        layer = lambda i: self._layer(cache, i, qjl_attention)  # noqa: E731
        return Variant(self.cache_type, lambda: self._turn(layer, lambda: cache.crop(-STEPS)))

    def _growing(self) -> Variant:
        cache = growing(self.config, self.rows)
        layer = lambda i: self._layer(cache, i, sdpa_attention_forward)  # noqa: E731
        return Variant("DynamicCache, sdpa", lambda: self._turn(layer, lambda: cache.crop(-STEPS)))

    def _standing(self) -> Variant:
        """Attention over keys and values that are there already, which no cache of Transformers gives."""
        attend = lambda i: sdpa_attention_forward(self.modules[i], self.query, *self.rows[i], None, scaling=self.scaling)  # noqa: E731
        return Variant(STANDING, lambda: self._turn(attend, lambda: None))

    def _layer(self, cache: Any, i: int, attention: Callable[..., Any]) -> None:
        keys, values = cache.update(self.key, self.value, i)
        attention(self.modules[i], self.query, keys, values, None, scaling=self.scaling)

    def _binding(self) -> Variant:
        store = compressed(self.config, self.rows, self.cache_type, 1).session.stores[0]
        layer = lambda i: store.kv.step(i, self.query, store.rows, self.key, self.value, scale=self.scaling)  # noqa: E731
        return Variant(BINDING, lambda: self._turn(layer, lambda: store.kv.truncate(store.rows[0], self.tokens)))

    def _kernel(self, served: Served) -> Variant:
        ask = {"cache": self.cache_type, "head_dim": self.head_dim, "kv_heads": self.kv_heads, "group": self.group}
        ask |= {"tokens": self.tokens, "threads": 1, "steps": STEPS, "rope": self.rope, "layers": len(self.rows)}
        return Variant(KERNEL, lambda: self._means(served.ask(**ask)["seconds"]))

    def _turn(self, layer: Callable[[int], Any], forget: Callable[[], None]) -> list[float]:
        def step() -> None:
            for i in range(len(self.rows)):
                layer(i)

        torch.set_num_threads(1)
        seconds = self._means([timed(step) for _ in range(STEPS)])
        forget()
        return seconds

    def _means(self, seconds: list[float]) -> list[float]:
        """Of a layer, from those of steps."""
        return [each / len(self.rows) for each in seconds]
