"""Numbers in text files: one row a line, the delimiter found by looking, never guessed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray


def read_table(path: Path) -> tuple[NDArray[np.float64], list[str] | None]:
    """Read a table of numbers separated by commas, semicolons or white space.

    Lines that are empty or start with `#` or `//` (CloudCompare) are passed over at the top, and
    one line of column names is allowed there.

    Returns:
        float64 [R, columns], and the column names in lower case or None.

    Raises:
        ValueError: a row is not numbers, or the rows differ in length or delimiter.
    """
    skip, delimiter, names = _sniff(path)
    try:
        table = np.loadtxt(
            path, np.float64, delimiter=delimiter, skiprows=skip, ndmin=2, encoding="utf-8-sig"
        )
    except ValueError as error:
        # What follows a semicolon is advice for programmers.
        raise ValueError(f"{str(error).split(';')[0]} of numbers") from error
    if names is not None and len(names) != table.shape[1]:
        raise ValueError(f"{len(names)} column names but {table.shape[1]} columns of numbers")
    return table, names


def encode_table(columns: NDArray, labels: NDArray[np.bool_], delimiter: str) -> bytes:
    """Write points [R, 3] and labels [R] as text from which float32 points return unchanged."""
    row = delimiter.join(("%.9g", "%.9g", "%.9g", "%d\n"))
    parts = []
    for start in range(
        0, len(columns), 65536
    ):  # one format for many rows: twice as fast as savetxt
        block = np.column_stack((columns[start : start + 65536], labels[start : start + 65536]))
        parts.append((row * len(block)) % tuple(block.ravel().tolist()))
    return "".join(parts).encode("ascii")


def _sniff(path: Path) -> tuple[int, str | None, list[str] | None]:
    """Lines before the first row of numbers, its delimiter (None: white space), column names."""
    names: list[str] | None = None
    with path.open(encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines):
            text = line.strip()
            if not text or text.startswith(("#", "//")):
                continue
            for delimiter in (",", ";", None):
                if all(_is_number(word) for word in text.split(delimiter)):
                    return number, delimiter, names
            if names is not None or (not text[0].isalpha() and text[0] != '"'):
                raise ValueError(
                    f"line {number + 1} is '{text[:60]}', expected numbers separated by commas, "
                    "semicolons or white space (and a decimal point, not a comma)"
                )
            separator = next((mark for mark in ",;" if mark in text), None)
            names = [word.strip(' "').lower() for word in text.split(separator)]
    raise ValueError("no row of numbers")


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True
