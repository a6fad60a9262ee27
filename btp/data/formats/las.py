"""LAS and LAZ files, read by laspy (the extra `las`)."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray

from btp.errors import DataError


def decode_las(data: bytes, name: str) -> NDArray[np.float64]:
    """Read the points of a LAS file, or of a LAZ file, which is a packed one.

    Args:
        data: the whole file.
        name: of it, for the message.

    Returns:
        float64 [R, 3] in the file's units, its scale and offset applied, in its order.

    Raises:
        DataError: laspy is not installed.
        ValueError: the file is damaged or cut off.
    """
    try:
        import laspy
    except ImportError as error:
        raise DataError(
            f"{name}: LAS and LAZ files need packages that are not installed; install the extra "
            "`las`: pip install -e '.[las]' in the project's folder, or pip install 'laspy[lazrs]'"
        ) from error
    # laspy makes room for as many points as the header says, whatever follows.
    record = int.from_bytes(data[105:107], "little")
    points_begin = int.from_bytes(data[96:100], "little")
    count = int.from_bytes(data[107:111], "little") or int.from_bytes(data[247:255], "little")
    if name.lower().endswith(".las") and count * record > max(0, len(data) - points_begin):
        raise ValueError(
            f"not a whole LAS file (cut off: {max(0, len(data) - points_begin):,} bytes of points, "
            f"its header announces {count * record:,})"
        )
    try:
        file = laspy.read(io.BytesIO(data))
        points = np.stack([np.asarray(axis, np.float64) for axis in (file.x, file.y, file.z)], 1)
    except Exception as error:  # laspy and lazrs raise whatever their parsers happen to
        raise ValueError(f"not a whole LAS file ({error})") from error
    if len(points) != file.header.point_count:
        raise ValueError(
            f"cut off: {len(points):,} points, its header announces {file.header.point_count:,}"
        )
    return points
