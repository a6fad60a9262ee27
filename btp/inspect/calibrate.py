"""Score good scans, each alone or against the others, and set the alarm thresholds by them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from btp.data.coverage import Coverage
from btp.evaluation.patch_distances import DescribedScan
from btp.evaluation.together import MOST_OTHERS, Judge, choose
from btp.inspect.calibration import Calibration, calibrate
from btp.inspect.overlap import work_ahead
from btp.inspect.reference import GoodScans
from btp.inspect.scan import ReadyScan, ScoredScan
from btp.inspect.scan_files import ScanFiles
from btp.inspect.scan_model import COVERAGE, ScanModel
from btp.inspect.together import judged_scan

FEWEST_GOOD = 3
"""Good scans with which thresholds are set by leaving each out: at least two judge the third."""


def calibrate_on(
    inspector: ScanModel,
    scans: ScanFiles,
    false_alarms: float,
    workers: int | None = None,
    coverage: Coverage = COVERAGE,
) -> Calibration:
    """Score good scans one by one, each alone, and set the alarm thresholds by their scores.

    Raises:
        DataError: if a scan is unreadable.
        ConfigError: if the rate of false alarms is out of range.
    """
    objects, maxima = list[float](), list[float]()
    for ready in _ready(inspector, scans, workers, coverage):
        _note(inspector.score([ready])[0], objects, maxima)
    return calibrate(inspector.digest, objects, maxima, false_alarms, coverage)


def calibrate_against(
    inspector: ScanModel,
    scans: ScanFiles,
    false_alarms: float,
    workers: int | None = None,
    coverage: Coverage = COVERAGE,
) -> tuple[Calibration, GoodScans | None]:
    """Set the alarm thresholds by good scans that are each judged against the others.

    Memory grows with the number of scans by what their descriptions take, and no more than
    `MOST_OTHERS` of them judge.

    Returns:
        The thresholds and the good scans, for others to be judged against. None instead of the
        scans where those are too few or not of one part, so that each was judged alone.

    Raises:
        DataError: if a scan is unreadable.
        ConfigError: if the rate of false alarms is out of range.
    """
    found: list[tuple[ReadyScan, DescribedScan]] = []
    for ready in _ready(inspector, scans, workers, coverage):
        found += inspector.describe([ready])
    described = [each for _, each in found]
    kept = choose(described, MOST_OTHERS, seed=0)
    one_part = Judge(good=kept, device=inspector.model.device).good_weight > 0
    good = kept if len(kept) >= FEWEST_GOOD and one_part else []
    # A scan is never compared with its own copy, and so left out of what judges it.
    judge = Judge(good=good, device=inspector.model.device)
    objects, maxima = list[float](), list[float]()
    for ready, own in found:
        _note(judged_scan(ready, own, judge, inspector.detector.config.uncovered), objects, maxima)
    thresholds = calibrate(inspector.digest, objects, maxima, false_alarms, coverage)
    if not good:
        return thresholds, None
    return replace(thresholds, reference=len(good)), GoodScans(
        inspector.digest, coverage, tuple(good)
    )


def _ready(
    inspector: ScanModel, scans: ScanFiles, workers: int | None, coverage: Coverage
) -> Iterator[ReadyScan]:
    """Read and sample the scans, a few ahead."""
    for _, reading in work_ahead(
        lambda path: inspector.ready(path, coverage), scans.paths, workers
    ):
        yield reading.result()


def _note(scored: ScoredScan, objects: list[float], maxima: list[float]) -> None:
    objects.append(scored.object_score)
    maxima.append(float(scored.surface_scores.max()))
