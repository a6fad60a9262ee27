"""Where a maker works on a densely sampled surface, and how far its points are apart."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
Rows = NDArray[np.intp]
Rng = np.random.Generator


class Cloud(NamedTuple):
    """A sampled surface.

    Attributes:
        points: float64 [N, 3].
        normals: float64 [N, 3], unit, outward.
        radius: largest distance from the mean.
        gap: distance to the nearest neighbour, median over the points.
        tree: of the points.
    """

    points: Array
    normals: Array
    radius: float
    gap: float
    tree: cKDTree


class Outcome(NamedTuple):
    """A cloud with a defect: points [M, 3] and which of them are defective [M]."""

    points: Array
    labels: Mask


def cloud_of(points: NDArray, normals: NDArray) -> Cloud:
    """Prepare points [N, 3] and unit normals [N, 3] for the makers."""
    points, normals = points.astype(np.float64), normals.astype(np.float64)
    tree = cKDTree(points)
    some = points[:: max(1, len(points) // 500)]
    gap = float(np.median(tree.query(some, 2)[0][:, 1]))
    radius = float(np.linalg.norm(points - points.mean(0), axis=1).max())
    return Cloud(points, normals, radius, max(gap, 1e-6 * radius), tree)


def log_uniform(rng: Rng, low: float, high: float) -> float:
    """Draw a number between low and high, even in its logarithm."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def near(cloud: Cloud, centre: Array, reach: float) -> Rows:
    """Return the rows within `reach` of a place, sorted."""
    return np.asarray(sorted(cloud.tree.query_ball_point(centre, reach)), np.intp)


def same_side(cloud: Cloud, rows: Rows, row: int) -> Rows:
    """Return those of the rows that look roughly the way that `row` looks."""
    return rows[cloud.normals[rows] @ cloud.normals[row] > 0.1]


def spot(cloud: Cloud, reach: float, rng: Rng, least: int = 40) -> int:
    """Draw a row with at least `least` points of its own side in reach, if one of a dozen has."""
    best, most = 0, -1
    for row in rng.integers(len(cloud.points), size=12):
        found = len(same_side(cloud, near(cloud, cloud.points[row], reach), int(row)))
        if found >= least:
            return int(row)
        if found > most:
            best, most = int(row), found
    return best


def bump(distance: Array) -> Array:
    """Return a smooth hill: 1 at distance 0, 0 from distance 1 on."""
    return np.clip(1 - distance**2, 0, None) ** 2


def frame(normal: Array, rng: Rng) -> Array:
    """Return a rotation [3, 3] whose last row is `normal`, turned about it at random."""
    across = np.linalg.svd(normal[None])[2][1:]
    angle = rng.uniform(0, 2 * np.pi)
    first = np.cos(angle) * across[0] + np.sin(angle) * across[1]
    return np.stack([np.cross(first, normal), first, normal])
