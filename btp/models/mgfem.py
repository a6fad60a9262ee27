"""Multi-Granularity Feature Embedding Module (paper, Eq. 3-4)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

HIDDEN = 512


def _projection(channels: int, out: int, kind: str) -> nn.Module:
    """phi_s, phi_g, phi_c of the paper; the release has two layers where the paper has one (D9)."""
    if kind == "linear":
        return nn.Linear(channels, out)
    return nn.Sequential(nn.Linear(channels, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, out))


class MGFEM(nn.Module):
    """Fuses encoder taps, geometric descriptor and CLS token into text-aligned patch embeddings."""

    def __init__(
        self,
        width: int,
        embed_dim: int,
        n_taps: int = 4,
        geometry_channels: int = 33,
        projection: str = "mlp",
        use_taps: bool = True,
        use_geometry: bool = True,
    ) -> None:
        """Build the branches.

        Args:
            width: C of the encoder.
            embed_dim: D of the text space.
            n_taps: L.
            geometry_channels: of GFCM's descriptor.
            projection: "linear" or "mlp".
            use_taps: keep the encoder's branches (taps and CLS); Table 4's row "GFCM" is without.
            use_geometry: keep GFCM's branch; Table 4's row "MGFEM" is without.
        """
        super().__init__()
        branches = 0
        self.tap_projection = self.cls_projection = self.geometry_projection = None
        if use_taps:
            self.tap_weights = nn.Parameter(torch.ones(n_taps))
            self.tap_projection = _projection(width, embed_dim, projection)
            self.cls_projection = _projection(width, embed_dim, projection)
            branches += 2
        if use_geometry:
            self.geometry_projection = _projection(geometry_channels, embed_dim, projection)
            branches += 1
        self.fusion = nn.Sequential(
            nn.Linear(branches * embed_dim, embed_dim), nn.ReLU(), nn.Linear(embed_dim, embed_dim)
        )

    def forward(self, taps: Tensor, cls: Tensor, geometry: Tensor | None) -> Tensor:
        """Eq. 4.

        Args:
            taps: float [B, L, G, C].
            cls: float [B, C].
            geometry: float [B, G, 33]; None without GFCM.

        Returns:
            Z, float [B, G, D], not normalised.
        """
        parts = []
        if self.tap_projection is not None:
            alpha = self.tap_weights.softmax(0)
            parts.append(torch.einsum("l,blgd->bgd", alpha, self.tap_projection(taps)))
        if self.geometry_projection is not None:
            parts.append(self.geometry_projection(geometry))
        if self.cls_projection is not None:
            # the release's order is taps, geometry, CLS
            parts.append(self.cls_projection(cls)[:, None].expand(-1, taps.shape[2], -1))
        return self.fusion(torch.cat(parts, dim=-1))
