"""Token ids against Hugging Face tokenizers on the same vocabulary, id by id."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mixed_text import DATA, HARD, mixed, prose, random_strings
from text_probe import CONTROL, Probe, find_probe, read_fields, write_tokenizer
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
TEKKEN = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
    r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
CONTRACTION = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
GPT4O = TEKKEN.replace("]+|", "]+" + CONTRACTION + "|", 1).replace("]*|\\p{N}|", "]*" + CONTRACTION + r"|\p{N}{1,3}|")
DEFAULT = [r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", "[0-9][0-9][0-9]"]
QWEN35 = QWEN2.replace(r"?\p{L}+", r"?[\p{L}\p{M}]+").replace(r"^\s\p{L}", r"^\s\p{L}\p{M}")
EXPRESSIONS = {
    "llama-bpe": [LLAMA3],
    "qwen2": [QWEN2],
    "qwen35": [QWEN35],
    "tekken": [TEKKEN],
    "gpt-4o": [GPT4O],
    "default": DEFAULT,
}
PRETOKENIZERS = ["gpt-2", "smollm", *EXPRESSIONS]


@pytest.fixture(scope="session")
def probe(build_dir: Path) -> Probe:
    return find_probe(build_dir)


@pytest.fixture(scope="session")
def fields(model: Path) -> dict[str, Any]:
    return read_fields(model)


def hugging_face(fields: dict[str, Any], pre: str) -> Tokenizer:
    """The tokenizer.json pipeline of a pre-tokenizer, on the default model's vocabulary."""
    tokens, merges = fields["tokenizer.ggml.tokens"], fields["tokenizer.ggml.merges"]
    bpe = models.BPE(
        vocab={token: i for i, token in enumerate(tokens)},
        merges=[tuple(merge.split(" ", 1)) for merge in merges],
        ignore_merges=pre in ("llama-bpe", "tekken"),
    )
    out = Tokenizer(bpe)
    if pre == "gpt-2":
        stages = [pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)]
    elif pre == "smollm":
        stages = [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)]
    else:
        stages = [
            *(pre_tokenizers.Split(Regex(expression), "isolated") for expression in EXPRESSIONS[pre]),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    if pre in ("qwen2", "qwen35"):
        out.normalizer = normalizers.NFC()
    out.pre_tokenizer = pre_tokenizers.Sequence(stages)
    out.decoder = decoders.ByteLevel()
    kinds = fields["tokenizer.ggml.token_type"]
    specials = [token for token, kind in zip(tokens, kinds, strict=True) if kind == CONTROL]
    out.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in specials])
    return out


@pytest.fixture(scope="session")
def vocabularies(model: Path, fields: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("vocabularies")
    return {
        pre: write_tokenizer(
            folder / f"{pre}.gguf",
            "gpt2",
            fields["tokenizer.ggml.tokens"],
            fields["tokenizer.ggml.token_type"],
            merges=fields["tokenizer.ggml.merges"],
            pre=pre,
        )
        for pre in PRETOKENIZERS
    }


def first_difference(texts: list[str], ours: list[list[int]], theirs: list[list[int]]) -> str:
    for text, a, b in zip(texts, ours, theirs, strict=True):
        if a != b:
            at = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
            return f"{text[:80]!r}: at id {at} found {a[at : at + 8]}, wanted {b[at : at + 8]}"
    return ""


def test_default_model_on_200_kb(probe: Probe, model: Path, fields: dict[str, Any]) -> None:
    texts = mixed(200_000)
    size = sum(len(text.encode()) for text in texts)
    if size < 200_000:
        pytest.skip(f"only {size} bytes of text: {DATA} is absent")
    theirs = PreTrainedTokenizerFast(tokenizer_object=hugging_face(fields, "smollm"))
    wanted = [theirs(text, add_special_tokens=False)["input_ids"] for text in texts]
    found = probe.encode(model, texts, "parse")
    assert not first_difference(texts, found, wanted)
    assert sum(map(len, found)) > 40_000


@pytest.mark.parametrize("pre", PRETOKENIZERS)
def test_pretokenizers(probe: Probe, fields: dict[str, Any], vocabularies: dict[str, Path], pre: str) -> None:
    texts = mixed(120_000) + random_strings(4000, 7)
    wanted = [one.ids for one in hugging_face(fields, pre).encode_batch(texts, add_special_tokens=False)]
    assert not first_difference(texts, probe.encode(vocabularies[pre], texts, "parse"), wanted)


@pytest.mark.parametrize("pre", PRETOKENIZERS)
def test_every_code_point(probe: Probe, fields: dict[str, Any], vocabularies: dict[str, Path], pre: str) -> None:
    """Every code point that Unicode 14 assigns, between letters, digits and spaces."""
    import unicodedata

    known = unicodedata.ucd_3_2_0.unidata_version and unicodedata.unidata_version
    assert known == "14.0.0", f"this Python has Unicode {known}; the test wants the tables of PCRE2 10.42"
    points = [chr(c) for c in range(0x110000) if not 0xD800 <= c < 0xE000 and unicodedata.category(chr(c)) != "Cn"]
    points = [c for c in points if unicodedata.category(c) != "Co"]
    texts = ["".join(f"a{c}B 1{c}2 {c} '{c}.{c}\n" for c in points[i : i + 200]) for i in range(0, len(points), 200)]
    wanted = [one.ids for one in hugging_face(fields, pre).encode_batch(texts, add_special_tokens=False)]
    assert not first_difference(texts, probe.encode(vocabularies[pre], texts), wanted)


@given(st.lists(st.text(alphabet=st.characters(exclude_categories=["Cs", "Cn", "Co"]), max_size=60), min_size=1, max_size=40))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True)
def test_any_text(probe: Probe, model: Path, fields: dict[str, Any], texts: list[str]) -> None:
    wanted = [one.ids for one in hugging_face_cached(fields).encode_batch(texts, add_special_tokens=False)]
    assert not first_difference(texts, probe.encode(model, texts, "parse"), wanted)


