"""One attention layer alone, one token a call, all of its memory warm: what Transformers does at a layer, with each cache, and what is
left of ours without Transformers, and without Python.
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

CALLS = 64  # in a turn; with `tokens` a multiple of a page's no page is sealed in it
BINDING, KERNEL, STANDING = "KvCache.step", "the same in C++", "sdpa, nothing grown"


class Layer:
    """The first layer of a model over the first tokens of `rows`."""

    def __init__(self, model: Any, rows: Rows, cache_type: str) -> None:
        self.cache_type = cache_type
        self.config = model.config.__class__(**{**model.config.to_dict(), "num_hidden_layers": 1, "layer_types": None})
        self.module = model.model.layers[0].self_attn
        self.rows = rows[:1]
        self.rope = compressed(self.config, self.rows, cache_type, 1).session.stores[0].kv.rope()
        _, self.kv_heads, self.tokens, self.head_dim = rows[0][0].shape
        self.group = self.module.num_key_value_groups
        # As a model's products leave them: [1, 1, heads * head_dim], seen as [1, heads, 1, head_dim].
        self.query, self.key, self.value = (
            torch.randn(1, 1, heads, self.head_dim, dtype=model.dtype).transpose(1, 2)
            for heads in (self.group * self.kv_heads, self.kv_heads, self.kv_heads)
        )

    def variants(self, served: Served) -> list[Variant]:
        return [self._compressed(), self._binding(), self._kernel(served), self._growing(), self._standing()]

    def _compressed(self) -> Variant:
        cache = compressed(self.config, self.rows, self.cache_type, 1)
        return Variant(self.cache_type, lambda: self._turn(lambda: self._layer(cache, qjl_attention), lambda: cache.crop(-CALLS)))

    def _growing(self) -> Variant:
        cache = growing(self.config, self.rows)
        call = lambda: self._layer(cache, sdpa_attention_forward)  # noqa: E731
        return Variant("DynamicCache, sdpa", lambda: self._turn(call, lambda: cache.crop(-CALLS)))

    def _standing(self) -> Variant:
        """Attention over keys and values that are there already, which no cache of Transformers gives."""
        keys, values = self.rows[0]
        attend = lambda: sdpa_attention_forward(self.module, self.query, keys, values, None, scaling=self.module.scaling)  # noqa: E731
        return Variant(STANDING, lambda: self._turn(attend, lambda: None))

    def _layer(self, cache: Any, attention: Callable[..., Any]) -> None:
        keys, values = cache.update(self.key, self.value, 0)
        attention(self.module, self.query, keys, values, None, scaling=self.module.scaling)

    def _binding(self) -> Variant:
        store = compressed(self.config, self.rows, self.cache_type, 1).session.stores[0]
        call = lambda: store.kv.step(0, self.query, store.rows, self.key, self.value, scale=self.module.scaling)  # noqa: E731
        return Variant(BINDING, lambda: self._turn(call, lambda: store.kv.truncate(store.rows[0], self.tokens)))

    def _kernel(self, served: Served) -> Variant:
        ask = {"cache": self.cache_type, "head_dim": self.head_dim, "kv_heads": self.kv_heads, "group": self.group}
        ask |= {"tokens": self.tokens, "threads": 1, "steps": CALLS, "rope": self.rope}
        return Variant(KERNEL, lambda: served.ask(**ask)["seconds"])

    def _turn(self, call: Callable[[], Any], forget: Callable[[], None]) -> list[float]:
        torch.set_num_threads(1)
        seconds = [timed(call) for _ in range(CALLS)]
        forget()
        return seconds
