"""GLB and 3MF, read by trimesh."""

from __future__ import annotations

import io
import zipfile

import numpy as np

from btp.data.formats.content import Content

_PACKED = 100  # XML packs to a tenth; more than a hundredth is made to fill the memory


def decode_packed_mesh(data: bytes, suffix: str) -> Content:
    """Read the vertices and triangles of all parts of a scene, each where the scene places it.

    Args:
        data: the whole file. Textures and files that it names are not opened.
        suffix: ".glb" or ".3mf".

    Raises:
        ValueError: the file is damaged, or holds neither mesh nor points.
    """
    import trimesh

    if suffix == ".glb":
        announced = int.from_bytes(data[8:12], "little")
        if data[:4] != b"glTF":
            raise ValueError("not a GLB file: it does not begin with glTF")
        if announced > len(data):
            raise ValueError(f"cut off: {len(data):,} of {announced:,} bytes")
    else:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
        if size > _PACKED * len(data):
            raise ValueError(f"{len(data):,} bytes that unpack to {size:,}")
    try:
        # A stream and no path: trimesh then has nowhere to fetch a named file from.
        scene = trimesh.load_scene(io.BytesIO(data), file_type=suffix[1:], process=False)
        parts = [part for part in scene.dump() if hasattr(part, "vertices")]
    except Exception as error:  # trimesh lets through whatever its parsers happen to raise
        raise ValueError(f"not a whole {suffix[1:].upper()} file ({error!r:.200})") from error
    if not parts:
        raise ValueError(f"a {suffix[1:].upper()} file without a mesh")
    faces, rows = [], 0
    for part in parts:
        faces.append(np.asarray(getattr(part, "faces", np.empty((0, 3))), np.int64) + rows)
        rows += len(part.vertices)
    return Content(
        np.concatenate([np.asarray(part.vertices, np.float64) for part in parts]),
        np.concatenate(faces).reshape(-1, 3),
    )
