#!/usr/bin/env python3
"""Writes the cases of `qjl study retrieval`: facts hidden in a filler that repeats, and the questions about them.

  passkey   one number of five digits in a context, one question; a context per depth and length
  lines     four lines `animal: number` of three digits, spread evenly; a question for each

Every fact stands at least 160 tokens before the end of its context, so that it is in a sealed page. The assistant's answer is given up
to the number: a small model that has to find its own phrase first is judged for the phrase. With these words and the chat template the
exact cache of SmolLM2-135M-Instruct finds most; with plain completions, or with eight lines and more, it does not.

Usage: retrieval_cases.py [--lengths 1024,2048,...] [--contexts 4] >cases.jsonl
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Iterator
from typing import Any

FILLER = "The grass is green. The sky is blue. The sun is yellow. Here we go. There and back again. "
FILLER_TOKENS = 24  # in the tokenizer of SmolLM2; with another one contexts are a little longer or shorter
OVERHEAD_TOKENS = 110  # template, introduction, question
LAST_FILLERS = 7  # after the last fact
DEPTHS = tuple((i + 0.5) / 8 for i in range(8))
LENGTHS = (1024, 2048, 3072, 4608, 6656)
ANIMALS = [
    "otter",
    "tiger",
    "camel",
    "eagle",
    "zebra",
    "whale",
    "horse",
    "rabbit",
    "monkey",
    "turtle",
    "parrot",
    "lizard",
    "donkey",
    "spider",
    "beaver",
    "falcon",
    "walrus",
    "badger",
    "pigeon",
    "salmon",
]

Case = dict[str, Any]


def number(chance: random.Random, digits: int) -> str:
    return "".join(chance.choice("123456789") for _ in range(digits))


def context(introduction: str, facts: list[tuple[float, str]], length: int, fact_tokens: int) -> str:
    """The introduction, then the filler with each fact at its depth."""
    fillers = (length - OVERHEAD_TOKENS - fact_tokens * len(facts)) // FILLER_TOKENS
    text, done = introduction + "\n\n", 0
    for depth, fact in facts:
        place = round(depth * (fillers - LAST_FILLERS))
        text += FILLER * (place - done) + fact
        done = place
    return text + FILLER * (fillers - done)


def passkey(chance: random.Random, length: int, depth: float) -> Case:
    key = number(chance, 5)
    fact = f"The pass key is {key}. Remember it. {key} is the pass key. "
    introduction = "There is an important info hidden inside a lot of irrelevant text. Find it and memorize it."
    question = {"question": "\n\nWhat is the pass key?", "depth": depth, "prefix": "The pass key is ", "answer": key}
    return {
        "case": f"passkey-{length}-{depth}",
        "type": "passkey",
        "length": length,
        "context": context(introduction, [(depth, fact)], length, 24),
        "questions": [question],
    }


def lines(chance: random.Random, length: int, idx: int) -> Case:
    """Contexts take the even and the odd depths by turns."""
    depths = DEPTHS[idx % 2 :: 2]
    animals = chance.sample(ANIMALS, len(depths))
    facts = [(depth, animal, number(chance, 3)) for depth, animal in zip(depths, animals, strict=True)]
    questions = [
        {"question": f"\n\nWrite the line of the {animal}.", "depth": depth, "prefix": f"{animal}:", "answer": f" {value}"}
        for depth, animal, value in facts
    ]
    hidden = [(depth, f"\n{animal}: {value}\n") for depth, animal, value in facts]
    return {
        "case": f"lines-{length}-{idx}",
        "type": "lines",
        "length": length,
        "context": context("Memorize the facts in this text.", hidden, length, 10),
        "questions": questions,
    }


def cases(lengths: list[int], contexts: int) -> Iterator[Case]:
    for length in lengths:
        for depth in DEPTHS:
            yield passkey(random.Random(f"passkey {length} {depth}"), length, depth)
        for idx in range(contexts):
            yield lines(random.Random(f"lines {length} {idx}"), length, idx)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lengths", default=",".join(map(str, LENGTHS)), help="tokens, comma between them")
    parser.add_argument("--contexts", type=int, default=4, help="contexts of lines per length")
    options = parser.parse_args()
    for case in cases([int(length) for length in options.lengths.split(",")], options.contexts):
        print(json.dumps(case))


if __name__ == "__main__":
    main()
