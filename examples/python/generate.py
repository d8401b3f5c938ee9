"""Text from a model of Hugging Face over the compressed cache, and what the cache takes.

    python examples/python/generate.py MODEL "Once upon a time" --cache k3v2 --tokens 40

MODEL is a folder or a name of the hub. With --compare the same text is written over Transformers' own cache beside it.
"""

from __future__ import annotations

import argparse

from qjl.hf import QJLCache, enable
from qjl.hf.forward import cache_argument
from transformers import AutoModelForCausalLM, AutoTokenizer, DynamicCache


def main() -> None:
    parser = argparse.ArgumentParser(description="text over the compressed cache")
    parser.add_argument("model")
    parser.add_argument("prompt")
    parser.add_argument("--cache", default="k3v2", help="cache type (default k3v2)")
    parser.add_argument("--tokens", type=int, default=40, help="new tokens (default 40)")
    parser.add_argument("--compare", action="store_true", help="write the text of the exact cache too")
    chosen = parser.parse_args()

    model = AutoModelForCausalLM.from_pretrained(chosen.model).eval()
    tokenizer = AutoTokenizer.from_pretrained(chosen.model)
    inputs = tokenizer(chosen.prompt, return_tensors="pt")

    def write(cache) -> str:
        named = {cache_argument(model): cache}
        out = model.generate(**inputs, max_new_tokens=chosen.tokens, do_sample=False, **named)
        return tokenizer.decode(out[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)

    if chosen.compare:
        print("exact:", write(DynamicCache(config=model.config)))
    enable(model)
    cache = QJLCache(model.config, chosen.cache)
    print(f"{chosen.cache}:", write(cache))
    report = cache.memory_report()
    print(
        f"{report['compressed_layers']} of {len(cache.layers)} layers compressed, the whole cache {report['ratio']:.2f} times smaller"
    )


if __name__ == "__main__":
    main()
