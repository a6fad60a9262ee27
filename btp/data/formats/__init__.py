"""Read and write clouds, meshes and label files; every failure names the file and what to do."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from btp.data.formats.arrays import as_points, named_columns, read_npy, read_npz
from btp.data.formats.content import Content
from btp.data.formats.e57 import read_e57
from btp.data.formats.foreign import LONGEST, foreign
from btp.data.formats.las import decode_las
from btp.data.formats.obj import decode_obj
from btp.data.formats.off import decode_off
from btp.data.formats.packed_meshes import decode_packed_mesh
from btp.data.formats.pcd import decode_pcd, encode_pcd
from btp.data.formats.ply import decode_ply, decode_ply_scalars, encode_ply
from btp.data.formats.stl import decode_stl
from btp.data.formats.table import decode_table, encode_table
from btp.errors import DataError
from btp.runtime.files import write_atomically

MESH_SUFFIXES = (".3mf", ".glb", ".obj", ".off", ".ply", ".stl")
TEXT_SUFFIXES = (".csv", ".pts", ".txt", ".xyz")
LAS_SUFFIXES = (".las", ".laz")
POINT_SUFFIXES = tuple(
    sorted((*MESH_SUFFIXES, *TEXT_SUFFIXES, *LAS_SUFFIXES, ".e57", ".npy", ".npz", ".pcd"))
)

Points = NDArray[np.floating]


def read_content(path: str | Path) -> Content:
    """Read points, and the faces where the file has any, every row in the order of the file.

    Args:
        path: as in `read_points`.

    Returns:
        Rows that are nan or infinite are kept. The points are in memory of their own.

    Raises:
        DataError: missing, empty, cut off or unreadable file, or no finite point in it.
    """
    path = Path(path)
    if path.suffix.lower() not in POINT_SUFFIXES:
        raise DataError(
            f"{path}: files of kind '{path.suffix}' are not read; known are "
            f"{', '.join(POINT_SUFFIXES)}. Convert the file to one of these."
        )
    with _naming(path):
        content = _decode(path)
        points = np.require(content.points, requirements=["C", "W", "O"])
    if not len(points):
        raise DataError(f"{path}: no points; expected at least one.")
    if not _finite_rows(points).any():
        raise DataError(
            f"{path}: {len(points)} points, none of them finite; expected at least one."
        )
    return Content(points, content.faces, content.notes)


def read_points(
    path: str | Path, on_invalid: Literal["error", "keep", "drop"] = "error"
) -> NDArray[np.floating]:
    """Read the points of a cloud, or the vertices of a mesh, in the order of the file.

    Args:
        path: pcd, ply, obj, stl, off, glb, 3mf, xyz, pts, txt, csv, npy, npz, and with the extras
            `las` and `e57` also las, laz and e57. Text and npy need x, y, z in their first three
            columns or under these names; an npz names its array points, xyz or pcd, or holds a
            single unnamed one.
        on_invalid: what to do with rows that are NaN or infinite, which an organised scan has
            where the sensor saw nothing: "error", "keep" them, or "drop" them.

    Returns:
        float32 or float64 [R, 3] as stored, in the file's units, in memory of its own.

    Raises:
        DataError: missing, empty, cut off or unreadable file; no finite point; non-finite rows
            under on_invalid="error"; or a las or e57 file without its extra.
    """
    points = read_content(path).points
    finite = _finite_rows(points)
    if on_invalid == "error":
        _require_finite(Path(path), finite)
    return points[finite] if on_invalid == "drop" else points


def read_mesh(path: str | Path) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Read a triangle mesh.

    Args:
        path: obj, stl, off, ply, glb or 3mf; larger polygons become triangles.

    Returns:
        Vertices float64 [V, 3] in the file's units and order, and triangles int64 [F, 3], F >= 1.

    Raises:
        DataError: missing, empty or unreadable file, no faces, or non-finite vertices.
    """
    path = Path(path)
    if path.suffix.lower() not in MESH_SUFFIXES:
        raise DataError(
            f"{path}: files of kind '{path.suffix}' hold no mesh; expected one of "
            f"{', '.join(MESH_SUFFIXES)}."
        )
    content = read_content(path)
    vertices, faces = content.points.astype(np.float64), content.faces
    if not len(faces):
        raise DataError(
            f"{path}: {len(vertices)} vertices and no faces; expected a mesh. Read it as points, "
            "or export the surface with its triangles."
        )
    _require_finite(path, _finite_rows(vertices))
    return vertices, faces


def read_scalars(
    path: str | Path, names: Sequence[str]
) -> tuple[NDArray[np.floating], dict[str, NDArray]]:
    """Read points [R, 3], some of them nan, and float32 [R] values that `write_ply` wrote.

    Raises:
        DataError: missing or damaged file, or one without values of these names.
    """
    path = Path(path)
    with _naming(path):
        data = path.read_bytes()
        return decode_ply(data).points, decode_ply_scalars(data, names)


