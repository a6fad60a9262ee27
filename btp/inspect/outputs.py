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

from btp.data.formats import read_scalars, write_ply
from btp.drawing.pictures import anomaly_rgb, draw_around
from btp.errors import DataError
from btp.geometry.local_geometry import thin
from btp.inspect.predictor import ScoredScan
from btp.inspect.regions import OUTSIDE, Region, defect_regions
from btp.runtime.files import write_text

MAX_DRAWN = 10_000  # points in a picture: it takes most of the time


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
        spacing: as in `Prediction`, in the scan's units.
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
    spacing: float | None = None
    note: str = ""
    error: str = ""


@dataclass(frozen=True)
class Made:
    """All that a scan's outputs depend on.

    Attributes:
        content: digest of the scan's file.
        detector: digest of the detector's.
        btp: version of this program.
        coverage: with which it was scored.
        point_threshold: above which points are part of a region.
        picture: whether one was asked for.
        precision: of the products, as in `Inspector`.
    """

    content: str
    detector: str
    btp: str
    coverage: str
    point_threshold: float
    picture: bool
    precision: str


@dataclass(frozen=True)
class HeatMap:
    """The scores of what was judged of a scan, read back.

    Attributes:
        points: [M, 3], in the scan's units.
        scores: float32 [M]; nan at rows that are no measured points.
        regions: int32 [M], -1 outside of all.
    """

    points: NDArray[np.floating]
    scores: NDArray[np.float32]
    regions: NDArray[np.int32]


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
        self.surface = folder / f"{name}.surface.ply"
        self.picture = folder / f"{name}.png"
        self.record = folder / f"{name}.regions.json"

    def read(self, made: Made) -> Result | None:
        """The result of an earlier run, if it was made from the same and is whole."""
        try:
            record = json.loads(self.record.read_text("utf-8"))
            files = [self.record.with_name(name) for name in record["files"]]
            same = record["made"] == asdict(made) and all(file.is_file() for file in files)
            return Result(**record["result"]) if same else None
        except (OSError, ValueError, TypeError, KeyError):
            return None  # not there, or not ours: it is made anew

    def write(self, scored: ScoredScan, made: Made) -> Result:
        """Write all files of a scan.

        Raises:
            DataError: if the folder cannot be written or the disk is full.
        """
        scan, values = scored.scan, scored.surface_scores
        found, numbers = defect_regions(scan.surface, values, made.point_threshold)
        result = Result(
            file=self.name,
            points=len(scan.points),
            object_score=scored.object_score,
            max_point_score=float(values.max()),
            regions=len(found),
            spacing=scored.spacing,
            note="; ".join(_notes(scored)),
        )
        # Without the old record, the scan counts as not done until all is written.
        _remove(self.record)
        # what is below the threshold has the paler colours
        highest = max(float(values.max()), 2 * made.point_threshold)
        files = self._write_heat_maps(scored, numbers, highest)
        if made.picture:
            rows = thin(np.arange(len(values)), MAX_DRAWN)
            caption = (
                f"object score {scored.object_score:.3f}, highest point score {values.max():.3f}"
            )
            draw_around(scan.surface[rows], values[rows], self.picture, caption, highest)
            files.append(self.picture)
        else:
            _remove(self.picture)
        self._write_record(result, made, found, files)
        return result

    def _write_heat_maps(
        self, scored: ScoredScan, numbers: NDArray[np.int32], highest: float
    ) -> list[Path]:
        """The scan's own points with their scores; of a coarse mesh, also what was judged of it."""
        scan = scored.scan
        scalars: dict[str, NDArray] = {"anomaly": scored.point_scores}
        if not scan.sampled:
            scalars["region"] = np.full(len(scan.points), OUTSIDE, np.int32)
            scalars["region"][scan.valid] = numbers
        colours = anomaly_rgb(scored.point_scores / highest)
        write_ply(self.heat_map, scan.points, scalars, colours)
        if not scan.sampled:
            _remove(self.surface)
            return [self.heat_map]
        scalars = {"anomaly": scored.surface_scores, "region": numbers}
        colours = anomaly_rgb(scored.surface_scores / highest)
        write_ply(self.surface, scan.surface, scalars, colours)
        return [self.heat_map, self.surface]

    def _write_record(
        self, result: Result, made: Made, found: list[Region], files: list[Path]
    ) -> None:
        record: dict[str, Any] = {"result": asdict(result), "made": asdict(made)}
        record["files"] = [file.name for file in files]
        record["regions"] = [asdict(region) for region in found]
        write_text(self.record, json.dumps(record, indent=2, ensure_ascii=False) + "\n")

    def scores(self) -> HeatMap:
        """What was judged, with its scores.

        Raises:
            DataError: if it was not written, or is damaged.
        """
        path = self.surface if self.surface.is_file() else self.heat_map
        points, scalars = read_scalars(path, ("anomaly", "region"))
        return HeatMap(points, scalars["anomaly"], scalars["region"].astype(np.int32))


def _notes(scored: ScoredScan) -> list[str]:
    scan = scored.scan
    notes = []
    unknown = np.count_nonzero(~scan.valid) - scan.holes
    if unknown:
        notes.append(f"points without coordinates, and so without a score: {unknown:,}")
    if scan.holes:
        notes.append(f"points at (0, 0, 0), taken for holes and not scored: {scan.holes:,}")
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
