"""Trained detectors: their files, and heads to start a training from."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from btp.config import build
from btp.errors import ConfigError, WeightsError
from btp.geometry.local_geometry import CHANNELS
from btp.models.detector import Detector
from btp.models.point_language import EncoderConfig, PointLanguageModel, located
from btp.recipe import Recipe
from btp.runtime.files import write_bytes
from btp.weights.state_dict import load_strictly, read_checkpoint, read_metadata

CONTEXT = "prompts.context"


def new_detector(encoder: EncoderConfig, recipe: Recipe) -> Detector:
    """Untrained heads for an encoder."""
    return Detector(encoder.point, recipe, surface_channels=CHANNELS)


@dataclass(frozen=True)
class Heads:
    """Trained heads to start from: those of a detector's file.

    Attributes:
        detector: in eval mode.
        context: float [n, W], its learned prompt tokens; None where its prompts were fixed, or
            learned with another text tower.
    """

    detector: Detector
    context: Tensor | None

    @classmethod
    def of(cls, model: PointLanguageModel) -> Heads | None:
        """Those that come with a model; None where there are none.

        Raises:
            WeightsError: if they were trained on other weights of the encoder.
        """
        if model.config.heads is None:
            return None
        path = located(model.config.heads)
        detector, _, about, context = _read_detector(path)
        made_with = about.get("encoder_fingerprint")
        if made_with != model.fingerprint:
            raise WeightsError(
                f"{path}: heads of encoder {made_with}, and this one's weights are "
                f"{model.fingerprint}; add recipe.heads=new, or give its own as encoder.heads"
            )
        same_text = about.get("text_fingerprint") == model.text_fingerprint
        return cls(detector, context if same_text else None)

    def start(self, detector: Detector) -> None:
        """Copy the parts that both have into new heads.

        Raises:
            ConfigError: if a switch makes the same part another one.
        """
        for switch in ("gfcm_input", "projection"):
            found, wanted = (getattr(d.recipe, switch) for d in (self.detector, detector))
            if found != wanted:
                raise ConfigError(
                    f"recipe.{switch} is {wanted}, and the heads to start from were trained with "
                    f"{found}; add recipe.heads=new"
                )
        if detector.gfcm is not None and self.detector.gfcm is not None:
            detector.gfcm.load_state_dict(self.detector.gfcm.state_dict())
        detector.mgfem.start(self.detector.mgfem)


def save_detector(
    path: Path,
    detector: Detector,
    encoder: EncoderConfig,
    metadata: dict[str, Any],
    context: Tensor | None = None,
) -> None:
    """Write heads, text embeddings and everything needed to load and repeat them.

    Args:
        path: .safetensors, replaced only once the new file is whole.
        detector: trained heads.
        encoder: of the features that it scores.
        metadata: JSON-able; kept beside encoder and recipe.
        context: float [n, W], the learned prompt tokens behind the text embeddings; kept for
            study, scoring does not need them.
    """
    from safetensors.torch import save

    about = metadata | {"encoder": asdict(encoder), "recipe": asdict(detector.recipe)}
    state = {k: v.detach().cpu().contiguous() for k, v in detector.state_dict().items()}
    if context is not None and len(context):
        state[CONTEXT] = context.contiguous()
    content = save(state, metadata={"btp": json.dumps(about)})
    write_bytes(path, content)


def load_detector(path: str | Path) -> tuple[Detector, EncoderConfig, dict[str, Any]]:
    """Read what `save_detector` wrote.

    Returns:
        The detector in eval mode, its encoder's config, and the metadata.

    Raises:
        WeightsError: if the file is not a detector of this project.
        ConfigError: if its settings are not those of this version.
    """
    detector, encoder, about, _ = _read_detector(path)
    return detector, encoder, about


def _read_detector(
    path: str | Path,
) -> tuple[Detector, EncoderConfig, dict[str, Any], Tensor | None]:
    """`load_detector`, and the learned prompt tokens [n, W] if there are any."""
    state = read_checkpoint(path)
    about = read_metadata(path)
    if about is None:
        raise WeightsError(
            f"{path}: no settings in the file's header; expected a detector that "
            "scripts/train.py wrote (the authors' best.pth: convert it with scripts/weights.py)"
        )
    encoder = build(EncoderConfig, about.pop("encoder"), f"{path}: encoder")
    detector = new_detector(encoder, build(Recipe, about.pop("recipe"), f"{path}: recipe"))
    context = state.pop(CONTEXT, None)
    first, surface = state.get("gfcm.mlp1.0.weight"), detector.recipe.gfcm_input == "surface"
    if surface and first is not None and first.shape[1] == CHANNELS + 3:
        raise WeightsError(
            f"{path}: trained when GFCM's surface input still had the points' coordinates; train "
            "again (resume=false, or remove the file)"
        )
    load_strictly(detector, state, path)
    return detector.eval(), encoder, about, context
