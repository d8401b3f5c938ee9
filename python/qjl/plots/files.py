"""Reads the files that pictures are made of: brings each to rows with a `kind`, and says what is wrong with one.

kind         file
eval         qjl eval --json: {"context": 4096, "results": [{"cache", "bits", "kld_by_page", ...}]}; the text is the file's name
rate ...     qjl study rate: a line {"cache", "context", "text", "kld_by_page", ...} each; the other studies are known by name
their own    ./dev bench and bench-peers: a line {"kind", ...} each
quick        ./dev bench --quick: {"ratios": {...}, "rows": [{"name", "ns_best", ...}]}
score        LongBench's eval.py: {DATASET: 66.5}, or {DATASET: {"0-4k": 66.5, ...}}; the folder's name says whose they are
             lm-eval: {"results": {TASK: {"acc,none": 0.5, ...}}, "higher_is_better": {TASK: {"acc": true}}, "config": {...}}
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from qjl.errors import BadFile, FileError, InvalidArgument
from qjl.plots.results import Row, shown_name

Fields = Mapping[str, type]

# By which field rows without a kind are known; the first that is there counts.
KINDS = {"side": "sensitivity", "kld_by_page": "rate", "right": "retrieval", "key_error": "distortion", "pred": "answers"}


def read(path: Path) -> list[Row]:
    """The rows of a file, each with its kind. Errors: FileError; BadFile."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise FileError(f"[plots] found no file `{path}` that can be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise BadFile(f"[plots] `{path}` is no text: {error}") from error
    found = _parsed(text, path)
    if isinstance(found, list):
        return [_row(row, path) for row in found]
    if not isinstance(found, dict):
        raise BadFile(f"[plots] `{path}` holds a {type(found).__name__}, wanted an object, or one a line")
    if isinstance(found.get("results"), list):
        check(found, {"context": int}, path)
        common = {"kind": "eval", "context": found["context"], "text": path.stem}
        return [_row(row, path) | common for row in found["results"]]
    if isinstance(found.get("results"), dict):
        return list(_lm_eval(found, path))
    if isinstance(found.get("rows"), list):
        return [_row(row, path) | {"kind": "quick"} for row in found["rows"]]
    return [_row(found, path)] if "cache" in found or "kind" in found else list(_scores(found, path))


def _parsed(text: str, path: Path) -> Any:
    """One value, or a list of those of the lines."""
    try:
        return json.loads(text)
    except RecursionError as error:
        raise BadFile(f"[plots] `{path}` is no JSON: it is nested too deeply") from error
    except json.JSONDecodeError as error:
        if error.msg != "Extra data":
            raise BadFile(f"[plots] {path}:{error.lineno} is no JSON: {error.msg}") from error
    rows = []
    for number, line in enumerate(text.split("\n"), 1):
        try:
            rows += [json.loads(line)] if line.strip() else []
        except (json.JSONDecodeError, RecursionError) as error:
            raise BadFile(f"[plots] {path}:{number} is no JSON: {error}") from error
    return rows


def _row(row: Any, path: Path) -> Row:
    """With a plan under its short name, and with a kind."""
    if not isinstance(row, dict):
        raise BadFile(f"[plots] `{path}` holds a {type(row).__name__}, wanted an object for each case")
    if isinstance(row.get("cache"), str):
        row = row | {"cache": shown_name(row["cache"])}
    return {"kind": next((kind for field, kind in KINDS.items() if field in row), "unknown")} | row


def _scores(found: Mapping[str, Any], path: Path) -> Iterator[Row]:
    """LongBench's, of the answers in one folder."""
    for task, score in found.items():
        for length, number in score.items() if isinstance(score, dict) else (("", score),):
            yield {"kind": "score", "series": path.resolve().parent.name, "task": task, "length": length, "score": number}


def _lm_eval(found: Mapping[str, Any], path: Path) -> Iterator[Row]:
    """Of every task the first metric that grows with quality."""
    config, better = found.get("config"), found.get("higher_is_better")
    if not isinstance(config, dict) or not isinstance(better, dict):
        raise BadFile(f"[plots] `{path}` has no `config` and `higher_is_better`, wanted results of lm-eval")
    series = _lm_eval_series(config)
    for task, metrics in found["results"].items():
        for key, number in metrics.items():
            metric = key.partition(",")[0]
            if better.get(task, {}).get(metric) is True:
                share = isinstance(number, float) and number <= 1
                yield {
                    "kind": "score",
                    "series": series,
                    "task": f"{task}\n{metric}",
                    "length": "",
                    "score": 100 * number if share else number,
                }
                break


def _lm_eval_series(config: Mapping[str, Any]) -> str:
    """The model and its cache type; of another model than ours what lm-eval calls it."""
    arguments = config.get("model_args") or {}
    if isinstance(arguments, str):
        arguments = dict(part.partition("=")[::2] for part in arguments.split(","))
    cache = arguments.get("plan") or arguments.get("cache", "k3v2") if config.get("model") == "qjl" else config.get("model")
    return f"{Path(str(arguments.get('pretrained', ''))).name} {shown_name(str(cache))}".strip()


def chosen(path: Path, fields: Mapping[str, Fields], wanted: str) -> list[Row]:
    """The rows of a file whose kinds `fields` names. Errors: those of read; BadFile when there are none, or a field is wrong."""
    rows = read(path)
    found = [row for row in rows if row["kind"] in fields]
    if not found:
        kinds = ", ".join(sorted({str(row["kind"]) for row in rows})) or "none"
        raise BadFile(f"[plots] `{path}` holds rows of kind {kinds}, wanted {wanted}")
    for row in found:
        check(row, fields[row["kind"]], path)
    return found


def check_once(rows: list[Row], fields: Mapping[str, Fields]) -> None:
    """Words and whole numbers name a case. Errors: InvalidArgument when two rows are of one case."""
    seen = set()
    for row in rows:
        case = {name: row[name] for name, kind in fields[row["kind"]].items() if kind in (str, int)}
        if (key := (row["kind"], *case.values())) in seen:
            words = ", ".join(f"{name} {value}" for name, value in case.items())
            raise InvalidArgument(f"[plots] found two rows of kind {row['kind']} with {words}, wanted one")
        seen.add(key)


def check(row: Row, fields: Fields, path: Path) -> None:
    """Errors: BadFile when a field is absent, of another type, or no finite number."""
    for name, kind in fields.items():
        if name not in row:
            raise BadFile(f"[plots] `{path}` has no `{name}` in a row of kind {row.get('kind', 'eval')}, wanted one")
        if not _is(row[name], kind):
            raise BadFile(f"[plots] `{name}` in `{path}` is {row[name]!r}, wanted a {kind.__name__}")


def _is(value: Any, kind: type) -> bool:
    if kind is list:
        return isinstance(value, list) and bool(value) and all(_is(number, float) for number in value)
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return type(value) is kind
