"""Designed detail and natural texture for the corpus: what a detector must learn to leave alone.

A row of dimples, an engraved mark or a rough skin has the depth of a defect and is none. All of it
is displacement along the normals of a dense sample, in parts of the object's radius.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from btp.data.synthesis.solids import Array
from btp.geometry.sampling import farthest_point_sample
from btp.pretraining.corpus.shape import count_word, log_uniform

Rows = NDArray[np.intp]

Rng = np.random.Generator
Detail = tuple[Array, str]  # displacement along the normal [N], in parts of the radius; its words


def dimples(points: Array, normals: Array, rng: Rng) -> Detail:
    """Spread equal dimples or pimples evenly over the surface."""
    number = int(log_uniform(rng, 5, 80))
    rows = _spread(points, number, rng)
    gap = cKDTree(points[rows]).query(points[rows], 2)[0][:, 1]
    lift = _spots(points, normals, rows, rng.uniform(0.2, 0.45) * float(np.median(gap)), rng)
    raised = rng.random() < 0.5
    words = ["evenly spaced bumps", "a studded surface", "many round pimples"]
    if not raised:
        words = ["evenly spaced dimples", "a dimpled surface", "many round pits"]
    depth = rng.uniform(0.01, 0.05)
    return (depth if raised else -depth) * lift, str(rng.choice(words))


def wreath(points: Array, normals: Array, rng: Rng) -> Detail:
    """Repeat the same mark at equal angles around the axis."""
    number = int(rng.integers(2, 13))
    start = points[rng.integers(len(points))]
    reach, angle = np.hypot(*start[:2]), np.arctan2(start[1], start[0])
    angles = angle + 2 * np.pi * np.arange(number) / number
    targets = np.column_stack(
        [reach * np.cos(angles), reach * np.sin(angles), np.full(number, start[2])]
    )
    distance, rows = cKDTree(points).query(targets)
    rows = rows[distance < 0.08]
    size = min(rng.uniform(0.06, 0.25), 0.45 * 2 * np.pi * max(reach, 0.1) / number)
    depth = rng.uniform(0.015, 0.06) * rng.choice([-1, 1])
    word = "raised marks" if depth > 0 else "hollows"
    lift = _spots(points, normals, rows, size, rng)
    return depth * lift, f"{count_word(len(rows))} {word} around the axis"


def engraving(points: Array, normals: Array, rng: Rng) -> Detail:
    """Cut or raise straight strokes on one place: a mark, a letter, a crest."""
    row = int(rng.integers(len(points)))
    window = rng.uniform(0.12, 0.4)
    near = np.flatnonzero(((points - points[row]) ** 2).sum(1) < window**2)
    near = near[normals[near] @ normals[row] > 0.5]
    across = np.linalg.svd(normals[row][None])[2][1:]
    flat = (points[near] - points[row]) @ across.T
    strokes = int(rng.integers(2, 7))
    ends = rng.uniform(-0.75, 0.75, (strokes + 1, 2)) * window
    starts = ends[:-1] if rng.random() < 0.5 else rng.uniform(-0.75, 0.75, (strokes, 2)) * window
    distance = np.full(len(near), np.inf)
    for a, b in zip(starts, ends[1:], strict=True):
        share = np.clip((flat - a) @ (b - a) / max((b - a) @ (b - a), 1e-9), 0, 1)
        distance = np.minimum(distance, np.linalg.norm(flat - a - share[:, None] * (b - a), axis=1))
    lift = np.zeros(len(points))
    lift[near] = _edge(distance / rng.uniform(0.02, 0.05), rng.uniform(0.15, 0.8))
    depth = rng.uniform(0.008, 0.04)
    if rng.random() < 0.5:
        return depth * lift, str(
            rng.choice(["a raised emblem", "embossed lettering", "a raised mark"])
        )
    return -depth * lift, str(
        rng.choice(["an engraved mark", "engraved lettering", "a carved sign"])
    )


def bands(points: Array, normals: Array, rng: Rng) -> Detail:
    """Lay straight seams right around the body, at one place or at equal distances."""
    axis = np.eye(3)[rng.integers(3)] if rng.random() < 0.6 else rng.standard_normal(3)
    axis = axis / np.linalg.norm(axis)
    along = points @ axis
    number, width = int(rng.integers(1, 7)), rng.uniform(0.02, 0.08)
    places = (
        np.quantile(along, rng.uniform(0.15, 0.85))
        + np.arange(number) * rng.uniform(2.2, 6) * width
    )
    distance = np.abs(along[:, None] - places).min(1)
    # A seam crosses the faces that it runs around, not those that it would lie in.
    fade = np.clip(2 - 2.5 * np.abs(normals @ axis), 0, 1)
    lift = _edge(distance / width, rng.uniform(0.15, 0.8)) * fade
    depth = rng.uniform(0.008, 0.04) * rng.choice([-1, 1])
    what = "raised band" if depth > 0 else "groove"
    word = f"{count_word(number)} parallel {what}s" if number > 1 else f"a {what} around it"
    return depth * lift, word


def weave(points: Array, normals: Array, rng: Rng) -> Detail:
    """Lay a relief of crossing waves over the surface: knurls, scales, fabric, wood grain."""
    turn = np.linalg.qr(rng.standard_normal((3, 3)))[0]
    pitch = rng.uniform(12, 45, 3) * (rng.random(3) < 0.7)
    phase = (points @ turn * pitch + rng.uniform(0, 6, 3)).T
    pattern = np.cos(phase).prod(0) if rng.random() < 0.5 else np.cos(phase).mean(0)
    depth = rng.uniform(0.003, 0.015)
    return depth * pattern, str(rng.choice(["a knurled surface", "a wavy grain", "a woven relief"]))


def roughness(points: Array, normals: Array, rng: Rng) -> Detail:
    """Give the surface a fractal skin: stone, bark, cast metal."""
    waves, fall = 40, rng.uniform(0.6, 1.6)
    size = np.exp(rng.uniform(np.log(4), np.log(60), waves))
    pitch = rng.standard_normal((3, waves))
    pitch *= size / np.linalg.norm(pitch, axis=0)
    height = size**-fall
    height *= log_uniform(rng, 0.002, 0.012) / np.sqrt((height**2).sum() / 2)
    lift = np.cos((points @ pitch + rng.uniform(0, 2 * np.pi, waves)).astype(np.float32)) @ height
    return lift, str(rng.choice(["a rough skin", "an uneven texture", "a stone-like surface"]))


DETAILS: tuple[Callable[[Array, Array, Rng], Detail], ...] = (
    dimples,
    wreath,
    engraving,
    bands,
    weave,
    roughness,
)


def warp(points: Array, rng: Rng) -> Array:
    """Bend space gently, as nothing handmade or grown is exact: points [N, 3] -> points [N, 3]."""
    pitch = rng.standard_normal((3, 6)) * 1.6
    push = rng.standard_normal((6, 3)) * log_uniform(rng, 0.005, 0.06)
    return points + np.sin(points @ pitch + rng.uniform(0, 2 * np.pi, 6)) @ push


def _edge(distance: Array, soft: float) -> Array:
    """Return 1 inside distance 1, falling smoothly to 0 over the share `soft` of it."""
    x = np.clip((1 - distance) / soft, 0, 1)
    return x * x * (3 - 2 * x)


def _spots(points: Array, normals: Array, rows: Rows, size: float, rng: Rng) -> Array:
    """Return round marks [N] of one radius about some rows, on their own side of the surface."""
    if len(rows) == 0:
        return np.zeros(len(points))
    distance, near = cKDTree(points[rows]).query(points, distance_upper_bound=size)
    hit = np.isfinite(distance)
    hit[hit] = np.einsum("ni,ni->n", normals[hit], normals[rows][near[hit]]) > 0.2
    lift = np.zeros(len(points))
    lift[hit] = _edge(distance[hit] / size, rng.uniform(0.2, 1))
    return lift


def _spread(points: Array, number: int, rng: Rng) -> Rows:
    """Rows [number] far from each other (farthest point sampling among 1,500)."""
    some = rng.choice(len(points), min(1500, len(points)), replace=False)
    cloud = torch.from_numpy(points[some])[None]
    return some[farthest_point_sample(cloud, number)[0].numpy()]
