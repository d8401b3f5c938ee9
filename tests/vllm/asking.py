"""Runs a scenario of the scripts beside it in a process of its own, and gives what it found and what it logged."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import tempfile
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
MODELS = ROOT / ".cache/models/hf"
SMOLLM2, GEMMA = MODELS / "smollm2", MODELS / "gemma3"
SETTINGS = {
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_ALLOW_INSECURE_SERIALIZATION": "1",  # scenarios ask workers by functions
    "PYTHONPATH": str(HERE),
    "NO_COLOR": "1",
}


class Answer(NamedTuple):
    found: Any
    log: str


_beside = ThreadPoolExecutor(1)
_begun: dict[str, Future[Any]] = {}


def begin(scenario: str) -> None:
    """Runs a scenario beside those that are asked for, which leave a processor idle half of their time: one at a time, without an
    engine or with one that compiles."""
    _begun[scenario] = _beside.submit(_run, scenario, ())


def ask(scenario: str, **more: str) -> Answer:
    """`scenario`: module and function, `tiny:mixed`. more: environment variables. A scenario that failed is not tried again."""
    if scenario in _begun:
        _begun[scenario].result()
    answer, error = _run(scenario, tuple(more.items()))
    assert answer is not None, error
    return answer


@functools.cache
def _run(scenario: str, more: tuple[tuple[str, str], ...]) -> tuple[Answer | None, str]:
    with tempfile.TemporaryDirectory() as folder:
        answer, log = Path(folder) / "answer.json", Path(folder) / "log"
        with log.open("w") as out:
            done = subprocess.run(
                [sys.executable, "-m", "scenario", scenario, str(answer)],
                stdout=out,
                stderr=subprocess.STDOUT,
                env={**os.environ, **SETTINGS, **dict(more)},
                check=False,
            )
        text = log.read_text(errors="replace")
        if done.returncode or not answer.exists():
            return None, f"{scenario} ended with {done.returncode}:\n{text[-8000:]}"
        return Answer(json.loads(answer.read_text()), text), ""


def written(model: Any, prompts: list[list[int]], new_tokens: int) -> dict[str, Any]:
    """What a model of Transformers writes: tokens, and by how many nats each of them is ahead of the second best."""
    import torch

    tokens, margins = [], []
    with torch.no_grad():
        for ids in prompts:
            out = model.generate(
                torch.tensor([ids]), max_new_tokens=new_tokens, do_sample=False, eos_token_id=None, output_logits=True,
                return_dict_in_generate=True,
            )  # fmt: skip
            tokens.append(out.sequences[0, len(ids) :].tolist())
            best = torch.cat(out.logits).topk(2).values
            margins.append((best[:, 0] - best[:, 1]).tolist())
    return {"tokens": tokens, "margins": margins}


def parts_at_ties_alone(found: list[list[int]], wanted: dict[str, Any], nats: float = 0.02) -> bool:
    """Whether answers are those of `wanted`, up to a token where the two best are as good as equal: half floats may turn it."""
    for tokens, exact, margins in zip(found, wanted["tokens"], wanted["margins"], strict=True):
        place = next((i for i, (a, b) in enumerate(zip(tokens, exact, strict=True)) if a != b), None)
        if place is not None and margins[place] > nats:
            return False
    return True
