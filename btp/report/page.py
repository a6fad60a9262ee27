"""The report as one HTML page: tables, the pictures beside them, and footnotes numbered once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from pathlib import Path
from urllib.parse import quote

from btp.report.placed import Placed, other_pictures, pictures_of, viewer_of
from btp.report.sections import Section
from btp.report.tables import DEVIATIONS, MEAN, Cell, Row, Table
from btp.report.typeset import Footnotes, blocks, shown


def html_page(folder: Path, sections: Sequence[Section], remarks: Sequence[str]) -> str:
    """Write a report as one page; only pictures and the viewer, if any, are files beside it.

    Args:
        folder: of the page, where pictures were drawn before.
        sections: one a recipe.
        remarks: what is missing or was left out.
    """
    first = sections[0].evidence
    title = escape(f"BTP on {first.dataset}, encoder {first.encoder}")
    footnotes = Footnotes()
    body = "\n".join(_section(folder, part, footnotes) for part in sections)
    listed = "".join(f"<li>{escape(remark)}</li>" for remark in remarks)
    missing = f'<section class="missing"><ul>{listed}</ul></section>\n' if remarks else ""
    notes = "".join(
        f'<li id="note-{number}">{escape(note)}</li>'
        for number, note in enumerate(footnotes.texts, start=1)
    )
    return (
        f'<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<title>{title}</title>\n'
        f'<meta name="viewport" content="width=device-width">\n<style>{_STYLE}</style>\n'
        f"<h1>{title}</h1>\n{_contents(sections)}\n{missing}{body}\n"
        f'<section class="notes"><h2>Notes</h2><ol>{notes}</ol></section>\n</html>\n'
    )


def to_html(table: Table, footnotes: Footnotes, anchor: str = "") -> str:
    """Write a table as an HTML section; hovering over a cell shows how many results it has."""
    marks = _marks(table.notes, footnotes)
    lines = [f'<section id="{escape(anchor)}">', f"<h3>{escape(table.title)}{marks}</h3>"]
    for columns in blocks(table):
        heads = "".join(f"<th>{escape(table.columns[column])}</th>" for column in columns)
        lines += ['<div class="wide"><table>']
        lines += [f"<thead><tr><th>{escape(table.corner)}</th>{heads}</tr></thead>"]
        for heading, rows in table.groups():
            lines.append("<tbody>")
            if heading:
                lines.append(
                    f'<tr class="group"><th colspan="{len(columns) + 1}">{heading}</th></tr>'
                )
            for row in rows:
                cells = "".join(_cell(table, row, column) for column in columns)
                name = f"{escape(row.title)}{_marks(row.notes, footnotes)}"
                lines.append(f'<tr class="{row.kind}"><th>{name}</th>{cells}</tr>')
            lines.append("</tbody>")
        lines.append("</table></div>")
    if table.remarks:
        remarks = "".join(f"<li>{escape(remark)}</li>" for remark in table.remarks)
        lines.append(f"<ul>{remarks}</ul>")
    return "\n".join([*lines, "</section>"])


def _contents(sections: Sequence[Section]) -> str:
    """Links to every table, a line a recipe."""
    lines = []
    for part in sections:
        links = " · ".join(
            f'<a href="#{escape(_anchor(part, table, at))}">{escape(_short(table))}</a>'
            for at, table in enumerate(part.tables)
        )
        lines.append(f"<li>recipe {escape(part.evidence.recipe.name)}: {links}</li>")
    return f"<nav><ul>{''.join(lines)}</ul></nav>"


def _short(table: Table) -> str:
    if table.number == "all":
        return f"every metric ({table.title.rpartition(', ')[2]})"
    return f"Table {table.number}" + (f", {table.part.replace('_', ' ')}" if table.part else "")


def _anchor(part: Section, table: Table, at: int) -> str:
    return quote(f"{part.evidence.recipe.name}-{table.name}-{at}")


def _section(folder: Path, part: Section, footnotes: Footnotes) -> str:
    recipe, tables = part.evidence.recipe.name, list(part.tables)
    lines = [f"<h2>{escape(part.title)}</h2>"]
    if viewer := viewer_of(folder, recipe):
        lines.append(f'<p><a href="{quote(viewer.path)}">{escape(viewer.caption)}</a></p>')
    for at, table in enumerate(tables):
        lines.append(to_html(table, footnotes, _anchor(part, table, at)))
        lines += [_figure(drawn) for drawn in pictures_of(folder, recipe, table)]
    lines += [_figure(drawn) for drawn in other_pictures(folder, part.evidence, tables)]
    return "\n".join(lines)


def _figure(drawn: Placed) -> str:
    source, caption = quote(drawn.path), escape(drawn.caption)
    image = f'<a href="{source}"><img src="{source}" alt="{caption}"></a>'
    return f"<figure>{image}<figcaption>{caption}</figcaption></figure>"


def _marks(notes: Sequence[str], footnotes: Footnotes) -> str:
    links = ", ".join(f'<a href="#note-{n}">{n}</a>' for n in footnotes.marks(notes))
    return f"<sup>{links}</sup>" if links else ""


def _cell(table: Table, row: Row, column: str) -> str:
    cell = row.cells.get(column) or Cell()
    text, _, std = shown(cell, row.kind, table.inline_std).partition(" ± ")
    text = f"<b>{text}</b>" if table.is_best(row, column) else text
    text += f" <small>± {std}</small>" if std else ""
    behind = f' title="{len(cell.records)} results"' if cell.records else ""
    return f"<td{behind}{_shade(table, cell, column)}>{text}</td>"


def _shade(table: Table, cell: Cell, column: str) -> str:
    """A heat map's colour of a cell, from its table's lowest value to its highest."""
    if not table.heat or column == MEAN or column in DEVIATIONS or math.isnan(cell.mean):
        return ""
    known = [
        other.mean
        for row in table.rows
        for name, other in row.cells.items()
        if name not in (MEAN, *DEVIATIONS) and not math.isnan(other.mean)
    ]
    share = (cell.mean - min(known)) / max(max(known) - min(known), 1e-9)
    return f' class="heat" style="--share: {round(60 * share)}%"'


_STYLE = """
:root { color-scheme: light; font: 14px/1.45 system-ui, sans-serif; color: #1a1a1a }
body { max-width: 83rem; margin: 1.5rem auto; padding: 0 1rem }
h2 { margin: 2.5rem 0 .5rem; border-bottom: 1px solid #ccc }
h3 { margin: 1.8rem 0 .4rem; font-size: 1.05rem }
sup { font-size: .7em; font-weight: normal }
a { color: #0b5394; text-decoration: none }
a:hover { text-decoration: underline }
nav ul { padding: 0; list-style: none }
.missing { padding: .1rem .5rem; background: #f6f3e8; overflow-wrap: anywhere }
.wide { overflow-x: auto; margin-bottom: .6rem }
table { border-collapse: collapse; border-block: 2px solid #1a1a1a }
table { font-size: .86rem; font-variant-numeric: tabular-nums }
thead th { border-bottom: 1px solid; vertical-align: bottom; font-weight: normal }
th, td { padding: .14rem .38rem; text-align: right }
td { white-space: nowrap }
th:first-child { text-align: left; font-weight: normal; white-space: nowrap }
td small { color: #555; font-size: .8em }
tr.ours { background: #eef4fa }
tr.difference { color: #555; border-bottom: 1px solid #ddd }
tbody + tbody { border-top: 1px solid }
tr.group th { font-style: italic; color: #555 }
td.heat { background: color-mix(in srgb, #0072b2 var(--share), #fff) }
ul, ol { font-size: .9em; padding-left: 1.6rem }
figure { margin: 1rem 0 1.5rem }
figcaption { font-size: .9em; color: #555 }
img { max-width: 100% }
"""
