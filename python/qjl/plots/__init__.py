"""Pictures of what `qjl eval`, `qjl study`, `./dev bench`, lm-eval and LongBench have measured.

    python -m qjl.plots {rate,speed,memory,longbench} FILE... -o PICTURE

The pictures of docs/results are drawn by the same functions: `look` has their colours and axes, `rate`, `speed`, `memory` and
`longbench` take rows and give figures. Those modules know the rest of the package not at all, so tools/study and bench/report import
them from this folder, with no wheel built. `files` and the command line above know what a wrong file is.
"""
