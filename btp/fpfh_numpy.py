"""The definition of FPFH (Rusu et al., ICRA 2009) in NumPy: the engine that runs everywhere."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from btp.normals import CHUNK, Floats, Rows, estimate_normals, neighbours_within

BINS = 11
WIDTH = 3 * BINS


def histograms(
    points: Floats, rows: Rows, normal_scale: tuple[float, int], feature_scale: tuple[float, int]
) -> NDArray[np.float32]:
    """FPFH of `rows`. Simplified histograms are computed for them and their neighbours only.

    Args:
        points: float64 [N, 3], finite.
        rows: int64 [M], the points to describe.
        normal_scale: radius and highest number of neighbours for the normals.
        feature_scale: the same for the histograms.

    Returns:
        float32 [M, 33].
    """
    tree = cKDTree(points)
    normals = estimate_normals(tree, *normal_scale)
    chunks = [rows[i : i + CHUNK] for i in range(0, len(rows), CHUNK)]
    found = [neighbours_within(tree, chunk, *feature_scale) for chunk in chunks]
    needed = np.unique(np.concatenate([rows, *(index[valid] for index, valid in found)]))
    spfh = np.zeros((tree.n, WIDTH))
    for start in range(0, len(needed), CHUNK):
        part = needed[start : start + CHUNK]
        spfh[part] = _spfh(tree, normals, part, *feature_scale)

    result = np.empty((len(rows), WIDTH), dtype=np.float32)
    for i, (chunk, (index, valid)) in enumerate(zip(chunks, found, strict=True)):
        offset = tree.data[index] - tree.data[chunk][:, None]
        squared = (offset * offset).sum(axis=-1)  # [M, K]
        weight = np.zeros_like(squared)
        np.divide(1.0, squared, out=weight, where=valid & (squared > 0))
        summed = np.einsum("mk,mkw->mw", weight, spfh[index]).reshape(-1, 3, BINS)
        total = summed.sum(axis=-1, keepdims=True)
        np.divide(100.0 * summed, total, out=summed, where=total > 0)
        result[i * CHUNK : i * CHUNK + len(chunk)] = summed.reshape(-1, WIDTH) + spfh[chunk]
    return result


def _spfh(tree: cKDTree, normals: Floats, rows: Rows, radius: float, limit: int) -> Floats:
    """Simplified histograms [M, 33]: percent of a point's pairs in each bin of each angle."""
    index, valid = neighbours_within(tree, rows, radius, limit)
    index, valid = index[:, 1:], valid[:, 1:]  # without the point itself
    angles = pair_angles(
        tree.data[rows][:, None], normals[rows][:, None], tree.data[index], normals[index]
    )
    low, size = np.array([-np.pi, -1.0, -1.0]), np.array([2 * np.pi, 2.0, 2.0])
    bins = np.clip(np.floor(BINS * (angles - low) / size), 0, BINS - 1).astype(np.int64)
    cell = np.arange(len(rows))[:, None, None] * WIDTH + np.arange(3) * BINS + bins
    counts = np.bincount(cell[valid].ravel(), minlength=len(rows) * WIDTH)
    pairs = np.maximum(valid.sum(axis=1), 1)[:, None]
    percent: Floats = counts.reshape(len(rows), WIDTH) * (100.0 / pairs)
    return percent


def pair_angles(point: Floats, normal: Floats, other: Floats, other_normal: Floats) -> Floats:
    """The three angles of Rusu's Darboux frame between two oriented points.

    Args:
        point: [..., 3], the first points.
        normal: [..., 3], their unit normals.
        other: [..., 3], the second points.
        other_normal: [..., 3], theirs.

    Returns:
        float64 [..., 3]: theta in -pi..pi, and the cosines alpha and phi in -1..1; all three 0
        where the points coincide or the frame is not defined.
    """
    line = other - point
    distance = np.sqrt((line * line).sum(axis=-1))
    normal, other_normal = np.broadcast_arrays(normal, other_normal)
    with np.errstate(invalid="ignore", divide="ignore"):
        first = (normal * line).sum(axis=-1) / distance
        second = (other_normal * line).sum(axis=-1) / distance
        # The frame sits at the point whose normal is nearer to the line. Compared as angles, as
        # rounding merges cosines near 1 there.
        swap = np.arccos(np.abs(first)) > np.arccos(np.abs(second))
        phi = np.where(swap, -second, first)
        u = np.where(swap[..., None], other_normal, normal)
        far = np.where(swap[..., None], normal, other_normal)
        v = np.cross(np.where(swap[..., None], -line, line), u)
        length = np.sqrt((v * v).sum(axis=-1))
        v /= length[..., None]
    w = np.cross(u, v)
    alpha = (v * far).sum(axis=-1)
    theta = np.arctan2((w * far).sum(axis=-1), (u * far).sum(axis=-1))
    defined = (distance > 0) & (length > 0)
    angles: Floats = np.stack([theta, alpha, phi], axis=-1)
    return np.where(defined[..., None], angles, 0.0)
