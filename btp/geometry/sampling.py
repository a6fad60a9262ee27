"""Choosing some of a cloud's points: farthest point sampling, and thinning at random."""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from btp.errors import DataError

ORIGIN_SQUARED_NORM = 1e-3
"""PointNet++'s CUDA sampler, with which ULIP-2 was trained, never selects a point this near the
origin (it takes it for padding)."""


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
    n = points.shape[1]
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
    dx, dy, dz = torch.empty_like(x), torch.empty_like(x), torch.empty_like(x)

    def squared_distance(row: Tensor) -> Tensor:
        torch.sub(x, x.gather(1, row), out=dx)
        torch.sub(y, y.gather(1, row), out=dy)
        torch.sub(z, z.gather(1, row), out=dz)
        return dx.square_().addcmul_(dy, dy).addcmul_(dz, dz)

    nearest = torch.full_like(x, torch.inf)
    if skip_origin:
        nearest.masked_fill_(x * x + y * y + z * z <= ORIGIN_SQUARED_NORM, -1.0)
    return farthest_rows(nearest, k, start, squared_distance)


def farthest_rows(
    nearest: Tensor, k: int, start: int, squared_distance: Callable[[Tensor], Tensor]
) -> Tensor:
    """Choose rows by the loop of farthest point sampling, whatever is the distance.

    Two forms of this loop stand elsewhere: as one CUDA kernel (`btp.geometry.fps_triton`), and as a
    node of an ONNX graph (`btp.inspect.export`), neither of which can call this one.

    Args:
        nearest: float [B, N], squared distance of each row to what is chosen already: infinite
            where that is nothing, negative for rows never to be chosen. It is overwritten.
        k: number of rows to choose.
        start: row that is chosen first.
        squared_distance: int64 [B, 1], a row of each cloud -> float [B, N], to all its rows.

    Returns:
        int64 [B, k], in the order of choice. Ties go to the lowest row.
    """
    batch = len(nearest)
    chosen = torch.empty(k, batch, dtype=torch.int64, device=nearest.device)
    row = torch.full((batch,), start, dtype=torch.int64, device=nearest.device)
    for step in range(k):
        chosen[step] = row
        torch.minimum(nearest, squared_distance(row[:, None]), out=nearest)
        row = nearest.argmax(1)
    return chosen.T.contiguous()


def thin(points: NDArray, most: int) -> NDArray:
    """Choose `most` rows of `points` [R, 3] at random, but always the same; all if R <= most."""
    if len(points) <= most:
        return points
    return points[np.random.default_rng(0).choice(len(points), most, replace=False)]


@functools.cache
def _has_triton() -> bool:
    return importlib.util.find_spec("triton") is not None
