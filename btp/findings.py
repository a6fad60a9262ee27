"""What was found on one scan, on disk: heat map, picture, and the defect regions as JSON.

The JSON is written last and says what it was made from, so that it also marks a scan as done.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from btp.data.formats import write_ply
from btp.errors import DataError
from btp.files import write_text
from btp.geometry import nearest_rows
from btp.inference import ScoredScan
from btp.metrics.ground_truth import regions
from btp.report.pictures import draw_around, paint
from btp.surface import thin

MAX_REGION_POINTS = 100_000  # connected at once; bounds the memory for their pairs
MAX_DRAWN = 20_000


@dataclass(frozen=True)
class Region:
    """Connected points above the point threshold.

    Attributes:
        points: number of them.
        size: extent along x, y and z, in the scan's units.
        centre: mean, in the scan's coordinates.
        mean_score: of its points.
        max_score: of its points.
    """

    points: int
    size: list[float]
    centre: list[float]
    mean_score: float
    max_score: float


@dataclass(frozen=True)
class Result:
    """One line of scores.csv.

    Attributes:
        file: name of the scan.
        points: rows of the scan; this and all that follows is None where there is an error.
        object_score: in 0..1.
        threshold: above which the object score means DEFECT; None without a calibration.
        verdict: OK, DEFECT, or "" without a calibration.
        max_point_score: in 0..1, over all that was looked at.
        regions: number of defect regions.
        note: what a reader of the scores should know.
        error: why there are none.
    """

    file: str
    points: int | None = None
    object_score: float | None = None
    threshold: float | None = None
    verdict: str = ""
    max_point_score: float | None = None
    regions: int | None = None
    note: str = ""
    error: str = ""


@dataclass(frozen=True)
class Made:
    """All that a scan's outputs depend on.

    Attributes:
        content: digest of the scan's file.
        detector: digest of the detector's.
        btp: version of this program.
        point_threshold: above which points are part of a region.
        picture: whether one was asked for.
    """

    content: str
    detector: str
    btp: str
    point_threshold: float
    picture: bool


class Outputs:
    """The files of one scan: its name with its own suffix and one of ours, so never shared."""

    def __init__(self, folder: Path, name: str) -> None:
        """Name them.

        Args:
            folder: of all results.
            name: of the scan, relative, with `/`.
        """
        self.name = name
        self.heat_map = folder / f"{name}.scores.ply"
        self.picture = folder / f"{name}.png"
        self.record = folder / f"{name}.regions.json"

    def read(self, made: Made) -> Result | None:
        """The result of an earlier run, if it was made from the same and is whole."""
        files = [self.heat_map, self.picture] if made.picture else [self.heat_map]
        try:
            record = json.loads(self.record.read_text("utf-8"))
            same = record["made"] == asdict(made) and all(file.is_file() for file in files)
            return Result(**record["result"]) if same else None
        except (OSError, ValueError, TypeError, KeyError):
            return None  # not there, or not ours: it is made anew

    def write(self, scored: ScoredScan, made: Made) -> Result:
        """Write all files of a scan.

        Raises:
            DataError: if the folder cannot be written or the disk is full.
        """
        threshold, values = made.point_threshold, scored.surface_scores
        found = defect_regions(scored.scan.surface, values, threshold)
        result = Result(
            file=self.name,
            points=len(scored.scan.points),
            object_score=scored.object_score,
            max_point_score=float(values.max()),
            regions=len(found),
            note="; ".join(_notes(scored)),
        )
        # Without the old record, the scan counts as not done until all is written.
        _remove(self.record)
        highest = max(float(values.max()), 2 * threshold)  # what is below it has the paler colours
        colours = paint(scored.point_scores / highest)
        scalars = {"anomaly": scored.point_scores}
        write_ply(self.heat_map, scored.scan.points, scalars, colours)
        if made.picture:
            rows = thin(np.arange(len(values)), MAX_DRAWN)
            caption = (
                f"object score {scored.object_score:.3f}, highest point score {values.max():.3f}"
            )
            draw_around(scored.scan.surface[rows], values[rows], self.picture, caption, highest)
        else:
            _remove(self.picture)
        record: dict[str, Any] = {"result": asdict(result), "made": asdict(made)}
        record["regions"] = [asdict(region) for region in found]
        write_text(self.record, json.dumps(record, indent=2, ensure_ascii=False) + "\n")
        return result


def defect_regions(
    points: NDArray[np.floating], scores: NDArray[np.floating], threshold: float
) -> list[Region]:
    """Connected regions of points above a threshold, as AU-PRO connects them.

    Of more than 100,000 distinct points above it, so many are connected, and the others belong to
    their nearest.

    Args:
        points: [M, 3], finite, any unit.
        scores: [M].
        threshold: exclusive.

    Returns:
        The regions, that of the highest score first.
    """
    above = scores > threshold
    if not above.any():
        return []
    inside, values = points[above].astype(np.float64), scores[above]
    spots = thin(np.unique(inside, axis=0), MAX_REGION_POINTS)
    ids = regions(spots, np.ones(len(spots), bool))[nearest_rows(inside, spots)]
    order = np.argsort(ids, kind="stable")
    members = np.split(order, np.flatnonzero(np.diff(ids[order])) + 1)
    found = [_region(inside[rows], values[rows]) for rows in members]
    return sorted(found, key=lambda region: (-region.max_score, -region.points))


def _region(points: NDArray[np.float64], values: NDArray[np.floating]) -> Region:
    return Region(
        points=len(points),
        size=np.ptp(points, axis=0).tolist(),
        centre=points.mean(0).tolist(),
        mean_score=float(values.mean(dtype=np.float64)),
        max_score=float(values.max()),
    )


def _notes(scored: ScoredScan) -> list[str]:
    scan = scored.scan
    notes = []
    if not scan.valid.all():
        count = np.count_nonzero(~scan.valid)
        notes.append(f"points without coordinates, and so without a score: {count:,}")
    if scan.sampled:
        notes.append(f"coarse mesh: judged by {len(scan.surface):,} points of its surface")
    if scored.repeated:
        notes.append("few points, so sampled with repetition")
    return notes


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise DataError(
            f"{path}: cannot be replaced ({error.strerror}); choose another folder"
        ) from error
