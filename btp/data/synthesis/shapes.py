"""The demo set's categories: twelve everyday objects, every call another individual of its kind.

Sizes are arbitrary units of about one; z is up. What varies inside a category is what varies
between products of one kind: proportions, numbers of teeth, holes and spokes, profiles, relief.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from scipy.interpolate import PchipInterpolator

from btp.data.synthesis.scanner import Draw
from btp.data.synthesis.solids import (
    Array,
    Solid,
    difference,
    extrude,
    moved,
    revolve,
    sample,
    superquadric,
    sweep,
    union,
)


def individuals(category: str) -> Callable[[np.random.Generator], Draw]:
    """Return what makes the individuals of a category; see `individual`."""
    return partial(individual, category)


def individual(category: str, rng: np.random.Generator) -> Draw:
    """Make one individual of a category.

    Args:
        category: a key of `CATEGORIES`.
        rng: decides proportions, counts and relief.

    Returns:
        What samples it.
    """
    return partial(sample, CATEGORIES[category](rng))


def _vase(rng: np.random.Generator) -> Solid:
    height = rng.uniform(1.7, 2.0)
    levels = np.array([0, 0.12, 0.45, 0.78, 0.9, 1]) * height
    radii = np.array([0.36, 0.42, 0.62, 0.28, 0.26, 0.4]) * rng.uniform(0.93, 1.07, 6)
    return revolve(_vessel(levels, radii, wall=0.05), _flutes(rng, depth=0.025), step=0.04)


def _goblet(rng: np.random.Generator) -> Solid:
    stem = rng.uniform(0.7, 0.9)
    knop = stem * rng.uniform(0.4, 0.6)
    levels = np.array([0, 0.05, 0.14, knop - 0.1, knop, knop + 0.1, stem])
    radii = np.array([0.48, 0.46, 0.1, 0.07, rng.uniform(0.1, 0.15), 0.07, 0.09])
    foot = np.concatenate([[[0, 0]], _curve(levels, radii), [[0, stem]]])
    rise = np.array([0, 0.12, 0.4, 0.8]) * rng.uniform(0.9, 1.1)
    bowl = _vessel(rise, np.array([0.12, 0.38, 0.5, 0.43]) * rng.uniform(0.95, 1.05), wall=0.04)
    cup = moved(revolve(bowl, _flutes(rng, 0.015)), None, (0, 0, stem - 0.02))
    return union(revolve(foot), cup)


def _bottle(rng: np.random.Generator) -> Solid:
    body, neck = rng.uniform(1.0, 1.2), rng.uniform(0.35, 0.5)
    wide, narrow = rng.uniform(0.36, 0.42), rng.uniform(0.12, 0.15)
    top = body + 0.3 + neck
    levels = [0, 0.04, body, body + 0.15, body + 0.3, top - 0.1, top - 0.09, top - 0.02, top]
    lip = narrow + 0.035
    radii = [wide - 0.05, wide, wide, wide * 0.75, narrow, narrow, lip, lip, narrow + 0.02]
    sides = rng.uniform(2.0, 3.5)  # from round to nearly square

    def relief(angle: Array, height: Array) -> Array:
        square = (np.abs(np.cos(angle)) ** sides + np.abs(np.sin(angle)) ** sides) ** (-1 / sides)
        share = np.clip((body + 0.2 - height) / 0.2, 0, 1)
        return 1 + (square - 1) * share

    return revolve(_vessel(np.array(levels), np.array(radii), wall=0.04), relief)


def _gear(rng: np.random.Generator) -> Solid:
    teeth, thickness = int(rng.integers(18, 25)), rng.uniform(0.25, 0.32)
    holes = int(rng.integers(4, 7))
    outlines = [_toothed(teeth, 0.86, 1.0)]
    size = rng.uniform(0.11, 0.13)
    outlines += [_circle(size, x, y, count=48) for x, y in _circle(0.56, count=holes)]
    hub = _cylinder(rng.uniform(0.28, 0.32), thickness + 0.2)
    bore = extrude([_circle(0.14)], thickness + 1)
    key = moved(extrude([_box(0.08, 0.08)], thickness + 1), None, (0.15, 0, 0))
    return difference(union(extrude(outlines, thickness), hub), union(bore, key))


def _flange(rng: np.random.Generator) -> Solid:
    thick, rise = rng.uniform(0.18, 0.24), rng.uniform(0.4, 0.6)
    bore = rng.uniform(0.3, 0.36)
    neck = bore + 0.1
    face = rng.uniform(0.58, 0.66)
    profile = np.array(
        [
            (bore, -0.05), (face, -0.05), (face, 0), (1, 0), (1, thick), (neck + 0.14, thick),
            (neck, thick + 0.2), (neck, thick + rise), (bore, thick + rise),
        ]
    )  # fmt: skip
    bolts = int(rng.choice([4, 6, 8]))
    holes = extrude([_circle(0.08, x, y, count=48) for x, y in _circle(0.82, count=bolts)], 1)
    return difference(revolve(profile), holes)


def _bracket(rng: np.random.Generator) -> Solid:
    width, base, wall = rng.uniform(0.8, 0.95, 3) * (1, 1.3, 1.1)
    thick = rng.uniform(0.12, 0.15)
    hole = rng.uniform(0.09, 0.12)
    drilled = [_circle(hole, 0.2 * base, y * width) for y in (-0.27, 0.27)]
    plate = extrude([_box(base, width), *drilled], thick)
    upright = extrude([_box(wall, width), _circle(1.5 * hole, 0.15 * wall, 0)], thick)
    back, rise = (thick - base) / 2, (wall - thick) / 2
    upright = moved(upright, _turn((0, 1, 0), -90), (back, 0, rise))
    leg = rng.uniform(0.4, 0.5)
    gusset = moved(extrude([np.array([(0, 0), (leg, 0), (0, leg)])], thick), _turn((1, 0, 0), 90))
    corner = (-base / 2 + 0.8 * thick, 0, 0.3 * thick)
    return union(plate, upright, moved(gusset, None, corner))


def _screw(rng: np.random.Generator) -> Solid:
    length, pitch = rng.uniform(1.5, 1.8), rng.uniform(0.12, 0.15)
    radius, depth = rng.uniform(0.2, 0.23), 0.13

    def thread(angle: Array, height: Array) -> Array:
        phase = (height / pitch - angle / (2 * np.pi)) % 1
        fade = np.clip((length - 0.3 - height) / 0.1, 0, 1)
        return 1 - depth * fade * np.abs(2 * phase - 1)

    shaft = np.array([(0, 0), (radius * 0.8, 0), (radius, 0.08), (radius, length), (0, length)])
    head = extrude([_circle(rng.uniform(0.38, 0.43), count=6)], 0.28)
    slot = moved(extrude([_box(1.2, 0.07)], 0.2), None, (0, 0, 0.14))
    capped = difference(head, slot if rng.random() < 0.5 else _socket())
    return union(revolve(shaft, thread, step=pitch / 8), moved(capped, None, (0, 0, length + 0.1)))


def _wheel(rng: np.random.Generator) -> Solid:
    spokes, width = int(rng.integers(5, 8)), rng.uniform(0.12, 0.16)
    rim = revolve(np.array([(0.78, -width), (0.82, -width), (0.82, width), (0.78, width)]))
    tyre = revolve(_circle(1, count=48) * (0.14, width * 1.2) + (0.92, 0))
    hub = difference(_cylinder(0.2, 0.36), _cylinder(0.08, 1))
    bars = [
        sweep(np.linspace((0.17, 0, 0), (0.8, 0, 0), 40), np.linspace(0.07, 0.05, 40))
        for _ in range(spokes)
    ]
    turned = [moved(bar, _turn((0, 0, 1), 360 * i / spokes)) for i, bar in enumerate(bars)]
    return union(rim, tyre, hub, *turned)


def _elbow(rng: np.random.Generator) -> Solid:
    bend, radius = np.radians(rng.uniform(75, 100)), rng.uniform(0.25, 0.3)
    arm, wall = rng.uniform(0.3, 0.45), 0.06
    angle = np.linspace(0, bend, 60)
    arc = np.column_stack([1 - np.cos(angle), np.zeros(60), np.sin(angle)]) * 0.6
    last = np.array([np.sin(bend), 0, np.cos(bend)])
    straight = np.linspace(0, 1, 40)[:, None]
    centre = np.concatenate(
        [(0, 0, -arm) + straight[:-1] * (0, 0, arm), arc, arc[-1] + straight[1:] * last * arm]
    )
    outside = sweep(centre[14:-14], radius)
    bore = sweep(np.concatenate([[(0, 0, -1.5)], centre, [arc[-1] + last * 1.5]]), radius - wall)
    collar = _cylinder(radius + rng.uniform(0.06, 0.1), 0.2)
    lower = moved(collar, None, (0, 0, 0.1 - arm))
    upper = moved(collar, _turn((0, 1, 0), np.degrees(bend)), arc[-1] + last * (arm - 0.1))
    return difference(union(outside, lower, upper), bore)


def _hook(rng: np.random.Generator) -> Solid:
    shank, curl = rng.uniform(0.7, 1.0), np.radians(rng.uniform(200, 240))
    angle = np.linspace(0, curl, 100)
    arc = np.column_stack([0.5 * np.cos(angle) - 0.5, np.zeros(100), -0.5 * np.sin(angle)])
    stem = np.linspace((0, 0, shank), (0, 0, 0), 60)
    path = np.concatenate([stem[:-1], arc])
    thick = rng.uniform(0.13, 0.16)
    swell = PchipInterpolator([0, 0.35, 0.7, 1], [0.8, 1, 1.15, 0.3])(np.linspace(0, 1, len(path)))
    eye = revolve(_circle(thick * 0.8, 0.25, count=40))
    return union(sweep(path, thick * swell), moved(eye, _turn((1, 0, 0), 90), (0, 0, shank + 0.25)))


def _knob(rng: np.random.Generator) -> Solid:
    lobes, depth = int(rng.integers(5, 8)), rng.uniform(0.1, 0.14)
    height = rng.uniform(0.4, 0.5)

    def star(angle: Array, level: Array) -> Array:
        return 1 + depth * (np.cos(lobes * angle) - 1) * np.ones_like(level)

    levels = np.array([0, 0.06, height * 0.5, height * 0.85, height])
    side = _curve(levels, np.array([0.72, 0.8, 0.84, 0.74, 0.45]))
    dome = [(0.2, height + 0.05), (0, height + 0.06)]
    top = revolve(np.concatenate([[[0, 0]], side, dome]), star)
    shaft = moved(_cylinder(rng.uniform(0.26, 0.32), 0.5), None, (0, 0, -0.2))
    return difference(union(top, shaft), moved(_cylinder(0.14, 0.8), None, (0, 0, -0.3)))


def _ring(rng: np.random.Generator) -> Solid:
    width, thick = rng.uniform(0.16, 0.22), rng.uniform(0.08, 0.11)
    tall, wide = rng.uniform(0.5, 0.9), rng.uniform(0.4, 1.0)
    inner = rng.uniform(0.72, 0.8)
    band = revolve(_circle(1, count=48) * (thick, width) + (inner, 0), _flutes(rng, 0.01))
    stone = superquadric((0.22, 0.22, 0.16), (tall, wide))
    setting = superquadric((0.16, 0.16, 0.12), (0.3, 1))
    upright = _turn((0, 1, 0), 90)
    top = inner + thick
    setting = moved(setting, upright, (top, 0, 0))
    stone = moved(stone, upright, (top + rng.uniform(0.14, 0.2), 0, 0))
    return union(band, setting, stone)


CATEGORIES: dict[str, Callable[[np.random.Generator], Solid]] = {
    "bottle": _bottle,
    "bracket": _bracket,
    "elbow": _elbow,
    "flange": _flange,
    "gear": _gear,
    "goblet": _goblet,
    "hook": _hook,
    "knob": _knob,
    "ring": _ring,
    "screw": _screw,
    "vase": _vase,
    "wheel": _wheel,
}


def _curve(levels: Array, radii: Array) -> Array:
    """Smooth outline through control points: [60, 2] radius and height."""
    height = np.linspace(levels[0], levels[-1], 60)
    return np.column_stack([PchipInterpolator(levels, radii)(height), height])


def _vessel(levels: Array, radii: Array, wall: float) -> Array:
    """Closed outline of an open vessel with a bottom and a wall of the given thickness."""
    outer = _curve(levels, radii)
    inner = (outer - (wall, 0))[outer[:, 1] > levels[0] + 1.5 * wall][::-1]
    return np.concatenate([[[0, levels[0]]], outer, inner, [[0, inner[-1, 1]]]])


def _flutes(rng: np.random.Generator, depth: float) -> Callable[[Array, Array], Array]:
    """Relief of vertical grooves, up to `depth` of the radius; their number and depth vary."""
    count, amplitude = int(rng.integers(8, 17)), rng.uniform(0, depth)

    def relief(angle: Array, height: Array) -> Array:
        return 1 + amplitude * np.cos(count * angle) * np.ones_like(height)

    return relief


def _toothed(teeth: int, root: float, tip: float) -> Array:
    phase = np.arange(teeth)[:, None] + np.array([0.02, 0.18, 0.38, 0.54])
    radius = np.broadcast_to([root, tip, tip, root], phase.shape).ravel()
    angle = phase.ravel() * 2 * np.pi / teeth
    return np.column_stack([radius * np.cos(angle), radius * np.sin(angle)])


def _circle(radius: float, x: float = 0.0, y: float = 0.0, count: int = 64) -> Array:
    angle = np.arange(count) * 2 * np.pi / count
    return np.column_stack([x + radius * np.cos(angle), y + radius * np.sin(angle)])


def _box(length: float, width: float) -> Array:
    return np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * (length / 2, width / 2)


def _cylinder(radius: float, height: float) -> Solid:
    return extrude([_circle(radius)], height)


def _socket() -> Solid:
    return moved(extrude([_circle(0.2, count=6)], 0.24), None, (0, 0, 0.14))


def _turn(axis: tuple[float, float, float], degrees: float) -> Array:
    """Rotation matrix [3, 3] about a unit axis (Rodrigues), to the last bit of the demo set's."""
    x, y, z = axis
    cross = np.array([(0, -z, y), (z, 0, -x), (-y, x, 0)])
    angle = np.radians(degrees)
    return np.asarray(np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross)
