"""The PCD format of the Point Cloud Library, versions 0.5 to 0.7, as bytes.

Format: https://pointclouds.org/documentation/tutorials/pcd_file_format.html. Read here, because
pypcd4 takes a binary file that is cut off between two points for a whole one, and refuses text with
CRLF, tabs or `-nan(ind)`.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from itertools import filterfalse

import numpy as np
from numpy.typing import NDArray

from btp.data.formats.text import load_rows, text_lines, without_mark

_DATA_LINE = re.compile(rb"^[ \t]*DATA[ \t]+(\w+)[^\n]*\n", re.MULTILINE | re.IGNORECASE)
_KINDS = {("F", "4"), ("F", "8"), *((kind, size) for kind in "IU" for size in "1248")}


@dataclass(frozen=True)
class _Header:
    """What the text before the points says: `columns[name]` = (column, byte offset, dtype)."""

    columns: dict[str, tuple[int, int, np.dtype]]
    row_numbers: int
    row_bytes: int
    rows: int
    encoding: str

    def xyz(self) -> list[tuple[int, int, np.dtype]]:
        return [self.columns[axis] for axis in "xyz"]


def decode_pcd(data: bytes) -> NDArray[np.floating]:
    """Read the points of a PCD file; other fields (colour, normals, padding) are passed over.

    Args:
        data: the whole file: ascii, binary or binary_compressed, organised or not.

    Returns:
        float32 or float64 [R, 3] as stored (integers become float64), row by row of the file;
        rows without a measurement stay NaN.

    Raises:
        ValueError: the header is incomplete, or the body does not have the size it announces.
    """
    header, body = _split(data)
    if header.encoding == "ascii":
        columns = _ascii_columns(header, body)
    elif header.encoding == "binary":
        columns = _binary_columns(header, body)
    elif header.encoding == "binary_compressed":
        columns = _compressed_columns(header, body)
    else:
        raise ValueError(
            f"PCD data is '{header.encoding}', expected ascii, binary or binary_compressed"
        )
    points = np.stack(columns, axis=1)
    return points if points.dtype.kind == "f" else points.astype(np.float64)


def encode_pcd(points: NDArray[np.floating]) -> bytes:
    """Write points [R, 3] as a binary float32 PCD file."""
    rows = len(points)
    header = (
        "# .PCD v0.7 - Point Cloud Data file format\nVERSION 0.7\nFIELDS x y z\nSIZE 4 4 4\n"
        f"TYPE F F F\nCOUNT 1 1 1\nWIDTH {rows}\nHEIGHT 1\nVIEWPOINT 0 0 0 1 0 0 0\n"
        f"POINTS {rows}\nDATA binary\n"
    )
    return header.encode("ascii") + np.ascontiguousarray(points, dtype="<f4").tobytes()


def _split(data: bytes) -> tuple[_Header, bytes]:
    data = without_mark(data)
    match = _DATA_LINE.search(data)
    if match is None:
        raise ValueError("no DATA line, so this is not a PCD file or its header is cut off")
    lines = (line.split() for line in data[: match.start()].decode("latin-1").splitlines())
    entries = {line[0].upper(): line[1:] for line in lines if line and line[0][0] != "#"}
    try:
        header = _parse(entries, match[1].decode("ascii").lower())
    except (KeyError, IndexError, TypeError) as error:
        raise ValueError(f"PCD header is incomplete or inconsistent ({error})") from error
    return header, data[match.end() :]


def _parse(entries: dict[str, list[str]], encoding: str) -> _Header:
    # Version 0.5 calls its fields COLUMNS.
    names = [name.lower() for name in entries.get("FIELDS") or entries["COLUMNS"]]
    counts = [int(count) for count in entries.get("COUNT", ["1"] * len(names))]
    columns: dict[str, tuple[int, int, np.dtype]] = {}
    sizes, kinds = entries["SIZE"], [kind.upper() for kind in entries["TYPE"]]
    for key, given in (("SIZE", sizes), ("TYPE", kinds), ("COUNT", counts)):
        if len(given) != len(names):
            raise ValueError(
                f"PCD header is inconsistent: {len(names)} FIELDS ({' '.join(names)}), but "
                f"{len(given)} {key}"
            )
    column = offset = 0
    for name, size, kind, count in zip(names, sizes, kinds, counts, strict=True):
        if (kind, size) not in _KINDS or count < 0:
            raise ValueError(
                f"PCD header is inconsistent: field {name} has TYPE {kind}, SIZE {size} and COUNT "
                f"{count}"
            )
        # A name that is given twice counts where it comes first.
        columns.setdefault(name, (column, offset, np.dtype(f"<{kind.lower()}{size}")))
        column += count
        offset += count * int(size)
    if not set("xyz") <= columns.keys():
        raise ValueError(f"PCD has the fields {' '.join(names)}, expected x, y and z among them")
    rows = int(entries["WIDTH"][0]) * int(entries.get("HEIGHT", ["1"])[0])
    announced = int(entries.get("POINTS", [str(rows)])[0])
    if rows != announced or rows < 0:
        raise ValueError(f"PCD header says POINTS {announced}, but WIDTH x HEIGHT is {rows}")
    return _Header(columns, column, offset, rows, encoding)


def _ascii_columns(header: _Header, body: bytes) -> list[NDArray]:
    rows = sum(1 for _ in filterfalse(str.isspace, text_lines(body)))
    if rows != header.rows:
        raise ValueError(f"PCD holds {rows} points, its header announces {header.rows}")
    table = load_rows(text_lines(body))
    if rows and table.shape[1] != header.row_numbers:
        raise ValueError(
            f"PCD rows hold {table.shape[1]} numbers, its header announces {header.row_numbers}"
        )
    table = table[:, [column for column, _, _ in header.xyz()]] if rows else table
    dtype = np.result_type(*(dtype for _, _, dtype in header.xyz()))
    return list(table.astype(dtype).T)


def _binary_columns(header: _Header, body: bytes) -> list[NDArray]:
    _check_size(len(body), header)
    record = np.dtype(
        {
            "names": list("xyz"),
            "formats": [dtype for _, _, dtype in header.xyz()],
            "offsets": [offset for _, offset, _ in header.xyz()],
            "itemsize": header.row_bytes,
        }
    )
    records = np.frombuffer(body, dtype=record, count=header.rows)
    return [records[axis] for axis in "xyz"]


def _compressed_columns(header: _Header, body: bytes) -> list[NDArray]:
    if len(body) < 8:
        raise ValueError("PCD is cut off before its compressed points")
    packed, size = struct.unpack_from("<II", body)
    if len(body) - 8 < packed:
        raise ValueError(f"PCD is cut off: {len(body) - 8:,} of {packed:,} compressed bytes")
    _check_size(size, header)
    plain = _lzf_decompress(body[8 : 8 + packed], size)
    # Uncompressed, the fields follow one another whole: all x, then all y, ...
    return [
        np.frombuffer(plain, dtype, header.rows, offset * header.rows)
        for _, offset, dtype in header.xyz()
    ]


def _check_size(found: int, header: _Header) -> None:
    expected = header.rows * header.row_bytes
    # A stray line end after the last point does no harm; a whole point more or less does.
    if found < expected or found - expected >= header.row_bytes:
        raise ValueError(
            f"PCD holds {found:,} bytes of points, its header announces {expected:,} "
            f"({header.rows:,} points of {header.row_bytes} bytes)"
        )


def _lzf_decompress(packed: bytes, size: int) -> bytes:
    """Undo LZF (http://oldhome.schmorp.de/marc/liblzf.html): literal runs and back references."""
    plain = bytearray()
    position = 0
    try:
        while position < len(packed):
            control = packed[position]
            position += 1
            if control < 32:
                plain += packed[position : position + control + 1]
                position += control + 1
                continue
            length = control >> 5
            if length == 7:
                length += packed[position]
                position += 1
            start = len(plain) - ((control & 31) << 8) - packed[position] - 1
            position += 1
            _repeat(plain, start, length + 2)
            if len(plain) > size:
                break
    except IndexError as error:
        raise ValueError("PCD's compressed points are damaged") from error
    if len(plain) != size:
        raise ValueError(f"PCD unpacks to {len(plain):,} bytes, its header announces {size:,}")
    return bytes(plain)


def _repeat(plain: bytearray, start: int, length: int) -> None:
    if start < 0:
        raise IndexError("reference to before the first byte")
    # A reference may reach into the bytes that it is itself writing.
    period = plain[start : start + length]
    plain += (period * (length // len(period) + 1))[:length]
