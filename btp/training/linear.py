"""The baseline ULIP (linear) of the paper's Fig. 3, trained by the same loop as BTP."""

from __future__ import annotations

from typing import Any

import torch

from btp.features.store import FeatureSet
from btp.models.point_language import PointLanguageModel
from btp.models.ulip import LinearHead
from btp.recipe import Recipe
from btp.training.loop import check_enough, fit, kept
from btp.training.trainee import Trainee, make_optimizer


def train_linear(
    data: FeatureSet, model: PointLanguageModel, recipe: Recipe, seed: int
) -> LinearHead:
    """Train one linear layer on the last tap, with a recipe's losses, optimiser and scoring.

    The prompts are the recipe's texts, fixed; there is no geometry.

    Args:
        data: annotated scans of the train category.
        model: the frozen point-language model that made `data`.
        recipe: loss, optimiser, schedule and scoring.
        seed: of initialisation and order.

    Returns:
        The head of the epoch that the recipe keeps (D12), in eval mode.

    Raises:
        DataError: if there are too few scans for one batch, or the loss stops being finite.
    """
    recipe = recipe.changed(
        use_taps=True, use_geometry=False, loss=vars(recipe.loss) | {"geometry": 0.0}
    )
    check_enough(data, recipe.training)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        head = LinearHead(model.config.point, recipe.detector)
    head.text.copy_(model.encode_text(recipe.prompt.prompt_texts))
    trainee = Trainee(model, head).to(model.device).train()
    optimizer = make_optimizer(trainee, recipe.training)
    best: dict[str, Any] = {}
    for epoch, losses in fit(trainee, optimizer, data, recipe, seed):
        best = kept(best, trainee, epoch, losses["total"], recipe.training)
    trainee.load_state_dict(best["weights"])
    return head.eval()
