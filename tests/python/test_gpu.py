"""tools/gpu.sh and bench/gpu/summary.py without a GPU: programs that pretend, tools that are missing, stages that hang."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

TESTS = ["cuda_device_test", "cuda_verbs_device_test"]


def suites(**verdicts: str) -> str:
    """A test program: what it lists, and what it does when one suite is asked for."""
    cases = " ".join(f"*{name}.*) {then};;" for name, then in verdicts.items())
    listed = "".join(f"All/{name}.\\n  Case/0  # GetParam() = 1\\n" for name in verdicts)
    return f"""case "$*" in *list_tests*) printf 'Running main() from gtest_main.cc\\n{listed}';; {cases} esac"""


PASSES = "echo '[  PASSED  ] 3 tests.'"
MACHINE = """echo '{"case": "machine", "device": "a pretended one", "copy_gb_per_s": 4000}'"""
SYSTEM = ("bash", "timeout", "tee", "grep", "sed", "tail", "head", "mkdir", "rm", "dirname", "sleep", "cat")


@pytest.fixture
def stand(tmp_path: Path):
    """run(tools={name: script}, seconds, **programs): the script among these programs, with no tool in the path but the named."""
    programs, results, tools = (tmp_path / name for name in ("programs", "results", "tools"))
    for folder in (programs, tools):
        folder.mkdir()
    for name in SYSTEM:
        found = next(Path(folder) / name for folder in ("/usr/bin", "/bin") if (Path(folder) / name).exists())
        (tools / name).symlink_to(found)

    def script(path: Path, text: str) -> None:
        path.write_text(f"#!/bin/bash\n{text}\n")
        path.chmod(0o755)

    for number, name in enumerate(TESTS):
        script(programs / name, suites(**{f"First{'ab'[number]}": PASSES, f"Second{'ab'[number]}": PASSES}))
    script(programs / "qjl_gpu_bench", MACHINE)

    def run(seconds: int = 60, **other: str) -> tuple[subprocess.CompletedProcess[str], dict[str, int], list[dict]]:
        for name, text in other.items():
            script((programs if name in (*TESTS, "qjl_gpu_bench") else tools) / name.replace("__", "-"), text)
        done = subprocess.run(
            ["/bin/bash", ROOT / "tools/gpu.sh", programs, results, str(seconds)],
            env={"PATH": str(tools)},
            capture_output=True,
            text=True,
            check=False,
            timeout=100,
        )
        rows = [json.loads(line) for line in (results / "gpu.jsonl").read_text().splitlines()]
        return done, {row["name"]: row["status"] for row in rows if row["case"] == "stage"}, rows

    return run


def test_a_bare_machine_is_enough(stand) -> None:
    done, stages, rows = stand()
    assert done.returncode == 0, done.stderr
    assert stages == {"machine": 0, "tests": 0, "benchmark": 0, "torch": 0}
    assert {"case": "torch", "absence": "no python3 with torch"} in rows
    for words in ("no compute-sanitizer here: racecheck not done", "no ncu here", "failed: none"):
        assert words in done.stderr


def test_every_tool_has_its_turn(stand) -> None:
    seen = "echo 'ERROR SUMMARY: 0 errors'"
    python = f"""case "$*" in *summary.py*) exec {sys.executable} "$@";; *torch_rival.py) echo '{{"case": "torch"}}';; esac"""
    done, stages, rows = stand(**{"compute-sanitizer": seen, "ncu": "echo attend_fragments_kernel", "python3": python})
    assert done.returncode == 0, done.stderr
    assert list(stages) == ["machine", "tests", "benchmark", "memcheck", "racecheck", "torch", "profile"]
    assert {"case": "torch"} in rows
    assert "target share of the copy" in done.stdout


def test_faults_are_named_and_stop_nothing(stand) -> None:
    done, stages, _ = stand(
        cuda_device_test=suites(Pages="echo '[  SKIPPED ] no device: none'", Good=PASSES),
        cuda_verbs_device_test=suites(Verbs="echo '[  FAILED  ] 1 test'; exit 1"),
        qjl_gpu_bench=f"""[[ ${{1:-}} == machine ]] && {MACHINE} || exit 3""",
        **{"compute-sanitizer": "echo 'ERROR SUMMARY: 2 errors'; exit 1"},
    )
    assert done.returncode == 1
    assert stages == {"machine": 0, "tests": 1, "benchmark": 3, "memcheck": 1, "racecheck": 1, "torch": 0}
    assert "failed: tests benchmark memcheck racecheck" in done.stderr
    for words in ("---- Pages: status 77", "---- Verbs: status 1", "Good [  PASSED"):
        assert words in done.stdout


def test_no_device_ends_it(stand) -> None:
    done, stages, _ = stand(qjl_gpu_bench="echo 'no device: none' >&2; exit 1")
    assert done.returncode == 1 and stages == {"machine": 1}


def test_time_is_kept(stand) -> None:
    """Tests that hang take what is left; what comes after has no time, and the script ends."""
    done, stages, _ = stand(seconds=6, cuda_device_test=suites(Slow="sleep 50"))
    assert done.returncode == 1
    assert stages == {"machine": 0, "tests": 124, "benchmark": 124, "torch": 124}


def attend_row(cache: str, us: float, **more: object) -> dict:
    return {"case": "attend", "cache": cache, "tokens": 131072, "batch": 1, "group": 4, "us": us, **more}


def test_summary_judges_against_the_fastest_exact_kernel(tmp_path: Path) -> None:
    ours = {"us_graph": 21.0, "share": 0.9, "bytes": 8e7, "encode_ns_per_pair": 1.0}
    rows = [
        attend_row("bf16", 140.0, share=0.9, bytes=5e8),
        attend_row("torch bf16", 120.0, kernel="flash"),
        attend_row("torch bf16", 0, why={"flash": "no memory"}) | {"batch": 8},
        attend_row("k3v2", 20.0, **ours),
    ]
    del rows[2]["us"]
    file = tmp_path / "gpu.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)) + '\n{"case": "att')
    done = subprocess.run([sys.executable, ROOT / "bench/gpu/summary.py", file], capture_output=True, text=True, check=True)
    assert "target 128k, batch 1, G = 4: us <= 28: 20 holds" in done.stdout
    assert "target 128k, batch 1, G = 4: vs bf16 >= 4.5: 6 holds" in done.stdout
    assert "target 4k, batch 1, as a graph: us <= 10: not measured" in done.stdout


def test_the_command_says_what_is_missing() -> None:
    if any(Path("/dev").glob("nvidia[0-9]*")):
        pytest.skip("a device is here")
    done = subprocess.run([ROOT / "dev", "gpu"], capture_output=True, text=True, check=False, env={**os.environ})
    assert done.returncode == 1
    assert "found no NVIDIA device" in done.stderr
