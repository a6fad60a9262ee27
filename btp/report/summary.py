"""From results to a report: tables printed, and as files for people, papers and programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from btp.errors import ConfigError, DataError
from btp.report.provenance import explain
from btp.report.sections import Section
from btp.report.typeset import latex, markdown, page, pictures_html, to_csv, to_html
from btp.runtime.files import write_text


def printed(sections: Sequence[Section], numbers: Sequence[str]) -> str:
    """Write tables and what they lack as text for a terminal; a note that recurs is given once.

    Args:
        sections: one a recipe.
        numbers: of the tables that are wanted, "all" for every metric.
    """
    seen: set[str] = set()
    lines = []
    for part in sections:
        for table in part.tables:
            if table.number in numbers:
                new = [note for note in table.notes if note not in seen]
                seen |= set(new)
                lines.append(markdown(replace(table, notes=new)))
        lines += part.gaps
    return "\n".join(lines)


def write_report(folder: Path, sections: Sequence[Section], left_out: Sequence[str]) -> list[Path]:
    """Write a dataset's report.

    Args:
        folder: gets tables.md, .csv and .tex, index.html and results.jsonl.
        sections: one a recipe.
        left_out: runs that no table uses, and why.

    Returns:
        The paths written.
    """
    text, tex, html = [], [], []
    for part in sections:
        text.append(f"## {part.title}\n")
        tex.append(f"% {part.title}\n")
        html.append(f"<h2>{part.title}</h2>")
        for table in part.tables:
            text.append(markdown(table))
            tex.append(latex(table))
            html.append(to_html(table))
        html.append(pictures_html(folder, part.evidence.recipe.name))
    remarks = [gap for part in sections for gap in part.gaps]
    remarks += [f"left out: {remark}" for remark in left_out]
    text += [f"- {remark}" for remark in remarks]
    first = sections[0].evidence
    records = [record for part in sections for record in part.evidence.records]
    files = {
        "tables.md": "\n".join(text) + "\n",
        "tables.csv": to_csv(
            (p.evidence.recipe.name, table) for p in sections for table in p.tables
        ),
        "tables.tex": "% needs \\usepackage{booktabs}\n" + "\n".join(tex),
        "index.html": page(
            f"BTP on {first.dataset}, encoder {first.encoder}",
            html,
            [
                *(gap for part in sections for gap in part.gaps),
                *(f"left out: {x}" for x in left_out),
            ],
        ),
        "results.jsonl": "".join(json.dumps(record.as_dict()) + "\n" for record in records),
    }
    for name, content in files.items():
        write_text(folder / name, content)
    return [folder / name for name in files]


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
