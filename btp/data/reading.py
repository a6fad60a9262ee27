"""A person's own scan as it comes: cloud or mesh, with points that a sensor did not see."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from btp.data.formats import MESH_SUFFIXES, read_points
from btp.data.formats.mesh import decode_mesh
from btp.data.synthesis.solids import draw_triangles
from btp.errors import DataError

COARSE_FACES = 40_000
"""A mesh of fewer triangles (some 20,000 vertices) is judged by points sampled from its surface:
CAD has vertices at edges only, while a scanned mesh's own vertices are what was measured."""
SURFACE_POINTS = 20_000
MIN_HOLES = 10
"""So many points at exactly (0, 0, 0), and ten times as many as at any other place, are holes."""

Scan = str | Path | NDArray


@dataclass(frozen=True)
class RawScan:
    """A scan as it was read.

    Attributes:
        name: path, "" for an array.
        points: float [R, 3], every row of the file in its order and units; some may not be finite.
        valid: bool [R], the rows that are measured points: finite, and no hole.
        judged: float [M, 3], what the model sees: the valid points, or a sample of a mesh's faces.
        sampled: whether `judged` is such a sample.
        holes: number of rows at exactly (0, 0, 0) that mark what the sensor did not see.
    """

    name: str
    points: NDArray[np.floating]
    valid: NDArray[np.bool_]
    judged: NDArray[np.floating]
    sampled: bool
    holes: int = 0


def read_scan(scan: Scan) -> RawScan:
    """Read a file of any readable format, or take an array [R, 3] of numbers.

    Organised scans mark what the sensor did not see by NaN or by (0, 0, 0). Rows at the origin
    count as such holes, with a warning, where they are too many to be measured points.

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
    hole = _holes(points)
    holes = int(np.count_nonzero(hole))
    valid = np.asarray(np.isfinite(points).all(1)) & ~hole
    if holes:
        warnings.warn(
            f"{name or 'the scan'}: {holes:,} of {len(points):,} points are exactly (0, 0, 0) and "
            "were ignored: so scanners mark what they did not see",
            stacklevel=2,
        )
    if not len(triangles):
        judged = points if valid.all() else points[valid]
        return RawScan(name, points, valid, judged, sampled=False, holes=holes)
    density = SURFACE_POINTS / _areas(triangles).sum()
    judged, _ = draw_triangles(triangles)(density, np.random.default_rng(0))
    return RawScan(name, points, valid, judged, sampled=True, holes=holes)


def _holes(points: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Rows [R] at the origin that cannot be points, because no other place is nearly so common."""
    zero = np.asarray((points == 0).all(1))
    count = np.count_nonzero(zero)
    if count < MIN_HOLES or count == len(points):
        return np.zeros(len(points), bool)
    # Equal points have equal keys; that others have too is next to impossible.
    with np.errstate(invalid="ignore"):
        keys = points[~zero] @ np.array([1.0, np.sqrt(2), np.pi])
    places = np.unique(keys[np.isfinite(keys)], return_counts=True)[1]
    return zero if count > 10 * places.max(initial=0) else np.zeros(len(points), bool)


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
