"""Set alarm thresholds by good scans: `python scripts/calibrate.py normal=DIR`."""

from __future__ import annotations

from omegaconf import DictConfig

from btp.commands.settings import bfloat16_from, device_from, script
from btp.commands.typed_paths import take_paths_as_typed
from btp.inspect.calibration import write_calibration
from btp.inspect.folder import calibrate_on, chosen_coverage
from btp.inspect.predictor import calibration_path, load
from btp.inspect.scan_files import find_scans


@script("calibrate")
def main(config: DictConfig) -> None:
    scans = find_scans(str(config.normal))
    detector = load(config.detector, device_from(config), bfloat16_from(config))
    coverage = chosen_coverage(config.coverage)
    calibration = calibrate_on(detector, scans, config.false_alarms, config.workers, coverage)
    path = calibration_path(config.detector, config.out)
    write_calibration(path, calibration)
    print(calibration.describe())
    print(path)


if __name__ == "__main__":
    take_paths_as_typed("normal", "detector", "out")
    main()
