"""Normals of a point cloud from the neighbours inside a radius."""

from __future__ import annotations

import numpy as np
from scipy import sparse
from scipy.spatial import cKDTree

from btp.geometry.pairs import (
    CHUNK,
    Floats,
    Mask,
    Pairs,
    few_enough,
    neighbours_within,
    pairs_within,
)

MANY = 16  # neighbours from which their covariance may be summed in any order: see `_order_matters`


def estimate_normals(
    tree: cKDTree, radius: float, limit: int, pairs: Pairs | None = None
) -> Floats:
    """Unit normals [N, 3]: the direction of least variance among the neighbours.

    Their signs are not made consistent over the surface; they are those of `smallest_eigenvectors`.
    A point with fewer than three neighbours, itself included, gets (0, 0, 1), as in Open3D.

    Args:
        tree: over the cloud [N, 3].
        radius: as in `neighbours_within`.
        limit: as in `neighbours_within`.
        pairs: what `pairs_within` gives for these, where it is known.
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


def smallest_eigenvectors(matrices: Floats) -> Floats:
    """Unit eigenvector of the smallest eigenvalue of symmetric 3×3 matrices.

    D. Eberly, "A Robust Eigensolver for 3×3 Symmetric Matrices" (Geometric Tools). Its signs are
    part of the definition here: FPFH uses the normals as they come, and Open3D takes this solver.

    Args:
        matrices: float64 [M, 3, 3], positive semi-definite.

    Returns:
        float64 [M, 3]; the axis of the smallest entry for a diagonal matrix, z where they tie.
    """
    scale = matrices.max(axis=(1, 2), keepdims=True)
    a = matrices / np.where(scale > 0, scale, 1.0)
    off_diagonal = a[:, 0, 1] ** 2 + a[:, 0, 2] ** 2 + a[:, 1, 2] ** 2
    diagonal = np.einsum("mii->mi", a)
    axis = np.where(
        (diagonal[:, 0] < diagonal[:, 1]) & (diagonal[:, 0] < diagonal[:, 2]),
        0,
        np.where((diagonal[:, 1] < diagonal[:, 0]) & (diagonal[:, 1] < diagonal[:, 2]), 1, 2),
    )
    vectors = np.eye(3)[axis]
    full = off_diagonal > 0
    if full.any():
        vectors[full] = _smallest_of_full(a[full], off_diagonal[full])
    return vectors


def _smallest_of_full(a: Floats, off_diagonal: Floats) -> Floats:
    """`smallest_eigenvectors` for matrices with an entry off the diagonal."""
    a01, a02, a12 = a[:, 0, 1], a[:, 0, 2], a[:, 1, 2]
    q = (a[:, 0, 0] + a[:, 1, 1] + a[:, 2, 2]) / 3
    b0, b1, b2 = a[:, 0, 0] - q, a[:, 1, 1] - q, a[:, 2, 2] - q
    p = np.sqrt((b0 * b0 + b1 * b1 + b2 * b2 + off_diagonal * 2) / 6)
    c0 = b1 * b2 - a12 * a12
    c1 = a01 * b2 - a12 * a02
    c2 = a01 * a12 - b1 * a02
    half_det = np.clip((b0 * c0 - a01 * c1 + a02 * c2) / (p * p * p) * 0.5, -1.0, 1.0)
    angle = np.arccos(half_det) / 3
    largest = 2 * np.cos(angle)
    smallest = 2 * np.cos(angle + 2 * np.pi / 3)
    middle = -(smallest + largest)
    # The eigenvalue that stands apart is solved first: the smallest where det < 0, else the
    # largest, and then the smallest is what is orthogonal to the largest and the middle one.
    first = _null_vector(a, q + p * np.where(half_det < 0, smallest, largest))
    second = _eigenvector_orthogonal_to(first, a, q + p * middle)
    # Rounding can order the two smaller ones either way where they are equal (points on a line).
    other = np.where((middle < smallest)[:, None], second, np.cross(second, first))
    return np.where((half_det < 0)[:, None], first, other)


def _null_vector(a: Floats, value: Floats) -> Floats:
    """Unit eigenvector for `value`: the longest cross product of two rows of a - value·1."""
    rows = a - value[:, None, None] * np.eye(3)
    crosses = np.cross(rows[:, [0, 0, 1]], rows[:, [1, 2, 2]])  # [M, 3, 3]
    squared = (crosses * crosses).sum(axis=-1)
    best = squared.argmax(axis=1)[:, None]
    longest = np.take_along_axis(crosses, best[..., None], axis=1)[:, 0]
    unit: Floats = longest / np.sqrt(np.take_along_axis(squared, best, axis=1))
    return unit


def _eigenvector_orthogonal_to(first: Floats, a: Floats, value: Floats) -> Floats:
    """Unit eigenvector for `value` in the plane orthogonal to the eigenvector `first`."""
    x, y, z = first.T
    zero = np.zeros_like(x)
    with np.errstate(invalid="ignore"):  # of two candidates the one that is not taken may be 0 / 0
        u = np.where(
            (np.abs(x) > np.abs(y))[:, None],
            np.stack([-z, zero, x], axis=1) / np.sqrt(x * x + z * z)[:, None],
            np.stack([zero, z, -y], axis=1) / np.sqrt(y * y + z * z)[:, None],
        )
    v = np.cross(first, u)
    au = (a * u[:, None]).sum(axis=-1)
    av = (a * v[:, None]).sum(axis=-1)
    m00 = (u * au).sum(axis=-1) - value
    m01 = (u * av).sum(axis=-1)
    m11 = (v * av).sum(axis=-1) - value
    # [[m00, m01], [m01, m11]] has rank 1, so either row (r0, r1) gives r1·u - r0·v. The row of the
    # larger diagonal entry is stabler; its larger entry, on a tie the diagonal one, is made > 0.
    upper = np.abs(m00) >= np.abs(m11)
    diagonal = np.where(upper, m00, m11)
    by_diagonal = np.abs(diagonal) >= np.abs(m01)
    lead, rest = np.where(by_diagonal, (diagonal, m01), (m01, diagonal))
    no_choice = lead == 0  # the whole plane belongs to the eigenvalue
    ratio = rest / np.where(no_choice, 1.0, lead)
    lead = 1 / np.sqrt(1 + ratio * ratio)
    rest = ratio * lead
    diagonal, m01 = np.where(by_diagonal, (lead, rest), (rest, lead))
    r0, r1 = np.where(upper, (diagonal, m01), (m01, diagonal))
    solution: Floats = r1[:, None] * u - r0[:, None] * v
    return np.where(no_choice[:, None], u, solution)
