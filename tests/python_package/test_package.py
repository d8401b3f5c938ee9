"""The package as a whole: what importing it brings, its types, its use from threads, its accounts."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import qjl
from model import Rows

ROOT = Path(__file__).resolve().parents[2]
PLAN = ROOT / "examples/plans/smollm2-135m-2.7.json"


def test_importing_brings_numpy_alone() -> None:
    code = "import sys, qjl; print(*sorted({name.partition('.')[0] for name in sys.modules} - sys.stdlib_module_names))"
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    found = {name for name in done.stdout.split() if not name.startswith(("_", "sitecustomize", "distutils"))}
    assert "qjl" in found and found <= {"qjl", "numpy"}


def test_names_and_version() -> None:
    assert qjl.__version__ == importlib.metadata.version("qjl")
    assert qjl.simd_target() in {"scalar", "avx2", "avx512", "avx512vbmi", "neon", "neon_dotprod"}
    for name in qjl.__all__:
        assert getattr(qjl, name).__doc__, name
    public = [name for name in vars(qjl.KvCache.__base__) if not name.startswith("_")]
    assert all(getattr(qjl.KvCache, name).__doc__ for name in public if callable(getattr(qjl.KvCache, name)))


TYPED = """
import numpy as np
import qjl

cache = qjl.KvCache(1, 2, 64, "k3v2", max_tokens=4096, rope=[0.5, 0.25])
sequence: int = cache.create()
rows = np.zeros((1, 2, 3, 64), np.float16)
cache.append([sequence], 0, rows, rows)
cache.append(sequence, 0, rows[0], rows[0])
reveal_type(cache.attend(0, rows, [sequence]))
reveal_type(cache.step(0, rows, [sequence], rows, rows, lse=True))
reveal_type(qjl.merge(rows, rows, rows, rows))
cache.attend(0, rows, sequence)
cache.read(sequence, 0, "0", 1)
"""


def test_a_type_checker_accepts_the_stubs(tmp_path: Path) -> None:
    pytest.importorskip("mypy", reason="mypy is absent")
    (tmp_path / "typed.py").write_text(TYPED.lstrip())
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(ROOT / ".cache/mypy"), "typed.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    revealed = [
        re.sub(r"(numpy|builtins|_typing|_nbit_base)\.", "", line) for line in done.stdout.splitlines() if "Revealed" in line
    ]
    array = "ndarray[tuple[Any, ...], dtype[floating[_32Bit]]]"
    assert [line.split('"')[1] for line in revealed] == [array, f"tuple[{array}, {array}]", f"tuple[{array}, {array}]"], done.stdout
    errors = [line.split(":")[1] for line in done.stdout.splitlines() if ": error:" in line]
    assert errors == ["12", "13"], done.stdout


def signatures(tree: ast.Module | ast.ClassDef) -> Iterator[tuple[str, list[str]]]:
    """(name, parameters) of every function of a stub, a class's with its name before."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            yield from ((f"{node.name}.{name}", parameters) for name, parameters in signatures(node))
        elif isinstance(node, ast.FunctionDef) and "property" not in map(ast.unparse, node.decorator_list):
            yield node.name, [arg.arg for arg in (*node.args.args, *node.args.kwonlyargs)]


def test_the_stubs_are_those_of_the_module() -> None:
    """The same functions, with the same parameters in the same order, and the same properties."""
    stub = ast.parse((Path(qjl.__file__).parent / "_core.pyi").read_text(encoding="utf-8"))
    found = dict(signatures(stub))
    wanted = {}
    classes = [qjl._core.KvCache, qjl._core.CacheFile, qjl._core.PageCodec, qjl._core.Batch, qjl._core.PagedCache]
    for owner, prefix in ((qjl._core, ""), *((each, f"{each.__name__}.") for each in classes)):
        for name, value in vars(owner).items():
            if hasattr(value, "__nb_signature__"):
                inside = re.search(r"\((.*)\)", value.__nb_signature__[0][0]).group(1)
                wanted[prefix + name] = re.findall(r"(?:^|, )(\w+)", re.sub(r"\[.*?\]", "", inside))
    assert found == wanted
    properties = {name for each in classes for name, value in vars(each).items() if isinstance(value, property)}
    declared = {
        node.name
        for node in ast.walk(stub)
        if isinstance(node, ast.FunctionDef) and "property" in map(ast.unparse, node.decorator_list)
    }
    assert declared == properties


