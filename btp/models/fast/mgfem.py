"""MGFEM and the comparison with text as one function, its consecutive linear layers joined."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from btp.models.mgfem import MGFEM

Layer = tuple[Tensor, Tensor]  # weight [out, in], bias [out]


def fold(
    mgfem: MGFEM, direction: Tensor, cosine: bool = False, descriptor: Layer | None = None
) -> FoldedMGFEM:
    """Join the linear layers that follow on each other, for patch logits along one direction.

    Gradients reach all of MGFEM's parameters, and the direction. Joining costs D x D x hidden
    multiply-adds a branch and saves D x D a patch: it pays from 512 patches on, one cloud, and
    where gradients are not wanted it is done once.

    Args:
        mgfem: its layers are read, not changed.
        direction: float [D].
        cosine: the embeddings are normalised before the product with the direction (D14).
        descriptor: last layer of GFCM, to be joined as well; the folded form then takes its inputs
            as geometry.
    """
    first, last = layer_of(mgfem.fusion[0]), None
    read, offset = direction, direction.new_zeros(())
    if len(mgfem.fusion) > 1:
        last = layer_of(mgfem.fusion[2])
        if not cosine:  # only the logit is used: the layer is one vector
            read, offset, last = direction @ last[0], direction @ last[1], None
    present = [branch for _, branch in mgfem.branches]
    parts = dict(zip(present, first[0].chunk(len(present), dim=1), strict=True))
    taps, whole, shape = mgfem.tap_projection, mgfem.cls_projection, mgfem.geometry_projection
    geometry_layers = [] if shape is None else _layers(shape)
    if geometry_layers and descriptor is not None:
        geometry_layers[0] = joined(geometry_layers[0], descriptor)
    inner: list[Tensor] = []
    bias = first[1]
    for branch, layers in ((taps, _layers(taps)), (shape, geometry_layers)):
        if branch is not None:
            weight, bias = joined((parts[branch], bias), layers[-1])  # the tap weights' sum is 1
            inner.append(weight)
    return FoldedMGFEM(
        alpha=None if taps is None else mgfem.tap_weights.softmax(0),
        tap_hidden=_hidden(_layers(taps)),
        geometry_hidden=_hidden(geometry_layers),
        inner=torch.cat(inner, dim=1),
        bias=bias,
        cls_hidden=_hidden(_layers(whole)),
        # once a cloud only, and so not worth joining
        cls_last=None if whole is None else _layers(whole)[-1],
        cls_inner=None if whole is None else parts[whole],
        activated=len(mgfem.fusion) > 1,
        last=last,
        read=read,
        offset=offset,
        cosine=cosine,
    )


class FoldedMGFEM(NamedTuple):
    """Computes MGFEM's patch logits along one direction of the text space, in fewer products.

    The taps' weighted sum is taken as early as it is linear; the CLS branch runs once a cloud, not
    once a patch. Where only the product with the direction is used, a last layer is one vector.

    Attributes:
        alpha: float [L], weights of the taps; None without the encoder's branches.
        tap_hidden, geometry_hidden, cls_hidden: first of two layers; None where there is but one.
        inner: float [D, H], last layers of taps and geometry joined with the fusion's first.
        bias: float [D], of the same.
        cls_last, cls_inner: last layer of the CLS branch, and its part of the fusion's first.
        activated: a ReLU follows.
        last: the fusion's last layer, where there is one and the cosine needs all of it.
        read: float [D], what embeddings are multiplied with; offset: float [], added to the logits.
        cosine: the product is divided by the embedding's length.
    """

    alpha: Tensor | None
    tap_hidden: Layer | None
    geometry_hidden: Layer | None
    inner: Tensor
    bias: Tensor
    cls_hidden: Layer | None
    cls_last: Layer | None
    cls_inner: Tensor | None
    activated: bool
    last: Layer | None
    read: Tensor
    offset: Tensor
    cosine: bool

    def __call__(self, taps: Tensor, cls: Tensor, geometry: Tensor | None) -> Tensor:
        """Return the patch logits, before the temperature: float [B, G].

        They are `mgfem(taps, cls, geometry) @ direction`, of normalised embeddings for the cosine.
        """
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
        if self.activated:
            x = x.relu()
        if self.last is not None:
            x = F.linear(x, *self.last)
        if x.dtype == self.read.dtype:
            logits = x @ self.read + self.offset
        else:  # 16 bit under autocast: too few for the logits themselves
            logits = (x * self.read).sum(-1) + self.offset
        if not self.cosine:
            return logits
        length = torch.linalg.vector_norm(x, dim=-1, dtype=self.read.dtype)
        return logits / length.clamp(min=1e-12)  # as torch.nn.functional.normalize


def joined(outer: Layer, inner: Layer) -> Layer:
    """Return the one linear layer that does what two do."""
    return outer[0] @ inner[0], outer[1] + outer[0] @ inner[1]


def layer_of(linear: nn.Module) -> Layer:
    """Return the weight and bias of a linear layer."""
    assert isinstance(linear, nn.Linear)
    return linear.weight, linear.bias


def _layers(projection: nn.Module | None) -> list[Layer]:
    """Return the one or two layers of a projection; none where it is left out."""
    modules = [] if projection is None else projection.modules()
    return [layer_of(each) for each in modules if isinstance(each, nn.Linear)]


def _hidden(layers: list[Layer]) -> Layer | None:
    return layers[0] if len(layers) > 1 else None


def _activate(layer: Layer | None, x: Tensor) -> Tensor:
    return x if layer is None else F.linear(x, *layer).relu()
