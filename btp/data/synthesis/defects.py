"""Defects on any dense surface sample: smooth displacement or removal, a label for each point.

Everything is measured along the surface, so that a defect on one side of a thin wall leaves the
other side alone, and in parts of the object's radius, so that units do not matter.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from btp.data.synthesis.areas import (
    Area,
    OrientedCloud,
    choose_end,
    choose_place,
    line_area,
    object_radius,
    round_area,
    smooth_noise,
)
from btp.errors import ConfigError, DataError

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

FRACTION = (0.01, 0.06)
"""Labelled share of the points."""
DEPTH = (0.03, 0.08)
"""Largest displacement, in parts of the object's radius."""
VISIBLE = 0.1
"""A point is labelled where the defect moves it by more than this share of its depth."""
MIN_POINTS = 1000


def apply(
    kind: str,
    points: NDArray,
    normals: NDArray,
    rng: np.random.Generator,
    fraction: float | None = None,
    depth: float | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Put one defect on a surface, at a random place.

    Args:
        kind: one of `KINDS`.
        points: [N, 3] dense sample of a surface, any units, N >= 1000. Denser shows finer defects.
        normals: [N, 3] unit normals; outward, or a bulge becomes a sink.
        rng: decides place, outline and whatever is not given.
        fraction: labelled share of the points left, drawn from `FRACTION` if None (its lower
            half for all but bulges, sinks and holes).
        depth: largest displacement in parts of the object's radius, drawn from `DEPTH` if None.
            Where a wall is thinner than an inward defect is deep, the depth is cut to the wall.

    Returns:
        Points [M, 3] float32 and labels [M] bool. M < N where material is gone; the points that are
        left keep their order. Labelled are the points that moved visibly (see `VISIBLE`) and, where
        material is missing, the rim around it.

    Raises:
        ConfigError: the kind is unknown.
        DataError: too few points, or not one normal for each.
    """
    if kind not in KINDS:
        raise ConfigError(f"unknown defect {kind!r}; expected one of {', '.join(KINDS)}")
    if len(points) < MIN_POINTS or normals.shape != points.shape:
        raise DataError(
            f"a defect needs at least {MIN_POINTS} points and a normal for each, found points "
            f"{points.shape} and normals {normals.shape}; sample the surface more densely"
        )
    narrow = kind in ("bend", "broken", "crack", "scratch")
    high = sum(FRACTION) / 2 if narrow else FRACTION[1]
    share = rng.uniform(FRACTION[0], high) if fraction is None else fraction
    radius = object_radius(points)
    extent = radius * (rng.uniform(*DEPTH) if depth is None else depth)
    cloud = OrientedCloud(points.astype(np.float64), normals.astype(np.float64), radius)
    moved, labels, kept = KINDS[kind](cloud, round(share * len(points)), extent, rng)
    return moved[kept].astype(np.float32), labels[kept]


Outcome = tuple[Array, Mask, Mask]  # moved points [N, 3], labels [N], kept [N]


def _bulge(cloud: OrientedCloud, count: int, depth: float, rng: np.random.Generator) -> Outcome:
    row, _ = choose_place(cloud, 0.0, rng)
    return _swell(cloud, round_area(cloud, row, count, rng), count, depth, rng)


def _sink(cloud: OrientedCloud, count: int, depth: float, rng: np.random.Generator) -> Outcome:
    row, depth = choose_place(cloud, depth, rng)
    return _swell(cloud, round_area(cloud, row, count, rng), count, -depth, rng)


def _scratch(cloud: OrientedCloud, count: int, depth: float, rng: np.random.Generator) -> Outcome:
    row, depth = choose_place(cloud, depth, rng)
    return _swell(cloud, line_area(cloud, row, count, 0.2, rng), count, -depth, rng)


def _hole(cloud: OrientedCloud, count: int, depth: float, rng: np.random.Generator) -> Outcome:
    row, depth = choose_place(cloud, depth, rng)
    gone = round(count * rng.uniform(0.3, 0.8))
    return _open(cloud, round_area(cloud, row, count + gone, rng), count, gone, depth)


def _crack(cloud: OrientedCloud, count: int, depth: float, rng: np.random.Generator) -> Outcome:
    row, depth = choose_place(cloud, depth, rng)
    gone = round(count * rng.uniform(0.15, 0.35))
    return _open(cloud, line_area(cloud, row, count + gone, 2.0, rng), count, gone, depth)


def _bend(cloud: OrientedCloud, count: int, depth: float, rng: np.random.Generator) -> Outcome:
    """An end leans sideways, more the further out it is."""
    points, normals, _ = cloud
    outward, reach, _ = choose_end(cloud, rng)
    hinge = np.partition(reach, count)[count]
    lean = np.maximum(1 - reach * (1 - np.sqrt(VISIBLE)) / hinge, 0) ** 2
    # Walls lean across, not along: the sideways direction that most normals of the end share.
    across = normals[reach < hinge] @ (np.eye(3) - np.outer(outward, outward))
    side = np.linalg.svd(across, full_matrices=False)[2][0] * rng.choice([-1.0, 1.0])
    moved = points + depth * lean[:, None] * side
    return moved, lean > VISIBLE, np.ones(len(points), bool)


def _broken(cloud: OrientedCloud, count: int, depth: float, rng: np.random.Generator) -> Outcome:
    """A corner is knocked off; the points that faced outward become the fracture."""
    points, normals, radius = cloud
    _, reach, apex = choose_end(cloud, rng)
    rough = reach + 0.5 * depth * smooth_noise(points / (0.15 * radius), rng)
    order = np.argsort(rough)
    beyond = order[: round(count * rng.uniform(1.0, 2.0))]
    short = rough[order[len(beyond)]] - rough[beyond]  # of the fracture surface
    away = points[beyond] - apex
    away /= np.linalg.norm(away, axis=1, keepdims=True)
    facing = -(normals[beyond] * away).sum(1)
    moved, kept, labels = points.copy(), np.ones(len(points), bool), np.zeros(len(points), bool)
    # The chance is the foreshortening, so that the fracture is sampled as densely as the surface.
    onto = rng.random(len(beyond)) < facing
    moved[beyond] += short[:, None] * away
    kept[beyond[~onto]] = False
    labels[beyond[onto]] = True
    rim = max(count - int(onto.sum()), 0)
    labels[order[len(beyond) : len(beyond) + rim]] = True
    return moved, labels, kept


KINDS: dict[str, Callable[[OrientedCloud, int, float, np.random.Generator], Outcome]] = {
    "bend": _bend,
    "broken": _broken,
    "bulge": _bulge,
    "crack": _crack,
    "hole": _hole,
    "scratch": _scratch,
    "sink": _sink,
}
"""Name -> defect."""


def _swell(
    cloud: OrientedCloud, area: Area, count: int, height: float, rng: np.random.Generator
) -> Outcome:
    """Lift (or press in, height < 0) an area so that exactly `count` points move visibly."""
    flat = rng.uniform(0.3, 0.7)
    edge = area.distance[min(count, len(area.rows) - 1)]
    lift = _slope(area.distance, flat * edge, edge)
    moved, labels = cloud.points.copy(), np.zeros(len(cloud.points), bool)
    moved[area.rows] += height * lift[:, None] * area.direction
    labels[area.rows[:count]] = True
    return moved, labels, np.ones(len(labels), bool)


def _open(cloud: OrientedCloud, area: Area, count: int, gone: int, depth: float) -> Outcome:
    """Take away the `gone` nearest points of an area and press in the rim of `count` points."""
    gone = min(gone, len(area.rows) // 2)
    edge = area.distance[min(gone + count, len(area.rows) - 1)]
    press = _slope(area.distance, area.distance[gone], edge)
    moved, labels = cloud.points.copy(), np.zeros(len(cloud.points), bool)
    moved[area.rows] -= depth * press[:, None] * area.direction
    labels[area.rows[gone : gone + count]] = True
    kept = np.ones(len(labels), bool)
    kept[area.rows[:gone]] = False
    return moved, labels, kept


def _slope(distance: Array, start: float, edge: float) -> Array:
    """Smooth step from 1 at `start` through `VISIBLE` at `edge` down to 0 a little further out."""
    at_edge = 0.1958  # 3x² - 2x³ = VISIBLE
    end = start + (edge - start) / (1 - at_edge)
    x = np.clip((end - distance) / max(end - start, 1e-12), 0, 1)
    return x * x * (3 - 2 * x)
