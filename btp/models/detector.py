"""The detector: stored features in, point and object scores out (paper, Eq. 4-6).

This is the one scoring rule of the project: training, evaluation and inference all call it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from btp.errors import ConfigError
from btp.geometry import nearest_patch, patches_to_points
from btp.models.gfcm import GFCM, patch_inputs
from btp.models.mgfem import MGFEM
from btp.models.point_encoder import PointBERTConfig
from btp.recipe import Recipe
from btp.types import Features, Scores

TOP_SHARE = 0.2


class Detector(nn.Module):
    """GFCM, MGFEM and the comparison with two text embeddings."""

    text: Tensor

    def __init__(self, encoder: PointBERTConfig, recipe: Recipe, surface_channels: int = 0) -> None:
        """Build the heads.

        Args:
            encoder: sizes of the encoder that makes the features.
            recipe: switches.
            surface_channels: F of the features' surface channels, where the recipe uses them.
        """
        super().__init__()
        self.recipe = recipe
        channels = 3 + (surface_channels if recipe.gfcm_input == "surface" else 0)
        self.gfcm = GFCM(channels) if recipe.use_geometry else None
        self.mgfem = MGFEM(
            width=encoder.width,
            embed_dim=encoder.embed_dim,
            n_taps=len(encoder.taps),
            projection=recipe.projection,
            use_taps=recipe.use_taps,
            use_geometry=recipe.use_geometry,
        )
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
        if text is None:
            text = self.text
            if text.isnan().any():
                raise ConfigError("the detector has no text embeddings; train it or load weights")
        geometry = None
        if self.gfcm is not None:
            geometry = self.gfcm(patch_inputs(features, self.recipe.gfcm_input))
        z = self.mgfem(features.taps, features.cls, geometry)
        direction = text[1] - text[0]
        patch_logits = z @ direction / self.recipe.patch_temperature  # [B, G]
        global_logits = features.object_embedding @ direction / self.recipe.object_temperature
        return self._scores(features, patch_logits, global_logits, geometry)

    def _scores(
        self,
        features: Features,
        patch_logits: Tensor,
        global_logits: Tensor,
        geometry: Tensor | None,
    ) -> Scores:
        """Patches to points, patches and object embedding to objects (Eq. 6)."""
        patch_logits, global_logits = patch_logits.float(), global_logits.float()  # after autocast
        patch_probabilities = patch_logits.sigmoid()
        object_logits = 0.5 * global_logits + 0.5 * patch_logits.amax(1)
        if self.recipe.object_score == "top20":
            top = patch_probabilities.topk(int(TOP_SHARE * patch_logits.shape[1])).values
            object_scores = 0.5 * global_logits.sigmoid() + 0.5 * top.mean(1)
        else:
            object_scores = object_logits.sigmoid()
        return Scores(
            patch_logits=patch_logits,
            point_logits=self._to_points(features, patch_logits),
            point_scores=self._to_points(features, patch_probabilities),
            object_logits=object_logits,
            object_scores=object_scores,
            geometry=None if geometry is None else geometry.float(),
        )

    def _to_points(self, features: Features, patch_values: Tensor) -> Tensor:
        """Mean over the patches that hold a point; D6 for points in none."""
        nearest = self.recipe.uncovered == "nearest"
        points, index = features.points, features.patch_index
        values = patches_to_points(
            patch_values, index, points.shape[1], "nan" if nearest else "zero"
        )
        if not nearest:
            return values
        fill = patch_values.gather(1, nearest_patch(points, index))
        return torch.where(values.isnan(), fill, values)
