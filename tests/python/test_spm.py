"""SentencePiece-style ids against the library sentencepiece, on small models trained here and written to GGUF."""

from __future__ import annotations

import functools
import io
from pathlib import Path
from typing import Any

import pytest
import sentencepiece as sp
from mixed_text import HARD, code, mixed, prose, random_strings
from text_probe import BYTE, CONTROL, NORMAL, UNKNOWN, UNUSED, USER_DEFINED, Probe, find_probe, write_tokenizer

KINDS: dict[str, dict[str, Any]] = {
    "prefix": {"add_dummy_prefix": True, "byte_fallback": True},
    "no_prefix": {"add_dummy_prefix": False, "byte_fallback": True},
    "no_bytes": {"add_dummy_prefix": True, "byte_fallback": False},
    "user_defined": {
        "add_dummy_prefix": False,
        "byte_fallback": True,
        "user_defined_symbols": ["<tool>", "\u2581\u2581\u2581", "ing"],
    },
}


@pytest.fixture(scope="session")
def probe(build_dir: Path) -> Probe:
    return find_probe(build_dir)


def train(options: dict[str, Any]) -> sp.SentencePieceProcessor:
    text = code(120_000) + (prose(200_000) or "")
    model = io.BytesIO()
    sp.SentencePieceTrainer.train(
        sentence_iterator=iter(line for line in text.split("\n") if line),
        model_writer=model,
        model_type="bpe",
        vocab_size=1500,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        allow_whitespace_only_pieces=True,
        character_coverage=0.9995,
        minloglevel=2,
        **options,
    )
    return sp.SentencePieceProcessor(model_proto=model.getvalue())


def kind_of(model: sp.SentencePieceProcessor, token: int, user_defined: list[str]) -> int:
    if model.is_unknown(token):
        return UNKNOWN
    if model.is_control(token):
        return CONTROL
    if model.is_byte(token):
        return BYTE
    if model.is_unused(token):
        return UNUSED
    return USER_DEFINED if model.id_to_piece(token) in user_defined else NORMAL


@pytest.fixture(scope="session", params=list(KINDS))
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[sp.SentencePieceProcessor, Path]:
    options = KINDS[request.param]
    model = train(options)
    ids = range(model.get_piece_size())
    path = write_tokenizer(
        tmp_path_factory.mktemp("spm") / f"{request.param}.gguf",
        "llama",
        [model.id_to_piece(i) for i in ids],
        [kind_of(model, i, options.get("user_defined_symbols", [])) for i in ids],
        scores=[model.get_score(i) for i in ids],
        bos=model.bos_id(),
        eos=model.eos_id(),
        unk=model.unk_id(),
        add_space_prefix=options["add_dummy_prefix"],
    )
    return model, path


def test_ids_are_those_of_sentencepiece(probe: Probe, pair: tuple[sp.SentencePieceProcessor, Path]) -> None:
    model, path = pair
    texts = [text for text in mixed(120_000) + random_strings(2000, 3) if "\0" not in text]
    found = probe.encode(path, texts)
    for text, ids in zip(texts, found, strict=True):
        wanted = model.encode(text)
        assert ids == wanted, (text[:80], [model.id_to_piece(i) for i in ids][:20], [model.id_to_piece(i) for i in wanted][:20])
    assert sum(map(len, found)) > 30_000


def test_decode_gives_the_text_back(probe: Probe, pair: tuple[sp.SentencePieceProcessor, Path]) -> None:
    """Without byte tokens the unknown characters are lost. U+2581 in the text reads back as a space."""
    model, path = pair
    texts = [text for text in HARD if text]
    for text, back in zip(texts, probe.decode(path, probe.encode(path, texts)), strict=True):
        if model.is_byte(model.piece_to_id("<0x41>")):
            wanted = " " * prefix_of(path, probe.path) + text
        else:
            wanted = "".join(model.id_to_piece(i) for i in model.encode(text) if not model.is_unknown(i))
        assert back == wanted.replace("\u2581", " ").encode(), repr(text)


@functools.cache
def prefix_of(path: Path, binary: Path) -> int:
    return int(Probe(binary).ask("info", path)["prefix"])


def test_control_tokens_only_where_parsed(probe: Probe, pair: tuple[sp.SentencePieceProcessor, Path]) -> None:
    model, path = pair
    for name in ("<s>", "</s>", "<unk>"):
        token = model.piece_to_id(name)
        (text,), (parsed,) = probe.encode(path, [name], "text"), probe.encode(path, [name], "parse")
        assert parsed == [token]
        assert token not in text or name == "<unk>", f"{name} gave {text}"
