"""OFF meshes.

Read row by row, because trimesh takes a file that is cut off for a whole one.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterator

import numpy as np

from btp.data.formats.content import Content, fan
from btp.data.formats.text import text_lines

_KEYWORD = re.compile(r"(?:ST|C|N)*(4?n?)OFF(?:\s+|$)(.*)")


def decode_off(data: bytes) -> Content:
    """Read vertices and triangles in the file's order; polygons become fans of triangles.

    Texture, colour and normal columns (STOFF, COFF, NOFF and their mixtures) are passed over.

    Raises:
        ValueError: not an OFF file of text, or another number of rows than it announces.
    """
    if re.match(rb"\s*\w*OFF[ \t]+BINARY", data):
        raise ValueError("a binary OFF file, expected one of text; export it as ASCII, PLY or STL")
    lines = _rows(data)
    match = _KEYWORD.match(next(lines, ""))
    if match is None:
        raise ValueError("the first line is not OFF")
    if match[1]:
        raise ValueError("an OFF file of four or more dimensions, expected x, y and z")
    counts = (match[2] or next(lines, "")).split()
    try:
        rows, polygons = int(counts[0]), int(counts[1])
    except (IndexError, ValueError) as error:
        raise ValueError(
            f"its counts are '{' '.join(counts)[:60]}', expected those of vertices, faces and edges"
        ) from error
    vertices, faces = array("d"), array("q")
    found = 0
    for found, line in enumerate(lines, start=1):
        words = line.split()
        try:
            if found <= rows:
                x, y, z = map(float, words[:3])
                vertices.extend((x, y, z))
            elif found <= rows + polygons:
                corners = int(words[0])
                if not 0 <= corners < len(words):
                    raise ValueError(f"{len(words) - 1} of {corners} corners")
                faces.extend(fan([int(word) for word in words[1 : corners + 1]]))
        except (ValueError, OverflowError) as error:
            raise ValueError(f"row {found} is '{line.strip()[:60]}' ({error})") from error
    if found != rows + polygons:
        wrong = "cut off" if found < rows + polygons else "too long"
        raise ValueError(
            f"{wrong}: {found} rows, its header announces {rows} vertices and {polygons} faces"
        )
    return Content(
        np.array(vertices, np.float64).reshape(-1, 3), np.array(faces, np.int64).reshape(-1, 3)
    )


def _rows(data: bytes) -> Iterator[str]:
    for line in text_lines(data):
        text = line.split("#", 1)[0].strip()
        if text:
            yield text
