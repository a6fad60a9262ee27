"""Normals of a point cloud from the neighbours inside a radius, with the signs of their solver."""

from __future__ import annotations

import numpy as np
from scipy import sparse
from scipy.spatial import cKDTree

from btp.geometry.eigen import smallest_eigenvectors
from btp.geometry.pairs import (
    CHUNK,
    Mask,
    Pairs,
    few_enough,
    neighbours_within,
    pairs_within,
)
from btp.geometry.planes import Floats

MANY = 16
"""Neighbours from which their covariance may be summed in any order: see `_order_matters`."""


def estimate_normals(
    tree: cKDTree, radius: float, limit: int, pairs: Pairs | None = None
) -> Floats:
    """Estimate unit normals [N, 3], the direction of least variance among the neighbours.

    Their signs are not made consistent over the surface; they are those of `smallest_eigenvectors`.
    A point with fewer than three neighbours, itself included, gets (0, 0, 1), as in Open3D.

    Args:
        tree: over the cloud [N, 3].
        radius: as in `neighbours_within`.
        limit: as in `neighbours_within`.
        pairs: the result of `pairs_within` for these, where it is known.
    """
    covariance, listed = np.empty((tree.n, 3, 3)), np.arange(tree.n)
    if pairs is None and few_enough(tree, radius):
        pairs = pairs_within(tree, radius, limit)
    if pairs is not None:
        covariance, mean, count = _covariances_of_pairs(tree, pairs)
        listed = np.flatnonzero(_order_matters(mean, count, radius))
    for start in range(0, len(listed), CHUNK):
        rows = listed[start : start + CHUNK]
        index, valid = neighbours_within(tree, rows, radius, limit)
        covariance[rows] = _covariances(tree.data[index], valid)
    parts = range(0, tree.n, CHUNK)
    return np.concatenate([smallest_eigenvectors(covariance[i : i + CHUNK]) for i in parts])


def _covariances_of_pairs(tree: cKDTree, pairs: Pairs) -> tuple[Floats, Floats, Floats]:
    """Covariance [N, 3, 3], mean [N, 3] and number [N] of each point's neighbours and itself."""
    n, points = tree.n, tree.data
    rows, others, _ = pairs.directed(np.ones(n, dtype=bool))
    x, y, z = points.T
    values = np.stack([x * x, x * y, x * z, y * y, y * z, z * z, x, y, z, np.ones(n)], axis=1)
    near = sparse.coo_array((np.ones(len(rows)), (rows, others)), shape=(n, n))
    moments = near @ values + values  # [N, 10]
    count = moments[:, 9].copy()
    moments /= count[:, None]
    mean = moments[:, 6:9]
    products = moments[:, [0, 1, 2, 1, 3, 4, 2, 4, 5]].reshape(n, 3, 3)
    return products - mean[:, :, None] * mean[:, None, :], mean, count


def _order_matters(mean: Floats, count: Floats, radius: float) -> Mask:
    """Whether rounding could decide for a point [N]: few neighbours, or all those of another.

    Points with the same neighbours are known by the mean [N, 3] of those, along one direction.
    """
    along = mean @ np.sqrt([1.0, 2.0, 3.0])
    order = along.argsort()
    equal = np.diff(along[order]) < 1e-9 * radius
    found = count < MANY
    found[order[:-1][equal]] = True
    found[order[1:][equal]] = True
    return found


def _covariances(near: Floats, valid: Mask) -> Floats:
    """Covariance [M, 3, 3] of each row's valid points; identity for fewer than three.

    E[xy] - E[x]E[y], summed in the order of the neighbours: in sparse clouds points share the same
    three neighbours, their normals are parallel, and the last bit decides between the two of them
    in `btp.geometry.fpfh`. Any better-conditioned formula would decide otherwise than Open3D.
    """
    count = valid.sum(axis=1)
    moments = np.zeros((len(near), 3, 4))  # of x, y, z with x, y, z, 1
    for k in range(near.shape[1]):
        point = near[:, k] * valid[:, k, None]
        moments[:, :, :3] += point[:, :, None] * point[:, None, :]
        moments[:, :, 3] += point
    moments /= count[:, None, None]
    mean = moments[:, :, 3]
    covariance = moments[:, :, :3] - mean[:, :, None] * mean[:, None, :]
    covariance[count < 3] = np.eye(3)
    return covariance
