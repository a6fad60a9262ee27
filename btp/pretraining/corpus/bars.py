"""Corpus families: bars along curves, closed loops, frames, and limbs grown together."""

from __future__ import annotations

import numpy as np
from scipy.interpolate import CubicSpline, PchipInterpolator

from btp.data.synthesis.solids import Array, Solid, difference, extrude, moved, sweep, union
from btp.pretraining.corpus.extra_solids import limbs, loop, rectangle
from btp.pretraining.corpus.prisms import POLYGONS, polygon_section
from btp.pretraining.corpus.shape import (
    Rng,
    Shape,
    count_word,
    pick,
)


def swept(rng: Rng) -> Shape:
    """Draw a round bar along a curve: bows, hooks, elbows, springs, wires."""
    style, t = rng.random(), np.linspace(0, 1, 140)
    thick = rng.uniform(0.06, 0.22)
    if style > 0.6:
        path, thick, nouns = jointed(rng, thick)
        traits = ["bent", "curved"]
    elif style < 0.2:
        bend = rng.uniform(0.5, 5)
        path = np.column_stack([np.cos(bend * t), np.sin(bend * t), rng.uniform(0, 0.5) * t])
        path *= 1 / max(bend, 1.5) * 2.5
        nouns = ["hook", "horseshoe", "open ring"] if bend > 2.5 else ["bow", "handle", "banana"]
        if 1.2 < bend < 2 and thick > 0.14:
            nouns = ["elbow", "bent rod", "bow"]
        traits = ["curved", "bent"]
    elif style < 0.4:
        turns, rise = rng.uniform(1.5, 5), rng.uniform(0.4, 2.5)
        thick = min(thick, 0.32 * rise / turns + 0.03)
        wide = 1 - rng.uniform(0, 0.7) * t
        angle = 2 * np.pi * turns * np.linspace(0, 1, 360)
        wide = np.interp(np.linspace(0, 1, 360), t, wide)
        path = np.column_stack(
            [wide * np.cos(angle), wide * np.sin(angle), rise * np.linspace(0, 1, 360)]
        )
        nouns, traits = ["spring", "coil", "spiral"], ["coiled", "helical"]
    else:
        knots = np.cumsum(rng.normal((0, 0, 1), 1, (int(rng.integers(3, 7)), 3)), 0)
        path = CubicSpline(np.linspace(0, 1, len(knots)), knots)(t)
        path /= np.abs(path - path.mean(0)).max()
        nouns, traits = ["hose", "wire", "root", "pipe"], ["winding", "curved"]
    radii = thick * _bar_profile(rng, len(path))
    solid = sweep(path, radii)
    if "coiled" in traits or rng.random() < 0.6:
        return Shape(solid, nouns, traits, ["rounded ends"])
    solid = difference(solid, bore(path, rng.uniform(0.5, 0.8) * radii))
    nouns = [noun.replace("rod", "pipe") for noun in nouns]
    nouns = list(dict.fromkeys([*nouns, "pipe", "hose"]))
    return Shape(solid, nouns, [*traits, "hollow"], ["two open ends"])


def jointed(rng: Rng, thick: float) -> tuple[Array, float, list[str]]:
    """Draw arcs and straight pieces: path [S, 3], how thick the bar may be at most, and nouns."""
    while True:
        path, tightest, nouns = _bent(rng)
        bar = min(thick, 0.8 * tightest)
        some = path[:: max(1, len(path) // 100)]
        along = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(some, axis=0), axis=1))])
        apart = np.linalg.norm(some[:, None] - some, axis=2)
        if (apart[np.abs(along[:, None] - along) > 4 * bar] > 2.2 * bar).all():
            return path, bar, nouns  # no leg runs through another


def _bent(rng: Rng) -> tuple[Array, float, list[str]]:
    """Draw one to three arcs joined by straight pieces: path [S, 3], smallest radius, nouns."""
    count = int(rng.choice([1, 2, 3], p=[0.55, 0.25, 0.2]))
    angles = rng.uniform(0.8, 4.0, count) if count == 1 else rng.uniform(0.6, 2.8, count)
    radii = rng.uniform(0.3, 0.9, count)
    straights = np.where(rng.random(count + 1) < 0.8, rng.uniform(0.1, 2, count + 1), 0.02)
    flat = rng.random() < 0.6
    sides = np.where(rng.random(count) < 0.5, np.pi, 0.0)  # which way each arc turns
    rolls = sides if flat else rng.uniform(0, 2 * np.pi, count)
    place, ahead, side = np.zeros(3), np.array([1.0, 0, 0]), np.array([0, 1.0, 0])
    points = [place]
    for long, angle, radius, roll in zip(straights, angles, radii, rolls, strict=False):
        points += _straight(place, ahead, long)
        side = np.cos(roll) * side + np.sin(roll) * np.cross(ahead, side)
        centre = points[-1] + radius * side
        t = np.linspace(0, angle, 2 + int(angle * radius / 0.03))[1:, None]
        points += list(centre + radius * (np.sin(t) * ahead - np.cos(t) * side))
        place, turn = points[-1], (np.cos(angle), np.sin(angle))
        ahead, side = turn[0] * ahead + turn[1] * side, turn[0] * side - turn[1] * ahead
    points += _straight(place, ahead, straights[-1])
    path = np.array(points)
    size = 1 / np.abs(path - path.mean(0)).max()
    return path * size, float(radii.min() * size), jointed_nouns(angles, straights, flat, sides)


