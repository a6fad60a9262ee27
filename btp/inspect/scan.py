"""A scan before and after scoring: its samplings, and their scores averaged."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from btp.data.reading import RawScan
from btp.errors import DataError
from btp.types import ALONE


@dataclass(frozen=True)
class ReadyScan:
    """A scan prepared for the encoder: V samplings of N points each.

    Attributes:
        scan: as it was read.
        points: float32 [V, N, 3], sampled from the surface, in the unit sphere.
        channels: float32 [V, N, F] of `btp.geometry.local_geometry`; None if the detector does not
            use them.
        surface_rows: int32 [V, M], row of the nearest sampled point to each of `scan.judged`.
        valid_rows: int [V, P], row of the nearest sampled point to each of the P valid points.
        repeated: M < N, so points were sampled with repetition.
        spacing: as in `Prediction`.
        scale: that the surface was divided by, in the scan's units.
    """

    scan: RawScan
    points: NDArray[np.float32]
    channels: torch.Tensor | None
    surface_rows: NDArray[np.integer]
    valid_rows: NDArray[np.integer]
    repeated: bool
    spacing: float
    scale: float


@dataclass(frozen=True)
class ScoredScan:
    """A scan with the scores that a detector gave it.

    Attributes:
        scan: as it was read.
        object_score: in 0..1.
        point_scores: float32 [R], in 0..1; nan at rows that are not valid.
        surface_scores: float32 [M], of the points of `scan.judged`.
        repeated, spacing: as in `ReadyScan`.
        judged: as in `Prediction`.
        group: of scans of one part that it was judged with; "" for none.
    """

    scan: RawScan
    object_score: float
    point_scores: NDArray[np.float32]
    surface_scores: NDArray[np.float32]
    repeated: bool
    spacing: float
    judged: str = ALONE
    group: str = ""


def average_samplings(
    ready: ReadyScan,
    objects: NDArray[np.float32],
    values: NDArray[np.float32],
    judged: str = ALONE,
) -> ScoredScan:
    """Average a scan's scores over its samplings and carry them to all its points.

    Args:
        ready: the scan.
        objects: object scores [V].
        values: point scores [V, N].
        judged: as in `Prediction`.

    Raises:
        DataError: if a score is not finite.
    """
    scan = ready.scan
    if not (np.isfinite(values).all() and np.isfinite(objects).all()):
        raise DataError(
            f"{scan.name or 'the scan'}: the model gives no finite score for it, so its shape is "
            "none it can judge; look at the scan, and report it with the file if it is sound"
        )
    point_scores = np.full(len(scan.points), np.nan, np.float32)
    point_scores[scan.valid] = _mean(values, ready.valid_rows)
    surface_scores = _mean(values, ready.surface_rows)
    return ScoredScan(
        scan=scan,
        object_score=float(objects.mean()),
        point_scores=point_scores,
        surface_scores=surface_scores,
        repeated=ready.repeated,
        spacing=ready.spacing,
        judged=judged,
    )


def _mean(values: NDArray[np.float32], rows: NDArray[np.integer]) -> NDArray[np.float32]:
    """Average `values` [V, N] at `rows` [V, R] over V: [R]; one sampling at a time, for memory."""
    total = values[0][rows[0]]
    for each, at in zip(values[1:], rows[1:], strict=True):
        total += each[at]
    return total / np.float32(len(values))
