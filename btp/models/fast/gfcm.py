"""GFCM in fewer passes over its largest intermediate, points × 256 channels."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_linear_bn_eval

from btp.models.gfcm import GFCM, patch_inputs, point_inputs
from btp.runtime.batches import batches
from btp.types import Features

# Patches that pass through a layer at a time on each core, so that the cache holds what it makes.
_CACHED_PATCHES = 64


def _at_once() -> int:
    return _CACHED_PATCHES * torch.get_num_threads()


def _layers(pointwise: nn.Sequential) -> tuple[nn.Linear, nn.BatchNorm1d]:
    linear, norm, _ = pointwise
    assert isinstance(linear, nn.Linear) and isinstance(norm, nn.BatchNorm1d)
    return linear, norm


def pooled(gfcm: GFCM, features: Features, kind: str) -> Tensor:
    """Return `gfcm.pooled(patch_inputs(features, kind))`, on CPU several times cheaper.

    Gradients included. There the passes over [B G K, 256] cost most; a GPU would pay for the
    launches instead, and 16-bit autocast for the statistics' precision, so both keep to the plain
    form.
    """
    if features.points.is_cuda or torch.is_autocast_enabled(features.points.device.type):
        return gfcm.pooled(patch_inputs(features, kind))
    points = point_inputs(features, kind)
    if points is not None:
        return _once_a_point(gfcm, points, features.patch_index)
    return _max_before_norm(gfcm, patch_inputs(features, kind))


def _once_a_point(gfcm: GFCM, points: Tensor, patch_index: Tensor) -> Tensor:
    """Pass each point once through the layers, as it looks alike in every patch that holds it."""
    clouds, groups, size = patch_index.shape
    n = points.shape[1]
    rows = patch_index + n * torch.arange(clouds)[:, None, None]  # into [B N]
    held = None
    if gfcm.training:  # a batch norm sees a point once in every patch that holds it
        held = torch.bincount(rows.flatten(), minlength=clouds * n).to(points.dtype)
    x = points.flatten(0, 1)
    for linear, norm in map(_layers, (gfcm.mlp1, gfcm.mlp2, gfcm.mlp3)):
        x = linear(x)
        x = norm(x) if held is None else _weighted_norm(norm, x, held, rows.numel())
        x = x.relu()
    x = F.embedding_bag(rows.view(-1, size), x, mode="max")  # [B G, 256]
    return x.view(clouds, groups, -1)


def _max_before_norm(gfcm: GFCM, patches: Tensor) -> Tensor:
    """Take the maximum before the last norm and ReLU, which are monotone in each channel."""
    linear, norm = _layers(gfcm.mlp3)
    x = gfcm.mlp2(gfcm.mlp1(patches.flatten(0, 2)))  # [B G K, 128]
    # where the norm's weight is negative, the least is what comes out highest
    sign = torch.where(norm.weight.detach() < 0, -1.0, 1.0).to(x.dtype)
    highest = _patch_max(x.view(-1, patches.shape[2], 128), linear.weight * sign[:, None])
    highest = highest * sign + linear.bias
    mean, var = norm.running_mean, norm.running_var
    assert mean is not None and var is not None
    if gfcm.training:  # of all points, without their 256 channels: from the 128 before
        centre = x.mean(0)
        x = x - centre
        mean = F.linear(centre, linear.weight, linear.bias)
        var = ((linear.weight @ (x.T @ x / len(x))) * linear.weight).sum(1)
        _track(norm, mean, var, len(x))
    x = (highest - mean) * ((var + norm.eps).rsqrt() * norm.weight) + norm.bias
    return x.relu().view(*patches.shape[:2], -1)


class FoldedGFCM(nn.Module):
    """Describes patches as a trained GFCM does, its batch norms folded into their layers."""

    def __init__(self, gfcm: GFCM) -> None:
        """Fold a GFCM, which is put into eval mode."""
        super().__init__()
        self.layers = nn.ModuleList()
        for linear, norm in map(_layers, (gfcm.mlp1, gfcm.mlp2, gfcm.mlp3)):
            self.layers.append(fuse_linear_bn_eval(linear, norm.eval()))

    def pooled(self, features: Features, kind: str) -> Tensor:
        """Return `gfcm.pooled(patch_inputs(features, kind))` in eval mode: float [B, G, 256]."""
        clouds, groups, size = features.patch_index.shape
        points = point_inputs(features, kind)
        if points is not None:
            rows = features.patch_index + points.shape[1] * torch.arange(
                clouds, device=points.device
            ).view(-1, 1, 1)
            x = self._point_wise(points.flatten(0, 1))
            x = torch.cat([x[some].amax(1) for some in self._cached(rows.flatten(0, 1))])
        else:
            patches = patch_inputs(features, kind).flatten(0, 1)
            x = torch.cat(
                [
                    self._point_wise(some.flatten(0, 1)).view(len(some), size, -1).amax(1)
                    for some in self._cached(patches)
                ]
            )
        return F.relu(x).view(clouds, groups, -1)

    def _point_wise(self, x: Tensor) -> Tensor:
        """Run all three layers but the last ReLU, which commutes with the maximum."""
        first, second, third = self.layers
        return third(second(first(x).relu_()).relu_())

    @staticmethod
    def _cached(patches: Tensor) -> tuple[Tensor, ...]:
        return patches.split(len(patches) if patches.is_cuda else _at_once())


def _patch_max(patches: Tensor, weight: Tensor) -> Tensor:
    """Return `(patches @ weight.T).max(1).values` [P, o] of patches [P, K, c], weight [o, c].

    The product with all K points is never whole in memory, nor is its gradient.
    """
    return _PatchMax.apply(patches, weight)  # type: ignore[no-untyped-call]


class _PatchMax(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, patches: Tensor, weight: Tensor) -> Tensor:
        values = patches.new_empty(len(patches), len(weight))
        rows = torch.empty(values.shape, dtype=torch.int64)
        for some in batches(len(patches), _at_once()):
            torch.max(F.linear(patches[some], weight), 1, out=(values[some], rows[some]))
        ctx.save_for_backward(patches, weight, rows)
        return values

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        (gradient,) = gradients
        patches, weight, rows = ctx.saved_tensors
        to_patches, to_weight = torch.empty_like(patches), torch.zeros_like(weight)
        for some in batches(len(patches), _at_once()):
            x = patches[some]
            at = x.new_zeros(*x.shape[:2], len(weight))
            at.scatter_(1, rows[some][:, None], gradient[some][:, None])
            torch.matmul(at, weight, out=to_patches[some])
            to_weight.addmm_(at.flatten(0, 1).T, x.flatten(0, 1))
        return to_patches, to_weight


def _weighted_norm(norm: nn.BatchNorm1d, x: Tensor, weights: Tensor, total: int) -> Tensor:
    """Apply `norm` in training to rows x [M, c] that occur `weights` [M] times, `total` in all."""
    mean = weights @ x / total
    centred = x - mean
    var = weights @ centred.square() / total
    _track(norm, mean, var, total)
    return torch.addcmul(norm.bias, centred, (var + norm.eps).rsqrt() * norm.weight)


@torch.no_grad()
def _track(norm: nn.BatchNorm1d, mean: Tensor, var: Tensor, total: int) -> None:
    """Update what a batch norm remembers; the variance without bias, as PyTorch does."""
    assert norm.momentum is not None and norm.num_batches_tracked is not None
    assert norm.running_mean is not None and norm.running_var is not None
    norm.running_mean.lerp_(mean, norm.momentum)
    norm.running_var.lerp_(var * (total / (total - 1)), norm.momentum)
    norm.num_batches_tracked.add_(1)
