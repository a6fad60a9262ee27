"""The paper's Fig. 3: rows of scans; columns of input, ground truth and each method's scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from btp.data.dataset import Dataset
from btp.data.prepare import sampled_rows
from btp.drawing.pictures import Panel, draw
from btp.experiments.scored_scans import ScoredScans
from btp.geometry.sampling import thin

EACH = 2  # scans of highest, and of lowest point AUROC
MAX_DRAWN = 30_000  # points of a scan

Methods = Mapping[str, Mapping[str, ScoredScans]]
"""Title of a method -> category -> its scores."""


@dataclass(frozen=True)
class Example:
    """A scan to show.

    Attributes:
        category: its category.
        row: in that category's `ScoredScans`.
        remark: why it is shown.
    """

    category: str
    row: int
    remark: str


def by_point_auroc(scored: Mapping[str, ScoredScans]) -> list[tuple[float, str, int]]:
    """List point AUROC, category and row of each defective scan that has one, the lowest first."""
    return sorted(
        (auroc, category, row)
        for category, scores in scored.items()
        for row in np.flatnonzero(scores.anomalous).tolist()
        if not np.isnan(auroc := scores.point_auroc(row))
    )


def best_and_worst(scored: Mapping[str, ScoredScans], each: int = EACH) -> list[Example]:
    """Choose the defective scans of highest and of lowest point AUROC, no category twice.

    Args:
        scored: by category.
        each: how many of the highest, shown first, and of the lowest, the very lowest last.
    """
    ranked = by_point_auroc(scored)
    taken: set[str] = set()

    def pick(order: Sequence[tuple[float, str, int]], remark: str) -> list[Example]:
        picked: list[Example] = []
        for _, category, row in order:
            if len(picked) < each and category not in taken:
                taken.add(category)
                picked.append(Example(category, row, remark))
        return picked

    return pick(ranked[::-1], "best") + pick(ranked, "worst")[::-1]


def draw_scans(path: Path, dataset: Dataset, methods: Methods) -> Path | None:
    """Draw the best and the worst scans as rows, as in the paper's Fig. 3.

    Args:
        path: of the PNG.
        dataset: to read the scans from.
        methods: the last is the one whose best and worst scans are shown; a category may be missing
            from another, and one without point scores gets no column.

    Returns:
        The path; None where no scan has a point AUROC.
    """
    ours = list(methods.values())[-1]
    examples = best_and_worst(ours)
    if not examples:
        return None
    columns = {
        title: scored
        for title, scored in methods.items()
        if any(e.category in scored and scored[e.category].scores_points for e in examples)
    }
    rows = [
        _panels(example, ours, columns, dataset, titled=number == 0)
        for number, example in enumerate(examples)
    ]
    names = [f"{_name(example, ours)}\n{example.remark}" for example in examples]
    label = "point score, from the method's\nlowest on the category to its highest"
    draw(rows, path, f"{dataset.name}: categories never trained on", 1.0, label, names)
    return path


def _panels(
    example: Example,
    ours: Mapping[str, ScoredScans],
    columns: Methods,
    dataset: Dataset,
    titled: bool,
) -> list[Panel]:
    """One row; the scan thinned, each of its points with the score of its nearest sampled one."""
    known = ours[example.category]
    sample = known.samples[example.row]
    cloud = dataset.read(sample)
    labels = np.zeros(len(cloud.points), bool) if cloud.labels is None else cloud.labels
    kept = thin(np.arange(len(cloud.points)), MAX_DRAWN)
    points, truth = cloud.points[kept], labels[kept].astype(float)
    nearest = sampled_rows(cloud.points, known.points[example.row], kept)
    panels = [
        Panel("input" if titled else "", points),
        Panel("ground truth" if titled else "", points, truth),
    ]
    for title, by_category in columns.items():
        scored = by_category.get(example.category)
        row = None if scored is None else scored.row(sample.name)
        heading = title if titled else ""
        if scored is None or row is None or not scored.scores_points:
            panels.append(Panel(heading, points, note="not scored"))
            continue
        note = f"AUROC {100 * scored.point_auroc(row):.1f}"
        panels.append(Panel(heading, points, scored.shown(row)[nearest], note=note))
    return panels


def _name(example: Example, ours: Mapping[str, ScoredScans]) -> str:
    name = ours[example.category].samples[example.row].name
    return name if name.startswith(example.category) else f"{example.category}\n{name}"
