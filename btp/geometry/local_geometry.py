"""Local geometry of a dense cloud, read at chosen points: the channels beside xyz.

A 2,048-point sample has lost the fine surface; the raw scan has not. For each chosen point this
module summarises its neighbourhood in the dense cloud at several sizes. Every channel is free of
pose and scale.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from scipy.spatial import cKDTree

from btp.errors import DataError
from btp.geometry.orientation import (
    CHUNK,
    NORMAL_NEIGHBOURS,
    neighbour_offsets,
    oriented_normals,
    principal_axes,
    sum_products,
)
from btp.geometry.sampling import thin
from btp.runtime.batches import batches

NEIGHBOURS = (16, 48, 128)
"""Sizes of the neighbourhoods that are described."""
MAX_DENSE = 16_384
"""A denser cloud is thinned to so many points."""

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
and scaled by `LEVEL` and `SPREAD` to about zero mean and unit spread over the corpus."""

CROSS_CHANNELS = ("step", "tilt")
"""Between two sizes that follow each other: asinh(20 height of the smaller centroid over the larger
plane / larger radius); log(0.001 + 1 - |cosine| of both PCA normals)."""

# Mean and spread of the `SCALE_CHANNELS` over the pretraining corpus.
LEVEL = np.array([0.2, -2.4, -0.7, 0.3, -0.6, 1.3, -2.2, -3.3, 0.0], np.float32)
SPREAD = np.array([0.1, 0.8, 1.2, 0.12, 1.2, 1.0, 1.0, 1.7, 0.2], np.float32)

# The same of the `CROSS_CHANNELS`.
CROSS_LEVEL = np.array([0.7, -5.0], np.float32)
CROSS_SPREAD = np.array([0.85, 1.7], np.float32)

USUAL_SPREAD = 0.2
"""Added to a channel's spread within a cloud before it is divided out, see `surface_channels`."""


def channel_names() -> list[str]:
    """Return the names of the channels of `local_geometry`, in their order."""
    names = [f"{name}{k}" for k in NEIGHBOURS for name in SCALE_CHANNELS]
    return names + [f"{name}{a}_{b}" for a, b in pairwise(NEIGHBOURS) for name in CROSS_CHANNELS]


CHANNELS = 2 * len(channel_names())
"""Width of what `surface_channels` returns."""


def local_geometry(
    dense: np.ndarray,
    queries: np.ndarray,
    max_dense: int = MAX_DENSE,
    normals: np.ndarray | None = None,
) -> np.ndarray:
    """Describe the surface around each query point, independently of the other queries.

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
    cloud, centre, extent = _thinned(dense, max_dense)
    queries = np.asarray(queries)
    at = np.asarray(dense)[queries] if queries.ndim == 1 else queries
    at = ((at.astype(np.float64) - centre) / extent).astype(np.float32)
    tree = cKDTree(cloud)
    if normals is None:
        normals = oriented_normals(cloud, tree)
    planes, normals = (np.ascontiguousarray(rows.T) for rows in (cloud, normals))
    sizes = tuple(min(size, len(cloud)) for size in NEIGHBOURS)
    blocks = []
    for chunk in batches(len(at), CHUNK):
        distance, index = tree.query(at[chunk], sizes[-1])
        given = np.ascontiguousarray(at[chunk].T), distance.astype(np.float32), index
        blocks.append(_channels(planes, normals, *given, sizes))
    return np.concatenate(blocks)


def surface_channels(geometry: np.ndarray) -> np.ndarray:
    """Prepare local geometry for the encoder and GFCM: each channel, and how it stands out.

    The second half says how each point differs from the rest of its own cloud: the channel's mean
    over the cloud is taken off and its spread, plus 0.2 of the usual one, divided out. A rough skin
    raises `crease` everywhere, and only what is rougher still stands out.

    Args:
        geometry: float32 [N, F], the `local_geometry` of all points of a sampling, or [V, N, F] of
            several samplings of one cloud, each of which is compared with itself.

    Returns:
        float32 [N, `CHANNELS`] or [V, N, `CHANNELS`]. The spacing is in units of its median over
        all points given.
    """
    spacing = [place for place, name in enumerate(channel_names()) if "spacing" in name]
    features = geometry.copy()
    features[..., spacing] -= np.median(features[..., spacing].reshape(-1, len(spacing)), 0)
    mean = features.mean(-2, keepdims=True)
    spread = features.std(-2, keepdims=True) + USUAL_SPREAD
    contrast = np.asarray((features - mean) / spread, np.float32)
    return np.concatenate([features, contrast], axis=-1)


def dense_normals(dense: np.ndarray, max_dense: int = MAX_DENSE) -> np.ndarray:
    """Estimate the normals of the thinned cloud, which are half of the work of `local_geometry`.

    Args:
        dense: [R, 3], as there.
        max_dense: as there.

    Returns:
        float32 [min(R, max_dense), 3].
    """
    return oriented_normals(_thinned(dense, max_dense)[0])


def _thinned(dense: np.ndarray, max_dense: int) -> tuple[np.ndarray, np.ndarray, float]:
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
    offsets = neighbour_offsets(planes, at, index)
    cosine = np.abs(np.einsum("ikm,im->km", normals[:, index.T], own))
    channels, fitted = [], []
    for size in neighbours:
        radius = np.maximum(distance[:, size - 1], 1e-9)
        values, normal, centroid = principal_axes(offsets[:, :size])
        normal *= np.where(sum_products(normal, own) < 0, -1, 1)
        raw = _scale_channels(offsets[:, :size], values, normal, centroid, radius)
        raw.insert(7, np.log(1e-3 + np.maximum(1 - cosine[:size].mean(0), 0)))
        channels += [(c - m) / s for c, m, s in zip(raw, LEVEL, SPREAD, strict=True)]
        fitted.append((normal, centroid, radius))
    for (normal, centroid, _), (wide, wide_centroid, radius) in pairwise(fitted):
        step = sum_products(centroid - wide_centroid, wide) / radius
        tilt = 1 - np.abs(sum_products(normal, wide))
        raw = [np.arcsinh(20 * step), np.log(1e-3 + np.maximum(tilt, 0))]
        channels += [(c - m) / s for c, m, s in zip(raw, CROSS_LEVEL, CROSS_SPREAD, strict=True)]
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
        np.sqrt(np.sqrt(sum_products(drift, drift)) / radius),
        np.arcsinh(20 * skew / radius),
        np.arcsinh(20 * height.max(0) / radius),
        np.arcsinh(20 * height.min(0) / radius),
        np.log(radius),
    ]
