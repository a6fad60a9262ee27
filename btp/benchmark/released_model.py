"""The networks computed the plain way: a twin of encoder and heads, on the same weights.

Nothing is factored out, fused, chunked or kept: this is the method as one would first write it
down, and what the release does in every training step and for every scored cloud.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from btp.geometry.fpfh import fpfh
from btp.geometry.patches import gather
from btp.losses import joint_loss
from btp.models.detector import TOP_SHARE, Detector
from btp.models.gfcm import GFCM
from btp.models.mgfem import MGFEM
from btp.models.point_encoder import Attention, Block, MiniPointNet, PointBERT
from btp.types import Features, Scores


def describe(points: NDArray[np.floating]) -> NDArray[np.float32]:
    """FPFH of points [N, 3] by Open3D, as in the release: [N, 33]; ours where that is missing."""
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
    """A loop over the chosen points: [B, N, 3] -> int64 [B, k].

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
    """All distances at once, then the `k` smallest: int64 [B, M, k]."""
    offsets = queries[:, :, None] - points[:, None]  # [B, M, N, 3]
    return (offsets**2).sum(-1).topk(k, largest=False).indices


def encode(
    model: PointBERT, points: Tensor, surface: Tensor | None = None, *, rows: Tensor | None = None
) -> Features:
    """`PointBERT.forward`, with one cloud's patches found and embedded in one piece.

    Args:
        model: encoder in eval mode.
        points: float [B, N, 3].
        surface: float [B, N, F], where the encoder reads it.
        rows: patches that are known already; None to find them.
    """
    config, net = model.config, model.point_encoder
    if rows is None:
        skip = 1e-3 if config.skip_origin else None
        centres = farthest_point_sample(points, config.groups, 0, skip)
        rows = nearest(gather(points, centres), points, config.group_size)
    centre = gather(points, rows[..., 0])
    patches = gather(points, rows) - centre[:, :, None]
    if surface is None:
        extra = torch.full_like(patches[..., :1], config.constant_feature or 0.0)
        extra = extra.repeat(1, 1, 1, config.point_features)
    else:
        extra = gather(surface, rows)
    tokens = _mini_pointnet(net.encoder, torch.cat([patches, extra], -1))
    tokens = torch.cat([net.cls_token.expand(len(points), -1, -1), net.reduce_dim(tokens)], 1)
    place = torch.cat([net.cls_pos.expand(len(points), -1, -1), net.pos_embed(centre)], 1)
    taps = []
    for number, block in enumerate(net.blocks.blocks, 1):
        assert isinstance(block, Block)
        tokens = tokens + place
        tokens = tokens + _attention(block.attn, block.norm1(tokens))
        tokens = tokens + block.mlp(block.norm2(tokens))
        if number in config.taps:
            taps.append(F.normalize(tokens[:, 1:], dim=-1))
    tokens = net.norm(tokens)
    whole = torch.cat([tokens[:, 0], tokens[:, 1:].amax(1)], -1) @ model.pc_projection
    return Features(
        points=points,
        patch_index=rows,
        taps=torch.stack(taps, 1),
        cls=F.normalize(tokens[:, 0], dim=-1),
        object_embedding=F.normalize(whole, dim=-1),
        surface=surface,
    )


def _mini_pointnet(net: MiniPointNet, patches: Tensor) -> Tensor:
    """1x1 convolutions over [B G, channels, K], the patch's maximum joined to every point."""
    batch, groups, size, channels = patches.shape
    x = net.first_conv(patches.reshape(batch * groups, size, channels).transpose(1, 2))
    highest = x.max(2, keepdim=True).values
    x = net.second_conv(torch.cat([highest.expand(-1, -1, size), x], 1))
    return x.max(2).values.view(batch, groups, -1)


