"""The two real models in fp32, converted from their GGUF files once and kept in .cache/models/hf."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

ROOT = Path(__file__).resolve().parents[3]
sys.path.append(str(ROOT / "tools"))

import hf_model  # noqa: E402
from hf_model import FILES, MODELS  # noqa: E402

__all__ = ["FILES", "MODELS", "ROOT", "load", "south"]


@cache
def load(name: str) -> tuple[Any, Any]:
    """The model and its tokenizer."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        kept = hf_model.folder(name)
    except (FileNotFoundError, ImportError) as error:
        pytest.skip(str(error))
    return AutoModelForCausalLM.from_pretrained(kept, dtype=torch.float32).eval(), AutoTokenizer.from_pretrained(kept)


@cache
def south(name: str) -> torch.Tensor:
    """The tokens of South!, [1, tokens], as many as a test may ask for."""
    _, tokenizer = load(name)
    text = (ROOT / "examples/texts/south.txt").read_text(encoding="utf-8")
    return tokenizer(text[:40000], return_tensors="pt").input_ids