def test_other_threads_go_on_while_a_call_works(rows: Rows) -> None:
    """Whoever holds the interpreter's lock for all of a call lets nobody else wake before its end."""
    cache = qjl.KvCache(1, 1, 64, "f16", threads=1)
    sequence = cache.create()
    cache.append(sequence, 0, rows(1, 4000, 64), rows(1, 4000, 64))
    heads = 1
    while True:  # until a call takes a while
        queries = rows(1, heads, 500, 64)
        start = time.perf_counter()
        cache.attend(0, queries, [sequence])
        if time.perf_counter() - start > 0.2:
            break
        heads *= 2
    done = threading.Event()

    def work() -> None:
        cache.attend(0, queries, [sequence])
        done.set()

    worker = threading.Thread(target=work)
    worker.start()
    time.sleep(0.02)
    assert not done.is_set()
    worker.join()


@pytest.mark.parametrize("threads", [1, 2])
def test_one_cache_in_many_threads(rows: Rows, threads: int) -> None:
    """Attends, reads and appends to sequences of their own at once: the results are those of one thread."""
    cache = qjl.KvCache(1, 2, 64, threads=threads)
    keys, values, queries = rows(2, 700, 64), rows(2, 700, 64), rows(1, 4, 40, 64)

    def history(target: qjl.KvCache) -> tuple[np.ndarray, bytes]:
        sequence = target.create()
        for first in range(0, 700, 70):
            target.append(sequence, 0, keys[:, first : first + 70], values[:, first : first + 70])
            out = target.attend(0, queries, [sequence])
        read = target.read(sequence, 0, 0, 700)
        target.truncate(target.fork(sequence), 300)
        return out, read[0].tobytes() + read[1].tobytes()

    wanted = history(qjl.KvCache(1, 2, 64, threads=threads))
    with ThreadPoolExecutor(6) as pool:
        for out, read in pool.map(lambda _: history(cache), range(12)):
            np.testing.assert_array_equal(out, wanted[0])
            assert read == wanted[1]
    assert cache.memory_report()["num_tokens"] == 12 * (700 + 300)


def test_the_widths_of_heads_are_those_that_a_cache_takes() -> None:
    def is_taken(head_dim: int) -> bool:
        try:
            qjl.KvCache(1, 1, head_dim, threads=1)
        except qjl.InvalidArgument:
            return False
        return True

    assert tuple(filter(is_taken, range(1, 300))) == qjl._core.HEAD_DIMS


KINDS_OF_LAYERS = ("full_layers", "windowed_layers")


def test_accounts(rows: Rows) -> None:
    cache = qjl.KvCache(2, 2, 64, "k3v2", max_tokens=1000)
    assert (cache.max_tokens, cache.free_pages(), cache.bits()) == (1024, 8, 0.0)
    sequence = cache.create()
    for layer in range(2):
        cache.append(sequence, layer, rows(2, 900, 64), rows(2, 900, 64))
    report = cache.memory_report()
    kinds = ["sealed_pages", "free_pages", "sinks", "tails", "page_tables", "codec_tables", "scratch", "recurrent"]
    assert report["total"] == sum(report[kind] for kind in kinds) and set(report) == {
        *kinds,
        "total",
        "num_tokens",
        *KINDS_OF_LAYERS,
    }
    assert report["sealed_pages"] == 7 * 2 * 2 * cache.page_bytes(0)
    assert cache.bits() == pytest.approx(8 * report["total"] / (2 * 900 * 2 * 2 * 64))
    assert cache.bits_sealed() == pytest.approx(8 * cache.page_bytes(0) / (2 * 128 * 64))
    cache.reserve(sequence, 1024)
    assert cache.free_pages() == 0
    with pytest.raises(qjl.OutOfPages, match=r"\[reserve\] 1 pages are wanted, 0 of 8 are free"):
        cache.reserve(sequence, 1152)
    cache.drop(sequence)
    assert cache.free_pages() == 8


