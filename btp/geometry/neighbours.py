"""Exact nearest neighbours: between tensors of points, arrays of points, and descriptors.

Distances between points are computed from coordinate differences, not from the expanded square,
which loses the small ones in float32.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from btp.errors import DataError
from btp.runtime.batches import batches
from btp.runtime.threads import shared_cores

if TYPE_CHECKING:
    from scipy.spatial import cKDTree

_CPU_DISTANCES = 2**20
"""Distances that `knn` computes together on CPU: they stay in the cache."""
_CUDA_DISTANCES = 2**26
"""The same on CUDA: within half a gigabyte."""

_QUERIES = 2**20
"""Queries of `nearest_rows` in work together."""
_MANY = 50
"""Queries a point from which a grid of cells is faster than the tree."""
_CELLS = 24
"""Cells of that grid along each axis."""
_FEW = 64
"""Most points near a cell that are compared each with each of its queries."""
_TOGETHER = 2**14
"""Most queries of a cell that are."""

_DESCRIPTORS = 2048
"""Queries of `nearest_descriptors` searched at once: bounds the distances held."""
_SPARE = 4
"""Candidates that it measures beyond those asked for."""


def squared_distances(a: Tensor, b: Tensor) -> Tensor:
    """Measure every row of `a` [B, M, 3] against every row of `b` [B, N, 3]: [B, M, N]."""
    total = (a[..., None, 0] - b[:, None, :, 0]).square_()
    for axis in (1, 2):
        delta = a[..., None, axis] - b[:, None, :, axis]
        total.addcmul_(delta, delta)
    return total


def knn(queries: Tensor, points: Tensor, k: int) -> Tensor:
    """Find the `k` nearest points of each query, nearest first.

    Args:
        queries: float [B, M, 3].
        points: float [B, N, 3].
        k: at most N.

    Returns:
        int64 [B, M, k]. A point that is its own query is its own first neighbour, unless another
        lies on the same spot.

    Raises:
        DataError: if there are fewer than `k` points.
    """
    if not 1 <= k <= points.shape[1]:
        raise DataError(
            f"{k} nearest neighbours were asked for among {points.shape[1]} points; "
            "ask for fewer, or give a denser cloud"
        )
    # Few distances at a time: on CPU they stay in the cache, on CUDA within half a gigabyte.
    most = _CUDA_DISTANCES if points.is_cuda else _CPU_DISTANCES
    n = points.shape[1]
    clouds = max(1, most // (queries.shape[1] * n))
    rows = max(1, most // n)
    return torch.cat(
        [
            torch.cat([_nearest(some, p, k) for some in q.split(rows, dim=1)], dim=1)
            for q, p in zip(queries.split(clouds), points.split(clouds), strict=True)
        ]
    )


def _nearest(queries: Tensor, points: Tensor, k: int) -> Tensor:
    distances = squared_distances(queries, points)
    if k == 1:
        return distances.argmin(-1, keepdim=True)
    return distances.topk(k, largest=False).indices


def nearest_rows(queries: NDArray, points: NDArray) -> NDArray[np.int32]:
    """Find the row of the nearest of `points` [N, 3] for each of `queries` [R, 3]: int32 [R]."""
    from scipy.spatial import cKDTree

    # compact_nodes and balanced_tree cost more to build than they save for a single pass
    tree = cKDTree(points, compact_nodes=False, balanced_tree=False)
    nearest = np.empty(len(queries), np.int32)
    for chunk in batches(len(queries), _QUERIES):
        some = queries[chunk]
        by = _nearest_by_cell if len(some) > _MANY * len(points) else _nearest_by_tree
        nearest[chunk] = by(some, tree)
    return nearest


def _nearest_by_tree(queries: NDArray, tree: cKDTree) -> NDArray[np.int64]:
    with shared_cores() as workers:
        return np.asarray(tree.query(queries, workers=workers)[1], dtype=np.int64)


def _nearest_by_cell(queries: NDArray, tree: cKDTree) -> NDArray[np.int32]:
    """Answer many queries: all in one cell of a grid have few points to choose from.

    The point nearest to a cell's centre is at most half a diagonal farther from a query in it, and
    what is nearer to that query is at most another half farther from the centre.
    """
    low, edge = np.empty(3), np.empty(3)
    columns = [np.ascontiguousarray(queries[:, axis]) for axis in range(3)]
    cell = np.zeros(len(queries), np.uint16)  # 16 bits are sorted by their digits, which is fast
    for axis, column in enumerate(columns):
        low[axis] = column.min()
        edge[axis] = max((column.max() - low[axis]) / _CELLS, np.finfo(np.float32).tiny)
        along = ((column - column.min()) / float(edge[axis])).astype(np.uint16)
        cell = cell * np.uint16(_CELLS) + np.minimum(along, np.uint16(_CELLS - 1))
    order = np.argsort(cell, kind="stable")
    local = np.ones((4, len(queries)))  # the last row meets the points' norms
    for axis, column in enumerate(columns):
        np.subtract(column[order], low[axis], out=local[axis])
    shifted = tree.data - low
    shifted = np.c_[shifted, -0.5 * (shifted * shifted).sum(1)]

    held = np.bincount(cell)
    full = np.flatnonzero(held)
    ends = held[full].cumsum()
    centres = low + edge * (np.stack(np.unravel_index(full, [_CELLS] * 3), 1) + 0.5)
    reach = 1.001 * (tree.query(centres)[0] + np.linalg.norm(edge))
    near = tree.query_ball_point(centres, reach)
    found = np.empty(len(queries), np.int32)
    for start, end, some in zip(ends - held[full], ends, near, strict=True):
        if len(some) > _FEW or end - start > _TOGETHER:
            found[start:end] = _nearest_by_tree(queries[order[start:end]], tree)
        else:  # |q - p|^2 is least where q p - |p|^2 / 2 is highest
            rows = np.array(some)
            found[start:end] = rows[(local[:, start:end].T @ shifted[rows].T).argmax(1)]
    nearest = np.empty(len(queries), np.int32)
    nearest[order] = found
    return nearest


def nearest_descriptors(queries: Tensor, memory: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Find the `k` nearest rows of `memory` for each query, whatever the width of a row.

    Candidates are found with one matrix product a block, whose expanded squares lose small
    distances to rounding; a few more than asked for are taken and measured again from differences.

    Args:
        queries: float [Q, F].
        memory: float [M, F].
        k: at most M.

    Returns:
        Distances float [Q, k], nearest first, and rows of `memory` int64 [Q, k].
    """
    # about their mean the values are small, and so is what rounding takes from them
    centre = memory.mean(0)
    memory, squares = memory - centre, (memory - centre).square().sum(1)
    distances, rows = [], []
    for chunk in batches(len(queries), _DESCRIPTORS):
        some = queries[chunk] - centre
        expanded = torch.addmm(squares, some, memory.T, alpha=-2)  # less each query's own square
        candidates = expanded.topk(min(k + _SPARE, len(memory)), largest=False).indices
        exact = (some[:, None] - memory[candidates]).norm(dim=2)
        found = exact.topk(k, largest=False)
        distances.append(found.values)
        rows.append(candidates.gather(1, found.indices))
    return torch.cat(distances), torch.cat(rows)
