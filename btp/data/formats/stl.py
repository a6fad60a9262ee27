"""STL: triangles without shared vertices, binary or as text.

Read here, because trimesh takes a solid's name for its triangles, tells two solids as a scene in
another order, and refuses bytes after the last triangle.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from btp.data.formats.content import Content
from btp.data.formats.text import load_rows, text_lines, without_mark

_HEAD, _FACET = 84, 50
_RECORD = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])


def decode_stl(data: bytes) -> Content:
    """Read the triangles of all solids, in the file's order: three vertices each.

    Raises:
        ValueError: the file is cut off, holds no triangle, or is no STL file.
    """
    corners, notes = _binary(data) if not _is_text(data) else (_text(data), ())
    if not len(corners):
        raise ValueError("an STL file without a triangle; the solid is empty")
    return Content(corners, np.arange(len(corners)).reshape(-1, 3), notes)


def _is_text(data: bytes) -> bool:
    # Some programs begin a binary file's 80 bytes of comment with "solid", too.
    if len(data) >= _HEAD and len(data) == _HEAD + _FACET * _announced(data):
        return False
    start = without_mark(data[:1000]).lstrip().lower()
    return start.startswith((b"solid", b"s\0o\0l\0", b"\xff\xfes\0")) and (
        b"\0" not in start or start[1:2] == b"\0"
    )


def _announced(data: bytes) -> int:
    return int.from_bytes(data[80:_HEAD], "little")


def _binary(data: bytes) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    if len(data) < _HEAD:
        raise ValueError(
            f"no STL file: {len(data)} bytes, expected 'solid' or {_HEAD} bytes of header"
        )
    count = _announced(data)
    expected = _HEAD + _FACET * count
    if len(data) < expected:
        raise ValueError(
            f"cut off, or no STL file: {len(data):,} of {expected:,} bytes, for {count:,} triangles"
        )
    rest = data[expected:]
    filled = bool(rest.strip(b"\0\r\n\t "))
    if filled and len(rest) % _FACET == 0:
        raise ValueError(
            f"its header announces {count:,} triangles, and there are bytes for "
            f"{count + len(rest) // _FACET:,}"
        )
    records = np.frombuffer(data, _RECORD, count, _HEAD)
    notes = (f"{len(rest):,} bytes after the last triangle passed over",) if filled else ()
    return records["corners"].reshape(-1, 3).astype(np.float64), notes


def _text(data: bytes) -> NDArray[np.float64]:
    seen: Counter[str] = Counter()

    def vertices() -> Iterator[str]:
        for line in text_lines(data):
            word = line.split(maxsplit=1)[0].lower() if line.strip() else ""
            seen[word] += 1
            if word == "vertex":
                yield line

    # Three numbers; a missing one is an error, and so is a fourth.
    corners = load_rows(vertices(), columns=[1, 2, 3])
    facets = seen["facet"]
    if not facets == seen["endfacet"] == len(corners) / 3 or seen["endsolid"] != seen["solid"]:
        raise ValueError(
            f"cut off: {seen['solid']} solids and {seen['endsolid']} ends of one, {facets} facets "
            f"and {len(corners)} vertices, expected three a facet"
        )
    return corners
