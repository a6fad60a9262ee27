"""ULIP without BTP: zero-shot by Eq. 1, or with one trained linear layer (paper, Fig. 3)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from btp.models.detector import scores_from_patches
from btp.models.point_encoder import PointBERTConfig
from btp.recipe import DetectorConfig
from btp.types import Features, Scores

ZERO_SHOT_TEXTS = (
    "a point cloud model of a normal object.",
    "a point cloud model of a defective object.",
)
"""Eq. 1's template "a point cloud model of a [c]", with the words of BTP's own prompts."""


class ZeroShot:
    """Scores objects by Eq. 1: the object embedding against a normal and a defective text."""

    def __init__(self, text: Tensor, temperature: float) -> None:
        """Compare with two texts.

        Args:
            text: float [2, D], L2-normalised, normal and defective.
            temperature: tau of Eq. 1.
        """
        self.direction = text[1] - text[0]
        self.temperature = temperature

    def __call__(self, features: Features) -> Scores:
        """Score objects in 0..1; patches and points, of which it says nothing, get nan."""
        logits = features.object_embedding @ self.direction / self.temperature
        nothing = torch.full_like(features.points[..., 0], torch.nan)
        return Scores(
            patch_logits=logits.new_full(features.patch_index.shape[:2], torch.nan),
            point_logits=nothing,
            point_scores=nothing,
            object_logits=logits,
            object_scores=logits.sigmoid(),
        )


class LinearHead(nn.Module):
    """Compares one linear layer's embedding of the last tap with two texts: Fig. 3's ULIP.

    A layer norm follows on the layer. As in the release the embeddings are L2-normalised, and so
    their cosines are divided by the temperature of Eq. 1.
    """

    text: Tensor

    def __init__(self, encoder: PointBERTConfig, config: DetectorConfig) -> None:
        """Build the layer, untrained and without text embeddings.

        Args:
            encoder: sizes of the encoder that makes the features.
            config: how patches score points and objects.
        """
        super().__init__()
        self.config = config
        self.linear = nn.Linear(encoder.width, encoder.embed_dim)
        self.norm = nn.LayerNorm(encoder.embed_dim)
        self.register_buffer("text", torch.full((2, encoder.embed_dim), torch.nan))

    def forward(self, features: Features, text: Tensor | None = None) -> Scores:
        """Score a batch of clouds.

        Args:
            features: of B clouds.
            text: float [2, D], normal and defective; None for the stored ones.
        """
        text = self.text if text is None else text
        direction = text[1] - text[0]
        z = F.normalize(self.norm(self.linear(features.taps[:, -1])), dim=-1)  # [B, G, D]
        logits = z @ direction / self.config.object_temperature
        return scores_from_patches(self.config, features, logits, direction, None)
