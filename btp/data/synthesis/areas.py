"""Where a defect sits: round areas, lines and ends of a densely sampled surface.

Distances run along the surface, over a graph of near neighbours that look the same way, so that the
back of a thin wall is far from its front.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, diags
from scipy.sparse.csgraph import dijkstra
from scipy.spatial import cKDTree

Array = NDArray[np.float64]

NEIGHBOURS = 12


class OrientedCloud(NamedTuple):
    """A dense sample of a surface: points and outward unit normals [N, 3], the object's radius."""

    points: Array
    normals: Array
    radius: float


class Area(NamedTuple):
    """The part of a surface that a defect changes, nearest to its middle first.

    Attributes:
        rows: [M] rows of the surface.
        distance: [M] distance along the surface from the middle of the defect.
        direction: [M, 3] outward unit normals, smoothed so that edges are not torn apart.
    """

    rows: NDArray[np.intp]
    distance: Array
    direction: Array


def object_radius(points: NDArray) -> float:
    """Measure the largest distance of `points` [N, 3] from their mean."""
    return float(np.linalg.norm(points - points.mean(0), axis=1).max())


def choose_place(cloud: OrientedCloud, depth: float, rng: np.random.Generator) -> tuple[int, float]:
    """Choose a row in the open, where the wall is thicker than the defect is deep.

    Returns:
        The row, and the depth, cut to 80 % of the wall where no row of a dozen has room for it.
    """
    points, normals, radius = cloud
    best, most = -1, -1.0
    for row in rng.choice(len(points), 12):
        offset = points - points[row]
        height = offset @ normals[row]
        opposite = normals @ normals[row] < -0.3
        near = (offset**2).sum(1) - height**2 < (0.05 * radius) ** 2
        covered = bool((near & opposite & (height > 0.01 * radius)).any())
        below = -height[near & opposite & (height < -1e-3 * radius)]
        room = 0.8 * float(below.min()) if len(below) else 2 * radius
        if not covered and room > depth:
            return int(row), depth
        if room > most:
            best, most = int(row), room
    return best, min(depth, most)


def round_area(cloud: OrientedCloud, row: int, count: int, rng: np.random.Generator) -> Area:
    """Take points around a row, with an uneven outline; somewhat more than `count`."""
    rows, graph = _neighbourhood(cloud, row, 4 * count)
    distance = dijkstra(graph, indices=0)
    return _area(cloud, rows, graph, distance, rng)


def line_area(
    cloud: OrientedCloud, row: int, count: int, jitter: float, rng: np.random.Generator
) -> Area:
    """Take points along a line that starts at a row; the more jitter, the more jagged it is."""
    rows, graph = _neighbourhood(cloud, row, max(4 * count, len(cloud.points) // 4))
    uneven = graph.copy()
    uneven.data *= 1 + jitter * rng.random(len(uneven.data))
    distance, before = dijkstra(uneven, indices=0, return_predecessors=True)
    length = min(rng.uniform(0.6, 1.2) * cloud.radius, distance[np.isfinite(distance)].max())
    ends = np.flatnonzero((distance <= length) & (distance >= 0.8 * length))
    line = [int(rng.choice(ends))]
    while line[-1] != 0:
        line.append(int(before[line[-1]]))
    return _area(cloud, rows, graph, dijkstra(graph, indices=line, min_only=True), rng)


def _area(
    cloud: OrientedCloud,
    rows: NDArray[np.intp],
    graph: csr_matrix,
    distance: Array,
    rng: np.random.Generator,
) -> Area:
    reached = np.isfinite(distance)
    uneven = distance * (1 + 0.15 * smooth_noise(cloud.points[rows] / (0.3 * cloud.radius), rng))
    direction = cloud.normals[rows]
    link = (graph > 0) + diags(np.ones(len(rows)))
    for _ in range(6):
        direction = link @ direction
        direction /= np.linalg.norm(direction, axis=1, keepdims=True) + 1e-12
    order = np.argsort(np.where(reached, uneven, np.inf), kind="stable")[: int(reached.sum())]
    return Area(rows[order], uneven[order], direction[order])


def _neighbourhood(
    cloud: OrientedCloud, row: int, size: int
) -> tuple[NDArray[np.intp], csr_matrix]:
    """The `size` points nearest to a row, itself first, and their graph along the surface."""
    squared = ((cloud.points - cloud.points[row]) ** 2).sum(1)
    squared[row] = -1
    rows = np.argsort(squared, kind="stable")[:size]
    points, normals = cloud.points[rows], cloud.normals[rows]
    distance, neighbour = cKDTree(points).query(points, NEIGHBOURS + 1)
    source, target = np.repeat(np.arange(len(rows)), NEIGHBOURS), neighbour[:, 1:].ravel()
    # A neighbour that looks the other way is the back of a thin wall.
    same_side = (normals[source] * normals[target]).sum(1) > -0.2
    weight = np.maximum(distance[:, 1:].ravel(), 1e-9 * cloud.radius)[same_side]
    graph = csr_matrix((weight, (source[same_side], target[same_side])), (len(rows), len(rows)))
    return rows, graph.maximum(graph.T)


def choose_end(cloud: OrientedCloud, rng: np.random.Generator) -> tuple[Array, Array, Array]:
    """Choose an outermost place of the object.

    Returns:
        Its direction [3], how far behind it each point lies [N], and a point [3] beyond it.
    """
    outward = rng.normal(size=3)
    outward /= np.linalg.norm(outward)
    tip = cloud.points[np.argmax(cloud.points @ outward)]
    apex = tip + 0.5 * cloud.radius * outward
    reach = np.linalg.norm(cloud.points - apex, axis=1)
    return outward, reach - reach.min(), apex


def smooth_noise(position: Array, rng: np.random.Generator) -> Array:
    """Make smooth noise [N] of about -1..1, with waves one unit long, at positions [N, 3]."""
    frequencies = 2 * np.pi * rng.normal(size=(3, 6)) / np.sqrt(3)
    return np.asarray(np.sin(position @ frequencies + rng.uniform(0, 2 * np.pi, 6)).sum(1) / 3)
