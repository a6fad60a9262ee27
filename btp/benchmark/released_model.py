"""The encoder and a training step as the release computes them, for the benchmark's plain side.

The networks are `btp.models` as they are defined, with nothing of `btp.models.fast`; patches are
found by a loop over farthest points and by all distances at once.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from btp.geometry.fpfh import fpfh
from btp.geometry.patches import gather
from btp.losses import joint_loss
from btp.models.detector import Detector
from btp.models.point_encoder import PointBERT
from btp.recipe import Recipe
from btp.types import Features


def describe(points: NDArray[np.floating]) -> NDArray[np.float32]:
    """Compute FPFH [N, 33] of points [N, 3] by Open3D, as in the release; by ours without it."""
    try:
        import open3d
    except (ImportError, OSError):  # not installed, or a system library is missing
        return fpfh(points)
    search = open3d.geometry.KDTreeSearchParamHybrid
    pcd = open3d.geometry.PointCloud(open3d.utility.Vector3dVector(points.astype(np.float64)))
    pcd.estimate_normals(search(0.05, 30))
    feature = open3d.pipelines.registration.compute_fpfh_feature(pcd, search(0.1, 100))
    return np.asarray(feature.data).T.astype(np.float32, order="C")


def farthest_point_sample(
    points: Tensor, k: int, start: int = 0, skip_radius: float | None = None
) -> Tensor:
    """Choose farthest points in a loop: [B, N, 3] -> int64 [B, k].

    Args:
        points: float [B, N, 3].
        k: points to choose.
        start: row that is chosen first.
        skip_radius: points whose squared norm is at most this are never chosen but for `start`.
    """
    batch, n, _ = points.shape
    chosen = torch.zeros(batch, k, dtype=torch.long, device=points.device)
    distance = torch.full((batch, n), 1e10, device=points.device)
    if skip_radius is not None:
        distance[(points**2).sum(-1) <= skip_radius] = -1
    farthest = torch.full((batch,), start, dtype=torch.long, device=points.device)
    rows = torch.arange(batch, device=points.device)
    for step in range(k):
        chosen[:, step] = farthest
        centre = points[rows, farthest].view(batch, 1, 3)
        to_centre = ((points - centre) ** 2).sum(-1)
        distance = torch.minimum(distance, to_centre)
        farthest = distance.max(-1).indices
    return chosen


def nearest(queries: Tensor, points: Tensor, k: int) -> Tensor:
    """Find the `k` nearest points by all distances at once: int64 [B, M, k]."""
    offsets = queries[:, :, None] - points[:, None]  # [B, M, N, 3]
    return (offsets**2).sum(-1).topk(k, largest=False).indices


def encode(model: PointBERT, points: Tensor, surface: Tensor | None = None) -> Features:
    """Return `model(points, surface)`, its patches found the plain way.

    Args:
        model: encoder in eval mode.
        points: float [B, N, 3].
        surface: float [B, N, F], where the encoder reads it.
    """
    config = model.config
    skip = 1e-3 if config.skip_origin else None
    centres = farthest_point_sample(points, config.groups, 0, skip)
    rows = nearest(gather(points, centres), points, config.group_size)
    return model(points, surface, rows)


def step(
    detector: Detector,
    recipe: Recipe,
    optimizer: torch.optim.Optimizer,
    text: Callable[[], Tensor | None] = lambda: None,
) -> Callable[[Features, Tensor], float]:
    """Return a training step: features with targets and labels in, the loss out.

    Args:
        detector: heads that are trained.
        recipe: loss and longest gradient.
        optimizer: of the heads, and of prompts where they are trained too.
        text: encodes the prompts, with gradients; None stands for the detector's own.
    """
    parameters = [each for group in optimizer.param_groups for each in group["params"]]

    def update(features: Features, labels: Tensor) -> float:
        optimizer.zero_grad()
        temperature = recipe.training.geo_temperature
        scores = detector(features, text())
        terms = joint_loss(scores, labels, features.fpfh, recipe.loss, temperature)
        terms["total"].backward()
        nn.utils.clip_grad_norm_(parameters, recipe.training.clip_norm)
        optimizer.step()
        return float(terms["total"].detach())

    return update
