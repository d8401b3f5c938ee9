"""Rows of a long measurement, appended as they come: a run that was cut goes on behind its last row."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path


class RowLog:
    """Rows of other machines stay in the file and are not seen here; those of parts that are measured again are forgotten."""

    def __init__(self, path: Path, machine: str, again: set[str]) -> None:
        self.path, self.machine = path, machine
        rows: list[dict] = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        self.rows = [row for row in rows if row["machine"] == machine]
        self.others = [row for row in rows if row["machine"] != machine]
        path.parent.mkdir(parents=True, exist_ok=True)
        self.keep(lambda row: row["part"] not in again)

    def keep(self, holds: Callable[[dict], bool]) -> None:
        self.rows = [row for row in self.rows if holds(row)]
        part = self.path.with_suffix(".part")
        part.write_text("".join(json.dumps(row) + "\n" for row in self.of_all_machines()))
        part.rename(self.path)

    def of_all_machines(self) -> list[dict]:
        return [*self.others, *self.rows]

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
