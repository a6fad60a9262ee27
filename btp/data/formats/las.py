"""LAS and LAZ files, read by laspy (the extra `las`)."""

from __future__ import annotations

import io
import struct

import numpy as np
from numpy.typing import NDArray

from btp.errors import DataError

_RECORD, _EXTENDED = 54, 60  # bytes of a record's header, of both kinds
_POINTS_A_BYTE = 100  # more than any scan is packed to
_SHORTEST = 227  # bytes of the header
_VARIABLE = 2**32 - 1  # chunks of different sizes


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
    if len(data) < _SHORTEST or not data.startswith(b"LASF"):
        raise ValueError(f"not a whole LAS file ({len(data):,} bytes, expected LASF first)")
    try:
        _check_counts(data, packed=name.lower().endswith(".laz"))
    except struct.error as error:
        raise ValueError(f"not a whole LAS file (cut off: {len(data):,} bytes)") from error
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


def _check_counts(data: bytes, packed: bool) -> None:
    """Compare the counts in the header with the bytes that are there.

    laspy makes room for as many points, records and chunks as the header says, whatever follows;
    where there is no room, its decompressor ends the whole program.
    """
    minor, header = data[25], _number(data, 94, "H")
    begin, records = _number(data, 96, "I"), _number(data, 100, "I")
    size, count = _number(data, 105, "H"), _number(data, 107, "I")
    extended = 0
    if minor >= 4 and header >= 375:
        extended, count = _number(data, 243, "I"), _number(data, 247, "Q")
    left = len(data) - begin
    expected = {
        "records": (records, _RECORD),
        "extended records": (extended, _EXTENDED),
        "points": (count, 1 / _POINTS_A_BYTE if packed else size),
    }
    for what, (number, least) in expected.items():
        if begin < header or number * least > (left if what == "points" else len(data)):
            raise ValueError(
                f"not a whole LAS file (cut off: {number:,} {what} announced, points begin at byte "
                f"{begin:,} of {len(data):,})"
            )
    if packed and count:
        table = _number(data, begin, "q")
        table = table if table >= 0 else _number(data, len(data) - 8, "q")
        chunks = _number(data, table + 4, "I") if begin < table < len(data) else len(data)
        each = _chunk_points(data, header, records)
        most = count if each in (0, _VARIABLE) else -(-count // each)
        if chunks > min(most, left):
            raise ValueError(f"not a whole LAZ file (its table of {chunks:,} chunks is damaged)")


def _chunk_points(data: bytes, at: int, records: int) -> int:
    """Return how many points a chunk of a LAZ file has, which one of its records tells."""
    for _ in range(records):
        if data[at + 2 : at + 18].rstrip(b"\0") == b"laszip encoded":
            return _number(data, at + _RECORD + 12, "I")
        at += _RECORD + _number(data, at + 20, "H")
    raise ValueError("not a LAZ file (no record of how it is packed)")


def _number(data: bytes, at: int, kind: str) -> int:
    number: int = struct.unpack_from(f"<{kind}", data, at)[0]
    return number
