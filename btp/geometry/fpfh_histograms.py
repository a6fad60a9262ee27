"""The histograms of FPFH (Rusu et al., ICRA 2009), from the definition, in NumPy."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.spatial import cKDTree

from btp.geometry.normals import estimate_normals
from btp.geometry.pairs import (
    BLOCK,
    CHUNK,
    Mask,
    Pairs,
    Rows,
    few_enough,
    keep_nearest,
    neighbours_within,
    pairs_within,
)
from btp.geometry.planes import Floats, Planes, cross, dot, planes

BINS = 11
WIDTH = 3 * BINS


def histograms(
    points: Floats, rows: Rows, normal_scale: tuple[float, int], feature_scale: tuple[float, int]
) -> NDArray[np.float32]:
    """Describe `rows` by FPFH; simplified histograms are computed for them and their neighbours.

    Args:
        points: float64 [N, 3], finite.
        rows: int64 [M], the points to describe.
        normal_scale: radius and highest number of neighbours for the normals.
        feature_scale: the same for the histograms.

    Returns:
        float32 [M, 33].
    """
    tree = cKDTree(points)
    whole = pairs_within(tree, *feature_scale) if few_enough(tree, feature_scale[0]) else None
    normals = _normals(whole, tree, normal_scale, feature_scale)
    described = np.unique(rows)
    wanted = np.zeros(tree.n, dtype=bool)
    wanted[described] = True
    edges = [pairs.directed(wanted) for pairs in _parts(whole, tree, described, feature_scale)]
    of, other, squared = (np.concatenate(part) for part in zip(*edges, strict=True))
    wanted[other] = True
    spfh = np.zeros((tree.n, WIDTH))
    for pairs in _parts(whole, tree, np.flatnonzero(wanted), feature_scale):
        spfh += _counts(tree.data, normals, pairs, wanted)
    spfh *= 100.0 / np.maximum(spfh[:, :BINS].sum(axis=1, keepdims=True), 1.0)
    result = spfh + _weighted(spfh, of, other, squared)
    return result[rows].astype(np.float32)


def _weighted(spfh: Floats, of: Rows, other: Rows, squared: Floats) -> Floats:
    """What the neighbours add [N, 33]: theirs by 1 / squared distance, 100 in each histogram.

    Args:
        spfh: [N, 33], the simplified histograms.
        of: int64 [E], a point.
        other: int64 [E], a neighbour of it.
        squared: [E], the squared distance of the two; at 0 the neighbour adds nothing.
    """
    apart = np.flatnonzero(squared)
    near = sparse.coo_array(
        (1.0 / squared[apart], (of[apart], other[apart])), shape=(len(spfh), len(spfh))
    )
    summed = (near @ spfh).reshape(-1, 3, BINS)
    total = summed.sum(axis=-1, keepdims=True)
    np.divide(100.0 * summed, total, out=summed, where=total > 0)
    weighted: Floats = summed.reshape(-1, WIDTH)
    return weighted


def _normals(
    whole: Pairs | None, tree: cKDTree, scale: tuple[float, int], feature_scale: tuple[float, int]
) -> Floats:
    """Normals [N, 3], from the pairs of the feature scale where those include all it takes."""
    if whole is None or scale[0] > feature_scale[0] or scale[1] > feature_scale[1]:
        return estimate_normals(tree, *scale)
    return estimate_normals(tree, *scale, keep_nearest(whole, tree.n, *scale))


def _parts(
    whole: Pairs | None, tree: cKDTree, rows: Rows, scale: tuple[float, int]
) -> Iterator[Pairs]:
    """All pairs, where they were found at once; else those of `rows`, `CHUNK` rows at a time."""
    if whole is not None:
        yield whole
        return
    for start in range(0, len(rows), CHUNK):
        chunk = rows[start : start + CHUNK]
        index, valid = neighbours_within(tree, chunk, *scale)
        index, valid = index[:, 1:], valid[:, 1:]  # without the point itself
        first = np.broadcast_to(chunk[:, None], index.shape)[valid]
        offset = tree.data[index[valid]] - tree.data[first]
        everywhere = np.ones(len(first), dtype=bool)
        squared = (offset * offset).sum(axis=-1)
        yield Pairs(first, index[valid], squared, everywhere, ~everywhere)


def _counts(points: Floats, normals: Floats, pairs: Pairs, wanted: Mask) -> Floats:
    """Number [N, 33] of each wanted point's pairs in each bin of each angle."""
    n = len(points)
    forward, backward = pairs.forward & wanted[pairs.first], pairs.backward & wanted[pairs.second]
    bins, tie = pair_bins(points, normals, pairs.first, pairs.second)
    counts = _tally(pairs.first, bins, forward, n) + _tally(pairs.second, bins, backward & ~tie, n)
    again = np.flatnonzero(tie & backward)
    if len(again):
        first, second = pairs.second[again], pairs.first[again]
        bins, _ = pair_bins(points, normals, first, second)
        counts += _tally(first, bins, np.ones(len(again), dtype=bool), n)
    return counts.reshape(n, WIDTH)


