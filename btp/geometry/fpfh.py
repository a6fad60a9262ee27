"""FPFH descriptors (Rusu et al., ICRA 2009): the geometric target of the InfoNCE loss (Eq. 7).

A normal is estimated from the neighbours inside a radius, each pair of neighbours is described by
three angles in 11 bins each (the simplified histogram, SPFH), and the neighbours' histograms are
added weighted by 1 / squared distance. The numbers are those of Open3D, which the release takes,
but where neighbours tie in distance at the neighbour limit, or an angle lies on a bin's edge to
within rounding; they come several times faster, and on every platform.

The paper's target (switch D8) uses fixed radii on the 2,048 sampled points, where most points have
too few neighbours for a normal. `dense_fpfh` describes the same points on the raw cloud, with
radii that follow its point spacing.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from btp.errors import ConfigError, DataError
from btp.geometry.fpfh_histograms import histograms
from btp.geometry.pairs import Rows
from btp.geometry.planes import Floats

Pool = Literal["max", "mean"]

DENSE_POINTS = 8192
"""Points of the cloud on which `dense_fpfh` describes."""

# The scale of `dense_fpfh`, in units of the point spacing. Chosen on four scanned and machined
# parts with noise of 0.2 % of the radius, as the cheapest at which two scans of one place differ a
# quarter as much as two places do (5 and 10: 0.4; the fixed radii on 2,048 points: 0.5).
NORMAL_SPACINGS = 8.0
"""Radius of a point's neighbourhood for its normal."""
FEATURE_SPACINGS = 16.0
"""Radius of the neighbourhood that is described."""
NORMAL_LIMIT = 80
"""Most neighbours for the normal: more than the radius holds where points are spread at random."""
FEATURE_LIMIT = 250
"""Most neighbours that are described, likewise."""


def fpfh(
    points: NDArray[np.floating],
    normal_radius: float = 0.05,
    normal_neighbours: int = 30,
    feature_radius: float = 0.1,
    feature_neighbours: int = 100,
    *,
    rows: Rows | None = None,
) -> NDArray[np.float32]:
    """Describe every point, or those of `rows`, by its Fast Point Feature Histogram.

    Args:
        points: float [N, 3], finite. The defaults suit a cloud scaled to the unit sphere.
        normal_radius: radius of a point's neighbourhood for its normal, in the points' unit.
        normal_neighbours: at most so many nearest neighbours for the normal, the point included.
        feature_radius: radius of the neighbourhood that is described, in the points' unit.
        feature_neighbours: at most so many nearest neighbours there, the point included.
        rows: int64 [M], the points to describe; all of them if None.

    Returns:
        float32 [N, 33], or [M, 33] for `rows`: three histograms of 11 bins, each of which sums to
        200 (100 from the point, 100 from its neighbours), or to 0 for a point without neighbours.

    Raises:
        DataError: `points` is not a finite [N, 3].
        ConfigError: a radius or limit is not positive.
    """
    cloud = _checked(points)
    normal_scale = (normal_radius, normal_neighbours)
    feature_scale = (feature_radius, feature_neighbours)
    if not all(value > 0 for value in (*normal_scale, *feature_scale)):
        raise ConfigError(
            f"fpfh: (radius, neighbours) are {normal_scale} for normals and {feature_scale} for "
            "features; all must be positive"
        )
    rows = np.arange(len(cloud)) if rows is None else rows
    return histograms(cloud, rows, normal_scale, feature_scale)


def patch_fpfh(
    descriptors: NDArray[np.float32], patch_index: NDArray[np.integer], pool: Pool = "max"
) -> NDArray[np.float32]:
    """Pool the descriptors of each patch's points into the patch's target.

    Args:
        descriptors: float32 [N, 33].
        patch_index: int [G, K], rows of `descriptors`.
        pool: "max" (the release, D8) or "mean".

    Returns:
        float32 [G, 33].

    Raises:
        ConfigError: `pool` is neither.
    """
    if pool not in ("max", "mean"):
        raise ConfigError(f"patch_fpfh: pool is {pool!r}, expected 'max' or 'mean'")
    grouped = descriptors[patch_index]  # [G, K, 33]
    pooled: NDArray[np.float32] = grouped.max(axis=1) if pool == "max" else grouped.mean(axis=1)
    return pooled


def spacing(points: NDArray[np.floating]) -> float:
    """Measure the median distance from a point to its nearest other one, in the points' unit.

    Points that repeat another one are counted once, so that a scan with doubled points does not
    get a spacing of zero.

    Args:
        points: float [N, 3], finite.

    Raises:
        DataError: `points` is not a finite [N, 3], or holds fewer than two different points.
    """
    cloud = _checked(points)
    if len(cloud) > 1:
        distance, _ = cKDTree(cloud).query(cloud, k=[2])
        if distance.all():
            return float(np.median(distance))
    different = np.unique(cloud, axis=0)
    if len(different) < 2:
        raise DataError("spacing: all points are equal, expected at least two different ones")
    distance, _ = cKDTree(different).query(different, k=[2])
    return float(np.median(distance))


def dense_fpfh(
    points: NDArray[np.floating],
    sampled: Rows,
    *,
    max_points: int = DENSE_POINTS,
    seed: int = 0,
    radii: tuple[float, float] | None = None,
) -> NDArray[np.float32]:
    """Describe the sampled points by their neighbourhood in the raw cloud.

    FPFH depends on angles and on ratios of distances only, so while the radii follow the spacing
    the unit of the cloud does not matter.

    Args:
        points: float [R, 3], the raw cloud, in any unit.
        sampled: int64 [N], the rows of `points` that were sampled.
        max_points: a larger cloud is thinned at random to about this many points, of which the
            sampled ones are always part.
        seed: of the thinning.
        radii: of the neighbourhoods for normals and for features, in the points' unit; None for
            multiples of the points' spacing.

    Returns:
        float32 [N, 33].

    Raises:
        DataError: `points` is not a finite [R, 3], or all of them are equal.
    """
    if len(points) > max_points:
        drawn = np.random.default_rng(seed).choice(len(points), max_points, replace=False)
        kept = np.union1d(drawn, sampled)
        points, sampled = points[kept], np.searchsorted(kept, sampled)
    if radii is None:
        unit = spacing(points)
        radii = NORMAL_SPACINGS * unit, FEATURE_SPACINGS * unit
    return fpfh(points, radii[0], NORMAL_LIMIT, radii[1], FEATURE_LIMIT, rows=sampled)


def _checked(points: NDArray[np.floating]) -> Floats:
    if points.ndim != 2 or points.shape[1] != 3 or len(points) == 0:
        raise DataError(f"fpfh: points have shape {list(points.shape)}, expected [N, 3] with N > 0")
    cloud = np.ascontiguousarray(points, dtype=np.float64)
    if not np.isfinite(cloud).all():
        bad = int((~np.isfinite(cloud).all(axis=1)).sum())
        raise DataError(f"fpfh: {bad} of {len(cloud)} points are not finite; remove them first")
    return cloud
