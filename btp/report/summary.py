"""From results to a report: tables printed, and as files for people, papers and programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from btp.errors import ConfigError, DataError
from btp.report.page import html_page
from btp.report.placed import pictures_of
from btp.report.provenance import explain
from btp.report.sections import Section
from btp.report.typeset import (
    Footnotes,
    latex,
    latex_notes,
    markdown,
    markdown_notes,
    to_csv,
)
from btp.runtime.files import write_text


def printed(sections: Sequence[Section], numbers: Sequence[str]) -> str:
    """Write tables, their footnotes and what they lack as text for a terminal.

    Args:
        sections: one a recipe.
        numbers: of the tables that are wanted, "all" for every metric.
    """
    footnotes = Footnotes()
    lines = []
    for part in sections:
        lines += [markdown(t, footnotes) for t in part.tables if t.number in numbers]
    gaps = [gap for part in sections for gap in part.gaps]
    return "\n".join([*lines, markdown_notes(footnotes), *gaps]).strip()


def write_report(folder: Path, sections: Sequence[Section], left_out: Sequence[str]) -> list[Path]:
    """Write a dataset's report.

    Args:
        folder: gets tables.md, .csv and .tex, index.html and results.jsonl.
        sections: one a recipe.
        left_out: runs that no table uses, and why.

    Returns:
        The paths written.
    """
    remarks = [gap for part in sections for gap in part.gaps]
    remarks += [f"left out: {remark}" for remark in left_out]
    named = [(p.evidence.recipe.name, table) for p in sections for table in p.tables]
    records = [record for part in sections for record in part.evidence.records]
    files = {
        "tables.md": _whole_markdown(folder, sections, remarks),
        "tables.csv": to_csv(named),
        "tables.tex": _whole_latex(folder, sections),
        "index.html": html_page(folder, sections, remarks),
        "results.jsonl": "".join(json.dumps(record.as_dict()) + "\n" for record in records),
    }
    for name, content in files.items():
        write_text(folder / name, content)
    return [folder / name for name in files]


def _whole_markdown(folder: Path, sections: Sequence[Section], remarks: Sequence[str]) -> str:
    footnotes = Footnotes()
    text = []
    for part in sections:
        text.append(f"## {part.title}\n")
        for table in part.tables:
            text.append(markdown(table, footnotes))
            for drawn in pictures_of(folder, part.evidence.recipe.name, table):
                text.append(f"![{drawn.caption}](<{drawn.path}>)\n")
    text += [markdown_notes(footnotes), *(f"- {remark}" for remark in remarks)]
    return "\n".join(text) + "\n"


def _whole_latex(folder: Path, sections: Sequence[Section]) -> str:
    footnotes = Footnotes()
    text = ["% needs \\usepackage{booktabs,graphicx}"]
    for part in sections:
        text.append(f"% {part.title}\n")
        for table in part.tables:
            text.append(latex(table, footnotes))
            for drawn in pictures_of(folder, part.evidence.recipe.name, table):
                text.append(
                    f"\\includegraphics[width=\\textwidth]{{\\detokenize{{{drawn.path}}}}}\n"
                )
    return "\n".join([*text, latex_notes(footnotes)])


def explain_in(sections: Sequence[Section], request: str) -> str:
    """Say how a cell came about, in each recipe that has it.

    Raises:
        ConfigError: if none has.
    """
    texts, errors = [], []
    for part in sections:
        try:
            texts.append(explain(part.tables, request))
        except ConfigError as error:
            errors.append(error)
    if not texts:
        raise errors[0] if errors else DataError("explain: there are no results yet")
    return "\n".join(texts)
