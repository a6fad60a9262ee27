"""OBJ meshes and clouds.

Read line by line, because trimesh reorders and splits the vertices of a file with textures, and a
score a row needs the file's own rows.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator

import numpy as np

from btp.data.formats.content import Content, fan
from btp.data.formats.text import text_lines


def decode_obj(data: bytes) -> Content:
    """Read vertices and triangles in the file's order; polygons become fans of triangles.

    Faces of two corners are edges, and passed over. Materials that the file names are not opened.

    Raises:
        ValueError: no text, a line that is not what it begins as, or a face that names a vertex
            the file does not hold.
    """
    vertices, faces = array("d"), array("q")  # a list of lists takes five times the memory
    for number, line in _joined(text_lines(data)):
        words = line.split("#", 1)[0].split()
        try:
            if words and words[0] == "v":
                x, y, z = map(float, words[1:4])
                vertices.extend((x, y, z))
            elif words and words[0] == "f":
                # "7/1/2" is vertex/texture/normal; from 1, or negative from the latest vertex.
                indices = [int(word.split("/", 1)[0]) for word in words[1:]]
                faces.extend(fan([_row(i, len(vertices) // 3) for i in indices]))
        except (ValueError, OverflowError) as error:
            raise ValueError(f"line {number} is '{line.strip()[:60]}' ({error})") from error
    return Content(
        np.array(vertices, np.float64).reshape(-1, 3), np.array(faces, np.int64).reshape(-1, 3)
    )


def _row(index: int, known: int) -> int:
    if index == 0:
        raise ValueError("a face names vertex 0, and vertices are counted from 1")
    return index - 1 if index > 0 else known + index


def _joined(lines: Iterable[str]) -> Iterator[tuple[int, str]]:
    r"""Yield lines with their numbers; one that ends in `\` goes on in the next."""
    begun = ""
    for number, line in enumerate(lines, start=1):
        if line.rstrip("\r\n").endswith("\\"):
            begun += line.rstrip("\r\n")[:-1] + " "
            continue
        yield number, begun + line
        begun = ""
    if begun:
        raise ValueError("cut off: its last line goes on in one that is not there")
