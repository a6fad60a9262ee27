"""PLY files as bytes: read as they are stored, written with scores and colours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from btp.data.formats.content import NO_FACES, Content, fans
from btp.data.formats.ply_layout import (
    BYTE_ORDERS,
    TYPES,
    Element,
    Rows,
    binary_rows,
    read_header,
    text_rows,
)

_TOLERANCE = 1e-3  # of the spacing of the points, by which a written one may be moved
_SPACED = 1000  # points of which the spacing is measured


def decode_ply(data: bytes) -> Content:
    """Read the vertices and faces of a PLY file, as text or binary of either byte order.

    Args:
        data: the whole file; colours, normals and other properties are passed over.

    Returns:
        Points float32 or float64 [R, 3] as stored (integers become float64), in the file's order,
        and triangles: polygons become fans of them, and triangle strips single ones.

    Raises:
        ValueError: not a PLY file, no x, y, z, or other rows than the header announces.
    """
    elements, rows = _read(data)
    faces = [_polygons(elements, rows), _strips(elements, rows)]
    return Content(_points(_vertex(elements), rows.get("vertex", [])), np.concatenate(faces))


def encode_ply(
    points: NDArray[np.floating],
    scalars: Mapping[str, NDArray] | None = None,
    colors: NDArray[np.uint8] | None = None,
) -> bytes:
    """Write a cloud as a binary PLY file.

    Args:
        points: [R, 3], written as float32, or as float64 where that would move them visibly.
        scalars: name -> [R] values, each written as float32 under `scalar_<name>`, the name by
            which CloudCompare knows a scalar field (MeshLab lists it as a vertex attribute).
        colors: uint8 [R, 3], red, green, blue.
    """
    columns: dict[str, tuple[str, NDArray]] = {}
    kind = "double" if _moved_by_float32(points) else "float"
    columns.update({axis: (kind, points[:, i]) for i, axis in enumerate("xyz")})
    if colors is not None:
        names = ("red", "green", "blue")
        columns.update({name: ("uchar", colors[:, i]) for i, name in enumerate(names)})
    for name, values in (scalars or {}).items():
        columns[f"scalar_{name}"] = ("float", values)
    properties = "".join(f"property {kind} {name}\n" for name, (kind, _) in columns.items())
    header = (
        "ply\nformat binary_little_endian 1.0\n"
        f"element vertex {len(points)}\n{properties}end_header\n"
    )
    records = np.empty(
        len(points), dtype=[(name, "<" + TYPES[kind]) for name, (kind, _) in columns.items()]
    )
    for name, (_, values) in columns.items():
        records[name] = values
    return header.encode("ascii") + records.tobytes()


def decode_ply_scalars(data: bytes, names: Sequence[str]) -> dict[str, NDArray]:
    """Read values that `encode_ply` wrote beside the points, under their names there: [R] each.

    Raises:
        ValueError: not a PLY file, cut off, or without one of these values.
    """
    elements, rows = _read(data)
    vertex = _vertex(elements)
    at = {name: vertex.position(f"scalar_{name}".lower()) for name in names}
    missing = [name for name, position in at.items() if position is None]
    if missing:
        raise ValueError(f"PLY has no values {', '.join(missing)} of its vertices")
    values = {name: np.empty(vertex.rows, np.float32) for name in names}
    for some, records in rows.get("vertex", []):
        for name, position in at.items():
            values[name][some] = records[f"{position}"]
    return values


def _moved_by_float32(points: NDArray[np.floating]) -> bool:
    """Whether rounding to float32 moves a point by more than a thousandth of the spacing."""
    from scipy.spatial import cKDTree

    if points.dtype == np.float32:
        return False
    known = points[np.isfinite(points).all(1)]
    with np.errstate(over="ignore", invalid="ignore"):
        moved = np.abs(known - known.astype(np.float32)).max(initial=0)
    if moved == 0 or len(known) < 2:
        return bool(moved > 0)
    some = known[:: max(1, len(known) // _SPACED)]
    tree = cKDTree(known, compact_nodes=False, balanced_tree=False)
    gaps = tree.query(some, 2)[0][:, 1]
    # Rounded apart or together: equal points say nothing of the spacing.
    spacing = np.median(gaps[gaps > 0]) if (gaps > 0).any() else 0.0
    return bool(not moved <= _TOLERANCE * spacing)


def _read(data: bytes) -> tuple[list[Element], dict[str, Rows]]:
    encoding, elements, body = read_header(data)
    _vertex(elements)
    if encoding == "ascii":
        return elements, text_rows(elements, body)
    if encoding in BYTE_ORDERS:
        return elements, binary_rows(elements, body, BYTE_ORDERS[encoding])
    raise ValueError(f"PLY format is '{encoding}', expected ascii, {', '.join(BYTE_ORDERS)}")


def _vertex(elements: list[Element]) -> Element:
    """Return the element that holds the points."""
    vertex = next((element for element in elements if element.name == "vertex"), None)
    if vertex is None:
        raise ValueError("PLY has no element 'vertex'")
    if None in (vertex.position(axis) for axis in "xyz"):
        raise ValueError(
            f"PLY vertices have the properties {', '.join(p.name for p in vertex.properties)}, "
            "expected x, y, z"
        )
    return vertex


def _points(vertex: Element, rows: Rows) -> NDArray[np.floating]:
    # A name that is given twice counts where it comes first.
    positions = [vertex.position(axis) or 0 for axis in "xyz"]
    kinds = np.result_type(*(vertex.properties[position].kind for position in positions))
    points = np.empty((vertex.rows, 3), kinds if kinds.kind == "f" else np.float64)
    for some, records in rows:
        for axis, position in enumerate(positions):
            points[some, axis] = records[f"{position}"]
    return points


def _polygons(elements: list[Element], rows: dict[str, Rows]) -> NDArray[np.int64]:
    face = next((element for element in elements if element.name == "face"), None)
    return np.concatenate([NO_FACES, *map(fans, _corners(face, rows))])


def _strips(elements: list[Element], rows: dict[str, Rows]) -> NDArray[np.int64]:
    """Return the triangles of strips: a corner makes one with the two before, -1 ends one."""
    strips = next((element for element in elements if element.name == "tristrips"), None)
    triangles = [NO_FACES]
    for strip in (strip for some in _corners(strips, rows) for strip in some):
        for run in np.split(strip, np.flatnonzero(strip < 0)):
            run = run[run >= 0]
            if len(run) > 2:
                faces = np.stack([run[:-2], run[1:-1], run[2:]], axis=1)
                faces[1::2, :2] = faces[1::2, 1::-1]  # every other one winds the other way
                triangles.append(faces)
    found = np.concatenate(triangles)
    a, b, c = found.T
    return found[(a != b) & (b != c) & (c != a)]


def _corners(element: Element | None, rows: dict[str, Rows]) -> list[NDArray[np.int64]]:
    """Return the corners [P, K] of an element's polygons, for each number of corners K."""
    names = ("vertex_indices", "vertex_index")
    position = None if element is None else element.position(*names, lists=True)
    if element is None or position is None:
        return []
    corners = [records[f"{position}"] for _, records in rows.get(element.name, [])]
    if not all(np.isfinite(some).all() for some in corners):
        raise ValueError(f"PLY rows of '{element.name}' name vertices that are no numbers")
    return [some.astype(np.int64) for some in corners]
