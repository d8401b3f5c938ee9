"""Python imports this where its folder is in PYTHONPATH: the process of the name in QJL_HIDDEN_FROM finds no package qjl."""

import multiprocessing
import os
import sys


class Hidden:
    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> None:
        if name.partition(".")[0] == "qjl" and multiprocessing.current_process().name == os.environ["QJL_HIDDEN_FROM"]:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


sys.meta_path.insert(0, Hidden)
