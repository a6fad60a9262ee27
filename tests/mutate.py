"""Seeded damage to files, as broken transfers, editors and bad intent do it."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np

_WORDS = (
    b"-1",
    b"0",
    b"99999999999",
    b"1e999",
    b"nan",
    b"",
    b"4294967295",
    b"x",
    b"\xff\xfe",
    b";",
)


def flip(data: bytearray, rng: np.random.Generator) -> bytearray:
    for at in rng.integers(len(data), size=rng.integers(1, 9)):
        data[at] ^= 1 << int(rng.integers(8))
    return data


def set_bytes(data: bytearray, rng: np.random.Generator) -> bytearray:
    at, value = int(rng.integers(len(data))), int(rng.choice([0, 127, 128, 255]))
    data[at : at + 4] = bytes([value] * len(data[at : at + 4]))
    return data


def cut(data: bytearray, rng: np.random.Generator) -> bytearray:
    return data[: int(rng.integers(1, len(data)))]


def drop(data: bytearray, rng: np.random.Generator) -> bytearray:
    at = int(rng.integers(len(data)))
    del data[at : at + int(rng.integers(1, 64))]
    return data


def repeat(data: bytearray, rng: np.random.Generator) -> bytearray:
    at = int(rng.integers(len(data)))
    data[at:at] = data[at : at + int(rng.integers(1, 200))]
    return data


def insert(data: bytearray, rng: np.random.Generator) -> bytearray:
    at = int(rng.integers(len(data) + 1))
    data[at:at] = rng.bytes(int(rng.integers(1, 16)))
    return data


def replace_word(data: bytearray, rng: np.random.Generator) -> bytearray:
    """Replace a word, mostly one of the header."""
    within = data[: int(rng.choice([120, 400, len(data)]))]
    words = list(re.finditer(rb"[^\s,;]+", within))
    if not words:
        return data
    word = words[int(rng.integers(len(words)))]
    data[word.start() : word.end()] = _WORDS[int(rng.integers(len(_WORDS)))]
    return data


def swap_lines(data: bytearray, rng: np.random.Generator) -> bytearray:
    lines = data.split(b"\n")
    a, b = rng.integers(len(lines), size=2)
    lines[a], lines[b] = lines[b], lines[a]
    return bytearray(b"\n".join(lines))


WAYS: tuple[Callable[[bytearray, np.random.Generator], bytearray], ...] = (
    flip,
    set_bytes,
    cut,
    drop,
    repeat,
    insert,
    replace_word,
    replace_word,
    swap_lines,
)


def mutate(data: bytes, rng: np.random.Generator) -> bytes:
    """Damage bytes in one to three ways; the generator alone decides how."""
    damaged = bytearray(data)
    for _ in range(int(rng.choice([1, 1, 2, 3]))):
        damaged = WAYS[int(rng.integers(len(WAYS)))](damaged, rng) or bytearray(b"\0")
    return bytes(damaged)