def read_labelled_points(path: str | Path) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Read a ground-truth file: `x y z label` a row, separated by white space or commas.

    Returns:
        Points float64 [R, 3], and labels bool [R], True for every label other than 0.

    Raises:
        DataError: missing, empty or unreadable file, another number of columns, non-finite
            points, or a label that is negative or not a number.
    """
    path = Path(path)
    with _naming(path):
        table, _ = decode_table(path.read_bytes())
        if table.shape[1] != 4:
            raise ValueError(f"{table.shape[1]} columns, expected four: x y z label")
        labels = table[:, 3]
        wrong = np.flatnonzero(~(labels >= 0) | np.isinf(labels))
        if len(wrong):
            raise ValueError(
                f"label {labels[wrong[0]]} in row {wrong[0]} ({len(wrong)} such rows), expected "
                "0 for normal and 1 for defective points"
            )
    points = np.ascontiguousarray(table[:, :3])
    _require_finite(path, _finite_rows(points))
    return points, labels != 0


def write_pcd(path: str | Path, points: Points) -> None:
    """Write points [R, 3] as a binary PCD file of float32."""
    _write(path, encode_pcd(as_points(np.asarray(points))))


def write_ply(
    path: str | Path,
    points: Points,
    scalars: Mapping[str, NDArray] | None = None,
    colors: NDArray[np.uint8] | None = None,
) -> None:
    """Write a binary PLY file that CloudCompare and MeshLab open with its scores.

    Args:
        path: where to.
        points: [R, 3], written as float32; as float64 where float32 would move a point by more than
            a thousandth of the points' spacing, as it does far from the origin.
        scalars: name -> [R] values, such as the scores; stored as `scalar_<name>`.
        colors: uint8 [R, 3], red, green, blue.

    Raises:
        ValueError: arrays of different lengths.
    """
    _write(path, encode_ply(as_points(np.asarray(points)), scalars, colors))


def write_labelled_txt(
    path: str | Path, points: Points, labels: NDArray[np.bool_], delimiter: str = ","
) -> None:
    """Write a ground-truth file, `x y z label` a row; float32 points are read back unchanged.

    Args:
        path: where to.
        points: [R, 3].
        labels: [R], True where defective.
        delimiter: "," as in Anomaly-ShapeNet, or " " as in Real3D-AD.
    """
    _write(path, encode_table(as_points(np.asarray(points)), labels, delimiter))


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Check that a file can be read at all, and turn a decoder's complaint into a DataError."""
    try:
        if path.stat().st_size == 0 and path.is_file():
            raise DataError(
                f"{path}: the file is empty (0 bytes). 7z writes empty files when it fails on a "
                "RAR archive; extract it again with unar, or download it again."
            )
        with path.open("rb") as file:
            start = file.read(LONGEST)
        if (wrong := foreign(start, path.suffix.lower())) is not None:
            raise DataError(f"{path}: {wrong}.")
        yield
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file; check the path.") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be opened ({error.strerror}).") from error
    except MemoryError as error:
        raise DataError(f"{path}: needs more memory than there is; thin the scan.") from error
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
        raise DataError(
            f"{path}: not readable as {path.suffix[1:].lower()}: {error}. If the file is damaged, "
            "export or download it again."
        ) from error


def _decode(path: Path) -> Content:
    suffix = path.suffix.lower()
    if suffix == ".npy":
        return Content(read_npy(path))
    if suffix == ".npz":
        return Content(read_npz(path))
    if suffix == ".e57":
        return Content(read_e57(path))
    data = path.read_bytes()
    if suffix in TEXT_SUFFIXES:
        return Content(named_columns(*decode_table(data)))
    if suffix == ".pcd":
        return Content(decode_pcd(data))
    if suffix in LAS_SUFFIXES:
        return Content(decode_las(data, str(path)))
    if suffix in (".3mf", ".glb"):
        return decode_packed_mesh(data, suffix)
    decoders = {".ply": decode_ply, ".obj": decode_obj, ".off": decode_off, ".stl": decode_stl}
    return decoders[suffix](data)


def _write(path: str | Path, data: bytes) -> None:
    write_atomically(Path(path), lambda file: file.write(data))


def _finite_rows(points: Points) -> NDArray[np.bool_]:
    return np.asarray(np.isfinite(points).all(axis=1))


def _require_finite(path: Path, finite: NDArray[np.bool_]) -> None:
    if not finite.all():
        raise DataError(
            f"{path}: {np.count_nonzero(~finite)} of {len(finite)} points are NaN or infinite, "
            f"first row {int(np.argmin(finite))} (from 0); expected finite coordinates. "
            "Remove these rows from the file."
        )
