"""Encode arrays as compressed text, which the page's `data.js` decodes."""

from __future__ import annotations

import base64
import gzip
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

POSITIONS = 65_535
SCORES = 1_023  # as fine as the threshold's slider; finer would mostly store noise


def pack(columns: Sequence[NDArray[np.uint16]]) -> str:
    """Encode columns of equal length as base64 of gzip.

    Each column is written as the differences of its rows (modulo 65,536, zigzag, so that small
    ones of either sign are small), low bytes first, then high bytes. Along a curve through space
    neighbours are alike, so that most differences are small and compress well.

    Args:
        columns: each uint16 [M].
    """
    parts = []
    for column in columns:
        steps = np.diff(column, prepend=np.uint16(0)).view(np.int16)
        folded = ((steps << 1) ^ (steps >> 15)).view(np.uint16)
        parts += [(folded & 0xFF).astype(np.uint8), (folded >> 8).astype(np.uint8)]
    content = b"".join(part.tobytes() for part in parts)
    return base64.b64encode(gzip.compress(content, 6, mtime=0)).decode("ascii")


def quantise(values: NDArray[np.floating]) -> tuple[NDArray[np.uint16], float, float]:
    """Round values [M] to whole numbers q: value = low + q · step, to half a step.

    Returns:
        q [M], `low` and `step`.
    """
    low, high = float(values.min()), float(values.max())
    step = (high - low) / SCORES
    if not step > 0:
        return np.zeros(len(values), np.uint16), low, 0.0
    levels = np.rint((values.astype(np.float64) - low) / step)
    return np.clip(levels, 0, SCORES).astype(np.uint16), low, step


def quantise_points(
    points: NDArray[np.floating],
) -> tuple[NDArray[np.uint16], NDArray[np.float64], float]:
    """Round points [M, 3] to whole numbers q: point = low + q · step, to half a step.

    Returns:
        q [M, 3], the box's lowest corner `low` [3], and `step`, one for all axes.
    """
    low = points.min(0).astype(np.float64)
    offsets = points.astype(np.float64) - low
    step = float(offsets.max()) / POSITIONS
    if not step > 0:
        return np.zeros(points.shape, np.uint16), low, 0.0
    return np.rint(offsets / step).clip(0, POSITIONS).astype(np.uint16), low, step


def quantise_normals(normals: NDArray[np.floating]) -> NDArray[np.uint16]:
    """Round unit normals [M, 3], their sign ignored, to a grid of 64 × 64 directions: [M, 2].

    Octahedral map of the upper hemisphere (Cigolle et al. 2014, "A survey of efficient
    representations for independent unit vectors"). Six bits are finer than shading can show.
    """
    upper = normals * np.where(normals[:, 2:] < 0, -1.0, 1.0)
    flat = upper[:, :2] / np.maximum(np.abs(upper).sum(1, keepdims=True), 1e-12)
    corner = np.stack([flat[:, 0] + flat[:, 1], flat[:, 0] - flat[:, 1]], axis=1)
    return np.rint((corner + 1) * 31.5).astype(np.uint16)


def curve_order(points: NDArray[np.floating]) -> NDArray[np.intp]:
    """Order points [N, 3] along a Z-shaped space-filling curve (Morton 1966): rows [N]."""
    grid, _, _ = quantise_points(points)
    code = np.zeros(len(points), np.uint64)
    for axis in range(3):
        code |= _spread(grid[:, axis].astype(np.uint64)) << np.uint64(axis)
    return np.argsort(code, kind="stable")


def _spread(bits: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Insert two zeros between any two of 16 bits."""
    for shift, mask in (
        (32, 0x00FF00000000FFFF),
        (16, 0x00FF0000FF0000FF),
        (8, 0xF00F00F00F00F00F),
        (4, 0x30C30C30C30C30C3),
        (2, 0x9249249249249249),
    ):
        bits = (bits | (bits << np.uint64(shift))) & np.uint64(mask)
    return bits
