"""The program and Transformers go on with each other's saved caches, though GGUF has llama's channels in another order."""

from __future__ import annotations

import subprocess

import pytest
import torch
from qjl import CacheFile
from qjl.hf import QJLCache, enabled
from qjl.hf.forward import cache_argument
from real_models import FILES, MODELS, ROOT, load, south
from tiny_models import greedy
from transformers import AutoConfig, AutoModelForCausalLM

PROGRAM = ROOT / "build/release/qjl"
NEW = 12
YARN = {"rope_type": "yarn", "rope_theta": 1e5, "factor": 4.0, "original_max_position_embeddings": 2048}
YARN_WORDS = ("--rope-scaling", "yarn", "--rope-scale", 4, "--yarn-orig-ctx", 2048)


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


def yarn_model():
    """The same weights, with keys that turn otherwise and are longer."""
    load("smollm2")  # converts it when nobody has
    folder = MODELS / "hf/smollm2"
    config = AutoConfig.from_pretrained(folder)
    assert config.rope_parameters["rope_theta"] == YARN["rope_theta"]
    config.rope_parameters = YARN
    return AutoModelForCausalLM.from_pretrained(folder, config=config, dtype=torch.float32).eval()


@pytest.mark.parametrize(("words", "count"), [((), 400), (YARN_WORDS, 150)], ids=["plain", "yarn"])
def test_either_goes_on_where_the_other_stopped(program, tmp_path, words, count):
    model, tokenizer = load("smollm2")
    if words:
        model = yarn_model()
    tokens = south("smollm2")[:, :count]
    text, theirs, ours = tmp_path / "prompt.txt", tmp_path / "theirs.qjlkv.safetensors", tmp_path / "ours.qjlkv.safetensors"
    text.write_text(tokenizer.decode(tokens[0]))

    program("--cache", "k4v4", "-f", text, "-n", 1, "--save-cache", theirs, *words)
    cache = QJLCache.load(theirs, model.config)
    ids = torch.tensor(cache.token_ids)
    assert ids[0, :count].tolist() == tokens[0].tolist() and cache.get_seq_length() == count
    with enabled(model):
        assert tokenizer.decode(greedy(model, cache, ids, NEW)[0]) == program("--load-cache", theirs, "-n", NEW, *words)

        cache = QJLCache(model.config, "k4v4")
        model(tokens, **{cache_argument(model): cache})
        cache.save(ours, token_ids=ids)
        assert tokenizer.decode(greedy(model, cache, ids, NEW)[0]) == program("--load-cache", ours, "-n", NEW, *words)
    if words:
        assert CacheFile(ours).notes["rope_magnitudes"] == CacheFile(theirs).notes["rope_magnitudes"]