def _attention(net: Attention, x: Tensor) -> Tensor:
    batch, tokens, width = x.shape
    qkv = net.qkv(x).view(batch, tokens, 3, net.heads, -1).permute(2, 0, 3, 1, 4)
    query, key, value = qkv
    weights = (query @ key.transpose(-2, -1) * (width // net.heads) ** -0.5).softmax(-1)
    return net.proj((weights @ value).transpose(1, 2).reshape(batch, tokens, width))


def score(detector: Detector, features: Features) -> Scores:
    """`Detector.forward` for the release's recipe: Eq. 2, 4 and 6."""
    recipe, text = detector.recipe, detector.text
    geometry = None
    if detector.gfcm is not None:
        geometry = _gfcm(detector.gfcm, gather(features.points, features.patch_index))
    z = _mgfem(detector.mgfem, features, geometry)
    logits = z @ text.T / recipe.patch_temperature  # [B, G, 2]
    logit = logits[..., 1] - logits[..., 0]
    probability = logits.softmax(-1)[..., 1]
    whole = features.object_embedding @ text.T / recipe.object_temperature
    global_logit = whole[:, 1] - whole[:, 0]
    top = probability.topk(int(TOP_SHARE * probability.shape[1])).values.mean(1)
    return Scores(
        patch_logits=logit,
        point_logits=_to_points(features, logit),
        point_scores=_to_points(features, probability),
        object_logits=0.5 * global_logit + 0.5 * logit.amax(1),
        object_scores=0.5 * global_logit.sigmoid() + 0.5 * top,
        geometry=geometry,
    )


def _gfcm(net: GFCM, patches: Tensor) -> Tensor:
    """1x1 convolutions over [B, channels, G K], maximum over each patch."""
    batch, groups, size, _ = patches.shape
    x = patches.flatten(1, 2).transpose(1, 2)
    for layers in (net.mlp1, net.mlp2, net.mlp3):
        linear, norm, relu = layers
        assert isinstance(linear, nn.Linear)
        x = relu(norm(F.conv1d(x, linear.weight[..., None], linear.bias)))
    return net.fc(x.view(batch, -1, groups, size).max(3).values.transpose(1, 2))


def _mgfem(net: MGFEM, features: Features, geometry: Tensor | None) -> Tensor:
    """Every layer on every patch of every tap, as Eq. 4 is written."""
    parts = []
    if net.tap_projection is not None and net.cls_projection is not None:
        weights = net.tap_weights.softmax(0)
        taps = [net.tap_projection(tap) for tap in features.taps.unbind(1)]
        parts.append(sum(w * tap for w, tap in zip(weights, taps, strict=True)))
    if net.geometry_projection is not None:
        parts.append(net.geometry_projection(geometry))
    if net.cls_projection is not None:
        repeated = features.cls[:, None].repeat(1, features.taps.shape[2], 1)
        parts.append(net.cls_projection(repeated))
    return net.fusion(torch.cat(parts, -1))


def _to_points(features: Features, values: Tensor) -> Tensor:
    """Mean over the patches that hold a point; 0 for points in none."""
    batch, n, _ = features.points.shape
    size = features.patch_index.shape[-1]
    total, count = values.new_zeros(batch, n), values.new_zeros(batch, n)
    flat = features.patch_index.flatten(1)
    spread = values[..., None].expand(-1, -1, size).flatten(1)
    total = total.scatter_add(1, flat, spread)
    count = count.scatter_add(1, flat, torch.ones_like(spread))
    return total / count.clamp(min=1)


def step(
    detector: Detector, features: Features, labels: Tensor, optimizer: torch.optim.Optimizer
) -> float:
    """One training step of the heads on features with targets; the loss."""
    recipe = detector.recipe
    optimizer.zero_grad()
    scores = score(detector, features)
    terms = joint_loss(scores, labels, features.fpfh, recipe.loss, recipe.geo_temperature)
    terms["total"].backward()
    nn.utils.clip_grad_norm_(detector.parameters(), recipe.clip_norm)
    optimizer.step()
    return float(terms["total"].detach())