def _tally(rows: Rows, bins: NDArray[np.int8], counted: Mask, n: int) -> Floats:
    """Number [N·33] of the `counted` [P] pairs in each bin [3, P] of their point in `rows` [P]."""
    kept = np.flatnonzero(counted)
    cell = rows[kept] * WIDTH
    counts = np.zeros(n * WIDTH)
    for angle in range(3):
        counts += np.bincount(cell + angle * BINS + bins[angle].take(kept), minlength=n * WIDTH)
    return counts


def pair_bins(
    points: Floats, normals: Floats, first: Rows, second: Rows
) -> tuple[NDArray[np.int8], Mask]:
    """Sort the three angles between pairs of oriented points into bins.

    Args:
        points: float64 [N, 3].
        normals: float64 [N, 3], unit vectors.
        first: int64 [P], rows of the points.
        second: int64 [P].

    Returns:
        int8 [3, P]: the bin, 0 to 10, of theta, alpha and phi (as in `_pair_angles`) counted from
        the first point and, except where the bool [P] is True, from the second one too.
    """
    points, normals = np.ascontiguousarray(points.T), np.ascontiguousarray(normals.T)
    bins = np.empty((3, len(first)), dtype=np.int8)
    tie = np.empty(len(first), dtype=bool)
    for start in range(0, len(first), BLOCK):
        block = slice(start, start + BLOCK)
        here, there = first[block], second[block]
        line = planes(axis.take(there) - axis.take(here) for axis in points)
        normal, other = (planes(axis.take(rows) for axis in normals) for rows in (here, there))
        angles, tie[block] = _pair_angles(line, normal, other)
        for angle, (low, size) in enumerate(((-np.pi, 2 * np.pi), (-1.0, 2.0), (-1.0, 2.0))):
            place = BINS * (angles[angle] - low) / size
            bins[angle, block] = np.minimum(place, BINS - 1)  # which the cast rounds down
    return bins, tie


def _pair_angles(line: Planes, normal: Planes, other: Planes) -> tuple[Planes, Mask]:
    """The three angles of Rusu's Darboux frame between two oriented points.

    The frame sits at the point whose normal u is nearer to the line that joins the two, v is
    orthogonal to the line and to u, and w = u × v. So the angles are the same for both points,
    unless their normals are equally near to the line.

    Args:
        line: [P] each, from the first point to the second.
        normal: [P] each, the first point's unit normal.
        other: [P] each, the second one's.

    Returns:
        [P] each: theta in -pi..pi, and the cosines alpha and phi in -1..1; all three 0 where the
        points coincide or the frame is not defined. And bool [P]: whether the normals are equally
        near to the line, and then the frame sits at the first point.
    """
    distance = np.sqrt(dot(line, line))
    with np.errstate(invalid="ignore", divide="ignore"):
        first, second = dot(normal, line) / distance, dot(other, line) / distance
        # Compared as angles, as rounding merges cosines near 1 there.
        angle, other_angle = np.arccos(np.abs(first)), np.arccos(np.abs(second))
        swap, tie = angle > other_angle, angle == other_angle
        # With e the line's direction from the frame's point to the other one, whose normal is f:
        # phi = u·e, v = e × u / sine, v·f = e·(u × f) / sine and w·f = (e·f - (u·e)(u·f)) / sine.
        phi, far = np.where(swap, -second, first), np.where(swap, -first, second)
        sine = np.sqrt((1 - phi) * (1 + phi))
        cosine = dot(normal, other)
        length = distance * sine
        alpha = dot(line, cross(normal, other)) / length
        theta = np.arctan2((far - phi * cosine) / sine, cosine)
    undefined = np.flatnonzero(~(length > 0))
    for values in (theta, alpha, phi):
        values[undefined] = 0.0
    return (theta, alpha, phi), tie
