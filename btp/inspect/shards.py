"""Put the results of shards together, which several machines scored into one folder.

A shard is every N-th scan of a listing. It writes the results of its scans as any run does, and a
table of its own; the tables say which shards are finished.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import btp
from btp.data.coverage import Coverage
from btp.errors import DataError
from btp.inspect.calibration import Calibration
from btp.inspect.folder import decide, point_threshold
from btp.inspect.outputs import Provenance, ScanOutputs, ScanResult
from btp.inspect.reference import another_part
from btp.inspect.scan_files import ScanFiles
from btp.inspect.score_table import ScoreTable
from btp.types import ALONE


@dataclass(frozen=True)
class Merged:
    """The results of all shards.

    Attributes:
        results: of each scan, in order. One that no finished shard has scored has an error.
        missing: numbers of the shards that are not finished.
    """

    results: list[ScanResult]
    missing: list[int]


def merge_shards(
    scans: ScanFiles,
    out: Path,
    shards: int,
    detector: str,
    calibration: Calibration | None,
    coverage: Coverage,
) -> Merged:
    """Write scores.csv of the results that shards have left in a folder.

    Args:
        scans: all of them.
        out: folder that all shards have written to.
        shards: number of shards.
        detector: digest of the detector that they were scored with.
        calibration: alarm thresholds, as they had them.
        coverage: as they had it.

    Raises:
        DataError: if no shard is finished, one was scored with other settings, or the reference
            was of another part than every scan. An older scores.csv is then as it was.
    """
    tables = [ScoreTable(out, scans.shard(n, shards).share).errors() for n in range(shards)]
    missing = [number for number, table in enumerate(tables) if table is None]
    if len(missing) == shards:
        raise DataError(
            f"{out}: no shard of {shards} is finished there; expected tables such as "
            f"{ScoreTable(out, scans.shard(0, shards).share).path.name}. Score the shards first"
        )
    errors: dict[str, str] = {}
    for table in tables:
        errors |= table or {}
    wanted = {
        "detector": detector,
        "btp": btp.__version__,
        "coverage": coverage,
        "point_threshold": point_threshold(calibration),
    }
    results, made = [], dict[str, Provenance]()
    for row, path in enumerate(scans.paths):
        name = scans.name(path)
        found = ScanOutputs(out, name).found() if errors.get(name) == "" else None
        if found is not None:
            made[name] = found[1]
            results.append(decide(found[0], calibration))
        else:
            unscored = f"{name}: not scored; that is shard {row % shards} of {shards}, not finished"
            results.append(ScanResult(name, error=errors.get(name) or unscored))
    _refuse_other_settings(made, wanted)
    scored = [result for result in results if not result.error]
    if any(each.others for each in made.values()) and all(r.judged == ALONE for r in scored):
        raise another_part(
            f"the extents of none of the {len(scored)} scans agree with those of a good one"
        )
    ScoreTable(out).finish(results)
    return Merged(results, missing)


def _refuse_other_settings(made: Mapping[str, Provenance], wanted: Mapping[str, object]) -> None:
    """Raise an error if results were not made as wanted, or by different good scans."""
    others = next((each.others for each in made.values()), "")
    for name, each in made.items():
        for key, expected in {**wanted, "others": others}.items():
            found = getattr(each, key)
            if found != expected:
                what = "reference (others)" if key == "others" else key
                raise DataError(
                    f"{name}: was scored with {what} {found or 'none'}, expected "
                    f"{expected or 'none'}; give the settings that all shards had, or score its "
                    "shard again"
                )
