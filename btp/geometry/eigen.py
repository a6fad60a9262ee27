"""Eigenvalues and eigenvectors of many symmetric 3×3 matrices at once, in closed form.

LAPACK takes ten times as long on many small matrices.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from btp.geometry.planes import Floats, Planes, cross, dot, planes, where


class Symmetric(NamedTuple):
    """M symmetric 3×3 matrices by their six different entries, float64 [M] each."""

    xx: Floats
    xy: Floats
    xz: Floats
    yy: Floats
    yz: Floats
    zz: Floats

    def minus(self, value: Floats) -> Symmetric:
        """Subtract `value` [M] times the identity."""
        return self._replace(xx=self.xx - value, yy=self.yy - value, zz=self.zz - value)

    def times(self, vector: Planes) -> Planes:
        """Multiply each matrix by a vector."""
        xx, xy, xz, yy, yz, zz = self
        return dot((xx, xy, xz), vector), dot((xy, yy, yz), vector), dot((xz, yz, zz), vector)


class Spectrum(NamedTuple):
    """The eigenvalues of M matrices, [M] each: `mean` + `spread` times each of the three roots.

    Attributes:
        mean: a third of the trace.
        spread: 0 for a multiple of the identity.
        smallest: -2 to -1, the first root.
        middle: -1 to 1.
        largest: 1 to 2.
        half_det: -1 to 1, half the product of the roots: below 0 where the smallest eigenvalue
            stands apart from the other two, above where the largest does.
    """

    mean: Floats
    spread: Floats
    smallest: Floats
    middle: Floats
    largest: Floats
    half_det: Floats

    def values(self) -> tuple[Floats, Floats, Floats]:
        """Return the smallest, middle and largest eigenvalues."""
        roots = (self.smallest, self.middle, self.largest)
        return planes(self.mean + self.spread * root for root in roots)


def spectrum(a: Symmetric) -> Spectrum:
    """Solve the characteristic equation of each matrix.

    O. K. Smith, "Eigenvalues of a symmetric 3 × 3 matrix" (Communications of the ACM, 1961).
    """
    mean = (a.xx + a.yy + a.zz) / 3
    xx, xy, xz, yy, yz, zz = a.minus(mean)
    off_diagonal = xy * xy + xz * xz + yz * yz
    spread = np.sqrt((xx * xx + yy * yy + zz * zz + off_diagonal * 2) / 6)
    det = xx * (yy * zz - yz * yz) - xy * (xy * zz - yz * xz) + xz * (xy * yz - yy * xz)
    cubed = np.where(spread > 0, spread * spread * spread, 1.0)
    half_det = np.clip(det / np.where(cubed > 0, cubed, 1.0) * 0.5, -1.0, 1.0)
    angle = np.arccos(half_det) / 3
    largest = 2 * np.cos(angle)
    smallest = 2 * np.cos(angle + 2 * np.pi / 3)
    return Spectrum(mean, spread, smallest, -(smallest + largest), largest, half_det)


def null_vectors(a: Symmetric) -> Planes:
    """Return unit vectors that singular matrices turn to 0; 0 for a matrix of rank below 2.

    Such a vector is orthogonal to the rows; the longest of their cross products is the stablest.
    """
    rows = (a.xx, a.xy, a.xz), (a.xy, a.yy, a.yz), (a.xz, a.yz, a.zz)
    best = cross(rows[0], rows[1])
    longest = dot(best, best)
    for other in (cross(rows[0], rows[2]), cross(rows[1], rows[2])):
        squared = dot(other, other)
        best = where(squared > longest, other, best)
        longest = np.maximum(squared, longest)
    length = np.maximum(np.sqrt(longest), 1e-30)
    return planes(axis / length for axis in best)


def smallest_eigenvectors(matrices: Floats) -> Floats:
    """Return the unit eigenvector of the smallest eigenvalue of positive semi-definite matrices.

    D. Eberly, "A Robust Eigensolver for 3×3 Symmetric Matrices" (Geometric Tools). Its signs are
    part of the definition here: FPFH uses the normals as they come, and Open3D takes this solver.

    Args:
        matrices: float64 [M, 3, 3].

    Returns:
        float64 [M, 3]; the axis of the smallest entry for a diagonal matrix, z where they tie.
    """
    scale = matrices.max(axis=(1, 2), keepdims=True)
    scaled = matrices / np.where(scale > 0, scale, 1.0)
    a = Symmetric(*(scaled[:, row, column] for row in range(3) for column in range(row, 3)))
    axis = np.where((a.xx < a.yy) & (a.xx < a.zz), 0, np.where((a.yy < a.xx) & (a.yy < a.zz), 1, 2))
    vectors = np.eye(3)[axis]
    full = np.flatnonzero(a.xy * a.xy + a.xz * a.xz + a.yz * a.yz > 0)
    if len(full):
        vectors[full] = np.stack(_smallest_of_full(Symmetric(*(entry[full] for entry in a))), 1)
    return vectors


def _smallest_of_full(a: Symmetric) -> Planes:
    """`smallest_eigenvectors` of matrices with an entry off the diagonal."""
    mean, spread, smallest, middle, largest, half_det = spectrum(a)
    # The eigenvalue that stands apart is solved first: the smallest where half_det < 0, else the
    # largest, and then the smallest is what is orthogonal to the largest and the middle one.
    apart = half_det < 0
    first = null_vectors(a.minus(mean + spread * np.where(apart, smallest, largest)))
    second = _orthogonal_eigenvector(first, a, mean + spread * middle)
    # Rounding can order the two smaller ones either way where they are equal (points on a line).
    other = where(middle < smallest, second, cross(second, first))
    return where(apart, first, other)


def _orthogonal_eigenvector(first: Planes, a: Symmetric, value: Floats) -> Planes:
    """Unit eigenvector for `value` in the plane orthogonal to the eigenvector `first`."""
    x, y, z = first
    zero = np.zeros_like(x)
    with np.errstate(invalid="ignore"):  # of two candidates the one that is not taken may be 0 / 0
        across, along = np.sqrt(x * x + z * z), np.sqrt(y * y + z * z)
        u = where(
            np.abs(x) > np.abs(y),
            (-z / across, zero / across, x / across),
            (zero / along, z / along, -y / along),
        )
    v = cross(first, u)
    au, av = a.times(u), a.times(v)
    m00, m01, m11 = dot(u, au) - value, dot(u, av), dot(v, av) - value
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
    solution = planes(r1 * along_u - r0 * along_v for along_u, along_v in zip(u, v, strict=True))
    return where(no_choice, u, solution)
