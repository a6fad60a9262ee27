"""Tell measured points and surfaces from marks, stray faces and made-up ones."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import ConvexHull, QhullError, cKDTree

from btp.geometry.sampling import thin

MIN_HOLES = 10
"""So many points at exactly (0, 0, 0), and ten times as many as at any other place, are holes."""
FAR = 20
"""Rows so many times as far from the middle as the farthest of all others are not measured."""
FEW_USED = 0.5
"""Faces that use a smaller share of the vertices are strays in a cloud."""
MADE_UP_EDGE = 5
"""Edges so many times the spacing of the vertices need another reason to be those of a surface."""
MADE_UP_AREA = 12
"""So many times the area of their convex hull is more than the folds of a real surface have."""
MOST_BORDER = 0.7
"""An open strip, one face wide, has half of its edges to itself; other surfaces hardly any."""
_ENOUGH = 32  # places that tell a spacing
_FEW_PLACES = 2048  # as many as are sampled
_LOOKED_AT = 10_000


def holes(points: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Find rows [R] at the origin that cannot be points: no other place is nearly so common."""
    zero = np.asarray((points == 0).all(1))
    count = np.count_nonzero(zero)
    if count < MIN_HOLES or count == len(points):
        return np.zeros(len(points), bool)
    # Equal points have equal keys; that others have too is next to impossible.
    with np.errstate(invalid="ignore", over="ignore"):
        keys = points[~zero].astype(np.float64) @ np.array([1.0, np.sqrt(2), np.pi])
    places = np.unique(keys[np.isfinite(keys)], return_counts=True)[1]
    return zero if count > 10 * places.max(initial=0) else np.zeros(len(points), bool)


def far_rows(points: NDArray[np.floating], known: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Find rows absurdly far from all others, such as 1e9 or -9999 where nothing was measured.

    Beyond the nearer half of the points, the first empty gap from some distance to `FAR` times that
    distance ends what was measured. The distance is from the middle: the median of each coordinate,
    of some 10,000 points.

    Args:
        points: [R, 3].
        known: bool [R], rows to look at.

    Returns:
        bool [R].
    """
    far = np.zeros(len(points), bool)
    if np.count_nonzero(known) < 3:
        return far
    some = points[known]
    distance = np.zeros(len(some))
    with np.errstate(over="ignore"):
        for axis in range(3):
            column = some[:, axis].astype(np.float64)
            middle = np.median(column[:: 1 + len(column) // _LOOKED_AT])
            np.maximum(distance, np.abs(column - middle), out=distance)
        half = float(np.median(distance[:: 1 + len(distance) // _LOOKED_AT]))
        if not distance.max() > FAR * half:  # mostly no row is nearly so far
            return far
        beyond = np.sort(distance[distance >= half])
        gaps = np.flatnonzero(beyond[1:] > FAR * beyond[:-1])
    if len(gaps) and beyond[gaps[0]] > 0:
        far[known] = distance > beyond[gaps[0]]
    return far


def few_places(points: NDArray[np.floating]) -> str | None:
    """Return a remark if the points lie at few distinct places, as after rounding; else None."""
    some = points[thin(np.arange(len(points)), _LOOKED_AT)]
    if len(np.unique(some, axis=0)) > min(_FEW_PLACES, len(some) // 2):
        return None
    places = len(np.unique(points, axis=0))
    if places < min(_FEW_PLACES, len(points) / 2):
        return f"only {places:,} distinct places for {len(points):,} points: rounded too coarsely"
    return None


def doubtful_faces(points: NDArray[np.floating], faces: NDArray[np.int64]) -> str | None:
    """Return why faces are not the surface that was scanned; None if they may be.

    Args:
        points: finite where faces name them.
        faces: int64 [F, 3], F >= 1.
    """
    used = np.unique(faces)
    if len(used) < FEW_USED * len(points):
        return (
            f"its {len(faces):,} faces use only {len(used):,} of {len(points):,} vertices, and "
            "were passed over"
        )
    corners = points[used].astype(np.float64)
    places, place_of = np.unique(corners, axis=0, return_inverse=True)
    if len(places) < _ENOUGH:
        return None
    own = place_of.ravel()[np.searchsorted(used, faces)]
    triangles = places[own]
    edges = np.linalg.norm(triangles - triangles[:, [1, 2, 0]], axis=2)
    gaps = cKDTree(places).query(places[thin(np.arange(len(places)), _LOOKED_AT)], 2)[0][:, 1]
    if np.median(edges) < MADE_UP_EDGE * np.median(gaps):
        return None
    # Long edges are right in CAD, whose triangles share edges and lie side by side.
    area = triangle_areas(triangles).sum()
    if _border(own) > MOST_BORDER or area > MADE_UP_AREA * _hull_area(places):
        return (
            f"the edges of its {len(faces):,} faces ({np.median(edges):.3g} long) do not fit the "
            f"spacing of its points ({np.median(gaps):.3g}), and the faces were passed over"
        )
    return None


def triangle_areas(triangles: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the areas [F] of triangles [F, 3, 3]; nan for one with such a corner."""
    with np.errstate(invalid="ignore", over="ignore"):
        first, second = (triangles[:, 1:] - triangles[:, :1]).swapaxes(0, 1)
        area: NDArray[np.float64] = np.linalg.norm(np.cross(first, second), axis=1) / 2
    return area


def _border(faces: NDArray[np.int64]) -> float:
    """Return the share of the edges that belong to one face only."""
    edges = np.sort(faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
    uses = np.unique(edges, axis=0, return_counts=True)[1]
    return float(np.mean(uses == 1))


def _hull_area(points: NDArray[np.float64]) -> float:
    try:
        return float(ConvexHull(points).area)
    except QhullError:  # flat: the hull has no volume, and both its sides count
        low, high = points.min(0), points.max(0)
        x, y, z = high - low
        return float(2 * (x * y + y * z + z * x))
