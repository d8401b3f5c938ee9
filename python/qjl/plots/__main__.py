"""python -m qjl.plots {rate,speed,memory,longbench} FILE... -o PICTURE"""

from __future__ import annotations

import argparse
import sys
from importlib.util import find_spec
from pathlib import Path

from qjl.errors import FileError, InvalidArgument, QjlError, Unsupported
from qjl.plots import files, longbench, memory, rate, speed
from qjl.plots.look import FORMS, save_picture

PICTURES = {"rate": rate, "speed": speed, "memory": memory, "longbench": longbench}


def picture(name: str, paths: list[Path], out: Path) -> int:
    """Draws the files to `out`; gives how many rows it read. Errors: BadFile, FileError, InvalidArgument, Unsupported."""
    module = PICTURES[name]
    if out.suffix not in FORMS:
        raise InvalidArgument(f"[plots] picture `{out}` ends in {out.suffix!r}, wanted one of {', '.join(FORMS)}")
    fields = {kind: of_kind for drawn, _ in module.DRAWINGS for kind, of_kind in drawn.items()}
    rows = [row for path in paths for row in files.chosen(path, fields, module.WANTED)]
    kinds = {row["kind"] for row in rows}
    fitting = [draw for drawn, draw in module.DRAWINGS if kinds & drawn.keys()]
    if len(fitting) > 1:
        raise InvalidArgument(f"[plots] the files hold rows of kinds {', '.join(sorted(kinds))}, wanted those of one picture")
    files.check_once(rows, fields)
    if find_spec("matplotlib") is None:
        raise Unsupported("[plots] matplotlib is absent, wanted it: pip install qjl[plots]")
    figure = fitting[0](rows)
    if figure is None:
        raise InvalidArgument(f"[plots] the rows have nothing to draw, wanted {module.WANTED}")
    try:
        save_picture(figure, out)
    except OSError as error:
        raise FileError(f"[plots] `{out}` cannot be written: {error.strerror}") from error
    return len(rows)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m qjl.plots", description="pictures of results")
    verbs = parser.add_subparsers(dest="name", required=True, metavar="{" + ",".join(PICTURES) + "}")
    for name, module in PICTURES.items():
        summary = (module.__doc__ or "").partition("\n")[0]
        verb = verbs.add_parser(name, help=module.WANTED, description=f"{summary} Files: {module.WANTED}.")
        verb.add_argument("files", nargs="+", type=Path, metavar="FILE")
        verb.add_argument("-o", "--out", type=Path, required=True, metavar="PICTURE", help=f"ends in {', '.join(FORMS)}")
    options = parser.parse_args(argv)
    try:
        count = picture(options.name, options.files, options.out)
    except QjlError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"wrote {options.out} from {count} rows")
    return 0


if __name__ == "__main__":
    sys.exit(main())
