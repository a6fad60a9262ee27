"""The vertices of a PLY file, as bytes: read as they are stored, written with scores and colours.

Format: http://paulbourke.net/dataformats/ply/
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

_TYPES = {
    **dict.fromkeys(("char", "int8"), "i1"),
    **dict.fromkeys(("uchar", "uint8"), "u1"),
    **dict.fromkeys(("short", "int16"), "i2"),
    **dict.fromkeys(("ushort", "uint16"), "u2"),
    **dict.fromkeys(("int", "int32"), "i4"),
    **dict.fromkeys(("uint", "uint32"), "u4"),
    **dict.fromkeys(("float", "float32"), "f4"),
    **dict.fromkeys(("double", "float64"), "f8"),
}
_TOLERANCE = 1e-3  # of the spacing of the points, by which a written one may be moved
_SPACED = 1000  # points of which the spacing is measured
_BYTE_ORDERS = {"binary_little_endian": "<", "binary_big_endian": ">"}


@dataclass
class _Element:
    name: str
    rows: int
    properties: dict[str, str | None] = field(default_factory=dict)  # None: a list


def decode_ply_points(data: bytes) -> NDArray[np.floating]:
    """Read the vertices of a PLY file, ascii or binary of either byte order.

    Args:
        data: the whole file; faces and other properties are passed over.

    Returns:
        float32 or float64 [R, 3] as stored (integers become float64), in the file's order.

    Raises:
        ValueError: not a PLY file, no x, y, z, or fewer rows than the header announces.
    """
    encoding, elements, body = _split(data)
    if encoding == "ascii":
        points = _ascii_points(elements, body)
    elif encoding in _BYTE_ORDERS:
        points = _binary_points(elements, body, _BYTE_ORDERS[encoding])
    else:
        raise ValueError(f"PLY format is '{encoding}', expected ascii, {', '.join(_BYTE_ORDERS)}")
    return points if points.dtype.kind == "f" else points.astype(np.float64)


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
        len(points), dtype=[(name, "<" + _TYPES[kind]) for name, (kind, _) in columns.items()]
    )
    for name, (_, values) in columns.items():
        records[name] = values
    return header.encode("ascii") + records.tobytes()


def decode_ply_scalars(data: bytes, names: Sequence[str]) -> dict[str, NDArray]:
    """Read values that `encode_ply` wrote beside the points, under their names there: [R] each.

    Raises:
        ValueError: not a binary PLY file, cut off, or without one of these values.
    """
    encoding, elements, body = _split(data)
    if encoding not in _BYTE_ORDERS:
        raise ValueError(f"PLY format is '{encoding}', expected {', '.join(_BYTE_ORDERS)}")
    records = _records(elements, body, _BYTE_ORDERS[encoding])
    missing = [name for name in names if f"scalar_{name}" not in (records.dtype.names or ())]
    if missing:
        raise ValueError(f"PLY has no values {', '.join(missing)} of its vertices")
    return {name: records[f"scalar_{name}"].astype(np.float32) for name in names}


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


def _split(data: bytes) -> tuple[str, list[_Element], bytes]:
    end = data.find(b"end_header")
    if not data.startswith(b"ply") or end < 0:
        raise ValueError("no 'ply ... end_header', so this is not a PLY file or it is cut off")
    encoding, elements = "", list[_Element]()
    try:
        for line in data[:end].decode("latin-1").splitlines():
            match line.split():
                case ["format", encoding, *_]:
                    pass
                case ["element", name, rows]:
                    elements.append(_Element(name, int(rows)))
                case ["property", "list", _, _, name]:
                    elements[-1].properties[name] = None
                case ["property", kind, name]:
                    elements[-1].properties[name] = _TYPES[kind]
    except (IndexError, KeyError) as error:
        raise ValueError(f"PLY header is damaged ({error})") from error
    return encoding, elements, data[data.index(b"\n", end) + 1 :]


def _vertex(elements: list[_Element]) -> tuple[int, _Element]:
    """The vertex element, and how many rows of other elements come before it."""
    before = 0
    for element in elements:
        if element.name == "vertex":
            if not set("xyz") <= element.properties.keys() or None in element.properties.values():
                raise ValueError(
                    f"PLY vertices have the properties {', '.join(element.properties)}, "
                    "expected x, y, z and no lists"
                )
            return before, element
        before += element.rows
    raise ValueError("PLY has no element 'vertex'")


def _ascii_points(elements: list[_Element], body: bytes) -> NDArray:
    lines = [line for line in body.decode("ascii").splitlines() if line.strip()]
    expected = sum(element.rows for element in elements)
    if len(lines) != expected:
        raise ValueError(f"PLY holds {len(lines):,} rows, its header announces {expected:,}")
    first, vertex = _vertex(elements)
    names = list(vertex.properties)
    rows = lines[first : first + vertex.rows]
    columns = [names.index(axis) for axis in "xyz"]
    table = (
        np.loadtxt(rows, dtype=np.float64, usecols=columns, ndmin=2) if rows else np.empty((0, 3))
    )
    return table.astype(np.result_type(*(vertex.properties[axis] or "f8" for axis in "xyz")))


def _binary_points(elements: list[_Element], body: bytes, order: str) -> NDArray:
    records = _records(elements, body, order)
    points = np.stack([records[axis] for axis in "xyz"], axis=1)
    return points.astype(points.dtype.newbyteorder("="))


def _records(elements: list[_Element], body: bytes, order: str) -> NDArray:
    """The vertices as a structured array [R]."""
    first, vertex = _vertex(elements)
    if first:
        raise ValueError("PLY has other elements before its vertices, expected vertices first")
    record = np.dtype([(name, f"{order}{kind}") for name, kind in vertex.properties.items()])
    expected = vertex.rows * record.itemsize
    if len(body) < expected:
        raise ValueError(
            f"PLY is cut off: {len(body):,} bytes, {vertex.rows:,} vertices need {expected:,}"
        )
    return np.frombuffer(body, record, vertex.rows)
