"""Scans as a program has them: arrays, tensors, rows of numbers, and other libraries' meshes."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from numbers import Real
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from btp.data.formats.arrays import as_points
from btp.data.formats.content import NO_FACES, Content
from btp.errors import DataError

Scan: TypeAlias = Any
"""One scan: a path (str or os.PathLike); numbers [R, 3] as an array, a tensor or rows; or a cloud
or mesh of trimesh or Open3D."""

_EXPECTED = (
    "a scan is a path, numbers [R, 3] (an array, a tensor or rows), or a cloud or mesh of trimesh "
    "or Open3D"
)


def given_path(scan: Scan) -> Path | None:
    """Return the path of a scan that is given by one, None if it is given as points."""
    if isinstance(scan, str | os.PathLike) and isinstance(os.fspath(scan), str):
        return Path(scan)
    return None


def given_content(scan: Scan) -> Content:
    """Take the points, and faces if any, of a scan that is given as an object.

    Raises:
        DataError: not numbers [R, 3], and no known kind of cloud or mesh.
    """
    if callable(getattr(scan, "to_mesh", None)) and hasattr(scan, "geometry"):
        scan = scan.to_mesh()  # trimesh's Scene
    points = _first(scan, "vertices", "points")
    try:
        if points is None:
            return Content(as_points(_three_columns(_array(scan))))
        faces = _first(scan, "faces", "triangles")
        return Content(
            as_points(_three_columns(_array(points))),
            NO_FACES if faces is None else _array(faces).astype(np.int64).reshape(-1, 3),
        )
    except (ValueError, TypeError, OverflowError) as error:
        raise DataError(f"a scan of type {type(scan).__name__}: {error}; {_EXPECTED}") from error


def given_scans(scans: Scan | Iterable[Scan]) -> tuple[list[Scan], bool]:
    """Return scans as a list, and whether a single one was given.

    Raises:
        DataError: neither a scan nor several.
    """
    if isinstance(scans, bytes | bytearray | memoryview):
        raise DataError(f"a scan given as {type(scans).__name__}; {_EXPECTED}")
    if _is_one(scans):
        return [scans], True
    if not isinstance(scans, Iterable) or isinstance(scans, dict | set):
        raise DataError(f"a scan of type {type(scans).__name__}; {_EXPECTED}")
    several = list(scans)
    if several and all(_is_row(row) for row in several):
        return [np.array(several)], True
    return several, False


def given_bytes(scan: Scan) -> int:
    """Return how many bytes a scan takes on disk or in memory, 0 if that is not known."""
    if (path := given_path(scan)) is not None:
        return path.stat().st_size if path.is_file() else 0
    points = _first(scan, "vertices", "points")
    return int(getattr(scan if points is None else points, "nbytes", 0))


def _is_one(scan: Scan) -> bool:
    return (
        isinstance(scan, str | os.PathLike | np.ndarray)
        or hasattr(scan, "detach")  # torch's tensor
        or hasattr(scan, "__array__")
        or _first(scan, "vertices", "points", "geometry") is not None
    )


def _is_row(row: Any) -> bool:
    return (
        isinstance(row, Sequence | np.ndarray)
        and not isinstance(row, str)
        and len(row) > 0
        and all(isinstance(value, Real) for value in row)
    )


def _first(scan: Any, *names: str) -> Any:
    return next((getattr(scan, name) for name in names if hasattr(scan, name)), None)


def _array(values: Any) -> np.ndarray:
    if hasattr(values, "detach"):
        values = values.detach().cpu()
        if not values.is_floating_point() or values.element_size() > 2:
            return np.asarray(values.numpy())
        return np.asarray(values.float().numpy())  # NumPy has no bfloat16
    if isinstance(values, bytes | str | dict | set):
        raise TypeError("it holds no rows of numbers")
    return np.asarray(values)


def _three_columns(array: np.ndarray) -> np.ndarray:
    """Refuse more columns than three: which ones are x, y and z is known of files only."""
    if array.ndim == 2 and array.shape[1] != 3 and array.shape[0] > 6 and array.shape[1] <= 64:
        raise ValueError(
            f"an array of {array.dtype} with shape {list(array.shape)}; expected numbers [R, 3]"
        )
    return array
