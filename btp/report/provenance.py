"""How a cell of a table came about: its runs, their weights and settings, and how to repeat it."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Sequence

from btp.errors import ConfigError
from btp.experiments.record import RunRecord
from btp.report.tables import DEVIATIONS, Cell, Row, Table
from btp.report.typeset import shown

KEYS = ("table", "row", "col")


def parse(request: str) -> dict[str, str]:
    """Read which cell is meant by "table=2 row=gemstone col=duck".

    Raises:
        ConfigError: if it is not of that form.
    """
    found = dict(re.findall(r"(\w+)=(\S+)", request))
    if set(found) != set(KEYS) or re.sub(r"\w+=\S+", "", request).strip():
        raise ConfigError(
            f"explain is {request!r}; expected explain='table=2 row=gemstone col=duck', with the "
            "names as in the CSV file of the report"
        )
    return found


def explain(tables: Iterable[Table], request: str) -> str:
    """Say which runs, weights, settings and commands a cell comes from.

    Args:
        tables: that were built.
        request: of `parse`. A table of several parts, as Table 1, is explained part by part.

    Raises:
        ConfigError: if there is no such table, row or column among these.
    """
    wanted = parse(request)
    named = {table.name: table for table in tables}
    chosen = [t for t in named.values() if wanted["table"] in (t.number, t.name)]
    if not chosen:
        known = ", ".join(dict.fromkeys(table.number for table in named.values())) or "none yet"
        raise ConfigError(f"explain: no table {wanted['table']} here; there are: {known}")
    rows = {row.name: (table, row) for table in reversed(chosen) for row in table.rows}
    _require("row", wanted["row"], rows)
    _require("col", wanted["col"], chosen[0].columns)
    parts = [
        _of_cell(table, row, wanted["col"])
        for table in chosen
        for row in table.rows
        if row.name == wanted["row"] and wanted["col"] in row.cells
    ]
    if not parts:
        raise ConfigError(f"explain: row {wanted['row']} has nothing in column {wanted['col']}")
    return "\n".join(parts)


def _require(what: str, name: str, known: Iterable[str]) -> None:
    names = list(known)
    if name not in names:
        close = difflib.get_close_matches(name, names, n=1)
        hint = f". Did you mean {close[0]}?" if close else ""
        raise ConfigError(f"explain: no {what} {name!r}; expected one of {', '.join(names)}{hint}")


def _of_cell(table: Table, row: Row, column: str) -> str:
    cell = row.cells[column]
    lines = [
        f"{table.title}",
        f"  row {row.name}, column {column}: {shown(cell, row.kind)}",
    ]
    if not cell.records:
        return "\n".join([*lines, f"  {_without_records(row, column)}", ""])
    what = f"deviation ({DEVIATIONS[column]})" if column in DEVIATIONS else "mean"
    lines.append(f"  {what} of {len(cell.records)} results ({_how(cell)}):")
    for record in cell.records:
        first, *more = _of_record(record, cell)
        lines += [f"  - {first}", *(f"    {line}" for line in more)]
    lines += ["  config:", *_config(cell.records)]
    return "\n".join([*lines, "  again, from nothing:", *_commands(cell.records), ""])


def _without_records(row: Row, column: str) -> str:
    if column == "clouds_per_second" and row.kind == "ours":
        return "from the benchmark's record; its footnote names the machine"
    if row.kind == "difference":
        return "the line above it but one, less the line above it"
    return "copied from the paper; nothing was run"


def _how(cell: Cell) -> str:
    return f"{cell.metric}; over training categories, then test categories, then seeds"


def _of_record(record: RunRecord, cell: Cell) -> list[str]:
    trained = "not trained" if record.train_cat is None else f"trained on {record.train_cat}"
    value = ""
    if cell.category is not None and cell.category in record.categories:
        value = f": {100 * record.categories[cell.category][cell.metric]:.6f}"
    elif cell.category is None and cell.metric in record.mean:
        value = f", mean of its categories: {100 * record.mean[cell.metric]:.6f}"
    return [
        record.folder,
        f"{trained}, seed {record.seed}{value}",
        f"detector {record.detector or 'none: a baseline'}",
        f"encoder {record.encoder_fingerprint}, text tower {record.text_fingerprint}",
        f"scans {record.scans}; btp {record.btp}, torch {record.torch}, {record.device}",
    ]


def _config(records: Sequence[RunRecord]) -> list[str]:
    """Settings of all records; one line, as they agree in them."""
    configs = {
        json.dumps(
            {
                "recipe": record.as_dict()["recipe"],
                "n_points": record.n_points,
                "sampling_seed": record.sampling_seed,
                "thresholds": record.thresholds,
            },
            sort_keys=True,
        )
        for record in records
    }
    return [f"    {config}" for config in sorted(configs)]


def _commands(records: Sequence[RunRecord]) -> list[str]:
    commands = [record.command or f"({record.folder}: not recorded)" for record in records]
    return [f"    {command}" for command in dict.fromkeys(commands)]
