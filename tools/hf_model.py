"""The two real models as folders of Transformers, fp32, converted from their GGUF files once and kept in .cache/models/hf.

hf_model.py {smollm2,gemma3}     prints the folder
"""

from __future__ import annotations

import argparse
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MODELS = ROOT / ".cache/models"
FILES = {"smollm2": "SmolLM2-135M-Instruct.Q4_1.gguf", "gemma3": "gemma-3-270m-q4_k_m.gguf"}
VERBS = {"smollm2": "./dev model", "gemma3": "./dev model gemma"}


def folder(name: str) -> Path:
    """Converts at first use (15 to 45 s; needs gguf and accelerate). Errors: FileNotFoundError without the GGUF file."""
    kept = MODELS / "hf" / name
    if not (kept / "tokenizer_config.json").exists():
        _convert(name, kept)
    return kept


def _convert(name: str, kept: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    if not (MODELS / FILES[name]).exists():
        raise FileNotFoundError(f"no {MODELS / FILES[name]}: `{VERBS[name]}` gets it")
    source = {"pretrained_model_name_or_path": MODELS, "gguf_file": FILES[name]}
    model = AutoModelForCausalLM.from_pretrained(**source, dtype=torch.float32, quantization_config=GgufConfig(dequantize=True))
    model.config.quantization_config = None
    model.save_pretrained(kept)
    AutoTokenizer.from_pretrained(**source).save_pretrained(kept)  # last: it says that the folder is whole


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=FILES)
    print(folder(parser.parse_args().name))


if __name__ == "__main__":
    main()
