"""MGFEM and the comparison with text as one function, its consecutive linear layers joined."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from btp.models.mgfem import MGFEM

Layer = tuple[Tensor, Tensor]  # weight [out, in], bias [out]


def fold(mgfem: MGFEM, direction: Tensor) -> FoldedMGFEM:
    """Join the linear layers that follow on each other, for patch logits along one direction.

    Gradients reach all of MGFEM's parameters, and the direction [D]. Joining costs D x D x hidden
    multiply-adds a branch and saves D x D a patch: it pays from 512 patches on, one cloud, and
    where gradients are not wanted it is done once.
    """
    first, _, last = mgfem.fusion
    assert isinstance(first, nn.Linear) and isinstance(last, nn.Linear)
    present = [branch for _, branch in mgfem.branches]
    parts = dict(zip(present, first.weight.chunk(len(present), dim=1), strict=True))
    inner: list[Tensor] = []
    bias: Tensor = first.bias
    for branch in (mgfem.tap_projection, mgfem.geometry_projection):
        if branch is not None:
            linear = _last(branch)
            inner.append(parts[branch] @ linear.weight)
            bias = bias + parts[branch] @ linear.bias  # the tap weights' sum is 1
    whole = mgfem.cls_projection
    return FoldedMGFEM(
        alpha=None if mgfem.tap_projection is None else mgfem.tap_weights.softmax(0),
        tap_hidden=_hidden(mgfem.tap_projection),
        geometry_hidden=_hidden(mgfem.geometry_projection),
        inner=torch.cat(inner, dim=1),
        bias=bias,
        cls_hidden=_hidden(whole),
        # once a cloud only, and so not worth joining
        cls_last=None if whole is None else (_last(whole).weight, _last(whole).bias),
        cls_inner=None if whole is None else parts[whole],
        read=direction @ last.weight,
        offset=direction @ last.bias,
    )


class FoldedMGFEM(NamedTuple):
    """Computes MGFEM's patch logits along one direction of the text space, in fewer products.

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
        """Return `mgfem(taps, cls, geometry) @ direction`, float [B, G]."""
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
