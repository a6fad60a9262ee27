"""Table 5's speed, from the record of the last benchmark: no run's record holds a time."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from btp.runtime.own_files import command_line

BENCHMARK = "benchmark.json"  # scripts/benchmark.py's record, in the folder of all runs
_MEASURE = command_line("benchmark", "only=growth")


@dataclass(frozen=True)
class Speed:
    """Clouds a second of one encoder with its heads.

    Attributes:
        by_points: number of points -> clouds a second; empty where it was not measured.
        note: on which machine, or why there is none.
    """

    by_points: Mapping[int, float] = field(default_factory=dict)
    note: str = f"clouds / s: not measured here; `{_MEASURE}` does it. The paper's: RTX 4090."


def read_speed(outputs: Path, encoder: str) -> Speed:
    """Read an encoder's speed from the benchmark's record, if there is one.

    Args:
        outputs: folder of all runs, where scripts/benchmark.py writes its record.
        encoder: its name.
    """
    path = outputs / BENCHMARK
    if not path.is_file():
        return Speed()
    try:
        found = json.loads(path.read_text())
        by_points, machine = _growth(found, encoder), _machine(found["machine"])
    except (ValueError, KeyError, TypeError, OSError) as error:
        note = (
            f"clouds / s: {path} is not a benchmark's record ({error!r}); `{_MEASURE}` makes one."
        )
        return Speed(note=note)
    if not by_points:
        return Speed()
    return Speed(
        by_points,
        f"clouds / s: encoder and heads, one cloud at a time, measured on {machine} by "
        f"`{_MEASURE}`. The paper's: RTX 4090.",
    )


def _growth(record: Mapping[str, Any], encoder: str) -> dict[int, float]:
    """The line of each number of points in the encoder's table of growth."""
    for table in record["growth"]:
        if table["title"].startswith(f"{encoder}: points"):
            columns = table["columns"]
            points, rate = columns.index("points"), columns.index("clouds/s")
            return {int(line[points]): float(line[rate]) for line in table["lines"]}
    return {}


def _machine(about: Mapping[str, Any]) -> str:
    return about["gpu"] or f"{about['processor']}, {about['threads']} threads"
