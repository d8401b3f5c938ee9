"""Folders as `save_pretrained` writes them: the same logits as the GGUF file of the same weights, and those of `transformers`.

Where both formats hold the same rows, nothing differs: bound 1e-9. Llama's q and k stand in another order of channels there, so sums
in fp32 are off by 2^-22 of a number, a few of its last bits, and push a share f = 2^-22 / 2^-11 = 2^-11 of keys and values, on either
side, across a tie of the fp16 cache: by the argument of reference.py 12 f of the divergence from plain fp32. Bound: twice that; also for a
magnitude of RoPE, which GGUF rounds to fp32.
"""

import copy
import json

import gguf
import numpy as np
import pytest
import safetensors.torch
import test_families
import test_logits
import torch
from gguf_models import FAMILIES, write_gguf
from reference import MAX_KLD, clear_ids, engine_logits, logits_of, mean_kld, random_model

MAX_FORMAT_KLD = 1e-9
MAX_PUSHED_SHARE = 2 * 2 * 2**-11


def plain(family, *shape):
    return lambda: random_model(family, *shape, **(test_logits.GEMMA_OPTIONS if family == "Gemma3" else {}))


MODELS = {name: case.model for name, case in test_families.CASES.items()} | {
    f"{case[0].lower()}-d{case[1]}-{case[5].get('rope_type', 'layered')}": plain(*case) for case in test_logits.CASES
}


def same_logits(model, folder, run_probe, tmp_path, quantize=()):
    """The folder's logits, after they were compared with those of a GGUF file and of the model."""
    divisors = test_logits.llama3_divisors(model) if rope_type(model.config) == "llama3" else None
    write_gguf(model, tmp_path / "model.gguf", divisors, quantize)
    ids = clear_ids(model, 200)
    found = engine_logits(run_probe, folder, ids, tmp_path)
    of_file = engine_logits(run_probe, tmp_path / "model.gguf", ids, tmp_path)
    between, from_reference = mean_kld(of_file, found), mean_kld(logits_of(model, ids), found)
    print(f"mean KL divergence {between:.2e} from GGUF, {from_reference:.2e} from transformers")
    family = FAMILIES[model.config.model_type]
    differs = family.has_neighbours or family.tiles_values or "attention_factor" in model.config.rope_parameters
    most = max(MAX_FORMAT_KLD, 12 * MAX_PUSHED_SHARE * from_reference if differs else 0.0)
    assert between <= most, f"{between:.2e} from the GGUF file, wanted at most {most:.2e}"
    return from_reference


def rope_type(config):
    return config.rope_parameters.get("full_attention", config.rope_parameters)["rope_type"]


@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
def test_random_model(make, run_probe, tmp_path):
    model = make()
    model.save_pretrained(tmp_path / "folder")
    assert same_logits(model, tmp_path / "folder", run_probe, tmp_path) <= MAX_KLD


@pytest.mark.parametrize(("kind", "stored"), [(torch.float16, "F16"), (torch.bfloat16, "BF16")])
@pytest.mark.parametrize("name", ["llama-d64-default", "gemma3-d64-layered", "qwen3moe", "gpt-oss", "qwen3.5"])
def test_16_bit_weights(name, kind, stored, run_probe, tmp_path):
    """A GGUF file of the same 16-bit matrices; vectors are F32 there, with the same numbers."""
    model = MODELS[name]()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter.to(kind))
    copy.deepcopy(model).to(kind).save_pretrained(tmp_path / "folder")
    types = gguf.GGMLQuantizationType
    names = ["attn_q.weight", "attn_k.weight", "attn_v.weight", "attn_output.weight", "token_embd", "output.weight"]
    names += ["ffn_gate", "ffn_up", "ffn_down", "attn_qkv", "attn_gate", "ssm_out", "ssm_alpha", "ssm_beta"]
    quantize = [(part, types[stored]) for part in names if not part.endswith("norm")]
    quantize = [("bias", types.F32), ("ffn_gate_inp", types.F32), ("norm", types.F32), *quantize]
    assert same_logits(model, tmp_path / "folder", run_probe, tmp_path, quantize) <= MAX_KLD


