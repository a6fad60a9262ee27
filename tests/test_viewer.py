"""The viewer's file: what is packed into it, and what a person sees in a real browser."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import weakref
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from viewed import HOSTILE, ball

from btp.drawing.viewer import ViewedScan, write_viewer
from btp.drawing.viewer.columns import (
    curve_order,
    pack,
    quantise,
    quantise_normals,
    quantise_points,
)
from btp.drawing.viewer.encoding import encode, rows_to_show
from btp.errors import DataError


def unpacked(content: str, count: int) -> list[list[int]]:
    """What `pack` has packed, value by value."""
    content_bytes = gzip.decompress(base64.b64decode(content))
    columns = []
    for start in range(0, len(content_bytes), 2 * count):
        value, column = 0, []
        for row in range(count):
            low, high = content_bytes[start + row], content_bytes[start + count + row]
            folded = low + 256 * high
            step = folded // 2 if folded % 2 == 0 else -(folded + 1) // 2
            value = (value + step) % 65_536
            column.append(value)
        columns.append(column)
    return columns


class Elements(HTMLParser):
    """Start tags in order, and the text of elements with an id."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, Any]]] = []
        self.texts: dict[str, str] = {}
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.tags and data.strip():
            tag, attributes = self.tags[-1]
            self.texts.setdefault(attributes.get("id") or tag, data)


@given(st.lists(st.lists(st.integers(0, 65_535), min_size=5, max_size=5), min_size=1, max_size=4))
def test_columns_come_back_exactly(columns: list[list[int]]) -> None:
    assert unpacked(pack([np.array(column, np.uint16) for column in columns]), 5) == columns


def test_rounding_is_at_most_half_a_step() -> None:
    values = np.random.default_rng(0).normal(3, 2, 1000)
    levels, low, step = quantise(values)
    assert np.abs(low + levels * step - values).max() <= step / 2 * (1 + 1e-9)
    assert step == pytest.approx(np.ptp(values) / 1023)
    points = values[:999].reshape(-1, 3) * [1, 10, 0.1] + 1e6
    grid, corner, step = quantise_points(points)
    assert np.abs(corner + grid * step - points).max() <= step / 2 * (1 + 1e-6)
    assert step == pytest.approx(np.ptp(points[:, 1]) / 65_535)
    assert quantise(np.full(3, 7.0))[1:] == (7.0, 0.0)


