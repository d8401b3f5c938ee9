"""python -m qjl.plots: every format is read, the numbers of the files are those of the picture, and a wrong file is named."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from qjl import BadFile, FileError, InvalidArgument, Unsupported
from qjl.plots import files, longbench, memory, rate, speed
from qjl.plots.__main__ import PICTURES, main, picture

pytest.importorskip("matplotlib", reason="needs matplotlib: pip install qjl[plots]")

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "docs/results"
PROGRAM, MODEL = ROOT / "build/release/qjl", ROOT / ".cache/models/SmolLM2-135M-Instruct.Q4_1.gguf"


def words(path: Path) -> set[str]:
    """What is written in a picture."""
    return {text.text for text in ElementTree.parse(path).iter("{http://www.w3.org/2000/svg}text")}


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`qjl eval --json`, one page scored."""
    for needed, verb in ((PROGRAM, "build"), (MODEL, "model")):
        if not needed.exists():
            pytest.skip(f"no {needed}: `./dev {verb}` gets it")
    path = tmp_path_factory.mktemp("eval") / "south.json"
    plan = ROOT / "examples/plans/smollm2-135m-2.7.json"
    command = [PROGRAM, "eval", "-m", MODEL, "-f", ROOT / "examples/texts/south.txt", "-c", 256, "--prompt", 192]
    command += ["--cache", f"f16,k2v2,k4v4,{plan}", "--decode", 2, "--json", "-o", path]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return path


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("rate", {"k2v2", "k4v4", "plan 2.7", "256 tokens"}),
        ("speed", {"f16", "k2v2", "k4v4", "plan 2.7", "south, after 256 tokens"}),
        ("memory", {"f16", "k2v2", "k4v4", "plan 2.7", "256 tokens"}),
    ],
)
def test_what_the_program_writes(evaluated: Path, tmp_path: Path, name: str, wanted: set[str]) -> None:
    out = tmp_path / "picture.svg"
    assert main([name, str(evaluated), "-o", str(out)]) == 0
    assert wanted <= words(out)
    figure = PICTURES[name].DRAWINGS[-2 if name == "speed" else 0][1](files.read(evaluated))
    by_cache = {row["cache"]: row for row in files.read(evaluated)}
    if name == "rate":
        drawn = {(float(x), float(y)) for x, y in (c.lines[0].get_xydata()[0] for c in figure.axes[0].containers)}
        assert drawn == {(by_cache[c]["bits_sealed"], by_cache[c]["kld_by_page"][0]) for c in ("k2v2", "k4v4", "plan 2.7")}
    else:
        field = {"speed": "decode_tokens_per_second", "memory": "cache_mb"}[name]
        assert sorted(bar.get_width() for bar in figure.axes[0].patches) == sorted(row[field] for row in by_cache.values())


def test_the_exact_cache_is_what_others_are_compared_with(evaluated: Path) -> None:
    """16 bits a number: 30 layers, 3 kv heads of 64 channels, 256 keys and values."""
    for size in memory.sizes(files.read(evaluated)):
        assert size.exact_megabytes == pytest.approx(2 * 2 * 30 * 3 * 64 * 256 / 1e6, rel=1e-4)


def test_the_exact_cache_is_that_of_as_many_tokens() -> None:
    """Rows of the engine bench: other caches whose name ends alike, and lengths of which one has no exact row."""
    rows = [
        {"kind": "memory", "name": name, "tokens": tokens, "added_bytes": megabytes * 1e6}
        for name, tokens, megabytes in (
            ("bf16", 2048, 1.0),
            ("llama.cpp f16", 2048, 40.0),
            ("k3v2", 2048, 10.0),
            ("k3v2", 4096, 20.0),
            ("llama.cpp f16", 8192, 160.0),
            ("k3v2", 8192, 32.0),
        )
    ]
    exact = {(size.cache, size.tokens): size.exact_megabytes for size in memory.sizes(rows)}
    assert exact == {
        ("bf16", 2048): 40.0,
        ("llama.cpp f16", 2048): 40.0,
        ("k3v2", 2048): 40.0,
        ("k3v2", 4096): None,
        ("llama.cpp f16", 8192): 160.0,
        ("k3v2", 8192): 160.0,
    }


@pytest.mark.parametrize(
    ("name", "source", "wanted"),
    [
        ("rate", "rate.jsonl", {"2k tokens", "4k tokens", "8k tokens", "k3v2", "kivi2", "plan 3.25"}),
        ("memory", "rate.jsonl", {"2k tokens", "4k tokens", "8k tokens", "k3v2", "kivi2", "plan 3.25"}),
        ("memory", "speed/peers_engine.jsonl", {"llama.cpp f16", "k3v2", "31.5, 5.8x"}),
        ("speed", "speed/kernels.jsonl", {"head_dim 128, G = 1", "k3v2", "exact, paired"}),
        ("speed", "speed/peers_attend.jsonl", {"ggml f16", "k3v2"}),
        ("speed", "speed/peers_engine.jsonl", {"prompt, tokens/s", "decode, tokens/s", "llama.cpp, 2 threads"}),
        ("speed", "speed/paper.jsonl", {"Llama-2-7B", "paper's sketch"}),
        ("speed", "speed/quick.json", {"k2v2 d=128 G=1", "exact d=128 G=1", "encoding"}),
    ],
)
def test_published_results(tmp_path: Path, name: str, source: str, wanted: set[str]) -> None:
    out = tmp_path / "picture.svg"
    assert picture(name, [RESULTS / source], out) > 0
    assert wanted <= words(out)


