"""A person's own scan as it comes: cloud or mesh, with points that a sensor did not see."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from btp.data.formats import MESH_SUFFIXES, read_points
from btp.data.formats.mesh import decode_mesh
from btp.data.solids import draw_triangles
from btp.errors import DataError

COARSE_FACES = 40_000
"""A mesh of fewer triangles (some 20,000 vertices) is judged by points sampled from its surface:
CAD has vertices at edges only, while a scanned mesh's own vertices are what was measured."""
SURFACE_POINTS = 20_000

Scan = str | Path | NDArray


@dataclass(frozen=True)
class RawScan:
    """A scan as it was read.

    Attributes:
        name: path, "" for an array.
        points: float [R, 3], every row of the file in its order and units; some may not be finite.
        valid: bool [R], the finite rows.
        surface: float [M, 3], what is judged: the finite points, or a sample of a mesh's faces.
        sampled: whether `surface` is such a sample.
    """

    name: str
    points: NDArray[np.floating]
    valid: NDArray[np.bool_]
    surface: NDArray[np.floating]
    sampled: bool


def read_scan(scan: Scan) -> RawScan:
    """Read a file of any readable format, or take an array [R, 3] of numbers.

    Raises:
        DataError: missing, unreadable or damaged file, or an array of another shape or kind.
    """
    if isinstance(scan, np.ndarray):
        if scan.ndim != 2 or scan.shape[1] != 3 or scan.dtype.kind not in "fiu":
            raise DataError(
                f"an array of {scan.dtype} with shape {list(scan.shape)}; expected numbers [R, 3]"
            )
        name, points = "", np.asarray(scan, np.result_type(scan.dtype, np.float32))
        triangles = np.empty((0, 3, 3))
    else:
        name, points = str(scan), read_points(scan, on_invalid="keep")
        triangles = _coarse_mesh(Path(scan), len(points))
    valid = np.asarray(np.isfinite(points).all(1))
    if not len(triangles):
        surface = points if valid.all() else points[valid]
        return RawScan(name, points, valid, surface, sampled=False)
    density = SURFACE_POINTS / _areas(triangles).sum()
    surface, _ = draw_triangles(triangles)(density, np.random.default_rng(0))
    return RawScan(name, points, valid, surface, sampled=True)


def _coarse_mesh(path: Path, rows: int) -> NDArray[np.float64]:
    """The triangles [F, 3, 3] of a mesh that is to be sampled; none of a dense one, or a cloud."""
    suffix, none = path.suffix.lower(), np.empty((0, 3, 3))
    if suffix not in MESH_SUFFIXES or rows >= 3 * COARSE_FACES:  # stl: three rows a triangle
        return none
    try:
        vertices, faces = decode_mesh(path.read_bytes(), suffix)
    except (ValueError, OSError) as error:
        raise DataError(f"{path}: its faces cannot be read: {error}. Export it again.") from error
    if len(faces) >= COARSE_FACES:
        return none
    triangles = vertices[faces]
    return triangles[_areas(triangles) > 0]  # not those with a corner that is nan either


def _areas(triangles: NDArray[np.float64]) -> NDArray[np.float64]:
    with np.errstate(invalid="ignore"):
        first, second = (triangles[:, 1:] - triangles[:, :1]).swapaxes(0, 1)
        area: NDArray[np.float64] = np.linalg.norm(np.cross(first, second), axis=1) / 2
    return area
