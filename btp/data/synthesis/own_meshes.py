"""Defects on a person's own meshes: each mesh file becomes a category of a labelled test set."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from btp.data.formats import MESH_SUFFIXES, read_mesh
from btp.data.synthesis.scanner import Draw, SetSize, require_free, write_set
from btp.errors import DataError


def synthesize(
    source: Path,
    out: Path,
    seed: int = 0,
    size: SetSize | None = None,
    workers: int | None = None,
) -> Path:
    """Scan every mesh of a folder, with and without defects, into a set in our usual layout.

    Args:
        source: folder with obj, stl, ply or off files; any units, not necessarily watertight.
        out: folder to write (see `btp.data.synthesis.scanner.write_set`); must be absent or empty.
        seed: the same seed and meshes give the same bytes.
        size: scans per mesh.
        workers: processes, by default one a core, at most eight; the result does not depend on it.

    Returns:
        `out`. A mesh `Gear Base.stl` is the category `gear_base`.

    Raises:
        DataError: no such folder, no mesh in it, two meshes of one name, an unreadable mesh, or an
            `out` that holds something.
    """
    require_free(Path(out))
    meshes = find_meshes(Path(source))
    for path in meshes.values():  # before any scan is written, so that a bad file costs no time
        load_oriented(path)
    workers = workers or min(os.cpu_count() or 1, 8)
    return write_set(Path(out), partial(_individuals, meshes), sorted(meshes), seed, size, workers)


def find_meshes(source: Path) -> dict[str, Path]:
    """List the meshes of a folder by category name: the file's stem in lower case, without spaces.

    Raises:
        DataError: no such folder, no mesh in it, or two meshes of one name.
    """
    if not source.is_dir():
        raise DataError(f"{source}: no such folder; expected a folder with mesh files")
    meshes: dict[str, Path] = {}
    for path in sorted(source.iterdir()):
        if path.suffix.lower() not in MESH_SUFFIXES or not path.is_file():
            continue
        name = "_".join(path.stem.lower().split())
        if name in meshes:
            raise DataError(
                f"{path}: its category {name!r} is taken by {meshes[name].name}; expected one mesh "
                "a name. Rename one of the two files."
            )
        meshes[name] = path
    if not meshes:
        raise DataError(f"{source}: no mesh found; expected files {', '.join(MESH_SUFFIXES)}")
    return meshes


def load_oriented(path: Path) -> Any:
    """Read a mesh and turn its faces outward.

    Faces that share an edge are first made to agree. Then each connected piece is turned so that
    the volume under its faces, seen from its centre, is positive; this also decides for open
    pieces. A mesh that is closed and consistent is left as it is, with its inner cavities.

    Returns:
        A trimesh.Trimesh.

    Raises:
        DataError: an unreadable mesh, or one without surface.
    """
    import trimesh

    vertices, faces = read_mesh(path)
    mesh = trimesh.Trimesh(vertices, faces, process=True)
    mesh.update_faces(mesh.nondegenerate_faces())
    if not len(mesh.faces) or not mesh.area > 0:
        raise DataError(f"{path}: {len(faces)} faces without any area; expected a surface")
    if mesh.is_volume:
        return mesh
    trimesh.repair.fix_winding(mesh)  # type: ignore[no-untyped-call]
    links = mesh.face_adjacency
    joined = coo_matrix((np.ones(len(links)), links.T), (len(mesh.faces),) * 2)
    pieces = connected_components(joined, directed=False)[1]
    inward = _volumes(mesh.triangles, pieces) < 0
    turned = inward[pieces]
    mesh.faces[turned] = mesh.faces[turned][:, ::-1]
    return trimesh.Trimesh(mesh.vertices, mesh.faces, process=False)


def _volumes(triangles: NDArray, pieces: NDArray) -> NDArray[np.float64]:
    """Signed volume between each piece's faces and the mean of its corners: [P]."""
    count = np.bincount(pieces)[:, None]
    middle = triangles.mean(1)
    centre = np.stack([np.bincount(pieces, weights=axis) for axis in middle.T], 1) / count
    a, b, c = np.moveaxis(triangles - centre[pieces][:, None], 1, 0)
    return np.bincount(pieces, weights=(np.cross(a, b) * c).sum(1) / 6).astype(np.float64)


def _individuals(
    meshes: Mapping[str, Path], category: str
) -> Callable[[np.random.Generator], Draw]:
    """The category's one object; what varies between its scans is up to the scanner."""
    draw = partial(_sample, load_oriented(meshes[category]))
    return lambda _: draw


def _sample(mesh: Any, count: int, rng: np.random.Generator) -> tuple[NDArray, NDArray]:
    import trimesh

    points, faces = trimesh.sample.sample_surface(mesh, count, seed=rng)
    return np.asarray(points), np.asarray(mesh.face_normals[faces])
