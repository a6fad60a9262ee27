"""Farthest point sampling of one large cloud on the CPU: exact, and quick.

Each step chooses the point that is farthest from all points chosen before. The plain loop looks at
every point in every step. With points sorted into boxes that know their farthest point, a step
changes only the boxes whose farthest point comes nearer; the others learn of it when it matters to
them. This is the method of QuickFPS (Han et al. 2023) and of the compiled package fpsample.

fpsample is used where it is installed: it has wheels up to Python 3.12. Elsewhere NumPy does the
same and chooses the same rows, ties included. It takes 1.2 times as long for a million points, and
longer where its calls cost more than their work (50 ms instead of 6 for 20,000 points).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_HEIGHT = 7
"""Levels of the tree that sorts the points: fpsample is fastest so from 10 k to 1 M points."""
_BOX = 6000
"""Points that a box of NumPy's holds at least: with fewer, calls cost more than their work."""


def farthest_rows(points: NDArray[np.float32], count: int, start: int) -> NDArray[np.int64]:
    """Choose rows of a cloud, each as far as possible from all rows chosen before.

    Squared distances are compared, in float32. Ties go to the point that comes first in the tree's
    order, whose leaves are boxes that were halved at the mean of their longest side.

    Args:
        points: float32 [R, 3], finite, R >= 2.
        count: number of rows to choose, 1 to R. Where points lie on the same spot, rows can repeat.
        start: 0 to R - 1, the place in the tree's order of the row that is chosen first.

    Returns:
        int64 [count], in the order of choice.
    """
    try:
        import fpsample
    except ModuleNotFoundError:
        return farthest_rows_numpy(points, count, start)
    height = _height(len(points))
    rows = fpsample.bucket_fps_kdline_sampling(points, count, height, start_idx=start)
    return np.asarray(rows, dtype=np.int64)


def farthest_rows_numpy(points: NDArray[np.float32], count: int, start: int) -> NDArray[np.int64]:
    """Choose the rows that `farthest_rows` chooses, with NumPy alone."""
    ordered, rows, leaves = _sort_into_leaves(points)
    boxes = _Boxes(ordered, _join(leaves, len(points)), count)
    places = np.empty(count, np.int64)
    place = start
    for step in range(count):
        places[step] = place
        place = boxes.choose(step, place)
    return rows[places].astype(np.int64)


def _height(total: int) -> int:
    """Levels of the tree: few enough that no leaf is empty."""
    return min(_HEIGHT, total.bit_length() - 1)


def _sort_into_leaves(
    points: NDArray[np.float32],
) -> tuple[NDArray[np.float32], NDArray[np.int32], list[int]]:
    """Sort points by a tree that halves each box at the mean of its longest side.

    Returns:
        The sorted points, float32 [3, R]; their rows, int32 [R]; and where each leaf starts.
    """
    total = len(points)
    height = _height(total)
    ordered = np.ascontiguousarray(points.T)
    rows = np.arange(total, dtype=np.int32)
    sums = np.empty(total, np.float32)
    leaves = []

    def divide(start: int, end: int, level: int) -> None:
        if level == height or end - start == 1:
            leaves.append(start)
            return
        box = ordered[:, start:end]
        column = box[(box.max(1) - box.min(1)).argmax()]
        # Added one after the other, as fpsample does: NumPy's own sum adds in pairs, and rounds
        # otherwise.
        np.add.accumulate(column, out=sums[start:end])
        below = column < sums[end - 1] / np.float32(end - start)
        split = int(np.count_nonzero(below))
        # What stands on the wrong side changes places, from both ends inwards.
        left = np.flatnonzero(~below[:split])
        right = np.flatnonzero(below[split:])[::-1] + split
        for values in (*box, rows[start:end]):
            values[left], values[right] = values[right], values[left]
        middle = start + min(max(split, 1), end - start - 1)
        divide(start, middle, level + 1)
        divide(middle, end, level + 1)

    divide(0, total, 0)
    return ordered, rows, leaves


def _join(leaves: Sequence[int], total: int) -> list[int]:
    """Join neighbouring leaves to boxes of enough points: where each box starts, and the end."""
    edges = [0]
    for leaf in leaves:
        if min(leaf - edges[-1], total - leaf) >= _BOX:
            edges.append(leaf)
    return [*edges, total]


class _Boxes:
    """Points in boxes, each with its farthest point; the other distances follow when they matter.

    A box whose farthest point stays as far as it was keeps the largest distance that it had, since
    a chosen point brings no other one farther away.
    """

    def __init__(self, points: NDArray[np.float32], edges: list[int], count: int) -> None:
        boxes = len(edges) - 1
        self._points, self._edges = points, edges
        self._nearest = np.full(points.shape[1], np.inf, np.float32)
        self._low = np.minimum.reduceat(points, edges[:-1], axis=1)
        self._high = np.maximum.reduceat(points, edges[:-1], axis=1)
        self._largest = np.full(boxes, np.inf, np.float32)
        self._places = np.zeros(boxes, np.int64)  # of the farthest point of each box
        self._farthest = np.zeros((3, boxes), np.float32)
        self._chosen = np.empty((3, count), np.float32)
        self._known = [0] * boxes  # steps that are in the distances of each box
        self._room = np.empty((3, max(np.diff(edges))), np.float32)

    def choose(self, step: int, place: int) -> int:
        """Add the point at `place` to the chosen ones, and return the place of the next."""
        self._chosen[:, step] = self._points[:, place]
        for box in self._reached(step):
            self._update(box, step + 1)
        return int(self._places[self._largest.argmax()])

    def _reached(self, step: int) -> Sequence[int]:
        """List the boxes whose farthest point comes nearer by a step."""
        if step == 0 or len(self._known) == 1:
            return range(len(self._known))
        distances = _squared(self._farthest - self._chosen[:, step, None])
        reached: list[int] = (distances < self._largest).nonzero()[0].tolist()
        return reached

    def _update(self, box: int, steps: int) -> None:
        """Bring the distances of a box up to date, and find its farthest point."""
        start, end = self._edges[box : box + 2]
        points, nearest = self._points[:, start:end], self._nearest[start:end]
        room = self._room[:, : end - start]
        for point in self._news(box, steps).T:
            np.subtract(points, point[:, None], out=room)
            np.minimum(nearest, _squared(room), out=nearest)
        farthest = int(nearest.argmax())
        self._places[box] = start + farthest
        self._largest[box] = nearest[farthest]
        self._farthest[:, box] = points[:, farthest]

    def _news(self, box: int, steps: int) -> NDArray[np.float32]:
        """Return the chosen points that a box does not know and that can lie near enough to it."""
        points = self._chosen[:, self._known[box] : steps]
        self._known[box] = steps
        if points.shape[1] == 1:
            return points
        low, high = self._low[:, box, None], self._high[:, box, None]
        gaps = np.maximum(low - points, points - high)
        return points[:, _squared(np.maximum(gaps, 0, out=gaps)) < self._largest[box]]


def _squared(differences: NDArray[np.float32]) -> NDArray[np.float32]:
    """Square the lengths of [3, N] in place, each added in the order x, y, z: float32 [N]."""
    np.multiply(differences, differences, out=differences)
    x, y, z = differences
    np.add(x, y, out=x)
    return np.add(x, z, out=x)
