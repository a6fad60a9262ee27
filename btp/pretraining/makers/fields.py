"""Free-form defects: space is deformed by a field, or a piece of other surface is pasted in.

Nothing here measures distance along the surface or names a shape: a place is a ball of space, and
what happens in it is a smooth field, a pattern, a flattening, or a transplant.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.spatial.transform import Rotation

from btp.pretraining.makers.place import (
    Array,
    Cloud,
    Mask,
    Outcome,
    Rng,
    Rows,
    bump,
    frame,
    log_uniform,
    near,
    same_side,
    spot,
)

SIZE = (0.08, 0.4)
"""Reach of a defect, in parts of the object's radius."""
DEPTH = (0.015, 0.12)
"""Largest displacement, likewise."""
VISIBLE = 0.2
"""Labelled are points that move by more than this share of the most that any point moves."""


def _moved(cloud: Cloud, rows: Rows, shift: Array) -> Outcome:
    """Shift some rows, and label those that move visibly."""
    points, labels = cloud.points.copy(), np.zeros(len(cloud.points), bool)
    points[rows] += shift
    length = np.linalg.norm(shift, axis=1)
    labels[rows] = length > VISIBLE * length.max(initial=0.0)
    return Outcome(points, labels)


def _ball(cloud: Cloud, rng: Rng) -> tuple[int, Rows, float]:
    """Draw a place: its row, the rows around it, and the reach."""
    reach = cloud.radius * log_uniform(rng, *SIZE)
    row = spot(cloud, reach, rng)
    return row, near(cloud, cloud.points[row], reach), reach


def _depth(cloud: Cloud, reach: float, rng: Rng) -> float:
    """Draw a depth that no slope steeper than about 45 degrees is needed for."""
    return min(cloud.radius * log_uniform(rng, *DEPTH), 0.6 * reach)


def displaced(cloud: Cloud, rng: Rng) -> Outcome:
    """Drag the material around a place by a sum of smooth pulls in random directions."""
    row, rows, reach = _ball(cloud, rng)
    shift = np.zeros((len(rows), 3))
    for _ in range(int(rng.integers(1, 4))):
        middle = cloud.points[row] + 0.4 * reach * rng.normal(size=3) / np.sqrt(3)
        pull = rng.normal(size=3) + 1.5 * rng.choice([-1, 1]) * cloud.normals[row]
        away = np.linalg.norm(cloud.points[rows] - middle, axis=1) / (0.75 * reach)
        shift += bump(away)[:, None] * pull
    shift *= bump(np.linalg.norm(cloud.points[rows] - cloud.points[row], axis=1) / reach)[:, None]
    most = np.linalg.norm(shift, axis=1).max(initial=1e-12)
    return _moved(cloud, rows, shift * _depth(cloud, reach, rng) / most)


def twisted(cloud: Cloud, rng: Rng) -> Outcome:
    """Turn the material around a place about an axis, most in the middle."""
    row, rows, reach = _ball(cloud, rng)
    axis = frame(cloud.normals[row], rng)[int(rng.integers(3))]
    arm = cloud.points[rows] - cloud.points[row]
    angle = bump(np.linalg.norm(arm, axis=1) / reach) * rng.uniform(0.3, 1.0)
    turned = Rotation.from_rotvec(angle[:, None] * axis * rng.choice([-1, 1])).apply(arm)
    return _moved(cloud, rows, turned - arm)


def swollen(cloud: Cloud, rng: Rng) -> Outcome:
    """Blow up or shrink the material about a point below the surface."""
    row, rows, reach = _ball(cloud, rng)
    middle = cloud.points[row] - rng.uniform(0.2, 0.8) * reach * cloud.normals[row]
    arm = cloud.points[rows] - middle
    far = np.linalg.norm(cloud.points[rows] - cloud.points[row], axis=1)
    lift = bump(far / reach) * _depth(cloud, reach, rng) * rng.choice([-1, 1])
    length = np.linalg.norm(arm, axis=1, keepdims=True) + 1e-9
    return _moved(cloud, rows, lift[:, None] * arm / length)


