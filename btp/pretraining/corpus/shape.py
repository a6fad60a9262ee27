"""What a corpus family returns, and the draws that all families share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeVar

import numpy as np

from btp.data.synthesis.solids import Array, Solid

Rng = np.random.Generator
Option = TypeVar("Option")


class Shape(NamedTuple):
    """A body and its words.

    Attributes:
        solid: z is its natural axis.
        nouns: what it resembles, best first; each takes the article a or an.
        traits: adjectives that hold.
        parts: phrases to follow "with".
    """

    solid: Solid
    nouns: list[str]
    traits: list[str]
    parts: list[str]


NUMBERS = [
    "no",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
]


def count_word(number: int) -> str:
    """Return a number in words up to twelve, then "many"."""
    return NUMBERS[number] if number < len(NUMBERS) else "many"


def pick(rng: Rng, options: Sequence[Option]) -> Option:
    """Draw one of the options, each with the same chance."""
    return options[int(rng.integers(len(options)))]


def log_uniform(rng: Rng, low: float, high: float) -> float:
    """Draw a number between low and high, even in its logarithm."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def random_turn(rng: Rng) -> Array:
    """Draw a rotation matrix [3, 3], even over all rotations."""
    matrix, upper = np.linalg.qr(rng.standard_normal((3, 3)))
    matrix = matrix * np.sign(np.diag(upper))
    matrix[:, 0] *= np.linalg.det(matrix)
    return matrix


def about_x(angle: float) -> Array:
    """Return the rotation [3, 3] about the x axis, in radians."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([(1, 0, 0), (0, c, -s), (0, s, c)])


def about_z(angle: float) -> Array:
    """Return the rotation [3, 3] about the z axis, in radians."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([(c, -s, 0), (s, c, 0), (0, 0, 1)])


TIPPED = np.array([(0.0, 0, 1), (0, 1, 0), (-1, 0, 0)])  # z becomes x
