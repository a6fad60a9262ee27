"""Several samplings of one cloud, so that every raw point is near a sampled one.

One sampling of 2,048 points leaves gaps, however dense the scan: a defect that lies in one is seen
by the points around it only. More points in one sampling would be others than the encoder knows, so
further samplings of the same size fill the gaps, and each is scored like a scan of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from btp.data.prepare import sample
from btp.errors import ConfigError
from btp.geometry.neighbours import nearest_rows
from btp.types import Prepared

Coverage = Literal["sampled", "dense"]
COVERAGES: tuple[Coverage, ...] = get_args(Coverage)
SAMPLINGS = 4
"""Samplings of coverage "dense"; one more halves no gap, and costs as much as one before it."""
SEEN = 95
"""Percentile of the raw points' distances to the sampled ones that is called their spacing."""


@dataclass(frozen=True)
class Samplings:
    """V samplings of N points of a cloud of R points.

    Attributes:
        points: float32 [V, N, 3], in the unit sphere.
        nearest: int32 [V, R], in each sampling the row of the point nearest to each raw point.
        spacing: 95 % of the raw points lie this near to a point of some sampling; in the cloud's
            own units.
    """

    points: NDArray[np.float32]
    nearest: NDArray[np.int32]
    spacing: float


def cover(prepared: Prepared, coverage: Coverage, seed: int = 0) -> Samplings:
    """Sample a cloud again where its sampling left gaps.

    Each further sampling takes its points, as far from one another as can be, from that half of the
    raw points that lies farthest from all points taken before.

    Args:
        prepared: a cloud with its first sampling.
        coverage: "sampled" keeps that one alone; "dense" adds to it, as long as there are raw
            points that were not taken.
        seed: of the further samplings.

    Raises:
        ConfigError: if `coverage` is neither.
    """
    if coverage not in COVERAGES:
        raise ConfigError(f"coverage is {coverage!r}; expected {' or '.join(COVERAGES)}")
    dense, count = prepared.dense, len(prepared.points)
    points, nearest = [prepared.points], [np.asarray(prepared.nearest, np.int32)]
    gap = _distance(dense, points[0], nearest[0])
    most = min(SAMPLINGS, -(-len(dense) // count)) if coverage == "dense" else 1
    for number in range(1, most):
        far = min(len(dense), max(2 * count, len(dense) // 2))
        rows = np.sort(np.argpartition(-gap, far - 1)[:far])
        rows = rows[sample(dense[rows], count, np.random.default_rng([seed, number]))]
        points.append(dense[rows])
        nearest.append(nearest_rows(dense, dense[rows]))
        gap = np.minimum(gap, _distance(dense, points[-1], nearest[-1]))
    spacing = float(np.percentile(gap, SEEN)) * prepared.scale
    return Samplings(np.stack(points), np.stack(nearest), spacing)


def _distance(
    dense: NDArray[np.float32], points: NDArray[np.float32], nearest: NDArray[np.int32]
) -> NDArray[np.float32]:
    gap: NDArray[np.float32] = np.linalg.norm(dense - points[nearest], axis=1)
    return gap
