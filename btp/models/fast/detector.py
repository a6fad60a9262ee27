"""The detector's cheaper forms: one to train, which follows its weights, and one to score."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from btp.models.detector import Detector, scores_from_patches
from btp.models.fast.gfcm import FoldedGFCM, pooled
from btp.models.fast.mgfem import FoldedMGFEM, Layer, fold, joined, layer_of
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
    return FoldedDetector(own.config, gfcm, _heads(own, direction), direction)


@dataclass(frozen=True)
class _Heads:
    """All layers of a detector behind GFCM's maximum over the patch, joined where they are linear.

    Attributes:
        mgfem: joined with the text.
        described: GFCM's layers before those that are joined; None without GFCM.
        contrasted: last layer before Eq. 7; None where the descriptor is contrasted as it is.
    """

    mgfem: FoldedMGFEM
    described: nn.Module | None
    contrasted: Layer | None

    def __call__(self, features: Features, pooled: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Return patch logits before the temperature, and what Eq. 7 contrasts.

        Args:
            features: of B clouds.
            pooled: float [B, G, 256], from GFCM's layers for points; None without GFCM.
        """
        geometry = None
        if self.described is not None and pooled is not None:
            geometry = self.described(pooled)
        logits = self.mgfem(features.taps, features.cls, geometry)
        if geometry is not None and self.contrasted is not None:
            geometry = F.linear(geometry, *self.contrasted)
        return logits, geometry


def _heads(detector: Detector, direction: Tensor) -> _Heads:
    """Join the linear layers of a detector, for logits along one direction."""
    config, phi_geo = detector.config, detector.geo_projection
    cosine = config.patch_similarity == "cosine"
    described = None if detector.gfcm is None else detector.gfcm.fc
    contrasted = None if phi_geo is None else layer_of(phi_geo)
    if described is None or contrasted is None or config.gfcm_output == "fpfh":
        return _Heads(fold(detector.mgfem, direction, cosine), described, contrasted)
    # a descriptor as wide as the texts, made of fewer values: it need not be made at all
    last = layer_of(described[-1])
    mgfem = fold(detector.mgfem, direction, cosine, last)
    return _Heads(mgfem, described[:-1], joined(contrasted, last))


@dataclass(frozen=True)
class TrainableDetector:
    """Scores like the detector that it wraps; called like it."""

    detector: Detector

    def __call__(self, features: Features, text: Tensor | None = None) -> Scores:
        """Score a batch of clouds; arguments as of `Detector.forward`."""
        own = self.detector
        direction = own.direction(text)
        kind = own.config.gfcm_input
        shapes = None if own.gfcm is None else pooled(own.gfcm, features, kind)
        logits, geometry = _heads(own, direction)(features, shapes)
        logits = logits / own.config.patch_temperature
        return scores_from_patches(own.config, features, logits, direction, geometry)


@dataclass(frozen=True)
class FoldedDetector:
    """What is left of a detector whose weights and text are fixed; called like it, without text.

    Attributes:
        config: switches.
        gfcm: None where the config has none.
        heads: all that follows on GFCM's maximum over the patch, joined with the text.
        direction: float [D], anomalous less normal text embedding.
    """

    config: DetectorConfig
    gfcm: FoldedGFCM | None
    heads: _Heads
    direction: Tensor

    @torch.no_grad()
    def __call__(self, features: Features) -> Scores:
        """Score a batch of clouds on the detector's device."""
        kind = self.config.gfcm_input
        shapes = None if self.gfcm is None else self.gfcm.pooled(features, kind)
        logits, geometry = self.heads(features, shapes)
        logits = logits / self.config.patch_temperature
        return scores_from_patches(self.config, features, logits, self.direction, geometry)
