"""Score your own scans: `btp predict input=FILE|DIR|GLOB`."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from btp.commands.settings import bfloat16_from, device_from, script, whole, whole_or_none
from btp.inspect.calibration import read_calibration
from btp.inspect.folder import chosen_coverage, exit_code, point_threshold, score_folder
from btp.inspect.outputs import ScanResult
from btp.inspect.overview import ScoredFolder, write_overview
from btp.inspect.predictor import calibration_path, load
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
    if config.calibration is not None or path.is_file():
        calibration = read_calibration(path, detector.digest)
    coverage = chosen_coverage(config.coverage, calibration)
    settings = (config.pictures, workers, coverage, writers)
    results = score_folder(detector, scans, out, calibration, *settings)
    for result in results:
        print(summary(result))
    if calibration is None:
        print("not calibrated, so no verdict: python scripts/calibrate.py normal=DIR detector=...")
    print(out / "scores.csv")
    folders = [ScoredFolder(title(config.detector), out, results, point_threshold(calibration))]
    if config.compare is not None:
        other, folder = load(config.compare, device, bfloat16), out / "_compared"
        compared = score_folder(other, scans, folder, None, *settings)
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


def summary(result: ScanResult) -> str:
    if result.error:
        return f"ERROR   {result.error}"
    verdict = f"{result.verdict:8}" if result.verdict else ""
    return f"{verdict}{result.object_score:.4f}  {result.file} ({result.regions} regions)"
