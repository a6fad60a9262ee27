"""What is no measured point and no surface: marks far off, few places, stray and made-up faces."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from btp.data.formats import write_ply
from btp.data.plausible import doubtful_faces, far_rows, few_places
from btp.data.reading import read_scan

FLOAT_MAX = float(np.finfo(np.float32).max)


def part(rows: int = 6000, size: float = 60.0, seed: int = 0) -> NDArray[np.float64]:
    """An ellipsoid of that length, off the origin."""
    normal = np.random.default_rng(seed).normal(size=(rows, 3))
    unit = normal / np.linalg.norm(normal, axis=1, keepdims=True)
    return unit * size / 2 * np.array([1, 0.6, 0.4]) + size * np.array([3, -1, 2])


def seen(points: NDArray) -> NDArray[np.bool_]:
    return np.ones(len(points), bool)


@pytest.mark.parametrize("value", [1e8, -1e9, 1e10, 1e12, FLOAT_MAX, -9999.0, 32767.0])
@pytest.mark.parametrize("columns", [[0, 1, 2], [2]])
def test_marks_far_off_are_no_points(value: float, columns: list[int]) -> None:
    for rows in ([17], list(range(0, 6000, 33))):  # one, and 3 %
        points = part().astype(np.float32)
        points[np.ix_(rows, columns)] = value
        with pytest.warns(UserWarning, match=f"{len(rows):,} of 6,000 points are absurdly far"):
            scan = read_scan(points)
        assert np.flatnonzero(~scan.valid).tolist() == rows and scan.far == len(rows)
        np.testing.assert_array_equal(scan.judged, points[scan.valid])


def test_float64_at_its_end_and_several_marks() -> None:
    points = part()
    points[:50, 2], points[50:60] = np.finfo(np.float64).max, -1e5
    points[70] = np.nan
    assert np.flatnonzero(far_rows(points, np.isfinite(points).all(1))).tolist() == list(range(60))


def test_marks_up_to_nearly_half() -> None:
    points = part()
    points[: len(points) * 45 // 100, 2] = -32768
    assert np.count_nonzero(far_rows(points, seen(points))) == 2700


@pytest.mark.parametrize(
    "points",
    [
        part(),
        part() * 1e-9,
        part() + 1e7,
        np.vstack([part(), part(50) * 3]),  # something beside it
        np.vstack([part(), part(2000) + np.array([400, 0, 0])]),
        np.random.default_rng(0).standard_cauchy((6000, 3)).clip(-400, 400),  # no gap
        np.zeros((50, 3)),
        np.repeat(part(2), 40, axis=0),
        part(2),
        np.vstack([np.zeros((60, 3)), part(40)]),  # more than half at one place
    ],
)
def test_measured_points_are_kept(points: NDArray) -> None:
    assert not far_rows(points, seen(points)).any()


def test_few_places_are_said() -> None:
    """A part of 60 mm in metres, rounded to steps of 0.01."""
    rounded = (part() / 1000).round(2)
    places = len(np.unique(rounded, axis=0))
    assert places < 100
    remark = f"only {places} distinct places for 6,000 points: rounded too coarsely"
    assert few_places(rounded) == remark
    with pytest.warns(UserWarning, match=remark):
        assert read_scan(rounded).notes == (remark,)
    assert few_places(part()) is None
    assert few_places(np.repeat(part(3000), 2, axis=0)) is None
    assert few_places(part(100)) is None


Surface = tuple[NDArray[np.float64], NDArray[np.int64]]


def ring(sections: int, height: float) -> Surface:
    """The open side of a cylinder: one row of quads."""
    angle = np.linspace(0, 2 * np.pi, sections, endpoint=False)
    circle = np.column_stack([5 * np.cos(angle), 5 * np.sin(angle), np.zeros(sections)])
    a = np.arange(sections)
    b = (a + 1) % sections
    lower = np.column_stack([a, b, a + sections])
    return np.vstack([circle, circle + np.array([0, 0, height])]), np.vstack(
        [lower, np.column_stack([b, b + sections, a + sections])]
    )


def made(shape: str) -> Surface:
    import trimesh

    make: dict[str, Callable[[], trimesh.Trimesh]] = {
        "box": lambda: trimesh.creation.box((60, 40, 5)),
        "cylinder": lambda: trimesh.creation.cylinder(5, 200, sections=256),
        "needle": lambda: trimesh.creation.cone(1, 300, sections=64),
        "tube": lambda: trimesh.creation.annulus(9, 10, 300, sections=128),
        "icosphere": lambda: trimesh.creation.icosphere(3),
        "soup": lambda: trimesh.creation.cylinder(5, 200, sections=256),
        "heat sink": lambda: trimesh.util.concatenate(
            [
                trimesh.creation.box((50, 1, 20)).apply_translation((0, 2.0 * i, 0))
                for i in range(24)
            ]
        ),
        "ring": lambda: trimesh.Trimesh(
            *ring(128, 200.0),
            process=False,
        ),
        "torus": lambda: trimesh.creation.torus(30, 8),
    }
    mesh = make[shape]()
    if shape == "soup":
        return mesh.triangles.reshape(-1, 3), np.arange(3 * len(mesh.faces)).reshape(-1, 3)
    return np.asarray(mesh.vertices, np.float64), np.asarray(mesh.faces, np.int64)


@pytest.mark.parametrize(
    "shape",
    ["box", "cylinder", "needle", "tube", "icosphere", "soup", "heat sink", "ring", "torus"],
)
def test_surfaces_are_believed(shape: str) -> None:
    assert doubtful_faces(*made(shape)) is None


@pytest.mark.parametrize("rows", [400, 6000])
@pytest.mark.parametrize("step", [1, 2, 3])
def test_faces_of_consecutive_rows_are_not(rows: int, step: int) -> None:
    points = part(rows)
    faces = np.arange(0, rows - 2, step)[:, None] + np.arange(3)
    assert "do not fit the spacing of its points" in (doubtful_faces(points, faces) or "")


def test_few_used_vertices() -> None:
    assert "its 2 faces use only 6 of 6,000 vertices" in (
        doubtful_faces(part(), np.arange(6).reshape(2, 3)) or ""
    )


def test_a_mesh_with_a_vertex_far_off_is_sampled_without_it(tmp_path: Path) -> None:
    vertices, faces = made("icosphere")
    vertices[5] = 1e12
    path = tmp_path / "a.obj"
    path.write_text(
        "".join(f"v {x} {y} {z}\n" for x, y, z in vertices.tolist())
        + "".join(f"f {a + 1} {b + 1} {c + 1}\n" for a, b, c in faces.tolist())
    )
    with pytest.warns(UserWarning, match="1 of 642 points are absurdly far"):
        scan = read_scan(path)
    assert scan.sampled and np.abs(scan.judged).max() < 1.01 and len(scan.judged) > 10_000


def test_a_plain_scan_says_nothing(tmp_path: Path) -> None:
    write_ply(tmp_path / "a.ply", part())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_scan(tmp_path / "a.ply").notes == ()
