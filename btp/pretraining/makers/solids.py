"""Defects by set operations with tools: material cut away, added, shifted, or missing."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from btp.pretraining.makers.place import Array, Cloud, Outcome, Rng, frame, log_uniform, near, spot
from btp.pretraining.makers.tools import cut, spacing_at, star


def _place(cloud: Cloud, reach: float, rng: Rng) -> tuple[Array, Array]:
    """Draw a place on the surface: the point, and a frame whose last row is its normal."""
    row = spot(cloud, reach, rng)
    return cloud.points[row], frame(cloud.normals[row], rng)


def gouged(cloud: Cloud, rng: Rng) -> Outcome:
    """Cut a groove or a bowl into the surface."""
    wide = cloud.radius * log_uniform(rng, 0.03, 0.15)
    long, deep = wide * log_uniform(rng, 1, 6), wide * rng.uniform(0.3, 1.0)
    place, axes = _place(cloud, wide, rng)
    sunk = place + rng.uniform(-0.2, 0.3) * deep * axes[2]
    half = np.array([min(long, 0.5 * cloud.radius), wide, deep])
    return cut(cloud, [star(sunk, axes, half, 2, rng.uniform(0, 0.2), rng)], rng)


def notched(cloud: Cloud, rng: Rng) -> Outcome:
    """Cut a box into the surface, at any angle."""
    half = cloud.radius * np.exp(rng.uniform(np.log(0.03), np.log(0.15), 3))
    place, axes = _place(cloud, float(half.max()), rng)
    axes = Rotation.from_rotvec(rng.normal(0, 0.4, 3)).as_matrix() @ axes
    return cut(cloud, [star(place, axes, half, 8, rng.uniform(0, 0.1), rng)], rng)


def drilled(cloud: Cloud, rng: Rng) -> Outcome:
    """Bore a round hole from the surface inwards, shallow or right through."""
    wide, deep = (
        cloud.radius * log_uniform(rng, 0.03, 0.12),
        cloud.radius * log_uniform(rng, 0.1, 1),
    )
    place, axes = _place(cloud, wide, rng)
    axes = Rotation.from_rotvec(rng.normal(0, 0.2, 3)).as_matrix() @ axes
    return cut(cloud, [star(place, axes, np.array([wide, wide, deep]), 2.5, 0.0, rng)], rng)


def _several(cloud: Cloud, reach: float, low: int, high: int, rng: Rng) -> NDArray[np.intp]:
    """Draw at least `low` and fewer than `high` rows in one neighbourhood of the surface."""
    rows = near(cloud, _place(cloud, reach, rng)[0], reach)
    return rng.choice(rows, min(len(rows), int(rng.integers(low, high))), replace=False)


def pitted(cloud: Cloud, rng: Rng) -> Outcome:
    """Eat several small pits into one neighbourhood."""
    tools = []
    reach = cloud.radius * log_uniform(rng, 0.12, 0.4)
    for row in _several(cloud, reach, 3, 9, rng):
        half = cloud.radius * log_uniform(rng, 0.02, 0.06) * rng.uniform(0.7, 1.3, 3)
        axes = frame(cloud.normals[row], rng)
        tools.append(star(cloud.points[row], axes, half, 2, 0.1, rng))
    return cut(cloud, tools, rng)


def slit(cloud: Cloud, rng: Rng) -> Outcome:
    """Saw a thin, deep cut."""
    thin, long = cloud.radius * log_uniform(rng, 0.008, 0.025), cloud.radius * rng.uniform(0.1, 0.4)
    deep = cloud.radius * rng.uniform(0.04, 0.2)
    place, axes = _place(cloud, 0.5 * long, rng)
    return cut(cloud, [star(place, axes, np.array([long, thin, deep]), 6, 0.05, rng)], rng)


def spattered(cloud: Cloud, rng: Rng) -> Outcome:
    """Stick one or several lumps onto the surface, as weld spatter or glue does."""
    tools = []
    reach = cloud.radius * log_uniform(rng, 0.1, 0.4)
    for row in _several(cloud, reach, 1, 6, rng):
        size = cloud.radius * log_uniform(rng, 0.025, 0.1)
        half = size * np.array([rng.uniform(0.7, 1.5), 1, rng.uniform(0.4, 1)])
        axes = frame(cloud.normals[row], rng)
        sunk = cloud.points[row] - rng.uniform(0, 0.5) * half[2] * axes[2]
        tools.append(star(sunk, axes, half, 2, rng.uniform(0, 0.2), rng))
    return cut(cloud, tools, rng, add=True)


def burred(cloud: Cloud, rng: Rng) -> Outcome:
    """Leave a thin fin standing on the surface, as flash from a mould or a cut does."""
    thin, high = (
        cloud.radius * log_uniform(rng, 0.01, 0.03),
        cloud.radius * log_uniform(rng, 0.03, 0.12),
    )
    long = cloud.radius * rng.uniform(0.1, 0.35)
    place, axes = _place(cloud, 0.5 * long, rng)
    return cut(cloud, [star(place, axes, np.array([long, thin, high]), 6, 0.15, rng)], rng, True)


def _end(cloud: Cloud, rng: Rng) -> tuple[Array, Array]:
    """Draw an outermost place and the direction in which it lies."""
    outward = rng.normal(size=3)
    outward /= np.linalg.norm(outward)
    return cloud.points[np.argmax(cloud.points @ outward)], outward


def chipped(cloud: Cloud, rng: Rng) -> Outcome:
    """Knock a corner or an end off, along a rough fracture."""
    tip, outward = _end(cloud, rng)
    wide, deep = (
        cloud.radius * log_uniform(rng, 0.2, 0.6),
        cloud.radius * log_uniform(rng, 0.04, 0.25),
    )
    axes = frame(outward, rng)
    centre = tip + (wide - deep) * outward
    return cut(cloud, [star(centre, axes, np.full(3, wide), 3, rng.uniform(0.02, 0.1), rng)], rng)


def missing(cloud: Cloud, rng: Rng) -> Outcome:
    """Leave out a piece of the surface or a whole end, without a wall behind it."""
    place = _end(cloud, rng)[0] if rng.random() < 0.5 else _place(cloud, 0.1 * cloud.radius, rng)[0]
    reach = cloud.radius * log_uniform(rng, 0.08, 0.3)
    far = np.linalg.norm(cloud.points - place, axis=1)
    far *= 1 + 0.2 * np.cos(cloud.points @ rng.normal(size=3) * 8 / cloud.radius)
    kept = far > reach
    if kept.sum() < 0.5 * len(kept):
        kept = far > np.quantile(far, 0.05)
    edge = np.sort(far[kept])
    rim = far[kept] < min(edge[0] + 3 * spacing_at(cloud, place), edge[len(edge) // 10])
    return Outcome(cloud.points[kept], rim)


def stepped(cloud: Cloud, rng: Rng) -> Outcome:
    """Shift one side of a seam against the other, as halves of a mould that do not meet."""
    reach = cloud.radius * log_uniform(rng, 0.15, 0.5)
    place, axes = _place(cloud, reach, rng)
    rows = near(cloud, place, reach)
    local = (cloud.points[rows] - place) @ axes.T
    high = cloud.radius * log_uniform(rng, 0.015, 0.06) * rng.choice([-1, 1])
    beyond = np.clip(local[:, 0] / (0.02 * reach), 0, 1)
    fade = np.clip(2 - 2 * np.linalg.norm(local, axis=1) / reach, 0, 1)
    lift = high * beyond * fade
    points, labels = cloud.points.copy(), np.zeros(len(cloud.points), bool)
    points[rows] += lift[:, None] * axes[2]
    labels[rows] = np.abs(lift) > 0.3 * abs(high)
    return Outcome(points, labels)


def misplaced(cloud: Cloud, rng: Rng) -> Outcome:
    """Tilt and shift a whole end against the rest."""
    tip, outward = _end(cloud, rng)
    along = (cloud.points - tip) @ outward
    share = rng.uniform(0.02, 0.12)
    hinge = np.quantile(along, 1 - share)
    end = along > hinge
    turn = Rotation.from_rotvec(rng.uniform(0.1, 0.35) * frame(outward, rng)[0])
    middle = cloud.points[end].mean(0)
    middle += (hinge - (middle - tip) @ outward) * outward
    points = cloud.points.copy()
    shift = cloud.radius * rng.uniform(0, 0.06) * frame(outward, rng)[0]
    points[end] = turn.apply(points[end] - middle) + middle + shift
    return Outcome(points, end)


KINDS: dict[str, Callable[[Cloud, Rng], Outcome]] = {
    "burred": burred,
    "chipped": chipped,
    "drilled": drilled,
    "gouged": gouged,
    "misplaced": misplaced,
    "missing": missing,
    "notched": notched,
    "pitted": pitted,
    "slit": slit,
    "spattered": spattered,
    "stepped": stepped,
}
"""Name -> maker."""
