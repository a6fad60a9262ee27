"""Sound bodies that look odd to a detector: sheets without thickness, wires, rows of points."""

from __future__ import annotations

import numpy as np

from btp.data.synthesis.solids import Array
from btp.pretraining.corpus.shape import log_uniform

Rng = np.random.Generator

PLAIN = 0.06
"""Share of clouds that are such bodies."""


def plain_body(rng: Rng) -> tuple[Array, tuple[str, ...]]:
    """Draw a plain sound body: points [N, 3] of about unit size, and its names."""
    count = int(log_uniform(rng, 6_000, 20_000))
    style = int(rng.integers(4))
    nouns: tuple[str, ...]
    if style == 0:  # both faces and the four edges of a thin plate
        half = np.array([1.0, log_uniform(rng, 0.2, 1), log_uniform(rng, 0.001, 0.02)])
        points, nouns = _box(half, count, rng), ("thin plate", "plate")
    elif style == 1:  # one face, flat or gently curved, as a scanner sees a sheet
        flat = rng.uniform(-1, 1, (count, 2)) * (1, log_uniform(rng, 0.2, 1))
        curve = rng.uniform(-0.4, 0.4, 2) if rng.random() < 0.5 else np.zeros(2)
        points, nouns = np.column_stack([flat, (curve * flat**2).sum(1)]), ("sheet",)
    elif style == 2:  # a straight or bent wire
        along = rng.uniform(-1, 1, count)
        thin = log_uniform(rng, 1e-4, 0.03)
        angle = rng.uniform(0, 2 * np.pi, count)
        ring = thin * np.column_stack([np.cos(angle), np.sin(angle)])
        bend = rng.uniform(0, 0.5) * along**2 * rng.integers(2)
        points, nouns = np.column_stack([along, ring[:, 0] + bend, ring[:, 1]]), ("wire", "rod")
    else:  # parallel scan lines on a curved or flat sheet
        lines = int(rng.integers(20, 90))
        row = rng.integers(lines, size=count) / lines * 2 - 1
        along = rng.uniform(-1, 1, count)
        curve = rng.uniform(-0.4, 0.4, 2)
        points = np.column_stack([along, row, curve[0] * along**2 + curve[1] * row**2])
        nouns = ("sheet",)
    points = points - points.mean(0)
    return points / np.linalg.norm(points, axis=1).max(), nouns


def _box(half: Array, count: int, rng: Rng) -> Array:
    """Draw points [count, 3] evenly from the skin of a box."""
    area = half[[1, 2, 0]] * half[[2, 0, 1]]
    axis = rng.choice(3, count, p=area / area.sum())
    points = rng.uniform(-1, 1, (count, 3))
    points[np.arange(count), axis] = rng.choice([-1.0, 1.0], count)
    return points * half
