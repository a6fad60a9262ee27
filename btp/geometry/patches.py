"""Patches of a cloud on tensors: their points, their centres, and values from patch to point."""

from __future__ import annotations

import torch
from torch import Tensor

from btp.geometry.neighbours import knn, squared_distances


def gather(values: Tensor, index: Tensor) -> Tensor:
    """Take rows of each cloud: values [B, N, C], index int64 [B, ...] -> [B, ..., C]."""
    batch = torch.arange(values.shape[0], device=values.device)
    return values[batch.view(-1, *[1] * (index.ndim - 1)), index]


def patches_to_points(
    patch_values: Tensor, patch_index: Tensor, n_points: int, uncovered: str = "zero"
) -> Tensor:
    """Give each point the mean value of the patches that hold it.

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
    """Take the centres [B, G, 3] of patches [B, G, K] of points [B, N, 3].

    The first row of each patch is its centre (`knn` puts a point before its neighbours).
    """
    return gather(points, patch_index[..., 0])


def nearest_patch(points: Tensor, patch_index: Tensor) -> Tensor:
    """Find the patch whose centre is nearest to each point [B, N, 3]: int64 [B, N]."""
    return knn(points, patch_centres(points, patch_index), 1)[..., 0]


def patch_of_uncovered(points: Tensor, patch_index: Tensor) -> Tensor:
    """Find the nearest patch of the points that are in none, -1 for the others: int64 [B, N]."""
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
