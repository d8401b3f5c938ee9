"""A long document is read once. The first run puts it into a compressed cache and saves that; every later run, a process of its own, loads
the file, whose pages are mapped and not read through the model again, and asks another question.

    ./dev model                                   # gets the model that is used by default
    python examples/python/long_document.py "Where does the expedition leave from?"
    python examples/python/long_document.py "Which sea does it sail into?"

--model takes a folder, or a .gguf file (for which Transformers needs gguf and accelerate); --document another text. A file of another
document is not noticed: delete it, or name another one with --saved.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import torch
from qjl.hf import QJLCache, enable
from qjl.hf.forward import cache_argument
from transformers import AutoModelForCausalLM, AutoTokenizer

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / ".cache/models/SmolLM2-135M-Instruct.Q4_1.gguf"
DOCUMENT = ROOT / "examples/texts/south.txt"


def load_model(path: Path) -> tuple[Any, Any]:
    if path.suffix != ".gguf":
        return AutoModelForCausalLM.from_pretrained(path).eval(), AutoTokenizer.from_pretrained(path)
    from transformers import GgufConfig

    source = {"pretrained_model_name_or_path": path.parent, "gguf_file": path.name}
    exact = {"dtype": torch.float32, "quantization_config": GgufConfig(dequantize=True)}
    return AutoModelForCausalLM.from_pretrained(**source, **exact).eval(), AutoTokenizer.from_pretrained(**source)


def prompt(tokenizer: Any, document: str, question: str) -> tuple[str, str]:
    """What stands before the question, which all questions share, and the question with what stands after it."""
    mark = "<question>"
    text = f"{document}\n\n{mark}\n"
    if tokenizer.chat_template:
        turns = [{"role": "user", "content": text}]
        text = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    before, after = text.rsplit(mark, 1)
    return before, question + after


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description="asks a document that is kept in a compressed cache")
    parser.add_argument("question")
    parser.add_argument("--model", type=Path, default=MODEL, help="default: the model of ./dev model")
    parser.add_argument("--document", type=Path, default=DOCUMENT, help="a text (default: the beginning of South!)")
    parser.add_argument("--characters", type=int, default=14000, help="how much of it is read (default 14000, some 3000 tokens)")
    parser.add_argument("--cache", default="k3v2", help="cache type (default k3v2)")
    parser.add_argument("--saved", type=Path, default=Path("document.qjlkv.safetensors"), help="file of the cache")
    parser.add_argument("--tokens", type=int, default=40, help="of the answer at most (default 40)")
    chosen = parser.parse_args()

    model, tokenizer = load_model(chosen.model)
    enable(model)
    document = chosen.document.read_text(encoding="utf-8")[: chosen.characters]
    before, question = prompt(tokenizer, document, chosen.question)

    start = time.perf_counter()
    if chosen.saved.exists():
        cache, did = QJLCache.load(chosen.saved, model.config), "loaded"
    else:
        cache, did = QJLCache(model.config, chosen.cache), "read"
        read = tokenizer(before, return_tensors="pt").input_ids
        model(read, **{cache_argument(model): cache}, logits_to_keep=1)
        cache.save(chosen.saved, token_ids=read, model=chosen.model.name)
        cache.token_ids = read.tolist()
    took = time.perf_counter() - start
    report = cache.memory_report()
    print(
        f"{did} {cache.get_seq_length()} tokens in {took:.2f} s: {report['total'] / 1e6:.1f} MB, {report['ratio']:.1f} times smaller"
    )

    asked = tokenizer(question, return_tensors="pt", add_special_tokens=False).input_ids
    ids = torch.cat([torch.tensor(cache.token_ids), asked], 1)
    named = {cache_argument(model): cache, "attention_mask": torch.ones_like(ids)}
    out = model.generate(ids, max_new_tokens=chosen.tokens, do_sample=False, **named)
    print(tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True))


if __name__ == "__main__":
    main()
