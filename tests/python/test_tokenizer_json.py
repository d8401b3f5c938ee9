"""Token ids of a folder's tokenizer.json against the library tokenizers on the same file, id by id: each family's parts on vocabularies
that are trained here, what stands beside them in other forms, and the two real models' files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mixed_text import HARD, code, mixed, prose, random_strings
from test_tokenizer import GPT4O, LLAMA3, QWEN2, TEKKEN, first_difference
from text_probe import Probe, find_probe
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

ROOT = Path(__file__).resolve().parents[2]
CONFIG = {
    "model_type": "llama", "num_hidden_layers": 1, "hidden_size": 8, "intermediate_size": 8, "num_attention_heads": 1,
    "max_position_embeddings": 8, "rms_norm_eps": 1e-5, "vocab_size": 16,
}  # fmt: skip
SPACE = "\u2581"
DEEPSEEK = [r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", "[一-龥ࠀ-一가-퟿]+", r"\p{N}"]


@pytest.fixture(scope="session")
def probe(build_dir: Path) -> Probe:
    return find_probe(build_dir)


def corpus() -> list[str]:
    words = [
        "the quick brown fox jumps over the lazy dog",
        "Hello world, don't we'll 1234 567",
        "日本語のテキスト 中文 한국어 العربية",
    ]
    return [*HARD, *words, code(80_000), (ROOT / "examples/texts").joinpath(first_text()).read_text()[:200_000]]


def first_text() -> str:
    return sorted(path.name for path in (ROOT / "examples/texts").glob("*.txt"))[0]


def write_folder(tokenizer: Tokenizer, folder: Path, **config: Any) -> Path:
    """The least folder that holds a tokenizer."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(CONFIG))
    header = b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + b"\0" * 4)
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def on_bytes(stages: list[Any], normalizer: Any = None, ignore_merges: bool = False) -> Tokenizer:
    """A BPE on bytes, trained on the corpus with its own stages."""
    out = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    if normalizer is not None:
        out.normalizer = normalizer
    out.pre_tokenizer = pre_tokenizers.Sequence(stages) if len(stages) > 1 else stages[0]
    out.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=1500,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
        special_tokens=["<|end|>", "<|im_start|>"],
    )
    out.train_from_iterator(corpus(), trainer)
    return out


def split(*expressions: str, behavior: str = "isolated", invert: bool = False) -> list[Any]:
    stages = [pre_tokenizers.Split(Regex(expression), behavior, invert=invert) for expression in expressions]
    return [*stages, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]


def gpt2() -> Any:
    return pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)


def on_characters(normalizer: Any, pre_tokenizer: Any, fallback: bool = True, fuse: bool = True) -> Tokenizer:
    """A BPE on characters. The trainer knows no bytes to fall back to: they join the vocabulary afterwards."""
    out = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=fuse))
    if normalizer is not None:
        out.normalizer = normalizer
    if pre_tokenizer is not None:
        out.pre_tokenizer = pre_tokenizer
    trainer = trainers.BpeTrainer(
        vocab_size=1200, limit_alphabet=120, show_progress=False, special_tokens=["<unk>", "<s>", "</s>"], max_token_length=12
    )
    lines = [line for text in corpus() for line in text.splitlines()]
    out.train_from_iterator(lines, trainer)
    data = json.loads(out.to_str())
    if fallback:
        vocab = data["model"]["vocab"]
        for byte in range(256):
            vocab.setdefault(f"<0x{byte:02X}>", len(vocab))
        data["model"]["byte_fallback"] = True
    out = Tokenizer.from_str(json.dumps(data))
    out.decoder = decoders.Sequence([decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse()])
    return out


def llama2_steps() -> Any:
    return normalizers.Sequence([normalizers.Prepend(SPACE), normalizers.Replace(" ", SPACE)])


def metaspace(scheme: str, split: bool) -> Any:
    return pre_tokenizers.Metaspace(replacement=SPACE, prepend_scheme=scheme, split=split)


