"""Geometric Feature Creation Module (paper, Eq. 2): a PointNet for each patch."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from btp.errors import ConfigError
from btp.geometry import gather
from btp.types import Features

FPFH_CHANNELS = 33


def patch_inputs(features: Features, kind: str) -> Tensor:
    """What GFCM sees of each patch's points (switch D7): float [B, G, K, channels].

    Args:
        features: of a batch.
        kind: "absolute": normalised coordinates; "centred": relative to the patch's centre, in
            units of its radius; "surface": centred, and the dense local geometry of each point.
    """
    points = gather(features.points, features.patch_index)  # [B, G, K, 3]
    if kind == "absolute":
        return points
    local = points - points[:, :, :1]
    radius = local.norm(dim=-1).amax(-1).clamp(min=1e-9)[..., None, None]
    if kind == "centred":
        return local / radius
    if features.surface is None:
        raise ConfigError("gfcm_input=surface needs surface channels in the features; none found")
    return torch.cat([local / radius, gather(features.surface, features.patch_index)], dim=-1)


def _pointwise(channels: int, out: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(channels, out), nn.BatchNorm1d(out), nn.ReLU())


class GFCM(nn.Module):
    """Shared point-wise layers, maximum over the patch, two linear layers: a learned FPFH."""

    def __init__(self, channels: int = 3, out: int = FPFH_CHANNELS) -> None:
        super().__init__()
        self.mlp1 = _pointwise(channels, 64)
        self.mlp2 = _pointwise(64, 128)
        self.mlp3 = _pointwise(128, 256)
        self.fc = nn.Sequential(nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, out))

    def forward(self, patches: Tensor) -> Tensor:
        """Patches [B, G, K, channels] -> descriptors [B, G, out]."""
        x = self.mlp3(self.mlp2(self.mlp1(patches.flatten(0, 2))))  # [B G K, 256]
        # max, not amax: its backward writes one value a maximum instead of comparing them all
        return self.fc(x.view(*patches.shape[:3], -1).max(2).values)