def _straight(start: Array, ahead: Array, long: float) -> list[Array]:
    """Return points after `start` on a straight piece, as dense as those of the arcs."""
    return [start + s * ahead for s in np.linspace(0, long, 1 + max(2, int(long / 0.03)))[1:]]


def jointed_nouns(angles: Array, straights: Array, flat: bool, sides: Array) -> list[str]:
    """Name the everyday things that a bar of these bends and straight pieces looks like."""
    if len(angles) == 1:
        even = straights.min() > 0.6 * straights.max()
        if 2.6 < angles[0] < 3.6 and even and straights.max() > 0.4:
            return ["hairpin", "horseshoe", "hook"]
        if angles[0] > 2.3:
            return ["hook", "crook"] if straights.max() > 0.3 else ["horseshoe", "open ring"]
        return ["elbow", "bent rod"] if angles[0] < 2.0 else ["bent rod", "elbow", "hook"]
    if len(angles) == 2 and flat:
        if sides[1]:  # the side is changed: there and back
            return ["crank", "bent rod"]
        return ["handle", "staple"] if 2 < angles.sum() < 4.2 else ["bent rod", "hook"]
    return ["bent rod", "wire"]


def bore(path: Array, radii: Array) -> Solid:
    """Return what to cut out of a bar along `path` [S, 3] to make it a pipe, open at both ends."""
    first, last = 2 * path[0] - path[1], 2 * path[-1] - path[-2]
    reach = 2 * radii.max()
    ahead, behind = (v / np.linalg.norm(v) for v in (first - path[0], last - path[-1]))
    head = path[0] + np.linspace(reach, 0.05 * reach, 12)[:, None] * ahead
    tail = path[-1] + np.linspace(0.05 * reach, reach, 12)[:, None] * behind
    widths = np.concatenate([np.full(12, radii[0]), radii, np.full(12, radii[-1])])
    return sweep(np.concatenate([head, path, tail]), widths)


def _bar_profile(rng: Rng, count: int) -> Array:
    """Draw the relative thickness along a bar [count]."""
    if rng.random() < 0.5:
        return np.ones(count)
    knots = int(rng.integers(3, 7))
    values = rng.uniform(0.45, 1.2, knots)
    swell = PchipInterpolator(np.linspace(0, 1, knots), values)
    return np.asarray(swell(np.linspace(0, 1, count)))


def looped(rng: Rng) -> Shape:
    """Draw a bar that closes on itself: rings, links, frames, knots, wavy hoops."""
    angle = np.linspace(0, 2 * np.pi, 241)[:-1]
    thick = rng.uniform(0.06, 0.3)
    style = rng.random()
    flat = np.zeros_like(angle)
    if style < 0.4:
        stretch = rng.uniform(1, 2.2)
        path = np.column_stack([stretch * np.cos(angle), np.sin(angle), flat])
        oval = stretch > 1.25
        nouns = ["chain link", "oval ring", "buckle"] if oval else ["ring", "doughnut", "hoop"]
        traits = ["oval" if oval else "round", "ring-shaped"]
    elif style < 0.7:
        sides = int(rng.integers(3, 7))
        power = rng.uniform(0.7, 1)
        radius = polygon_section(sides)(angle) ** power
        path = np.column_stack([radius * np.cos(angle), radius * np.sin(angle), flat])
        nouns, traits = (
            ["frame", "loop", "handle"],
            ["ring-shaped", f"{count_word(sides)}-cornered"],
        )
    elif style < 0.85:
        waves, high = int(rng.integers(2, 7)), rng.uniform(0.1, 0.4)
        path = np.column_stack([np.cos(angle), np.sin(angle), high * np.cos(waves * angle)])
        nouns, traits = ["crown", "wavy ring", "washer"], ["wavy", "ring-shaped"]
    else:
        thick = rng.uniform(0.08, 0.16)
        radius = 0.8 + 0.35 * np.cos(3 * angle)
        path = np.column_stack(
            [radius * np.cos(2 * angle), radius * np.sin(2 * angle), 0.35 * np.sin(3 * angle)]
        )
        nouns, traits = ["knot", "pretzel"], ["knotted", "interlaced"]
    outline = np.linspace(0, 2 * np.pi, 49)[:-1]
    sides = int(pick(rng, [4, 6, 0, 0]))
    reach = thick * (polygon_section(sides)(outline) if sides else np.ones(48))
    section = np.column_stack(
        [reach * np.cos(outline), rng.uniform(0.6, 1.4) * reach * np.sin(outline)]
    )
    bar = f"{POLYGONS[sides]} bar" if sides else "round bar"
    return Shape(loop(path, section), nouns, traits, [f"a {bar}", "a large opening"])


