"""Set alarm thresholds by a handful of good scans, and say how far so few can be trusted.

The rule is that of split conformal prediction (Vovk et al. 2005). It assumes only that the next
good scan is like the n measured ones. The next score then lies above the k-th smallest of n with
probability (n + 1 - k) / (n + 1), and the false alarm rate of a threshold set there is distributed
as Beta(n + 1 - k, k) over the choice of the n scans.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from btp.config import build
from btp.errors import BTPError, ConfigError, WeightsError
from btp.runtime.files import file_digest, write_text
from btp.runtime.own_files import command_line

CONFIDENCE = 0.95
AGAIN = f"calibrate again: {command_line('calibrate', 'normal=DIR', 'detector=...')}"


@dataclass(frozen=True)
class Threshold:
    """A score above which a scan raises an alarm.

    Attributes:
        value: one of the good scans' scores.
        rate: expected share of good scans that raise a false alarm.
        rate_low, rate_high: its 95 % confidence interval.
    """

    value: float
    rate: float
    rate_low: float
    rate_high: float


@dataclass(frozen=True)
class Calibration:
    """The alarm thresholds of one detector for one kind of part.

    Attributes:
        detector: digest of the detector's file.
        false_alarms: the rate that was asked for.
        scans: number of good scans measured.
        object: threshold of the object score, above which a scan is DEFECT.
        point: threshold of point scores; `rate` of good scans have any point above it.
        coverage: with which the good scans were scored, and others must be.
        reference: number of good scans that each was judged against, itself left out, and others
            must be; 0 if each was judged alone.
        reference_digest: of the file of these good scans; "" if there is none.
    """

    detector: str
    false_alarms: float
    scans: int
    object: Threshold
    point: Threshold
    coverage: str = "sampled"
    reference: int = 0
    reference_digest: str = ""

    @property
    def scans_needed(self) -> int:
        """Return the fewest good scans with which the rate asked for can be kept."""
        return math.ceil(1 / self.false_alarms - 1e-9) - 1

    def describe(self) -> str:
        """Explain in a few lines what the thresholds promise, and whether the scans are too few."""
        lines = [f"{self.scans} good scans, {self.false_alarms:.3g} false alarms asked for"]
        if self.scans < self.scans_needed:
            lines.append(
                f"too few scans: a rate of {self.false_alarms:.3g} needs at least "
                f"{self.scans_needed}; the thresholds are the highest scores of those there are"
            )
        lines += [
            f"{name} threshold {t.value:.4f}: about {t.rate:.3g} of good scans will be above it "
            f"(95 % interval {t.rate_low:.2g} to {t.rate_high:.2g})"
            for name, t in (("object", self.object), ("point", self.point))
        ]
        return "\n".join(lines)


def calibrate(
    detector: str,
    object_scores: Sequence[float],
    point_maxima: Sequence[float],
    rate: float,
    coverage: str = "sampled",
) -> Calibration:
    """Set the thresholds of object and point scores by good scans' scores.

    Args:
        detector: digest of the detector that gave the scores.
        object_scores: of each good scan.
        point_maxima: highest point score of each good scan.
        rate: of false alarms, in 0..1, exclusive.
        coverage: with which the scans were scored.

    Raises:
        ConfigError: if the rate is out of range, or there is no scan.
    """
    return Calibration(
        detector=detector,
        false_alarms=rate,
        scans=len(object_scores),
        object=alarm_threshold(object_scores, rate),
        point=alarm_threshold(point_maxima, rate),
        coverage=coverage,
    )


def alarm_threshold(scores: Sequence[float], rate: float) -> Threshold:
    """Choose the lowest score that the next good scan exceeds with a probability of at most `rate`.

    Fewer than 1 / rate - 1 scores have none so high. Then the highest score is taken, and the
    threshold's own `rate` says what to expect of it.

    Args:
        scores: of n >= 1 good scans.
        rate: in 0..1, exclusive.

    Raises:
        ConfigError: if the rate is out of range, or there is no score.
    """
    from scipy.stats import beta

    if not 0 < rate < 1:
        raise ConfigError(f"false_alarms is {rate}; expected a share between 0 and 1, such as 0.05")
    if not len(scores):
        raise ConfigError("no good scan to calibrate with; at least one is needed, better twenty")
    n = len(scores)
    above = min(n, max(1, math.floor((n + 1) * rate + 1e-9)))  # of the n + 1 gaps around scores
    k = n + 1 - above
    low, high = beta.interval(CONFIDENCE, above, k)
    return Threshold(float(np.sort(scores)[k - 1]), above / (n + 1), float(low), float(high))


def write_calibration(path: Path, calibration: Calibration) -> None:
    """Write alarm thresholds as JSON."""
    write_text(path, json.dumps(asdict(calibration), indent=2) + "\n")


def check_reference(path: Path, calibration: Calibration) -> None:
    """Refuse good scans that are not those by which alarm thresholds were set.

    Args:
        path: of the good scans' file.
        calibration: the thresholds.

    Raises:
        WeightsError: if the file is missing, or was written after the thresholds.
        DataError: if it cannot be read.
    """
    if not path.is_file():
        raise WeightsError(f"{path}: no such file; {AGAIN}")
    if calibration.reference_digest != file_digest(path):
        raise WeightsError(
            f"{path}: not the good scans that the alarm thresholds beside it were set by; {AGAIN}"
        )


def read_calibration(path: Path, detector: str) -> Calibration:
    """Read alarm thresholds that `write_calibration` wrote.

    Args:
        path: of the JSON file.
        detector: digest of the detector that the thresholds will be used with.

    Raises:
        WeightsError: if the file is missing or damaged, or was made with another detector.
    """
    try:
        calibration = build(Calibration, json.loads(path.read_text("utf-8")), str(path))
    except FileNotFoundError as error:
        raise WeightsError(f"{path}: no such file; {AGAIN}") from error
    except (OSError, ValueError, TypeError, AttributeError, BTPError) as error:
        raise WeightsError(f"{path}: not a calibration ({error}); {AGAIN}") from error
    if calibration.detector != detector:
        raise WeightsError(
            f"{path}: was made with the detector {calibration.detector}, and this one is "
            f"{detector}; thresholds hold for one detector only; {AGAIN}"
        )
    return calibration
