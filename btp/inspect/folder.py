"""A folder of scans in; scores, heat maps, defect regions and a decision for each out."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

from tqdm import tqdm

import btp
from btp.data.coverage import COVERAGES, Coverage
from btp.data.formats import POINT_SUFFIXES
from btp.errors import ConfigError, DataError
from btp.inspect.calibration import Calibration, calibrate
from btp.inspect.outputs import Made, Outputs, Result
from btp.inspect.predictor import COVERAGE, Inspector, ReadyScan
from btp.inspect.score_table import ScoreTable
from btp.runtime.files import file_digest
from btp.runtime.threads import core_count

UNCALIBRATED = 0.5
"""Point threshold without a calibration: as near to the anomalous prompt as to the normal one."""

T = TypeVar("T")


@dataclass(frozen=True)
class Scans:
    """Files to score.

    Attributes:
        root: folder that their names in the results are relative to.
        paths: below it, sorted by name.
    """

    root: Path
    paths: list[Path]

    def name(self, path: Path) -> str:
        """A scan's name in the results: its path below the root, with `/`."""
        return path.relative_to(self.root).as_posix()


def find_scans(source: str, out: Path | None = None) -> Scans:
    """List the scans of a file, a folder with all below it, or a glob pattern (`**` goes deeper).

    Args:
        source: path or pattern. Only files with readable suffixes count, and no hidden ones.
        out: folder of the results; what lies in it does not count.

    Raises:
        DataError: if there is none.
        ConfigError: if the results would lie among the scans.
    """
    path = Path(source).expanduser()
    if path.is_file():
        return Scans(path.parent, [path])
    if path.is_dir():
        root, found = path, [*path.rglob("*")]
    else:
        root = next(parent for parent in path.parents if parent.is_dir())
        found = [*root.glob(str(path.relative_to(root)))]
    if out is not None and out.resolve() == root.resolve():
        raise ConfigError(f"out={out} is the folder of the scans; choose another for the results")
    scans = Scans(root, [])
    for file in sorted(found, key=scans.name):
        hidden = any(part.startswith(".") for part in file.relative_to(root).parts)
        ours = out is not None and out.resolve() in file.resolve().parents
        if file.suffix.lower() in POINT_SUFFIXES and file.is_file() and not hidden and not ours:
            scans.paths.append(file)
    if not scans.paths:
        raise DataError(
            f"{source}: no scan found; expected a file, a folder or a pattern of files "
            f"{', '.join(POINT_SUFFIXES)}"
        )
    return scans


