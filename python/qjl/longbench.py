"""LongBench over the compressed cache; writes what upstream's eval.py reads.

    python -m qjl.longbench --model DIR --name NAME --cache TYPE --data DIR --datasets A,B --max-length N --out DIR

--data holds DATASET.jsonl (DATASET_e.jsonl with --e). Upstream's dataset2prompt.json and dataset2maxlen.json stand there, in its
`config`, or in a `config` beside it. Answers go to OUT/pred/NAME/DATASET.jsonl (pred_e with --e), a line each: pred, answers,
all_classes, length. A second run goes on where the first one stopped.

As upstream: a prompt longer than --max-length loses its middle; greedy; a chat template, where the tokenizer has one, for the
datasets that are questions; samsum stops at a newline.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from qjl import BadFile, InvalidArgument
from qjl.hf import QJLCache, enable
from qjl.hf.forward import cache_argument

PLAIN = frozenset({"trec", "triviaqa", "samsum", "lsht", "lcc", "repobench-p"})  # few examples, or code: no chat template
ONE_LINE = frozenset({"samsum"})
FIELDS = ("answers", "all_classes", "length")  # handed on from the data to the answers


@dataclass(frozen=True)
class Task:
    """A dataset: its name, the form of its prompts, and how long an answer may be."""

    name: str
    prompt: str
    max_new_tokens: int


@dataclass
class Runner:
    """A model, its tokenizer, and how its cache is made."""

    model: Any
    tokenizer: Any
    cache: str
    max_length: int
    compressed_tokens_read: int = 0

    def prompt_tokens(self, task: Task, line: dict[str, Any]) -> list[int]:
        text = task.prompt.format(**line)
        tokens = self.tokenizer(text, truncation=False).input_ids
        if len(tokens) > self.max_length:
            half = self.max_length // 2
            ends = (tokens[:half], tokens[-half:])
            text = "".join(self.tokenizer.decode(end, skip_special_tokens=True) for end in ends)
        if task.name not in PLAIN and getattr(self.tokenizer, "chat_template", None):
            turn = [{"role": "user", "content": text}]
            text = self.tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=True)
            return list(self.tokenizer(text, truncation=False, add_special_tokens=False).input_ids)
        return list(self.tokenizer(text, truncation=False).input_ids)

    @torch.no_grad()
    def answer(self, task: Task, line: dict[str, Any]) -> str:
        tokens = self.prompt_tokens(task, line)
        stops: dict[str, Any] = {}
        if task.name in ONE_LINE:  # but not at once: an answer has one token at least
            newline = self.tokenizer.encode("\n", add_special_tokens=False)[-1]
            stops = {"eos_token_id": [self.tokenizer.eos_token_id, newline], "min_new_tokens": 1}
        cache = QJLCache(self.model.config, self.cache)
        prompt = torch.tensor([tokens])
        out = self.model.generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            max_new_tokens=task.max_new_tokens,
            do_sample=False,
            num_beams=1,
            **{cache_argument(self.model): cache},
            **stops,
        )
        self.compressed_tokens_read += cache.compressed_tokens_read
        return str(self.tokenizer.decode(out[0, len(tokens) :], skip_special_tokens=True))


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a .jsonl file. Errors: BadFile names the line."""
    if not path.is_file():
        raise InvalidArgument(f"[longbench] found no file {path}, wanted a dataset there")
    lines = []
    for number, text in enumerate(path.read_text(encoding="utf-8").split("\n"), 1):
        if not text.strip():
            continue
        try:
            line = json.loads(text)
        except json.JSONDecodeError as error:
            raise BadFile(f"[longbench] {path}:{number} is no JSON: {error}") from error
        if not isinstance(line, dict):
            raise BadFile(f"[longbench] {path}:{number} holds a {type(line).__name__}, wanted an object")
        lines.append(line)
    return lines


def settings(data: Path, name: str) -> dict[str, Any]:
    """One of upstream's two files of settings by dataset."""
    places = [data / name, data / "config" / name, data.parent / "config" / name]
    for place in places:
        if place.is_file():
            found = json.loads(place.read_text(encoding="utf-8"))
            if isinstance(found, dict):
                return found
            raise BadFile(f"[longbench] {place} holds a {type(found).__name__}, wanted an object by dataset")
    raise InvalidArgument(f"[longbench] found no {name}, wanted upstream's file at one of {[str(place) for place in places]}")


