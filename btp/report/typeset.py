"""Tables written as Markdown, CSV, LaTeX (booktabs) and HTML."""

from __future__ import annotations

import csv
import html
import io
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from urllib.parse import quote

from btp.report.tables import MEAN, Cell, Row, Table

NOTHING = "–"


def shown(cell: Cell | None, kind: str = "ours", plus_minus: str = " ± ") -> str:
    """Write a cell: one decimal, the deviation if there is one, a sign for differences."""
    if cell is None or math.isnan(cell.mean):
        return NOTHING
    mean = f"{cell.mean:+.1f}" if kind == "difference" else f"{cell.mean:.1f}"
    return mean if math.isnan(cell.std) else f"{mean}{plus_minus}{cell.std:.1f}"


def markdown(table: Table) -> str:
    """Write a table as Markdown: a heading, the table, its notes."""
    lines = [
        f"### {table.title}",
        "",
        f"| {table.corner} | {' | '.join(table.columns.values())} |",
        f"|---|{'--:|' * len(table.columns)}",
    ]
    for row in table.rows:
        cells = (shown(row.cells.get(column), row.kind) for column in table.columns)
        title = f"**{row.title}**" if _stands_out(row) else row.title
        lines.append(f"| {title} | {' | '.join(cells)} |")
    notes = [f"- {note}" for note in table.notes]
    return "\n".join([*lines, "", *notes, *([""] if notes else [])])


def to_csv(tables: Iterable[tuple[str, Table]]) -> str:
    """Write tables as CSV, one cell a line: percent, six digits, how many results are behind it."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["recipe", "table", "row", "kind", "column", "mean", "std", "results"])
    for recipe, table in tables:
        for row in table.rows:
            for column in table.columns:
                cell = row.cells.get(column)
                if cell is not None and not math.isnan(cell.mean):
                    std = "" if math.isnan(cell.std) else f"{cell.std:.6f}"
                    values = [f"{cell.mean:.6f}", std, len(cell.records) or ""]
                    writer.writerow([recipe, table.name, row.name, row.kind, column, *values])
    return text.getvalue()


def latex(table: Table) -> str:
    """Write a table as a LaTeX `table*`; needs booktabs and nothing else."""
    rows = []
    for previous, row in zip([None, *table.rows], table.rows, strict=False):
        if previous is not None and previous.kind == "quoted" != row.kind:
            rows.append(r"\midrule")
        cells = (_latex_cell(row.cells.get(column), row.kind) for column in table.columns)
        rows.append(f"{_escaped(row.title)} & {' & '.join(cells)} \\\\")
    heads = " & ".join(_escaped(title) for title in [table.corner, *table.columns.values()])
    notes = " ".join(_escaped(note) for note in table.notes)
    return "\n".join(
        [
            r"\begin{table*}",
            r"\centering\small",
            f"\\caption{{{_escaped(table.title)}. {notes}}}",
            f"\\label{{tab:{table.name}}}",
            f"\\begin{{tabular}}{{l{'r' * len(table.columns)}}}",
            r"\toprule",
            f"{heads} \\\\",
            r"\midrule",
            *rows,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table*}",
            "",
        ]
    )


def to_html(table: Table) -> str:
    """Write a table as an HTML section; hovering over a cell shows how many results it has."""
    escape = html.escape
    heads = "".join(f"<th>{escape(title)}</th>" for title in table.columns.values())
    lines = [
        f'<section id="table-{escape(table.name)}">',
        f"<h3>{escape(table.title)}</h3>",
        '<div class="wide"><table>',
        f"<thead><tr><th>{escape(table.corner)}</th>{heads}</tr></thead>",
        "<tbody>",
    ]
    for row in table.rows:
        cells = "".join(_html_cell(row.cells.get(column), row.kind) for column in table.columns)
        lines.append(f'<tr class="{row.kind}"><th>{escape(row.title)}</th>{cells}</tr>')
    lines += ["</tbody></table></div>", "<ul>"]
    lines += [f"<li>{escape(note)}</li>" for note in table.notes]
    return "\n".join([*lines, "</ul>", "</section>"])


def page(title: str, sections: Sequence[str], remarks: Sequence[str] = ()) -> str:
    """Write a whole HTML page; only pictures, where there are some, lie beside it."""
    named = html.escape(title)
    listed = "".join(f"<li>{html.escape(remark)}</li>" for remark in remarks)
    body = "\n".join(sections)
    return (
        f'<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<title>{named}</title>\n'
        f'<meta name="viewport" content="width=device-width">\n<style>{_STYLE}</style>\n'
        f"<h1>{named}</h1>\n<ul>{listed}</ul>\n{body}\n</html>\n"
    )


def pictures_html(folder: Path, recipe: str) -> str:
    """Link what `btp.report.gallery` drew for a recipe beside the page; "" if nothing was drawn."""
    own = folder / recipe
    parts = []
    if (own / "viewer.html").is_file():
        target = quote(f"{recipe}/viewer.html")
        parts.append(
            f'<p><a href="{target}">The best and the worst scan of each category, in 3D</a></p>'
        )
    for path in sorted(own.glob("*.png")):
        name = html.escape(path.stem.replace("_", " "))
        parts.append(f'<p><img src="{quote(f"{recipe}/{path.name}")}" alt="{name}"></p>')
    return "\n".join(parts)


_STYLE = """
:root { color-scheme: light dark; font: 15px/1.45 system-ui, sans-serif }
body { max-width: 80rem; margin: 2rem auto; padding: 0 1rem }
.wide { overflow-x: auto }
table { border-collapse: collapse; border-block: 2px solid; font-variant-numeric: tabular-nums }
thead th { border-bottom: 1px solid }
th, td { padding: .15rem .6rem; text-align: right; white-space: nowrap }
th:first-child { text-align: left; font-weight: normal }
tr.ours th, tr.ours td { font-weight: 600 }
tr.quoted, tr.paper, tr.difference { opacity: .75 }
tr.difference { border-bottom: 1px solid #8886 }
ul { font-size: .9em }
img { max-width: 100% }
"""


def _stands_out(row: Row) -> bool:
    return row.name in ("ours", MEAN)


def _html_cell(cell: Cell | None, kind: str) -> str:
    behind = f' title="{len(cell.records)} results"' if cell is not None and cell.records else ""
    return f"<td{behind}>{shown(cell, kind)}</td>"


def _latex_cell(cell: Cell | None, kind: str) -> str:
    text = shown(cell, kind, plus_minus=r"\,\pm\,")
    return "--" if text == NOTHING else f"${text}$"


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
