"""Set alarm thresholds by good scans: `btp calibrate normal=DIR`."""

from __future__ import annotations

from dataclasses import replace

from omegaconf import DictConfig

from btp.commands.settings import bfloat16_from, device_from, script, whole_or_none
from btp.errors import ConfigError
from btp.inspect.calibrate import calibrate_against, calibrate_on
from btp.inspect.calibration import write_calibration
from btp.inspect.folder import chosen_coverage
from btp.inspect.predictor import calibration_path, load
from btp.inspect.reference import reference_path, write_good_scans
from btp.inspect.scan_files import find_scans
from btp.runtime.files import file_digest


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
    settings = (config.false_alarms, workers, coverage)
    path = calibration_path(config.detector, config.out)
    if config.keep_scans:
        calibration, good = calibrate_against(detector, scans, *settings)
    else:
        calibration, good = calibrate_on(detector, scans, *settings), None
    if good is not None:  # first, so that thresholds never stand without their scans
        size = write_good_scans(reference_path(path), good)
        calibration = replace(calibration, reference_digest=file_digest(reference_path(path)))
    write_calibration(path, calibration)
    print(calibration.describe())
    print(path)
    if good is not None:
        print(f"{reference_path(path)} ({len(good.scans)} good scans, {size / 1e6:.1f} MB)")
    elif config.keep_scans:
        print("judged alone: these are too few scans, or not evidently of one part")
