"""Text as programs write it: any Unicode mark, any line end, and every spelling of "not a number".

NumPy and the mesh libraries expect UTF-8 and `nan`; Windows writes UTF-16 and `-nan(ind)`.
"""

from __future__ import annotations

import codecs
import io
import re
from collections.abc import Iterable, Iterator
from itertools import chain, filterfalse

import numpy as np
from numpy.typing import NDArray

# The C library of Windows prints -nan(ind) or, until 2015, -1.#IND, 1.#QNAN and 1.#INF.
_ODD_NUMBER = re.compile(r"[-+]?(?:nan\([\w]*\)|1\.#(?:IND|[QS]NAN|INF)\d*)", re.IGNORECASE)
_ODD_BYTES = (b"(", b".#")  # one of them is in each
_MARKS = (  # UTF-32 first: its mark begins like that of UTF-16
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_LOOKED_AT = 4096


def without_mark(data: bytes) -> bytes:
    """Return the bytes of a file without the UTF-8 mark that editors put before its first line."""
    return data.removeprefix(codecs.BOM_UTF8)


def as_utf8(data: bytes) -> bytes:
    """Return a text file's bytes as UTF-8 without a mark.

    Comments may hold bytes of any older encoding; they are left as they are.

    Raises:
        ValueError: the bytes are no text.
    """
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return data.decode(encoding).encode()
    start = data[:_LOOKED_AT]
    if b"\0" in start:
        for first, encoding in ((1, "utf-16-le"), (0, "utf-16-be")):
            if not any(start[first::2]) and all(start[1 - first :: 2]):
                return data.decode(encoding).encode()
        raise ValueError("binary data, expected text")
    return without_mark(data)


def text_lines(data: bytes) -> Iterator[str]:
    """Yield the lines of a text file, with every odd spelling of a number as nan or inf.

    Lines end at line feeds and carriage returns only, not at the rarer characters at which
    `str.splitlines` ends them.

    Raises:
        ValueError: the bytes are no text.
    """
    data = as_utf8(data)
    lines = io.TextIOWrapper(io.BytesIO(data), "utf-8", errors="replace")
    if any(odd in data for odd in _ODD_BYTES):
        return (_ODD_NUMBER.sub(_plain, line) for line in lines)
    return lines


def load_rows(
    lines: Iterable[str],
    columns: list[int] | None = None,
    delimiter: str | None = None,
    comments: str | None = None,
    quotes: str | None = None,
) -> NDArray[np.float64]:
    """Read rows of numbers [R, C] from lines, of which empty ones are passed over.

    Args:
        lines: text.
        columns: to read; all of them by default.
        delimiter: between numbers, None for white space.
        comments: what begins a comment.
        quotes: the mark around numbers.

    Raises:
        ValueError: a row is not numbers, or the rows differ in length.
    """
    filled = filterfalse(str.isspace, lines)
    first = next(filled, None)
    if first is None:
        return np.empty((0, len(columns or ()) or 3))

    return np.loadtxt(
        chain((first,), filled),
        np.float64,
        usecols=columns,
        delimiter=delimiter,
        comments=comments,
        quotechar=quotes,
        ndmin=2,
    )


def _plain(match: re.Match[str]) -> str:
    sign = "-" if match[0].startswith("-") else ""
    return f"{sign}inf" if "INF" in match[0].upper() else "nan"
