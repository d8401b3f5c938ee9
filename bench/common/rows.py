"""Rows of a report as JSON lines."""

from __future__ import annotations

import json
from pathlib import Path


class RowFile:
    """Writes the file anew; what was added so far is complete on the disk after flush()."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines: list[str] = []
        path.parent.mkdir(parents=True, exist_ok=True)

    def add(self, **row: object) -> None:
        self.lines.append(json.dumps(row))

    def flush(self) -> None:
        part = self.path.with_suffix(".part")
        part.write_text("\n".join(self.lines) + "\n")
        part.rename(self.path)


def read_rows(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
