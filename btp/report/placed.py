"""Where a report's pictures belong: each beside the table that it shows."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from btp.experiments.runs import Run
from btp.report.evidence import Evidence
from btp.report.tables import Table


@dataclass(frozen=True)
class Placed:
    """A drawn file.

    Attributes:
        path: from the report's folder, with "/".
        caption: what it shows.
    """

    path: str
    caption: str


# File that `btp.report.gallery` draws -> the table that it stands below, and its caption.
_BESIDE = {
    "object_scores.png": ("1-object_auroc", "Object scores of every scan, by category"),
    "scans.png": ("1-point_auroc", "Scans scored best and worst, as in the paper's Fig. 3"),
    "cross_category.png": ("2-ours", "Table 2 as a heat map"),
    "training.png": ("4", "Loss terms by epoch"),
}


def pictures_of(folder: Path, recipe: str, table: Table) -> list[Placed]:
    """List the pictures of a recipe that belong to a table and are there."""
    return [
        Placed(f"{recipe}/{name}", caption)
        for name, (beside, caption) in _BESIDE.items()
        if beside == table.name and (folder / recipe / name).is_file()
    ]


def other_pictures(folder: Path, evidence: Evidence, tables: list[Table]) -> list[Placed]:
    """List what was drawn of a recipe and belongs to no table that there is.

    These are the gallery's pictures whose table is missing, and the scans that scoring draws of one
    run, in that run's folder.
    """
    recipe, names = evidence.recipe.name, {table.name for table in tables}
    found = [
        Placed(f"{recipe}/{name}", caption)
        for name, (beside, caption) in _BESIDE.items()
        if beside not in names and (folder / recipe / name).is_file()
    ]
    for run in evidence.runs:
        path = Run(Path(run.folder)).pictures_path(evidence.dataset)
        if path.is_file():
            relative = Path(os.path.relpath(path.resolve(), folder.resolve())).as_posix()
            found.append(
                Placed(relative, f"Scans of unseen categories, trained on {run.train_cat}")
            )
    return found


def viewer_of(folder: Path, recipe: str) -> Placed | None:
    """Return the viewer of a recipe's scans; None if it was not written."""
    path = f"{recipe}/viewer.html"
    caption = "The best and the worst scan of each category, in 3D"
    return Placed(path, caption) if (folder / path).is_file() else None
