"""The trained heads of BTP's authors (their best.pth) as a detector of ours, with equal scores."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from btp.errors import ConfigError, WeightsError
from btp.models.checkpoint import Trained, new_detector, save_detector
from btp.models.point_language import PointLanguageModel
from btp.recipe import Recipe
from btp.runtime.own_files import command_line
from btp.types import N_POINTS
from btp.weights.published import known_mistake, unwrap
from btp.weights.records import file_sha256
from btp.weights.state_dict import load_strictly, read_checkpoint

# The release's names of the heads' parameters -> ours.
HEAD_NAMES = {
    "patch_geo_encoder.": "gfcm.",
    "patch_feature_embedder.layer_weights": "mgfem.tap_weights",
    "patch_feature_embedder.mapper_pointbert.": "mgfem.tap_projection.",
    "patch_feature_embedder.mapper_fpfh.": "mgfem.geometry_projection.",
    "patch_feature_embedder.mapper_global.": "mgfem.cls_projection.",
    "patch_feature_embedder.fusion_proj.": "mgfem.fusion.",
}


def convert_heads(
    path: Path,
    model: PointLanguageModel,
    recipe: Recipe,
    out: Path,
    dataset: str,
    train_cat: str,
    seed: int,
) -> None:
    """Write the trained heads of BTP's authors as a detector of ours.

    Args:
        path: their best.pth.
        model: ULIP-2 with its text tower, which encodes the recipe's fixed prompts.
        recipe: `release`; with it the detector's scores are theirs.
        out: .safetensors to write.
        dataset: on which they were trained, as the file does not tell.
        train_cat: likewise; evaluation leaves it out.
        seed: likewise.

    Raises:
        WeightsError: if `path` is not such a file.
        ConfigError: if the recipe learns prompts, which their heads were never trained with.
    """
    if recipe.prompt.learned:
        raise ConfigError(
            f"recipe {recipe.name} learns prompts; the authors' heads were trained with fixed "
            f"ones. Run `{command_line('weights', f'convert={path}', 'recipe=release')}`"
        )
    content: dict[str, Any] = read_checkpoint(path)
    detector = new_detector(model.config, recipe.detector)
    state: dict[str, Tensor] = head_state(content, path)
    load_strictly(detector, state | {"text": detector.text}, path)
    detector.text.copy_(model.encode_text(recipe.prompt.prompt_texts))
    about: dict[str, Any] = {
        "converted_from": str(path),
        "converted_sha256": file_sha256(path),
        "dataset": {"name": dataset},
        "train_cat": train_cat,
        "seed": seed,
        "n_points": N_POINTS,
        "sampling_seed": 0,
        "encoder_fingerprint": model.fingerprint,
        "encoder_trained": model.trained,
    }
    for key in ("epoch", "loss"):
        if isinstance(content.get(key), int | float):
            about[key] = content[key]
    save_detector(out, Trained(detector, model.config, about, recipe, None))


def head_state(content: Mapping[str, Any], source: str | Path) -> dict[str, Any]:
    """Return the heads in a `best.pth` of BTP's authors, under our names.

    Its `prompt_learner` is left out: the release never uses it (D1).

    Raises:
        WeightsError: if it is not such a file.
    """
    modules = ("patch_geo_encoder", "patch_feature_embedder")
    if not all(isinstance(content.get(module), Mapping) for module in modules):
        found = known_mistake(unwrap(content)) or f"the entries {', '.join(sorted(content)[:6])}"
        raise WeightsError(
            f"{source}: holds {found}; expected the release's trained heads, with entries "
            f"{' and '.join(modules)}. Give the best.pth that the authors' training wrote: "
            f"`{command_line('weights', 'convert=best.pth')}`"
        )
    state = {}
    for module in modules:
        for key, value in unwrap(content[module]).items():
            name = f"{module}.{key}"
            theirs = next((prefix for prefix in HEAD_NAMES if name.startswith(prefix)), None)
            if value.ndim == 4:  # their 1 x 1 convolutions are linear layers here
                value = value.flatten(1)
            state[name if theirs is None else HEAD_NAMES[theirs] + name[len(theirs) :]] = value
    return state
