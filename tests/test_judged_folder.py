"""A person's scans judged by one another and against good ones, from files and from Python."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from trained import train_tiny

import btp
from btp.data.formats import write_ply
from btp.errors import ConfigError, DataError, WeightsError
from btp.inspect.calibrate import calibrate_against
from btp.inspect.calibration import calibrate
from btp.inspect.folder import chosen_together, score_folder
from btp.inspect.outputs import ScanResult
from btp.inspect.peers import alike_groups
from btp.inspect.predictor import Inspector
from btp.inspect.reference import GoodScans, read_good_scans, reference_path, write_good_scans
from btp.inspect.scan_files import ScanFiles, find_scans
from btp.inspect.scan_model import ScanModel

POINTS = 4000


def scan_of(seed: int, sizes: tuple[float, float, float] = (10, 20, 30)) -> NDArray[np.float64]:
    """One part, an ellipsoid, scanned in a pose of its own."""
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(POINTS, 3))
    points *= np.array(sizes) / np.linalg.norm(points, axis=1, keepdims=True)
    return np.asarray(Rotation.random(random_state=seed).apply(points) + rng.normal(0, 5, 3))


def another_part(seed: int) -> NDArray[np.float64]:
    return scan_of(seed, (10, 20, 36))


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_tiny(tmp_path_factory.mktemp("judged"))


@pytest.fixture(scope="module")
def inspector(detector: Path) -> Inspector:
    return btp.load(detector, bfloat16=False)


@pytest.fixture(scope="module")
def good(inspector: Inspector) -> GoodScans:
    return inspector.remember([scan_of(seed) for seed in range(50, 53)])


@pytest.fixture
def folder(tmp_path: Path) -> ScanFiles:
    """Seven scans of one part, two of another, and a broken file."""
    for seed in range(7):
        write_ply(tmp_path / "in" / f"part{seed}.ply", scan_of(seed))
    for seed in range(2):
        write_ply(tmp_path / "in" / f"other{seed}.ply", another_part(seed))
    (tmp_path / "in" / "zbroken.ply").write_bytes(b"ply\nnothing")
    return find_scans(str(tmp_path / "in"))


def judged(results: list[ScanResult]) -> dict[str, tuple[str, str]]:
    return {r.file.split(".")[0]: (r.judged, r.group) for r in results}


def test_a_prediction_says_how_it_was_judged(inspector: Inspector, good: GoodScans) -> None:
    scans = [scan_of(seed) for seed in range(4)]
    assert {p.judged for p in inspector.predict(scans)} == {"alone"}
    assert {p.judged for p in inspector.predict(scans, together=True)} == {"together with 3 scans"}
    assert inspector.predict(scans[0], reference=good).judged == "against 3 good scans"
    both = inspector.predict(scans, together=True, reference=good)
    assert both[0].judged == "together with 3 scans and against 3 good scans"
    for prediction in both:
        assert len(prediction.point_scores) == POINTS
        assert 0 <= prediction.point_scores.min() <= prediction.point_scores.max() <= 1
        assert 0 <= prediction.object_score <= 1


def test_good_scans_may_be_given_as_they_are(inspector: Inspector, good: GoodScans) -> None:
    given = [scan_of(seed) for seed in range(50, 53)]
    one, other = (inspector.predict(scan_of(0), reference=each) for each in (given, good))
    np.testing.assert_array_equal(one.point_scores, other.point_scores)


def test_against_good_scans_the_others_do_not_matter(inspector: Inspector, good: GoodScans) -> None:
    alone = inspector.predict(scan_of(0), reference=good)
    among = inspector.predict([scan_of(1), scan_of(0), another_part(0)], reference=good)
    np.testing.assert_allclose(among[1].point_scores, alone.point_scores, atol=1e-5)
    assert among[2].judged == "alone"


def test_scans_of_no_common_part_are_judged_as_alone(inspector: Inspector) -> None:
    scans = [scan_of(seed, (10, 20, 22 + 4 * seed)) for seed in range(4)]
    plain, together = inspector.predict(scans), inspector.predict(scans, together=True)
    for one, other in zip(plain, together, strict=True):
        assert other.judged == "alone"
        np.testing.assert_allclose(other.point_scores, one.point_scores, atol=1e-5)
        assert other.object_score == pytest.approx(one.object_score, abs=1e-5)


def test_modes_that_cannot_work(inspector: Inspector, good: GoodScans) -> None:
    with pytest.raises(ConfigError, match="together=True with 1 scans; at least 3"):
        inspector.predict([scan_of(0)], together=True)
    with pytest.raises(DataError, match="the reference is of another part"):
        inspector.predict(another_part(0), reference=good)
    with pytest.raises(ConfigError, match="the reference has no scans"):
        inspector.predict(scan_of(0), reference=[])
    with pytest.raises(ConfigError, match="sampled with coverage=dense, and these are with sampl"):
        inspector.predict(scan_of(0), "sampled", reference=good)


def test_good_scans_come_back_from_disk(
    inspector: Inspector, good: GoodScans, tmp_path: Path
) -> None:
    path = reference_path(tmp_path / "bolt.json")
    assert path == tmp_path / "bolt.safetensors"
    assert write_good_scans(path, good) == path.stat().st_size
    back = read_good_scans(path, inspector.digest)
    fresh, kept = (inspector.predict(scan_of(0), reference=each) for each in (good, back))
    np.testing.assert_allclose(kept.point_scores, fresh.point_scores, atol=1e-6)
    with pytest.raises(WeightsError, match="was made with the detector"):
        read_good_scans(path, "another")
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(WeightsError, match="no good scans of this program"):
        read_good_scans(path, inspector.digest)
    with pytest.raises(WeightsError, match="no such file"):
        read_good_scans(tmp_path / "nothing", inspector.digest)


def test_auto_keeps_parts_apart(inspector: Inspector, folder: ScanFiles, tmp_path: Path) -> None:
    out = tmp_path / "out"
    results = score_folder(inspector, folder, out, pictures=False, writers=1, together="auto")
    said = judged(results)
    assert {said[f"part{n}"] for n in range(7)} == {("together with 6 scans", "1")}
    assert {said[f"other{n}"] for n in range(2)} == {("alone", "")}
    assert "ply" in results[-1].error and said["zbroken"] == ("", "")
    with (out / "scores.csv").open(newline="") as file:
        rows = {row["file"]: (row["judged"], row["group"]) for row in csv.DictReader(file)}
    assert rows["part3.ply"] == ("together with 6 scans", "1")

    predictions = inspector.predict([str(path) for path in folder.paths[2:-1]], together=True)
    scores = [result.object_score for result in results[2:-1]]
    assert scores == pytest.approx([p.object_score for p in predictions], abs=1e-5)


def test_five_of_one_part_are_too_few_for_auto(
    inspector: Inspector, folder: ScanFiles, tmp_path: Path
) -> None:
    few = ScanFiles(folder.root, folder.paths[:7])
    results = score_folder(
        inspector, few, tmp_path / "out", pictures=False, writers=1, together="auto"
    )
    assert {result.judged for result in results} == {"alone"}


def test_an_interrupted_run_goes_on_and_nothing_is_done_twice(
    inspector: Inspector, folder: ScanFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    described = list[str]()
    whole = ScanModel.describe
    monkeypatch.setattr(
        ScanModel,
        "describe",
        lambda self, batch: described.append(batch[0].scan.name) or whole(self, batch),
    )

    def run(scans: ScanFiles) -> list[ScanResult]:
        described.clear()
        out = tmp_path / "out"
        return score_folder(inspector, scans, out, pictures=False, writers=1, together="auto")

    part = ScanFiles(folder.root, [p for p in folder.paths if p.name.startswith("part")])
    run(ScanFiles(part.root, part.paths[:4]))
    assert len(described) == 4
    first = run(part)
    assert [Path(name).name for name in described] == [p.name for p in part.paths[4:]]
    assert run(part) == first and not described
    # one scan less changes what the others are judged by, and no scan is encoded again
    less = run(ScanFiles(part.root, part.paths[1:]))
    assert not described and {result.judged for result in less} == {"together with 5 scans"}


def test_a_folder_refuses_what_cannot_work(
    inspector: Inspector, folder: ScanFiles, good: GoodScans, tmp_path: Path
) -> None:
    for seed in range(2, 6):
        write_ply(folder.root / f"other{seed}.ply", another_part(seed))
    both = find_scans(str(folder.root))
    others = find_scans(str(folder.root / "other*"))
    with pytest.raises(ConfigError, match="of different parts: 7 like part0"):
        score_folder(inspector, both, tmp_path / "out", writers=1, together="true")
    with pytest.raises(DataError, match="the reference is of another part"):
        score_folder(inspector, others, tmp_path / "out", writers=1, reference=good)
    one = ScanFiles(folder.root, folder.paths[:1])
    with pytest.raises(ConfigError, match="together=true with 1 scans"):
        score_folder(inspector, one, tmp_path / "out", writers=1, together="true")


def test_calibrating_leaves_each_good_scan_out(
    inspector: Inspector, folder: ScanFiles, tmp_path: Path
) -> None:
    part = ScanFiles(folder.root, [p for p in folder.paths if p.name.startswith("part")])
    thresholds, good = calibrate_against(inspector, part, 0.2)
    assert good is not None and thresholds.reference == len(good.scans) == 7
    left_out = inspector.predict([str(path) for path in part.paths], reference=good)
    assert {p.judged for p in left_out} == {"against 6 good scans"}
    highest = max(p.object_score for p in left_out)
    assert thresholds.object.value == pytest.approx(highest, abs=1e-5)

    results = score_folder(
        inspector, folder, tmp_path / "out", thresholds, pictures=False, writers=1, reference=good
    )
    by_name = {result.file.split(".")[0]: result for result in results}
    assert by_name["part0"].verdict == "OK"
    assert by_name["other0"].verdict == "" and "no verdict: its extents" in by_name["other0"].note


def test_good_scans_that_are_no_part_are_judged_alone(inspector: Inspector, tmp_path: Path) -> None:
    for number in range(4):
        write_ply(tmp_path / f"{number}.ply", scan_of(number, (10, 20, 22 + 4 * number)))
    thresholds, good = calibrate_against(inspector, find_scans(str(tmp_path)), 0.2)
    assert good is None and thresholds.reference == 0


def test_thresholds_hold_for_what_they_were_set_by() -> None:
    calibration = calibrate("d", [0.1, 0.2], [0.3, 0.4], 0.3)
    assert chosen_together("auto", calibration) == "false"
    assert chosen_together("auto") == "auto"
    for asked, own in (("true", False), ("auto", True)):
        with pytest.raises(ConfigError, match="set by scans judged alone"):
            chosen_together(asked, calibration, own)
    with pytest.raises(ConfigError, match="together is 'yes'; expected auto, true, false"):
        chosen_together("yes")


def test_groups_do_not_chain_small_differences() -> None:
    sizes = torch.tensor([1.0, 1.02, 1.04, 1.06, 1.08, 2.0])[:, None].expand(-1, 3).double()
    groups = alike_groups(sizes)
    assert sorted(row for group in groups for row in group) == list(range(6))
    for group in groups:
        inside = sizes[group][:, 0].log()
        assert (inside.max() - inside.min()) < 2 * 0.03
    assert [5] in groups
