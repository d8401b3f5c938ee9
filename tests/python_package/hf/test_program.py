"""The program and Transformers go on with each other's saved caches, though GGUF has llama's channels in another order."""

from __future__ import annotations

import subprocess

import pytest
import torch
from qjl.hf import QJLCache, enabled
from qjl.hf.forward import cache_argument
from real_models import FILES, MODELS, ROOT, load, south
from tiny_models import greedy

PROGRAM = ROOT / "build/release/qjl"
PROMPT, NEW = 400, 12


@pytest.fixture
def program():
    if not PROGRAM.exists():
        pytest.skip(f"no {PROGRAM}: `./dev build` builds it")

    def run(*words) -> str:
        command = [PROGRAM, "run", "-m", MODELS / FILES["smollm2"], "--arithmetic", "exact", "--chat-template", "raw", *words]
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.rstrip("\n")

    return run


def test_either_goes_on_where_the_other_stopped(program, tmp_path):
    model, tokenizer = load("smollm2")
    tokens = south("smollm2")[:, :PROMPT]
    text, theirs, ours = tmp_path / "prompt.txt", tmp_path / "theirs.qjlkv.safetensors", tmp_path / "ours.qjlkv.safetensors"
    text.write_text(tokenizer.decode(tokens[0]))

    program("--cache", "k4v4", "-f", text, "-n", 1, "--save-cache", theirs)
    cache = QJLCache.load(theirs, model.config)
    ids = torch.tensor(cache.token_ids)
    assert ids[0, :PROMPT].tolist() == tokens[0].tolist() and cache.get_seq_length() == PROMPT
    with enabled(model):
        assert tokenizer.decode(greedy(model, cache, ids, NEW)[0]) == program("--load-cache", theirs, "-n", NEW)

        cache = QJLCache(model.config, "k4v4")
        model(tokens, **{cache_argument(model): cache})
        cache.save(ours, token_ids=ids)
        assert tokenizer.decode(greedy(model, cache, ids, NEW)[0]) == program("--load-cache", ours, "-n", NEW)
