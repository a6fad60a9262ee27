"""Group points above a threshold into defect regions, by AU-PRO's rule of connection."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from btp.geometry.neighbours import nearest_rows
from btp.geometry.sampling import thin
from btp.metrics.ground_truth import regions

MAX_REGION_POINTS = 100_000  # connected at once; bounds the memory for their pairs
OUTSIDE = -1


@dataclass(frozen=True)
class Region:
    """A group of connected points above the point threshold.

    Attributes:
        points: number of them.
        size: extent along x, y and z, in the scan's units.
        centre: mean, in the scan's coordinates.
        mean_score: of its points.
        max_score: of its points.
    """

    points: int
    size: list[float]
    centre: list[float]
    mean_score: float
    max_score: float


def defect_regions(
    points: NDArray[np.floating], scores: NDArray[np.floating], threshold: float
) -> tuple[list[Region], NDArray[np.int32]]:
    """Find the connected regions of points whose score is above a threshold.

    Of more than 100,000 distinct points above it, only so many are connected, and each other point
    joins the region of the nearest of them.

    Args:
        points: [M, 3], finite, any unit.
        scores: [M].
        threshold: exclusive.

    Returns:
        The regions, that of the highest score first; and int32 [M], the place in that list of each
        point's region, -1 for none.
    """
    above = scores > threshold
    region_of_point = np.full(len(points), OUTSIDE, np.int32)
    if not above.any():
        return [], region_of_point
    inside, values = points[above].astype(np.float64), scores[above]
    spots = thin(np.unique(inside, axis=0), MAX_REGION_POINTS)
    ids = regions(spots, np.ones(len(spots), bool))[nearest_rows(inside, spots)]
    by_id = np.argsort(ids, kind="stable")
    members = np.split(by_id, np.flatnonzero(np.diff(ids[by_id])) + 1)
    found = [(_region(inside[rows], values[rows]), rows) for rows in members]
    found.sort(key=lambda one: (-one[0].max_score, -one[0].points))
    place = np.empty(len(inside), np.int32)
    for number, (_, rows) in enumerate(found):
        place[rows] = number
    region_of_point[above] = place
    return [region for region, _ in found], region_of_point


def _region(points: NDArray[np.float64], values: NDArray[np.floating]) -> Region:
    return Region(
        points=len(points),
        size=np.ptp(points, axis=0).tolist(),
        centre=points.mean(0).tolist(),
        mean_score=float(values.mean(dtype=np.float64)),
        max_score=float(values.max()),
    )
