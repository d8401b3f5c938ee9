"""The probe program tests/engine/text/text_probe.cpp from Python, and small GGUF files that hold a tokenizer only."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import pytest

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6


@dataclass
class Probe:
    path: Path

    def call(self, *words: object, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        return subprocess.run([self.path, *map(str, words)], input=stdin, capture_output=True, timeout=600, check=False)

    def ask(self, *words: object, given: Any = None) -> Any:
        done = self.call(*words, stdin=json.dumps(given).encode() if not isinstance(given, bytes) else given)
        assert done.returncode == 0, done.stderr.decode()
        return json.loads(done.stdout)

    def encode(self, model: Path, texts: Sequence[str], special: str = "text") -> list[list[int]]:
        return self.ask("encode", model, special, given=list(texts))

    def decode(self, model: Path, ids: Sequence[Sequence[int]]) -> list[bytes]:
        return [bytes.fromhex(text) for text in self.ask("decode", model, given=[list(one) for one in ids])]


def find_probe(build_dir: Path) -> Probe:
    path = build_dir / "text_probe"
    if not path.exists():
        pytest.fail(f"no probe at {path}: a build with QJL_BUILD_TESTS makes it")
    return Probe(path)


def write_tokenizer(path: Path, model: str, tokens: Sequence[str | bytes], types: Sequence[int], **fields: Any) -> Path:
    """A GGUF without tensors. Fields: merges, scores, pre, ids as bos=1, flags as add_bos=True, chat_template."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_tokenizer_model(model)
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    for name, value in fields.items():
        if name in ("bos", "eos", "unk", "eot"):
            key = {"unk": "unknown"}.get(name, name)
            writer.add_uint32(f"tokenizer.ggml.{key}_token_id", value)
        elif name in ("add_bos", "add_eos"):
            writer.add_bool(f"tokenizer.ggml.{name}_token", value)
        else:
            getattr(writer, "add_chat_template" if name == "chat_template" else SETTERS[name])(value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    return path


SETTERS = {
    "merges": "add_token_merges",
    "scores": "add_token_scores",
    "pre": "add_tokenizer_pre",
    "add_space_prefix": "add_add_space_prefix",
}


def read_fields(path: Path) -> dict[str, Any]:
    """All metadata of a GGUF by PyPI gguf: the other reader."""
    reader = gguf.GGUFReader(path)
    return {name: field.contents() for name, field in reader.fields.items()}
