"""E57 files, read by pye57 (the extra `e57`)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from btp.errors import DataError

_MOST_POINTS_A_BYTE = 10  # coordinates are packed, but not to less than a bit


def read_e57(path: Path) -> NDArray[np.float64]:
    """Read the points of all scans of an E57 file, one after the other, in its own coordinates.

    Points that the scanner marks as invalid are left out, as pye57 does.

    Returns:
        float64 [R, 3].

    Raises:
        DataError: pye57 is not installed.
        ValueError: the file is damaged or holds no scan.
    """
    try:
        import pye57
    except ImportError as error:
        raise DataError(
            f"{path}: E57 files need a package that is not installed; install the extra `e57`: "
            "pip install -e '.[e57]' in the project's folder, or pip install pye57"
        ) from error
    size = path.stat().st_size
    try:
        file = pye57.E57(str(path))
        try:
            counts = [file.get_header(number).point_count for number in range(file.scan_count)]
            if not counts:
                raise ValueError("it has no scan")
            if sum(counts) > _MOST_POINTS_A_BYTE * size:
                raise ValueError(f"{sum(counts):,} points announced by {size:,} bytes")
            scans = [file.read_scan(n, ignore_missing_fields=True) for n in range(len(counts))]
        finally:
            file.close()
        axes = [[scan[f"cartesian{axis}"] for scan in scans] for axis in "XYZ"]
        return np.stack([np.concatenate(axis).astype(np.float64) for axis in axes], axis=1)
    except Exception as error:  # the E57 library's own kinds, and whatever else it meets
        raise ValueError(f"not a whole E57 file ({str(error)[:200]})") from error
