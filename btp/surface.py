"""Local geometry of a dense cloud, read at chosen points: the channels beside xyz.

A 2,048-point sample has lost the fine surface; the raw scan has not. For each chosen point this
module summarises its neighbourhood in the dense cloud at several sizes. Every channel is free of
pose and scale. The sign of the normal is made consistent by a spanning tree (Hoppe et al. 1992,
"Surface reconstruction from unorganized points") and turned outward at the extreme points.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import breadth_first_order, connected_components, minimum_spanning_tree
from scipy.spatial import cKDTree

from btp.errors import DataError

NEIGHBOURS = (16, 48, 128)
MAX_DENSE = 16_384
NORMAL_NEIGHBOURS = 16
TREE_NEIGHBOURS = 8

SCALE_CHANNELS = (
    "elongation",  # 1 - s2/s1, s = square roots of the PCA eigenvalues, largest first
    "thickness",  # log(0.01 + s3 / radius)
    "offset",  # asinh(20 (centroid - point) . normal / radius): > 0 in a hollow, < 0 on a bump
    "drift",  # root of |tangential part of centroid - point| / radius: open borders
    "skew",  # asinh(20 cube root of the third moment of the heights over the normal / radius)
    "top",  # asinh(20 highest neighbour over the tangent plane / radius)
    "bottom",  # asinh(20 lowest neighbour / radius)
    "crease",  # log(0.001 + 1 - mean |cosine| of the neighbours' normals and the point's own)
    "spacing",  # log(radius / median radius of all queries)
)
"""Measured at each neighbourhood size. Long-tailed quantities are compressed, and all are shifted
and scaled by `_LEVEL` and `_SPREAD` to about zero mean and unit spread over the corpus."""

CROSS_CHANNELS = ("step", "tilt")
"""Between two sizes that follow each other: asinh(20 height of the smaller centroid over the larger
plane / larger radius); log(0.001 + 1 - |cosine| of both PCA normals)."""

_LEVEL = np.array([0.2, -2.4, -0.7, 0.3, -0.6, 1.3, -2.2, -3.3, 0.0], np.float32)
_SPREAD = np.array([0.1, 0.8, 1.2, 0.12, 1.2, 1.0, 1.0, 1.7, 0.2], np.float32)
_CROSS_LEVEL = np.array([0.7, -5.0], np.float32)
_CROSS_SPREAD = np.array([0.85, 1.7], np.float32)


def channel_names(neighbours: tuple[int, ...] = NEIGHBOURS) -> list[str]:
    """Names of the channels of `surface_features`, in their order."""
    names = [f"{name}{k}" for k in neighbours for name in SCALE_CHANNELS]
    return names + [f"{name}{a}_{b}" for a, b in pairwise(neighbours) for name in CROSS_CHANNELS]


CHANNELS = 2 * len(channel_names())
"""Of `surface_channels`."""


def surface_features(
    dense: np.ndarray,
    queries: np.ndarray,
    neighbours: tuple[int, ...] = NEIGHBOURS,
    max_dense: int = MAX_DENSE,
) -> np.ndarray:
    """Describe the surface of `dense` around each query point.

    A cloud of more than `max_dense` points is thinned at random (but always alike), so that k
    neighbours cover about the same share of the object at any scan density. In a cloud of fewer
    than k points the neighbourhood is the whole cloud.

    Args:
        dense: [R, 3] the raw cloud, any units, R >= 16.
        queries: int [N] rows of `dense`, or float [N, 3] points on or near it.
        neighbours: sizes of the neighbourhoods, ascending.
        max_dense: most points of `dense` that are used.

    Returns:
        float32 [N, F], channels as `channel_names(neighbours)`. Rigid motion and scaling of the
        cloud leave them as they are, up to rounding.

    Raises:
        DataError: `dense` has another shape, fewer than 16 points, or no extent.
    """
    points = np.asarray(dense, np.float64)
    if points.ndim != 2 or points.shape[1] != 3 or len(points) < NORMAL_NEIGHBOURS:
        raise DataError(
            f"the dense cloud has shape {points.shape}; expected [R, 3] with at least "
            f"{NORMAL_NEIGHBOURS} rows: give the raw scan"
        )
    queries = np.asarray(queries)
    at = points[queries] if queries.ndim == 1 else queries.astype(np.float64)
    centre, extent = points.mean(0), np.ptp(points, axis=0).max()
    if not extent > 0:
        raise DataError("all points of the dense cloud are equal: a surface is needed")
    cloud = ((thin(points, max_dense) - centre) / extent).astype(np.float32)
    at = ((at - centre) / extent).astype(np.float32)
    tree = cKDTree(cloud)
    normals = oriented_normals(cloud, tree)
    sizes = tuple(min(size, len(cloud)) for size in neighbours)
    distance, index = tree.query(at, sizes[-1])
    return _channels(cloud, normals, at, distance.astype(np.float32), index, sizes)


def contrast(features: np.ndarray) -> np.ndarray:
    """How each point differs from the rest of its own cloud: float32 [N, F] from [N, F].

    The channel's mean over the cloud is taken off and its spread, plus 0.2 of the usual one,
    divided out: a rough skin raises `crease` everywhere, and only what is rougher still stands out.
    """
    spread = features.std(0) + 0.2
    return np.asarray((features - features.mean(0)) / spread, np.float32)


def surface_channels(dense: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """What encoder and GFCM read of each point: its surface features, and their contrast.

    Args:
        dense: [R, 3], as in `surface_features`.
        queries: as in `surface_features`: all sampled points, since contrast compares them.

    Returns:
        float32 [N, `CHANNELS`].
    """
    features = surface_features(dense, queries)
    return np.concatenate([features, contrast(features)], axis=1)


def thin(points: np.ndarray, most: int) -> np.ndarray:
    """`most` rows of `points` [R, 3], chosen at random but always the same; all if R <= most."""
    if len(points) <= most:
        return points
    return points[np.random.default_rng(0).choice(len(points), most, replace=False)]


def oriented_normals(cloud: np.ndarray, tree: cKDTree | None = None) -> np.ndarray:
    """Unit normals of `cloud` [R, 3], consistent along the surface and outward: float32 [R, 3]."""
    tree = tree or cKDTree(cloud)
    index = tree.query(cloud, NORMAL_NEIGHBOURS)[1]
    normals = _pca(cloud[index] - cloud[:, None])[1]
    signs = _signs(cloud, normals, index[:, 1 : TREE_NEIGHBOURS + 1])
    return np.asarray(normals * signs[:, None])


def _pca(offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ascending eigenvalues [M, 3], normals [M, 3] and centroids [M, 3] of offsets [M, k, 3]."""
    centroid = offsets.mean(1)
    x, y, z = np.moveaxis(offsets - centroid[:, None], 2, 0)
    size = offsets.shape[1]
    pairs = ((x, x), (y, y), (z, z), (x, y), (x, z), (y, z))
    xx, yy, zz, xy, xz, yz = (
        np.einsum("mk,mk->m", a, b).astype(np.float64) / size for a, b in pairs
    )
    # Closed form of a symmetric 3x3 (Smith 1961): ten times faster than LAPACK on many small ones.
    mean = (xx + yy + zz) / 3
    a, b, c = xx - mean, yy - mean, zz - mean
    spread = np.sqrt((a * a + b * b + c * c + 2 * (xy**2 + xz**2 + yz**2)) / 6) + 1e-30
    det = a * (b * c - yz * yz) - xy * (xy * c - yz * xz) + xz * (xy * yz - b * xz)
    angle = np.arccos(np.clip(det / (2 * spread**3), -1, 1)) / 3
    high = mean + 2 * spread * np.cos(angle)
    low = mean + 2 * spread * np.cos(angle + 2 * np.pi / 3)
    values = np.maximum(np.stack([low, 3 * mean - high - low, high], 1), 0)
    rows = np.stack([xx - low, xy, xz, xy, yy - low, yz, xz, yz, zz - low], 1).reshape(-1, 3, 3)
    # The eigenvector is normal to the rows of A - low I; the longest cross product is the stablest.
    crosses = np.cross(rows[:, [0, 0, 1]], rows[:, [1, 2, 2]])
    lengths = np.linalg.norm(crosses, axis=2)
    best = lengths.argmax(1)
    each = np.arange(len(best))
    normal = crosses[each, best] / np.maximum(lengths[each, best], 1e-30)[:, None]
    return values.astype(np.float32), normal.astype(np.float32), centroid


