"""Numbers in text files: one row a line, the delimiter found by looking, never guessed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from btp.data.formats.text import load_rows, text_lines

_COMMENTS = ("#", "//", "%")
_DELIMITERS = (",", ";", None)
_DECIMAL_COMMA = re.compile(r"[-+]?\d*,?\d+(?:[eE][-+]?\d+)?")
_SEPARATOR_LINE = re.compile(r"sep=(.)", re.IGNORECASE)  # by which Excel knows the delimiter


@dataclass(frozen=True)
class _Layout:
    """How a file's rows are written.

    Attributes:
        skip: lines before the first row.
        delimiter: between numbers, None for white space.
        names: of the columns, in lower case, if the file gives them.
        trailing: each row ends in a delimiter.
        quoted: numbers stand in quotes.
        count: rows that the line before them announces.
    """

    skip: int
    delimiter: str | None
    names: list[str] | None
    trailing: bool = False
    quoted: bool = False
    count: int | None = None


def decode_table(data: bytes) -> tuple[NDArray[np.float64], list[str] | None]:
    """Read a table of numbers separated by commas, semicolons or white space.

    Lines that are empty or start with `#`, `//` (CloudCompare) or `%` are passed over at the top.
    One line of column names is allowed there, also 0, 1, 2, ... above decimals (pandas), and one
    with the number of rows (PTS).

    Returns:
        float64 [R, columns], and the column names in lower case or None.

    Raises:
        ValueError: a row is not numbers, the rows differ in length or delimiter, or their number
            is not the announced one.
    """
    layout = _look(data)
    lines: Iterator[str] = islice(text_lines(data), layout.skip, None)
    if layout.trailing:
        lines = (_without_end(line, layout.delimiter) for line in lines)
    if layout.delimiter == ";" and b"," in data:  # 1,5;2;3 as spreadsheets write it
        lines = (line.replace(",", ".") for line in lines)
    try:
        quotes = '"' if layout.quoted else None
        table = load_rows(lines, None, layout.delimiter, comments="#", quotes=quotes)
    except ValueError as error:
        # What follows a semicolon is advice for programmers.
        raise ValueError(f"{str(error).split(';')[0]} of numbers") from error
    if layout.names is not None and len(layout.names) != table.shape[1]:
        raise ValueError(
            f"{len(layout.names)} column names but {table.shape[1]} columns of numbers"
        )
    if layout.count is not None and layout.count != len(table):
        raise ValueError(
            f"its first line announces {layout.count:,} points, and {len(table):,} rows follow"
        )
    return table, layout.names


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


def _look(data: bytes) -> _Layout:
    """Find out how the rows are written from the lines up to the second one of numbers."""
    comment, names, rows = "", None, list[str]()
    layout: _Layout | None = None
    for number, line in enumerate(text_lines(data)):
        text = line.strip()
        if not rows and text.startswith(_COMMENTS):
            comment = text.lstrip("#/% ")
        if not text or text.startswith(_COMMENTS) or _SEPARATOR_LINE.fullmatch(text):
            continue
        found = _row_layout(text, number, names)
        if layout is not None:
            layout = _with_line_above(layout, rows[0], found, text)
            break
        if found is not None:
            layout, rows = found, [text]
        elif names is None and _is_header(text):
            names = _names(text)
        else:
            raise ValueError(
                f"line {number + 1} is '{text[:60]}', expected numbers separated by commas, "
                "semicolons or white space (and a decimal point, not a comma)"
            )
    if layout is None:
        raise ValueError("no row of numbers")
    return _named_by(comment, layout, data)


def _with_line_above(first: _Layout, above: str, second: _Layout | None, below: str) -> _Layout:
    """Tell the number of rows, or of columns, that stand above the points from a point."""
    if second is None:
        return first
    words, points = _words(above, first.delimiter), _words(below, second.delimiter)
    if len(words) == 1 and words[0].isdigit() and len(points) > 1:
        return replace(second, count=int(words[0]))
    if first.names is None and _is_count_up(words, points):
        return replace(second, names=words)
    return first


def _row_layout(text: str, number: int, names: list[str] | None) -> _Layout | None:
    """Return how a line of numbers is written, None if it is none."""
    quoted = '"' in text
    if ";" in text and "," in text:
        words = _words(text, ";")
        if all(_DECIMAL_COMMA.fullmatch(word) for word in words):
            trailing = text.endswith(";")
            return _Layout(number, ";", names, trailing, quoted)
    for delimiter in _DELIMITERS:
        words = _words(text, delimiter)
        if words and all(_is_number(word) for word in words):
            trailing = delimiter is not None and text.endswith(delimiter)
            return _Layout(number, delimiter, names, trailing, quoted)
    return None


def _words(text: str, delimiter: str | None) -> list[str]:
    text = _without_end(text.split("#", 1)[0], delimiter)
    return [word.strip(' \t"') for word in text.split(delimiter)]


def _without_end(line: str, delimiter: str | None) -> str:
    return line.strip() if delimiter is None else line.strip().removesuffix(delimiter)


def _is_count_up(words: list[str], below: list[str]) -> bool:
    """Tell column numbers 0, 1, 2, ... from a point: below them are decimals."""
    decimals = any("." in word or "e" in word.lower() for word in below)
    return decimals and len(words) > 2 and words == [str(i) for i in range(len(words))]


def _is_header(text: str) -> bool:
    words = _names(text)
    if words[:1] == [""]:  # pandas does not name the column of row numbers
        words = words[1:]
    counted = words == [str(i) for i in range(len(words))]
    return counted or any(word[:1].isalpha() or word[:1] == "_" for word in words)


def _names(text: str) -> list[str]:
    separator = next((mark for mark in ",;\t" if mark in text), None)
    return [word.strip(' \t"').lower() for word in text.split(separator)]


def _named_by(comment: str, layout: _Layout, data: bytes) -> _Layout:
    """Take the last comment before the rows for their column names where it names x, y and z."""
    if layout.names is not None or not comment:
        return layout
    row = next(islice(text_lines(data), layout.skip, None))
    for separator in (layout.delimiter, ",", ";", None):
        names = [word.strip(' \t"').lower() for word in comment.split(separator)]
        if len(names) == len(_words(row, layout.delimiter)) and set("xyz") <= set(names):
            return replace(layout, names=names)
    return layout


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True
