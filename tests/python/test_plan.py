"""`qjl plan` as a program: the bound on a sketch against its formula and its count, wrong words, and a plan as a cache type."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from conftest import Program
from tiny_models import write_tiny_model


def test_rows_for_an_error(qjl: Program) -> None:
    """docs/numerics.md has the two bounds. At eps = .3, delta = .01 the published one fails by half: erfc(eps sqrt(m / pi)) = .016."""
    eps, delta, dim = 0.3, 0.01, 64
    report = json.loads(qjl("plan", "--eps", eps, "--delta", delta, "--dim", dim, "--json", "-t", 2).stdout)
    assert report["rows"] == math.ceil((math.pi + 4 * eps / 3) / eps**2 * math.log(2 / delta))
    assert report["published_rows"] == math.ceil(4 / 3 * (1 + eps) / eps**2 * math.log(2 / delta))
    trial, published = report["trial"], report["published_trial"]
    assert trial["rows"] == -8 * (-report["rows"] // 8)
    assert trial["share"] == trial["failures"] / trial["trials"]
    assert trial["share"] + 4 * trial["share_se"] < delta
    assert published["share"] - 4 * published["share_se"] > delta
    # pi/2 - E cos^2 = pi/2 - 1/d; 40 sketches of 8192 pairs, whose squares vary by sqrt(2): 1 % if a tenth of the pairs were independent
    for found in (trial, published):
        assert found["variance"] == pytest.approx(math.pi / 2 - 1 / dim, rel=0.04)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ((), 2),
        (("--eps", "0.1"), 2),
        (("--eps", "0.1", "--delta", "2"), 2),
        (("--eps", "0.1", "--delta", "0.1", "--budget", "2.7"), 2),
        (("--budget", "2.7"), 2),
        (("--budget", "lots", "-m", "m.gguf"), 2),
        (("--budget", "1e300GB", "-m", "m.gguf"), 2),
        (("--budget", "1e-9MB", "-m", "m.gguf"), 2),
        (("--budget", "1e300", "-m", "m.gguf"), 2),
        (("--budget", "2.7", "-m", "m.gguf", "--compare", "zip"), 2),
        (("--budget", "2.7", "-m", "no_such_model.gguf", "-f", __file__), 1),
    ],
)
def test_wrong_words(qjl: Program, words: tuple[str, ...], code: int) -> None:
    result = qjl("plan", *words)
    assert (result.returncode, result.stdout) == (code, ""), result.stderr
    assert result.stderr.startswith("qjl: ")


def write_costs(path: Path, fingerprint: str, layers: int) -> None:
    """Layer 3's keys matter a hundred times as much as all others."""
    base = {"s1": 5.0, "s2": 1.0, "t2w": 0.8, "l8": 0.25, "t3": 0.2, "l16": 0.06}
    value = {"s1": 5.0, "l4": 1.0, "t2": 0.8, "l8": 0.25, "l16": 0.06}
    rows = []
    for layer in range(layers):
        weight = 1e-2 if layer == 3 else 1e-4
        rows.append(
            {
                "key_single": weight,
                "value_single": 1e-5,
                "keys": {code: weight * x for code, x in base.items()},
                "values": {code: 1e-5 * x for code, x in value.items()},
            }
        )
    costs = {"format": "qjl plan costs", "version": 1, "model": "m", "fingerprint": fingerprint, "context": 1, "positions": 1}
    path.write_text(json.dumps({**costs, "texts": ["made up"], "joint": 1.0, "layers": rows}))


def test_a_plan_is_a_cache_type(qjl: Program, model: Path, long_text: Path, tmp_path: Path) -> None:
    costs, plan = tmp_path / "costs.json", tmp_path / "plan.json"
    write_costs(costs, "0" * 16, 30)
    refused = qjl("plan", "-m", model, "--budget", 2.4, "--costs", costs)
    assert refused.returncode == 2
    assert "another model" in refused.stderr
    # The program tells a model's fingerprint in the plan that it writes: measure nothing, take it from an info of our own.
    first = qjl("plan", "-m", model, "--budget", 2.4, "-f", long_text, "--text-context", 130, "--positions", 2, "--plan", plan)
    assert first.returncode == 0, first.stderr
    write_costs(costs, json.loads(plan.read_text())["model"]["fingerprint"], 30)
    made = qjl("plan", "-m", model, "--budget", 2.4, "--costs", costs, "--plan", plan, "--json")
    assert made.returncode == 0, made.stderr
    report = json.loads(made.stdout)
    found = json.loads(plan.read_text())
    assert report["plan"] == found
    assert found["layers"][3]["keys"] == "l16"
    host = {layer[side] for layer in found["layers"] for side in ("keys", "values")}
    assert "t2" in host and "l4" not in host, "the closer code of the same bits"
    words = ("plan", "-m", model, "--budget", 2.4, "--costs", costs, "--for-gpus", "--json")
    gpus = {code for layer in json.loads(qjl(*words).stdout)["plan"]["layers"] for code in layer.values()}
    assert gpus <= {"s1", "s2", "l4", "l8", "l16"}
    assert found["bits_sealed"] <= found["budget_bits"] == 2.4
    assert found["bits_sealed"] > 2.4 - 0.02, "one step of one layer is .5 / 30 bits"
    report = json.loads(qjl("eval", "-m", model, "-f", long_text, "-c", 300, "--prompt", 256, "--cache", plan, "--json").stdout)
    assert report["results"][0]["bits_sealed"] == pytest.approx(found["bits_sealed"], abs=1e-9)
    told = json.loads(qjl("run", "-m", model, "-p", "One two three", "-n", 4, "--cache", plan, "--json").stdout)
    assert told["cache"] == "plan"
    assert told["bits_sealed"] == pytest.approx(found["bits_sealed"], abs=1e-9)


def test_texts_to_check_on_are_read_once_and_before_measuring(qjl: Program, tmp_path: Path) -> None:
    tiny = write_tiny_model(tmp_path / "tiny.gguf")
    text, short, costs = tmp_path / "text", tmp_path / "short", tmp_path / "costs"
    text.write_text("abcdefgh" * 100)
    short.write_text("abcdefgh")
    words = ("plan", "-m", tiny, "--budget", 2.4, "-f", text, "--text-context", 130, "--positions", 2, "--costs", costs)
    words += ("--check-context", 300, "--check-positions", 10, "--compare", "k3v2")
    refused = qjl(*words, "--check", short)
    assert refused.returncode == 1
    assert "--check-context" in refused.stderr
    assert not costs.exists()
    checked = qjl(*words, "--check", "/dev/stdin", "--json", stdin=text.read_text())
    assert checked.returncode == 0, checked.stderr
    assert {check["cache"] for check in json.loads(checked.stdout)["checks"]} == {"k3v2", "plan"}