def grown(rng: Rng) -> Shape:
    """Draw limbs grown together: figures, branches, hands, bones."""
    style = rng.random()
    if style < 0.4:
        return _figure(rng)
    number = int(rng.integers(2, 7))
    tips = rng.standard_normal((number, 3))
    tips *= rng.uniform(0.5, 1.1, (number, 1)) / np.linalg.norm(tips, axis=1, keepdims=True)
    if style > 0.8:  # bones and dumb-bells: thick at both ends of one limb
        joints = np.array(
            [[(0, 0, -1), (0, 0, 1)], [(0, 0, -1), (0, 0.2, -1.1)], [(0, 0, 1), (0, -0.2, 1.1)]]
        )
        radii = np.array([[0.15, 0.15], [0.3, 0.25], [0.3, 0.25]]) * rng.uniform(0.7, 1.2, (3, 1))
        solid = limbs(joints, radii, rng.uniform(0.03, 0.08))
        return Shape(solid, ["bone", "dumb-bell", "pestle"], ["long"], ["two thick ends"])
    joints = np.stack([np.zeros_like(tips), tips], 1)
    radii = np.stack([np.full(number, rng.uniform(0.2, 0.35)), rng.uniform(0.06, 0.25, number)], 1)
    solid = limbs(joints, radii, rng.uniform(0.02, 0.08))
    words = [f"{count_word(number)} arms", f"{count_word(number)} branches"]
    return Shape(solid, ["branch", "coral", "jack", "starfish"], ["branching"], words)


def _figure(rng: Rng) -> Shape:
    """Draw a body with legs, perhaps a head and a tail."""
    long, thick = rng.uniform(0.5, 0.9), rng.uniform(0.2, 0.4)
    joints: list[list[tuple[float, ...]]] = [[(-long, 0, 0), (long, 0, 0)]]
    radii = [(thick, thick * rng.uniform(0.7, 1.2))]
    pairs, drop = int(rng.integers(1, 4)), rng.uniform(0.5, 1.0)
    spread = rng.uniform(0.6, 1.2) * thick
    for x in np.linspace(-long, long, pairs):
        for side in (-1, 1):
            joints.append([(x, side * thick * 0.5, 0), (x, side * spread, -drop)])
            radii.append((thick * 0.4, thick * rng.uniform(0.2, 0.4)))
    parts = [f"{count_word(2 * pairs)} legs"]
    if rng.random() < 0.7:
        joints.append([(long, 0, 0), (long + 0.5, 0, rng.uniform(0.1, 0.8))])
        radii.append((thick * 0.6, thick * rng.uniform(0.5, 0.9)))
        parts.append("a head")
    if rng.random() < 0.5:
        joints.append([(-long, 0, 0), (-long - 0.6, 0, rng.uniform(-0.3, 0.5))])
        radii.append((thick * 0.3, thick * 0.12))
        parts.append("a tail")
    solid = limbs(np.array(joints, float), np.array(radii), rng.uniform(0.02, 0.06))
    return Shape(
        solid,
        ["animal figure", "toy animal", "stool", "figurine"],
        ["four-legged" if pairs == 2 else "legged"],
        parts,
    )


def framed(rng: Rng) -> Shape:
    """Draw straight bars joined at corners: racks, stools, cages."""
    x, y, z = rng.uniform(0.4, 1.2, 3)
    corners = np.array([(i * x, j * y, k * z) for k in (-1, 1) for j in (-1, 1) for i in (-1, 1)])
    edges = [(a, a | bit) for bit in (1, 2, 4) for a in range(8) if not a & bit]
    keep = [edge for edge in edges if rng.random() < 0.85]
    thick = rng.uniform(0.05, 0.15)
    t = np.linspace(0, 1, 12)[:, None]
    bars = [sweep(corners[a] + t * (corners[b] - corners[a]), thick) for a, b in keep]
    nouns = ["frame", "rack", "cage", "stool frame"]
    if rng.random() < 0.4:
        bars.append(moved(extrude([rectangle(2 * x, 2 * y)], thick), None, (0, 0, z)))
        nouns = ["table", "stool", "bench"]
    return Shape(union(*bars), nouns, ["open", "made of bars"], [f"{count_word(len(keep))} bars"])
