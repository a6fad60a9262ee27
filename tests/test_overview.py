"""The page of a folder's results: which scans, whose scores, and what is left out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from btp.data.formats import write_ply
from btp.drawing.viewer import ViewedScan
from btp.errors import ConfigError, DataError
from btp.inspect import overview
from btp.inspect.outputs import ScanOutputs, ScanResult
from btp.inspect.overview import ScoredFolder, write_overview

SCORES = {"low.ply": 0.1, "high.ply": 0.9, "a b/Größe.ply": 0.5}


def inspected(folder: Path, name: str, scores: dict[str, float], shift: float = 0) -> ScoredFolder:
    """Results with a heat map of 40 points each; the first half is region 0."""
    points = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    regions = np.repeat([0, -1], 20)
    for file, score in scores.items():
        values = {"anomaly": np.linspace(score + shift, 0, 40), "region": regions}
        write_ply(ScanOutputs(folder, file).heat_map, points, values)
    results = [ScanResult(f, object_score=s + shift, verdict="OK") for f, s in scores.items()]
    return ScoredFolder(name, folder, [*results, ScanResult("broken.stl", error="broken")], 0.25)


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[ViewedScan]:
    """What the viewer was given, besides written."""
    scans: list[ViewedScan] = []
    real = overview.write_viewer

    def spy(path: Path, given: Any, title: str) -> None:
        scans.extend(given)
        real(path, scans, title)

    monkeypatch.setattr(overview, "write_viewer", spy)
    return scans


def test_the_worst_first_and_what_is_left_out(tmp_path: Path, shown: list[ViewedScan]) -> None:
    page = tmp_path / "viewer.html"
    assert write_overview(page, [inspected(tmp_path, "mini", SCORES)], max_scans=2) == 1
    assert [scan.name for scan in shown] == ["high.ply", "a b/Größe.ply"]
    first = shown[0]
    assert (first.object_scores, first.threshold, first.decision) == ({"mini": 0.9}, 0.25, "OK")
    np.testing.assert_allclose(first.scores["mini"], np.linspace(0.9, 0, 40), atol=1e-7)
    assert first.regions is not None
    assert first.regions.tolist() == 20 * [0] + 20 * [-1]
    text = page.read_text("utf-8")
    assert "mini: 2 scans, the highest scores of 3" in text
    assert "a b/Größe.ply" in text and "low.ply" not in text


def test_two_detectors_side_by_side(tmp_path: Path, shown: list[ViewedScan]) -> None:
    first = inspected(tmp_path / "one", "mini", SCORES)
    second = inspected(tmp_path / "two", "mine", {k: SCORES[k] for k in list(SCORES)[:2]}, 0.05)
    assert write_overview(tmp_path / "viewer.html", [first, second]) == 0
    # what only one of them scored cannot stand side by side
    assert [scan.name for scan in shown] == ["high.ply", "low.ply"]
    assert [list(scan.scores) for scan in shown] == 2 * [["mini", "mine"]]
    assert shown[0].object_scores["mine"] == pytest.approx(0.95)
    np.testing.assert_allclose(shown[0].scores["mine"], np.linspace(0.95, 0, 40), atol=1e-7)


def test_a_coarse_mesh_shows_what_was_judged(tmp_path: Path, shown: list[ViewedScan]) -> None:
    results = inspected(tmp_path, "mini", {"box.stl": 0.5})
    values = {"anomaly": np.full(100, 0.7), "region": np.zeros(100)}
    write_ply(ScanOutputs(tmp_path, "box.stl").surface, np.eye(100)[:, :3], values)
    write_overview(tmp_path / "viewer.html", [results])
    assert len(shown[0].points) == 100


def test_nothing_scored_leaves_no_old_page(tmp_path: Path) -> None:
    page = tmp_path / "viewer.html"
    page.write_text("of an earlier run")
    assert write_overview(page, [inspected(tmp_path, "mini", {})]) is None
    assert not page.exists()


def test_what_cannot_be_shown_is_said(tmp_path: Path) -> None:
    twice = [inspected(tmp_path, "mini", SCORES)] * 2
    with pytest.raises(ConfigError, match="detectors to compare are both called mini"):
        write_overview(tmp_path / "viewer.html", twice)
    ScanOutputs(tmp_path, "low.ply").heat_map.unlink()
    with pytest.raises(DataError, match=r"low\.ply\.scores\.ply: no such file"):
        write_overview(tmp_path / "viewer.html", twice[:1])
    assert not (tmp_path / "viewer.html").exists()
