"""Logits of the engine against `transformers` in fp32: the default model and random models of plain families."""

import gguf
import numpy as np
import pytest
import torch
import transformers
from gguf_models import read_llama, write_gguf
from reference import MAX_KLD, check, engine_logits, logits_of, mean_kld, random_model, set_layers

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
# Five window layers, one that sees all, a window layer again; random weights want a soft cap near their logits to feel it.
GEMMA_OPTIONS = {"num_hidden_layers": 7, "sliding_window": 40, "final_logit_softcapping": 10.0}

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


def llama3_divisors(model):
    """What the converter writes to rope_freqs.weight, from the frequencies of transformers."""
    rotary = model.model.rotary_emb
    plain = rotary.config.rope_parameters["rope_theta"] ** -(torch.arange(len(rotary.inv_freq)) / len(rotary.inv_freq))
    return (plain / rotary.inv_freq).numpy()


@pytest.mark.parametrize(
    "case", CASES, ids=lambda c: f"{c[0]}-d{c[1]}-{c[2]}x{c[3]}-{'tied' if c[4] else 'untied'}-{c[5].get('rope_type', 'layered')}"
)
def test_random_model(case, run_probe, tmp_path):
    model = random_model(*case, **(GEMMA_OPTIONS if case[0] == "Gemma3" else {}))
    divisors = llama3_divisors(model) if case[5] is LLAMA3 else None
    write_gguf(model, tmp_path / "model.gguf", divisors)
    ids = np.random.default_rng(7).integers(0, 512, 200).tolist()
    check(model, tmp_path / "model.gguf", ids, run_probe, tmp_path)


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
    write_gguf(random_model(*case, **GEMMA_OPTIONS), tmp_path / "model.gguf")
    found = engine_logits(run_probe, tmp_path / "model.gguf", ids, tmp_path)
    for name, break_part in GEMMA_BREAKS.items():
        broken = random_model(*case, **GEMMA_OPTIONS)
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