CACHE: list[Tokenizer] = []


def hugging_face_cached(fields: dict[str, Any]) -> Tokenizer:
    if not CACHE:
        CACHE.append(hugging_face(fields, "smollm"))
    return CACHE[0]


def test_normal_form_c(probe: Probe, fields: dict[str, Any], vocabularies: dict[str, Path]) -> None:
    """Decomposed text, Hangul letters, marks out of order, and stretches longer than the normaliser takes at once."""
    import unicodedata

    words = ["ÅÄÖé ñ ǖ ệ", "한국어 문장입니다", "が ぎ パ", "क़ ড়", "\u2126 \u212b \u0958 \ufb1d", "q\u0323\u0307 q\u0307\u0323"]
    texts = [unicodedata.normalize("NFD", word) for word in words] + words
    texts += [
        unicodedata.normalize("NFD", "日本がく한국어ệ" * 400),
        "x" + "\u0301\u0323" * 300,
        unicodedata.normalize("NFD", "ệ" * 2000),
    ]
    wanted = [one.ids for one in hugging_face(fields, "qwen2").encode_batch(texts, add_special_tokens=False)]
    assert not first_difference(texts, probe.encode(vocabularies["qwen2"], texts), wanted)


def test_user_text_has_no_special_tokens(probe: Probe, model: Path, fields: dict[str, Any]) -> None:
    kinds = fields["tokenizer.ggml.token_type"]
    specials = [token for token, kind in zip(fields["tokenizer.ggml.tokens"], kinds, strict=True) if kind == CONTROL]
    texts = [f"a{token}b {token}" for token in specials] + HARD
    for text, ids in zip(texts, probe.encode(model, texts, "text"), strict=True):
        assert all(kinds[i] != CONTROL for i in ids), f"{text!r} gave {ids}"
    parsed = probe.encode(model, specials, "parse")
    assert parsed == [[fields["tokenizer.ggml.tokens"].index(token)] for token in specials]


def test_decode_gives_the_bytes_back(probe: Probe, model: Path, fields: dict[str, Any]) -> None:
    """Except for bytes that the vocabulary has no token for, which are left out."""
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    assert len(alphabet) == 256
    missing = [b for b in range(256) if byte_character(b) not in set(fields["tokenizer.ggml.tokens"])]
    texts = mixed(100_000)
    for text, back in zip(texts, probe.decode(model, probe.encode(model, texts)), strict=True):
        assert back == bytes(b for b in text.encode() if b not in missing), repr(text[:80])


def byte_character(byte: int) -> str:
    keep = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    return chr(byte) if byte in keep else chr(0x100 + sorted(set(range(256)) - set(keep)).index(byte))


@pytest.mark.parametrize("chunk", [1, 2, 3, 7])
def test_stream_is_decode_with_replacement(probe: Probe, chunk: int) -> None:
    whole = "aé日😀\u0301".encode() + b"\xff\xc3\x28\xe2\x82z\xf0\x9f\x98" + b"ok" + b"\xed\xa0\x80\xf4\x90\x80\x80\xe6\x97"
    chunks = [whole[i : i + chunk].hex() for i in range(0, len(whole), chunk)]
    parts = probe.ask("stream", given=chunks)
    assert "".join(parts) == whole.decode("utf-8", errors="replace")


def test_long_prose(probe: Probe, model: Path, fields: dict[str, Any]) -> None:
    text = prose(1_300_000)
    if text is None:
        pytest.skip(f"{DATA}/wikitext2_raw is absent")
    found = probe.encode(model, [text], "parse")
    assert not first_difference([text], found, [hugging_face_cached(fields).encode(text, add_special_tokens=False).ids])
