"""Trained detectors: their files, and heads to start a training from."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from btp.config import build
from btp.errors import ConfigError, WeightsError
from btp.geometry.local_geometry import CHANNELS
from btp.models.detector import Detector
from btp.models.point_language import EncoderConfig, PointLanguageModel, located
from btp.recipe import DetectorConfig, Recipe
from btp.runtime.files import write_bytes
from btp.runtime.own_files import command_line
from btp.weights.state_dict import load_strictly, read_checkpoint, read_metadata

CONTEXT = "prompts.context"


def new_detector(encoder: EncoderConfig, config: DetectorConfig) -> Detector:
    """Build untrained heads for an encoder."""
    return Detector(encoder.point, config, surface_channels=CHANNELS)


class Trained(NamedTuple):
    """What a detector's file holds.

    Attributes:
        detector: in eval mode.
        encoder: of the features that it scores.
        about: the file's other metadata.
        recipe: that it was trained by.
        context: float [n, W], its learned prompt tokens; None where its prompts were fixed.
    """

    detector: Detector
    encoder: EncoderConfig
    about: dict[str, Any]
    recipe: Recipe
    context: Tensor | None


def save_detector(path: Path, trained: Trained) -> None:
    """Write heads, text embeddings and everything needed to load and repeat them.

    Args:
        path: .safetensors, replaced only once the new file is whole.
        trained: what `load_detector` will return. Its metadata must be JSON-able; scoring does not
            need its context, which is kept for study.
    """
    from safetensors.torch import save

    settings = {"encoder": asdict(trained.encoder), "recipe": trained.recipe.flat()}
    state = {k: v.detach().cpu().contiguous() for k, v in trained.detector.state_dict().items()}
    if trained.context is not None and len(trained.context):
        state[CONTEXT] = trained.context.detach().cpu().contiguous()
    content = save(state, metadata={"btp": json.dumps(trained.about | settings)})
    write_bytes(path, content)


def load_detector(path: str | Path) -> Trained:
    """Read what `save_detector` wrote.

    Raises:
        WeightsError: if the file is not a detector of this project.
        ConfigError: if its settings are not those of this version.
    """
    state = read_checkpoint(path)
    about = read_metadata(path)
    if about is None:
        raise WeightsError(
            f"{path}: no settings in the file's header; expected a detector that "
            f"`{command_line('train')}` wrote (the authors' best.pth: convert it with "
            f"`{command_line('weights', 'convert=best.pth')}`)"
        )
    encoder = build(EncoderConfig, about.pop("encoder"), f"{path}: encoder")
    recipe = Recipe.from_file(about.pop("recipe"), f"{path}: recipe")
    detector = new_detector(encoder, recipe.detector)
    context = state.pop(CONTEXT, None)
    first = state.get("gfcm.mlp1.0.weight")
    if recipe.detector.reads_surface and first is not None and first.shape[1] == CHANNELS + 3:
        raise WeightsError(
            f"{path}: trained when GFCM's surface input still had the points' coordinates; train "
            "again (resume=false, or remove the file)"
        )
    load_strictly(detector, state, path)
    return Trained(detector.eval(), encoder, about, recipe, context)


def pretrained_heads(model: PointLanguageModel) -> Trained | None:
    """Load the heads that come with an encoder; None where there are none.

    Their context is left out if it was learned with another text tower.

    Raises:
        WeightsError: if they were trained on other weights of the encoder.
    """
    if model.config.heads is None:
        return None
    path = located(model.config.heads)
    heads = load_detector(path)
    made_with = heads.about.get("encoder_fingerprint")
    if made_with != model.fingerprint:
        raise WeightsError(
            f"{path}: heads of encoder {made_with}, and this one's weights are "
            f"{model.fingerprint}; add recipe.heads=new, or give its own as encoder.heads"
        )
    if heads.about.get("text_fingerprint") != model.text_fingerprint:
        return heads._replace(context=None)
    return heads


def start_from(heads: Detector, detector: Detector) -> None:
    """Copy the parts that both have from trained heads into new ones.

    Raises:
        ConfigError: if a switch makes the same part another one.
    """
    for switch in ("gfcm_input", "gfcm_output", "geo_projection", "projection", "fusion"):
        found, wanted = getattr(heads.config, switch), getattr(detector.config, switch)
        if found != wanted:
            raise ConfigError(
                f"recipe.{switch} is {wanted}, and the heads to start from were trained with "
                f"{found}; add recipe.heads=new"
            )
    if detector.gfcm is not None and heads.gfcm is not None:
        detector.gfcm.load_state_dict(heads.gfcm.state_dict())
    if detector.geo_projection is not None and heads.geo_projection is not None:
        detector.geo_projection.load_state_dict(heads.geo_projection.state_dict())
    detector.mgfem.start_from(heads.mgfem)
