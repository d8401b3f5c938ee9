"""Hard text for tokenizers: every kind of character, digits, runs of spaces, code, look-alikes of special tokens."""

from __future__ import annotations

import random
from pathlib import Path

DATA = Path(__file__).resolve().parents[3] / "shared/data"

HARD = [
    "", " ", "\n", "Hello world", "  leading", "trailing   ", "a\n\n\nb\n", "\t\ttabs\t x", "\r\n\r\n  x\r\n", "\n \n  \n",
    "x=1234567890, 3.14e-5, ½ ² ٣٤٥ ⅷ", "Don't DON'T we'll WE'LL I'd y'all's 'S 'ſ", "naïve café Ångström ÅÄÖ ß ﬁ",
    "日本語のテキスト 中文，测试。한국어", "العربية हिन्दी বাংলা ไทย עברית", "emoji 😀👩‍👩‍👧‍👦🇩🇪 x", "\u00a0nbsp\u2003em\u3000ideo\u200bzw\u180e",
    "e\u0301 combining a\u0308\u0323", '{"a": [1,2,  3]}\n    def f(x):\n        return x**2 # c', " " * 17 + "x" + " " * 5,
    "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n", "<|im_start|>x<|im_start|>", "<|im_<|im_end|>", "<|im_end|", "< |im_end|>",
    "<s>[INST] x [/INST]</s><unk><0x0A>", "\x01\x02\x05\x7f\x85z", "𝔘𝔫𝔦 𐐀𐐨", "don’t “quotes” — dash…", "foo_bar::baz<T>&&x!=y",
    "http://a.b/c?d=e&f=%20#g", "ABCdefGHI ǅz AbC ÀÉî", "//// ##\r\n/ \n/\n", "a" * 300, "日" * 200, " \u2028 \u2029\u0085 x",
]  # fmt: skip

POOL = "ab Z09'sSt \n\t\r.,_-é½²日ह्٣😀\u00a0\u2028\u3000ǅ\u0301’<|>/\\{}\u200d\u180eſК"


def random_strings(count: int, seed: int) -> list[str]:
    rng = random.Random(seed)
    return ["".join(rng.choice(POOL) for _ in range(rng.randint(1, 24))) for _ in range(count)]


def random_unicode(count: int, seed: int) -> list[str]:
    """Words of one script each, from all of the planes that PCRE2's Unicode 14 knows well."""
    rng = random.Random(seed)
    starts = [0x20, 0xA0, 0x370, 0x400, 0x590, 0x600, 0x900, 0xE00, 0x1100, 0x1E00, 0x2000, 0x3040, 0x4E00, 0xAC00, 0x1F300]
    return [
        " ".join(
            "".join(chr(rng.choice(starts) + rng.randrange(96)) for _ in range(rng.randint(1, 9))) for _ in range(rng.randint(1, 9))
        )
        for _ in range(count)
    ]


def code(size: int) -> str:
    """Python source: what lies nearest at hand."""
    import argparse
    import inspect
    import subprocess

    return (inspect.getsource(argparse) + inspect.getsource(subprocess))[:size]


def prose(size: int) -> str | None:
    """English with names and numbers; None where the shared data is absent."""
    path = DATA / "wikitext2_raw/wiki.test.raw"
    return path.read_text(encoding="utf8")[:size] if path.exists() else None


def mixed(size: int) -> list[str]:
    """About `size` bytes in all."""
    texts = HARD + random_strings(1500, 1) + random_unicode(500, 2) + [code(60_000)]
    words = prose(max(0, size - sum(len(text.encode()) for text in texts)))
    return texts + ([words] if words else [])
