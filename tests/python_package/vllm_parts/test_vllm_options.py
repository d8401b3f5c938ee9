"""Options of the vLLM plugin: what they say of each layer, and every wrong one. No vLLM here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from qjl.errors import BadFile, FileError, InvalidArgument, Unsupported
from qjl.paged import PagedCache
from qjl.plan import FORMAT, VERSION
from qjl.vllm.options import Options, inlined, options_of, with_sinks
from qjl.vllm.version import check_version

PLAN = Path(__file__).resolve().parents[3] / "examples/plans/smollm2-135m-2.7.json"


def test_defaults() -> None:
    assert options_of({}) == Options("k3v2", None, frozenset(), False)
    assert options_of({}).layer_types(3) == ["k3v2:sinks=1"] * 3


def test_layers_that_are_skipped() -> None:
    assert options_of({"cache": "k2v2", "skip_layers": [0, 2]}).layer_types(4) == [None, "k2v2:sinks=1", None, "k2v2:sinks=1"]


@pytest.mark.parametrize(
    ("cache", "named"),
    [
        ("k3v2", "k3v2:sinks=1"),
        ("k3v2:seed=7", "k3v2:seed=7,sinks=1"),
        ("k3v2:sinks=0,seed=7", "k3v2:sinks=0,seed=7"),
        ("f16", "f16:sinks=0"),
        ("f16:seed=3", "f16:seed=3,sinks=0"),
    ],
)
def test_a_sink_stands_in_the_block(cache: str, named: str) -> None:
    assert with_sinks(cache) == named


def test_a_plan_names_the_codes_of_each_layer() -> None:
    plan = json.loads(PLAN.read_text(encoding="utf-8"))
    wanted = [f"k{layer['keys']}v{layer['values']}:seed={plan['seed']},sinks=1" for layer in plan["layers"]]
    for found in ({"plan": str(PLAN)}, {"cache": str(PLAN)}, {"plan": plan}):
        assert options_of(found).layer_types(len(wanted)) == wanted
    with pytest.raises(InvalidArgument, match=r"`plan` has 30 layers, wanted 16"):
        options_of({"plan": str(PLAN)}).layer_types(16)


def test_a_layer_of_a_plan_has_the_bytes_that_its_name_says() -> None:
    """vLLM plans blocks by the name alone; exact layers of a plan have its sinks too."""
    codes = [{"keys": "f16", "values": "f16"}, {"keys": "l8", "values": "l4"}, {"keys": "f16", "values": "l4"}]
    shape = {"num_layers": 3, "num_kv_heads": 2, "head_dim": 64}
    options = options_of({"plan": {"format": FORMAT, "version": VERSION, "seed": 7, "sinks": 1, "model": shape, "layers": codes}})
    planned = PagedCache(3, 2, 64, **options.cache_arguments([0, 1, 2], 2, 64), threads=1)
    for layer, name in enumerate(options.layer_types(3)):
        assert PagedCache(1, 2, 64, name, threads=1).token_bytes(0) == planned.token_bytes(layer), name


def test_a_plan_travels_with_the_config() -> None:
    """Workers of other machines have no such file."""
    for found in ({"plan": str(PLAN)}, {"cache": str(PLAN), "evaluate": True}):
        kept = inlined(found)
        assert options_of(json.loads(json.dumps(kept))).layer_types(30) == options_of(found).layer_types(30)
        assert str(PLAN) not in json.dumps(kept)
    assert inlined({"cache": "k2v2"}) == {"cache": "k2v2"}


@pytest.mark.parametrize(
    ("found", "text"),
    [
        ("k3v2", r"`qjl` in the additional config is 'k3v2', wanted an object"),
        (True, "wanted an object"),
        ({"codes": "k3v2"}, "found option `codes`, wanted one of cache, plan, skip_layers, evaluate"),
        ({"cache": 3}, "option `cache` is 3, wanted a cache type"),
        ({"plan": 3}, "option `plan` is 3, wanted the path"),
        ({"skip_layers": 3}, "option `skip_layers` is 3, wanted a list of layers"),
        ({"skip_layers": ["0"]}, r"option `skip_layers` is \['0'\], wanted a list"),
        ({"skip_layers": [True]}, "wanted a list of layers"),
        ({"evaluate": "yes"}, "option `evaluate` is 'yes', wanted true or false"),
        ({"evaluate": 1}, "option `evaluate` is 1"),
        ({"cache": "k3v2", "plan": str(PLAN)}, "found option `plan` beside `cache` 'k3v2', wanted one of them"),
        ({"cache": str(PLAN), "plan": str(PLAN)}, "wanted one of them"),
    ],
)
def test_wrong_options_are_named(found: object, text: str) -> None:
    with pytest.raises(InvalidArgument, match=text) as raised:
        options_of(found)
    assert "\n" not in str(raised.value)


def test_wrong_layers_are_named() -> None:
    with pytest.raises(InvalidArgument, match=r"`skip_layers` has \[-1, 4\], wanted layers 0 to 3"):
        options_of({"skip_layers": [-1, 2, 4]}).layer_types(4)


def test_files_that_are_no_plans(tmp_path: Path) -> None:
    (tmp_path / "no.json").write_text("{}")
    with pytest.raises(FileError):
        options_of({"plan": str(tmp_path / "absent.json")})
    with pytest.raises(BadFile):
        options_of({"plan": str(tmp_path / "no.json")})


@pytest.mark.parametrize("version", ["0.32.0", "0.32.0+cpu", "0.33.0", "0.33.1.dev3"])
def test_versions_that_work(version: str) -> None:
    check_version(version)


@pytest.mark.parametrize("version", ["0.31.9", "0.34.0", "1.0.0", "0.4.1", "dev", ""])
def test_other_versions_are_refused_with_the_range(version: str) -> None:
    with pytest.raises(Unsupported, match=r"wanted >=0\.32,<0\.34"):
        check_version(version)


def test_importing_the_plugin_is_light() -> None:
    """vLLM loads it in every process, whether qjl is asked for or not."""
    code = "import sys, qjl.vllm; print(*({name.partition('.')[0] for name in sys.modules} & {'torch', 'vllm', 'transformers'}))"
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
