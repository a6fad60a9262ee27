from pathlib import Path

import numpy as np
import pytest

from btp.data.folder import Folder
from btp.data.synthesis import demo, scanner, shapes
from btp.data.synthesis.scanner import SetSize
from btp.data.synthesis.shapes import CATEGORIES
from btp.errors import ConfigError, DataError

SMALL = SetSize(train=1, normal=1, defective=1)


def contents(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def test_the_same_seed_gives_the_same_bytes_whatever_the_workers(tmp_path: Path) -> None:
    both = demo.generate(tmp_path / "a", 3, ["screw", "hook"], SMALL, workers=1)
    one = demo.generate(tmp_path / "b", 3, ["hook"], SMALL, workers=2)
    other = demo.generate(tmp_path / "c", 4, ["hook"], SMALL, workers=1)
    hooks = {name: data for name, data in contents(both).items() if name.startswith("hook/")}
    assert len(hooks) == 4
    assert contents(one) == hooks
    assert all(contents(other)[name] != data for name, data in hooks.items())


def test_the_reader_reads_what_was_written(tmp_path: Path) -> None:
    dataset = Folder(demo.generate(tmp_path / "demo", 0, ["gear"], SMALL, workers=1))
    assert dataset.categories == ("gear",)
    assert [s.name for s in dataset.samples("gear", "train")] == ["gear_template0"]
    scans = {s.name: s for s in dataset.samples("gear", "test")}
    assert {name: s.is_anomalous for name, s in scans.items()} == {
        "gear_bend0": True,
        "gear_positive0": False,
    }
    cloud = dataset.read(scans["gear_bend0"])
    assert cloud.labels is not None
    assert 0.009 < cloud.labels.mean() < 0.061
    assert len(cloud.points) >= 20_000


def test_ensure_writes_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def generate(root: Path, seed: int) -> None:
        calls.append(seed)
        (root / "vase").mkdir(parents=True)

    monkeypatch.setattr(demo, "generate", generate)
    for _ in range(2):
        assert demo.ensure(tmp_path / "data" / "demo", 7) == tmp_path / "data" / "demo"
    assert calls == [7]


def test_unknown_categories_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="unknown demo categories teapot; expected some of"):
        demo.generate(tmp_path / "demo", categories=["teapot", "vase"])
    assert list(tmp_path.iterdir()) == []


def test_the_whole_set_has_528_scans(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def simulate(*given: object) -> tuple[np.ndarray, np.ndarray]:
        return np.eye(3), np.array([True, False, False])  # shapes and scans are tested elsewhere

    monkeypatch.setattr(scanner, "simulate", simulate)
    monkeypatch.setattr(shapes, "individual", lambda category, rng: None)
    root = demo.generate(tmp_path / "demo", workers=1)
    names = [path.relative_to(root) for path in root.rglob("*.pcd")]
    assert len(names) == 528
    for category in CATEGORIES:
        own = [path for path in names if path.parts[0] == category]
        normal = [path.stem for path in own if "positive" in path.stem]
        assert len([path for path in own if path.parts[1] == "train"]) == 4
        assert len(normal) == 20
        assert len(list((root / category / "GT").iterdir())) == 20


def test_a_set_of_another_generator_is_refused(tmp_path: Path) -> None:
    (tmp_path / "demo" / "vase").mkdir(parents=True)
    with pytest.raises(DataError, match=r"version none; expected \d+\. Delete the folder"):
        demo.ensure(tmp_path / "demo")
