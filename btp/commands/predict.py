"""Score your own scans: `btp predict input=FILE|DIR|GLOB`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from omegaconf import DictConfig

from btp.commands.settings import bfloat16_from, device_from, script, whole, whole_or_none
from btp.inspect.calibration import read_calibration
from btp.inspect.folder import (
    chosen_coverage,
    chosen_together,
    exit_code,
    point_threshold,
    score_folder,
)
from btp.inspect.outputs import ScanResult
from btp.inspect.overview import ScoredFolder, write_overview
from btp.inspect.predictor import calibration_path, load
from btp.inspect.reference import read_good_scans, reference_path
from btp.inspect.scan_files import find_scans


@script("predict")
def main(config: DictConfig) -> None:
    workers, writers = whole_or_none(config, "workers"), whole_or_none(config, "writers")
    viewer_scans = whole(config, "viewer_scans", 0)
    out = Path(config.out)
    scans = find_scans(str(config.input), out)
    device, bfloat16 = device_from(config), bfloat16_from(config)
    detector = load(config.detector, device, bfloat16)
    path = calibration_path(config.detector, config.calibration)
    calibration = None
    if config.calibration not in (None, "none") or (config.calibration is None and path.is_file()):
        calibration = read_calibration(path, detector.digest)
    coverage = chosen_coverage(config.coverage, calibration)
    asked, own_reference = str(config.together).lower(), config.reference is not None
    together = chosen_together(asked, calibration, own_reference)
    reference = None
    if own_reference:
        good = find_scans(str(config.reference)).paths
        reference = detector.remember(good, coverage)
    elif calibration is not None and calibration.reference:
        reference = read_good_scans(reference_path(path), detector.digest)
    settings = (config.pictures, workers, coverage, writers, together)
    results = score_folder(detector, scans, out, calibration, *settings, reference)
    for result in results:
        print(summary(result))
    print(how_judged(results))
    if calibration is None:
        print("not calibrated, so no verdict: python scripts/calibrate.py normal=DIR detector=...")
    print(out / "scores.csv")
    folders = [ScoredFolder(title(config.detector), out, results, point_threshold(calibration))]
    if config.compare is not None:
        other, folder = load(config.compare, device, bfloat16), out / "_compared"
        known = other.remember(good, coverage) if own_reference else None
        compared = score_folder(other, scans, folder, None, *settings, known)
        folders.append(ScoredFolder(title(config.compare), folder, compared, point_threshold(None)))
        print(folder / "scores.csv")
    if config.viewer:
        left = write_overview(out / "viewer.html", folders, viewer_scans)
        if left is not None:
            print(f"{out / 'viewer.html'}" + (f" ({left:,} lower scores left out)" if left else ""))
    raise SystemExit(exit_code(results))


def title(detector: str) -> str:
    """Return a detector's name for the viewer: as it was typed, without the usual file name."""
    return str(detector).removesuffix("/detector.safetensors")


def how_judged(results: list[ScanResult]) -> str:
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
