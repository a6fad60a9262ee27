"""Folders of scans: what is found, what is written, and what happens when something breaks."""

from __future__ import annotations

import csv
import errno
import json
import os
import resource
import runpy
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from trained import train_tiny

import btp
from btp.data.coverage import COVERAGES
from btp.data.formats import read_points, write_ply
from btp.data.formats.ply import decode_ply
from btp.data.reading import SURFACE_POINTS
from btp.errors import ConfigError, DataError
from btp.inspect.calibrate import calibrate_on
from btp.inspect.calibration import Calibration, alarm_threshold
from btp.inspect.folder import chosen_coverage, exit_code, score_folder
from btp.inspect.outputs import ScanOutputs, ScanResult
from btp.inspect.overlap import work_ahead
from btp.inspect.predictor import COVERAGE, Inspector
from btp.inspect.regions import defect_regions
from btp.inspect.scan_files import find_scans


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("inspection")


@pytest.fixture(scope="module")
def detector(root: Path) -> Path:
    return train_tiny(root)


@pytest.fixture(scope="module")
def inspector(detector: Path) -> Inspector:
    return btp.load(detector)


@pytest.fixture(scope="module")
def tests(root: Path, detector: Path) -> Path:
    """Four good boxes and six with a dent."""
    return root / "data" / "box" / "test"


