"""One-token steps of a whole model: the compressed cache beside those of Transformers, the same steps in the program, and torch's own
matrix products alone, which no cache makes shorter.
"""

from __future__ import annotations

from typing import Any

import torch
from caches import Text, compressed, fixed, growing
from qjl.hf.forward import cache_argument
from served import Served
from turns import Variant, timed

STEPS = 4  # timed in a turn, after one that is not
TURN = STEPS + 1
PRODUCTS, PROGRAM = "products alone", "the program"


class Steps:
    """Steps of one model after `depth` tokens (at least one), torch on so many threads."""

    def __init__(self, text: Text, depth: int, threads: int) -> None:
        self.model, self.threads = text.model, threads
        depth = max(depth, 1)
        self.rows = text.first(depth)
        self.next = text.tokens[:, depth : depth + TURN]

    def compressed(self, cache_type: str, threads: int | None = None) -> Variant:
        cache = compressed(self.model.config, self.rows, cache_type, self.threads if threads is None else threads)
        return Variant(cache_type, lambda: self._turn("qjl", cache))

    def growing(self, attention: str) -> Variant:
        cache = growing(self.model.config, self.rows)
        return Variant(f"DynamicCache, {attention}", lambda: self._turn(attention, cache))

    def fixed(self, attention: str) -> Variant:
        cache = fixed(self.model.config, self.rows, self.rows[0][0].shape[2] + TURN)
        return Variant(f"StaticCache, {attention}", lambda: self._turn(attention, cache))

    def products(self) -> Variant:
        linear = [module for module in self.model.modules() if isinstance(module, torch.nn.Linear)]
        rows = {size: torch.randn(1, 1, size, dtype=self.model.dtype) for size in {each.in_features for each in linear}}

        def step() -> None:
            for each in linear:
                each(rows[each.in_features])

        return Variant(PRODUCTS, lambda: self._timed([step] * TURN))

    def _turn(self, attention: str, cache: Any) -> list[float]:
        """The next steps, whose tokens are then taken from the cache again."""
        self.model.set_attn_implementation(attention)
        named = {cache_argument(self.model): cache}
        seconds = self._timed([lambda t=t: self.model(self.next[:, t : t + 1], logits_to_keep=1, **named) for t in range(TURN)])
        cache.crop(-TURN)
        return seconds

    def _timed(self, steps: list[Any]) -> list[float]:
        torch.set_num_threads(self.threads)
        return [timed(step) for step in steps][1:]


class Program:
    """The engine of `qjl run` on the same tokens, at depths that rise."""

    def __init__(self, served: Served, tokens: list[int], cache_type: str) -> None:
        self.served, self.tokens, self.length = served, tokens, 0
        served.ask(op="open", cache=cache_type, context=len(tokens), sequences=1)

    def variant(self, depth: int, threads: int) -> Variant:
        depth = max(depth, 1)
        if depth > self.length:
            self.served.ask(op="prompt", tokens=self.tokens[self.length : depth])
            self.length = depth
        self.served.ask(op="threads", count=threads)
        ask = {"op": "decode", "token": self.tokens[depth], "steps": TURN}
        return Variant(PROGRAM, lambda: self.served.ask(**ask)["seconds"][1:])
