"""A person's own scan as it comes: cloud or mesh, with points that a sensor did not see."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from btp.data.formats import read_content
from btp.data.formats.content import Content
from btp.data.plausible import doubtful_faces, far_rows, few_places, holes, triangle_areas
from btp.data.scan_objects import Scan, given_content, given_path
from btp.data.synthesis.solids import draw_triangles

COARSE_FACES = 40_000
"""A mesh of fewer triangles (some 20,000 vertices) is judged by points sampled from its surface:
CAD has vertices at edges only, while a scanned mesh's own vertices are what was measured."""
SURFACE_POINTS = 20_000


@dataclass(frozen=True)
class RawScan:
    """A scan as it was read.

    Attributes:
        name: path, "" for what a program holds.
        points: float [R, 3], every row of the file in its order and units; some may not be finite.
        valid: bool [R], the rows that are measured points: finite, no hole, and not far off.
        judged: float [M, 3], what the model sees: the valid points, or a sample of a mesh's faces.
        sampled: whether `judged` is such a sample.
        holes: number of rows at exactly (0, 0, 0) that mark what the sensor did not see.
        far: number of rows absurdly far from all others, which are no measured points either.
        notes: what else a reader of its scores should know, one phrase each.
    """

    name: str
    points: NDArray[np.floating]
    valid: NDArray[np.bool_]
    judged: NDArray[np.floating]
    sampled: bool
    holes: int = 0
    far: int = 0
    notes: tuple[str, ...] = ()


def read_scan(scan: Scan) -> RawScan:
    """Read a file of any readable format, or take points that a program holds.

    Organised scans mark what the sensor did not see by NaN, by (0, 0, 0) or by a coordinate such as
    1e9. Such rows are no measured points, and a warning counts them. Faces that cannot be the
    scanned surface are passed over, with a warning.

    Args:
        scan: as `btp.data.scan_objects.Scan` says.

    Raises:
        DataError: missing, unreadable or damaged file, or an object of another shape or kind.
    """
    path = given_path(scan)
    name = "" if path is None else str(path)
    content = given_content(scan) if path is None else read_content(path)
    points = content.points
    hole = holes(points)
    valid = np.asarray(np.isfinite(points).all(1)) & ~hole
    far = far_rows(points, valid)
    valid &= ~far
    counts = int(np.count_nonzero(hole)), int(np.count_nonzero(far))
    notes = [*content.notes]
    measured = points if valid.all() else points[valid]
    triangles, doubt = _coarse_mesh(content, valid)
    remarks = [doubt, few_places(measured) if not len(triangles) else None]
    notes += [remark for remark in remarks if remark is not None]
    _warn(name, len(points), counts, notes)
    if not len(triangles):
        return RawScan(name, points, valid, measured, False, *counts, tuple(notes))
    density = SURFACE_POINTS / triangle_areas(triangles).sum()
    judged, _ = draw_triangles(triangles)(density, np.random.default_rng(0))
    return RawScan(name, points, valid, judged, True, *counts, tuple(notes))


def _warn(name: str, rows: int, counts: tuple[int, int], notes: list[str]) -> None:
    phrases = [
        "are exactly (0, 0, 0) and were ignored: so scanners mark what they did not see",
        "are absurdly far from all others and were ignored: so programs mark what they do not know",
    ]
    told = [
        f"{count:,} of {rows:,} points {phrase}"
        for count, phrase in zip(counts, phrases, strict=True)
        if count
    ]
    for text in [*told, *notes]:
        warnings.warn(f"{name or 'the scan'}: {text}", stacklevel=3)


def _coarse_mesh(
    content: Content, valid: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], str | None]:
    """Return the triangles [F, 3, 3] of a mesh that is to be sampled, and why there are none.

    There are none of a cloud or of a dense mesh, whose own points are judged.
    """
    none = np.empty((0, 3, 3))
    faces = content.faces[valid[content.faces].all(1)] if len(content.faces) else content.faces
    if not 0 < len(content.faces) < COARSE_FACES or not len(faces):
        return none, None
    doubt = doubtful_faces(content.points, faces)
    if doubt is not None:
        return none, doubt
    triangles = content.points[faces].astype(np.float64)
    return triangles[triangle_areas(triangles) > 0], None