def tasks(data: Path, names: list[str], max_new_tokens: int | None) -> Iterator[Task]:
    prompts = settings(data, "dataset2prompt.json")
    lengths = dict.fromkeys(names, max_new_tokens) if max_new_tokens else settings(data, "dataset2maxlen.json")
    for name in names:
        for table, what in ((prompts, "prompt"), (lengths, "length of answers")):
            if name not in table:
                raise InvalidArgument(f"[longbench] dataset {name!r} has no {what}, wanted one of {sorted(table)}")
        yield Task(name, prompts[name], int(lengths[name]))


def answered(path: Path, lines: list[dict[str, Any]]) -> int:
    """How many answers a file holds already; half a line, of a run that was stopped, is cut off. Errors: InvalidArgument when they are
    not those of the first `lines`."""
    if not path.exists():
        return 0
    whole = path.read_bytes()
    kept = whole[: whole.rfind(b"\n") + 1]
    if kept != whole:
        with path.open("r+b") as file:
            file.truncate(len(kept))
    found = [json.loads(text) for text in kept.decode("utf-8").split("\n") if text]
    for number, (old, line) in enumerate(zip(found, lines, strict=False), 1):
        if any(old.get(field) != line.get(field) for field in FIELDS):
            raise InvalidArgument(
                f"[longbench] {path}:{number} answers another question than the data's line {number}, wanted the same data"
            )
    return len(found)


def run(runner: Runner, task: Task, lines: list[dict[str, Any]], path: Path) -> int:
    """Adds the answers that `path` lacks; returns how many."""
    path.parent.mkdir(parents=True, exist_ok=True)
    done = answered(path, lines)
    with path.open("a", encoding="utf-8") as file:
        for line in lines[done:]:
            found = {"pred": runner.answer(task, line), **{field: line.get(field) for field in FIELDS}}
            file.write(json.dumps(found, ensure_ascii=False) + "\n")
            file.flush()
            os.fsync(file.fileno())
    return max(0, len(lines) - done)


def arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m qjl.longbench", description="LongBench answers over the compressed cache")
    parser.add_argument("--model", required=True, help="folder of a model")
    parser.add_argument("--name", required=True, help="what the answers' folder is called")
    parser.add_argument("--cache", default="k3v2", help="cache type (default k3v2)")
    parser.add_argument("--data", required=True, type=Path, help="folder with DATASET.jsonl")
    parser.add_argument("--datasets", required=True, help="names, with commas between")
    parser.add_argument("--max-length", required=True, type=int, help="tokens of a prompt, less its chat template")
    parser.add_argument("--max-new-tokens", type=int, help="of an answer (default: upstream's, by dataset)")
    parser.add_argument("--e", action="store_true", help="LongBench-E: DATASET_e.jsonl")
    parser.add_argument("--limit", type=int, help="of each dataset the first lines alone")
    parser.add_argument("--out", required=True, type=Path, help="folder of pred or pred_e")
    found = parser.parse_args(argv)
    for name in ("max_length", "max_new_tokens", "limit"):
        if getattr(found, name) is not None and getattr(found, name) < 1:
            parser.error(f"--{name.replace('_', '-')} is {getattr(found, name)}, wanted 1 or more")
    return found


def main(argv: list[str] | None = None) -> int:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    chosen = arguments(argv)
    suffix = "_e" if chosen.e else ""
    names = [name for name in chosen.datasets.split(",") if name]
    planned = [
        (task, read_lines(chosen.data / f"{task.name}{suffix}.jsonl")[: chosen.limit])
        for task in tasks(chosen.data, names, chosen.max_new_tokens)
    ]
    model = AutoModelForCausalLM.from_pretrained(chosen.model).eval()
    enable(model)
    runner = Runner(model, AutoTokenizer.from_pretrained(chosen.model), chosen.cache, chosen.max_length)
    for task, lines in planned:
        path = chosen.out / f"pred{suffix}" / chosen.name / f"{task.name}.jsonl"
        added = run(runner, task, lines, path)
        print(f"{task.name}: {added} answers added to {path}, compressed tokens read so far: {runner.compressed_tokens_read}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