def test_normals_keep_their_direction_but_not_their_side() -> None:
    normals = np.random.default_rng(0).normal(size=(500, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    u, v = (quantise_normals(normals) * 2 / 63 - 1).T
    x, y = (u + v) / 2, (u - v) / 2
    back = np.stack([x, y, 1 - np.abs(x) - np.abs(y)], 1)
    back /= np.linalg.norm(back, axis=1, keepdims=True)
    cosine = np.abs((back * normals).sum(1))
    assert np.rad2deg(np.arccos(cosine.clip(0, 1))).max() < 3
    np.testing.assert_array_equal(quantise_normals(normals), quantise_normals(-normals))


def test_the_curve_visits_all_points_and_jumps_little() -> None:
    points = np.random.default_rng(0).normal(size=(2000, 3))
    order = curve_order(points)
    np.testing.assert_array_equal(np.sort(order), np.arange(2000))
    jumps = np.linalg.norm(np.diff(points[order], axis=0), axis=1)
    assert jumps.mean() < 0.25 * np.linalg.norm(np.diff(points, axis=0), axis=1).mean()


def test_thinning_keeps_the_highest_scores_of_every_detector_and_an_even_rest() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.permutation(10_000).astype(float), rng.permutation(10_000).astype(float)
    rows = rows_to_show([first, second], 800)
    assert len(rows) == 800
    assert (np.diff(rows) > 0).all()
    for scores in (first, second):
        assert set(np.argsort(scores)[-100:]) <= set(rows)
    # a quarter at most is the highest scores; the rest is spread over the whole curve
    assert np.histogram(rows, 10, (0, 10_000))[0].min() >= 0.1 * 600 * 0.9
    np.testing.assert_array_equal(rows_to_show([first], 10_000), np.arange(10_000))


def test_counts_are_of_all_points_not_of_those_shown() -> None:
    scan = ball("a", 0.9)
    about = encode(scan, 500).about
    assert scan.labels is not None
    assert scan.regions is not None
    assert (about["total"], about["shown"]) == (4000, 500)
    assert about["defective"] == scan.labels.sum()
    mini = about["detectors"]["mini"]
    assert sum(mini["counts"]) == 4000
    assert sum(mini["defective"]) == scan.labels.sum()
    (region,) = about["regions"]
    inside = scan.regions == 0
    assert region["points"] == inside.sum()
    np.testing.assert_allclose(region["size"], np.ptp(scan.points[inside], axis=0), rtol=1e-6)
    np.testing.assert_allclose(region["centre"], scan.points[inside].mean(0), rtol=1e-5)
    assert region["highest"]["mini"] == pytest.approx(scan.scores["mini"].max())


def test_points_without_coordinates_or_score_are_left_out_and_counted() -> None:
    scan = ball("a", 0.9)
    points, scores = scan.points.copy(), scan.scores["mini"].copy()
    points[:7, 1], scores[5:10] = np.nan, np.nan
    bare = {"labels": None, "regions": None, "threshold": float("nan")}
    about = encode(replace(scan, points=points, scores={"mini": scores}, **bare), 9000).about
    assert (about["total"], about["hidden"]) == (3990, 10)
    assert about["threshold"] is None
    assert "defective" not in about
    assert "regions" not in about


@pytest.mark.parametrize(
    ("points", "expected"),
    [(np.zeros((1, 3)), 1), (np.ones((50, 3)), 50), (np.arange(6.0).reshape(2, 3), 2)],
)
def test_degenerate_clouds_are_shown_too(points: np.ndarray, expected: int) -> None:
    scan = ViewedScan("x", "", points, {"mini": np.zeros(len(points))})
    about = encode(scan, 100).about
    assert about["shown"] == expected
    assert np.isfinite(about["spot"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"points": np.zeros((4000, 2))}, r"points of shape \[4000, 2\]; expected \[N, 3\]"),
        ({"scores": {}}, "no scores"),
        ({"scores": {"mini": np.zeros(3)}}, r"scores of mini have shape \[3\]; expected \[4000\]"),
        ({"labels": np.zeros(5, bool)}, r"labels have shape \[5\]"),
        ({"points": np.full((4000, 3), np.nan)}, "no point has finite"),
        ({"scores": {"mini": np.zeros(4000)}}, r"detectors \['mini'\]; expected \['mini', 'Pat"),
    ],
)
def test_what_does_not_fit_is_refused(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        write_viewer(tmp_path / "v.html", [ball("a", 1), replace(ball("b", 1), **changes)], "t")
    assert list(tmp_path.iterdir()) == []


def test_no_scans_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no scan to show"):
        write_viewer(tmp_path / "v.html", [], "t")


def test_names_cannot_break_out_of_the_page(tmp_path: Path) -> None:
    path = tmp_path / "v.html"
    write_viewer(path, [ball(HOSTILE, 1, 50), ball("b", 1, 50)], HOSTILE)
    page = Elements(path.read_text("utf-8"))
    assert json.loads(page.texts["page"])["scans"][0]["name"] == HOSTILE
    assert page.texts["title"] == HOSTILE
    assert page.texts["h1"] == HOSTILE
    assert not [tag for tag, _ in page.tags if tag == "b"]
    scripts = [attributes.get("id") for tag, attributes in page.tags if tag == "script"]
    assert scripts == [None, "page", "scan-0", "scan-1", None]


def test_only_what_is_shown_of_a_scan_stays_in_memory(tmp_path: Path) -> None:
    alive: list[weakref.ref[ViewedScan]] = []

    def scans() -> Iterator[ViewedScan]:
        for number in range(4):
            assert sum(reference() is not None for reference in alive) <= 1
            scan = ball(f"scan {number}", 1, 60)
            alive.append(weakref.ref(scan))
            yield scan
            del scan

    write_viewer(tmp_path / "v.html", scans(), "t")
    assert len(alive) == 4


def test_the_library_is_the_one_that_its_readme_names(repository: Path, tmp_path: Path) -> None:
    vendor = repository / "btp/drawing/viewer/vendor"
    (library,) = vendor.glob("*.min.js")
    digest = hashlib.sha256(library.read_bytes()).hexdigest()
    assert f"{digest}  {library.name}" in (vendor / "README.md").read_text("utf-8")
    write_viewer(tmp_path / "v.html", [ball("a", 1, 50)], "t")
    licence = (vendor / "LICENSE").read_text("utf-8").strip()
    assert "three.js authors" in licence
    assert licence in (tmp_path / "v.html").read_text("utf-8")
