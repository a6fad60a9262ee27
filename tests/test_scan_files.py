"""Which files of a folder are scans: links, results of earlier runs, names that are no UTF-8."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from btp.data.formats import write_ply
from btp.errors import DataError
from btp.inspect.outputs import ScanOutputs
from btp.inspect.scan_files import find_scans, printable

POINTS = np.random.default_rng(0).normal(size=(40, 3))


def names(folder: Path, out: Path | None = None) -> list[str]:
    scans = find_scans(str(folder), out)
    return [scans.name(path) for path in scans.paths]


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    folder = tmp_path / "scans"
    for name in ("a.ply", "sub/b.ply"):
        write_ply(folder / name, POINTS)
    return folder


def write_results(folder: Path) -> None:
    """What a run leaves, of scans of these names."""
    for name in ("a.ply", "sub/b.ply"):
        outputs = ScanOutputs(folder, name)
        values = {"anomaly": POINTS[:, 0], "region": POINTS[:, 0]}
        write_ply(outputs.heat_map, POINTS, values, np.zeros((40, 3), np.uint8))
        write_ply(outputs.surface, POINTS + 1e6, values)
    for table in ("scores.csv", "scores.unfinished.csv", "scores.shard-1-of-2.csv"):
        (folder / table).write_text("file,points,object_score,threshold\n")


def test_results_are_no_scans_wherever_they_are(scans: Path) -> None:
    for place in (scans, scans / "results", scans.parent):
        write_results(place)
        for out in (None, scans, scans / "other", scans.parent, scans.parent / "elsewhere"):
            assert names(scans, out) == ["a.ply", "sub/b.ply"]
    pattern = find_scans(str(scans / "**" / "*.ply"))
    assert len(pattern.paths) == 2
    with pytest.raises(DataError, match="a result of an earlier run; expected a scan"):
        find_scans(str(ScanOutputs(scans, "a.ply").heat_map))


def test_a_scan_that_is_named_like_a_result_is_one(scans: Path) -> None:
    write_ply(scans / "c.scores.ply", POINTS)
    (scans / "scores.csv").write_text("x,y,z\n1,2,3\n")
    assert names(scans) == ["a.ply", "c.scores.ply", "scores.csv", "sub/b.ply"]


def test_links(scans: Path, tmp_path: Path) -> None:
    write_ply(tmp_path / "elsewhere" / "c.ply", POINTS)
    (scans / "linked").symlink_to(tmp_path / "elsewhere")
    (scans / "gone.ply").symlink_to(tmp_path / "nothing.ply")
    (scans / "again.ply").symlink_to(scans / "a.ply")
    (scans / "sub" / "up").symlink_to(scans)
    (tmp_path / "elsewhere" / "round").symlink_to(tmp_path / "elsewhere")
    (scans / "self.ply").symlink_to(scans / "self.ply")
    found = names(scans, scans / "out")
    assert found == ["a.ply", "again.ply", "gone.ply", "linked/c.ply", "self.ply", "sub/b.ply"]


def test_a_folder_of_results_that_is_linked_into_the_scans(scans: Path, tmp_path: Path) -> None:
    write_ply(scans / "results" / "x.ply", POINTS)
    (scans / "link").symlink_to(scans / "results")
    assert names(scans, scans / "link") == ["a.ply", "sub/b.ply"]


def test_a_name_that_is_no_utf8(scans: Path) -> None:
    raw = os.fsencode(scans) + b"/na\xefve.ply"
    try:
        Path(os.fsdecode(raw)).write_bytes((scans / "a.ply").read_bytes())
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    found = names(scans)
    assert found == ["a.ply", r"na\xefve.ply", "sub/b.ply"]
    assert [name.encode() for name in found]
    assert printable("Größe 点") == "Größe 点"


@pytest.mark.parametrize("last", ["x" * 251 + ".ply", "点" * 83 + ".ply"])
def test_a_name_that_leaves_no_room_is_shortened(tmp_path: Path, last: str) -> None:
    one = ScanOutputs(tmp_path, f"sub/{last}")
    other = ScanOutputs(tmp_path, f"sub/{last[1:]}")
    assert one.name == f"sub/{last}"
    write_ply(one.heat_map, POINTS)
    write_ply(other.record, POINTS)
    assert one.heat_map.name[:60] == last[:60]
    assert one.heat_map.name.removesuffix(".scores.ply") != other.record.name.removesuffix(
        ".regions.json"
    )
    assert ScanOutputs(tmp_path, "y" * 200).heat_map.name == "y" * 200 + ".scores.ply"
