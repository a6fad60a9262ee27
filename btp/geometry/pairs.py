"""Who is near whom in a point cloud, inside a radius and up to a number of neighbours."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from btp.geometry.planes import Floats

Rows = NDArray[np.int64]
Mask = NDArray[np.bool_]

CHUNK = 2048
"""Points handled at once, which bounds the memory of neighbour lists to some 150 MB."""
MOST_PAIRS = 3_000_000
"""Pairs found at once, which takes some 150 MB."""
BLOCK = 16_384
"""Pairs handled at once: their some twenty arrays stay in a core's cache."""
LEVELS = 64
"""Steps of distance by which neighbours are counted, to find where a limit cuts."""


@dataclass(frozen=True)
class Pairs:
    """Pairs of points [P], each of which stands once, of which one is the other's neighbour.

    Attributes:
        first: int64 [P], rows of the cloud.
        second: int64 [P], other rows of the cloud.
        squared: float64 [P], squared distances, in the cloud's unit.
        forward: bool [P], whether the second point is among the first one's neighbours.
        backward: bool [P], whether the first point is among the second one's.
    """

    first: Rows
    second: Rows
    squared: Floats
    forward: Mask
    backward: Mask

    def directed(self, wanted: Mask) -> tuple[Rows, Rows, Floats]:
        """List points that are `wanted` [N], a neighbour of each, and the squared distance: [E]."""
        ahead = np.flatnonzero(self.forward & wanted[self.first])
        back = np.flatnonzero(self.backward & wanted[self.second])
        return (
            np.concatenate([self.first[ahead], self.second[back]]),
            np.concatenate([self.second[ahead], self.first[back]]),
            np.concatenate([self.squared[ahead], self.squared[back]]),
        )

    def where(self, mask: Mask) -> Pairs:
        """Keep the pairs of `mask` [P]."""
        kept = np.flatnonzero(mask)
        return Pairs(
            self.first[kept],
            self.second[kept],
            self.squared[kept],
            self.forward[kept],
            self.backward[kept],
        )


def neighbours_within(tree: cKDTree, rows: Rows, radius: float, limit: int) -> tuple[Rows, Mask]:
    """List the `limit` nearest points nearer than `radius` to each of `rows`, nearest first.

    Args:
        tree: over the cloud [N, 3].
        rows: int64 [M], rows of the cloud.
        radius: in the cloud's unit; a point at exactly this distance does not count.
        limit: at most so many, the point itself included.

    Returns:
        int64 [M, K] rows of the cloud with K = min(limit, N), and bool [M, K], False for places
        left over, which hold row 0. The first is the point itself or a duplicate of it.
    """
    _, index = tree.query(
        tree.data[rows], k=range(1, min(limit, tree.n) + 1), distance_upper_bound=radius
    )
    valid = index < tree.n
    return np.where(valid, index, 0), valid


def few_enough(tree: cKDTree, radius: float) -> bool:
    """Tell whether at most about `MOST_PAIRS` pairs lie within `radius`, judged by 256 points."""
    some = tree.data[:: max(1, tree.n // 256)]
    near = tree.query_ball_point(some, radius, return_length=True).mean()
    return bool(tree.n * near / 2 <= MOST_PAIRS)


def pairs_within(tree: cKDTree, radius: float, limit: int) -> Pairs:
    """Find the neighbours of every point as pairs, several times faster than `neighbours_within`.

    The neighbours are those of `neighbours_within`, without the point itself; of points that tie
    in distance at the limit others may be kept. Memory grows with the number of points inside the
    radius, not with the limit: see `few_enough`.

    Args:
        tree: as in `neighbours_within`.
        radius: as in `neighbours_within`.
        limit: as in `neighbours_within`.
    """
    first, second = np.ascontiguousarray(tree.query_pairs(radius, output_type="ndarray").T)
    everywhere = np.ones(len(first), dtype=bool)
    squared = _squared(tree.data, first, second)
    return keep_nearest(
        Pairs(first, second, squared, everywhere, everywhere), tree.n, radius, limit
    )


def keep_nearest(pairs: Pairs, n: int, radius: float, limit: int) -> Pairs:
    """Keep the pairs whose points are neighbours within a smaller radius or limit.

    Args:
        pairs: of the cloud, for a radius and limit that are not below these.
        n: points in the cloud.
        radius: as in `neighbours_within`.
        limit: as in `neighbours_within`.
    """
    inside = pairs.squared < radius * radius
    if not inside.all():
        pairs = pairs.where(inside)
    first, second, squared = pairs.first, pairs.second, pairs.squared
    others = np.bincount(first, minlength=n) + np.bincount(second, minlength=n)
    if others.max() < limit:
        return pairs
    level = np.minimum(squared * (LEVELS / (radius * radius)), LEVELS - 1).astype(np.uint8)
    last, room = _cut(pairs, level, limit - 1, n)
    first_last, second_last = last[first], last[second]
    forward, backward = level < first_last, level < second_last
    _fill(pairs, (level == first_last, level == second_last), room, (forward, backward))
    return Pairs(first, second, squared, forward, backward).where(forward | backward)


def _squared(points: Floats, first: Rows, second: Rows) -> Floats:
    """Squared distance [P] of the points of two lists of rows [P]."""
    planes = np.ascontiguousarray(points.T)
    squared = np.zeros(len(first))
    for start in range(0, len(first), BLOCK):
        block = slice(start, start + BLOCK)
        here, there = first[block], second[block]
        for axis in planes:
            offset = axis.take(there) - axis.take(here)
            squared[block] += offset * offset
    return squared


def _cut(
    pairs: Pairs, level: NDArray[np.uint8], most: int, n: int
) -> tuple[NDArray[np.uint8], Rows]:
    """The level [N] at which each point reaches its `most` neighbours, and the room left [N] there.

    Levels below it are kept whole. A point with room for all has the level `LEVELS`.
    """
    counts = np.bincount(pairs.first * LEVELS + level, minlength=n * LEVELS)
    counts += np.bincount(pairs.second * LEVELS + level, minlength=n * LEVELS)
    within = counts.reshape(n, LEVELS).cumsum(axis=1)
    last = (within <= most).sum(axis=1)
    below = within[np.arange(n), np.maximum(last - 1, 0)]
    return last.astype(np.uint8), most - np.where(last > 0, below, 0)


def _fill(pairs: Pairs, at_last: tuple[Mask, Mask], room: Rows, kept: tuple[Mask, Mask]) -> None:
    """Set in `kept` (forward, backward) the nearest of the pairs `at_last` that have `room`."""
    ahead, back = (np.flatnonzero(mask) for mask in at_last)
    where = np.concatenate([ahead, back])
    rows = np.concatenate([pairs.first[ahead], pairs.second[back]])
    order = np.lexsort((pairs.squared[where], rows))
    rows = rows[order]
    rank = np.arange(len(rows)) - np.searchsorted(rows, rows)
    chosen = order[rank < room[rows]]
    kept[0][where[chosen[chosen < len(ahead)]]] = True
    kept[1][where[chosen[chosen >= len(ahead)]]] = True
