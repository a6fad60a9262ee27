"""Scans that a program holds: what is taken for one scan, for several, and for none."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from btp.data.reading import read_scan
from btp.data.scan_objects import given_bytes, given_content, given_path, given_scans
from btp.errors import DataError

POINTS = np.random.default_rng(0).normal(size=(50, 3))


class Somewhere:
    """An os.PathLike that is no Path."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __fspath__(self) -> str:
        return str(self.path)


def test_one_and_several() -> None:
    for one in (POINTS, torch.from_numpy(POINTS), "a.ply", Path("a.ply"), Somewhere(Path("a"))):
        given, single = given_scans(one)
        assert single and len(given) == 1 and given[0] is one
    for rows in (POINTS.tolist(), [tuple(row) for row in POINTS], iter(POINTS.tolist())):
        given, single = given_scans(rows)
        assert single
        np.testing.assert_array_equal(read_scan(given[0]).points, POINTS)
    several = ["a.ply", POINTS]
    for many in (several, tuple(several), iter(several), (scan for scan in several)):
        given, single = given_scans(many)
        assert not single and given == several
    assert given_scans([]) == ([], False)


@pytest.mark.parametrize("scan", [b"a.ply", bytearray(9), 3, None, {"points": POINTS}])
def test_what_is_no_scan(scan: Any) -> None:
    with pytest.raises(DataError, match=f"{type(scan).__name__}; a scan is a path, numbers"):
        given_scans(scan)


@pytest.mark.parametrize(
    "scan",
    [None, 3, object(), "x", b"x", {1}, [[1, 2], [3]], np.array(["a"]), torch.zeros(4), [[None]]],
)
def test_what_is_no_scan_in_a_list(scan: Any) -> None:
    if scan == "x":
        return
    with pytest.raises(DataError, match=r"a scan of type .*numbers \[R, 3\]"):
        given_content(scan)


@pytest.mark.parametrize("kind", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_tensors(kind: torch.dtype) -> None:
    tensor = torch.from_numpy(POINTS).to(kind)
    scan = read_scan(tensor.requires_grad_())
    np.testing.assert_array_equal(scan.points, tensor.detach().double().numpy())
    assert scan.name == ""


def test_shapes_of_arrays() -> None:
    for array, message in (
        (POINTS.T, r"\[3, 50\].*transpose"),
        (np.hstack([POINTS, POINTS]), r"\[50, 6\]; expected numbers \[R, 3\]"),
        (POINTS[None], r"\[1, 50, 3\].*reshape"),
        (np.ones((480, 640)), "depth image"),
        (POINTS.astype(object), "Python objects"),
    ):
        with pytest.raises(DataError, match=message):
            read_scan(array)


def test_clouds_and_meshes_of_trimesh() -> None:
    trimesh = pytest.importorskip("trimesh")
    box = trimesh.creation.box()
    for mesh in (box, trimesh.Scene([box])):
        scan = read_scan(mesh)
        assert scan.sampled and len(scan.points) == 8 and len(scan.judged) > 10_000
        np.testing.assert_allclose(np.abs(scan.judged).max(axis=1), 0.5)
    np.testing.assert_array_equal(read_scan(trimesh.PointCloud(POINTS)).points, POINTS)
    assert given_scans([box, box]) == ([box, box], False) and given_scans(box) == ([box], True)


def test_clouds_and_meshes_of_open3d() -> None:
    """Its objects hold points, or vertices and triangles, which NumPy takes for arrays."""
    np.testing.assert_array_equal(read_scan(SimpleNamespace(points=POINTS)).points, POINTS)
    corners = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1.0]])
    sides = np.array([[0, 1, 2], [0, 1, 3], [0, 2, 3], [1, 2, 3]], np.int32)
    assert read_scan(SimpleNamespace(vertices=corners, triangles=sides)).sampled
    with pytest.raises(DataError, match="vertices 0 to 9"):
        read_scan(SimpleNamespace(vertices=corners, triangles=sides * 3))


def test_open3d_itself() -> None:
    o3d = pytest.importorskip("open3d")
    cloud = o3d.geometry.PointCloud(o3d.utility.Vector3dVector(POINTS))
    np.testing.assert_array_equal(read_scan(cloud).points, POINTS)
    scan = read_scan(o3d.geometry.TriangleMesh.create_box())
    assert scan.sampled and len(scan.points) == 8


def test_paths(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    np.save(path, POINTS)
    for given in (path, str(path), Somewhere(path)):
        assert given_path(given) == path
        np.testing.assert_array_equal(read_scan(given).points, POINTS)
        assert read_scan(given).name == str(path)
        assert given_bytes(given) == path.stat().st_size
    assert given_bytes(POINTS) == POINTS.nbytes == given_bytes(torch.from_numpy(POINTS))
    assert given_bytes(tmp_path / "none.npy") == 0


def test_an_iterator_is_read_once() -> None:
    def endless() -> Iterator[str]:
        yield "a.ply"
        yield "b.ply"

    assert given_scans(endless()) == (["a.ply", "b.ply"], False)
