"""ULIP itself, zero-shot by Eq. 1 or with one linear layer: what BTP builds on, without BTP."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from btp.features.store import FeatureSet
from btp.models.detector import Detector
from btp.models.point_language import PointLanguageModel
from btp.recipe import Recipe
from btp.training.loop import Trainee, check_enough, make_optimizer, run_epoch
from btp.types import Features, Scores


class ZeroShot:
    """Eq. 1 with two fixed prompts: the object embedding against normal and defective text."""

    def __init__(self, model: PointLanguageModel, recipe: Recipe) -> None:
        self.text = model.encode_text(recipe.prompt_texts)
        self.temperature = recipe.object_temperature

    def __call__(self, features: Features) -> Scores:
        """Object scores in 0..1. Of patches and points it says nothing: nan."""
        logits = features.object_embedding @ (self.text[1] - self.text[0]) / self.temperature
        nothing = torch.full_like(features.points[..., 0], torch.nan)
        return Scores(
            patch_logits=logits.new_full(features.patch_index.shape[:2], torch.nan),
            point_logits=nothing,
            point_scores=nothing,
            object_logits=logits,
            object_scores=logits.sigmoid(),
        )


class LastTap(nn.Module):
    """Fig. 3's ULIP, in MGFEM's place: the last tap through a linear layer and a layer norm."""

    def __init__(self, width: int, embed_dim: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, embed_dim)
        self.norm = nn.LayerNorm(embed_dim)

    def forward(self, taps: Tensor, cls: Tensor, geometry: Tensor | None) -> Tensor:
        """Taps [B, L, G, C] -> patch embeddings [B, G, D]; the other two are not used."""
        return self.norm(self.linear(taps[:, -1]))

    def logits(
        self, taps: Tensor, cls: Tensor, geometry: Tensor | None, direction: Tensor
    ) -> Tensor:
        """`forward(...) @ direction`: [B, G]."""
        return self(taps, cls, geometry) @ direction

    def fold(self, direction: Tensor) -> Callable[[Tensor, Tensor, Tensor | None], Tensor]:
        """`logits` along one direction; there is nothing to join, the norm stands between."""
        return functools.partial(self.logits, direction=direction)


def train_linear(
    data: FeatureSet, model: PointLanguageModel, recipe: Recipe, seed: int
) -> Detector:
    """Train a linear layer on the last tap, with the recipe's loss and optimiser.

    Everything behind the layer is the detector's own: temperatures, points, objects (Eq. 6). There
    is no geometry, and the prompts are the recipe's fixed texts.

    Args:
        data: annotated scans of the train category.
        model: the frozen point-language model that made `data`.
        recipe: loss, optimiser, schedule and scoring.
        seed: of initialisation and order.

    Returns:
        The detector of the epoch that the recipe keeps (D12), in eval mode.

    Raises:
        DataError: if there are too few scans for one batch, or the loss stops being finite.
    """
    recipe = dataclasses.replace(
        recipe, prompts="fixed", context_tokens=0, use_taps=True, use_geometry=False
    )
    check_enough(data, recipe)
    trainee = _new_trainee(model, recipe, seed)
    optimizer = make_optimizer(trainee, recipe)
    best, lowest = trainee.state_dict(), math.inf
    for epoch in range(recipe.epochs):
        total = run_epoch(trainee, data, optimizer, recipe, seed, epoch)["total"]
        if total < lowest or recipe.keep == "last":
            best = {name: value.clone() for name, value in trainee.state_dict().items()}
            lowest = total
    trainee.load_state_dict(best)
    return trainee.detector.eval()


def _new_trainee(model: PointLanguageModel, recipe: Recipe, seed: int) -> Trainee:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        trainee = Trainee(model, recipe)
        sizes = model.config.point
        trainee.detector.register_module("mgfem", LastTap(sizes.width, sizes.embed_dim))
    return trainee.to(model.device).train()
