"""All sections of the benchmark, and its report."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path

from btp.benchmark import growth, metrics, prepare, score, speed, start, train
from btp.benchmark.measure import machine
from btp.benchmark.settings import SECTIONS, Settings
from btp.benchmark.table import Growth, Row, as_dict, markdown
from btp.runtime.files import write_text

_ROWS: Mapping[str, Callable[[Settings], Iterator[Row]]] = {
    "train": train.rows,
    "score": score.rows,
    "metrics": metrics.rows,
    "prepare": prepare.rows,
    "start": start.rows,
    "throughput": speed.throughput,
    "latency": speed.latency,
}


def run(settings: Settings, out: Path, tell: Callable[[str], None] = print) -> list[Row]:
    """Measure, and write `out`.md and `out`.json.

    Args:
        settings: what to measure and how large.
        out: path without an ending.
        tell: gets the table.

    Returns:
        The rows; one whose results differ has no ratio and its `equal` is False.

    Raises:
        BTPError: if something cannot be measured or written.
    """
    wanted = settings.only or SECTIONS
    about = machine(settings.device)
    rows: list[Row] = []
    tables: list[Growth] = []
    for name in SECTIONS:
        if name in wanted and name in _ROWS:
            rows += _ROWS[name](settings)
        elif name in wanted:
            tables += growth.tables(settings)
    text = markdown(rows, tables, about)
    content = {
        "machine": about,
        "settings": asdict(settings),
        "rows": [as_dict(row) for row in rows],
        "growth": [asdict(table) for table in tables],
    }
    write_text(out.with_suffix(".md"), text)
    write_text(out.with_suffix(".json"), json.dumps(content, indent=1) + "\n")
    tell(text)
    return rows
