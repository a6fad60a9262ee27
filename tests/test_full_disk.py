"""A disk that is full or turns read-only in the middle: one clear error, and nothing is lost."""

from __future__ import annotations

import csv
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny import POINTS, tiny_model
from trained import SURFACE, train_tiny

import btp
from btp.data.folder import Folder
from btp.data.synthesis import demo
from btp.data.synthesis.scanner import SetSize
from btp.errors import DataError
from btp.features.store import DiskStore, FeatureSet, Wanted
from btp.inspect.folder import score_folder
from btp.inspect.outputs import ScanResult
from btp.inspect.predictor import Inspector
from btp.inspect.scan_files import ScanFiles, find_scans
from btp.training.loop import train

FULL = r"No space left on device"


def mount(folder: Path, options: str) -> None:
    mounted("-t", "tmpfs", "-o", options, "tmpfs", str(folder))


def mounted(*given: str) -> None:
    try:
        done = subprocess.run(["mount", *given], capture_output=True, text=True)
    except OSError as error:
        pytest.skip(f"cannot mount: {error}")
    if done.returncode:
        pytest.skip(f"cannot mount: {done.stderr.strip()}")


def turn_read_only(folder: Path) -> None:
    """From now on, while files that are open stay so; unmounting the folder ends it."""
    mounted("--bind", str(folder), str(folder))
    mounted("-o", "remount,bind,ro", str(folder))


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount(folder, "size=64k")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("disk")


@pytest.fixture(scope="module")
def inspector(root: Path) -> Inspector:
    return btp.load(train_tiny(root))


@pytest.fixture(scope="module")
def scans(inspector: Inspector, root: Path) -> ScanFiles:
    return find_scans(str(root / "data" / "box" / "test"))


@pytest.fixture(scope="module")
def data(inspector: Inspector, root: Path) -> FeatureSet:
    store = DiskStore(root / "store", tiny_model(), POINTS)
    return store.load(Folder(root / "data"), "egg", "test", Wanted(True, "sampled"))


def scored(inspector: Inspector, scans: ScanFiles, out: Path) -> list[ScanResult]:
    return score_folder(inspector, scans, out, pictures=False, writers=1, workers=1)


def lines(out: Path) -> list[str]:
    with (out / "scores.csv").open() as file:
        return sorted(row["file"] for row in csv.DictReader(file))


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_predict_names_the_scans_that_found_no_room(
    inspector: Inspector, scans: ScanFiles, disk: Path, tmp_path: Path
) -> None:
    wanted = scored(inspector, scans, tmp_path / "roomy")
    out = disk / "out"
    results = scored(inspector, scans, out)
    failed = [result for result in results if result.error]
    assert 0 < len(failed) < len(results) == len(scans.paths)
    assert all(FULL in result.error and "\n" not in result.error for result in failed)
    assert lines(out) == [scans.name(path) for path in scans.paths]
    assert not [path for path in out.iterdir() if path.name.endswith(".tmp")]

    mount(disk, "remount,size=4m")
    assert scored(inspector, scans, out) == wanted
    assert files(out) == files(tmp_path / "roomy")


def test_predict_on_a_disk_that_turns_read_only(
    inspector: Inspector, scans: ScanFiles, disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mount(disk, "remount,size=4m")
    real, calls, out = Inspector.score, [], disk / "out"

    def score(self: Inspector, batch: Any) -> Any:
        calls.append(batch)
        if len(calls) == 4:
            turn_read_only(disk)
        return real(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(Inspector, "score", score)
        with pytest.raises(DataError, match=r"scores\.csv: .*Read-only file system"):
            scored(inspector, scans, out)
    assert len(calls) == len(scans.paths)
    subprocess.run(["umount", str(disk)], check=True)
    kept = (out / "scores.unfinished.csv").read_text().splitlines()
    assert len(kept) >= 2
    results = scored(inspector, scans, out)
    assert not any(result.error for result in results)
    assert lines(out) == [scans.name(path) for path in scans.paths]


def test_a_table_grows_again_once_there_is_room(
    inspector: Inspector, scans: ScanFiles, disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mount(disk, "remount,size=4m")
    real, calls, out, filler = Inspector.score, [], disk / "out", disk / "filler"

    def fill() -> None:
        with filler.open("wb", buffering=0) as file:
            while file.write(os.urandom(4096)) == 4096:
                pass

    def score(self: Inspector, batch: Any) -> Any:
        calls.append(batch)
        if len(calls) == 4:
            with pytest.raises(OSError, match=FULL):
                fill()
        if len(calls) == 6:
            filler.unlink()
        return real(self, batch)

    monkeypatch.setattr(Inspector, "score", score)
    results = scored(inspector, scans, out)
    assert 0 < sum(bool(result.error) for result in results) < len(results)
    assert lines(out) == [scans.name(path) for path in scans.paths]


def trained(data: FeatureSet, out: Path, **settings: Any) -> bytes:
    train(data, tiny_model(), SURFACE, 1, out, {"n_points": POINTS}, quiet=True, **settings)
    return (out / "detector.safetensors").read_bytes()


def test_training_goes_on_after_room_was_made(data: FeatureSet, disk: Path, tmp_path: Path) -> None:
    wanted = trained(data, tmp_path / "roomy")
    with pytest.raises(DataError, match=FULL):
        trained(data, disk / "run")
    assert not (disk / "run" / "detector.safetensors").exists()
    mount(disk, "remount,size=40m")
    assert trained(data, disk / "run", resume=True) == wanted


def test_the_feature_store_goes_on_after_room_was_made(
    inspector: Inspector, root: Path, disk: Path
) -> None:
    folder = Folder(root / "data")

    def load(place: Path) -> FeatureSet:
        return DiskStore(place, tiny_model(), POINTS).load(folder, "egg", "test", Wanted(True))

    with pytest.raises(DataError, match=FULL):
        load(disk / "store")
    mount(disk, "remount,size=40m")
    again, wanted = load(disk / "store"), load(root / "store")
    np.testing.assert_array_equal(again.features.points, wanted.features.points)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_set_that_finds_no_room_leaves_nothing(disk: Path, workers: int) -> None:
    with pytest.raises(DataError, match=FULL):
        demo.generate(disk / "demo", 0, ["gear"], SetSize(1, 1, 1), workers=workers)
    assert list(disk.iterdir()) == []


def test_a_folder_that_can_never_be_written_ends_it_at_once(
    inspector: Inspector, scans: ScanFiles, disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mount(disk, "remount,ro,size=64k")
    monkeypatch.setattr(Inspector, "score", None)
    with pytest.raises(DataError, match=r"out: cannot write here \(Read-only file system\)"):
        scored(inspector, scans, disk / "out")
