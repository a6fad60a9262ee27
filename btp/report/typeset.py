"""Tables written as Markdown, CSV and LaTeX (booktabs), and what all formats share."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Sequence

from btp.report.tables import Cell, Row, Table

NOTHING = "–"
_WIDE = 8  # columns that a page of text takes unscaled
_WIDEST = 15  # columns that stand beside each other; more are folded into blocks


class Footnotes:
    """The footnotes of a whole report: each has one number, whatever number of tables it is of."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def marks(self, notes: Iterable[str]) -> list[int]:
        """Return the numbers of notes, ascending; new ones get the next."""
        return sorted(self._numbers.setdefault(note, len(self._numbers) + 1) for note in notes)

    @property
    def texts(self) -> list[str]:
        """All notes in the order of their numbers, from 1."""
        return list(self._numbers)


def shown(cell: Cell | None, kind: str = "ours", std: bool = True, plus_minus: str = " ± ") -> str:
    """Write a cell: one decimal, the deviation if there is one, a sign for differences.

    Args:
        cell: None for an empty one.
        kind: of its row.
        std: whether the deviation over seeds is wanted.
        plus_minus: between the two.
    """
    if cell is None or math.isnan(cell.mean):
        return NOTHING
    mean = f"{cell.mean:+.1f}" if kind == "difference" else f"{cell.mean:.1f}"
    return mean if not std or math.isnan(cell.std) else f"{mean}{plus_minus}{cell.std:.1f}"


def blocks(table: Table) -> list[list[str]]:
    """Fold a table's columns into blocks of like width that fit on a page, one below the other."""
    columns = list(table.columns)
    count = max(1, math.ceil(len(columns) / _WIDEST))
    width = math.ceil(len(columns) / count)
    return [columns[start : start + width] for start in range(0, len(columns), width)]


def markdown(table: Table, footnotes: Footnotes) -> str:
    """Write a table as Markdown: a heading, the table, its own remarks; `footnotes` collects notes.

    The best figure of each column is bold.
    """
    lines = [f"### {table.title}{_markdown_marks(table.notes, footnotes)}", ""]
    for columns in blocks(table):
        lines += [*_markdown_block(table, columns, footnotes), ""]
    remarks = [f"- {remark}" for remark in table.remarks]
    return "\n".join([*lines, *remarks, *([""] if remarks else [])])


def _markdown_block(table: Table, columns: Sequence[str], footnotes: Footnotes) -> list[str]:
    heads = " | ".join(table.columns[column] for column in columns)
    lines = [f"| {table.corner} | {heads} |", f"|---|{'--:|' * len(columns)}"]
    for heading, rows in table.groups():
        lines += [f"| *{heading}* |{' |' * len(columns)}"] if heading else []
        for row in rows:
            cells = " | ".join(_markdown_cell(table, row, column) for column in columns)
            lines.append(f"| {row.title}{_markdown_marks(row.notes, footnotes)} | {cells} |")
    return lines


def markdown_notes(footnotes: Footnotes) -> str:
    """Write the footnotes as a numbered list below a heading; "" if there are none."""
    lines = [f"{number}. {note}" for number, note in enumerate(footnotes.texts, start=1)]
    return "\n".join(["### Notes", "", *lines, ""]) if lines else ""


def to_csv(tables: Iterable[tuple[str, Table]]) -> str:
    """Write tables as CSV, one cell a line: percent, six digits, how many results are behind it."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    heads = ["recipe", "table", "row", "kind", "column", "mean"]
    writer.writerow([*heads, "std_over_seeds", "std_over_training_categories", "results"])
    for recipe, table in tables:
        for row in table.rows:
            for column in table.columns:
                cell = row.cells.get(column)
                if cell is not None and not math.isnan(cell.mean):
                    values = [cell.mean, cell.std, cell.spread]
                    digits = ["" if math.isnan(value) else f"{value:.6f}" for value in values]
                    where = [recipe, table.name, row.name, row.kind, column]
                    writer.writerow([*where, *digits, len(cell.records) or ""])
    return text.getvalue()


def latex(table: Table, footnotes: Footnotes) -> str:
    """Write a table as a LaTeX `table*`, wide ones scaled to the page; `footnotes` collects notes.

    Needs booktabs and graphicx. The best figure of each column is bold.
    """
    remarks = "".join(f" {_escaped(remark)}" for remark in table.remarks)
    lines = [
        r"\begin{table*}",
        r"\centering\small",
        f"\\caption{{{_escaped(table.title)}.{_latex_marks(table.notes, footnotes)}{remarks}}}",
        f"\\label{{tab:{table.name}}}",
    ]
    for columns in blocks(table):
        lines += _latex_block(table, columns, footnotes)
    return "\n".join([*lines, r"\end{table*}", ""])


def _latex_block(table: Table, columns: Sequence[str], footnotes: Footnotes) -> list[str]:
    lines: list[str] = []
    for heading, rows in table.groups():
        lines += [r"\midrule"] if lines else []
        if heading:
            lines.append(f"\\multicolumn{{{len(columns) + 1}}}{{l}}{{\\emph{{{heading}}}}} \\\\")
        for row in rows:
            cells = " & ".join(_latex_cell(table, row, column) for column in columns)
            name = f"{_escaped(row.title)}{_latex_marks(row.notes, footnotes)}"
            lines.append(f"{name} & {cells} \\\\")
    named = [table.columns[column] for column in columns]
    heads = " & ".join(_escaped(head) for head in (table.corner, *named))
    wide = len(columns) > _WIDE
    return [
        *([r"\resizebox{\textwidth}{!}{%"] if wide else []),
        f"\\begin{{tabular}}{{l{'r' * len(columns)}}}",
        r"\toprule",
        f"{heads} \\\\",
        r"\midrule",
        *lines,
        r"\bottomrule",
        r"\end{tabular}" + ("}" if wide else ""),
    ]


def latex_notes(footnotes: Footnotes) -> str:
    """Write the footnotes as an enumeration; "" if there are none."""
    items = [f"\\item {_escaped(note)}" for note in footnotes.texts]
    lines = [r"\begin{enumerate}\small", *items, r"\end{enumerate}", ""]
    return "\n".join(lines) if items else ""


def _markdown_cell(table: Table, row: Row, column: str) -> str:
    text = shown(row.cells.get(column), row.kind, table.inline_std)
    return f"**{text}**" if table.is_best(row, column) else text


def _markdown_marks(notes: Sequence[str], footnotes: Footnotes) -> str:
    numbers = footnotes.marks(notes)
    return f" [{', '.join(map(str, numbers))}]" if numbers else ""


def _latex_marks(notes: Sequence[str], footnotes: Footnotes) -> str:
    numbers = footnotes.marks(notes)
    return f"\\textsuperscript{{{','.join(map(str, numbers))}}}" if numbers else ""


def _latex_cell(table: Table, row: Row, column: str) -> str:
    cell = row.cells.get(column)
    text = shown(cell, row.kind, table.inline_std, plus_minus=r"\,\pm\,")
    if text == NOTHING:
        return "--"
    return f"$\\mathbf{{{text}}}$" if table.is_best(row, column) else f"${text}$"


def _escaped(text: str) -> str:
    """Text that LaTeX prints as it is."""
    named = {"\\": r"\textbackslash{}", "±": r"$\pm$", "−": "$-$", "↓": r"$\downarrow$"}
    named |= {
        "→": r"$\rightarrow$",
        "–": "--",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
    }
    named |= {sign: f"\\{sign}" for sign in "&%$#_{}"}
    return "".join(named.get(sign, sign) for sign in text)
