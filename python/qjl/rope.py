"""How the keys of a layer turn by their position, read from a model's config.

    pair i of a key at position p is turned by p * frequency[i] radians

The cache takes the mean of a page before this turning, so wrong frequencies cost quality and nothing else. Pairs are (i, i + n) for
n frequencies ("halves") or (2 i, 2 i + 1) ("interleaved"); channels beyond 2 n do not turn. YaRN and LongRoPE scale what turns by a
magnitude besides, which Transformers calls attention factor.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

log = logging.getLogger("qjl")

# Families whose apply_rotary_pos_emb pairs neighbours; all others turn halves.
INTERLEAVED = frozenset({"cohere", "cohere2", "ernie4_5", "ernie4_5_moe", "glm", "glm4", "helium", "llama4_text"})
# Families whose full layers do not turn when the model has windows beside them.
FULL_LAYERS_STAND = frozenset({"cohere2", "exaone4"})

_logged: set[str] = set()


@dataclass(frozen=True)
class Rope:
    frequencies: tuple[float, ...] = ()  # radians a token; empty: keys do not turn
    pairs: str = "halves"
    magnitude: float = 1.0


def layer_type(config: Any, layer_idx: int) -> str:
    types = getattr(config, "layer_types", None)
    return types[layer_idx] if types else "full_attention"


def rope_of_layer(config: Any, layer_idx: int, head_dim: int) -> Rope:
    """The RoPE of one layer. `config` is the text config of a model; an unknown kind gives none and is logged once."""
    model_type = getattr(config, "model_type", "")
    turning = getattr(config, "no_rope_layers", None)  # 1 where a layer turns, in spite of its name
    if turning and not turning[layer_idx]:
        return Rope()
    if model_type in FULL_LAYERS_STAND and getattr(config, "sliding_window", None) is not None:
        return Rope()
    parameters = getattr(config, "rope_parameters", None)
    if not parameters:
        return Rope()
    kind = layer_type(config, layer_idx)
    by_type = isinstance(parameters.get(kind), dict)
    if by_type:
        parameters = parameters[kind]
    frequencies, magnitude = _turning(config, parameters, kind if by_type else None, head_dim)
    return Rope(frequencies, "interleaved" if model_type in INTERLEAVED and frequencies else "halves", magnitude)


def _turning(config: Any, parameters: dict[str, Any], kind: str | None, head_dim: int) -> tuple[tuple[float, ...], float]:
    """Frequencies and magnitude."""
    rope_type = parameters.get("rope_type", "default")
    if rope_type == "default":
        turned = int(head_dim * parameters.get("partial_rotary_factor", 1.0))
        return tuple(parameters["rope_theta"] ** (-2 * i / turned) for i in range(turned // 2)), 1.0
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    if rope_type not in ROPE_INIT_FUNCTIONS:
        if rope_type not in _logged:
            _logged.add(rope_type)
            log.warning("RoPE of kind %r is not known: key means are taken as the keys stand, which costs some quality", rope_type)
        return (), 1.0
    by_type = {} if kind is None else {"layer_type": kind}
    frequencies, magnitude = ROPE_INIT_FUNCTIONS[rope_type](config, "cpu", **by_type)
    return tuple(frequencies.double().tolist()), float(magnitude)
