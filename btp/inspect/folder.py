"""Score the scans of a folder: write heat maps and defect regions, and decide on each scan."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import get_args

import btp
from btp.data.coverage import COVERAGES, Coverage
from btp.errors import ConfigError, DataError
from btp.inspect.calibration import Calibration
from btp.inspect.outputs import Provenance, ScanOutputs, ScanResult
from btp.inspect.overlap import lag_behind, work_ahead, writer_pool
from btp.inspect.peers import Together
from btp.inspect.predictor import COVERAGE, Inspector
from btp.inspect.reference import GoodScans
from btp.inspect.scan import ScoredScan
from btp.inspect.scan_files import ScanFiles, printable
from btp.inspect.score_table import ScoreTable
from btp.inspect.scorers import AloneScorer, Loaded, PeerScorer, Scorer
from btp.runtime.files import file_digest
from btp.runtime.locks import locked
from btp.runtime.threads import core_count
from btp.types import ALONE

UNCALIBRATED = 0.5
"""Point threshold without a calibration: as near to the anomalous prompt as to the normal one."""


def score_folder(
    inspector: Inspector,
    scans: ScanFiles,
    out: Path,
    calibration: Calibration | None = None,
    pictures: bool = True,
    workers: int | None = None,
    coverage: Coverage = COVERAGE,
    writers: int | None = None,
    together: Together = "false",
    reference: GoodScans | None = None,
) -> list[ScanResult]:
    """Score scans one by one, and write their heat maps, pictures and defect regions.

    For each scan `out` gets `<name>.scores.ply`, `<name>.png` and `<name>.regions.json`, for a
    coarse mesh also `<name>.surface.ply`, and for all together scores.csv
    (a shard: a table of its own, see `btp.inspect.shards`). What an earlier run
    finished with the same detector, file, coverage and threshold is not scored again.

    Args:
        inspector: the detector.
        scans: files. The result of an unreadable one says what is wrong with it.
        out: folder for the results.
        calibration: alarm thresholds; without them no verdict, and a point threshold of 0.5.
        pictures: whether to draw them.
        workers: reading threads, by default one a core, at most eight.
        coverage: as in `Inspector.predict`.
        writers: writing processes, by default one for two cores, at most eight; 1: a thread here.
            At most workers + writers + 2 scans are in memory.
        together: whether the scans are judged by one another, see `find_peers`.
        reference: good scans that they are judged against, or None.

    Returns:
        The result of each scan, in order.

    Raises:
        DataError: if nothing can be written into `out`, or the reference is of another part. Where
            only the files of a scan cannot be written, its result says so.
        ConfigError: if the scans cannot be judged together.
    """
    settings = (coverage, point_threshold(calibration), pictures, inspector.precision)
    scorer: Scorer = AloneScorer(inspector, coverage)
    if together != "false" or reference is not None:
        scorer = PeerScorer(inspector, scans, out, coverage, together, reference, workers)

    def read(path: Path) -> tuple[Provenance, ScanResult | Loaded]:
        content, key = file_digest(path), scorer.key(path)
        provenance = Provenance(content, inspector.digest, btp.__version__, *settings, key)
        earlier = ScanOutputs(out, scans.name(path)).read(provenance)
        return provenance, earlier or scorer.load(path)

    def begin() -> Iterator[Future[ScanResult]]:
        for path, reading in work_ahead(read, scans.paths, workers, title):
            outputs = ScanOutputs(out, scans.name(path))
            try:
                provenance, scan = reading.result()
                scored = scan if isinstance(scan, ScanResult) else scorer.score(scan, path)
            except DataError as error:
                scored = _failed(outputs, error)
            if isinstance(scored, ScanResult):
                yield _written(scored)
            else:
                yield writer.submit(_write, outputs, scored, provenance)

    title = f"scoring {scans.share}".strip()
    results, table = list[ScanResult](), ScoreTable(out, scans.share)
    writers = writers or max(1, min(core_count() // 2, 8, len(scans.paths)))
    # one process at a time for each share: two with other settings would mix their results
    with locked(out / f".{table.path.stem}.lock"), writer_pool(writers) as writer:
        table.begin()
        for writing in lag_behind(begin(), writers):
            results.append(decide(writing.result(), calibration))
            table.add(results[-1])
        table.finish(results)
    return results


def point_threshold(calibration: Calibration | None) -> float:
    """Return the point score above which points belong to a defect region."""
    return UNCALIBRATED if calibration is None else calibration.point.value


def chosen_coverage(asked: str | None, calibration: Calibration | None = None) -> Coverage:
    """Choose the coverage: as asked for, or else as calibrated, or else the default.

    Raises:
        ConfigError: if it is unknown, or differs from that of the calibration.
    """
    calibrated = None if calibration is None else calibration.coverage
    wanted = asked or calibrated or COVERAGE
    coverage = next((name for name in COVERAGES if name == wanted), None)
    if coverage is None:
        raise ConfigError(f"coverage is {wanted!r}; expected {' or '.join(COVERAGES)}")
    if calibrated not in (None, coverage):
        raise ConfigError(
            f"coverage is {coverage}, and the alarm thresholds were set with {calibrated}, which "
            f"gives other scores; calibrate again with coverage={coverage}, or leave it out"
        )
    return coverage


def chosen_together(
    asked: str, calibration: Calibration | None = None, own_reference: bool = False
) -> Together:
    """Choose whether scans are judged by one another: as asked for, and "auto" as calibrated.

    Args:
        asked: "auto", "true" or "false".
        calibration: alarm thresholds that the scores are compared with.
        own_reference: whether good scans are given besides those of the calibration.

    Raises:
        ConfigError: if it is unknown, or the alarm thresholds hold for other scores.
    """
    together = next((way for way in get_args(Together) if way == asked), None)
    if together is None:
        raise ConfigError(f"together is {asked!r}; expected {', '.join(get_args(Together))}")
    if calibration is None:
        return together
    if together == "true" or own_reference:
        was = f"against {calibration.reference} good scans" if calibration.reference else "alone"
        raise ConfigError(
            f"the alarm thresholds were set by scans judged {was}, and hold for no other scores; "
            "leave together and reference out, or give calibration=none to do without thresholds"
        )
    return "false"


def exit_code(results: Sequence[ScanResult]) -> int:
    """Return 3 if any scan is DEFECT, else 2 if any could not be scored, else 0."""
    if any(result.verdict == "DEFECT" for result in results):
        return 3
    return 2 if any(result.error for result in results) else 0


def _write(outputs: ScanOutputs, scored: ScoredScan, provenance: Provenance) -> ScanResult:
    """Write the files of a scan; if that fails, as on a full disk, the result says why."""
    try:
        return outputs.write(scored, provenance)
    except DataError as error:
        return _failed(outputs, error)


def _failed(outputs: ScanOutputs, error: DataError) -> ScanResult:
    """Return the result of a scan that cannot be scored, without what an earlier run made of it."""
    reason = str(error)
    try:
        outputs.remove()
    except DataError as kept:  # on a read-only disk
        reason = f"{reason}; and {kept}"
    return ScanResult(outputs.name, error=printable(reason))


def _written(result: ScanResult) -> Future[ScanResult]:
    """Wrap the result of a scan that has nothing to write."""
    future: Future[ScanResult] = Future()
    future.set_result(result)
    return future


def decide(result: ScanResult, calibration: Calibration | None) -> ScanResult:
    """Return a result with a verdict, if there are alarm thresholds and its score compares."""
    if calibration is None or result.object_score is None:
        return result
    if calibration.reference and result.judged == ALONE:
        reason = (
            "no verdict: its extents agree with none of the good scans, so it was judged alone; it "
            "is another part, or was seen from one side only"
        )
        return replace(result, note="; ".join(filter(None, [result.note, reason])))
    threshold = calibration.object.value
    verdict = "DEFECT" if result.object_score > threshold else "OK"
    return replace(result, threshold=threshold, verdict=verdict)
