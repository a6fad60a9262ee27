"""The pictures and the viewer of a report, from scores that it is handed: no model runs here."""

from __future__ import annotations

import math
from pathlib import Path

from btp.data.dataset import Dataset
from btp.experiments.baselines import BASELINES
from btp.experiments.record import RunRecord
from btp.report.charts import Matrix, ObjectScores, draw_matrix, draw_object_scores
from btp.report.curves import draw_curves, read_curves
from btp.report.evidence import Evidence
from btp.report.extremes import write_extremes
from btp.report.scans import Methods, draw_scans
from btp.report.tables import average


def shown_methods(evidence: Evidence) -> dict[str, RunRecord]:
    """Choose what is drawn of a recipe: its first run, and the first record of each baseline.

    Returns:
        Title -> record, the baselines first and ours last; nothing without a run of the full
        recipe.
    """
    runs = evidence.of(evidence.train_cats) or evidence.of(evidence.categories)
    if not runs:
        return {}
    others = {BASELINES[name].title: each[0] for name, each in evidence.baselines.items()}
    return {**others, f"BTP (ours), trained on {runs[0].train_cat}": runs[0]}


def draw_gallery(
    folder: Path, evidence: Evidence, dataset: Dataset, methods: Methods
) -> list[Path]:
    """Write the pictures of one recipe; those that nothing is given for are left out.

    - `scans.png`, as the paper's Fig. 3.
    - `object_scores.png`: object scores by category, normal and defective apart.
    - `cross_category.png`, as Table 2: train categories by test categories.
    - `training.png`: loss terms by epoch, mean and band over the runs.
    - `viewer.html`: the best and the worst scan of each category, in three dimensions.

    Args:
        folder: to write into.
        evidence: records of the recipe.
        dataset: its scans are read for the pictures at full resolution.
        methods: scores of what `shown_methods` chose, in the same order.

    Returns:
        The paths written, in the order above.

    Raises:
        DataError: a run's TensorBoard files hold no curves.
    """
    if not methods:
        return []
    title, ours = list(methods.items())[-1]
    written = [draw_scans(folder / "scans.png", dataset, methods), folder / "object_scores.png"]
    objects = {
        category: ObjectScores(scored.anomalous, scored.object_scores)
        for category, scored in sorted(ours.items())
    }
    draw_object_scores(objects, folder / "object_scores.png", f"{dataset.name}: {title}")
    if cross := cross_category(evidence):
        written.append(folder / "cross_category.png")
        caption = f"{dataset.name}: point AUROC on categories never trained on"
        draw_matrix(Matrix.of(cross), folder / "cross_category.png", caption)
    if runs := runs_with_curves(evidence):
        written.append(folder / "training.png")
        caption = f"{dataset.name}: training, mean over runs, from lowest to highest"
        groups = {name: read_curves(folders) for name, folders in runs.items()}
        draw_curves(groups, folder / "training.png", caption)
    ours_first = {title: ours, **methods}
    written.append(write_extremes(folder / "viewer.html", dataset, ours_first, title))
    return [path for path in written if path is not None]


def cross_category(evidence: Evidence) -> dict[tuple[str, str], float]:
    """Return point AUROC in 0..1, mean over seeds, by train and test category."""
    everything = evidence.of(evidence.categories)
    cells = {
        (a, b): average([r for r in everything if r.train_cat == a], "point_auroc", [b]).mean / 100
        for a in evidence.categories
        for b in evidence.categories
    }
    return {pair: value for pair, value in cells.items() if not math.isnan(value)}


def runs_with_curves(evidence: Evidence) -> dict[str, list[Path]]:
    """Return the folders of runs by train category; converted weights have no curves."""
    folders: dict[str, list[Path]] = {}
    for run in evidence.of(evidence.categories):
        path = Path(run.folder)
        if any(path.glob("tensorboard/*")):
            folders.setdefault(str(run.train_cat), []).append(path)
    return folders
