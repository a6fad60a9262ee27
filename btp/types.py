"""The values that are handed from one room of the program to the next, from file to score.

Shapes: N points, G patches of K points, L taps, C encoder width, D text width, B clouds in a batch,
R points of the raw cloud.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

N_POINTS = 2048
"""Points sampled from each scan, unless a setting says otherwise (paper, Sec. 4.2)."""
ALONE = "alone"
"""How a scan is judged that is compared with no other."""


@dataclass(frozen=True)
class Sample:
    """One entry of a dataset's listing: where a cloud lies, and what is known before reading."""

    category: str
    split: str  # "train" (normal only) or "test"
    name: str  # file stem, unique within category and split
    path: Path
    label_path: Path | None  # point labels of a defective scan; None for a normal one
    is_anomalous: bool


@dataclass(frozen=True)
class Cloud:
    """A point cloud as it was read: nothing sampled, nothing normalised, every point finite.

    Attributes:
        points: float32 or float64 [R, 3], in the file's units.
        labels: bool [R], True where defective; None where unknown.
        category: category name, "" where unknown.
        name: file stem.
    """

    points: NDArray[np.floating]
    labels: NDArray[np.bool_] | None = None
    category: str = ""
    name: str = ""


@dataclass(frozen=True)
class Prepared:
    """A cloud normalised to the unit sphere and sampled, with the way back to every raw point.

    Attributes:
        points: float32 [N, 3], sampled, centred on the raw mean, largest raw distance 1.
        rows: int64 [N], raw row of each sampled point; a row occurs twice only if `repeated`.
        nearest: int32 [R], sampled point (0..N-1) nearest to each raw point.
        dense: float32 [R, 3], all raw points, normalised alike.
        labels: bool [R] of the raw points; None where unknown.
        centre: float64 [3] and scale: float, raw = dense * scale + centre.
        repeated: the raw cloud had fewer than N points, so rows were sampled with repetition.
    """

    points: NDArray[np.float32]
    rows: NDArray[np.int64]
    nearest: NDArray[np.int32]
    dense: NDArray[np.float32]
    labels: NDArray[np.bool_] | None
    centre: NDArray[np.float64]
    scale: float
    repeated: bool


@dataclass(frozen=True)
class Features:
    """The frozen encoder's output for a batch of clouds: all that a detector ever sees of them.

    Attributes:
        points: float [B, N, 3].
        patch_index: int64 [B, G, K], rows of each patch's points, the centre first.
        taps: float [B, L, G, C], patch tokens after the tapped blocks, each L2-normalised.
        cls: float [B, C], CLS token after the final norm, L2-normalised.
        object_embedding: float [B, D], L2-normalised.
        surface: float [B, N, F], surface channels of each point, which tell its local geometry
            (`btp.geometry.local_geometry.surface_channels`); None where nothing uses them.
        fpfh: float [B, G, 33], the geometric target of each patch (Eq. 7); None outside training.
        point_fpfh: float [B, N, 33], FPFH of each point on the dense cloud; None where no baseline
            compares it.
    """

    points: torch.Tensor
    patch_index: torch.Tensor
    taps: torch.Tensor
    cls: torch.Tensor
    object_embedding: torch.Tensor
    surface: torch.Tensor | None = None
    fpfh: torch.Tensor | None = None
    point_fpfh: torch.Tensor | None = None

    def map(self, f: Callable[[torch.Tensor], torch.Tensor]) -> Features:
        """Apply `f` to every tensor: move to a device, cast, or index the batch."""
        given = {k: v for k, v in vars(self).items() if v is not None}
        return Features(**{name: f(value) for name, value in given.items()})

    @staticmethod
    def stack(clouds: Sequence[Features]) -> Features:
        """Join batches of clouds along B."""
        given = [name for name, value in vars(clouds[0]).items() if value is not None]
        return Features(**{name: torch.cat([getattr(c, name) for c in clouds]) for name in given})


@dataclass(frozen=True)
class Scores:
    """A detector's scores of a batch of clouds.

    Attributes:
        patch_logits: float [B, G].
        point_logits: float [B, N], mean over the patches that hold the point.
        point_scores: float [B, N], in 0..1.
        object_logits: float [B], Eq. 6 as it is trained.
        object_scores: float [B], in 0..1, by the recipe's rule.
        geometry: float [B, G, 33], GFCM's descriptors (Eq. 2); None without GFCM.
    """

    patch_logits: torch.Tensor
    point_logits: torch.Tensor
    point_scores: torch.Tensor
    object_logits: torch.Tensor
    object_scores: torch.Tensor
    geometry: torch.Tensor | None = None


@dataclass(frozen=True)
class Prediction:
    """A detector's scores of one scan.

    Attributes:
        name: the scan's path, "" for an array.
        point_scores: float32 [R], in 0..1, in the order of the scan's points; nan for rows that
            are no measured points: not finite, or holes that the scanner marked by (0, 0, 0).
        object_score: in 0..1; higher means more likely defective.
        repeated: the scan had fewer points than are sampled, so it was sampled with repetition.
        spacing: 95 % of the scan's points lie this near to one that the model saw, in the scan's
            units. A defect that is not several times as wide can be missed.
        judged: by what: "alone", "together with 23 scans", "against 4 good scans", or both.
    """

    name: str
    point_scores: NDArray[np.float32]
    object_score: float
    repeated: bool
    spacing: float
    judged: str = ALONE
