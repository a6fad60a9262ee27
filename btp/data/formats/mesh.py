"""Triangle meshes as bytes: obj and off read line by line, stl and the faces of ply by trimesh.

trimesh reorders and splits the vertices of an obj with textures, and takes a cut-off off file for a
whole one; a score a row needs the file's own rows.
"""

from __future__ import annotations

import io
from itertools import pairwise
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Mesh: TypeAlias = tuple[NDArray[np.float64], NDArray[np.int64]]


def decode_mesh(data: bytes, suffix: str) -> Mesh:
    """Read vertices and triangles in the file's order; polygons become fans of triangles.

    Args:
        data: the whole file. Materials and textures that it names are not opened.
        suffix: ".obj", ".stl", ".off" or ".ply".

    Returns:
        (float64 [V, 3], int64 [F, 3]); F is 0 for a file without faces. STL stores no shared
        vertices, so its V is 3F.

    Raises:
        ValueError: the file is not what its suffix says, or a face names a vertex it does not hold.
    """
    if suffix == ".obj":
        vertices, faces = _decode_obj(data)
    elif suffix == ".off":
        vertices, faces = _decode_off(data)
    else:
        vertices, faces = _decode_by_trimesh(data, suffix)
    if len(faces) and not 0 <= faces.min() <= faces.max() < len(vertices):
        raise ValueError(
            f"faces name the vertices {faces.min()} to {faces.max()} (from 0), "
            f"but there are {len(vertices)}"
        )
    return vertices, faces


def _decode_obj(data: bytes) -> Mesh:
    vertices: list[list[float]] = []
    faces: list[tuple[int, int, int]] = []
    for number, line in enumerate(data.decode("latin-1").splitlines(), start=1):
        words = line.split("#", 1)[0].split()
        try:
            if words and words[0] == "v":
                x, y, z = map(float, words[1:4])
                vertices.append([x, y, z])
            elif words and words[0] == "f":
                # "7/1/2" is vertex/texture/normal; from 1, or negative from the latest vertex.
                indices = [int(word.split("/", 1)[0]) for word in words[1:]]
                faces += _fan([i - 1 if i > 0 else len(vertices) + i for i in indices])
        except ValueError as error:
            raise ValueError(f"line {number} is '{line.strip()[:60]}' ({error})") from error
    return _as_arrays(vertices, faces)


def _decode_off(data: bytes) -> Mesh:
    lines = [line.split("#", 1)[0] for line in data.decode("latin-1").splitlines()]
    head, _, rest = "\n".join(line for line in lines if line.strip()).partition("OFF")
    if head not in ("", "C", "N", "CN", "ST"):
        raise ValueError("the first line is not OFF")
    body = [line.split() for line in rest.strip().splitlines()]
    rows, polygons = map(int, (body.pop(0) if body else [])[:2])
    if len(body) < rows + polygons:
        raise ValueError(
            f"cut off: {len(body)} rows, its header announces {rows} vertices and {polygons} faces"
        )
    vertices: list[list[float]] = []
    faces: list[tuple[int, int, int]] = []
    for line in body[:rows]:
        x, y, z = map(float, line[:3])
        vertices.append([x, y, z])
    for corners, *indices in body[rows : rows + polygons]:
        faces += _fan([int(index) for index in indices[: int(corners)]])
    return _as_arrays(vertices, faces)


def _fan(corners: list[int]) -> list[tuple[int, int, int]]:
    if len(corners) < 3:
        raise ValueError(f"a face needs three corners, found {len(corners)}")
    return [(corners[0], b, c) for b, c in pairwise(corners[1:])]


def _as_arrays(vertices: list[list[float]], faces: list[tuple[int, int, int]]) -> Mesh:
    return (
        np.array(vertices, dtype=np.float64).reshape(-1, 3),
        np.array(faces, dtype=np.int64).reshape(-1, 3),
    )


def _decode_by_trimesh(data: bytes, suffix: str) -> Mesh:
    import trimesh

    try:
        # A stream and no path: trimesh then has nowhere to fetch a named texture from.
        loaded = trimesh.load(
            io.BytesIO(data), file_type=suffix[1:], process=False, fix_texture=False
        )
    except Exception as error:  # trimesh lets through whatever its parsers happen to raise
        raise ValueError(f"not a readable {suffix[1:]} file ({error})") from error
    faces = getattr(loaded, "faces", np.empty((0, 3)))
    vertices = getattr(loaded, "vertices", np.empty((0, 3)))
    return (
        np.asarray(vertices, dtype=np.float64).reshape(-1, 3),
        np.asarray(faces, dtype=np.int64).reshape(-1, 3),
    )
