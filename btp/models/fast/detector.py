"""The detector's cheaper forms: one to train, which follows its weights, and one to score."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor

from btp.models.detector import Detector, scores_from_patches
from btp.models.fast.gfcm import FoldedGFCM, describe
from btp.models.fast.mgfem import FoldedMGFEM, fold
from btp.recipe import DetectorConfig
from btp.types import Features, Scores

Scorer = Callable[..., Scores]


def for_training(detector: Scorer) -> Scorer:
    """Return a cheaper form of a detector that computes with its weights, gradients included.

    What has no cheaper form is returned as it is.
    """
    return TrainableDetector(detector) if isinstance(detector, Detector) else detector


@torch.no_grad()
def for_scoring(detector: Scorer) -> Scorer:
    """Return a detector's scoring alone: the same scores, to rounding, in a fraction of the work.

    It has copies of the weights, and does not follow later changes of the detector's. What has no
    cheaper form is returned as it is.

    Raises:
        ConfigError: if no text embeddings were ever set.
    """
    if not isinstance(detector, Detector):
        return detector
    own = deepcopy(detector)
    direction = own.direction()
    gfcm = None if own.gfcm is None else FoldedGFCM(own.gfcm)
    return FoldedDetector(own.config, gfcm, fold(own.mgfem, direction), direction)


@dataclass(frozen=True)
class TrainableDetector:
    """Scores like the detector that it wraps; called like it."""

    detector: Detector

    def __call__(self, features: Features, text: Tensor | None = None) -> Scores:
        """Score a batch of clouds; arguments as of `Detector.forward`."""
        own = self.detector
        direction = own.direction(text)
        geometry = None
        if own.gfcm is not None:
            geometry = describe(own.gfcm, features, own.config.gfcm_input)
        logits = fold(own.mgfem, direction)(features.taps, features.cls, geometry)
        logits = logits / own.config.patch_temperature
        return scores_from_patches(own.config, features, logits, direction, geometry)


@dataclass(frozen=True)
class FoldedDetector:
    """What is left of a detector whose weights and text are fixed; called like it, without text.

    Attributes:
        config: switches.
        gfcm: None where the config has none.
        mgfem: joined with the text.
        direction: float [D], anomalous less normal text embedding.
    """

    config: DetectorConfig
    gfcm: FoldedGFCM | None
    mgfem: FoldedMGFEM
    direction: Tensor

    @torch.no_grad()
    def __call__(self, features: Features) -> Scores:
        """Score a batch of clouds on the detector's device."""
        geometry = None
        if self.gfcm is not None:
            geometry = self.gfcm.describe(features, self.config.gfcm_input)
        logits = self.mgfem(features.taps, features.cls, geometry) / self.config.patch_temperature
        return scores_from_patches(self.config, features, logits, self.direction, geometry)
