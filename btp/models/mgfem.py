"""Multi-Granularity Feature Embedding Module (paper, Sec. 3.4, Eq. 3-4)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

HIDDEN = 512


def _projection(channels: int, out: int, kind: str) -> nn.Module:
    """Build phi_s, phi_g or phi_c; the release has two layers where the paper has one (D9)."""
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
        projection: str = "linear",
        fusion: str = "linear",
        use_taps: bool = True,
        use_geometry: bool = True,
    ) -> None:
        """Build the branches.

        Args:
            width: C, channels of the encoder's tokens.
            embed_dim: D, width of the space shared with text.
            n_taps: L.
            geometry_channels: channels of GFCM's descriptor.
            projection: "linear" or "mlp", of phi_s, phi_g and phi_c (D9).
            fusion: "linear" or "mlp", of phi_f (D17).
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
        self.fusion = nn.Sequential(nn.Linear(branches * embed_dim, embed_dim))
        if fusion == "mlp":
            self.fusion.extend([nn.ReLU(), nn.Linear(embed_dim, embed_dim)])

    def forward(self, taps: Tensor, cls: Tensor, geometry: Tensor | None) -> Tensor:
        """Embed each patch: Z = phi_f([sum_l alpha_l phi_s(H_l) || phi_g(F_geo) || phi_c(h_CLS)]).

        This is Eq. 4, on what Eq. 3 defines.

        Args:
            taps: H, float [B, L, G, C].
            cls: h_CLS, float [B, C].
            geometry: F_geo, float [B, G, geometry_channels]; None without GFCM.

        Returns:
            Z, float [B, G, D], not normalised.
        """
        parts = []
        if self.tap_projection is not None:
            alpha = self.tap_weights.softmax(0)  # [L]
            parts.append(torch.einsum("l,blgd->bgd", alpha, self.tap_projection(taps)))
        if self.geometry_projection is not None:
            parts.append(self.geometry_projection(geometry))  # [B, G, D]
        if self.cls_projection is not None:
            parts.append(self.cls_projection(cls)[:, None].expand(-1, taps.shape[2], -1))
        return self.fusion(torch.cat(parts, dim=-1))

    @property
    def branches(self) -> list[tuple[str, nn.Module]]:
        """Name and module of each branch that there is, in the order in which they are fused."""
        # the release's order is taps, geometry, CLS
        names = ("tap_projection", "geometry_projection", "cls_projection")
        found = [(name, getattr(self, name)) for name in names]
        return [(name, branch) for name, branch in found if branch is not None]

    @torch.no_grad()
    def start_from(self, trained: MGFEM) -> None:
        """Copy the branches that both have, and the fusion as far as it reads them."""
        own, others = dict(self.branches), dict(trained.branches)
        first, other = self.fusion[0], trained.fusion[0]
        assert isinstance(first, nn.Linear) and isinstance(other, nn.Linear)
        columns = dict(zip(own, first.weight.chunk(len(own), dim=1), strict=True))
        theirs = dict(zip(others, other.weight.chunk(len(others), dim=1), strict=True))
        for name in own.keys() & others.keys():
            own[name].load_state_dict(others[name].state_dict())
            columns[name].copy_(theirs[name])
        first.bias.copy_(other.bias)
        self.fusion[1:].load_state_dict(trained.fusion[1:].state_dict())
        if "tap_projection" in own.keys() & others.keys():
            self.tap_weights.copy_(trained.tap_weights)
