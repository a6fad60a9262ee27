"""The header of a PLY file, and where its rows are.

Format: http://paulbourke.net/dataformats/ply/. Read here and by no library: trimesh passes over the
points of files whose property names are given twice, hold blanks or are lists, and does not notice
one of text that is cut off; plyfile's licence (GPL) is not ours.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import filterfalse, islice

import numpy as np
from numpy.typing import NDArray

from btp.data.formats.text import load_rows, text_lines, without_mark

TYPES = {
    **dict.fromkeys(("char", "int8"), "i1"),
    **dict.fromkeys(("uchar", "uint8"), "u1"),
    **dict.fromkeys(("short", "int16"), "i2"),
    **dict.fromkeys(("ushort", "uint16"), "u2"),
    **dict.fromkeys(("int", "int32"), "i4"),
    **dict.fromkeys(("uint", "uint32"), "u4"),
    **dict.fromkeys(("float", "float32"), "f4"),
    **dict.fromkeys(("double", "float64"), "f8"),
}
BYTE_ORDERS = {"binary_little_endian": "<", "binary_big_endian": ">"}
_END = re.compile(rb"(\r\n|\n|\r)[ \t]*end_header[ \t]*(\r\n|\n|\r|\Z)")

Rows = list[tuple[NDArray[np.int64] | slice, NDArray]]
"""Rows of one element that have lists of the same lengths, and their records."""


@dataclass(frozen=True)
class Property:
    """One column: its name, type, and for a list the type of its length."""

    name: str
    kind: str
    length: str | None = None


@dataclass
class Element:
    """Rows of one kind; a property's values are in the record's field `str(its position)`."""

    name: str
    rows: int
    properties: list[Property] = field(default_factory=list)

    def position(self, *names: str, lists: bool = False) -> int | None:
        """Return the position of the first property of one of these names, in any case."""
        for wanted in names:
            for position, each in enumerate(self.properties):
                if each.name.lower() == wanted and (each.length is not None) == lists:
                    return position
        return None

    def record(self, lengths: tuple[int, ...], order: str, text: bool = False) -> np.dtype:
        """Return the type of a row whose lists have these lengths; as text all are numbers."""
        fields: list[tuple[str, str] | tuple[str, str, tuple[int]]] = []
        left = iter(lengths)
        for position, each in enumerate(self.properties):
            kind = "f8" if text else order + each.kind
            if each.length is None:
                fields.append((f"{position}", kind))
            else:
                fields.append((f"length {position}", "f8" if text else order + each.length))
                fields.append((f"{position}", kind, (next(left),)))
        return np.dtype(fields)


def read_header(data: bytes) -> tuple[str, list[Element], bytes]:
    """Split a PLY file into its encoding, its elements, and the bytes after the header.

    Raises:
        ValueError: not a PLY file, or a header line that cannot be read.
    """
    data = without_mark(data)
    end = _END.search(data)
    if not data[:3].lower() == b"ply" or end is None:
        raise ValueError("no 'ply ... end_header', so this is not a PLY file or it is cut off")
    encoding, elements = "", list[Element]()
    for line in re.split(r"\r\n|\n|\r", data[: end.start()].decode("latin-1")):
        try:
            match line.split():
                case ["format", encoding, *_]:
                    pass
                case ["element", name, rows]:
                    elements.append(Element(name.lower(), _count(rows)))
                case ["property", "list", length, kind, *name]:
                    kinds = _type(kind), _type(length)
                    elements[-1].properties.append(Property(" ".join(name), *kinds))
                case ["property", kind, *name]:  # CloudCompare writes names with blanks
                    elements[-1].properties.append(Property(" ".join(name), _type(kind)))
                case ["element" | "property", *_]:
                    raise ValueError("unknown form")
        except (IndexError, ValueError) as error:
            raise ValueError(
                f"PLY header is damaged: line '{line.strip()[:60]}' ({error})"
            ) from error
    # After a header of "\n" lines, "\r\n" would be a line end and the first byte of a number.
    newline = end[1] if end[2].startswith(end[1]) else end[2]
    return encoding, elements, data[end.end() - len(end[2]) + len(newline) :]


def _type(word: str) -> str:
    if word.lower() not in TYPES:
        raise ValueError(f"type '{word}', expected one of {', '.join(TYPES)}")
    return TYPES[word.lower()]


def _count(word: str) -> int:
    count = int(word)
    if count < 0:
        raise ValueError(f"{count} rows")
    return count


def text_rows(elements: list[Element], body: bytes) -> dict[str, Rows]:
    """Read the rows of a PLY file of text.

    Raises:
        ValueError: another number of rows than announced, or a row that is not its element's.
    """
    expected = sum(element.rows for element in elements if element.properties)
    found = sum(1 for _ in filterfalse(str.isspace, text_lines(body)))
    if found != expected:
        raise ValueError(f"PLY holds {found:,} rows, its header announces {expected:,}")
    lines = filterfalse(str.isspace, text_lines(body))
    read: dict[str, Rows] = {}
    for element in elements:
        if element.properties and element.rows:
            own = islice(lines, element.rows)
            lists = any(each.length for each in element.properties)
            rows = _text_with_lists(element, own) if lists else _text_alike(element, own)
            read.setdefault(element.name, rows)
    return read


def _text_alike(element: Element, lines: Iterator[str]) -> Rows:
    table = load_rows(lines)
    if table.shape[1] != len(element.properties):
        raise ValueError(
            f"PLY rows of '{element.name}' hold {table.shape[1]} numbers, its header names "
            f"{len(element.properties)}"
        )
    return [(slice(None), table.view(element.record((), "", text=True))[:, 0])]


def _text_with_lists(element: Element, lines: Iterator[str]) -> Rows:
    groups: dict[tuple[int, ...], tuple[list[int], list[str]]] = {}
    for row, line in enumerate(lines):
        words = line.split()
        lengths, at = [], 0
        for each in element.properties:
            if each.length is not None and at < len(words):
                lengths.append(_count(words[at]))
                at += lengths[-1]
            at += 1
        if at != len(words):
            raise ValueError(
                f"PLY row {row} of '{element.name}' is '{line.strip()[:60]}': {len(words)} "
                f"numbers, expected {at}"
            )
        rows, texts = groups.setdefault(tuple(lengths), ([], []))
        rows.append(row)
        texts.append(line)
    return [
        (np.array(rows), load_rows(texts).view(element.record(lengths, "", text=True))[:, 0])
        for lengths, (rows, texts) in groups.items()
    ]


def binary_rows(elements: list[Element], body: bytes, order: str) -> dict[str, Rows]:
    """Read the rows of a binary PLY file.

    Raises:
        ValueError: fewer bytes than announced, or a whole row more.
    """
    read: dict[str, Rows] = {}
    at = last = 0
    for element in elements:
        if not element.properties:
            continue
        if any(each.length for each in element.properties):
            rows, at = _binary_with_lists(element, body, at, order)
        else:
            record = element.record((), order)
            _require(element, len(body) - at, record.itemsize)
            rows = [(slice(None), np.frombuffer(body, record, element.rows, at))]
            at += element.rows * record.itemsize
        last = rows[-1][1].itemsize if rows else last
        read.setdefault(element.name, rows)
    rest = body[at:]
    if last and len(rest) >= last and rest.strip(b"\0\r\n\t "):  # a stray line end does no harm
        raise ValueError(
            f"PLY holds {len(body):,} bytes of rows, its header announces {at:,} "
            f"({', '.join(f'{element.rows:,} of {element.name}' for element in elements)})"
        )
    return read


def _require(element: Element, left: int, row_bytes: int) -> None:
    what = "vertices" if element.name == "vertex" else f"rows of '{element.name}'"
    if left < element.rows * row_bytes:
        raise ValueError(
            f"PLY is cut off: {left:,} bytes, {element.rows:,} {what} need "
            f"{element.rows * row_bytes:,}"
        )


def _binary_with_lists(element: Element, body: bytes, at: int, order: str) -> tuple[Rows, int]:
    none = (0,) * sum(each.length is not None for each in element.properties)
    _require(element, len(body) - at, element.record(none, order).itemsize)
    if not element.rows:
        return [], at
    lengths, _ = _row(element, body, at, order)
    record = element.record(lengths, order)
    if len(body) - at >= element.rows * record.itemsize:  # mostly all lists are of one length
        records = np.frombuffer(body, record, element.rows, at)
        given = [name for name in record.names or () if name.startswith("length")]
        alike = zip(given, lengths, strict=True)
        if all((records[name] == length).all() for name, length in alike):
            return [(slice(None), records)], at + record.itemsize * element.rows
    groups: dict[tuple[int, ...], tuple[list[int], list[int]]] = {}
    for row in range(element.rows):
        lengths, end = _row(element, body, at, order)
        rows, starts = groups.setdefault(lengths, ([], []))
        rows.append(row)
        starts.append(at)
        at = end
    raw = np.frombuffer(body, np.uint8)
    read: Rows = []
    for lengths, (rows, starts) in groups.items():
        record = element.record(lengths, order)
        wide = raw[np.array(starts)[:, None] + np.arange(record.itemsize)]
        read.append((np.array(rows), wide.view(record)[:, 0]))
    return read, at


def _row(element: Element, body: bytes, at: int, order: str) -> tuple[tuple[int, ...], int]:
    """Return the lengths of the lists of the row that begins at `at`, and where it ends."""
    lengths = []
    for each in element.properties:
        size = int(each.kind[1])
        if each.length is not None:
            end = at + int(each.length[1])
            word = body[at:end]
            if each.length[0] == "f":
                number = np.frombuffer(word, order + each.length)
                length = int(number[0]) if len(number) and np.isfinite(number[0]) else -1
            else:
                little = "little" if order == "<" else "big"
                length = int.from_bytes(word, little, signed=each.length[0] == "i")  # type: ignore[arg-type]
            lengths.append(length)
            at, size = end, size * length
        at += size
        if size < 0 or at > len(body):
            raise ValueError(
                f"PLY is cut off or damaged: a row of '{element.name}' ends at byte {at:,} of "
                f"{len(body):,}"
            )
    return tuple(lengths), at
