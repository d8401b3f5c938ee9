"""Which layers are compressed, what a cache refuses, how it is made, and what its report says."""

from __future__ import annotations

import json

import pytest
import torch
import transformers as tf
from qjl import BadFile, InvalidArgument, OutOfPages, Unsupported
from qjl.hf import QJLCache, QJLLayer, enable, enabled
from qjl.hf.attention import qjl_attention
from qjl.hf.forward import cache_argument
from tiny_models import BASE, WINDOW, exact_cache, model_of, prompt


def config_of(family: str = "Llama", **changes):
    return getattr(tf, f"{family}Config")(**{**BASE, **changes})


REFUSED = {
    "an encoder": (lambda: tf.T5Config(), "has an encoder"),
    "MLA": (lambda: tf.DeepseekV3Config(num_hidden_layers=2), "multi-head latent attention"),
    "no full layer": (lambda: config_of("Mistral", sliding_window=64), "no full-attention layer"),
    "head_dim": (lambda: config_of(head_dim=48), r"head_dim 48, wanted one of \[64, 80, 96, 128, 256\]"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_models_that_cannot_be_compressed(kind):
    make, text = REFUSED[kind]
    with pytest.raises(Unsupported, match=text):
        QJLCache(make())


@pytest.mark.parametrize(
    "arguments", [{"cache": "k9v9"}, {"skip_layers": [2]}, {"skip_layers": [0, 1]}, {"tail_dtype": "float64"}, {"max_tokens": 0}]
)
def test_wrong_arguments(arguments):
    with pytest.raises(InvalidArgument):
        QJLCache(config_of(), **arguments)


def test_skipped_layers_stay_exact():
    model, tokens = model_of("llama"), prompt(1, 300)
    cache = QJLCache(model.config, "k2v2", skip_layers=[0])
    with enabled(model):
        model(tokens, **{cache_argument(model): cache})
    exact = exact_cache(model)
    model(tokens, **{cache_argument(model): exact})
    assert [type(layer) is QJLLayer for layer in cache.layers] == [False, True]
    torch.testing.assert_close(cache.layers[0].keys, exact.layers[0].keys)


def plan_for(num_layers: int, **changes):
    layers = [{"keys": "l8", "values": "l4"}] * (num_layers - 1) + [{"keys": "f16", "values": "f16"}]
    model = {"name": "tiny", "fingerprint": "0", "num_layers": num_layers, "num_kv_heads": 2, "head_dim": 256}
    return {"format": "qjl plan", "version": 1, "model": model, "seed": 1, "sinks": 4, "layers": layers, **changes}


def test_plans_for_a_hybrid(tmp_path):
    """Of a plan for all six layers the full one's codes are taken, which are the last; a plan for the full layer alone is that."""
    config = model_of("gemma3").config
    path = tmp_path / "plan.json"
    for plan in (plan_for(6), plan_for(1)):
        path.write_text(json.dumps(plan))
        for given in (plan, path, str(path)):
            assert QJLCache(config, plan=given).session.stores[0].kv.cache_type() == "f16:sinks=4"
    with pytest.raises(InvalidArgument, match="is for 4 layers, wanted 6, or the 1"):
        QJLCache(config, plan=plan_for(4))
    for text in ("[]", "{", '{"layers": 3}'):
        path.write_text(text)
        with pytest.raises(BadFile):
            QJLCache(config, plan=path)


def test_enable_and_restore():
    model = model_of("qwen3", seed=5)
    before = model.config._attn_implementation
    with enabled(model) as same:
        assert same is model and model.config._attn_implementation == "qjl"
    assert model.config._attn_implementation == before
    with pytest.raises(RuntimeError), enabled(model):
        raise RuntimeError
    assert model.config._attn_implementation == before
    enable(model)
    assert model.config._attn_implementation == "qjl"
    model.set_attn_implementation(before)


def test_enable_refuses_what_it_cannot_serve():
    torch.manual_seed(0)
    encoder = tf.T5ForConditionalGeneration(tf.T5Config(d_model=32, d_kv=8, d_ff=32, num_layers=1, num_heads=2, vocab_size=50))
    with pytest.raises(Unsupported, match="has an encoder"):
        enable(encoder)


def test_models_with_attention_of_their_own(monkeypatch):
    torch.manual_seed(0)
    model = tf.BloomForCausalLM(tf.BloomConfig(vocab_size=50, hidden_size=64, n_layer=1, n_head=1))
    before = model.config._attn_implementation
    with pytest.raises(Unsupported, match="BloomForCausalLM has attention of its own"):
        enable(model)
    assert model.config._attn_implementation == before
    asked = []
    monkeypatch.setattr(model, "set_attn_implementation", asked.append)
    with pytest.raises(Unsupported, match="has attention of its own"):
        enable(model)
    assert asked == ["qjl", before]  # other parts of a model may have followed


ASKED = {
    "weights": ({"output_attentions": True}, "output_attentions is not supported"),
    "biases": ({"position_bias": torch.zeros(1)}, "position_bias is not supported"),
    "encoders": ({"is_causal": False}, "is not causal"),
}


@pytest.mark.parametrize("kind", ASKED)
def test_what_the_attention_function_refuses(kind):
    more, text = ASKED[kind]
    model = model_of("llama")
    cache = QJLCache(model.config)
    with enabled(model), pytest.raises(Unsupported, match=text):
        model(prompt(1, 5), **{cache_argument(model): cache}, **more)


def test_dropout_and_gradients():
    torch.manual_seed(0)
    model = tf.LlamaForCausalLM(config_of(attention_dropout=0.5))
    with enabled(model), pytest.raises(Unsupported, match=r"attention dropout is 0\.5"):
        model.train()(prompt(1, 5), **{cache_argument(model): QJLCache(model.config)})
    with torch.enable_grad(), enabled(model), pytest.raises(Unsupported, match="require gradients"):
        model.eval()(prompt(1, 5), **{cache_argument(model): QJLCache(model.config)})


def test_caches_of_a_fixed_size():
    model = model_of("llama")
    static = tf.StaticCache(config=model.config, max_cache_len=64)
    with enabled(model), pytest.raises(Unsupported, match="of a fixed size"):
        model(prompt(1, 5), **{cache_argument(model): static})


def test_wrong_keys():
    cache = QJLCache(config_of(), "f16")
    good = torch.zeros(2, 2, 3, 64)
    cache.update(good, good, 0)
    wrong = {
        "has 3 kv heads of 64": (torch.zeros(2, 3, 1, 64),) * 2,
        "has 2 kv heads of 80": (torch.zeros(2, 2, 1, 80),) * 2,
        "wanted one shape": (torch.zeros(2, 2, 1, 64), torch.zeros(2, 2, 1, 80)),
        "keys have batch 1, wanted 2": (torch.zeros(1, 2, 1, 64),) * 2,
        "are on meta": (torch.zeros(2, 2, 1, 64, device="meta"),) * 2,
    }
    for text, (keys, values) in wrong.items():
        with pytest.raises((InvalidArgument, Unsupported), match=text):
            cache.update(keys, values, 0)
        assert cache.get_seq_length() == 3


@pytest.mark.parametrize("number", [float("nan"), float("inf"), 1e6])
def test_numbers_that_16_bits_cannot_hold(number):
    model, tokens = model_of("llama"), prompt(2, 9)
    cache = QJLCache(model.config, "k3v2")
    with enabled(model):
        model(tokens, **{cache_argument(model): cache})
        projection = model.model.layers[1].self_attn.v_proj.weight
        old = projection.clone()
        projection.fill_(number)
        with pytest.raises(InvalidArgument):
            model(tokens[:, :1], **{cache_argument(model): cache})
        projection.copy_(old)
        store = cache.session.stores[0]
        assert {store.kv.num_tokens(row, layer) for row in store.rows for layer in (0, 1)} == {9}
        assert cache.get_seq_length() == 9
        found = model(tokens[:, :1], **{cache_argument(model): cache}).logits
        fresh = QJLCache(model.config, "k3v2")
        model(tokens, **{cache_argument(model): fresh})
        assert torch.equal(found, model(tokens[:, :1], **{cache_argument(model): fresh}).logits)


def test_out_of_pages_keeps_what_was_stored():
    model, tokens = model_of("llama"), prompt(1, 250)
    named = cache_argument(model)
    cache = QJLCache(model.config, "k3v2", max_tokens=256)
    with enabled(model):
        with pytest.raises(OutOfPages):
            model.generate(tokens, attention_mask=torch.ones_like(tokens), max_new_tokens=300, do_sample=False, **{named: cache})
        stored = cache.get_seq_length()
        assert 256 <= stored < 384
        assert {layer.columns for layer in cache.compressed} == {stored}
        keys, _ = cache.layers[1].dense(stored)
        assert keys.shape[2] == stored and bool(keys.isfinite().all())
        cache.crop(-100)
        model(tokens[:, :1], **{named: cache})


def test_out_of_pages_for_one_row_of_a_batch():
    """The second row has no page left: the first must not seal one, or what it held exactly would come back as its codes."""
    cache = QJLCache(config_of(), "k2v2", max_tokens=128)
    rows = [torch.randn(2, 2, tokens, 64) for tokens in (100, 40)]
    mask = torch.ones(2, 140, dtype=torch.bool)
    mask[0, 120] = False
    for layer in range(2):
        cache.update(rows[0], rows[0], layer)
    for layer in cache.compressed:
        layer.flush()
    before = cache.layers[0].dense(100)
    handles = cache.update(rows[1], rows[1], 0)
    with pytest.raises(OutOfPages):
        qjl_attention(torch.nn.Module(), torch.randn(2, 4, 40, 64), *handles, mask)
    assert cache.get_seq_length() == 100
    for old, new in zip(before, cache.layers[0].dense(100), strict=True):
        assert torch.equal(old, new)


def test_tails_follow_the_model():
    half = config_of(dtype="bfloat16")
    assert QJLCache(half).session.stores[0].kv.tail_dtype == "bfloat16"
    assert QJLCache(config_of()).session.stores[0].kv.tail_dtype == "float16"
    assert QJLCache(half, tail_dtype="float16").session.stores[0].kv.tail_dtype == "float16"


def test_bf16_models_run():
    model = model_of("llama", seed=3)
    half = tf.LlamaForCausalLM(config_of(dtype="bfloat16")).to(torch.bfloat16).eval()
    half.load_state_dict(model.state_dict())
    tokens = prompt(2, 200)
    named = cache_argument(half)
    wanted = half(tokens, **{named: exact_cache(half)}).logits.float()
    with enabled(half):
        cache = QJLCache(half.config, "f16")
        half(tokens[:, :150], **{named: cache})
        found = half(tokens[:, 150:], **{named: cache}).logits
    assert found.dtype == torch.bfloat16
    difference = torch.nn.functional.kl_div(
        found.float().log_softmax(-1), wanted.log_softmax(-1)[:, 150:], log_target=True, reduction="none"
    ).sum(-1)
    assert difference.mean() < 5e-3  # rounding to 8 bits moves logits of order 1 by some 2^-8 a layer: KL of order (6 * 2^-8)^2


def test_report_of_a_hybrid():
    model, tokens = model_of("gemma3"), prompt(1, 1200)
    cache = QJLCache(model.config, "k3v2")
    with enabled(model):
        model(tokens, **{cache_argument(model): cache})
    report = cache.memory_report()
    assert (report["compressed_layers"], report["exact_layers"]) == (1, 5)
    row = 2 * 2 * 256  # keys and values of two heads
    window = 5 * (1200 * row * 4)  # the window's view holds on to the whole prompt
    assert report["exact_bytes"] == window + 5 * 8  # and the window's length as a tensor
    assert report["baseline_bytes"] == 1200 * row * 2 + report["exact_bytes"]
    assert report["total"] == report["compressed_bytes"] + report["exact_bytes"]
    assert report["ratio"] == report["baseline_bytes"] / report["total"]
    assert report["compressed_bytes"] == cache.session.stores[0].kv.memory_report()["total"]
    cache.update(torch.zeros(1, 2, 1, 256), torch.zeros(1, 2, 1, 256), 0)  # a step lets go of the prompt
    assert cache.memory_report()["exact_bytes"] == 4 * 1200 * row * 4 + WINDOW * row * 4 + 5 * 8


def test_compressed_tokens_read():
    model = model_of("llama")
    named = cache_argument(model)
    cache = QJLCache(model.config, "k3v2")
    with enabled(model):
        model(prompt(2, 300), **{named: cache})
        assert cache.compressed_tokens_read == 0
        model(prompt(2, 1), **{named: cache})
        assert cache.compressed_tokens_read == 2 * 256
        model(prompt(2, 90), **{named: cache})
        assert cache.compressed_tokens_read == 4 * 256
        model(prompt(2, 1), **{named: cache})
        assert cache.compressed_tokens_read == 4 * 256 + 2 * 384