def rippled(cloud: Cloud, rng: Rng) -> Outcome:
    """Lay waves over a patch of the surface, straight or ring-shaped."""
    row, rows, reach = _ball(cloud, rng)
    rows = same_side(cloud, rows, row)
    flat = (cloud.points[rows] - cloud.points[row]) @ frame(cloud.normals[row], rng).T
    away = np.linalg.norm(flat, axis=1)
    along = away if rng.random() < 0.3 else flat[:, 0]
    waves = np.cos(2 * np.pi * rng.uniform(1.5, 4.0) * along / reach + rng.uniform(0, 6))
    lift = waves * bump(away / reach) * min(_depth(cloud, reach, rng), 0.2 * reach)
    return _patch(cloud, rows, lift, away < 0.7 * reach)


def roughened(cloud: Cloud, rng: Rng) -> Outcome:
    """Eat the surface of a patch with coarse noise, as rust and slag do."""
    row, rows, reach = _ball(cloud, rng)
    rows = same_side(cloud, rows, row)
    place = cloud.points[rows]
    height = np.zeros(len(rows))
    for octave in range(3):
        pitch = 2.0**octave * 2 * np.pi * rng.uniform(2, 5) / reach
        field = rng.normal(size=(3, 12)) * pitch / np.sqrt(3)
        height += 0.6**octave * np.cos(place @ field + rng.uniform(0, 6, 12)).sum(1) / 4
    away = np.linalg.norm(place - cloud.points[row], axis=1)
    lift = height * np.sqrt(bump(away / reach)) * 0.4 * min(_depth(cloud, reach, rng), 0.3 * reach)
    return _patch(cloud, rows, lift, away < 0.8 * reach)


def _patch(cloud: Cloud, rows: Rows, lift: Array, defective: Mask) -> Outcome:
    """Lift some rows along their normals, and label a whole area, crests and troughs."""
    points, labels = cloud.points.copy(), np.zeros(len(cloud.points), bool)
    points[rows] += lift[:, None] * cloud.normals[rows]
    labels[rows] = defective
    return Outcome(points, labels)


def worn(cloud: Cloud, rng: Rng) -> Outcome:
    """Grind a protruding place flat: what stands above a plane is pressed onto it."""
    reach = cloud.radius * log_uniform(rng, *SIZE)
    depth = min(cloud.radius * log_uniform(rng, *DEPTH), 0.6 * reach)
    best: tuple[Rows, Array] | None = None
    for row in rng.integers(len(cloud.points), size=8):
        rows = near(cloud, cloud.points[row], reach)
        normal = cloud.normals[row] + 0.4 * rng.normal(size=3)
        normal /= np.linalg.norm(normal)
        height = (cloud.points[rows] - cloud.points[row]) @ normal
        top = np.sort(height)[-max(1, len(height) // 100)]
        over = np.clip(height - (top - depth), 0, None)
        shift = -over[:, None] * normal
        # a plane that takes off a cap, not the whole face at once
        if best is None or 0.02 < (over > 0.2 * depth).mean() < 0.5:
            best = rows, shift
    assert best is not None
    return _moved(cloud, *best)


def pasted(cloud: Cloud, rng: Rng) -> Outcome:
    """Replace a disc of surface by one from elsewhere on the object, turned to fit."""
    reach = cloud.radius * log_uniform(rng, SIZE[0], 0.25)
    target, source = spot(cloud, reach, rng), spot(cloud, reach, rng)
    gone = same_side(cloud, near(cloud, cloud.points[target], reach), target)
    taken = same_side(cloud, near(cloud, cloud.points[source], reach), source)
    local = (cloud.points[taken] - cloud.points[source]) @ frame(cloud.normals[source], rng).T
    local[:, 2] *= rng.choice([-1.0, 1.0], p=[0.25, 0.75])
    local[:, 2] += rng.uniform(-0.3, 0.6) * min(_depth(cloud, reach, rng), 0.4 * reach)
    piece = local @ frame(cloud.normals[target], rng) + cloud.points[target]
    kept = np.ones(len(cloud.points), bool)
    kept[gone] = False
    labels = np.concatenate([np.zeros(kept.sum(), bool), np.ones(len(piece), bool)])
    return Outcome(np.concatenate([cloud.points[kept], piece]), labels)


KINDS: dict[str, Callable[[Cloud, Rng], Outcome]] = {
    "displaced": displaced,
    "pasted": pasted,
    "rippled": rippled,
    "roughened": roughened,
    "swollen": swollen,
    "twisted": twisted,
    "worn": worn,
}
"""Name -> maker."""
