"""torch.ops.qjl.step, and whole graphs of decode steps over it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from qjl import InvalidArgument
from qjl.hf import QJLCache, enabled
from qjl.hf.forward import cache_argument
from tiny_models import exact_cache, model_of, padded, prompt
from torch._dynamo.utils import counters


def decode(model, forward, cache, tokens, mask=None, steps=8):
    """Greedy tokens after a prompt that is always read uncompiled."""
    named = {cache_argument(model): cache}
    logits = model(tokens, attention_mask=mask, **named).logits[:, -1]
    said = []
    for _ in range(steps):
        token = logits.argmax(-1, keepdim=True)
        said.append(token[:, 0].tolist())
        if mask is not None:
            mask = torch.cat([mask, mask.new_ones(len(mask), 1)], 1)
            named["position_ids"] = mask.sum(1, keepdim=True) - 1
            named["attention_mask"] = mask
        logits = forward(token, **named).logits[:, -1]
    return said


@pytest.fixture
def compiler(monkeypatch):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(Path(__file__).resolve().parents[3] / ".cache/inductor"))
    torch._dynamo.reset()
    counters.clear()
    yield lambda model, backend: torch.compile(model.forward, backend=backend, fullgraph=True)
    torch._dynamo.reset()


@pytest.mark.parametrize(
    ("family", "backend"), [("llama", "eager"), ("smallest", "inductor"), ("gemma3", "eager"), ("gpt_oss", "eager")]
)
def test_whole_graphs_of_decode_steps(compiler, family, backend):
    model, tokens = model_of(family), prompt(1, 130)
    wanted = decode(model, model, exact_cache(model), tokens)
    with enabled(model):
        forward = compiler(model, backend)
        first = QJLCache(model.config, "f16")
        assert decode(model, forward, first, tokens) == wanted
        assert counters["stats"]["unique_graphs"] <= 2
        assert decode(model, forward, QJLCache(model.config, "f16"), tokens) == wanted
        assert counters["stats"]["unique_graphs"] <= 3
    assert not counters["graph_break"]
    assert first.get_seq_length() == 138
    assert int(first.session.state[1]) == 8 * len(first.compressed)
    assert first.compressed[-1].columns == 138


def test_padded_batches_in_a_graph(compiler):
    model, batch = model_of("llama"), padded(prompt(2, 60), [0, 25])
    with enabled(model):
        plain = decode(model, model, QJLCache(model.config, "f16"), batch["input_ids"], batch["attention_mask"])
        forward = compiler(model, "eager")
        cache = QJLCache(model.config, "f16")
        assert decode(model, forward, cache, batch["input_ids"], batch["attention_mask"]) == plain
    store = cache.session.stores[0]
    assert [store.kv.num_tokens(row) for row in store.rows] == [68, 43]


def test_the_operator_alone():
    cache = QJLCache(model_of("llama").config, "f16")
    keys, values, query = torch.randn(1, 2, 5, 64), torch.randn(1, 2, 5, 64), torch.randn(1, 4, 5, 64)
    state = cache.session.state
    out = torch.ops.qjl.step(state, query, keys, values, 1, 0.125, 0.0, 0, None, None)
    wanted = torch.nn.functional.scaled_dot_product_attention(query, keys, values, is_causal=True, enable_gqa=True)
    torch.testing.assert_close(out, wanted.transpose(1, 2), atol=4e-3, rtol=0)  # keys and values of 11 bits, scores below 4
    assert cache.layers[1].columns == 5 and int(state[1]) == 1
    with pytest.raises(InvalidArgument, match="layer is 7, wanted one of"):
        torch.ops.qjl.step(state, query, keys, values, 7, 0.125, 0.0, 0, None, None)
    gone = torch.tensor([10**9, 0])
    with pytest.raises(InvalidArgument, match="names cache 1000000000"):
        torch.ops.qjl.step(gone, query, keys, values, 1, 0.125, 0.0, 0, None, None)


def test_the_operator_has_a_fake_and_says_what_it_writes():
    cache = QJLCache(model_of("llama").config, "f16")
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode() as mode:
        state = mode.from_tensor(cache.session.state)
        out = torch.ops.qjl.step(
            state, torch.empty(2, 4, 3, 64), torch.empty(2, 2, 3, 64), torch.empty(2, 2, 3, 64), 0, 0.1, 0.0, 0, None, None
        )
    assert out.shape == (2, 3, 4, 64)
    schema = torch.ops.qjl.step.default._schema
    assert [argument.name for argument in schema.arguments if argument.alias_info and argument.alias_info.is_write] == ["state"]
