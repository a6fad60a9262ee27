"""Runs the sections of the benchmark and writes its report."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from btp.benchmark import growth, metrics, prepare, score, speed, start, train
from btp.benchmark.measure import machine
from btp.benchmark.settings import SECTIONS, Settings
from btp.benchmark.table import Row, as_dict, growth_of, heading, table_of
from btp.runtime.files import write_text

ROWS: Mapping[str, Callable[[Settings], Iterator[Row]]] = {
    "train": train.rows,
    "score": score.rows,
    "metrics": metrics.rows,
    "prepare": prepare.rows,
    "start": start.rows,
    "throughput": speed.throughput,
    "latency": speed.latency,
}


def run(settings: Settings, out: Path, tell: Callable[[str], None] = print) -> list[Row]:
    """Measure, and write `out`.md and `out`.json as far as each section has come.

    Args:
        settings: what to measure and how large.
        out: path without an ending.
        tell: gets the machine, and each section's table as soon as it is measured.

    Returns:
        The rows; one whose results differ has no ratio and its `equal` is False.

    Raises:
        BTPError: if something cannot be measured or written.
    """
    about = machine(settings.device)
    content: dict[str, Any] = {"machine": about, "settings": _plain(settings)}
    content |= {"rows": [], "growth": []}
    measured: list[Row] = []
    parts = [heading(about)]
    tell(parts[0])
    for name in SECTIONS:
        if name not in (settings.only or SECTIONS):
            continue
        if name in ROWS:
            rows = list(ROWS[name](settings))
            measured += rows
            content["rows"] += [as_dict(row) for row in rows]
            parts.append(f"\n{table_of(rows)}")
        else:
            tables = list(growth.tables(settings))
            content["growth"] += [asdict(table) for table in tables]
            parts.append("\n".join(f"\n{growth_of(table)}" for table in tables))
        tell(parts[-1])
        write_text(out.with_suffix(".md"), "\n".join(parts) + "\n")
        write_text(out.with_suffix(".json"), json.dumps(content, indent=1) + "\n")
    return measured


def _plain(settings: Settings) -> dict[str, Any]:
    """Return the settings as JSON-able values, the recipe flat as everywhere on disk."""
    return asdict(settings) | {"recipe": settings.recipe.flat()}
