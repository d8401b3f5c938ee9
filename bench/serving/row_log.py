"""Rows of a long measurement, appended as they come: a run that was cut goes on behind its last row."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path


class RowLog:
    """Rows of other machines, and of parts that are measured again, are left out."""

    def __init__(self, path: Path, machine: str, again: set[str]) -> None:
        self.path, self.machine = path, machine
        self.rows: list[dict] = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        path.parent.mkdir(parents=True, exist_ok=True)
        self.keep(lambda row: row["machine"] == machine and row["part"] not in again)

    def keep(self, holds: Callable[[dict], bool]) -> None:
        self.rows = [row for row in self.rows if holds(row)]
        part = self.path.with_suffix(".part")
        part.write_text("".join(json.dumps(row) + "\n" for row in self.rows))
        part.rename(self.path)

    def forget(self, part: str) -> None:
        self.keep(lambda row: row["part"] != part)

    def add(self, **row: object) -> None:
        self.rows.append({"machine": self.machine, **row})
        with self.path.open("a") as file:
            file.write(json.dumps(self.rows[-1]) + "\n")

    def of(self, **key: object) -> list[dict]:
        return [row for row in self.rows if all(row.get(name) == value for name, value in key.items())]

    def has(self, **key: object) -> bool:
        return bool(self.of(**key))
