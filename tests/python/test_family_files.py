"""What a file may hold otherwise than its family's usual ones: layers of unequal width, experts in four bits."""

import gguf
import numpy as np
import torch
from gguf_models import write_gguf
from reference import check, clear_ids, random_model
from test_families import CASES, PLAIN


def test_layers_of_unequal_width(run_probe, tmp_path):
    """feed_forward_length as an array."""
    model = random_model("Llama", 64, 6, 2, False, PLAIN)
    for i, layer in enumerate(model.model.layers):
        width = model.config.intermediate_size + 32 * i
        for name in ("gate_proj", "up_proj", "down_proj"):
            old = getattr(layer.mlp, name)
            shape = (old.out_features, width) if name == "down_proj" else (width, old.in_features)
            weight = old.weight.std() * torch.randn(shape, generator=torch.Generator().manual_seed(i))
            setattr(layer.mlp, name, torch.nn.Linear(*reversed(shape), bias=False))
            getattr(layer.mlp, name).weight.data.copy_(weight)
    write_gguf(model, tmp_path / "model.gguf")
    check(model, tmp_path / "model.gguf", clear_ids(model, 200), run_probe, tmp_path)


def test_experts_in_mxfp4(run_probe, tmp_path):
    """As gpt-oss is shipped; the reference holds the numbers that the file stands for."""
    kind = gguf.GGMLQuantizationType.MXFP4
    model = CASES["gpt-oss"].model()
    for layer in model.model.layers:
        for weights in (layer.mlp.experts.gate_up_proj, layer.mlp.experts.down_proj):
            rows = np.ascontiguousarray(weights.detach().numpy().swapaxes(1, 2))
            stored = gguf.quants.dequantize(gguf.quants.quantize(rows, kind), kind)
            weights.data.copy_(torch.from_numpy(stored.swapaxes(1, 2).copy()))
    write_gguf(model, tmp_path / "model.gguf", quantize=[("exps.weight", kind)])
    check(model, tmp_path / "model.gguf", clear_ids(model, 200), run_probe, tmp_path)
