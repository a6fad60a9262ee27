"""Arrays of points, as NumPy's files or a program hold them."""

from __future__ import annotations

import math
import zipfile
from pathlib import Path
from tokenize import TokenError
from typing import IO

import numpy as np
from numpy.typing import NDArray

_ARRAYS = ("points", "xyz", "pcd")
_NAMED = (("x", "y", "z"), ("0", "1", "2"), ("points:0", "points:1", "points:2"))
_MOST_COLUMNS = 64
"""A table of more columns holds an image's rows, not points with their values."""
_PACKED = 1100
"""More than so many bytes out of each are none that a program packed."""

Points = NDArray[np.floating]


def as_points(array: NDArray) -> Points:
    """Take the first three columns of an array of numbers, as float32 or float64 [R, 3].

    Raises:
        ValueError: another shape or kind; a transposed array or an image is told as such.
    """
    if array.dtype.names:  # a structured array
        return named_columns(np.stack([array[n] for n in array.dtype.names], -1), array.dtype.names)
    found = f"an array of {array.dtype} with shape {list(array.shape)}"
    if array.dtype.kind == "O":
        raise ValueError("an array of Python objects, expected numbers; save it as float32")
    if array.ndim == 2 and array.shape[0] <= 6 and array.shape[1] > max(6, array.shape[0]):
        raise ValueError(f"{found}; expected [R, 3]: it looks transposed, so transpose it (.T)")
    if array.ndim == 2 and array.shape[1] > _MOST_COLUMNS:
        raise ValueError(
            f"{found}; expected [R, 3]: it looks like a depth image, which has to be turned into "
            "points by its camera's parameters first"
        )
    if array.ndim == 3 and array.shape[2] == 3:
        raise ValueError(
            f"{found}; expected [R, 3]: it looks like an organised scan, so reshape it (-1, 3)"
        )
    if array.ndim != 2 or array.shape[1] < 3 or array.dtype.kind not in "fiu":
        raise ValueError(
            f"{found}, expected numbers of shape [R, 3] with x, y, z in the first columns"
        )
    kind = np.float32 if array.dtype.kind == "f" and array.dtype.itemsize <= 4 else np.float64
    if array.dtype.kind in "iu" and array.dtype.itemsize <= 2:
        kind = np.float32  # holds them exactly
    return array[:, :3].astype(kind, copy=False)


def named_columns(table: NDArray, names: tuple[str, ...] | list[str] | None) -> Points:
    """Take the columns x, y, z of a table, or its first three where none are named.

    Raises:
        ValueError: names that do not say which columns x, y and z are.
    """
    if names is None:
        return as_points(table)
    known = [name.strip().lower() for name in names]
    for wanted in _NAMED:
        if set(wanted) <= set(known):
            return as_points(table[:, [known.index(name) for name in wanted]])
    raise ValueError(f"columns are named {', '.join(names)}, expected x, y and z among them")


def read_npy(path: Path) -> Points:
    """Read points from a .npy file.

    Raises:
        ValueError: no array of numbers [R, 3], or a file shorter than its array.
    """
    with path.open("rb") as file:
        return as_points(_read_array(file, path.stat().st_size))


def read_npz(path: Path) -> Points:
    """Read points from a .npz file: its array points, xyz or pcd, or its single unnamed one.

    Raises:
        ValueError: none of these, or several.
    """
    with zipfile.ZipFile(path) as archive:
        names = [name.removesuffix(".npy") for name in archive.namelist()]
        found = [name for name in _ARRAYS if name in names]
        if not found and names == ["arr_0"]:
            found = names
        if len(found) != 1:
            raise ValueError(
                f"holds the arrays {', '.join(names) or 'none'}, expected exactly one of "
                f"{', '.join(_ARRAYS)}; rename the one that holds the points"
            )
        entry = archive.getinfo(f"{found[0]}.npy")
        if entry.file_size > _PACKED * max(1, entry.compress_size):
            raise ValueError(f"{entry.file_size:,} bytes out of {entry.compress_size:,}")
        with archive.open(entry) as file:
            return as_points(_read_array(file, entry.file_size))


def _read_array(file: IO[bytes], size: int) -> NDArray:
    """Read an array whose shape fits the bytes that are there."""
    version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"version {version[0]}.{version[1]} of the format, expected 1.0 or 2.0")
    read = {1: np.lib.format.read_array_header_1_0, 2: np.lib.format.read_array_header_2_0}
    try:
        shape, column_major, kind = read[version[0]](file)
    except (SyntaxError, TokenError) as error:  # of the literal that the header is
        raise ValueError("its header is damaged") from error
    if kind.hasobject:
        raise ValueError("an array of Python objects, expected numbers; save it as float32")
    expected = math.prod(shape) * kind.itemsize
    if min(shape, default=0) < 0 or size - file.tell() < expected:
        raise ValueError(
            f"cut off: {size - file.tell():,} bytes, an array of {kind} with shape {list(shape)} "
            f"needs {expected:,}"
        )
    flat = np.frombuffer(file.read(expected), kind)
    return flat.reshape(shape, order="F" if column_major else "C")
