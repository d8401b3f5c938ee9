"""python -m scenario MODULE:FUNCTION ANSWER.json: calls it and keeps what it returns. The guard lets vLLM start its processes."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path


def main() -> None:
    module, function = sys.argv[1].split(":")
    found = getattr(importlib.import_module(f"scenarios_{module}"), function)()
    Path(sys.argv[2]).write_text(json.dumps(found))


if __name__ == "__main__":
    main()
