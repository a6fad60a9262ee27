"""The best and the worst scan of every category, to turn and to compare in the viewer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from btp.data.dataset import Dataset
from btp.data.prepare import sampled_rows
from btp.drawing.viewer import ViewedScan, write_viewer
from btp.experiments.scored_scans import ScoredScans
from btp.report.scans import Methods, by_point_auroc


def write_extremes(path: Path, dataset: Dataset, methods: Methods, title: str) -> Path | None:
    """Write a page with the defective scans of highest and lowest point AUROC of each category.

    Args:
        path: of the HTML file.
        dataset: to read the raw scans from.
        methods: title -> category -> scores; the first decides which scans are shown, the others
            are shown beside it where they scored points of all its categories.
        title: of the page.

    Returns:
        The path; None where no scan has a point AUROC.
    """
    first = next(iter(methods.values()))
    compared = {
        name: scored
        for name, scored in methods.items()
        if all(category in scored and scored[category].scores_points for category in first)
    }
    chosen = [
        (category, row, remark)
        for category, scored in first.items()
        for row, remark in _extremes(category, scored).items()
    ]
    if not chosen or not compared:
        return None

    def viewed() -> Iterator[ViewedScan]:
        for category, row, remark in chosen:
            cloud = dataset.read(first[category].samples[row])
            nearest = sampled_rows(cloud.points, first[category].points[row])
            scores = {
                name: scored[category].shown(row)[nearest] for name, scored in compared.items()
            }
            yield ViewedScan(
                name=f"{cloud.name} ({remark} of {category})",
                category=category,
                points=cloud.points,
                scores=scores,
                object_scores={
                    name: float(scored[category].object_scores[row])
                    for name, scored in compared.items()
                },
                labels=None if cloud.labels is None else cloud.labels.astype(bool),
            )

    write_viewer(path, viewed(), title)
    return path


def _extremes(category: str, scored: ScoredScans) -> dict[int, str]:
    """Rows of a category's worst and best scan, with that remark."""
    rows = [row for _, _, row in by_point_auroc({category: scored})]
    return {rows[0]: "worst", rows[-1]: "best"} if rows else {}
