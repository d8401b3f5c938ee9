"""How far a program's arithmetic is from ours in fp32, on the same model and texts, caches of 16 bit: KL divergence of the logits.

    KL(p, q) = sum_v p(v) (log p(v) - log q(v)),   p: our fp32 path;  q: our fast arithmetic, or llama.cpp

Mean over positions 256 .. end of each text; standard error over pages of 128 positions.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from llama_session import LlamaModel, LlamaSession
from rows import RowFile
from served import Served

FIRST = 256
PAGE = 128


def log_softmax(rows: np.ndarray) -> np.ndarray:
    rows = rows.astype(np.float64)
    rows -= rows.max(axis=1, keepdims=True)
    return rows - np.log(np.exp(rows).sum(axis=1, keepdims=True))


def divergences(exact: np.ndarray, other: np.ndarray) -> np.ndarray:
    """One number a position; in blocks, since a row has the whole vocabulary."""
    parts = []
    for at in range(0, len(exact), PAGE):
        p, q = log_softmax(exact[at : at + PAGE]), log_softmax(other[at : at + PAGE])
        parts.append((np.exp(p) * (p - q)).sum(axis=1))
    return np.concatenate(parts)


def our_logits(served: Served, tokens: list[int], arithmetic: str, vocabulary: int) -> np.ndarray:
    with tempfile.NamedTemporaryFile() as file:
        served.ask(op="logits", tokens=tokens, first=FIRST, arithmetic=arithmetic, file=file.name)
        return np.fromfile(file.name, np.float32).reshape(-1, vocabulary)


def bench_quality(options: argparse.Namespace) -> None:
    rows = RowFile(options.out)
    length = options.tokens[0] if options.tokens else 1024
    model = LlamaModel(options.model)
    with Served([options.build / "qjl_engine_bench", options.model]) as served:
        served.ask(op="threads", count=max(options.threads))
        for text in options.texts:
            tokens = model.tokens(Path(text).read_text())[:length]
            exact = our_logits(served, tokens, "exact", model.num_logits)
            session = LlamaSession(model, "f16", length)
            session.set_threads(max(options.threads))
            others = {"llama.cpp f16": session.logits(tokens, FIRST)}
            session.close()
            others["fast arithmetic"] = our_logits(served, tokens, "fast", model.num_logits)
            for name, logits in others.items():
                kl = divergences(exact, logits)
                pages = kl[: len(kl) // PAGE * PAGE].reshape(-1, PAGE).mean(axis=1)
                error = float(pages.std(ddof=1) / len(pages) ** 0.5) if len(pages) > 1 else None
                same = float((exact.argmax(axis=1) == logits.argmax(axis=1)).mean())
                rows.add(
                    kind="quality",
                    name=name,
                    text=Path(text).stem,
                    positions=len(kl),
                    kl_mean=float(kl.mean()),
                    kl_error=error,
                    same_top1=same,
                )
            rows.flush()
