"""PointBERT as ULIP-2 trains it, with taps after chosen blocks (paper, Sec. 3.3).

This is the definition, plainly computed; `btp.models.fast` has cheaper forms of it.

Yu et al., "Point-BERT", CVPR 2022; Xue et al., "ULIP-2", CVPR 2024. Parameter names are those of
the published ULIP-2 checkpoint, so that its state dict loads strictly and without renaming.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from btp.errors import ConfigError
from btp.geometry.neighbours import knn
from btp.geometry.patches import gather, patch_centres
from btp.geometry.sampling import farthest_point_sample
from btp.types import Features
from btp.weights.published import unwrap
from btp.weights.state_dict import load_strictly, read_checkpoint


@dataclass(frozen=True)
class PointBERTConfig:
    """Sizes of a PointBERT; the defaults are ULIP-2's.

    Attributes:
        width: C, transformer width.
        depth: number of blocks.
        heads: attention heads.
        groups: G, patches a cloud.
        group_size: K, points a patch.
        pointnet: widths of the mini-PointNet's inner layers.
        patch_width: its output width.
        point_features: channels of a point besides xyz. ULIP-2: rgb.
        constant_feature: value of those channels where nothing is given (colour unknown: 0.5);
            None demands that they are given.
        embed_dim: D, width of the space shared with text.
        taps: blocks, counted from 1, whose patch tokens are returned.
        skip_origin: patch centres avoid points near the origin (see `farthest_point_sample`).
    """

    width: int = 384
    depth: int = 18
    heads: int = 6
    groups: int = 512
    group_size: int = 32
    pointnet: tuple[int, int, int] = (128, 256, 512)
    patch_width: int = 256
    point_features: int = 3
    constant_feature: float | None = 0.5
    embed_dim: int = 1280
    taps: tuple[int, ...] = (2, 5, 8, 11)
    skip_origin: bool = True

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise ConfigError(f"width {self.width} is not a multiple of {self.heads} heads")
        if not self.taps or not all(1 <= tap <= self.depth for tap in self.taps):
            raise ConfigError(
                f"taps {self.taps} name blocks that do not exist; choose from 1 to {self.depth}"
            )


class MiniPointNet(nn.Module):
    """Embeds each patch of points into one token (Point-BERT, Sec. 3.1)."""

    def __init__(self, channels: int, widths: tuple[int, int, int], out: int) -> None:
        super().__init__()
        a, b, c = widths
        self.first_conv = nn.Sequential(
            nn.Conv1d(channels, a, 1), nn.BatchNorm1d(a), nn.ReLU(), nn.Conv1d(a, b, 1)
        )
        self.second_conv = nn.Sequential(
            nn.Conv1d(2 * b, c, 1), nn.BatchNorm1d(c), nn.ReLU(), nn.Conv1d(c, out, 1)
        )

    def forward(self, patches: Tensor) -> Tensor:
        """Embed patches of points: [P, K, channels] -> [P, out]."""
        x = self.first_conv(patches.mT)  # [P, b, K]
        highest = x.max(2, keepdim=True).values.expand_as(x)
        x = self.second_conv(torch.cat([highest, x], dim=1))  # [P, out, K]
        return x.max(2).values


class Attention(nn.Module):
    """Attends from each token to all, in several heads, without bias on q, k and v."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Mix tokens by softmax(Q K^T / sqrt(d)) V: [B, T, C] -> [B, T, C]."""
        q, k, v = self.heads_of(x)
        mixed = (q * q.shape[-1] ** -0.5 @ k.mT).softmax(-1) @ v  # [B, heads, T, C / heads]
        return self.proj(mixed.transpose(1, 2).reshape(x.shape))

    def heads_of(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return Q, K and V of tokens [B, T, C], each [B, heads, T, C / heads]."""
        batch, tokens, _ = x.shape
        q, k, v = self.qkv(x).view(batch, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        return q, k, v


class Mlp(nn.Module):
    """Transforms each token by two layers with GELU, four times as wide inside."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Transform each token: [B, T, C] -> [B, T, C]."""
        return self.fc2(F.gelu(self.fc1(x)))


class Block(nn.Module):
    """Adds attention and MLP of the normed tokens: timm's `Block`, as timm imports for seconds."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attn: nn.Module = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp: nn.Module = Mlp(width)

    def forward(self, x: Tensor) -> Tensor:
        """Transform tokens: [B, T, C] -> [B, T, C]."""
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class Blocks(nn.Module):
    """Runs all blocks, adding the position embedding before every one."""

    def __init__(self, config: PointBERTConfig) -> None:
        super().__init__()
        self.taps = config.taps
        self.blocks = nn.ModuleList(Block(config.width, config.heads) for _ in range(config.depth))

    def forward(self, x: Tensor, position: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Transform tokens [B, T, C] at positions [B, T, C]; also return those after each tap."""
        tapped = []
        for number, block in enumerate(self.blocks, start=1):
            x = block(x + position)
            if number in self.taps:
                tapped.append(x)
        return x, tapped


class PointTransformer(nn.Module):
    """Turns patches into tokens, and passes these through the blocks and a last norm."""

    def __init__(self, config: PointBERTConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.encoder = MiniPointNet(3 + config.point_features, config.pointnet, config.patch_width)
        self.reduce_dim = nn.Linear(config.patch_width, width)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.cls_pos = nn.Parameter(torch.randn(1, 1, width) * 0.02)
        self.pos_embed = nn.Sequential(nn.Linear(3, 128), nn.GELU(), nn.Linear(128, width))
        self.blocks = Blocks(config)
        self.norm = nn.LayerNorm(width)

    def forward(self, patches: Tensor, centres: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Encode patches [B, G, K, 3+F] at centres [B, G, 3]: tokens and taps, [B, 1+G, C]."""
        batch, groups = patches.shape[:2]
        tokens = self.reduce_dim(self.encoder(patches.flatten(0, 1))).view(batch, groups, -1)
        x = torch.cat([self.cls_token.expand(batch, -1, -1), tokens], dim=1)
        position = torch.cat([self.cls_pos.expand(batch, -1, -1), self.pos_embed(centres)], dim=1)
        x, taps = self.blocks(x, position)
        return self.norm(x), taps


def patchify(points: Tensor, config: PointBERTConfig) -> Tensor:
    """Return the rows of each patch's points, the centre first: [B, N, 3] -> int64 [B, G, K]."""
    centres = farthest_point_sample(points, config.groups, skip_origin=config.skip_origin)
    return knn(gather(points, centres), points, config.group_size)


class PointBERT(nn.Module):
    """Encodes point clouds into `Features`: the point tower of ULIP-2."""

    def __init__(self, config: PointBERTConfig) -> None:
        super().__init__()
        self.config = config
        self.point_encoder = PointTransformer(config)
        self.pc_projection = nn.Parameter(
            torch.randn(2 * config.width, config.embed_dim) * config.width**-0.5
        )
        self.logit_scale = nn.Parameter(torch.tensor(1 / 0.07).log())

    @classmethod
    def load(cls, config: PointBERTConfig, weights: Mapping[str, Any] | str | Path) -> PointBERT:
        """Build an encoder, frozen, from a checkpoint's path or content.

        Keys may carry the prefix `module.` and lie under `state_dict`, as ULIP-2 publishes them;
        those of its image and text tower (`open_clip_model.`) are left out, all others must match.

        Raises:
            WeightsError: if these are not the weights of an encoder of these sizes.
        """
        source = weights if isinstance(weights, str | Path) else "the given state dict"
        content = read_checkpoint(weights) if isinstance(weights, str | Path) else weights
        state = {k: v for k, v in unwrap(content).items() if not k.startswith("open_clip_model.")}
        model = cls(config)
        load_strictly(model, state, source)
        return model.eval().requires_grad_(False)

    @classmethod
    def from_ulip2(cls, weights: Mapping[str, Any] | str | Path) -> PointBERT:
        """Build ULIP-2's encoder for 10k-xyzrgb points from its published checkpoint."""
        return cls.load(PointBERTConfig(), weights)

    def forward(
        self, points: Tensor, surface: Tensor | None = None, patch_index: Tensor | None = None
    ) -> Features:
        """Encode clouds.

        Args:
            points: float [B, N, 3], in the unit sphere.
            surface: float [B, N, F], the channels besides xyz; None for the constant.
            patch_index: int64 [B, G, K], where it is known already; None for `patchify`'s.

        Returns:
            Features with taps, CLS and object embedding L2-normalised.
        """
        if patch_index is None:
            patch_index = patchify(points, self.config)
        tokens, taps = self.point_encoder(*self.group(points, surface, patch_index))
        cls = tokens[:, 0]
        pooled = torch.cat([cls, tokens[:, 1:].amax(1)], dim=1)  # [B, 2C]
        return Features(
            points=points,
            patch_index=patch_index,
            taps=torch.stack([F.normalize(tap[:, 1:], dim=-1) for tap in taps], dim=1),
            cls=F.normalize(cls, dim=-1),
            object_embedding=F.normalize(pooled @ self.pc_projection, dim=-1),
            surface=surface,
        )

    def group(
        self, points: Tensor, surface: Tensor | None, patch_index: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the patches of clouds about their centres, and the centres.

        Args:
            points: float [B, N, 3].
            surface: float [B, N, F], the channels besides xyz; None for the constant.
            patch_index: int64 [B, G, K].

        Returns:
            Float [B, G, K, 3+F] and [B, G, 3].

        Raises:
            ConfigError: if the encoder needs surface channels and none were given.
        """
        config = self.config
        centres = patch_centres(points, patch_index)
        patches = gather(points, patch_index) - centres[:, :, None]
        if surface is not None:
            extra = gather(surface, patch_index)
        elif config.constant_feature is not None:
            shape = (*patches.shape[:-1], config.point_features)
            extra = patches.new_full(shape, config.constant_feature)
        else:
            raise ConfigError(
                f"this encoder reads {config.point_features} surface channels a point, and none "
                "were given; compute them with btp.geometry.local_geometry"
            )
        return torch.cat([patches, extra], dim=-1), centres
