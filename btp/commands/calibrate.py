"""Set alarm thresholds by good scans: `btp calibrate normal=DIR`."""

from __future__ import annotations

from omegaconf import DictConfig

from btp.commands.settings import bfloat16_from, device_from, script, whole_or_none
from btp.errors import ConfigError
from btp.inspect.calibration import write_calibration
from btp.inspect.folder import calibrate_on, chosen_coverage
from btp.inspect.predictor import calibration_path, load
from btp.inspect.scan_files import find_scans


@script("calibrate")
def main(config: DictConfig) -> None:
    workers = whole_or_none(config, "workers")
    if not 0 < config.false_alarms < 1:
        raise ConfigError(
            f"false_alarms is {config.false_alarms}; expected a share between 0 and 1, such as 0.05"
        )
    scans = find_scans(str(config.normal))
    detector = load(config.detector, device_from(config), bfloat16_from(config))
    coverage = chosen_coverage(config.coverage)
    calibration = calibrate_on(detector, scans, config.false_alarms, workers, coverage)
    path = calibration_path(config.detector, config.out)
    write_calibration(path, calibration)
    print(calibration.describe())
    print(path)
