"""The anomalous regions of a cloud, and a raw cloud's labels condensed onto its sampled points."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from btp.errors import DataError
from btp.metrics.checks import check_labels, check_points, check_region_ids
from btp.runtime.threads import shared_cores

NEIGHBOURS = 6
"""Anomalous neighbours whose distance says how dense the anomalous points lie."""
REACH = 2.5
"""Points are connected if within this many median neighbour distances."""


def regions(points: ArrayLike, labels: ArrayLike, name: str = "cloud") -> NDArray[np.int32]:
    """Number the connected anomalous regions of one cloud.

    Two anomalous points are connected if at most 2.5 times as far apart as the median distance
    between an anomalous point and its 6 nearest anomalous neighbours. If duplicates make that
    median 0, the median of the positive distances takes its place. One anomalous point, or several
    on one spot, are one region.

    Args:
        points: [R, 3] finite coordinates, any unit.
        labels: [R] bool or 0/1, True where anomalous.
        name: What an error calls this cloud.

    Returns:
        int32 [R]: 0 where normal, else 1, 2, … in the order of each region's first point.

    Raises:
        DataError: Shapes differ, a label is not 0 or 1, or a coordinate is not finite.

    >>> line = np.zeros((16, 3))
    >>> line[:, 0] = [0, 1, 2, 3, 4, 5, 6, 7, 80, 81, 82, 83, 84, 85, 86, 87]
    >>> regions(line, [1] * 15 + [0]).tolist()
    [1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 0]
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components
    from scipy.spatial import KDTree

    anomalous = check_labels(labels, name)
    found = check_points(points, len(anomalous), name)[anomalous].astype(np.float64)
    ids = anomalous.astype(np.int32)
    if len(found) < 2:
        return ids
    tree = KDTree(found)
    # The nearest is the point itself, or a duplicate of it at the same distance 0.
    with shared_cores() as workers:
        near = tree.query(found, k=min(NEIGHBOURS + 1, len(found)), workers=workers)
    distances = near[0][:, 1:]
    spacing = np.median(distances)
    if spacing == 0 and distances.any():
        spacing = np.median(distances[distances > 0])
    ends = tree.query_pairs(REACH * spacing, output_type="ndarray").T
    edges = coo_array((np.ones(ends.shape[1], bool), ends), shape=(len(found), len(found)))
    ids[anomalous] = connected_components(edges, directed=False)[1] + 1
    return ids


def region_shares(region_ids: NDArray[np.integer]) -> NDArray[np.float64]:
    """Weigh each anomalous point by the share of its region that it is: 1 / the region's points.

    Args:
        region_ids: [R] integers, 0 where normal.

    Returns:
        float64, one for each id > 0, in their order. They sum to the number of regions.
    """
    found = region_ids[region_ids > 0].astype(np.intp)
    shares: NDArray[np.float64] = 1.0 / np.bincount(found)[found]
    return shares


@dataclass(frozen=True, eq=False)
class PointCounts:
    """The labels of a raw cloud, counted at the nearest of its N sampled points.

    A raw point takes the score of its nearest sampled point, so a raw cloud holds only N distinct
    scores, and these counts are all that its metrics need besides.

    Attributes:
        normal: int64 [N], the normal raw points whose nearest sampled point is this one.
        anomalous: int64 [N], the anomalous ones.
        overlap: float64 [N], summed over all regions: the share of the region that is among them.
    """

    normal: NDArray[np.int64]
    anomalous: NDArray[np.int64]
    overlap: NDArray[np.float64]


def count_points(nearest: ArrayLike, region_ids: ArrayLike, size: int) -> PointCounts:
    """Count the labels of a raw cloud at its sampled points.

    Args:
        nearest: integer [R], the row of the sampled point whose score each raw point takes.
        region_ids: integer [R], the regions of the raw cloud as `regions` returns them.
        size: N, the number of sampled points.

    Raises:
        DataError: Lengths differ, a row is not in 0..N-1, or an id is negative or no integer.

    >>> counts = count_points([0, 0, 1, 2], [0, 1, 1, 2], size=3)
    >>> counts.normal.tolist(), counts.anomalous.tolist(), counts.overlap.tolist()
    ([1, 0, 0], [1, 1, 1], [0.5, 0.5, 1.0])
    """
    ids, rows = check_region_ids(region_ids, "raw cloud"), np.asarray(nearest)
    if rows.shape != ids.shape or rows.dtype.kind not in "iu":
        raise DataError(
            f"nearest has the shape {rows.shape} and type {rows.dtype} for {len(ids)} region ids; "
            "expected one integer row for each. Take both from the same raw cloud."
        )
    if rows.min() < 0 or rows.max() >= size:
        raise DataError(
            f"nearest holds rows {rows.min()} to {rows.max()}; expected 0 to {size - 1}, the rows "
            "of the sampled cloud. Prepare the cloud again."
        )
    anomalous, rows = ids > 0, rows.astype(np.intp, copy=False)
    return PointCounts(
        normal=np.bincount(rows[~anomalous], minlength=size),
        anomalous=np.bincount(rows[anomalous], minlength=size),
        overlap=np.bincount(rows[anomalous], region_shares(ids), size).astype(np.float64),
    )
