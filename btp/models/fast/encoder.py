"""PointBERT's cheaper forms: the mini-PointNet's products split, the attention fused, 16 bit."""

from __future__ import annotations

import copy
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from btp.models.point_encoder import Attention, Block, MiniPointNet, PointBERT
from btp.models.point_language import PointLanguageModel

M = TypeVar("M", bound=nn.Module)

# On CPU the mini-PointNet takes so many patches at a time that its activations stay in the cache.
_CACHED_PATCHES = 64


def for_encoding(model: PointLanguageModel, rounded: bool = False) -> PointLanguageModel:
    """Return a point-language model that shares the weights and encodes in a fraction of the work.

    Args:
        model: with a frozen point encoder.
        rounded: also multiply in 16 bit where scores hardly feel it: as in `accelerated`.
    """
    other = copy.copy(model)
    other.points = accelerated(model.points, rounded)
    return other


def accelerated(encoder: PointBERT, rounded: bool = False) -> PointBERT:
    """Return an encoder that shares the weights and computes the same, to rounding, more quickly.

    It follows changes of the weights and of train and eval mode, unless it is rounded.

    Args:
        encoder: the definition.
        rounded: multiply in bfloat16 in the MLP of every block and in the attention of the second
            half of them, most of the arithmetic, on copies of these weights. Scores of `mini` move
            by at most 0.0015 (196,608 points of the demo set); with all of the encoder in 16 bit
            they move by 0.024, most of it through the mini-PointNet.
    """
    other = _with_twins(encoder)
    if rounded:
        blocks = other.point_encoder.blocks.blocks
        for number, block in enumerate(blocks):
            assert isinstance(block, Block)
            block.mlp = _Rounded(block.mlp)
            if 2 * number >= len(blocks):
                block.attn = _Rounded(block.attn)
    return other


class FastMiniPointNet(MiniPointNet):
    """Embeds patches in fewer products, and on CPU in pieces that stay in the cache."""

    def forward(self, patches: Tensor) -> Tensor:
        """Patches [P, K, channels] -> [P, out]."""
        # a batch norm in training sees all patches at once
        if self.first_conv[1].training or patches.is_cuda:
            return self._embed(patches)
        return torch.cat([self._embed(some) for some in patches.split(_CACHED_PATCHES)])

    def _embed(self, patches: Tensor) -> Tensor:
        groups, size = patches.shape[:2]
        x = _pointwise(self.first_conv, patches.flatten(0, 1)).view(groups, size, -1)  # [P, K, b]
        # The layer over concat(patch max, point) is two products, of which the first is needed
        # once a patch, not once a point.
        conv, norm, relu, last = self.second_conv
        assert isinstance(conv, nn.Conv1d) and isinstance(last, nn.Conv1d)
        w_patch, w_point = conv.weight[..., 0].chunk(2, dim=1)
        patch = F.linear(_highest(x), w_patch, conv.bias)[:, None]
        x = relu(norm((F.linear(x, w_point) + patch).flatten(0, 1)))
        x = F.linear(x, last.weight[..., 0], last.bias)  # [P K, out]
        return _highest(x.view(groups, size, -1))


def _highest(x: Tensor) -> Tensor:
    """Take the maximum over the patch: [P, K, c] -> [P, c]."""
    # the gradient of max writes one value a maximum, that of amax compares them all
    return x.max(1).values if x.requires_grad else x.amax(1)


def _pointwise(layers: nn.Sequential, x: Tensor) -> Tensor:
    """Run 1x1 convolutions as matrix products on points [M, channels]: thrice as fast on CPU."""
    for layer in layers:
        if isinstance(layer, nn.Conv1d):
            x = F.linear(x, layer.weight[..., 0], layer.bias)
        else:
            x = layer(x)
    return x


class FastAttention(Attention):
    """Attends in PyTorch's fused form, but for gradients on CPU, where that takes twice as long."""

    def forward(self, x: Tensor) -> Tensor:
        """Tokens [B, T, C] -> [B, T, C]."""
        if x.requires_grad and not x.is_cuda:
            return super().forward(x)
        q, k, v = self.heads_of(x)
        mixed = F.scaled_dot_product_attention(q, k, v)
        return self.proj(mixed.transpose(1, 2).reshape(x.shape))


class _Rounded(nn.Module):
    """Computes a module on a copy of its weights in bfloat16; what goes in and out is not."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = copy.deepcopy(module).bfloat16()

    def forward(self, x: Tensor) -> Tensor:
        return self.module(x.bfloat16()).to(x.dtype)


_TWINS: dict[type[nn.Module], type[nn.Module]] = {
    MiniPointNet: FastMiniPointNet,
    Attention: FastAttention,
}


def _with_twins(module: M) -> M:
    """Return a module whose parts of `_TWINS` are their twins; all else is shared with it."""
    twin = _TWINS.get(type(module))
    if twin is not None:
        return _sharing(module, twin)
    parts = {name: _with_twins(part) for name, part in module.named_children()}
    if all(parts[name] is part for name, part in module.named_children()):
        return module
    other = _sharing(module, type(module))
    other._modules.update(parts)
    return other


def _sharing(module: nn.Module, kind: type[nn.Module]) -> Any:
    """Return a module of a class with the parameters, buffers and parts of another."""
    other = kind.__new__(kind)
    other.__dict__.update(module.__dict__)
    other._modules = dict(module._modules)  # so that a part that is replaced here stays there
    return other
