"""Alarm thresholds: by hand, by simulation, and on disk."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from btp.errors import ConfigError, WeightsError
from btp.inspect.calibration import (
    alarm_threshold,
    calibrate,
    check_reference,
    read_calibration,
    write_calibration,
)
from btp.runtime.files import file_digest

NINETEEN = [i / 100 for i in range(19)]


def test_nineteen_scans_keep_one_in_twenty_by_their_highest() -> None:
    threshold = alarm_threshold(NINETEEN[::-1], 0.05)
    assert threshold.value == 0.18
    assert threshold.rate == pytest.approx(1 / 20)
    # The rate above the highest of n has the distribution function 1 - (1 - r)^n.
    assert threshold.rate_low == pytest.approx(1 - 0.975 ** (1 / 19))
    assert threshold.rate_high == pytest.approx(1 - 0.025 ** (1 / 19))


@pytest.mark.parametrize(
    ("scans", "rate", "kth", "kept"),
    [
        (39, 0.05, 38, 0.05),
        (38, 0.05, 38, 1 / 39),
        (9, 0.3, 7, 0.3),
        (1, 0.05, 1, 0.5),
        (3, 1 - 1e-12, 1, 0.75),
    ],
)
def test_which_score_is_taken(scans: int, rate: float, kth: int, kept: float) -> None:
    threshold = alarm_threshold(range(1, scans + 1), rate)
    assert (threshold.value, threshold.rate) == (kth, pytest.approx(kept))


def test_the_promised_rates_hold() -> None:
    """Uniform scores: the true rate of a threshold t is 1 - t."""
    rng = np.random.default_rng(0)
    drawn = [alarm_threshold(rng.random(24), 0.1) for _ in range(2000)]
    true = np.array([1 - t.value for t in drawn])
    assert true.mean() == pytest.approx(drawn[0].rate, abs=0.005)
    assert drawn[0].rate <= 0.1
    inside = (true >= drawn[0].rate_low) & (true <= drawn[0].rate_high)
    assert inside.mean() == pytest.approx(0.95, abs=0.015)


def test_too_few_scans_are_said_to_be() -> None:
    few = calibrate("d", [0.1, 0.4, 0.2, 0.3], [0.5, 0.6, 0.7, 0.8], 0.05)
    assert (few.object.value, few.point.value) == (0.4, 0.8)
    assert "too few scans: a rate of 0.05 needs at least 19" in few.describe()
    assert (
        "about 0.2 of good scans will be above it (95 % interval 0.0063 to 0.6)" in few.describe()
    )
    assert "too few" not in calibrate("d", NINETEEN, NINETEEN, 0.05).describe()


@pytest.mark.parametrize("rate", [0, 1, -0.1, 5])
def test_a_rate_out_of_range(rate: float) -> None:
    with pytest.raises(ConfigError, match="expected a share between 0 and 1"):
        alarm_threshold(NINETEEN, rate)


def test_no_scan() -> None:
    with pytest.raises(ConfigError, match="at least one"):
        alarm_threshold([], 0.05)


def test_it_comes_back_from_disk(tmp_path: Path) -> None:
    written = calibrate("abc", NINETEEN, NINETEEN, 0.05)
    write_calibration(tmp_path / "c.json", written)
    assert read_calibration(tmp_path / "c.json", "abc") == written
    with pytest.raises(WeightsError, match=r"with the detector abc, and this one is xyz.*again"):
        read_calibration(tmp_path / "c.json", "xyz")


@pytest.mark.parametrize("change", [{"scans": "many"}, {"extra": 1}, {"object": {"value": 1}}])
def test_a_damaged_file_is_named(tmp_path: Path, change: dict[str, object]) -> None:
    content = asdict(calibrate("abc", NINETEEN, NINETEEN, 0.05)) | change
    (tmp_path / "c.json").write_text(json.dumps(content))
    with pytest.raises(WeightsError, match=r"c\.json: not a calibration"):
        read_calibration(tmp_path / "c.json", "abc")


@pytest.mark.parametrize("text", ["", "[]", "{}", "{"])
def test_a_file_of_something_else_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "c.json").write_text(text)
    with pytest.raises(WeightsError, match=r"c\.json: not a calibration.*calibrate again"):
        read_calibration(tmp_path / "c.json", "abc")
    with pytest.raises(WeightsError, match=r"missing\.json: no such file"):
        read_calibration(tmp_path / "missing.json", "abc")


def test_thresholds_refuse_good_scans_that_were_written_after_them(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(b"first")
    thresholds = replace(calibrate("d", [0.1], [0.2], 0.05), reference_digest=file_digest(path))
    check_reference(path, thresholds)
    path.write_bytes(b"second")
    with pytest.raises(WeightsError, match="not the good scans that the alarm thresholds"):
        check_reference(path, thresholds)
    path.unlink()
    with pytest.raises(WeightsError, match="no such file; calibrate again"):
        check_reference(path, thresholds)
