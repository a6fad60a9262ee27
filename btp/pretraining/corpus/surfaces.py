"""The outside of any mesh, as a scanner that walks around it sees it, kept on disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from btp.data.formats import read_mesh
from btp.data.synthesis.scanner import visible
from btp.errors import DataError
from btp.runtime.files import file_digest, write_bytes

Array = NDArray[np.float64]

POINTS = 20_000
"""Points that are kept of a mesh: more than `btp.geometry.local_geometry` reads of any cloud."""
VIEWS = 24
FORMAT = "1"


def outside(vertices: Array, faces: NDArray[np.int64]) -> tuple[Array, Array]:
    """Sample what can be seen of a mesh from outside, whatever way its faces are turned.

    Furniture and robots are modelled with faces inside them, and with faces turned at random. A
    point counts as outside if one of 24 distant viewpoints sees it, and its normal looks to where
    it is seen from.

    Args:
        vertices: [V, 3].
        faces: [F, 3].

    Returns:
        At most `POINTS` points [N, 3] in the unit sphere about their mean, and unit normals [N, 3].

    Raises:
        DataError: if the mesh has no area, or no extent in two directions.
    """
    rng = np.random.default_rng(0)
    points, normals = _sample(np.asarray(vertices, np.float64), faces, 3 * POINTS, rng)
    votes, seen = np.zeros(len(points)), np.zeros(len(points), bool)
    for direction in _sphere(VIEWS):
        side = np.where(normals @ direction < 0, -1.0, 1.0)
        here = visible(points, side[:, None] * normals, direction)
        votes[here] += side[here]
        seen |= here
    rows = np.flatnonzero(seen)
    rows = np.sort(rng.permutation(rows)[:POINTS])
    points, normals = points[rows], normals[rows] * np.where(votes[rows] < 0, -1.0, 1.0)[:, None]
    points = points - points.mean(0)
    return points / np.linalg.norm(points, axis=1).max(), normals


def kept_outside(path: Path, cache: Path) -> tuple[Array, Array]:
    """Return the `outside` of a mesh file, computed once and kept in the folder `cache`.

    Raises:
        DataError: if the file cannot be read or has no surface.
    """
    from safetensors.numpy import load_file, save

    kept = cache / f"{file_digest(path)}-{FORMAT}.safetensors"
    if not kept.is_file():
        points, normals = outside(*read_mesh(path))
        content = {"points": points.astype(np.float32), "normals": normals.astype(np.float32)}
        write_bytes(kept, save(content))
    content = load_file(kept)
    return content["points"].astype(np.float64), content["normals"].astype(np.float64)


def _sample(
    vertices: Array, faces: NDArray[np.int64], count: int, rng: np.random.Generator
) -> tuple[Array, Array]:
    """Draw points [count, 3] evenly from the faces, with the faces' unit normals."""
    a, b, c = np.moveaxis(vertices[faces], 1, 0)
    across = np.cross(b - a, c - a)
    area = np.linalg.norm(across, axis=1)
    extent = np.sort(np.ptp(vertices[np.unique(faces)], axis=0))
    if not area.sum() > 0 or not extent[1] > 1e-3 * extent[2]:
        raise DataError(
            f"{len(faces)} faces with an area of {area.sum() / 2:g} and an extent of "
            f"{extent.tolist()}; expected a surface that is more than a line"
        )
    rows = rng.choice(len(faces), count, p=area / area.sum())
    u, v = rng.random((2, count, 1))
    flip = u + v > 1
    u, v = np.where(flip, 1 - u, u), np.where(flip, 1 - v, v)
    points = a[rows] + u * (b - a)[rows] + v * (c - a)[rows]
    return points, across[rows] / area[rows, None]


def _sphere(count: int) -> Array:
    """Return unit vectors [count, 3], evenly spread: a Fibonacci lattice."""
    height = 1 - (2 * np.arange(count) + 1) / count
    angle = np.pi * (1 + 5**0.5) * np.arange(count)
    flat = np.sqrt(1 - height**2)
    return np.column_stack([flat * np.cos(angle), flat * np.sin(angle), height])