def test_shards(run_probe, tmp_path):
    """Several files and their index; one that is missing is named."""
    model = MODELS["llama-d64-default"]()
    model.save_pretrained(tmp_path / "folder", max_shard_size="2MB")
    shards = sorted((tmp_path / "folder").glob("*.safetensors"))
    assert len(shards) > 2
    assert same_logits(model, tmp_path / "folder", run_probe, tmp_path) <= MAX_KLD
    shards[1].unlink()
    with pytest.raises(AssertionError, match=shards[1].name):
        engine_logits(run_probe, tmp_path / "folder", [1], tmp_path)


def old_config(folder, change):
    path = folder / "config.json"
    config = json.loads(path.read_text())
    change(config)
    path.write_text(json.dumps(config))


def rope_of_old(config):
    """rope_theta, rope_scaling and their like as transformers wrote them before version 5."""
    rope = config.pop("rope_parameters")
    if "full_attention" in rope:
        config["rope_local_base_freq"] = rope["sliding_attention"]["rope_theta"]
        rope = rope["full_attention"]
    config["rope_theta"] = rope.pop("rope_theta")
    kind = rope.pop("rope_type")
    if "partial_rotary_factor" in rope:
        config["partial_rotary_factor"] = rope.pop("partial_rotary_factor")
    config["rope_scaling"] = None if kind == "default" else {"type": kind, **rope}


@pytest.mark.parametrize("name", ["llama-d128-llama3", "llama-d96-linear", "gemma3-d64-layered", "phi3-long", "yarn", "gpt-oss"])
def test_older_config(name, run_probe, tmp_path):
    model = MODELS[name]()
    model.save_pretrained(tmp_path / "folder")
    old_config(tmp_path / "folder", rope_of_old)
    assert same_logits(model, tmp_path / "folder", run_probe, tmp_path) <= MAX_KLD


def test_model_that_sees_pictures(run_probe, tmp_path):
    """The text part alone: text_config, names with language_model, parts of pictures left out."""
    model = MODELS["gemma3-d64-layered"]()
    folder = tmp_path / "folder"
    model.save_pretrained(folder)
    old_config(folder, lambda c: c.update(text_config=dict(c), model_type="gemma3", vision_config={"hidden_size": 8}))
    tensors = safetensors.torch.load_file(folder / "model.safetensors")
    tensors = {"language_model." + name: tensor for name, tensor in tensors.items()}
    tensors["vision_tower.vision_model.post_layernorm.weight"] = torch.ones(8)
    tensors["multi_modal_projector.mm_soft_emb_norm.weight"] = torch.ones(8)
    safetensors.torch.save_file(tensors, folder / "model.safetensors")
    assert same_logits(model, folder, run_probe, tmp_path) <= MAX_KLD


def test_hybrid_that_sees_pictures(run_probe, tmp_path):
    """As Qwen 3.5 is shipped: text_config with all its words, parts of pictures and the block that guesses ahead left out."""
    model = MODELS["qwen3.5"]()
    folder = tmp_path / "folder"
    model.save_pretrained(folder)
    sections = {"mrope_interleaved": True, "mrope_section": [11, 11, 10]}
    words = {"attn_output_gate": True, "mamba_ssm_dtype": "float32", "mtp_num_hidden_layers": 1, "full_attention_interval": 3}

    def wrap(config):
        text = dict(config, rope_parameters=config["rope_parameters"] | sections, **words)
        config.update(text_config=text, model_type="qwen3_5", vision_config={"depth": 1}, image_token_id=5)

    old_config(folder, wrap)
    tensors = safetensors.torch.load_file(folder / "model.safetensors")
    tensors = {name.replace("model.", "model.language_model.", 1): tensor for name, tensor in tensors.items()}
    tensors["model.visual.blocks.0.norm1.weight"] = torch.ones(8)
    tensors["mtp.fc.weight"] = torch.ones(8, 8)
    safetensors.torch.save_file(tensors, folder / "model.safetensors")
    assert same_logits(model, folder, run_probe, tmp_path) <= MAX_KLD


