"""Scores of models and caches on tasks, in per cent: a panel for each range of lengths, a group of bars for each task.

Rows are (series, task, length, score): of LongBench as its eval.py scores it, the series a folder of answers and the length "0-4k"
and so on for LongBench-E; or of lm-eval, the series a model with its cache type.
"""

from __future__ import annotations

from typing import Any

from . import look
from .results import Row, one, select, unique

FIELDS = {"series": str, "task": str, "length": str, "score": float}
WANTED = "result.json of LongBench's eval.py or results of lm-eval"


def draw(rows: list[Row]) -> Any:
    panels = unique(rows, "length")
    if not panels:
        return None
    series, tasks = unique(rows, "series"), unique(rows, "task")
    width = max(4.0, 1.2 + 0.18 * (len(series) + 1) * len(tasks))
    figure, axes = look.start_picture(rows=len(panels), width=width, height=3.4 * len(panels))
    for (axis,), length in zip(axes, panels, strict=True):
        here = select(rows, length=length)
        found = {each: [one(here, series=each, task=task) for task in tasks] for each in series}
        look.bars(axis, {each: [row["score"] if row else 0.0 for row in of_series] for each, of_series in found.items()}, tasks)
        axis.set_ylim(0, 100)
        axis.set_ylabel("score, %")
        axis.set_title(f"{length} words" if length else "")
    look.legend_beside(axes[0][0])
    return figure


DRAWINGS = (({"score": FIELDS}, draw),)