MAKERS: dict[str, Callable[[], Tokenizer]] = {
    "gpt-2": lambda: on_bytes([gpt2()]),
    "smollm": lambda: on_bytes([pre_tokenizers.Digits(individual_digits=True), gpt2()]),
    "llama-3": lambda: on_bytes(split(LLAMA3), ignore_merges=True),
    "qwen2": lambda: on_bytes(split(QWEN2), normalizers.NFC()),
    "tekken": lambda: on_bytes(split(TEKKEN), ignore_merges=True),
    "gpt-oss": lambda: on_bytes(split(GPT4O)),
    "phi-4": lambda: on_bytes(split(LLAMA3, behavior="removed", invert=True)),
    "possessive": lambda: on_bytes(split(LLAMA3.replace(r"[^\r\n\p{L}\p{N}]?\p{L}+", r"[^\r\n\p{L}\p{N}]?+\p{L}++"))),
    "several-splits": lambda: on_bytes(split(*DEEPSEEK)),
    "digits-together": lambda: on_bytes([pre_tokenizers.Digits(individual_digits=False), gpt2()]),
    "removed": lambda: on_bytes(split(r"\s+", behavior="removed")),
    "merged-with-next": lambda: on_bytes(split("[ox]", behavior="merged_with_next")),
    "merged-with-previous": lambda: on_bytes(split("[ox]", behavior="merged_with_previous")),
    "contiguous": lambda: on_bytes(split("[ox]", behavior="contiguous")),
    "gemma": lambda: on_characters(normalizers.Replace(" ", SPACE), pre_tokenizers.Split(" ", "merged_with_previous")),
    "llama-2": lambda: on_characters(llama2_steps(), None),
    "mistral": lambda: on_characters(None, metaspace("first", False)),
    "metaspace-always": lambda: on_characters(None, metaspace("always", True)),
    "metaspace-never": lambda: on_characters(None, metaspace("never", True)),
    "no-bytes-fused": lambda: on_characters(llama2_steps(), None, fallback=False),
    "no-bytes": lambda: on_characters(llama2_steps(), None, fallback=False, fuse=False),
}


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_trained_here(probe: Probe, make: Callable[[], Tokenizer], tmp_path: Path) -> None:
    tokenizer = make()
    folder = write_folder(tokenizer, tmp_path / "folder")
    texts = mixed(150_000) + random_strings(2000, 5)
    wanted = [one.ids for one in tokenizer.encode_batch(texts, add_special_tokens=False)]
    assert not first_difference(texts, probe.encode(folder, texts, "parse"), wanted)


ADDED = [
    AddedToken("<|end|>", special=True, normalized=False, rstrip=True),
    AddedToken("<mask>", special=True, normalized=False, lstrip=True),
    AddedToken("<both>", special=False, normalized=False, lstrip=True, rstrip=True),
    AddedToken("[tool]", special=False, normalized=True),
    AddedToken("na\u00efve!", special=False, normalized=True),
    AddedToken("    ", special=False, normalized=False),
    AddedToken("[tool] x", special=False, normalized=False),
]
ADDED_TEXTS = [
    "a<|end|> \n b", "a <mask>b", "x  <both>\u2003 y", "<|end|><mask><both>", "[tool] x[tool]", "say [tool]now", "nai\u0308ve! na\u00efve!",
    "    indented      more", "<|end|>", " <|end|> ", "a\u00a0<mask>\u00a0b", "[tool][tool] x", " [tool]", "<both>[tool]", "\n<mask>\n<mask>\n",
]  # fmt: skip


@pytest.mark.parametrize("name", ["qwen2", "gpt-2", "gemma", "llama-2", "mistral"])
def test_added_tokens(probe: Probe, name: str, tmp_path: Path) -> None:
    """White space that belongs to a token, tokens of the normal form, tokens inside one another."""
    tokenizer = MAKERS[name]()
    for token in ADDED:
        (tokenizer.add_special_tokens if token.special else tokenizer.add_tokens)([token])
    folder = write_folder(tokenizer, tmp_path / "folder")
    texts = ADDED_TEXTS + HARD
    wanted = [one.ids for one in tokenizer.encode_batch(texts, add_special_tokens=False)]
    assert not first_difference(texts, probe.encode(folder, texts, "parse"), wanted)


def test_tokens_around_a_text(probe: Probe, tmp_path: Path) -> None:
    tokenizer = MAKERS["llama-2"]()
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    named = {"bos_token": "<s>", "eos_token": {"content": "</s>"}}
    info = probe.ask("info", write_folder(tokenizer, tmp_path / "a", **named))
    assert (info["bos"], info["eos"], info["unk"], info["add_bos"]) == (1, 2, 0, True)
    assert info["ends"] == [2]
    info = probe.ask("info", write_folder(tokenizer, tmp_path / "b", **named, add_bos_token=False))
    assert info["add_bos"] is False
    folder = write_folder(MAKERS["llama-2"](), tmp_path / "c", **named, add_bos_token=True)
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [2, 5]}))
    info = probe.ask("info", folder)
    assert info["add_bos"] is True
    assert info["ends"] == [2, 5]


@pytest.mark.parametrize("name", ["smollm2", "gemma3"])
def test_real_model(probe: Probe, name: str) -> None:
    folder = ROOT / ".cache/models/hf" / name
    if not folder.exists():
        pytest.skip(f"{folder} is absent; `python tools/hf_model.py {name}` makes it")
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    texts = [*mixed(200_000), prose(100_000) or code(100_000)]
    wanted = [one.ids for one in tokenizer.encode_batch(texts, add_special_tokens=False)]
    found = probe.encode(folder, texts, "parse")
    assert not first_difference(texts, found, wanted)
    assert sum(map(len, found)) > 20_000
