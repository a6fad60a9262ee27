"""What the paper's tables share: lines of ours, of baselines and of the paper, and their notes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from btp.experiments.baselines import BASELINES
from btp.experiments.record import RunRecord
from btp.report import footnotes
from btp.report.evidence import Evidence
from btp.report.tables import MEAN, Cell, Row, difference


def baseline_rows(
    evidence: Evidence, cells: Callable[[Sequence[RunRecord]], Mapping[str, Cell]]
) -> list[Row]:
    """Make a line for each baseline that was scored."""
    rows = []
    for name, baseline in BASELINES.items():
        records = evidence.baseline(name)
        if records:
            title, zero_shot = f"{baseline.title}, ours", not baseline.sees_normal_scans
            made = cells(records)
            notes = [baseline.footnote(evidence.memories)]
            rows.append(Row(name, title, made, "baseline", notes, zero_shot))
    return rows


def ours_beside(
    name: str, title: str, cells: Mapping[str, Cell], printed: Sequence[Row]
) -> list[Row]:
    """Put our line, the paper's and the difference below each other, without empty ones."""
    ours = Row(name, title, cells)
    measured = any(not math.isnan(cell.mean) for cell in cells.values())
    rows = [ours] if measured else []
    for row in printed:
        rows += [row] if row.cells else []
        rows += [difference(ours, row)] if measured and row.cells else []
    return rows


def category_columns(categories: Sequence[str]) -> dict[str, str]:
    """Return the columns of a table by test category: each, and their mean."""
    return {**{category: category for category in categories}, MEAN: "mean"}


def heading(evidence: Evidence) -> str:
    """Say of which dataset, encoder and recipe a table is."""
    return f"{evidence.dataset}, encoder {evidence.encoder}, recipe {evidence.recipe.name}"


def remarks_of(evidence: Evidence, runs: Sequence[RunRecord], missing: Sequence[str]) -> list[str]:
    """Say what a table lacks; nothing before there are any runs, as the commands say it then."""
    return footnotes.of_gaps(len(runs), missing) if evidence.runs else []


def notes_of(evidence: Evidence, runs: Sequence[RunRecord], table: str) -> list[str]:
    """Collect all footnotes of a table."""
    seeds = sorted({run.seed for run in runs})
    notes = footnotes.of_records(runs, evidence.dataset)
    if runs and table == "2":
        notes.append(f"Mean over {footnotes.of_seeds(seeds)}.")
    elif runs:
        notes.append(footnotes.of_protocol(evidence.train_cats, seeds))
    notes.append(footnotes.BEST)
    if table in ("1", "3"):
        memories = any(BASELINES[name].sees_normal_scans for name in evidence.baselines)
        notes += [footnotes.BASELINE_SEEDS] if memories else []
        notes += [footnotes.QUOTED] if evidence.published else []
    if table == "1" and evidence.dataset == "real3d":
        notes += [footnotes.HEADERS, footnotes.FISH]
    if table in ("3", "4", "5"):
        notes.append(footnotes.P_PRO)
    if table == "3" and evidence.published:
        notes += [footnotes.OTHERS_PRO, footnotes.UPDATE]
    if runs:
        notes += [*footnotes.of_recipe(evidence.recipe), footnotes.RESOLUTION]
    return notes
