"""Point-cloud geometry on tensors: farthest point sampling, nearest neighbours, patches.

Plain PyTorch on any device. Distances are squared Euclidean throughout, computed from coordinate
differences (not from the expanded square, which loses the small ones in float32).
"""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from btp.errors import DataError
from btp.runtime.threads import shared_cores

if TYPE_CHECKING:
    from scipy.spatial import cKDTree

# Distances that are computed together.
_CPU_DISTANCES, _CUDA_DISTANCES = 2**20, 2**26

# Nearest rows: queries in work together, above how many a point a grid is faster than the tree, its
# cells an axis, and the most points and queries of a cell that are compared each with each.
_QUERIES, _MANY, _CELLS, _FEW, _TOGETHER = 2**20, 50, 24, 64, 2**14

# PointNet++'s CUDA sampler, with which ULIP-2 was trained, never selects a point this near the
# origin (it takes it for padding).
ORIGIN_SQUARED_NORM = 1e-3


def farthest_point_sample(
    points: Tensor, k: int, start: int = 0, skip_origin: bool = False
) -> Tensor:
    """Choose `k` points of each cloud, each as far as possible from those chosen before.

    Args:
        points: float [B, N, 3].
        k: number of points to choose, at most N.
        start: row that is chosen first.
        skip_origin: never choose points with squared norm <= 1e-3 (but for `start`), as the
            sampler of PointNet++ (Qi et al. 2017) and hence ULIP-2 does. Where too few others are
            left, rows repeat.

    Returns:
        int64 [B, k], rows in the order of choice. Ties go to the lowest row.

    Raises:
        DataError: if the clouds hold fewer than `k` points.
    """
    batch, n, _ = points.shape
    if not 1 <= k <= n:
        raise DataError(
            f"farthest point sampling was asked for {k} of {n} points; ask for 1 to {n}, or give "
            "a denser cloud"
        )
    if points.is_cuda and points.dtype == torch.float32 and _has_triton():
        from btp.geometry import fps_triton

        if n <= fps_triton.LARGEST:
            least = ORIGIN_SQUARED_NORM if skip_origin else -1.0
            return fps_triton.sample(points, k, start, least)
    # One contiguous plane per coordinate, updated in place: about twice as fast on CPU.
    x, y, z = (points[..., axis].contiguous() for axis in range(3))
    nearest = torch.full_like(x, torch.inf)  # squared distance to the chosen set, [B, N]
    if skip_origin:
        nearest.masked_fill_(x * x + y * y + z * z <= ORIGIN_SQUARED_NORM, -1.0)
    chosen = torch.empty(k, batch, dtype=torch.int64, device=points.device)
    row = torch.full((batch,), start, dtype=torch.int64, device=points.device)
    dx, dy, dz = torch.empty_like(x), torch.empty_like(x), torch.empty_like(x)
    for step in range(k):
        chosen[step] = row
        at = row[:, None]
        torch.sub(x, x.gather(1, at), out=dx)
        torch.sub(y, y.gather(1, at), out=dy)
        torch.sub(z, z.gather(1, at), out=dz)
        dx.square_().addcmul_(dy, dy).addcmul_(dz, dz)
        torch.minimum(nearest, dx, out=nearest)
        row = nearest.argmax(1)
    return chosen.T.contiguous()


@functools.cache
def _has_triton() -> bool:
    return importlib.util.find_spec("triton") is not None


def squared_distances(a: Tensor, b: Tensor) -> Tensor:
    """Squared distance of every row of `a` [B, M, 3] to every row of `b` [B, N, 3]: [B, M, N]."""
    total = (a[..., None, 0] - b[:, None, :, 0]).square_()
    for axis in (1, 2):
        delta = a[..., None, axis] - b[:, None, :, axis]
        total.addcmul_(delta, delta)
    return total


def knn(queries: Tensor, points: Tensor, k: int) -> Tensor:
    """Rows of the `k` nearest points of each query, nearest first.

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


def gather(values: Tensor, index: Tensor) -> Tensor:
    """Take rows of each cloud: values [B, N, C], index int64 [B, ...] -> [B, ..., C]."""
    batch = torch.arange(values.shape[0], device=values.device)
    return values[batch.view(-1, *[1] * (index.ndim - 1)), index]


def patches_to_points(
    patch_values: Tensor, patch_index: Tensor, n_points: int, uncovered: str = "zero"
) -> Tensor:
    """Point value = mean over the patches that hold the point.

    Args:
        patch_values: float [B, G], one value a patch.
        patch_index: int64 [B, G, K], rows of the points of each patch, its centre first.
        n_points: N.
        uncovered: what points in no patch get: "zero", or "nan" for the caller to fill.

    Returns:
        float [B, N]. Differentiable in `patch_values`.
    """
    batch, _, size = patch_index.shape
    flat = patch_index.flatten(1)
    total = patch_values.new_zeros(batch, n_points)
    total = total.scatter_add(1, flat, patch_values.repeat_interleave(size, dim=1))
    count = torch.zeros_like(total).scatter_add_(1, flat, torch.ones_like(flat, dtype=total.dtype))
    mean = total / count.clamp(min=1)
    return mean if uncovered == "zero" else mean.masked_fill(count == 0, torch.nan)


def patch_centres(points: Tensor, patch_index: Tensor) -> Tensor:
    """Centres of patches [B, G, K] of points [B, N, 3]: [B, G, 3].

    The first row of each patch is its centre (`knn` puts a point before its neighbours).
    """
    return gather(points, patch_index[..., 0])


def nearest_patch(points: Tensor, patch_index: Tensor) -> Tensor:
    """Patch whose centre is nearest to each point: points [B, N, 3] -> int64 [B, N]."""
    return knn(points, patch_centres(points, patch_index), 1)[..., 0]


def patch_of_uncovered(points: Tensor, patch_index: Tensor) -> Tensor:
    """`nearest_patch` of the points that are in no patch, -1 for those in one: int64 [B, N]."""
    covered = torch.zeros(points.shape[:2], dtype=torch.bool, device=points.device)
    covered.scatter_(1, patch_index.flatten(1), True)
    # To find out which are uncovered would be to wait for the device, or to break the graph.
    if points.is_cuda or torch.compiler.is_exporting():
        return nearest_patch(points, patch_index).masked_fill(covered, -1)
    result = torch.full(covered.shape, -1)
    centres = patch_centres(points, patch_index)
    for cloud, held in enumerate(covered):
        rows = (~held).nonzero()[:, 0]
        distances = squared_distances(points[cloud, rows][None], centres[cloud][None])
        result[cloud, rows] = distances[0].argmin(1)
    return result


def nearest_rows(queries: NDArray, points: NDArray) -> NDArray[np.int32]:
    """Row of the nearest of `points` [N, 3] for each of `queries` [R, 3]: int32 [R]."""
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
    """The same for many queries: all in one cell of a grid have few points to choose from.

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


def batches(n: int, size: int) -> Iterator[slice]:
    """Slices of at most `size` that cover range(n) in order."""
    return (slice(i, min(i + size, n)) for i in range(0, n, size))
