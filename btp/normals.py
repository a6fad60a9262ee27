"""Normals of a point cloud from the neighbours inside a radius."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]

CHUNK = 2048  # points handled at once, which bounds the memory of neighbour lists to some 150 MB


def neighbours_within(
    tree: cKDTree, rows: Rows, radius: float, limit: int
) -> tuple[Rows, NDArray[np.bool_]]:
    """The `limit` nearest points nearer than `radius` to each of `rows`, nearest first.

    Args:
        tree: over the cloud [N, 3].
        rows: int64 [M], rows of the cloud.
        radius: in the cloud's unit; a point at exactly this distance does not count.
        limit: at most so many, the point itself included.

    Returns:
        int64 [M, K] rows of the cloud with K = min(limit, N), and bool [M, K], False for places
        left over, which hold row 0. The first is the point itself or a duplicate of it.
    """
    _, index = tree.query(
        tree.data[rows], k=range(1, min(limit, tree.n) + 1), distance_upper_bound=radius
    )
    valid = index < tree.n
    return np.where(valid, index, 0), valid


def estimate_normals(tree: cKDTree, radius: float, limit: int) -> Floats:
    """Unit normals [N, 3]: the direction of least variance among the neighbours.

    Their signs are not made consistent over the surface; they are those of `smallest_eigenvectors`.
    A point with fewer than three neighbours, itself included, gets (0, 0, 1), as in Open3D.

    Args:
        tree: over the cloud [N, 3].
        radius: as in `neighbours_within`.
        limit: as in `neighbours_within`.
    """
    normals = np.empty((tree.n, 3))
    for start in range(0, tree.n, CHUNK):
        rows = np.arange(start, min(start + CHUNK, tree.n))
        index, valid = neighbours_within(tree, rows, radius, limit)
        normals[rows] = smallest_eigenvectors(_covariances(tree.data[index], valid))
    return normals


def _covariances(near: Floats, valid: NDArray[np.bool_]) -> Floats:
    """Covariance [M, 3, 3] of each row's valid points; identity for fewer than three.

    E[xy] - E[x]E[y], summed in the order of the neighbours: in sparse clouds points share the same
    three neighbours, their normals are parallel, and the last bit decides between the two of them
    in `btp.fpfh`. Any better-conditioned formula would decide otherwise than Open3D.
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
