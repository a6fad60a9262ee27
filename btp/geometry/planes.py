"""Vectors in space as three arrays, one an axis: NumPy is slow on rows of three."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Planes = tuple[Floats, Floats, Floats]
"""The x, y and z of some vectors, arrays of one shape."""


def planes(arrays: Iterable[Floats]) -> Planes:
    """Take three arrays, or the columns of one given as its transpose, as vectors."""
    x, y, z = arrays
    return x, y, z


def dot(a: Planes, b: Planes) -> Floats:
    """Return the scalar product of each pair of vectors."""
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def cross(a: Planes, b: Planes) -> Planes:
    """Return the vector product of each pair of vectors."""
    return a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]


def where(mask: NDArray[np.bool_], a: Planes, b: Planes) -> Planes:
    """Take each vector from `a` where the mask is True, else from `b`."""
    return planes(np.where(mask, here, there) for here, there in zip(a, b, strict=True))