@pytest.fixture
def good(tests: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "good"
    folder.mkdir()
    for file in tests.glob("*positive*"):
        (folder / file.name).write_bytes(file.read_bytes())
    return folder


@pytest.fixture
def mixed(tests: Path, tmp_path: Path) -> Path:
    """A dented box and a good one of one stem, with unpleasant names, and a broken file."""
    folder = tmp_path / "my scans"
    for name in ("Größe, 1/a=b (1).pcd", "点 群/a=b (1).pcd"):
        (folder / name).parent.mkdir(parents=True)
    dent = read_points(tests / "box_sink1.pcd")
    (folder / "Größe, 1" / "a=b (1).pcd").write_bytes((tests / "box_sink1.pcd").read_bytes())
    (folder / "点 群" / "a=b (1).pcd").write_bytes((tests / "box_positive1.pcd").read_bytes())
    write_ply(folder / "点 群" / "a=b (1).ply", np.insert(dent, 7, np.nan, axis=0))
    (folder / "broken.stl").write_bytes(b"solid nothing\nfacet\n")
    return folder


NAMES = ["Größe, 1/a=b (1).pcd", "broken.stl", "点 群/a=b (1).pcd", "点 群/a=b (1).ply"]


@pytest.fixture(scope="module")
def calibration(inspector: Inspector, tests: Path) -> Calibration:
    return calibrate_on(inspector, find_scans(str(tests / "*positive*")), 0.05)


def test_a_folder_is_listed_with_all_below(mixed: Path) -> None:
    (mixed / ".hidden.ply").write_text("")
    (mixed / "notes.docx").write_text("")
    (mixed / "results").mkdir()
    (mixed / "results" / "scores.csv").write_text("")
    scans = find_scans(str(mixed), mixed / "results")
    assert [scans.name(path) for path in scans.paths] == NAMES
    (mixed / "results" / "scores.csv").unlink()
    assert find_scans(str(mixed), mixed).paths == scans.paths
    assert find_scans(str(mixed), mixed.parent).paths == scans.paths


def test_patterns_and_single_files(mixed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(mixed.parent)
    deep = find_scans("my scans/**/*.pcd")
    assert [deep.name(path) for path in deep.paths] == [NAMES[0], NAMES[2]]
    odd = mixed.parent / "set [1]"
    mixed.rename(odd)
    bracketed = find_scans("set [1]/*/*.ply")
    assert (bracketed.root, bracketed.paths) == (Path("set [1]"), [Path("set [1]") / NAMES[3]])
    single = find_scans(str(odd / NAMES[3]))
    assert single.name(single.paths[0]) == "a=b (1).ply"
    for nothing in ("missing.ply", "missing/*.ply", "set [1]/*.obj"):
        with pytest.raises(DataError, match="no scan found"):
            find_scans(nothing)


def test_regions_by_hand() -> None:
    x, y = np.meshgrid(np.arange(10.0), np.arange(4.0))
    plate = np.stack([x.ravel(), y.ravel(), np.full(40, 5.0)], 1)
    points = np.concatenate([plate, np.add(plate, [100, 0, 0]), np.add(plate, [0, 50, 0]), plate])
    scores = np.repeat([0.9, 0.6, 0.5, 0.9], 40)
    scores[3] = 0.95
    (first, second), numbers = defect_regions(points, scores, 0.5)
    assert numbers.tolist() == 40 * [0] + 40 * [1] + 40 * [-1] + 40 * [0]
    assert (first.points, second.points) == (80, 40)  # duplicates count
    assert first.size == [9, 3, 0]
    assert first.centre == [4.5, 1.5, 5]
    assert second.centre == [104.5, 1.5, 5]
    assert first.mean_score == pytest.approx((79 * 0.9 + 0.95) / 80)
    assert (first.max_score, second.max_score) == (0.95, 0.6)
    assert defect_regions(points, scores, 0.95)[0] == []


def test_regions_of_many_points_are_those_of_fewer(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    x, y = np.meshgrid(np.arange(32.0), np.arange(32.0))
    plate = np.stack([x.ravel(), y.ravel(), np.zeros(1024)], 1)
    points = np.concatenate([plate, plate + 100, plate + 200])
    points += rng.uniform(-0.3, 0.3, points.shape)
    scores = np.repeat([0.7, 0.8, 0.9], 1024)
    whole, numbers = defect_regions(points, scores, 0.5)
    assert [region.points for region in whole] == [1024, 1024, 1024]
    monkeypatch.setattr("btp.inspect.regions.MAX_REGION_POINTS", 2000)
    again, their_numbers = defect_regions(points, scores, 0.5)
    assert again == whole
    np.testing.assert_array_equal(their_numbers, numbers)
    assert numbers.tolist() == np.repeat([2, 1, 0], 1024).tolist()  # the highest score first


def test_what_is_written(
    inspector: Inspector, calibration: Calibration, mixed: Path, tests: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    results = score_folder(inspector, find_scans(str(mixed)), out, calibration)
    assert [result.file for result in results] == NAMES
    assert [result.verdict for result in results] == ["DEFECT", "", "OK", "DEFECT"]
    assert "broken.stl: " in results[1].error
    dent, holed = results[0], results[3]
    prediction = inspector.predict(tests / "box_sink1.pcd")
    assert dent.object_score == prediction.object_score == holed.object_score
    assert dent.max_point_score == prediction.point_scores.max()
    assert holed.points == 401
    assert "points without coordinates, and so without a score: 1" in holed.note

    written = sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file())
    endings = (".png", ".regions.json", ".scores.ply")
    assert written == sorted(
        ["scores.csv", *(n + e for n in NAMES if n != NAMES[1] for e in endings)]
    )
    heat = (out / f"{NAMES[3]}.scores.ply").read_bytes()
    body = np.frombuffer(heat.split(b"end_header\n", 1)[1], "<f4,<f4,<f4,u1,u1,u1,<f4,<f4")
    assert b"property float scalar_anomaly" in heat
    assert b"property float scalar_region" in heat
    np.testing.assert_array_equal(np.delete(body["f6"], 7), prediction.point_scores)
    assert np.isnan(body["f6"][7])
    assert np.isnan(decode_ply(heat).points[7]).all()
    record = json.loads((out / f"{NAMES[0]}.regions.json").read_text("utf-8"))
    above = prediction.point_scores > calibration.point.value
    assert sum(region["points"] for region in record["regions"]) == above.sum() > 0
    assert dent.regions == len(record["regions"])
    np.testing.assert_array_equal(np.delete(body["f7"], 7) >= 0, above)
    assert body["f7"].max() == dent.regions - 1
    assert body["f7"][7] == -1

    with (out / "scores.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    # the worst first; the dents score alike, and then the name decides; last what has no score
    assert [row["file"] for row in rows] == [NAMES[i] for i in (0, 3, 2, 1)]
    assert rows[0]["object_score"] == f"{prediction.object_score:.6g}"
    assert rows[0]["threshold"] == f"{calibration.object.value:.6g}"
    assert rows[0]["spacing"] == f"{prediction.spacing:.6g}"
    assert rows[3]["points"] == rows[3]["verdict"] == ""


def test_without_a_calibration_there_is_no_verdict(
    inspector: Inspector, tests: Path, tmp_path: Path
) -> None:
    results = score_folder(
        inspector, find_scans(str(tests / "box_sink1.pcd")), tmp_path, pictures=False
    )
    assert (results[0].verdict, results[0].threshold) == ("", None)
    record = json.loads((tmp_path / "box_sink1.pcd.regions.json").read_text())
    assert record["made"]["point_threshold"] == 0.5
    assert not (tmp_path / "box_sink1.pcd.png").exists()
    assert exit_code(results) == 0


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that were read to be scored."""
    names: list[str] = []
    real = Inspector.ready

    def spy(self: Inspector, scan: Any, coverage: Any) -> Any:
        names.append(Path(scan).name)
        return real(self, scan, coverage)

    monkeypatch.setattr(Inspector, "ready", spy)
    return names


def test_what_is_done_is_not_done_again(
    inspector: Inspector, calibration: Calibration, good: Path, tmp_path: Path, read: list[str]
) -> None:
    scans, out = find_scans(str(good)), tmp_path / "out"
    first = score_folder(inspector, scans, out, calibration, pictures=False)
    table = (out / "scores.csv").read_bytes()
    assert len(read) == 4
    read.clear()
    assert score_folder(inspector, scans, out, calibration, pictures=False) == first
    assert (out / "scores.csv").read_bytes() == table
    assert read == []

    changed, unfinished, lost, damaged = scans.paths
    changed.write_bytes((good / unfinished.name).read_bytes())
    (out / f"{unfinished.name}.regions.json").unlink()
    (out / f"{lost.name}.scores.ply").unlink()
    (out / f"{damaged.name}.regions.json").write_text("{}")
    score_folder(inspector, scans, out, calibration, pictures=False)
    assert sorted(read) == [path.name for path in scans.paths]


def test_another_detector_threshold_or_a_picture_is_done_again(
    inspector: Inspector, calibration: Calibration, tests: Path, tmp_path: Path, read: list[str]
) -> None:
    scans = find_scans(str(tests / "box_positive0.pcd"))
    other = Inspector(inspector.detector, inspector.model, inspector.n_points, "other")
    score_folder(inspector, scans, tmp_path, pictures=True)
    score_folder(inspector, scans, tmp_path, calibration, pictures=True)
    score_folder(inspector, scans, tmp_path, calibration, pictures=False)
    score_folder(other, scans, tmp_path, calibration, pictures=False)
    assert len(read) == 4
    # No picture of an earlier run stays beside newer scores.
    assert not (tmp_path / "box_positive0.pcd.png").exists()


def test_an_interrupted_run_goes_on(
    inspector: Inspector,
    good: Path,
    tmp_path: Path,
    read: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scans, out = find_scans(str(good)), tmp_path / "out"
    real, calls = Inspector.score, []

    def stop(self: Inspector, batch: Any) -> Any:
        calls.append(batch)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(self, batch)

    monkeypatch.setattr(Inspector, "score", stop)
    with pytest.raises(KeyboardInterrupt):
        score_folder(inspector, scans, out, pictures=False, workers=1)
    read.clear()
    score_folder(inspector, scans, out, pictures=False)
    assert sorted(read) == [path.name for path in scans.paths[2:]]


def test_a_full_disk_leaves_nothing_half_written(
    inspector: Inspector, good: Path, tmp_path: Path, small_files: Callable[[], None]
) -> None:
    out = tmp_path / "out"
    small_files()
    results = score_folder(inspector, find_scans(str(good)), out)
    for result in results:
        assert "writing failed (File too large); nothing was changed" in result.error
    assert [path.name for path in out.rglob("*") if path.is_file()] == ["scores.csv"]
    assert len((out / "scores.csv").read_text().splitlines()) == 1 + len(results)


def test_processes_write_what_one_thread_writes(
    inspector: Inspector, good: Path, tmp_path: Path
) -> None:
    scans = find_scans(str(good))
    one, two = (score_folder(inspector, scans, tmp_path / str(n), writers=n) for n in (1, 2))
    assert one == two
    written = [
        {path.relative_to(tmp_path / n): path.read_bytes() for path in (tmp_path / n).rglob("*.*")}
        for n in ("1", "2")
    ]
    assert len(written[0]) == 1 + 3 * len(scans.paths)
    assert written[0] == written[1]


def test_a_fault_in_a_writing_process_is_told(
    inspector: Inspector, good: Path, tmp_path: Path, small_files: Callable[[], None]
) -> None:
    small_files()
    results = score_folder(inspector, find_scans(str(good)), tmp_path / "out", writers=2)
    assert all("writing failed" in result.error for result in results)
    files = [path.name for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert files == ["scores.csv"]


@pytest.fixture
def small_files() -> Iterator[Callable[[], None]]:
    """Makes every write fail in the middle, after a thousand bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_folder_that_cannot_be_written(inspector: Inspector, good: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(DataError, match=r"cannot .*(Not a directory|File exists)"):
        score_folder(inspector, find_scans(str(good)), tmp_path / "out")


def test_few_scans_are_in_memory_at_a_time() -> None:
    made, taken, most = 0, 0, 0
    lock = threading.Lock()

    def work(path: Path) -> Path:
        nonlocal made, most
        with lock:
            made += 1
            most = max(most, made - taken)
        return path

    paths = [Path(str(i)) for i in range(50)]
    for path, reading in work_ahead(work, paths, 3):
        assert reading.result() == path == paths[taken]
        taken += 1
    assert taken == 50
    assert most <= 4 + 1  # three and one waiting, and the one that is being taken


def test_calibration_is_by_the_highest_of_few(
    inspector: Inspector, calibration: Calibration, tests: Path
) -> None:
    scored = [inspector.predict(path) for path in sorted(tests.glob("*positive*"))]
    assert calibration.object == alarm_threshold([p.object_score for p in scored], 0.05)
    assert calibration.point.value == max(p.point_scores.max() for p in scored)
    assert (calibration.scans, calibration.detector) == (4, inspector.digest)


def test_calibration_stops_at_a_broken_scan(inspector: Inspector, good: Path) -> None:
    (good / "broken.xyz").write_text("no numbers")
    with pytest.raises(DataError, match=r"broken\.xyz"):
        calibrate_on(inspector, find_scans(str(good)), 0.05)


def test_thresholds_hold_for_their_coverage(
    inspector: Inspector, calibration: Calibration, tests: Path
) -> None:
    good = find_scans(str(tests / "*positive*"))
    dense, sampled = [calibrate_on(inspector, good, 0.05, None, c) for c in COVERAGES][::-1]
    assert (dense.coverage, sampled.coverage) == ("dense", "sampled")
    assert dense.object.value != sampled.object.value
    assert calibration in (dense, sampled)  # by default
    assert chosen_coverage(None, dense) == "dense"
    assert chosen_coverage(None) == COVERAGE
    assert chosen_coverage("sampled") == "sampled"
    with pytest.raises(
        ConfigError, match=r"coverage is sampled, and the alarm.*were set with dense"
    ):
        chosen_coverage("sampled", dense)
    with pytest.raises(ConfigError, match="coverage is 'full'; expected sampled or dense"):
        chosen_coverage("full")


def test_lines_are_kept_while_scans_are_scored(
    inspector: Inspector, good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "scores.csv").write_text("an older table\n")
    real, calls = Inspector.score, []

    def stop(self: Inspector, batch: Any) -> Any:
        calls.append(batch)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return real(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(Inspector, "score", stop)
        with pytest.raises(KeyboardInterrupt):
            score_folder(inspector, find_scans(str(good)), out, pictures=False)
    lines = (out / "scores.unfinished.csv").read_text().splitlines()
    assert lines[0].startswith("file,points,object_score,")
    assert [line.split(",")[0] for line in lines[1:]] == ["box_positive0.pcd", "box_positive1.pcd"]
    assert (out / "scores.csv").read_text() == "an older table\n"

    results = score_folder(inspector, find_scans(str(good)), out, pictures=False)
    assert not (out / "scores.unfinished.csv").exists()
    with (out / "scores.csv").open() as file:
        scores = [float(row["object_score"]) for row in csv.DictReader(file)]
    assert scores == sorted(scores, reverse=True)
    assert [result.file for result in results] == [f"box_positive{i}.pcd" for i in range(4)]


def test_a_disk_that_fills_while_a_heat_map_is_written(
    inspector: Inspector, good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second scan's heat map is cut off; the others are written."""
    scans, out = find_scans(str(good)), tmp_path / "out"
    real, opened = os.fdopen, []

    def fdopen(*arguments: Any) -> Any:
        file = real(*arguments)
        opened.append(file)
        if len(opened) != 4:  # after the unfinished table, and heat map and record of the first
            return file

        class Full:
            def __enter__(self) -> Full:
                return self

            def __exit__(self, *_: object) -> None:
                file.close()

            def write(self, data: bytes) -> int:
                file.write(data[:50])
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        return Full()

    monkeypatch.setattr(os, "fdopen", fdopen)
    results = score_folder(inspector, scans, out, pictures=False, writers=1)
    failed = scans.paths[1].name
    assert [result.file for result in results if result.error] == [failed]
    assert "writing failed (No space left on device); nothing was changed" in results[1].error
    written = [path.name for path in scans.paths if path.name != failed]
    wanted = {f"{name}.{kind}" for name in written for kind in ("regions.json", "scores.ply")}
    assert {path.name for path in out.iterdir()} == wanted | {"scores.csv"}
    assert len(read_points(out / f"{written[0]}.scores.ply")) == 400


def test_a_coarse_mesh_also_shows_its_surface(inspector: Inspector, tmp_path: Path) -> None:
    corners = [(x, y, z) for x in (0, 1) for y in (0, 2) for z in (0, 30)]
    quads = ["1 2 4 3", "5 7 8 6", "1 5 6 2", "3 4 8 7", "1 3 7 5", "2 6 8 4"]
    lines = [f"v {x} {y} {z}" for x, y, z in corners] + [f"f {quad}" for quad in quads]
    (tmp_path / "box.obj").write_text("\n".join(lines))
    scans, out = find_scans(str(tmp_path / "box.obj")), tmp_path / "out"
    result = score_folder(inspector, scans, out, pictures=False)[0]
    assert len(read_points(out / "box.obj.scores.ply")) == result.points == 8
    heat = ScanOutputs(out, "box.obj").read_heat_map()
    assert len(heat.points) == SURFACE_POINTS
    assert heat.scores.max() == pytest.approx(result.max_point_score)
    (out / "box.obj.surface.ply").unlink()  # then the scan is not done
    assert score_folder(inspector, scans, out, pictures=False) == [result]
    assert (out / "box.obj.surface.ply").is_file()


@pytest.mark.parametrize(
    ("results", "code"),
    [
        ([ScanResult("a", verdict="OK")], 0),
        ([ScanResult("a", verdict="OK"), ScanResult("b", error="broken")], 2),
        ([ScanResult("a", verdict="DEFECT"), ScanResult("b", error="broken")], 3),
    ],
)
def test_exit_codes(results: list[ScanResult], code: int) -> None:
    assert exit_code(results) == code


def run(name: str, *settings: str) -> int:
    """Run a script as its command line does, in this process; its exit code."""
    scripts = Path(__file__).parents[1] / "scripts"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [str(scripts / name), *settings])
        patch.syspath_prepend(scripts)
        try:
            runpy.run_path(str(scripts / name), run_name="__main__")
        except SystemExit as end:
            return int(end.code or 0)
    return 0


def test_the_scripts(
    mixed: Path, good: Path, detector: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "Maß, 2"
    place.mkdir()
    own = place / "it's mine.safetensors"
    own.write_bytes(detector.read_bytes())
    settings = [f"detector={own}", "device=cpu", "pictures=false"]
    where = f"out={place / 'out'}"

    assert run("predict.py", f"input={good}", *settings, where) == 0
    assert "not calibrated, so no verdict" in capsys.readouterr().out
    alone = ["false_alarms=0.2", "coverage=sampled", "keep_scans=false"]
    assert run("calibrate.py", f"normal={good}", *settings[:2], *alone) == 0
    shown = capsys.readouterr().out
    assert "4 good scans, 0.2 false alarms asked for" in shown
    assert str(place / "it's mine.calibration.json") in shown

    assert run("predict.py", f"input={good}/*.pcd", *settings, where) == 0
    assert capsys.readouterr().out.count("OK ") == 4
    assert run("predict.py", f"input={mixed}", *settings, where) == 3
    shown = capsys.readouterr().out
    assert [line.split()[0] for line in shown.splitlines()[:4]] == [
        "DEFECT",
        "ERROR",
        "OK",
        "DEFECT",
    ]
    assert run("predict.py", f"input={mixed / 'broken.stl'}", *settings, where) == 2
    assert run("predict.py", f"input={mixed / 'nothing'}", *settings, where) == 2
    assert "no scan found" in capsys.readouterr().err
    assert run("predict.py", f"input={good}", f"compare={detector}", *settings, where) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[-2:] == [str(place / "out/_compared/scores.csv"), str(place / "out/viewer.html")]
    page = (place / "out" / "viewer.html").read_text("utf-8")
    assert "box_positive3.pcd" in page and "it's mine.safetensors and " in page
    assert run("predict.py", f"input={good}", *settings, where, "viewer_scans=3") == 0
    assert "viewer.html (1 lower scores left out)" in capsys.readouterr().out
    assert run("predict.py", f"input={good}", *settings, where, "coverage=dense") == 2
    assert "the alarm thresholds were set with" in capsys.readouterr().err
    assert run("predict.py", *settings) == 2
    assert "input has no value" in capsys.readouterr().err


def test_a_scan_that_breaks_loses_its_old_results(
    inspector: Inspector, good: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    first = score_folder(inspector, find_scans(str(good)), out, pictures=False)
    broken = find_scans(str(good)).paths[0]
    left = {path for path in out.rglob("*") if path.name.startswith(broken.name)}
    assert len(left) == 2
    broken.write_bytes(b"no scan")
    second = score_folder(inspector, find_scans(str(good)), out, pictures=False)
    assert broken.name in second[0].error and second[1:] == first[1:]
    assert not any(path.exists() for path in left)


def test_links_to_nothing_and_odd_names_are_a_line_each(
    inspector: Inspector, good: Path, tmp_path: Path
) -> None:
    first = sorted(good.iterdir())[0]
    (good / "gone.pcd").symlink_to(tmp_path / "nothing")
    long = good / ("z" * 251 + ".pcd")
    long.write_bytes(first.read_bytes())
    names = [*(path.name for path in find_scans(str(good)).paths)]
    odd = Path(os.fsdecode(os.fsencode(good) + b"/\xff.pcd"))
    odd.write_bytes(b"no scan")
    results = score_folder(inspector, find_scans(str(good)), good, pictures=False)
    assert [result.file for result in results] == sorted([*names, r"\xff.pcd"])
    by_name = {result.file: result for result in results}
    assert (
        "gone.pcd" in by_name["gone.pcd"].error and "no such" in by_name["gone.pcd"].error.lower()
    )
    assert r"\xff.pcd: " in by_name[r"\xff.pcd"].error
    assert by_name[long.name].object_score == by_name[first.name].object_score
    table = (good / "scores.csv").read_text("utf-8")
    assert len(table.splitlines()) == 1 + len(results)
    again = score_folder(inspector, find_scans(str(good)), good, pictures=False)
    assert again == results