def test_accounts_of_working_memory(rows: Rows) -> None:
    """What attends work in is the cache's too: a step's is kept and counted, a prompt's goes with it."""
    cache = qjl.KvCache(1, 2, 64, threads=1)
    sequence = cache.create()
    cache.append(sequence, 0, rows(2, 300, 64), rows(2, 300, 64))
    idle, bits = cache.memory_report(), cache.bits()
    assert idle["scratch"] == 0
    cache.attend(0, rows(1, 4, 1, 64), [sequence])
    stepped = cache.memory_report()
    assert 0 < stepped["scratch"] == stepped["total"] - idle["total"]
    assert cache.bits() == pytest.approx(bits * stepped["total"] / idle["total"])
    long = rows(1, 2, 2100, 64)  # two kinds of 16-bit rows of it alone are over a megabyte
    cache.attend(0, rows(1, 4, 2100, 64), [sequence], keys=long, values=long)
    assert cache.memory_report() == idle


def test_windowed_layers_forget(rows: Rows) -> None:
    """What a query sees is the same, and pages that left the window are free again."""
    windows, keys, values = [0, 200], rows(2, 1500, 64), rows(2, 1500, 64)
    queries, new = rows(1, 4, 1, 64), rows(1, 2, 1, 64)
    whole = qjl.KvCache(2, 2, 64, windows=windows)
    kept = qjl.KvCache(2, 2, 64, windows=windows, retention=np.array(windows))
    ids = [cache.create() for cache in (whole, kept)]
    for layer in range(2):
        for cache, sequence in zip((whole, kept), ids, strict=True):
            cache.append(sequence, layer, keys, values)
    for layer in range(2):
        found = kept.attend(layer, queries, [ids[1]], keys=new, values=new)
        np.testing.assert_array_equal(found, whole.attend(layer, queries, [ids[0]], keys=new, values=new))
    assert [kept.first_kept(ids[1], layer) for layer in range(2)] == [0, (1500 - 200) // 128 * 128]
    report = kept.memory_report()
    assert 0 < report["windowed_layers"] < 0.6 * report["full_layers"]  # each with an open page of exact rows
    assert whole.memory_report()["windowed_layers"] == 0
    assert kept.can_truncate(ids[1], 1500) and not kept.can_truncate(ids[1], 700)
    with pytest.raises(qjl.InvalidArgument, match="has forgotten those before"):
        kept.truncate(ids[1], 700)
    with pytest.raises(qjl.InvalidArgument, match="has forgotten those before"):
        kept.attend(1, queries, [ids[1]], window=1000)
    with pytest.raises(qjl.InvalidArgument, match="retention of layer 1 is 100"):
        qjl.KvCache(2, 2, 64, windows=windows, retention=[0, 100])
    with pytest.raises(qjl.InvalidArgument, match="windows is"):
        qjl.KvCache(2, 2, 64, windows=["all", "none"])


def test_exact_heads_may_be_of_other_widths(rows: Rows) -> None:
    for head_dim in (32, 112, 512):
        cache = qjl.KvCache(1, 2, head_dim, "f16", threads=1)
        sequence, keys, values = cache.create(), rows(2, 300, head_dim), rows(2, 300, head_dim)
        cache.append(sequence, 0, keys, values)
        for found, given in zip(cache.read(sequence, 0, 0, 300), (keys, values), strict=True):
            np.testing.assert_array_equal(found, given.astype(np.float16).astype(np.float32))
    with pytest.raises(qjl.InvalidArgument, match="of f16 any multiple of 16 from 32 to 512"):
        qjl.KvCache(1, 2, 512)


def test_a_plan_gives_each_layer_its_codes() -> None:
    cache = qjl.KvCache(30, 3, 64, plan=PLAN)
    assert [cache.cache_type(layer) for layer in (0, 1, 3, 7)] == ["k2v2", "k2v3", "k3v2", "k4v2"]
    assert cache.bits_sealed() == pytest.approx(2.697395833333333)
    assert qjl.KvCache(30, 3, 64, str(PLAN)).bits_sealed() == cache.bits_sealed()


def test_a_layer_may_turn_by_itself(rows: Rows) -> None:
    """Keys of RoPE by layer: each layer's pages are those of a cache that turns like it."""
    keys, values = rows(1, 128, 64) + 1, rows(1, 128, 64)
    ropes = [[0.01] * 8, [0.02] * 32]
    pages = []
    for rope in (ropes, ropes[0], ropes[1]):
        cache = qjl.KvCache(2, 1, 64, "k4v4", rope=np.array(rope) if rope is not ropes else rope)
        sequence = cache.create()
        for layer in range(2):
            cache.append(sequence, layer, keys, values)
        pages.append([cache.page(sequence, layer, 0, 0) for layer in range(2)])
    assert pages[0] == [pages[1][0], pages[2][1]]
    assert pages[1][0] != pages[2][0]
