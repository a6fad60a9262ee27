"""How a cell of a table came about: its runs, their weights and settings, and how to repeat it."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Sequence

from btp.errors import ConfigError
from btp.experiments.record import Result
from btp.report.tables import Cell, Row, Table
from btp.report.typeset import shown

KEYS = ("table", "row", "col")


def parse(request: str) -> dict[str, str]:
    """Read "table=2 row=gemstone col=duck".

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
    """All that is behind a cell.

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
    lines = [f"{table.title}", f"  row {row.name}, column {column}: {shown(cell, row.kind)}"]
    if not cell.results:
        return "\n".join([*lines, f"  {_without_results(row)}", ""])
    lines.append(f"  mean of {len(cell.results)} results ({_how(cell)}):")
    for result in cell.results:
        lines += [
            f"  - {line}" if not n else f"    {line}"
            for n, line in enumerate(_of_result(result, cell))
        ]
    lines += ["  config:", *_config(cell.results)]
    return "\n".join([*lines, "  again, from nothing:", *_commands(cell.results), ""])


def _without_results(row: Row) -> str:
    if row.kind == "difference":
        return "the line above it but one, less the line above it"
    return "copied from the paper; nothing was run"


def _how(cell: Cell) -> str:
    if cell.metric == "clouds_per_second":
        return "median"
    return f"{cell.metric}; over training categories, then test categories, then seeds"


def _of_result(result: Result, cell: Cell) -> list[str]:
    about = result.about
    trained = "not trained" if result.train_cat is None else f"trained on {result.train_cat}"
    value = ""
    if cell.category is not None and cell.category in result.categories:
        value = f": {100 * result.categories[cell.category][cell.metric]:.6f}"
    elif cell.category is None and cell.metric in about.get("mean", {}):
        value = f", mean of its categories: {100 * about['mean'][cell.metric]:.6f}"
    elif cell.metric == "clouds_per_second":
        value = f": {about.get('clouds_per_second', float('nan')):.2f}"
    return [
        f"{result.folder}",
        f"{trained}, seed {result.seed}{value}",
        f"detector {about.get('detector', 'none: a baseline')}",
        f"encoder {about['encoder_fingerprint']}, text tower {about['text_fingerprint']}",
        f"scans {about['scans']}; btp {about['btp']}, torch {about['torch']}, {about['device']}",
    ]


def _config(results: Sequence[Result]) -> list[str]:
    """Settings of all results; one line, as they agree in them."""
    configs = {
        json.dumps(
            {
                "recipe": result.about["recipe"],
                "n_points": result.n_points,
                "sampling_seed": result.about.get("sampling_seed"),
                "thresholds": result.about["thresholds"],
            },
            sort_keys=True,
        )
        for result in results
    }
    return [f"    {config}" for config in sorted(configs)]


def _commands(results: Sequence[Result]) -> list[str]:
    commands = [str(r.about.get("command", f"({r.folder}: not recorded)")) for r in results]
    return [f"    {command}" for command in dict.fromkeys(commands)]
