"""Geometric Feature Creation Module (paper, Sec. 3.3, Eq. 2): a PointNet for each patch."""

from __future__ import annotations

from torch import Tensor, nn

from btp.errors import ConfigError
from btp.geometry.patches import gather
from btp.types import Features

FPFH_CHANNELS = 33


def point_inputs(features: Features, kind: str) -> Tensor | None:
    """Return what GFCM sees of each point, where that is alike in every patch that holds it (D7).

    Args:
        features: of a batch.
        kind: "absolute": normalised coordinates; "surface": the dense local geometry of the point
            (`btp.geometry.local_geometry`); "centred" depends on the patch.

    Returns:
        Float [B, N, channels]; None for "centred".

    Raises:
        ConfigError: if surface channels are wanted and there are none.
    """
    if kind == "absolute":
        return features.points
    if kind == "surface" and features.surface is None:
        raise ConfigError("gfcm_input=surface needs surface channels in the features; none found")
    return features.surface if kind == "surface" else None


def patch_inputs(features: Features, kind: str) -> Tensor:
    """Return what GFCM sees of each patch's points, p_ij of Eq. 2: float [B, G, K, channels].

    Args:
        features: of a batch.
        kind: as in `point_inputs`; "centred": coordinates relative to the patch's centre, in units
            of its radius.

    Raises:
        ConfigError: if surface channels are wanted and there are none.
    """
    points = point_inputs(features, kind)
    if points is not None:
        return gather(points, features.patch_index)
    points = gather(features.points, features.patch_index)  # [B, G, K, 3]
    local = points - points[:, :, :1]
    radius = local.norm(dim=-1).amax(-1).clamp(min=1e-9)[..., None, None]
    return local / radius


def _pointwise(channels: int, out: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(channels, out), nn.BatchNorm1d(out), nn.ReLU())


class GFCM(nn.Module):
    """Learns a descriptor of each patch's shape, in the place of FPFH."""

    def __init__(self, channels: int = 3, out: int = FPFH_CHANNELS) -> None:
        """Build the layers.

        Args:
            channels: of each point.
            out: values of a descriptor: FPFH's 33, or the width of the text embeddings (D15).
        """
        super().__init__()
        self.mlp1 = _pointwise(channels, 64)
        self.mlp2 = _pointwise(64, 128)
        self.mlp3 = _pointwise(128, 256)
        self.fc = nn.Sequential(nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, out))

    def forward(self, patches: Tensor) -> Tensor:
        """Describe each patch: f_i = phi(max_j MLP(p_ij)), Eq. 2.

        Args:
            patches: p, float [B, G, K, channels], from `patch_inputs`.

        Returns:
            f, float [B, G, out].
        """
        return self.fc(self.pooled(patches))

    def pooled(self, patches: Tensor) -> Tensor:
        """Return max_j MLP(p_ij) of patches as in `forward`: float [B, G, 256]."""
        x = self.mlp3(self.mlp2(self.mlp1(patches.flatten(0, 2))))  # [B G K, 256]
        # max, not amax: its backward writes one value a maximum instead of comparing them all
        return x.view(*patches.shape[:3], -1).max(2).values
