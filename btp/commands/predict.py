"""Score your own scans: `btp predict input=FILE|DIR|GLOB`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from omegaconf import DictConfig

from btp.commands.settings import (
    bfloat16_from,
    device_from,
    in_a_sweep,
    overrides,
    script,
    whole,
    whole_or_none,
)
from btp.data.coverage import Coverage
from btp.errors import ConfigError
from btp.inspect.calibration import Calibration, check_reference, read_calibration
from btp.inspect.folder import (
    chosen_coverage,
    chosen_together,
    exit_code,
    point_threshold,
    score_folder,
)
from btp.inspect.outputs import ScanResult
from btp.inspect.overview import ScoredFolder, write_overview
from btp.inspect.predictor import Inspector, calibration_path, detector_path, load
from btp.inspect.reference import GoodScans, read_good_scans, reference_path
from btp.inspect.scan_files import ScanFiles, find_scans
from btp.inspect.score_table import ScoreTable
from btp.inspect.shards import merge_shards
from btp.runtime.files import file_digest
from btp.runtime.own_files import command_line


@script("predict")
def main(config: DictConfig) -> None:
    for key in ("workers", "writers"):  # before anything is read
        whole_or_none(config, key)
    shard = shard_from(config)
    viewer_scans = whole(config, "viewer_scans", 0)
    out = Path(config.out)
    scans = find_scans(str(config.input), out)
    calibration = calibration_from(config)
    coverage = chosen_coverage(config.coverage, calibration)
    if shard is not None:
        scans = scans.shard(shard, config.shards)
    missing: list[int] = []
    if config.merge:
        folders, missing = merged(config, scans, calibration, coverage)
    else:
        folders = scored(config, scans, calibration, coverage)
    results = folders[0].results
    for result in results:
        print(summary(result))
    print(how_judged(results))
    if calibration is None:
        again = command_line("calibrate", "normal=DIR", "detector=...")
        print(f"not calibrated, so no verdict: {again}")
    for folder in folders:
        print(ScoreTable(folder.folder, scans.share).path)
    if config.viewer and shard is None:
        left = write_overview(out / "viewer.html", folders, viewer_scans)
        if left is not None:
            print(f"{out / 'viewer.html'}" + (f" ({left:,} lower scores left out)" if left else ""))
    if missing:
        print(unfinished(config.shards, missing))
    if not in_a_sweep():  # whose other jobs go on
        raise SystemExit(exit_code(results))


def shard_from(config: DictConfig) -> int | None:
    """Return the number of the shard to score, None for all scans.

    Raises:
        ConfigError: for a number out of range, or settings that contradict each other.
    """
    shards, shard = whole(config, "shards", 1), whole_or_none(config, "shard", 0)
    if shard is not None and shard >= shards:
        raise ConfigError(f"shard is {shard} with shards={shards}; expected 0 to {shards - 1}")
    if shard is not None and config.merge:
        raise ConfigError(f"merge=true puts all shards together; leave shard={shard} out")
    if shards > 1 and shard is None and not config.merge:
        raise ConfigError(
            f"shards={shards} without a shard; expected -m 'shard=range(0,{shards})' to score all, "
            "shard=0 to score one, or merge=true to put their results together"
        )
    if shards > 1 and str(config.together).lower() != "false":
        raise ConfigError(
            f"together={config.together} with shards={shards}: scans are judged by one another "
            f"only where all are at hand, and a shard has every {shards}th; leave together out, or "
            "give good scans of the part as reference=DIR, which every shard can judge against"
        )
    return shard


def calibration_from(config: DictConfig) -> Calibration | None:
    """Read the alarm thresholds: those that are named, or else the detector's if they are there."""
    path = calibration_path(config.detector, config.calibration)
    if config.calibration == "none" or (config.calibration is None and not path.is_file()):
        return None
    return read_calibration(path, file_digest(detector_path(config.detector)))


def scored(
    config: DictConfig, scans: ScanFiles, calibration: Calibration | None, coverage: Coverage
) -> list[ScoredFolder]:
    """Score scans with the detector, and with the one that it is compared with."""
    asked, own_reference = str(config.together).lower(), config.reference is not None
    together = chosen_together(asked, calibration, own_reference)
    device, bfloat16 = device_from(config), bfloat16_from(config)
    folders = []
    for place, thresholds in folders_of(config, calibration):
        detector = load(place.detector, device, bfloat16)
        results = score_folder(
            detector,
            scans,
            place.folder,
            thresholds,
            pictures=config.pictures,
            workers=config.workers,
            coverage=coverage,
            writers=config.writers,
            together=together,
            reference=reference_from(config, detector, thresholds, coverage),
        )
        folders.append(replace(place, detector=title(place.detector), results=results))
    return folders


def merged(
    config: DictConfig, scans: ScanFiles, calibration: Calibration | None, coverage: Coverage
) -> tuple[list[ScoredFolder], list[int]]:
    """Put the results of shards together; return them, and the shards that are not finished."""
    folders, missing = [], set[int]()
    for place, thresholds in folders_of(config, calibration):
        digest = file_digest(detector_path(place.detector))
        found = merge_shards(scans, place.folder, config.shards, digest, thresholds, coverage)
        missing |= {*found.missing}
        folders.append(replace(place, detector=title(place.detector), results=found.results))
    return folders, sorted(missing)


def unfinished(shards: int, missing: Sequence[int]) -> str:
    """Return a line that names shards that are not finished, and the command that scores them."""
    numbers = ",".join(map(str, missing))
    settings = [each for each in overrides() if not each.startswith("merge=")]
    again = command_line("predict", "-m", *settings, f"shard={numbers}")
    return f"not finished of {shards} shards: {numbers}; score them: {again}"


def folders_of(
    config: DictConfig, calibration: Calibration | None
) -> list[tuple[ScoredFolder, Calibration | None]]:
    """Return where each detector's results belong, still without them, and its alarm thresholds."""
    found = [(str(config.detector), Path(config.out), calibration)]
    if config.compare is not None:
        found.append((str(config.compare), Path(config.out) / "_compared", None))
    return [
        (ScoredFolder(detector, folder, [], point_threshold(thresholds)), thresholds)
        for detector, folder, thresholds in found
    ]


def reference_from(
    config: DictConfig, detector: Inspector, calibration: Calibration | None, coverage: Coverage
) -> GoodScans | None:
    """Return the good scans to judge against: those that are named, or else calibrated with."""
    if config.reference is not None:
        return detector.remember(find_scans(str(config.reference)).paths, coverage)
    if calibration is not None and calibration.reference:
        path = calibration_path(config.detector, config.calibration)
        check_reference(reference_path(path), calibration)
        return read_good_scans(reference_path(path), detector.digest)
    return None


def title(detector: str) -> str:
    """Return a detector's name for the viewer: as it was typed, without the usual file name."""
    return detector.removesuffix("/detector.safetensors")


def how_judged(results: Sequence[ScanResult]) -> str:
    """Return a line that counts the scans by what they were judged by."""
    ways = Counter(
        f"{result.judged} (group {result.group})" if result.group else result.judged
        for result in results
        if not result.error
    )
    counted = ", ".join(f"{count:,} {way}" for way, count in sorted(ways.items()))
    return f"judged: {counted or 'none'}"


def summary(result: ScanResult) -> str:
    if result.error:
        return f"ERROR   {result.error}"
    verdict = f"{result.verdict:8}" if result.verdict else ""
    return f"{verdict}{result.object_score:.4f}  {result.file} ({result.regions} regions)"
