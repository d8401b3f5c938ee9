"""The two real models in fp32, converted from their GGUF files once and kept in .cache/models/hf."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

ROOT = Path(__file__).resolve().parents[3]
MODELS = ROOT / ".cache/models"
FILES = {"smollm2": "SmolLM2-135M-Instruct.Q4_1.gguf", "gemma3": "gemma-3-270m-q4_k_m.gguf"}
VERBS = {"smollm2": "./dev model", "gemma3": "./dev model gemma"}


@cache
def load(name: str) -> tuple[Any, Any]:
    """The model and its tokenizer."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    kept = MODELS / "hf" / name
    if not (kept / "tokenizer_config.json").exists():
        convert(name, kept)
    return AutoModelForCausalLM.from_pretrained(kept, dtype=torch.float32).eval(), AutoTokenizer.from_pretrained(kept)


def convert(name: str, kept: Path) -> None:
    pytest.importorskip("gguf", reason="converting a model needs gguf and accelerate: pip install gguf accelerate")
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    if not (MODELS / FILES[name]).exists():
        pytest.skip(f"no {MODELS / FILES[name]}: `{VERBS[name]}` gets it")
    source = {"pretrained_model_name_or_path": MODELS, "gguf_file": FILES[name]}
    model = AutoModelForCausalLM.from_pretrained(**source, dtype=torch.float32, quantization_config=GgufConfig(dequantize=True))
    model.config.quantization_config = None
    model.save_pretrained(kept)
    AutoTokenizer.from_pretrained(**source).save_pretrained(kept)  # last: it says that the folder is whole


@cache
def south(name: str) -> torch.Tensor:
    """The tokens of South!, [1, tokens], as many as a test may ask for."""
    _, tokenizer = load(name)
    text = (ROOT / "examples/texts/south.txt").read_text(encoding="utf-8")
    return tokenizer(text[:40000], return_tensors="pt").input_ids
