"""Tools that cut material away from a sampled surface, or add it.

A tool is a star-shaped body with rough or smooth skin. What it cuts away is replaced by its own
skin as far as that lies inside the object, so a cut has walls and a floor, as a real one has.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from btp.pretraining.makers.place import Array, Cloud, Mask, Outcome, Rng

RIM = 1.5
"""Points of the old surface are labelled within this many gaps of the tool."""
DENSITY_NEIGHBOURS = 12


@dataclass(frozen=True)
class Tool:
    """A star-shaped body: half lengths along three axes, an exponent, and a rough skin.

    Attributes:
        centre: [3].
        axes: rotation [3, 3], one axis a row.
        half: half lengths [3].
        power: 2 for an ellipsoid, 8 for a box with rounded edges.
        skin: roughness in parts of the body; 0 for a smooth one.
        waves: [3, W] of the rough skin.
        phase: [W] likewise.
    """

    centre: Array
    axes: Array
    half: Array
    power: float
    skin: float
    waves: Array
    phase: Array

    def level(self, points: Array) -> Array:
        """Return how far out points [N, 3] lie: below 1 inside, above 1 outside."""
        local = (points - self.centre) @ self.axes.T / self.half
        size = (np.abs(local) ** self.power).sum(1) ** (1 / self.power)
        length = np.linalg.norm(local, axis=1, keepdims=True) + 1e-12
        rough = np.cos(local / length @ self.waves + self.phase).mean(1)
        return size / (1 + self.skin * rough)

    def surface(self, spacing: float, rng: Rng) -> Array:
        """Return points [N, 3] on the skin, about as far apart as `spacing`, even in area."""
        directions = rng.normal(size=(20_000, 3))
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        level = self.level(self.centre + (directions * self.half) @ self.axes)
        local = directions * self.half / level[:, None]
        # the directions are even on a ball; this is the area of skin that each stands for, by way
        # of the ellipsoid, whose own slant against the ray is divided out
        ray = local / np.linalg.norm(local, axis=1, keepdims=True)
        ellipsoid = directions / self.half
        skin = np.sign(directions) * np.abs(directions) ** (self.power - 1) / self.half
        skin /= np.linalg.norm(skin, axis=1, keepdims=True)
        area = np.prod(self.half) * (ellipsoid * ray).sum(1) / level**2
        area /= np.maximum((skin * ray).sum(1), 0.05)
        total = float(4 * np.pi * area.mean())
        count = int(np.clip(total / spacing**2, 50, 15_000))
        rows = rng.choice(len(area), count, p=area / area.sum())
        return np.asarray(local[rows] @ self.axes + self.centre)


def star(centre: Array, axes: Array, half: Array, power: float, skin: float, rng: Rng) -> Tool:
    """Draw the rough skin of a tool with the given place, axes and half lengths."""
    waves = rng.normal(size=(3, 10)) * rng.uniform(2, 6)
    phase = rng.uniform(0, 2 * np.pi, 10)
    return Tool(centre, axes, half, power, skin, waves, phase)


def spacing_at(cloud: Cloud, centre: Array) -> float:
    """Return the side of the square that one point stands for, around a place."""
    at_surface = cloud.tree.data[cloud.tree.query(centre)[1]]
    distance = cloud.tree.query(at_surface, min(DENSITY_NEIGHBOURS, len(cloud.points)))[0]
    return float(np.sqrt(np.pi / len(distance)) * max(distance[-1], cloud.gap))


def _inside(cloud: Cloud, points: Array) -> Mask:
    """Tell which points lie below the surface: behind most of the nearest tangent planes."""
    index = cloud.tree.query(points, 5)[1]
    height = ((points[:, None] - cloud.points[index]) * cloud.normals[index]).sum(2)
    return np.asarray((height < 0).sum(1) >= 3)


def cut(cloud: Cloud, tools: list[Tool], rng: Rng, add: bool = False) -> Outcome:
    """Take tools away from the object, or add them to it; new skin and its rim are labelled."""
    levels = np.stack([tool.level(cloud.points) for tool in tools])
    swallowed = (levels < 1).any(0)
    pieces = []
    for number, tool in enumerate(tools):
        spacing = spacing_at(cloud, tool.centre)
        skin = tool.surface(spacing, rng)
        skin = skin[_inside(cloud, skin) != add]
        for other in tools[:number] + tools[number + 1 :]:
            skin = skin[other.level(skin) >= 1]
        pieces.append(skin)
    new = np.concatenate(pieces)
    kept = cloud.points[~swallowed]
    rim = np.zeros(len(kept), bool)
    if len(new):
        spacing = spacing_at(cloud, tools[0].centre)
        rim = np.isfinite(cKDTree(new).query(kept, distance_upper_bound=RIM * spacing)[0])
    return Outcome(np.concatenate([kept, new]), np.concatenate([rim, np.ones(len(new), bool)]))
