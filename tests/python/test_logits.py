"""Logits of the engine against `transformers` in fp32: the default model and random models of every architecture.

The engine keeps keys and values in fp16: they are off by 2^-12 on average, so scores and logits are off by about 1e-3 and the
divergence, half the square of that, is about 1e-6. Bound against plain fp32: 1e-5.
Against a reference in fp64 whose cache holds fp16 numbers too, what is left comes from the share f of numbers that fp32 noise
pushes across a tie of fp16: a whole step, where rounding has a variance of step^2 / 12, so 12 f of the divergence above. Bound:
f = 1 %, or four times what `transformers` in fp32 has (the default model's large activations push more, there as here). And the
same 64 greedy tokens as plain `transformers`, after the first prompt where it decides each of them by more than that 1e-3.
"""

import copy

import gguf
import numpy as np
import pytest
import torch
import transformers
from gguf_models import read_llama, write_gguf

torch.set_num_threads(1)  # small models: threads cost more than they bring
MAX_KLD = 1e-5
MAX_PUSHED_SHARE = 0.01
MAX_NOISE_RATIO = 4.0
PROMPT = 48
LEAST_LEAD = 3e-3
LINEAR = {"rope_type": "linear", "factor": 4.0, "rope_theta": 10000.0}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
PLAIN = {"rope_type": "default", "rope_theta": 10000.0}

# Window layers keep the base 10000 of the family; the others are scaled.
GEMMA = {"full_attention": {"rope_type": "linear", "rope_theta": 1e6, "factor": 8.0}}
CONFIGS = {"Gemma3": transformers.Gemma3TextConfig}
# Five window layers, one that sees all, a window layer again; random weights want a soft cap near their logits to feel it.
FAMILY_OPTIONS = {"Gemma3": {"num_hidden_layers": 7, "sliding_window": 40, "final_logit_softcapping": 10.0}}

# family, head_dim, query heads, kv heads, tied, rope
CASES = [
    ("Llama", 64, 6, 2, False, PLAIN),
    ("Llama", 128, 8, 1, True, LLAMA3),
    ("Llama", 96, 4, 4, True, LINEAR),
    ("Mistral", 128, 3, 1, False, PLAIN),
    ("Mistral", 64, 8, 1, True, LINEAR),
    ("Qwen2", 64, 8, 1, True, PLAIN),
    ("Qwen2", 128, 3, 3, False, LINEAR),
    ("Qwen3", 96, 6, 2, False, PLAIN),
    ("Qwen3", 128, 8, 1, True, PLAIN),
    ("Gemma3", 64, 6, 2, True, GEMMA),
    ("Gemma3", 256, 4, 1, True, GEMMA),
]


def random_model(family, head_dim, heads, kv_heads, tied, rope):
    """Weights such that every layer matters and the distributions are neither flat nor certain."""
    torch.manual_seed(head_dim * 100 + heads)
    options = {"num_hidden_layers": 3, "sliding_window": None, "use_sliding_window": False}
    config = CONFIGS.get(family, getattr(transformers, family + "Config"))(
        hidden_size=heads * (64 if heads > 3 else 96),
        intermediate_size=384,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        head_dim=head_dim,
        query_pre_attn_scalar=head_dim,
        vocab_size=512,
        max_position_embeddings=1024,
        rope_parameters=copy.deepcopy(rope),
        tie_word_embeddings=tied,
        **options | FAMILY_OPTIONS.get(family, {}),
    )
    model = getattr(transformers, family + "ForCausalLM")(config).float().eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("norm.weight"):
                parameter.uniform_(0.5, 1.5).sub_(1.0 if family == "Gemma3" else 0.0)  # Gemma adds the 1 itself
            elif name.endswith("bias"):
                parameter.normal_(0.0, 0.3)
            elif "embed_tokens" in name or "lm_head" in name:
                parameter.normal_(0.0, 3.0 / parameter.shape[1] ** 0.5)
            else:
                parameter.normal_(0.0, 1.0 / parameter.shape[1] ** 0.5)
    return model


