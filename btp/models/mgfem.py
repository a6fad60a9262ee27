"""Multi-Granularity Feature Embedding Module (paper, Eq. 3-4)."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
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

    @property
    def branches(self) -> list[tuple[str, nn.Module]]:
        """Those that there are, by name, in the order in which they are fused."""
        # the release's order is taps, geometry, CLS
        names = ("tap_projection", "geometry_projection", "cls_projection")
        found = [(name, getattr(self, name)) for name in names]
        return [(name, branch) for name, branch in found if branch is not None]

    @torch.no_grad()
    def start(self, trained: MGFEM) -> None:
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
        self.fusion[2].load_state_dict(trained.fusion[2].state_dict())
        if "tap_projection" in own.keys() & others.keys():
            self.tap_weights.copy_(trained.tap_weights)

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
            parts.append(self.cls_projection(cls)[:, None].expand(-1, taps.shape[2], -1))
        return self.fusion(torch.cat(parts, dim=-1))

    def logits(
        self, taps: Tensor, cls: Tensor, geometry: Tensor | None, direction: Tensor
    ) -> Tensor:
        """`forward(taps, cls, geometry) @ direction` [B, G], from `fold`'s fewer products.

        Gradients reach all parameters, and the direction [D].
        """
        return self.fold(direction)(taps, cls, geometry)

    def fold(self, direction: Tensor) -> FoldedMGFEM:
        """Join linear layers that follow on each other, for patch logits along one direction.

        Joining costs D x D x hidden multiply-adds a branch and saves D x D a patch: it pays from
        512 patches on, one cloud, and where gradients are not wanted it is done once.
        """
        first, _, last = self.fusion
        assert isinstance(first, nn.Linear) and isinstance(last, nn.Linear)
        present = [branch for _, branch in self.branches]
        parts = dict(zip(present, first.weight.chunk(len(present), dim=1), strict=True))
        inner: list[Tensor] = []
        bias: Tensor = first.bias
        for branch in (self.tap_projection, self.geometry_projection):
            if branch is not None:
                linear = _last(branch)
                inner.append(parts[branch] @ linear.weight)
                bias = bias + parts[branch] @ linear.bias  # the tap weights' sum is 1
        whole = self.cls_projection
        return FoldedMGFEM(
            alpha=None if self.tap_projection is None else self.tap_weights.softmax(0),
            tap_hidden=_hidden(self.tap_projection),
            geometry_hidden=_hidden(self.geometry_projection),
            inner=torch.cat(inner, dim=1),
            bias=bias,
            cls_hidden=_hidden(whole),
            # once a cloud only, and so not worth joining
            cls_last=None if whole is None else (_last(whole).weight, _last(whole).bias),
            cls_inner=None if whole is None else parts[whole],
            read=direction @ last.weight,
            offset=direction @ last.bias,
        )


Layer = tuple[Tensor, Tensor]  # weight [out, in], bias [out]


class FoldedMGFEM(NamedTuple):
    """MGFEM followed by a product with one direction of the text space, in fewer products.

    Only the logit along `direction` is used, so the last layer is one vector; the taps' weighted
    sum is taken as early as it is linear; the CLS branch runs once a cloud, not once a patch.

    Attributes:
        alpha: float [L], weights of the taps; None without the encoder's branches.
        tap_hidden, geometry_hidden, cls_hidden: first of two layers; None where there is but one.
        inner: float [D, H], last layers of taps and geometry joined with the fusion's first.
        bias: float [D], of the same.
        cls_last, cls_inner: last layer of the CLS branch, and its part of the fusion's first.
        read: float [D], the fusion's last layer along the direction; offset: float [], its bias.
    """

    alpha: Tensor | None
    tap_hidden: Layer | None
    geometry_hidden: Layer | None
    inner: Tensor
    bias: Tensor
    cls_hidden: Layer | None
    cls_last: Layer | None
    cls_inner: Tensor | None
    read: Tensor
    offset: Tensor

    def __call__(self, taps: Tensor, cls: Tensor, geometry: Tensor | None) -> Tensor:
        """Patch logits, float [B, G], before any temperature; arguments as `MGFEM.forward`."""
        hidden = []
        if self.alpha is not None:
            some = [_activate(self.tap_hidden, tap) for tap in taps.unbind(1)]
            hidden.append(sum(a * x for a, x in zip(self.alpha, some, strict=True)))
        if geometry is not None:
            hidden.append(_activate(self.geometry_hidden, geometry))
        x = F.linear(torch.cat(hidden, dim=-1), self.inner, self.bias)  # [B, G, D]
        if self.cls_last is not None:
            assert self.cls_inner is not None
            whole = F.linear(_activate(self.cls_hidden, cls), *self.cls_last)
            x = x + F.linear(whole, self.cls_inner)[:, None]
        x = x.relu()
        if x.dtype != self.read.dtype:  # 16 bit under autocast: too few for the logits themselves
            return (x * self.read).sum(-1) + self.offset
        return x @ self.read + self.offset


def _last(projection: nn.Module) -> nn.Linear:
    layer = projection[-1] if isinstance(projection, nn.Sequential) else projection
    assert isinstance(layer, nn.Linear)
    return layer


def _hidden(projection: nn.Module | None) -> Layer | None:
    if not isinstance(projection, nn.Sequential):
        return None
    layer = projection[0]
    assert isinstance(layer, nn.Linear)
    return layer.weight, layer.bias


def _activate(layer: Layer | None, x: Tensor) -> Tensor:
    return x if layer is None else F.linear(x, *layer).relu()
