"""All pictures of one dataset's report, from scores that are at hand, by one call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from btp.data.dataset import Dataset
from btp.data.prepare import sampled_rows
from btp.drawing.pictures import Panel, draw
from btp.geometry.local_geometry import thin
from btp.report.charts import Matrix, ObjectScores, draw_matrix, draw_object_scores
from btp.report.curves import draw_curves, read_curves
from btp.report.examples import Example, Scored, best_and_worst, by_name

MAX_DRAWN = 30_000  # points of a scan


def draw_figures(
    folder: Path,
    dataset: Dataset,
    ours: Mapping[str, Scored],
    others: Mapping[str, Mapping[str, Scored]] | None = None,
    cross: Mapping[tuple[str, str], float] | None = None,
    runs: Mapping[str, Sequence[Path]] | None = None,
    *,
    title: str = "BTP (ours)",
    chosen: Sequence[str] = (),
    best: int = 2,
    worst: int = 2,
) -> list[Path]:
    """Write the pictures of a dataset's report; those that nothing is given for are left out.

    - `scans.png`, as the paper's Fig. 3: rows are scans, columns the input, the ground truth, the
      other methods and ours.
    - `object_scores.png`: object scores by category, normal and defective apart.
    - `cross_category.png`, as Table 2: train categories by test categories.
    - `training.png`: loss terms by epoch, mean and band over seeds.

    Args:
        folder: to write into.
        dataset: of all scores; its scans are read for the pictures at full resolution.
        ours: category -> `Scored.of(scores)` of one detector or run that has not seen it; may be
            empty.
        others: method's title as in the tables -> the same, for the baselines; a category may be
            missing, and one with point scores of nan (objects only) has no column.
        cross: (train category, test category) -> point AUROC in 0..1, mean over seeds; None
            for no heat map.
        runs: name of a curve (such as the train category or recipe) -> folders of its runs, one a
            seed, each with tensorboard/ in it; None for no curves.
        title: of our column.
        chosen: scans to draw, as "category/name"; empty for the best and worst of ours.
        best: number of scans of highest point AUROC, each of another category.
        worst: number of scans of lowest.

    Returns:
        The paths written, in the order above.

    Raises:
        DataError: a chosen scan is not among the scored ones; a run has no curves.
    """
    written = []
    if ours:
        examples = by_name(ours, chosen) if chosen else best_and_worst(ours, best, worst)
        if examples:
            written.append(folder / "scans.png")
            methods = {**(others or {}), title: ours}
            draw_examples(examples, methods, dataset, written[-1])
        written.append(folder / "object_scores.png")
        objects = {
            category: ObjectScores(scored.anomalous, scored.object_scores)
            for category, scored in sorted(ours.items())
        }
        draw_object_scores(objects, written[-1], f"{dataset.name}: {title}")
    if cross:
        written.append(folder / "cross_category.png")
        caption = f"{dataset.name}: point AUROC on categories never trained on"
        draw_matrix(Matrix.of(cross), written[-1], caption)
    if runs:
        groups = {name: read_curves(folders) for name, folders in runs.items()}
        written.append(folder / "training.png")
        caption = f"{dataset.name}: training, mean over runs, from lowest to highest"
        draw_curves(groups, written[-1], caption)
    return written


def draw_examples(
    examples: Sequence[Example],
    methods: Mapping[str, Mapping[str, Scored]],
    dataset: Dataset,
    path: Path,
) -> None:
    """Draw scans as rows: the input, the ground truth, and each method's point scores.

    Args:
        examples: of the last method's scores.
        methods: title -> category -> scores; those without any point scores get no column.
        dataset: to read the scans from.
        path: of the PNG.
    """
    columns = {
        title: scored
        for title, scored in methods.items()
        if any(e.category in scored and scored[e.category].scores_points for e in examples)
    }
    ours = list(methods.values())[-1]
    rows = [
        _panels(example, ours, columns, dataset, titled=number == 0)
        for number, example in enumerate(examples)
    ]
    names = ["\n".join(filter(None, (_name(e, ours), e.remark))) for e in examples]
    label = "point score, from the method's\nlowest on the category to its highest"
    draw(rows, path, f"{dataset.name}: categories never trained on", 1.0, label, names)


def _panels(
    example: Example,
    ours: Mapping[str, Scored],
    columns: Mapping[str, Mapping[str, Scored]],
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


def _name(example: Example, ours: Mapping[str, Scored]) -> str:
    name = ours[example.category].samples[example.row].name
    return name if name.startswith(example.category) else f"{example.category}\n{name}"