def llama3_divisors(model):
    """What the converter writes to rope_freqs.weight, from the frequencies of transformers."""
    rotary = model.model.rotary_emb
    plain = rotary.config.rope_parameters["rope_theta"] ** -(torch.arange(len(rotary.inv_freq)) / len(rotary.inv_freq))
    return (plain / rotary.inv_freq).numpy()


def engine_logits(run_probe, path, ids, tmp_path, chunk=0):
    np.asarray(ids, np.int32).tofile(tmp_path / "ids")
    run_probe("engine_probe", "logits", path, tmp_path / "ids", tmp_path / "logits", "f16", chunk)
    return torch.from_numpy(np.fromfile(tmp_path / "logits", np.float32).reshape(len(ids), -1))


@torch.no_grad()
def logits_of(model, ids, cache=None):
    return model(torch.tensor([ids]), cache=cache).logits[0]


def mean_kld(wanted, found):
    log_p, log_q = wanted.double().log_softmax(-1), found.double().log_softmax(-1)
    return (log_p.exp() * (log_p - log_q)).sum(-1).mean().item()


class HalfCache(transformers.DynamicCache):
    """Holds keys and values rounded to fp16, as the engine's exact cache does."""

    def update(self, key_states, value_states, *others, **names):
        return super().update(key_states.half().to(key_states.dtype), value_states.half().to(value_states.dtype), *others, **names)


@torch.no_grad()
def greedy(model, ids, count):
    """The tokens, and the least lead of one over the next best."""
    made, lead, cache, step = [], float("inf"), transformers.DynamicCache(config=model.config), torch.tensor([ids])
    for _ in range(count):
        best = model(step, cache=cache).logits[0, -1].topk(2)
        made.append(int(best.indices[0]))
        lead = min(lead, float(best.values[0] - best.values[1]))
        step = torch.tensor([made[-1:]])
    return made, lead


def decided(model, ids):
    """A prompt out of ids, and its 64 greedy tokens, without a near tie."""
    for begin in range(0, len(ids) - PROMPT, 16):
        prompt = ids[begin : begin + PROMPT]
        made, lead = greedy(model, prompt, 64)
        if lead > LEAST_LEAD:
            return prompt, made
    raise AssertionError(f"every prompt meets a near tie below {LEAST_LEAD}")


def check(model, path, ids, run_probe, tmp_path):
    wanted, single = logits_of(model, ids), logits_of(model, ids, HalfCache(config=model.config))
    double = logits_of(copy.deepcopy(model).double(), ids, HalfCache(config=model.config))
    noise = mean_kld(double, single)
    for chunk in (0, 1 if len(ids) < 256 else 100):
        found = engine_logits(run_probe, path, ids, tmp_path, chunk)
        kld, kld_half = mean_kld(wanted, found), mean_kld(double, found)
        print(f"chunk {chunk}: mean KL divergence {kld:.2e}, with an fp16 cache {kld_half:.2e} (transformers {noise:.2e})")
        assert kld <= MAX_KLD, f"chunk {chunk}: mean KL divergence {kld:.2e}, wanted at most {MAX_KLD}"
        most = max(12 * MAX_PUSHED_SHARE * kld, MAX_NOISE_RATIO * noise)
        assert kld_half <= most, f"chunk {chunk}: {kld_half:.2e} from fp64 with an fp16 cache, wanted at most {most:.2e}"
    prompt, wanted = decided(model, ids)
    np.asarray(prompt, np.int32).tofile(tmp_path / "ids")
    found = [int(t) for t in run_probe("engine_probe", "greedy", path, tmp_path / "ids", 64, "f16").split()]
    assert found == wanted