def mxfp4_parts(rows):
    """Blocks and scales of rows, and the numbers that they stand for."""
    kind = gguf.GGMLQuantizationType.MXFP4
    stored = gguf.quants.quantize(rows, kind)
    blocks = stored.reshape(*rows.shape[:-1], -1, 17)
    low, high = blocks[..., 1:] & 15, blocks[..., 1:] >> 4
    codes = np.concatenate([low, high], -1)  # of numbers 0 to 31
    packed = codes[..., ::2] | codes[..., 1::2] << 4
    return torch.from_numpy(packed.copy()), torch.from_numpy(blocks[..., 0].copy()), gguf.quants.dequantize(stored, kind)


def test_experts_in_mxfp4(run_probe, tmp_path):
    """gpt-oss as it is shipped: blocks and scales, rows of gate and up in turns."""
    model = MODELS["gpt-oss"]()
    folder = tmp_path / "folder"
    model.save_pretrained(folder)
    tensors = safetensors.torch.load_file(folder / "model.safetensors")
    for i, layer in enumerate(model.model.layers):
        for part in ("gate_up_proj", "down_proj"):
            name = f"model.layers.{i}.mlp.experts.{part}"
            weights = getattr(layer.mlp.experts, part)
            rows = np.ascontiguousarray(weights.detach().numpy().swapaxes(1, 2))
            tensors[name + "_blocks"], tensors[name + "_scales"], numbers = mxfp4_parts(rows)
            weights.data.copy_(torch.from_numpy(numbers.swapaxes(1, 2).copy()))
            del tensors[name]
    safetensors.torch.save_file(tensors, folder / "model.safetensors")
    old_config(folder, lambda c: c.update(quantization_config={"quant_method": "mxfp4"}))
    kinds = [("exps.weight", gguf.GGMLQuantizationType.MXFP4)]
    assert same_logits(model, folder, run_probe, tmp_path, kinds) <= MAX_KLD


# What changes a config.json that would be run otherwise than transformers does, and what the refusal says.
REFUSALS = {
    "another family": ({"model_type": "mamba"}, "mamba"),
    "bits": ({"quantization_config": {"quant_method": "fp8"}}, "fp8"),
    "scaling": ({"rope_parameters": {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}}, "dynamic"),
    "activation": ({"hidden_act": "relu"}, "relu"),
    "both ways": ({"use_bidirectional_attention": True}, "use_bidirectional_attention"),
    "a multiplier": ({"residual_multiplier": 0.5}, "residual_multiplier"),
    "other layers": ({"layer_types": ["linear_attention"] * 3}, "linear_attention"),
    "a rope key": ({"rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "turns": 2}}, "turns"),
    "no norm": ({"rms_norm_eps": None}, "rms_norm_eps"),
    "a text as a number": ({"hidden_size": "384"}, "hidden_size"),
    "too many layers": ({"num_hidden_layers": 4}, "blk.3"),
}


HYBRID_REFUSALS = {
    "no gate": ({"attn_output_gate": False}, "attn_output_gate"),
    "a window": ({"layer_types": ["linear_attention"] * 4 + ["sliding_attention"]}, "sliding_attention"),
    "fewer layers": ({"layer_types": ["linear_attention", "full_attention"]}, "2 layers"),
    "no keys": ({"layer_types": ["linear_attention"] * 5}, "layers that attend"),
    "heads that do not fit": ({"linear_num_value_heads": 5}, "multiple of the 2 key heads"),
}


OF_BOTH = {
    f"{model}: {what}": (model, *case)
    for model, cases in (("llama-d64-default", REFUSALS), ("qwen3.5", HYBRID_REFUSALS))
    for what, case in cases.items()
}


@pytest.mark.parametrize(("model", "values", "said"), OF_BOTH.values(), ids=OF_BOTH)
def test_config_is_refused(model, values, said, run_probe, tmp_path):
    MODELS[model]().save_pretrained(tmp_path / "folder")
    old_config(tmp_path / "folder", lambda config: config.update(values))
    with pytest.raises(AssertionError, match=said):
        engine_logits(run_probe, tmp_path / "folder", [1, 2], tmp_path)
