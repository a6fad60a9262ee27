"""Normals of a dense cloud that agree along the surface and point outward.

Unlike `btp.geometry.normals`, whose signs are those of its eigensolver, these are made consistent
by a spanning tree (Hoppe et al. 1992, "Surface reconstruction from unorganized points") and turned
outward at the extreme points.
"""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import breadth_first_order, connected_components, minimum_spanning_tree
from scipy.spatial import cKDTree

from btp.geometry.eigen import Symmetric, null_vectors, spectrum
from btp.runtime.batches import batches

NORMAL_NEIGHBOURS = 16
"""Nearest points, the point itself included, whose plane gives the normal."""
TREE_NEIGHBOURS = 8
"""Nearest other points that a point is linked to in the graph of the spanning tree."""
CHUNK = 512
"""Points described at once: their neighbours stay in the cache."""


def oriented_normals(cloud: np.ndarray, tree: cKDTree | None = None) -> np.ndarray:
    """Estimate unit normals that are consistent along the surface and point outward.

    Args:
        cloud: float32 [R, 3], R >= 16.
        tree: over the cloud, where there is one.

    Returns:
        float32 [R, 3].
    """
    tree = tree or cKDTree(cloud)
    planes = np.ascontiguousarray(cloud.T)
    index = tree.query(cloud, NORMAL_NEIGHBOURS)[1]
    normals = np.concatenate(
        [
            principal_axes(neighbour_offsets(planes, planes[:, chunk], index[chunk]))[1]
            for chunk in batches(len(cloud), CHUNK)
        ],
        axis=1,
    )
    return np.asarray(normals * _signs(planes, normals, index[:, 1 : TREE_NEIGHBOURS + 1])).T


def neighbour_offsets(planes: np.ndarray, at: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Subtract points `at` [3, M] from their neighbours [M, k] in a cloud [3, R]: [3, k, M].

    One plane a coordinate, and neighbours first: NumPy is slow on rows of three and on sums along
    the last axis, and the nearest k are the first rows, whatever k.
    """
    return np.asarray(planes[:, index.T] - at[:, None])


def principal_axes(offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Analyse each point's neighbourhood into principal components.

    Args:
        offsets: float32 [3, k, M], see `neighbour_offsets`.

    Returns:
        float32 [3, M] each: the variances along the axes, rising; the unit normal, which is the
        axis of the least; and the centroid.
    """
    centroid = offsets.mean(1)
    x, y, z = offsets - centroid[:, None]
    size = offsets.shape[1]
    products = ((x, x), (x, y), (x, z), (y, y), (y, z), (z, z))
    covariance = Symmetric(*(sum_products(a, b).astype(np.float64) / size for a, b in products))
    values = np.stack(spectrum(covariance).values())
    normal = np.stack(null_vectors(covariance.minus(values[0])))
    return np.maximum(values, 0).astype(np.float32), normal.astype(np.float32), centroid


def sum_products(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Multiply two arrays [k, ...] and sum over the first axis."""
    return np.asarray(np.einsum("k...,k...->...", a, b))


def _signs(planes: np.ndarray, normals: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Factor +1 or -1 [R] for normals [3, R]: alike over the neighbour tree, outward in sum."""
    count, degree = index.shape
    gap = neighbour_offsets(planes, planes, index)
    gap /= np.sqrt(sum_products(gap, gap)) + 1e-12
    there = normals[:, index.T]
    cosine = np.abs(np.einsum("ikm,im->km", there, normals))
    rise = np.maximum(abs(np.einsum("ikm,im->km", gap, normals)), abs(sum_products(there, gap)))
    # Neighbours across a thin wall are parallel too, but lie off the tangent plane.
    cost = 1.001 - cosine + rise
    starts = np.arange(0, count * degree + 1, degree)
    graph = csr_matrix((cost.T.ravel(), index.ravel(), starts), shape=(count, count))
    tree = minimum_spanning_tree(graph)
    components, component = connected_components(tree, directed=False)
    parent = np.arange(count)
    for root in np.unique(component, return_index=True)[1]:
        order, before = breadth_first_order(tree, root, directed=False)
        parent[order[1:]] = before[order[1:]]
    sign = np.where(sum_products(normals, normals[:, parent]) < 0, -1.0, 1.0)
    while (parent != parent[parent]).any():  # pointer jumping: log2(depth) rounds
        sign, parent = sign * sign[parent], parent[parent]
    outward = _outward(planes, normals * sign, component, components)
    return np.asarray(sign * outward[component], np.float32)


def _outward(
    planes: np.ndarray, normals: np.ndarray, component: np.ndarray, components: int
) -> np.ndarray:
    """Sign [C] of each connected component that turns its normals outward at its extreme points."""
    away = planes - planes.mean(1, keepdims=True)
    weight = sum_products(away, away) ** 4  # the outermost points face outward for certain
    vote = np.bincount(component, weight * sum_products(normals, away), components)
    return np.where(vote < 0, -1.0, 1.0)