def test_the_published_picture_is_the_commands(tmp_path: Path) -> None:
    """`./dev study rate` and `python -m qjl.plots rate` draw one picture."""
    picture("rate", [RESULTS / "rate.jsonl"], tmp_path / "rate.svg")
    assert words(tmp_path / "rate.svg") == words(RESULTS / "rate.svg")


def write(path: Path, *lines: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


def test_scores_of_longbench(tmp_path: Path) -> None:
    """As eval.py of upstream writes them beside the answers, for two models; then with -e."""
    scores = {"a": {"trec": 66.5, "qasper": 12.5}, "b": {"trec": 64.0, "qasper": 12.5}}
    plain = [write(tmp_path / f"pred/{name}/result.json", of_model) for name, of_model in scores.items()]
    assert picture("longbench", plain, tmp_path / "plain.svg") == 4
    assert {"a", "b", "trec", "qasper"} <= words(tmp_path / "plain.svg")
    figure = longbench.draw([row for path in plain for row in files.read(path)])
    assert [bar.get_height() for bar in figure.axes[0].patches] == [66.5, 12.5, 64.0, 12.5]
    by_length = write(tmp_path / "pred_e/a/result.json", {"trec": {"0-4k": 70.0, "4-8k": 60.0, "8k+": 50.0}})
    picture("longbench", [by_length], tmp_path / "e.svg")
    assert {"0-4k words", "4-8k words", "8k+ words"} <= words(tmp_path / "e.svg")


def test_results_of_lm_eval(tmp_path: Path) -> None:
    """Of each task the metric that grows with quality; groups have none. tests/python_package/hf runs lm-eval itself."""
    results = {
        "piqa": {"alias": "piqa", "acc,none": 0.625, "acc_stderr,none": 0.01, "acc_norm,none": 0.7},
        "wikitext": {"alias": "wikitext", "word_perplexity,none": 20.0, "byte_accuracy,none": 0.5},
        "group": {"alias": "group"},
    }
    better = {"piqa": {"acc": True, "acc_norm": True}, "wikitext": {"word_perplexity": False, "byte_accuracy": True}}
    for name, config, series in (
        ("dict", {"model": "qjl", "model_args": {"pretrained": "models/small", "cache": "k2v2"}}, "small k2v2"),
        ("text", {"model": "qjl", "model_args": "pretrained=models/small"}, "small k3v2"),
        ("hf", {"model": "hf", "model_args": {"pretrained": "models/small"}}, "small hf"),
    ):
        path = write(tmp_path / f"{name}.json", {"results": results, "higher_is_better": better, "config": config})
        found = [(row["series"], row["task"], row["score"]) for row in files.read(path)]
        assert found == [(series, "piqa\nacc", 62.5), (series, "wikitext\nbyte_accuracy", 50.0)]


RATE_ROW = {"cache": "k3v2", "context": 256, "text": "a", "bits_sealed": 2.7, "kld_by_page": [0.1, 0.2]}
WRONG = {
    "empty": ("rate", "", r"x\.json:1 is no JSON"),
    "no JSON": ("rate", "{", r"x\.json:1 is no JSON"),
    "second line": ("rate", '{"kld_by_page": 1}\n{', r"x\.json:2 is no JSON"),
    "a number": ("rate", "7", "holds a int, wanted an object"),
    "nested": ("rate", "[" * 100000, "no JSON"),
    "numbers": ("rate", "[7]", "holds a int, wanted an object for each case"),
    "another study": ("rate", '{"cache": "k3v2", "right": [1]}', "holds rows of kind retrieval, wanted the JSON of `qjl eval`"),
    "bench": ("rate", '{"kind": "attend"}', "holds rows of kind attend, wanted the JSON of `qjl eval`"),
    "answers": ("longbench", '{"pred": "a", "answers": ["b"]}\n' * 2, "holds rows of kind answers, wanted result.json"),
    "eval": ("longbench", '{"context": 9, "results": [{"cache": "f16"}]}', "holds rows of kind eval, wanted result.json"),
    "no context": ("rate", '{"results": []}', "has no `context`"),
    "no rows": ("rate", '{"context": 9, "results": []}', "holds rows of kind none"),
    "no field": ("rate", json.dumps({**RATE_ROW, "bits_sealed": None}), "`bits_sealed` in .* is None, wanted a float"),
    "text": ("rate", json.dumps({**RATE_ROW, "bits_sealed": "2"}), "`bits_sealed` in .* is '2', wanted a float"),
    "no pages": ("rate", json.dumps({**RATE_ROW, "kld_by_page": []}), r"`kld_by_page` in .* is \[\], wanted a list"),
    "NaN": ("rate", json.dumps({**RATE_ROW, "kld_by_page": [float("nan")]}), r"`kld_by_page` in .* is \[nan\]"),
    "untimed": ("speed", '{"context": 9, "results": [{"cache": "f16"}]}', "no `decode_tokens_per_second` in a row of kind eval"),
    "exact alone": ("rate", json.dumps({**RATE_ROW, "cache": "f16"}), "nothing to draw"),
    "lm-eval": ("longbench", '{"results": {"piqa": {"acc,none": 1}}}', "has no `config` and `higher_is_better`"),
    "scores": ("longbench", '{"trec": "high"}', "`score` in .* is 'high', wanted a float"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_files(tmp_path: Path, case: str) -> None:
    name, text, message = WRONG[case]
    path, out = tmp_path / "x.json", tmp_path / "picture.svg"
    path.write_text(text)
    with pytest.raises((BadFile, InvalidArgument), match=message):
        picture(name, [path], out)
    assert not out.exists()


def test_wrong_calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    right = write(tmp_path / "rate.jsonl", RATE_ROW)
    with pytest.raises(FileError, match=r"found no file `.*absent` that can be read: No such file"):
        picture("rate", [tmp_path / "absent"], tmp_path / "p.svg")
    with pytest.raises(BadFile, match="is no text"):
        (tmp_path / "bytes").write_bytes(b"\xff")
        picture("rate", [tmp_path / "bytes"], tmp_path / "p.svg")
    with pytest.raises(InvalidArgument, match=r"ends in '\.gif', wanted one of \.svg"):
        picture("rate", [right], tmp_path / "p.gif")
    with pytest.raises(FileError, match="cannot be written"):
        picture("rate", [right], tmp_path / "no folder/p.svg")
    with pytest.raises(InvalidArgument, match="rows of kinds attend, paper, wanted those of one picture"):
        picture("speed", [RESULTS / "speed/kernels.jsonl", RESULTS / "speed/paper.jsonl"], tmp_path / "p.svg")
    with pytest.raises(InvalidArgument, match="two rows of kind rate with cache k3v2, context 256, text a, wanted one"):
        picture("rate", [right, right], tmp_path / "p.svg")
    for other in ("retrieval", "distortion", "sensitivity"):
        with pytest.raises(BadFile, match=f"holds rows of kind {other}, wanted the JSON of `qjl eval` or rows of `qjl study rate`"):
            picture("rate", [RESULTS / f"{other}.jsonl"], tmp_path / "p.svg")
    assert main(["rate", str(tmp_path / "absent"), "-o", str(tmp_path / "p.svg")]) == 1
    assert "[plots] found no file" in capsys.readouterr().err
    monkeypatch.setattr("qjl.plots.__main__.find_spec", lambda name: None)
    with pytest.raises(Unsupported, match=r"pip install qjl\[plots\]"):
        picture("rate", [right], tmp_path / "p.svg")


@pytest.mark.parametrize("ending", ["svg", "png", "pdf"])
def test_the_same_rows_give_the_same_file(tmp_path: Path, ending: str) -> None:
    """In a process of its own, as a person calls it, and here."""
    source = write(tmp_path / "rate.jsonl", RATE_ROW, {**RATE_ROW, "cache": "q8_0", "bits_sealed": 8.5})
    out = [tmp_path / f"{i}.{ending}" for i in range(2)]
    command = [sys.executable, "-m", "qjl.plots", "rate", source, "-o", out[0]]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, f"wrote {out[0]} from 2 rows\n"), done.stderr
    picture("rate", [source], out[1])
    assert out[0].read_bytes() == out[1].read_bytes()


def test_pictures_need_nothing_else_of_the_package() -> None:
    """tools/study and bench/report read these modules where they stand, with no wheel built."""
    code = f"""
import sys
sys.path.append({str(ROOT / "python/qjl")!r})
import plots.longbench, plots.memory, plots.rate, plots.speed
print([name for name in sys.modules if name.startswith("qjl")])
"""
    command = [sys.executable, "-I", "-c", code]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "[]\n"


def test_speed_has_one_panel_a_group() -> None:
    rows = files.read(RESULTS / "speed/kernels.jsonl")
    figure = speed.contexts(rows)
    line = next(line for line in figure.axes[0].lines if line.get_label() == "k3v2")
    wanted = {
        row["tokens"]: row["ns_best"]
        for row in rows
        if (row["kind"], row["cache"], row["head_dim"], row["group"], row["threads"]) == ("attend", "k3v2", 128, 1, 1)
    }
    assert dict(line.get_xydata().tolist()) == wanted
    assert rate.draw([]) is None and speed.contexts([]) is None and memory.draw([]) is None
