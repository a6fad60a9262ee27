"""What a scan's file holds: points, faces, and remarks for whoever reads its scores."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

NO_FACES: NDArray[np.int64] = np.empty((0, 3), np.int64)
NO_FACES.flags.writeable = False


@dataclass(frozen=True)
class Content:
    """Points and faces as a file stores them.

    Attributes:
        points: float32 or float64 [R, 3], every row of the file in its order and units.
        faces: int64 [F, 3], triangles of rows; F is 0 for a cloud.
        notes: what was passed over, one phrase each.
    """

    points: NDArray[np.floating]
    faces: NDArray[np.int64] = field(default_factory=lambda: NO_FACES)
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check that every face names rows that there are."""
        faces, rows = self.faces, len(self.points)
        if len(faces) and not 0 <= faces.min() <= faces.max() < rows:
            raise ValueError(
                f"faces name the vertices {faces.min()} to {faces.max()} (from 0), "
                f"but there are {rows}"
            )


def fan(corners: list[int]) -> list[int]:
    """Split a polygon into triangles, three corners after three; fewer than three give none."""
    return [at for b, c in pairwise(corners[1:]) for at in (corners[0], b, c)]


def fans(polygons: NDArray[np.int64]) -> NDArray[np.int64]:
    """Split polygons [P, K] of K corners each into triangles [P * (K - 2), 3]."""
    sides = polygons.shape[1] - 2
    if sides < 1:
        return NO_FACES
    first = np.repeat(polygons[:, :1], sides, axis=1)
    return np.stack([first, polygons[:, 1:-1], polygons[:, 2:]], axis=2).reshape(-1, 3)
