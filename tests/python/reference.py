"""Logits of the engine against `transformers` in fp32: random models, and how near is near enough.

The engine keeps keys and values in fp16: they are off by 2^-12 on average, so scores and logits are off by about 1e-3 and the
divergence, half the square of that, is about 1e-6. Bound against plain fp32: 1e-5.
Against a reference in fp64 whose cache holds fp16 numbers too, what is left comes from the share f of numbers that fp32 noise
pushes across a tie of fp16: a whole step, where rounding has a variance of step^2 / 12, so 12 f of the divergence above. Bound:
f = 1 %, or four times what `transformers` in fp32 has (the default model's large activations push more, there as here). And the
same 64 greedy tokens as plain `transformers`, after the first prompt where it decides each of them by more than that 1e-3.
"""

import copy
import dataclasses
from collections.abc import Callable

import numpy as np
import torch
import transformers

torch.set_num_threads(1)  # small models: threads cost more than they bring
PLAIN = {"rope_type": "default", "rope_theta": 10000.0}
MAX_KLD = 1e-5
MAX_PUSHED_SHARE = 0.01
MAX_NOISE_RATIO = 4.0
PROMPT = 48
LEAST_LEAD = 3e-3
LEAST_GAP = 1e-3  # between the router's logits of the last expert chosen and the first that is not: several times their error
CONFIGS = {
    "Gemma3": transformers.Gemma3TextConfig,
    "Qwen3_5": transformers.Qwen3_5TextConfig,
    "Qwen3_5Moe": transformers.Qwen3_5MoeTextConfig,
}


def random_model(family, head_dim, heads, kv_heads, tied, rope, **options):
    """Weights such that every layer matters and the distributions are neither flat nor certain."""
    torch.manual_seed(head_dim * 100 + heads)
    usual = {"hidden_size": heads * (64 if heads > 3 else 96)}
    usual |= {"num_hidden_layers": 3, "sliding_window": None, "use_sliding_window": False}
    config = CONFIGS.get(family, getattr(transformers, family + "Config"))(
        intermediate_size=384,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        head_dim=head_dim,
        query_pre_attn_scalar=head_dim,
        vocab_size=512,
        max_position_embeddings=1024,
        rope_parameters=copy.deepcopy(rope),
        tie_word_embeddings=tied,
        pad_token_id=None,
        bos_token_id=None,
        eos_token_id=None,
        **usual | options,
    )
    config._experts_implementation = "eager"  # the others take no fp64
    model = getattr(transformers, family + "ForCausalLM")(config).float().eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("norm.weight"):
                adds_one = family.startswith(("Gemma", "Qwen3_5")) and "linear_attn" not in name  # the model adds the 1 itself
                parameter.uniform_(0.5, 1.5).sub_(1.0 if adds_one else 0.0)
            elif name.endswith(("A_log", "dt_bias")):
                parameter.uniform_(-3.0, 1.0)  # decays of a few tokens and of hundreds
            elif name.endswith("conv1d.weight"):
                parameter.normal_(0.0, 1.0)
            elif name.endswith("bias"):
                parameter.normal_(0.0, 0.3)
            elif name.endswith("sinks"):
                parameter.normal_(0.0, 1.0)
            elif "embed_tokens" in name or "lm_head" in name:
                parameter.normal_(0.0, 3.0 / parameter.shape[1] ** 0.5)
            else:
                gain = 4.0 if family == "GptOss" and "gate_up_proj" in name else 1.0  # so that its clamp is felt
                parameter.normal_(0.0, gain / parameter.shape[1] ** 0.5)
    return model


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


class RouterGaps:
    """The least gap that the routers of a model had while this was open; infinity without routers."""

    def __init__(self, model):
        self.least = float("inf")
        routers = [m for m in model.modules() if type(m).__name__.endswith("TopKRouter")]
        self.handles = [router.register_forward_hook(self.look) for router in routers]

    def look(self, router, _inputs, outputs):
        best = outputs[0].topk(router.top_k + 1).values
        self.least = min(self.least, float((best[..., -2] - best[..., -1]).min()))

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        for handle in self.handles:
            handle.remove()


def clear_ids(model, count):
    """A random text in which no router is near a tie."""
    for seed in range(7, 107):
        ids = np.random.default_rng(seed).integers(0, model.config.vocab_size, count).tolist()
        with RouterGaps(model) as gaps:
            logits_of(model, ids)
        if gaps.least > LEAST_GAP:
            return ids
    raise AssertionError(f"every text meets a near tie below {LEAST_GAP}")


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
    for begin in range(0, len(ids) - PROMPT, 8):
        prompt = ids[begin : begin + PROMPT]
        with RouterGaps(model) as gaps:
            made, lead = greedy(model, prompt, 64)
        if lead > LEAST_LEAD and gaps.least > LEAST_GAP:
            return prompt, made
    raise AssertionError(f"every prompt meets a near tie below {LEAST_LEAD}")


def check(model, path, ids, run_probe, tmp_path):
    wanted, single = logits_of(model, ids), logits_of(model, ids, HalfCache(config=model.config))
    double = logits_of(copy.deepcopy(model).double(), ids, HalfCache(config=model.config))
    noise = mean_kld(double, single)
    for chunk in (0, 37, 1) if len(ids) < 256 else (0, 100):
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


def set_layers(model, part, name, value):
    for layer in model.model.layers:
        setattr(getattr(layer, part) if part else layer, name, value)


def one_expert_fewer(model):
    for module in model.modules():
        if type(module).__name__.endswith("TopKRouter"):
            module.top_k -= 1


def silent(part):
    """Weights of a part are 0."""

    def apply(model):
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if part in name:
                    parameter.zero_()

    return apply


@dataclasses.dataclass(frozen=True)
class Case:
    family: str
    shape: tuple  # head_dim, query heads, kv heads, whether input and output share a matrix
    rope: dict
    options: dict = dataclasses.field(default_factory=dict)
    breaks: dict[str, Callable] = dataclasses.field(default_factory=dict)

    def model(self):
        return random_model(self.family, *self.shape, self.rope, **self.options)
