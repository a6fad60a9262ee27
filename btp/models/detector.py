"""The detector: stored features in, point and object scores out (paper, Eq. 4-6).

This is the one scoring rule of the project: training, evaluation and inference all call it.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from btp.errors import ConfigError
from btp.geometry.neighbours import knn
from btp.geometry.patches import gather, patch_centres, patch_of_uncovered, patches_to_points
from btp.models.gfcm import GFCM, FoldedGFCM
from btp.models.mgfem import MGFEM, FoldedMGFEM
from btp.models.point_encoder import PointBERTConfig
from btp.recipe import Recipe
from btp.types import Features, Scores

TOP_SHARE = 0.2
NEARBY = 12
"""Patches that "smooth" averages, itself included: 5, 8 and 20 found less on the pretraining's
validation clouds, with heads that were trained by "max"."""


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
        channels = surface_channels if recipe.gfcm_input == "surface" else 3
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
            text = self._known_text()
        geometry = None
        if self.gfcm is not None:
            geometry = self.gfcm.describe(features, self.recipe.gfcm_input)
        direction = text[1] - text[0]
        # the definition: self.mgfem(features.taps, features.cls, geometry) @ direction
        patch_logits = self.mgfem.logits(features.taps, features.cls, geometry, direction)
        return scores_from_patches(self.recipe, features, patch_logits, direction, geometry)

    @torch.no_grad()
    def fold(self) -> FoldedDetector:
        """A copy for scoring alone: the same scores, to rounding, in a fraction of the work.

        It does not follow later changes of this detector's weights.

        Raises:
            ConfigError: if no text embeddings were ever set.
        """
        own = deepcopy(self)
        text = own._known_text()
        direction = text[1] - text[0]
        gfcm = None if own.gfcm is None else FoldedGFCM(own.gfcm)
        return FoldedDetector(self.recipe, gfcm, own.mgfem.fold(direction), direction)

    def _known_text(self) -> Tensor:
        if self.text.isnan().any():
            raise ConfigError("the detector has no text embeddings; train it or load weights")
        return self.text


@dataclass(frozen=True)
class FoldedDetector:
    """What is left of a detector whose weights and text are fixed; called like it, without text.

    Attributes:
        recipe: switches.
        gfcm: None where the recipe has none.
        mgfem: joined with the text.
        direction: float [D], anomalous minus normal text embedding.
    """

    recipe: Recipe
    gfcm: FoldedGFCM | None
    mgfem: FoldedMGFEM
    direction: Tensor

    @torch.no_grad()
    def __call__(self, features: Features) -> Scores:
        """Score a batch of clouds on the detector's device."""
        geometry = None
        if self.gfcm is not None:
            geometry = self.gfcm.describe(features, self.recipe.gfcm_input)
        patch_logits = self.mgfem(features.taps, features.cls, geometry)
        return scores_from_patches(self.recipe, features, patch_logits, self.direction, geometry)


def scores_from_patches(
    recipe: Recipe,
    features: Features,
    patch_logits: Tensor,
    direction: Tensor,
    geometry: Tensor | None,
) -> Scores:
    """Patches to points, patches and object embedding to objects (Eq. 6)."""
    # no matrix product: under autocast it would be one of 16 bit
    global_logits = (features.object_embedding * direction).sum(1) / recipe.object_temperature
    patch_logits = patch_logits / recipe.patch_temperature
    patch_probabilities = patch_logits.sigmoid()
    object_logits = 0.5 * global_logits + 0.5 * _highest(recipe, features, patch_logits)
    if recipe.object_score == "top20":
        top = patch_probabilities.topk(int(TOP_SHARE * patch_logits.shape[1])).values
        object_scores = 0.5 * global_logits.sigmoid() + 0.5 * top.mean(1)
    else:
        object_scores = object_logits.sigmoid()
    point_logits, point_scores = _to_points(recipe, features, patch_logits, patch_probabilities)
    return Scores(
        patch_logits=patch_logits,
        point_logits=point_logits,
        point_scores=point_scores,
        object_logits=object_logits,
        object_scores=object_scores,
        geometry=None if geometry is None else geometry.float(),
    )


def _highest(recipe: Recipe, features: Features, patch_logits: Tensor) -> Tensor:
    """Of patch logits [B, G], or of their means over the nearest patches: [B]."""
    if recipe.object_score != "smooth":
        return patch_logits.amax(1)
    centres = patch_centres(features.points, features.patch_index)
    near = knn(centres, centres, min(NEARBY, centres.shape[1]))
    return gather(patch_logits[..., None], near).mean(2).amax((1, 2))


def _to_points(recipe: Recipe, features: Features, *patch_values: Tensor) -> list[Tensor]:
    """Mean over the patches that hold a point; D6 for points in none."""
    points, index = features.points, features.patch_index
    made = [patches_to_points(values, index, points.shape[1]) for values in patch_values]
    if recipe.uncovered == "zero":
        return made
    patch = patch_of_uncovered(points, index)
    return [
        torch.where(patch < 0, held, values.gather(1, patch.clamp(min=0)))
        for held, values in zip(made, patch_values, strict=True)
    ]
