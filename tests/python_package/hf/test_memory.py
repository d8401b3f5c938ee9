"""What a QJLCache says of its size beside what the system says of the process; and pages of a file that two processes share."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from qjl import CacheFile
from qjl.hf import QJLCache, enabled
from qjl.hf.forward import cache_argument
from tiny_models import model_of, prompt

HERE = Path(__file__).parent

# The shape of SmolLM2-135M in a process of its own, a cache after another. Memory is what is anonymous in it, since a file's pages are
# nobody's, after free memory has gone back to the system. Before the count everything that is not the cache is there: another, small
# cache stays, and a large one has gone through the same calls.
GROWTH = """
import ctypes, sys, torch, transformers as tf
from qjl.hf import QJLCache
from qjl.hf.layer import Softmax

torch.set_grad_enabled(False)
config = tf.LlamaConfig(hidden_size=576, num_hidden_layers=30, num_attention_heads=9, num_key_value_heads=3, max_position_embeddings=8192)
cases = [[int(word) for word in words.split(",")] for words in sys.argv[1:]]
most = max(map(max, cases))
query, key, value = (torch.randn(1, heads, most, 64) for heads in (9, 3, 3))

def anonymous():
    ctypes.CDLL(None).malloc_trim(0)
    line = next(line for line in open("/proc/self/smaps_rollup") if line.startswith("Anonymous:"))
    return 1024 * int(line.split()[1])

def fill(cache, chunks):
    for tokens in chunks:
        for i, layer in enumerate(cache.layers):
            cache.update(key[:, :, :tokens], value[:, :, :tokens], i)
            if i == 0:  # every layer works in the same memory
                layer.attend(query[:, :, :tokens], None, Softmax())
            layer.flush()

small = QJLCache(config, threads=1)
fill(small, [1, 1])
fill(QJLCache(config, threads=1), [most])  # what torch keeps of a chunk, freed with its cache
for chunks in cases:
    before = anonymous()
    cache = QJLCache(config, threads=1)
    fill(cache, chunks)
    report = cache.memory_report()
    print(anonymous() - before, report["total"], report["ratio"])
    del cache
"""
CHUNKS = {"whole": [3328], "chunks": [256] * 12 + [228], "steps": [3072, *[1] * 40]}


@pytest.fixture(scope="module")
def growth() -> dict[str, list[float]]:
    """Of each case: bytes by which the process grew, bytes by the report, and its ratio."""
    words = [sys.executable, "-c", GROWTH, *(",".join(map(str, chunks)) for chunks in CHUNKS.values())]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = [[float(word) for word in line.split()] for line in done.stdout.splitlines()]
    return dict(zip(CHUNKS, lines, strict=True))


@pytest.mark.parametrize("case", CHUNKS)
def test_the_process_grows_by_what_the_report_says(growth: dict[str, list[float]], case: str) -> None:
    grown, total, ratio = growth[case]
    assert grown == pytest.approx(total, rel=0.1)
    if sum(CHUNKS[case]) % 128 == 0:  # otherwise an open page of exact rows is a fifth of the whole
        assert ratio > 5.2


READER = """
import sys, torch
sys.path.insert(0, sys.argv[2])
from tiny_models import model_of, prompt
from qjl.hf import QJLCache, enable
from qjl.hf.forward import cache_argument
torch.set_grad_enabled(False)
model = model_of("llama")
enable(model)
cache = QJLCache.load(sys.argv[1], model.config)
model(prompt(1, 1), **{cache_argument(model): cache})
print("read", flush=True)
sys.stdin.read()
"""


def kilobytes(pid: int, path: Path) -> dict[str, int]:
    """The fields of smaps, summed over the maps of a file."""
    total: dict[str, int] = {}
    is_its = False
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        words = line.split()
        if not words[0].endswith(":"):
            is_its = line.endswith(str(path))
        elif is_its and words[-1] == "kB":
            total[words[0]] = total.get(words[0], 0) + int(words[1])
    return total


def test_processes_that_load_a_file_share_its_pages(tmp_path: Path) -> None:
    model, path = model_of("llama"), tmp_path / "saved.qjlkv.safetensors"
    cache = QJLCache(model.config)
    with enabled(model):
        model(prompt(1, 3000), **{cache_argument(model): cache})
    cache.save(path)
    (store,) = cache.session.stores
    pages = CacheFile(path).num_tokens[0] // 128
    bodies = 2 * pages * store.kv.num_kv_heads * (store.kv.page_bytes(0) - 16)  # of two layers, without heads
    words = [sys.executable, "-c", READER, str(path), str(HERE)]
    pair = [subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    try:
        for process in pair:
            assert process.stdout is not None and process.stdout.readline() == "read\n"  # it has attended to every page
        for process in pair:
            found = kilobytes(process.pid, path)
            assert 1024 * found["Shared_Clean:"] >= bodies > 300_000, found
            assert found["Private_Dirty:"] == found["Anonymous:"] == 0, found
    finally:
        for process in pair:
            process.kill()
            process.communicate()
