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
from btp.geometry.points import batches

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

_CHUNK = 512  # points described at once: their neighbours stay in the cache

_LEVEL = np.array([0.2, -2.4, -0.7, 0.3, -0.6, 1.3, -2.2, -3.3, 0.0], np.float32)
_SPREAD = np.array([0.1, 0.8, 1.2, 0.12, 1.2, 1.0, 1.0, 1.7, 0.2], np.float32)
_CROSS_LEVEL = np.array([0.7, -5.0], np.float32)
_CROSS_SPREAD = np.array([0.85, 1.7], np.float32)


def channel_names() -> list[str]:
    """Names of the channels of `local_geometry`, in their order."""
    names = [f"{name}{k}" for k in NEIGHBOURS for name in SCALE_CHANNELS]
    return names + [f"{name}{a}_{b}" for a, b in pairwise(NEIGHBOURS) for name in CROSS_CHANNELS]


CHANNELS = 2 * len(channel_names())
"""Of `surface_channels`."""


def surface_features(dense: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """`local_geometry`, with the spacing in units of its median over the queries."""
    return _relative(local_geometry(dense, queries))


def local_geometry(
    dense: np.ndarray,
    queries: np.ndarray,
    max_dense: int = MAX_DENSE,
    normals: np.ndarray | None = None,
) -> np.ndarray:
    """Describe the surface of `dense` around each query point, whatever the other queries are.

    A cloud of more than `max_dense` points is thinned at random (but always alike), so that k
    neighbours cover about the same share of the object at any scan density. In a cloud of fewer
    than k points the neighbourhood is the whole cloud.

    Args:
        dense: [R, 3] the raw cloud, any units, R >= 16.
        queries: int [N] rows of `dense`, or float [N, 3] points on or near it.
        max_dense: most points of `dense` that are used.
        normals: `dense_normals(dense, max_dense)`, where they are known.

    Returns:
        float32 [N, F], channels as `channel_names()`, the spacing in units of the cloud's extent.
        Rigid motion and scaling of the cloud leave them as they are, up to rounding.

    Raises:
        DataError: `dense` has another shape, fewer than 16 points, or no extent.
    """
    cloud, centre, extent = _unit(dense, max_dense)
    queries = np.asarray(queries)
    at = np.asarray(dense)[queries] if queries.ndim == 1 else queries
    at = ((at.astype(np.float64) - centre) / extent).astype(np.float32)
    tree = cKDTree(cloud)
    if normals is None:
        normals = oriented_normals(cloud, tree)
    planes, normals = (np.ascontiguousarray(rows.T) for rows in (cloud, normals))
    sizes = tuple(min(size, len(cloud)) for size in NEIGHBOURS)
    blocks = []
    for chunk in batches(len(at), _CHUNK):
        distance, index = tree.query(at[chunk], sizes[-1])
        given = np.ascontiguousarray(at[chunk].T), distance.astype(np.float32), index
        blocks.append(_channels(planes, normals, *given, sizes))
    return np.concatenate(blocks)


def _relative(geometry: np.ndarray) -> np.ndarray:
    """`local_geometry` [N, F] with the spacing in units of its median over the N points."""
    features = geometry.copy()
    spacing = [place for place, name in enumerate(channel_names()) if "spacing" in name]
    features[:, spacing] -= np.median(features[:, spacing], 0)
    return features


def contrast(features: np.ndarray) -> np.ndarray:
    """How each point differs from the rest of its own cloud: float32 [N, F] from [N, F].

    The channel's mean over the cloud is taken off and its spread, plus 0.2 of the usual one,
    divided out: a rough skin raises `crease` everywhere, and only what is rougher still stands out.
    """
    spread = features.std(0) + 0.2
    return np.asarray((features - features.mean(0)) / spread, np.float32)


def surface_channels(geometry: np.ndarray) -> np.ndarray:
    """What encoder and GFCM read of each point: its surface features, and their contrast.

    Args:
        geometry: float32 [N, F], the `local_geometry` of all sampled points, which are compared.

    Returns:
        float32 [N, `CHANNELS`].
    """
    features = _relative(geometry)
    return np.concatenate([features, contrast(features)], axis=1)


def dense_normals(dense: np.ndarray, max_dense: int = MAX_DENSE) -> np.ndarray:
    """Normals of the thinned cloud, as `local_geometry` takes them: half of its work.

    Args:
        dense: [R, 3], as there.
        max_dense: as there.

    Returns:
        float32 [min(R, max_dense), 3].
    """
    return oriented_normals(_unit(dense, max_dense)[0])


def _unit(dense: np.ndarray, max_dense: int) -> tuple[np.ndarray, np.ndarray, float]:
    """The thinned cloud, float32 [M, 3], moved to its centre and divided by its extent."""
    points = np.asarray(dense, np.float64)
    if points.ndim != 2 or points.shape[1] != 3 or len(points) < NORMAL_NEIGHBOURS:
        raise DataError(
            f"the dense cloud has shape {points.shape}; expected [R, 3] with at least "
            f"{NORMAL_NEIGHBOURS} rows: give the raw scan"
        )
    centre, extent = points.mean(0), float(np.ptp(points, axis=0).max())
    if not extent > 0:
        raise DataError("all points of the dense cloud are equal: a surface is needed")
    return ((thin(points, max_dense) - centre) / extent).astype(np.float32), centre, extent


def thin(points: np.ndarray, most: int) -> np.ndarray:
    """`most` rows of `points` [R, 3], chosen at random but always the same; all if R <= most."""
    if len(points) <= most:
        return points
    return points[np.random.default_rng(0).choice(len(points), most, replace=False)]


def oriented_normals(cloud: np.ndarray, tree: cKDTree | None = None) -> np.ndarray:
    """Unit normals of `cloud` [R, 3], consistent along the surface and outward: float32 [R, 3]."""
    tree = tree or cKDTree(cloud)
    planes = np.ascontiguousarray(cloud.T)
    index = tree.query(cloud, NORMAL_NEIGHBOURS)[1]
    chunks = batches(len(cloud), _CHUNK)
    normals = np.concatenate([_pca(_offsets(planes, planes[:, c], index[c]))[1] for c in chunks], 1)
    return np.asarray(normals * _signs(planes, normals, index[:, 1 : TREE_NEIGHBOURS + 1])).T


def _offsets(planes: np.ndarray, at: np.ndarray, index: np.ndarray) -> np.ndarray:
    """From points `at` [3, M] to their neighbours [M, k] in a cloud [3, R]: [3, k, M].

    One plane a coordinate, and neighbours first: NumPy is slow on rows of three and on sums along
    the last axis, and the nearest k are the first rows, whatever k.
    """
    return np.asarray(planes[:, index.T] - at[:, None])


def _pca(offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ascending eigenvalues, normals and centroids, each [3, M], of offsets [3, k, M]."""
    centroid = offsets.mean(1)
    x, y, z = offsets - centroid[:, None]
    size = offsets.shape[1]
    pairs = ((x, x), (y, y), (z, z), (x, y), (x, z), (y, z))
    xx, yy, zz, xy, xz, yz = (_dot(a, b).astype(np.float64) / size for a, b in pairs)
    # Closed form of a symmetric 3x3 (Smith 1961): ten times faster than LAPACK on many small ones.
    mean = (xx + yy + zz) / 3
    a, b, c = xx - mean, yy - mean, zz - mean
    spread = np.sqrt((a * a + b * b + c * c + 2 * (xy**2 + xz**2 + yz**2)) / 6) + 1e-30
    det = a * (b * c - yz * yz) - xy * (xy * c - yz * xz) + xz * (xy * yz - b * xz)
    angle = np.arccos(np.clip(det / (2 * spread**3), -1, 1)) / 3
    high = mean + 2 * spread * np.cos(angle)
    low = mean + 2 * spread * np.cos(angle + 2 * np.pi / 3)
    values = np.maximum(np.stack([low, 3 * mean - high - low, high]), 0)
    normal = _null_vector(xx - low, xy, xz, yy - low, yz, zz - low)
    return values.astype(np.float32), normal.astype(np.float32), centroid


def _dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Sum over the first axis of a product: [k, ...] and [k, ...] to [...]."""
    return np.asarray(np.einsum("k...,k...->...", a, b))


def _null_vector(
    xx: np.ndarray, xy: np.ndarray, xz: np.ndarray, yy: np.ndarray, yz: np.ndarray, zz: np.ndarray
) -> np.ndarray:
    """Unit vectors [3, M] that symmetric singular matrices, given by their entries, turn to 0."""
    # It is normal to the rows; the longest of their cross products is the stablest.
    best = np.stack([xy * yz - xz * yy, xz * xy - xx * yz, xx * yy - xy * xy])
    longest = _dot(best, best)
    for other in (
        np.stack([xy * zz - xz * yz, xz * xz - xx * zz, xx * yz - xy * xz]),
        np.stack([yy * zz - yz * yz, yz * xz - xy * zz, xy * yz - yy * xz]),
    ):
        length = _dot(other, other)
        best = np.where(length > longest, other, best)
        longest = np.maximum(length, longest)
    return np.asarray(best / np.maximum(np.sqrt(longest), 1e-30))


def _signs(planes: np.ndarray, normals: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Factor +1 or -1 [R] for normals [3, R]: alike over the neighbour tree, outward in sum."""
    count, degree = index.shape
    gap = _offsets(planes, planes, index)
    gap /= np.sqrt(_dot(gap, gap)) + 1e-12
    there = normals[:, index.T]
    cosine = np.abs(np.einsum("ikm,im->km", there, normals))
    rise = np.maximum(abs(np.einsum("ikm,im->km", gap, normals)), abs(_dot(there, gap)))
    # Neighbours across a thin wall are parallel too, but lie off the tangent plane.
    cost = 1.001 - cosine + rise
    starts = np.arange(0, count * degree + 1, degree)
    graph = csr_matrix((cost.T.ravel(), index.ravel(), starts), shape=(count, count))
    tree = minimum_spanning_tree(graph)
    parts, part = connected_components(tree, directed=False)
    parent = np.arange(count)
    for root in np.unique(part, return_index=True)[1]:
        order, before = breadth_first_order(tree, root, directed=False)
        parent[order[1:]] = before[order[1:]]
    sign = np.where(_dot(normals, normals[:, parent]) < 0, -1.0, 1.0)
    while (parent != parent[parent]).any():  # pointer jumping: log2(depth) rounds
        sign, parent = sign * sign[parent], parent[parent]
    outward = _outward(planes, normals * sign, part, parts)
    return np.asarray(sign * outward[part], np.float32)


def _outward(planes: np.ndarray, normals: np.ndarray, part: np.ndarray, parts: int) -> np.ndarray:
    """Per connected part the sign [parts] that turns its normals outward at its extreme points."""
    away = planes - planes.mean(1, keepdims=True)
    weight = _dot(away, away) ** 4  # the outermost points face outward for certain
    vote = np.bincount(part, weight * _dot(normals, away), parts)
    return np.where(vote < 0, -1.0, 1.0)


def _channels(
    planes: np.ndarray,
    normals: np.ndarray,
    at: np.ndarray,
    distance: np.ndarray,
    index: np.ndarray,
    neighbours: tuple[int, ...],
) -> np.ndarray:
    """All channels [N, F] at points `at` [3, N] with their sorted neighbours [N, k].

    Spacing is that of the radius alone; the median over all points is not known here.
    """
    own = normals[:, index[:, 0]]
    offsets = _offsets(planes, at, index)
    cosine = np.abs(np.einsum("ikm,im->km", normals[:, index.T], own))
    channels, fitted = [], []
    for size in neighbours:
        radius = np.maximum(distance[:, size - 1], 1e-9)
        values, normal, centroid = _pca(offsets[:, :size])
        normal *= np.where(_dot(normal, own) < 0, -1, 1)
        raw = _scale_channels(offsets[:, :size], values, normal, centroid, radius)
        raw.insert(7, np.log(1e-3 + np.maximum(1 - cosine[:size].mean(0), 0)))
        channels += [(c - m) / s for c, m, s in zip(raw, _LEVEL, _SPREAD, strict=True)]
        fitted.append((normal, centroid, radius))
    for (normal, centroid, _), (wide, wide_centroid, radius) in pairwise(fitted):
        step = _dot(centroid - wide_centroid, wide) / radius
        tilt = 1 - np.abs(_dot(normal, wide))
        raw = [np.arcsinh(20 * step), np.log(1e-3 + np.maximum(tilt, 0))]
        channels += [(c - m) / s for c, m, s in zip(raw, _CROSS_LEVEL, _CROSS_SPREAD, strict=True)]
    return np.stack(channels, 1, dtype=np.float32)


def _scale_channels(
    offsets: np.ndarray,
    values: np.ndarray,
    normal: np.ndarray,
    centroid: np.ndarray,
    radius: np.ndarray,
) -> list[np.ndarray]:
    """The `SCALE_CHANNELS` [M] of one neighbourhood size, all but the crease, not yet scaled."""
    smallest, middle, largest = np.sqrt(values)
    height = np.einsum("ikm,im->km", offsets, normal)
    mean = height.mean(0)
    drift = centroid - mean * normal
    over = height - mean
    skew = np.cbrt(np.einsum("km,km,km->m", over, over, over) / len(over))
    return [
        1 - middle / np.maximum(largest, 1e-12),
        np.log(0.01 + smallest / radius),
        np.arcsinh(20 * mean / radius),
        np.sqrt(np.sqrt(_dot(drift, drift)) / radius),
        np.arcsinh(20 * skew / radius),
        np.arcsinh(20 * height.max(0) / radius),
        np.arcsinh(20 * height.min(0) / radius),
        np.log(radius),
    ]