def inspect(
    inspector: Inspector,
    scans: Scans,
    out: Path,
    calibration: Calibration | None = None,
    pictures: bool = True,
    workers: int | None = None,
    coverage: Coverage = COVERAGE,
    writers: int | None = None,
) -> list[Result]:
    """Score scans one by one, and write what is found.

    For each scan `out` gets `<name>.scores.ply`, `<name>.png` and `<name>.regions.json`, for a
    coarse mesh also `<name>.surface.ply`, and for all of them scores.csv. A scan that an earlier
    run has finished with the same detector, file, coverage and threshold is not scored again.

    Args:
        inspector: the detector.
        scans: files; what is wrong with an unreadable one is in its result.
        out: folder for the results.
        calibration: of the detector; without one there is no verdict, and the point threshold is
            0.5.
        pictures: whether to draw them.
        workers: reading threads, by default one a core, at most eight.
        coverage: as in `Inspector.predict`.
        writers: processes that write and draw, by default one for two cores, at most eight; 1: a
            thread of this one. So many scans as there are workers and writers, and two more, are
            in memory at a time.

    Returns:
        One result a scan, in order.

    Raises:
        DataError: if the results cannot be written. Nothing half-written is left.
    """
    threshold = point_threshold(calibration)

    def read(path: Path) -> tuple[Made, Result | ReadyScan]:
        digest = file_digest(path)
        settings = (coverage, threshold, pictures, inspector.precision)
        made = Made(digest, inspector.digest, btp.__version__, *settings)
        return made, Outputs(out, scans.name(path)).read(made) or inspector.ready(path, coverage)

    def begin() -> Iterator[Future[Result]]:
        for path, reading in _ahead(read, scans.paths, workers):
            outputs = Outputs(out, scans.name(path))
            try:
                made, found = reading.result()
                scored = inspector.score([found])[0] if isinstance(found, ReadyScan) else found
            except DataError as error:
                scored = Result(outputs.name, error=str(error))
            if isinstance(scored, Result):
                done: Future[Result] = Future()
                done.set_result(scored)
                yield done
            else:
                yield writer.submit(outputs.write, scored, made)

    results, table = list[Result](), ScoreTable(out)
    count = writers or min(max(1, core_count() // 2), 8, len(scans.paths))
    with _writing(count) as writer:
        for writing in _behind(begin(), count):
            results.append(_decide(writing.result(), calibration))
            table.add(results[-1])
    table.finish(results)
    return results


def point_threshold(calibration: Calibration | None) -> float:
    """Above which points are part of a region."""
    return UNCALIBRATED if calibration is None else calibration.point.value


def chosen_coverage(asked: str | None, calibration: Calibration | None = None) -> Coverage:
    """How to cover scans: as asked for, or else as the thresholds were set, or else by default.

    Raises:
        ConfigError: if it is unknown, or other than that of the thresholds.
    """
    set_with = None if calibration is None else calibration.coverage
    wanted = asked or set_with or COVERAGE
    known = next((name for name in COVERAGES if name == wanted), None)
    if known is None:
        raise ConfigError(f"coverage is {wanted!r}; expected {' or '.join(COVERAGES)}")
    if set_with not in (None, known):
        raise ConfigError(
            f"coverage is {known}, and the alarm thresholds were set with {set_with}, which gives "
            f"other scores; calibrate again with coverage={known}, or leave it out"
        )
    return known


def calibrate_on(
    inspector: Inspector,
    scans: Scans,
    false_alarms: float,
    workers: int | None = None,
    coverage: Coverage = COVERAGE,
) -> Calibration:
    """Score good scans, and set the thresholds by them.

    Raises:
        DataError: if one of them is unreadable.
        ConfigError: if the rate of false alarms is out of range.
    """
    objects, maxima = [], []
    for _, reading in _ahead(lambda path: inspector.ready(path, coverage), scans.paths, workers):
        scored = inspector.score([reading.result()])[0]
        objects.append(scored.object_score)
        maxima.append(float(scored.surface_scores.max()))
    return calibrate(inspector.digest, objects, maxima, false_alarms, coverage)


def exit_code(results: list[Result]) -> int:
    """3 if any scan is DEFECT; else 2 if any could not be scored; else 0."""
    if any(result.verdict == "DEFECT" for result in results):
        return 3
    return 2 if any(result.error for result in results) else 0


def _ahead(
    work: Callable[[Path], T], paths: list[Path], workers: int | None
) -> Iterator[tuple[Path, Future[T]]]:
    """Yield each path with its finished work, in order, while threads work on the next few."""
    workers = workers or min(core_count(), 8)
    pending: deque[tuple[Path, Future[T]]] = deque()
    pool = ThreadPoolExecutor(workers)
    bar = tqdm(total=len(paths), desc="scoring", unit="scan", disable=None)
    try:
        for path in paths:
            pending.append((path, pool.submit(work, path)))
            if len(pending) > workers:
                yield pending.popleft()
                bar.update()
        while pending:
            yield pending.popleft()
            bar.update()
    finally:
        bar.close()
        pool.shutdown(cancel_futures=True)


def _writing(count: int) -> Executor:
    """So many at a time; Matplotlib draws in one thread of a process at a time."""
    if count == 1:
        return ThreadPoolExecutor(1)
    # spawned, not forked: a fork copies the locks of torch's threads
    return ProcessPoolExecutor(count, mp_context=get_context("spawn"))


def _behind(futures: Iterator[Future[T]], count: int) -> Iterator[Future[T]]:
    """Yield each future after `count` more were asked for: its work goes on in the meantime."""
    waiting: deque[Future[T]] = deque()
    for future in futures:
        waiting.append(future)
        if len(waiting) > count:
            yield waiting.popleft()
    yield from waiting


def _decide(result: Result, calibration: Calibration | None) -> Result:
    if calibration is None or result.object_score is None:
        return result
    threshold = calibration.object.value
    verdict = "DEFECT" if result.object_score > threshold else "OK"
    return replace(result, threshold=threshold, verdict=verdict)