@pytest.mark.parametrize(
    "case", CASES, ids=lambda c: f"{c[0]}-d{c[1]}-{c[2]}x{c[3]}-{'tied' if c[4] else 'untied'}-{c[5].get('rope_type', 'layered')}"
)
def test_random_model(case, run_probe, tmp_path):
    model = random_model(*case)
    divisors = llama3_divisors(model) if case[5] is LLAMA3 else None
    write_gguf(model, tmp_path / "model.gguf", divisors)
    ids = np.random.default_rng(7).integers(0, 512, 200).tolist()
    check(model, tmp_path / "model.gguf", ids, run_probe, tmp_path)


def set_layers(model, part, name, value):
    for layer in model.model.layers:
        setattr(getattr(layer, part) if part else layer, name, value)


# Parts of Gemma 3, each left out or moved by a little.
GEMMA_BREAKS = {
    "no window": lambda m: setattr(m.config, "sliding_window", 1024),
    "a window of one token more": lambda m: setattr(m.config, "sliding_window", 41),
    "one RoPE": lambda m: setattr(m.model.rotary_emb, "sliding_attention_inv_freq", m.model.rotary_emb.full_attention_inv_freq),
    "no norm after attention": lambda m: set_layers(m, "", "post_attention_layernorm", torch.nn.Identity()),
    "no norm after feed-forward": lambda m: set_layers(m, "", "post_feedforward_layernorm", torch.nn.Identity()),
    "no norm of keys": lambda m: set_layers(m, "self_attn", "k_norm", torch.nn.Identity()),
    "SiLU": lambda m: set_layers(m, "mlp", "act_fn", torch.nn.SiLU()),
    "no scale of embeddings": lambda m: m.model.embed_tokens.embed_scale.fill_(1.0),
    "no soft cap": lambda m: setattr(m.config, "final_logit_softcapping", None),
}


def test_gemma3_feels_every_part(run_probe, tmp_path):
    """A reference with one part broken is a hundred times farther from the engine than test_random_model allows, so an engine
    without that part would fail there: the text is long enough for the window, the weights are large enough for the rest."""
    ids = np.random.default_rng(7).integers(0, 512, 200).tolist()
    case = ("Gemma3", 64, 6, 2, True, GEMMA)
    write_gguf(random_model(*case), tmp_path / "model.gguf")
    found = engine_logits(run_probe, tmp_path / "model.gguf", ids, tmp_path)
    for name, break_part in GEMMA_BREAKS.items():
        broken = random_model(*case)
        break_part(broken)
        kld = mean_kld(logits_of(broken, ids), found)
        print(f"{name}: mean KL divergence {kld:.2e}")
        assert kld > 100 * MAX_KLD, f"{name}: mean KL divergence {kld:.2e}, wanted more than {100 * MAX_KLD}"


def test_stored_types(run_probe, tmp_path):
    """Weights of several types in one model: the reference holds their dequantised numbers."""
    model = random_model("Llama", 64, 4, 2, False, PLAIN)
    types = gguf.GGMLQuantizationType
    write_gguf(
        model,
        tmp_path / "model.gguf",
        None,
        [
            ("attn_q.", types.Q8_0),
            ("attn_k.", types.Q5_1),
            ("attn_v.", types.Q5_0),
            ("attn_output.", types.F16),
            ("ffn_gate.", types.Q4_0),
            ("ffn_up.", types.Q4_1),
            ("ffn_down.", types.BF16),
            ("token_embd.", types.Q8_0),
        ],
    )
    ids = np.random.default_rng(8).integers(0, 512, 200).tolist()
    check(read_llama(tmp_path / "model.gguf"), tmp_path / "model.gguf", ids, run_probe, tmp_path)


def test_default_model(model, long_text, run_probe, tmp_path):
    torch.set_num_threads(2)
    tokenizer = transformers.AutoTokenizer.from_pretrained(model.parent, gguf_file=model.name)
    ids = tokenizer(long_text.read_text()[:4000])["input_ids"][:256]
    assert len(ids) == 256
    check(read_llama(model), model, ids, run_probe, tmp_path)