def _signs(cloud: np.ndarray, normals: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Factor +1 or -1 [R] for each normal: consistent over the neighbour tree, outward in sum."""
    count, degree = index.shape
    near = np.repeat(np.arange(count), degree)
    far = index.ravel()
    gap = cloud[far] - cloud[near]
    gap /= np.linalg.norm(gap, axis=1, keepdims=True) + 1e-12
    cosine = np.einsum("ij,ij->i", normals[near], normals[far])
    rise = np.maximum(*(np.abs(np.einsum("ij,ij->i", normals[end], gap)) for end in (near, far)))
    # Neighbours across a thin wall are parallel too, but lie off the tangent plane.
    cost = 1.001 - np.abs(cosine) + rise
    graph = csr_matrix((cost, (near, far)), shape=(count, count))
    tree = minimum_spanning_tree(graph)
    parts, part = connected_components(tree, directed=False)
    parent = np.arange(count)
    for root in np.unique(part, return_index=True)[1]:
        order, before = breadth_first_order(tree, root, directed=False)
        parent[order[1:]] = before[order[1:]]
    sign = np.where(np.einsum("ij,ij->i", normals, normals[parent]) < 0, -1.0, 1.0)
    while (parent != parent[parent]).any():  # pointer jumping: log2(depth) rounds
        sign, parent = sign * sign[parent], parent[parent]
    outward = _outward(cloud, normals * sign[:, None], part, parts)
    return np.asarray(sign * outward[part], np.float32)


def _outward(cloud: np.ndarray, normals: np.ndarray, part: np.ndarray, parts: int) -> np.ndarray:
    """Per connected part the sign [parts] that turns its normals outward at its extreme points."""
    vote = np.zeros(parts)
    away = cloud - cloud.mean(0)
    weight = np.linalg.norm(away, axis=1) ** 8  # the outermost points face outward for certain
    np.add.at(vote, part, weight * np.einsum("ij,ij->i", normals, away))
    return np.where(vote < 0, -1.0, 1.0)


def _channels(
    cloud: np.ndarray,
    normals: np.ndarray,
    at: np.ndarray,
    distance: np.ndarray,
    index: np.ndarray,
    neighbours: tuple[int, ...],
) -> np.ndarray:
    """All channels [N, F] at points `at` [N, 3] with their sorted neighbours [N, k]."""
    own = normals[index[:, 0]]
    offsets = cloud[index] - at[:, None]
    cosine = np.abs(np.einsum("nkj,nj->nk", normals[index], own))
    blocks, planes = [], []
    for size in neighbours:
        radius = np.maximum(distance[:, size - 1], 1e-9)
        values, normal, centroid = _pca(offsets[:, :size])
        normal = normal * np.where(np.einsum("ni,ni->n", normal, own) < 0, -1, 1)[:, None]
        raw = _scale_channels(offsets[:, :size], values, normal, centroid, radius)
        raw.insert(7, np.log(1e-3 + np.maximum(1 - cosine[:, :size].mean(1), 0)))
        blocks.append((np.stack(raw, 1) - _LEVEL) / _SPREAD)
        planes.append((normal, centroid, radius))
    for (normal, centroid, _), (wide, wide_centroid, radius) in pairwise(planes):
        step = np.einsum("ni,ni->n", centroid - wide_centroid, wide) / radius
        tilt = 1 - np.abs(np.einsum("ni,ni->n", normal, wide))
        raw = [np.arcsinh(20 * step), np.log(1e-3 + np.maximum(tilt, 0))]
        blocks.append((np.stack(raw, 1) - _CROSS_LEVEL) / _CROSS_SPREAD)
    return np.concatenate(blocks, 1, dtype=np.float32)


def _scale_channels(
    offsets: np.ndarray,
    values: np.ndarray,
    normal: np.ndarray,
    centroid: np.ndarray,
    radius: np.ndarray,
) -> list[np.ndarray]:
    """The `SCALE_CHANNELS` [N] of one neighbourhood size, all but the crease, not yet scaled."""
    widths = np.sqrt(values)
    height = np.einsum("nkj,nj->nk", offsets, normal) / radius[:, None]
    offset = height.mean(1)
    drift = np.linalg.norm(centroid - (offset * radius)[:, None] * normal, axis=1) / radius
    skew = np.cbrt(((height - offset[:, None]) ** 3).mean(1))
    return [
        1 - widths[:, 1] / np.maximum(widths[:, 2], 1e-12),
        np.log(0.01 + widths[:, 0] / radius),
        *(np.arcsinh(20 * offset), np.sqrt(drift), np.arcsinh(20 * skew)),
        *(np.arcsinh(20 * height.max(1)), np.arcsinh(20 * height.min(1))),
        np.log(radius / np.median(radius)),
    ]
