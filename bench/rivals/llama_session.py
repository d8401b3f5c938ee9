"""llama.cpp through the low-level functions of llama-cpp-python: one context, batches by hand, flash attention on.

A prompt goes in micro-batches of 512 tokens (llama.cpp's default), a decode step is one token for each sequence. Sequences have
streams of their own (kv_unified off), so that a batch of eight reads eight caches.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Sequence
from pathlib import Path

import llama_cpp.llama_cpp as api
import numpy as np

CACHE_TYPES = {"f16": 1, "q8_0": 8, "q4_0": 2}
MICRO_BATCH = 512

# The library logs to standard error; kept in a global so that it lives as long as the library.
_quiet = api.llama_log_callback(lambda level, text, data: None)


class LlamaModel:
    def __init__(self, path: Path) -> None:
        api.llama_backend_init()
        api.llama_log_set(_quiet, ctypes.c_void_p(0))
        self.handle = api.llama_model_load_from_file(str(path).encode(), api.llama_model_default_params())
        if not self.handle:
            raise RuntimeError(f"llama.cpp cannot load {path}")
        self.vocabulary = api.llama_model_get_vocab(self.handle)
        self.num_logits = api.llama_vocab_n_tokens(self.vocabulary)

    def tokens(self, text: str) -> list[int]:
        raw = text.encode()
        room = (api.llama_token * (len(raw) + 8))()
        count = api.llama_tokenize(self.vocabulary, raw, len(raw), room, len(room), True, False)
        return list(room[:count])


class LlamaSession:
    def __init__(self, model: LlamaModel, cache: str, context: int, sequences: int = 1) -> None:
        params = api.llama_context_default_params()
        params.n_ctx = context * sequences
        params.n_batch = params.n_ubatch = MICRO_BATCH
        params.n_seq_max = sequences
        params.type_k = params.type_v = CACHE_TYPES[cache]
        params.flash_attn_type = api.LLAMA_FLASH_ATTN_TYPE_ENABLED
        params.kv_unified = False
        self.model = model
        self.handle = api.llama_init_from_model(model.handle, params)
        if not self.handle:
            raise RuntimeError(f"llama.cpp cannot make a context with a {cache} cache")
        self.memory = api.llama_get_memory(self.handle)
        self.batch = api.llama_batch_init(MICRO_BATCH, 0, 1)
        self.length = 0

    def close(self) -> None:
        api.llama_batch_free(self.batch)
        api.llama_free(self.handle)

    def set_threads(self, threads: int) -> None:
        api.llama_set_n_threads(self.handle, threads, threads)

    def _decode(self, entries: Sequence[tuple[int, int, int, bool]]) -> None:
        """entries: token, position, sequence, whether its logits are wanted."""
        self.batch.n_tokens = len(entries)
        for i, (token, position, sequence, logits) in enumerate(entries):
            self.batch.token[i], self.batch.pos[i] = token, position
            self.batch.n_seq_id[i], self.batch.seq_id[i][0] = 1, sequence
            self.batch.logits[i] = logits
        status = api.llama_decode(self.handle, self.batch)
        if status != 0:
            raise RuntimeError(f"llama_decode reports {status}")

    def prompt(self, tokens: Sequence[int]) -> float:
        """Appends tokens to sequence 0; seconds."""
        start = time.perf_counter()
        for at in range(0, len(tokens), MICRO_BATCH):
            part = tokens[at : at + MICRO_BATCH]
            last = at + len(part) - 1
            self._decode([(token, self.length + i, 0, at + i == last == len(tokens) - 1) for i, token in enumerate(part)])
            self.length += len(part)
        api.llama_synchronize(self.handle)
        return time.perf_counter() - start

    def decode(self, token: int, steps: int, sequences: int = 1) -> list[float]:
        """Seconds of greedy steps, one token for each sequence; the cache is then cut back."""
        following, seconds = [token] * sequences, []
        for step in range(steps):
            start = time.perf_counter()
            self._decode([(following[i], self.length + step, i, True) for i in range(sequences)])
            for i in range(sequences):
                following[i] = int(np.argmax(self._row(i)))
            seconds.append(time.perf_counter() - start)
        for i in range(sequences):
            api.llama_memory_seq_rm(self.memory, i, self.length, -1)
        return seconds

    def _row(self, index: int) -> np.ndarray:
        return np.ctypeslib.as_array(api.llama_get_logits_ith(self.handle, index), (self.model.num_logits,))

    def logits(self, tokens: Sequence[int], first: int) -> np.ndarray:
        """Rows of positions first .. end, [positions, vocabulary]."""
        rows = []
        for at in range(0, len(tokens), MICRO_BATCH):
            part = tokens[at : at + MICRO_BATCH]
            self._decode([(token, at + i, 0, at + i >= first) for i, token in enumerate(part)])
            rows.extend(self._row(i).copy() for i in range(len(part)) if at + i >= first)
        self.length = len(tokens)
        return np.stack(rows)

    def truncate(self, length: int) -> None:
        api.llama_memory_seq_rm(self.memory, -1, length, -1)
        self.length = length

    def clear(self) -> None:
        api.llama_memory_clear(self.memory, False)
        self.length = 0

    def copy_first(self, sequences: int) -> None:
        """The tokens of sequence 0 also into sequences 1, 2, ...: streams of their own, so that the copies are real."""
        for i in range(1, sequences):
            api.llama_memory_seq_cp(self.memory, 0, i, -1, -1)
