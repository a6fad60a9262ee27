"""Score your own scans: `python scripts/predict.py input=FILE|DIR|GLOB`."""

from __future__ import annotations

from pathlib import Path

from _paths import take_paths_as_typed
from _session import device_from, script
from omegaconf import DictConfig

from btp.calibration import read_calibration
from btp.findings import Result
from btp.inference import calibration_path, load
from btp.inspection import exit_code, find_scans, inspect


@script("predict")
def main(config: DictConfig) -> None:
    out = Path(config.out).expanduser()
    scans = find_scans(str(config.input), out)
    detector = load(config.detector, device_from(config))
    path = calibration_path(config.detector, config.calibration)
    calibration = None
    if config.calibration is not None or path.is_file():
        calibration = read_calibration(path, detector.digest)
    results = inspect(detector, scans, out, calibration, config.pictures, config.workers)
    for result in results:
        print(line(result))
    if calibration is None:
        print("not calibrated, so no verdict: python scripts/calibrate.py normal=DIR detector=...")
    print(out / "scores.csv")
    raise SystemExit(exit_code(results))


def line(result: Result) -> str:
    if result.error:
        return f"ERROR   {result.error}"
    verdict = f"{result.verdict:8}" if result.verdict else ""
    return f"{verdict}{result.object_score:.4f}  {result.file} ({result.regions} regions)"


if __name__ == "__main__":
    take_paths_as_typed("input", "detector", "out", "calibration")
    main()
