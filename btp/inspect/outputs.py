"""Write one scan's results: heat map, picture, and the defect regions as JSON.

The JSON is written last and records the inputs, so that it also marks a scan as done.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from btp.data.formats import read_scalars, write_ply
from btp.drawing.pictures import anomaly_rgb, draw_around
from btp.errors import DataError
from btp.geometry.sampling import thin
from btp.inspect.regions import OUTSIDE, Region, defect_regions
from btp.inspect.scan import ScoredScan
from btp.runtime.files import write_text

LONGEST_NAME = 200  # bytes of a file name; file systems allow 255
MAX_DRAWN = 10_000  # points in a picture: it takes most of the time


@dataclass(frozen=True)
class ScanResult:
    """A scan's line of scores.csv.

    Attributes:
        file: name of the scan.
        points: rows of the scan; like all further numbers None if there is an error.
        object_score: in 0..1.
        threshold: above which the object score means DEFECT; None without a calibration.
        verdict: OK, DEFECT, or "" without a calibration.
        max_point_score: in 0..1, over all points that were scored.
        regions: number of defect regions.
        spacing: as in `Prediction`, in the scan's units.
        judged: by what, as in `Prediction`.
        group: number of the group of scans of one part that it was judged with; "" for none.
        note: what a reader of the scores should know.
        error: why the scan has no scores.
    """

    file: str
    points: int | None = None
    object_score: float | None = None
    threshold: float | None = None
    verdict: str = ""
    max_point_score: float | None = None
    regions: int | None = None
    spacing: float | None = None
    judged: str = ""
    group: str = ""
    note: str = ""
    error: str = ""


@dataclass(frozen=True)
class Provenance:
    """Everything that a scan's results depend on.

    Attributes:
        content: digest of the scan's file.
        detector: digest of the detector's file.
        btp: version of this program.
        coverage: with which the scan was scored.
        point_threshold: above which points are part of a region.
        picture: whether one was asked for.
        precision: of the products, as in `Inspector`.
        others: digest of the scans that it was judged by; "" for none.
    """

    content: str
    detector: str
    btp: str
    coverage: str
    point_threshold: float
    picture: bool
    precision: str
    others: str = ""


@dataclass(frozen=True)
class HeatMap:
    """The scored points of a scan, read back from its heat map.

    Attributes:
        points: [M, 3], in the scan's units.
        scores: float32 [M]; nan at rows that are no measured points.
        regions: int32 [M], -1 outside of all.
    """

    points: NDArray[np.floating]
    scores: NDArray[np.float32]
    regions: NDArray[np.int32]


class ScanOutputs:
    """The result files of one scan: its name, own suffix included, with a further suffix each."""

    def __init__(self, folder: Path, name: str) -> None:
        """Name the files; nothing is written yet.

        Args:
            folder: of all results.
            name: of the scan, relative, with `/`.
        """
        self.name = name
        begin = _short(name)
        self.heat_map = folder / f"{begin}.scores.ply"
        self.surface = folder / f"{begin}.surface.ply"
        self.picture = folder / f"{begin}.png"
        self.record = folder / f"{begin}.regions.json"

    def read(self, provenance: Provenance) -> ScanResult | None:
        """Read the result of an earlier run; None if it is incomplete or of another provenance."""
        found = self.found()
        return found[0] if found is not None and found[1] == provenance else None

    def found(self) -> tuple[ScanResult, Provenance] | None:
        """Read the result of an earlier run and what it depends on; None if it is incomplete."""
        try:
            record = json.loads(self.record.read_text("utf-8"))
            if not all(self.record.with_name(name).is_file() for name in record["files"]):
                return None
            return ScanResult(**record["result"]), Provenance(**record["made"])
        except (OSError, ValueError, TypeError, KeyError):
            return None  # missing, or written by something else: the scan is scored again

    def remove(self) -> None:
        """Remove what an earlier run wrote of the scan, which is not true of it any more.

        Raises:
            DataError: if a file cannot be removed.
        """
        for path in (self.record, self.heat_map, self.surface, self.picture):
            _remove(path)

    def write(self, scored: ScoredScan, provenance: Provenance) -> ScanResult:
        """Write all files of a scan.

        Raises:
            DataError: if the folder cannot be written or the disk is full.
        """
        scan, values = scored.scan, scored.surface_scores
        regions, region_of_point = defect_regions(scan.judged, values, provenance.point_threshold)
        result = ScanResult(
            file=self.name,
            points=len(scan.points),
            object_score=scored.object_score,
            max_point_score=float(values.max()),
            regions=len(regions),
            spacing=scored.spacing,
            judged=scored.judged,
            group=scored.group,
            note="; ".join(_notes(scored)),
        )
        # Without the old record, the scan counts as not done until all is written.
        _remove(self.record)
        # points below the threshold get the paler colours
        highest = max(float(values.max()), 2 * provenance.point_threshold)
        files = self._write_heat_maps(scored, region_of_point, highest)
        if provenance.picture:
            rows = thin(np.arange(len(values)), MAX_DRAWN)
            caption = (
                f"object score {scored.object_score:.3f}, highest point score {values.max():.3f}"
            )
            draw_around(scan.judged[rows], values[rows], self.picture, caption, highest)
            files.append(self.picture)
        else:
            _remove(self.picture)
        self._write_record(result, provenance, regions, files)
        return result

    def _write_heat_maps(
        self, scored: ScoredScan, region_of_point: NDArray[np.int32], highest: float
    ) -> list[Path]:
        """Write the scan's own points with scores, and for a coarse mesh its sampled surface."""
        scan = scored.scan
        scalars: dict[str, NDArray] = {"anomaly": scored.point_scores}
        if not scan.sampled:
            scalars["region"] = np.full(len(scan.points), OUTSIDE, np.int32)
            scalars["region"][scan.valid] = region_of_point
        colours = anomaly_rgb(scored.point_scores / highest)
        write_ply(self.heat_map, scan.points, scalars, colours)
        if not scan.sampled:
            _remove(self.surface)
            return [self.heat_map]
        scalars = {"anomaly": scored.surface_scores, "region": region_of_point}
        colours = anomaly_rgb(scored.surface_scores / highest)
        write_ply(self.surface, scan.judged, scalars, colours)
        return [self.heat_map, self.surface]

    def _write_record(
        self, result: ScanResult, provenance: Provenance, regions: list[Region], files: list[Path]
    ) -> None:
        record: dict[str, Any] = {"result": asdict(result), "made": asdict(provenance)}
        record["files"] = [file.name for file in files]
        record["regions"] = [asdict(region) for region in regions]
        write_text(self.record, json.dumps(record, indent=2, ensure_ascii=False) + "\n")

    def read_heat_map(self) -> HeatMap:
        """Read the points that were scored: a coarse mesh's surface, or else the scan's points.

        Raises:
            DataError: if the file is missing or damaged.
        """
        path = self.surface if self.surface.is_file() else self.heat_map
        points, scalars = read_scalars(path, ("anomaly", "region"))
        return HeatMap(points, scalars["anomaly"], scalars["region"].astype(np.int32))


def _notes(scored: ScoredScan) -> list[str]:
    scan = scored.scan
    notes = []
    unknown = np.count_nonzero(~scan.valid) - scan.holes - scan.far
    if unknown:
        notes.append(f"points without coordinates, and so without a score: {unknown:,}")
    if scan.holes:
        notes.append(f"points at (0, 0, 0), taken for holes and not scored: {scan.holes:,}")
    if scan.far:
        notes.append(f"points absurdly far from all others, not scored: {scan.far:,}")
    notes += scan.notes
    if scan.sampled:
        notes.append(f"coarse mesh: judged by {len(scan.judged):,} points of its surface")
    if scored.repeated:
        notes.append("few points, so sampled with repetition")
    return notes


def _short(name: str) -> str:
    """Shorten a name that leaves no room for the endings of the results; names stay different."""
    *folders, last = name.split("/")
    data = last.encode()
    if len(data) > LONGEST_NAME:
        digest = hashlib.blake2b(data, digest_size=4).hexdigest()
        last = f"{data[: LONGEST_NAME - 20].decode(errors='ignore')}~{digest}"
    return "/".join([*folders, last])


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise DataError(
            f"{path}: cannot be replaced ({error.strerror}); choose another folder"
        ) from error
