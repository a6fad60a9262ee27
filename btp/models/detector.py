"""The detector: features in, point and object scores out (paper, Eq. 2-6).

This is the one scoring rule of the project: training, evaluation and inference all use it.
`btp.models.fast` has cheaper forms of the same function.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from btp.errors import ConfigError
from btp.geometry.neighbours import knn
from btp.geometry.patches import gather, patch_centres, patch_of_uncovered, patches_to_points
from btp.models.gfcm import FPFH_CHANNELS, GFCM, patch_inputs
from btp.models.mgfem import MGFEM
from btp.models.point_encoder import PointBERTConfig
from btp.recipe import DetectorConfig
from btp.types import Features, Scores

TOP_SHARE = 0.2
"""Share of the patches whose highest probabilities the object score "top20" averages."""

NEARBY = 12
"""Patches that the object score "smooth" averages, itself included: 5, 8 and 20 found less on the
pretraining's validation clouds, with heads that were trained by "max"."""


class Detector(nn.Module):
    """GFCM, MGFEM and the comparison with two text embeddings."""

    text: Tensor

    def __init__(
        self, encoder: PointBERTConfig, config: DetectorConfig, surface_channels: int = 0
    ) -> None:
        """Build the heads, untrained and without text embeddings.

        Args:
            encoder: sizes of the encoder that makes the features.
            config: switches.
            surface_channels: F of the features' surface channels, where the config uses them.
        """
        super().__init__()
        self.config = config
        channels = surface_channels if config.gfcm_input == "surface" else 3
        described = encoder.embed_dim if config.gfcm_output == "text" else FPFH_CHANNELS
        self.gfcm = GFCM(channels, described) if config.use_geometry else None
        self.mgfem = MGFEM(
            width=encoder.width,
            embed_dim=encoder.embed_dim,
            n_taps=len(encoder.taps),
            geometry_channels=described,
            projection=config.projection,
            fusion=config.fusion,
            use_taps=config.use_taps,
            use_geometry=config.use_geometry,
        )
        self.geo_projection: nn.Linear | None = None  # phi_geo of Eq. 7
        if config.use_geometry and config.geo_projection == "linear":
            self.geo_projection = nn.Linear(described, FPFH_CHANNELS)
        # The two prompts' embeddings: once the prompts are trained or fixed, all that is left of
        # the text side, so that scoring never loads a text tower.
        self.register_buffer("text", torch.full((2, encoder.embed_dim), torch.nan))

    def forward(self, features: Features, text: Tensor | None = None) -> Scores:
        """Score a batch of clouds.

        Args:
            features: of B clouds.
            text: float [2, D], normal and anomalous, with gradients while prompts are trained;
                None for the stored ones.

        Raises:
            ConfigError: if no text embeddings were ever set.
        """
        direction = self.direction(text)
        geometry = None
        if self.gfcm is not None:
            geometry = self.gfcm(patch_inputs(features, self.config.gfcm_input))  # Eq. 2
        z = self.mgfem(features.taps, features.cls, geometry)  # Eq. 4
        if self.config.patch_similarity == "cosine":
            z = F.normalize(z, dim=-1)
        patch_logits = z @ direction / self.config.patch_temperature  # [B, G]
        if self.geo_projection is not None:
            geometry = self.geo_projection(geometry)  # what Eq. 7 contrasts
        return scores_from_patches(self.config, features, patch_logits, direction, geometry)

    def direction(self, text: Tensor | None = None) -> Tensor:
        """Return the anomalous less the normal text embedding: float [D].

        A product with it is the logit of a softmax over both texts.

        Raises:
            ConfigError: if no text is given, and no text embeddings were ever set.
        """
        if text is None:
            text = self.text
            if text.isnan().any():
                raise ConfigError("the detector has no text embeddings; train it or load weights")
        return text[1] - text[0]


def scores_from_patches(
    config: DetectorConfig,
    features: Features,
    patch_logits: Tensor,
    direction: Tensor,
    geometry: Tensor | None,
) -> Scores:
    """Score points by the patches that hold them, and objects by Eq. 6.

    Args:
        config: switches.
        features: of B clouds.
        patch_logits: float [B, G].
        direction: float [D], as of `Detector.direction`.
        geometry: float [B, G, 33], what Eq. 7 contrasts with FPFH, kept with the scores; None
            without GFCM.
    """
    alpha = config.object_alpha
    # no matrix product: under autocast it would be one of 16 bit
    global_logits = (features.object_embedding * direction).sum(1) / config.object_temperature
    patch_probabilities = patch_logits.sigmoid()
    highest = _highest(config, features, patch_logits)
    object_logits = alpha * global_logits + (1 - alpha) * highest
    if config.object_score == "top20":
        top = patch_probabilities.topk(int(TOP_SHARE * patch_logits.shape[1])).values
        object_scores = alpha * global_logits.sigmoid() + (1 - alpha) * top.mean(1)
    else:
        object_scores = object_logits.sigmoid()
    point_logits, point_scores = _to_points(config, features, patch_logits, patch_probabilities)
    return Scores(
        patch_logits=patch_logits,
        point_logits=point_logits,
        point_scores=point_scores,
        object_logits=object_logits,
        object_scores=object_scores,
        geometry=None if geometry is None else geometry.float(),
    )


def _highest(config: DetectorConfig, features: Features, patch_logits: Tensor) -> Tensor:
    """Return each cloud's highest patch logit, averaged over nearby patches for "smooth": [B]."""
    if config.object_score != "smooth":
        return patch_logits.amax(1)
    centres = patch_centres(features.points, features.patch_index)
    near = knn(centres, centres, min(NEARBY, centres.shape[1]))
    return gather(patch_logits[..., None], near).mean(2).amax((1, 2))


def _to_points(config: DetectorConfig, features: Features, *patch_values: Tensor) -> list[Tensor]:
    """Average patch values [B, G] over the patches that hold each point; D6 for points in none."""
    points, index = features.points, features.patch_index
    made = [patches_to_points(values, index, points.shape[1]) for values in patch_values]
    if config.uncovered == "zero":
        return made
    patch = patch_of_uncovered(points, index)
    return [
        torch.where(patch < 0, held, values.gather(1, patch.clamp(min=0)))
        for held, values in zip(made, patch_values, strict=True)
    ]
