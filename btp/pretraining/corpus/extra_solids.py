"""The solids of the pretraining corpus that `btp.data.synthesis.solids` does not have."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.spatial import ConvexHull, cKDTree

from btp.data.synthesis.solids import (
    Array,
    Mask,
    Solid,
    densify,
    draw_triangles,
    grid_triangles,
    inside_outlines,
)

Section = Callable[[Array], Array]  # angle -> radius


def rectangle(x: float, y: float, centre: tuple[float, float] = (0, 0)) -> Array:
    """Return the outline [4, 2] of a rectangle with edges x and y."""
    return np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * (x / 2, y / 2) + centre


def cross(wide: float, reach: float) -> Array:
    """Return the outline [12, 2] of a cross, arms of that width and reach, counter-clockwise."""
    w, r = wide / 2, reach
    corner = np.array([(w, w), (w, r), (-w, r)])
    quarter = np.array([(0, -1), (1, 0)])
    return np.concatenate([corner @ np.linalg.matrix_power(quarter, k).T for k in range(4)])


def disc(radius: float, centre: tuple[float, float] = (0, 0), corners: int = 40) -> Array:
    """Return the outline [corners, 2] of a circle or regular polygon, counter-clockwise."""
    angle = np.arange(corners) * 2 * np.pi / corners
    return radius * np.column_stack([np.cos(angle), np.sin(angle)]) + centre


def scaled(solid: Solid, factor: float) -> Solid:
    """Return the body, `factor` times as large."""

    def draw(density: float, rng: np.random.Generator) -> tuple[Array, Array]:
        points, normals = solid.draw(density * factor**2, rng)
        return points * factor, normals

    return Solid(draw, lambda points: solid.contains(points / factor))


def loft(profile: Array, section: Section, twist: float = 0.0, around: int = 144) -> Solid:
    """Carry a profile around a cross-section: extruded, tapered, fluted and twisted bodies.

    Args:
        profile: [P, 2] closed outline, counter-clockwise: factor on the section's radius, height.
        section: angle in 0..2 pi -> radius, the outline of a star-shaped cross-section.
        twist: radians of turn per unit of height.
        around: vertices around the axis; enough for the section's detail.
    """
    outline = densify(profile, np.inf if twist == 0 else 0.04)
    outline = np.concatenate([outline, outline[:1]])
    angle = np.linspace(0, 2 * np.pi, around + 1)
    radius = outline[:, :1] * section(angle)[None]
    turned = angle[None] + twist * outline[:, 1:]
    height = np.broadcast_to(outline[:, 1:], radius.shape)
    grid = np.stack([radius * np.cos(turned), radius * np.sin(turned), height], -1)

    def contains(points: Array) -> Mask:
        turn = np.arctan2(points[:, 1], points[:, 0]) - twist * points[:, 2]
        factor = np.hypot(points[:, 0], points[:, 1]) / section(np.mod(turn, 2 * np.pi))
        return inside_outlines(np.stack([factor, points[:, 2]], 1), [profile])

    return Solid(draw_triangles(grid_triangles(grid)), contains)


def radial(reach: Callable[[Array], Array], fine: int = 64) -> Solid:
    """Build a star-shaped body.

    Args:
        reach: unit directions [N, 3] -> distance [N] of the surface from the origin.
        fine: rings of vertices from pole to pole.
    """
    polar = np.linspace(0, np.pi, fine + 1)[::-1, None]
    angle = np.linspace(0, 2 * np.pi, 2 * fine + 1)[None]
    parts = (np.sin(polar) * np.cos(angle), np.sin(polar) * np.sin(angle), np.cos(polar))
    directions = np.stack(np.broadcast_arrays(*parts), -1)
    directions[:, -1] = directions[:, 0]
    distance = reach(directions.reshape(-1, 3)).reshape(directions.shape[:2])

    def contains(points: Array) -> Mask:
        length = np.linalg.norm(points, axis=1)
        return np.asarray(length < reach(points / np.maximum(length, 1e-9)[:, None]))

    return Solid(draw_triangles(grid_triangles(directions * distance[..., None])), contains)


def hull(corners: Array) -> Solid:
    """Build the convex hull of points [M, 3]: a flat-faced body."""
    shape = ConvexHull(corners)
    triangles = corners[shape.simplices]
    turn = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    inward = np.einsum("ti,ti->t", turn, shape.equations[:, :3]) < 0
    triangles[inward] = triangles[inward][:, [0, 2, 1]]
    normals, offsets = shape.equations[:, :3], shape.equations[:, 3]
    return Solid(
        draw_triangles(triangles),
        lambda points: np.asarray((points @ normals.T + offsets < 0).all(1)),
    )


def loop(path: Array, section: Array) -> Solid:
    """Build a bar that closes on itself: rings, knots, frames, links.

    Args:
        path: [S, 3] closed centre line, its last point going on to its first.
        section: [V, 2] outline of the bar, counter-clockwise, about the origin.
    """
    line = np.concatenate([path, path[:1]])
    tangent = np.roll(path, -1, 0) - np.roll(path, 1, 0)
    tangent = np.concatenate([tangent, tangent[:1]])
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
    side = np.empty_like(line)
    side[0] = np.cross(tangent[0], np.eye(3)[np.argmin(np.abs(tangent[0]))])
    for i in range(len(line)):
        side[i] = side[max(i - 1, 0)]
        side[i] -= tangent[i] * (side[i] @ tangent[i])
        side[i] /= np.linalg.norm(side[i])
    # The carried frame comes back turned; spread that turn along the path, so that the ends meet.
    turn = np.arctan2(side[-1] @ np.cross(tangent[0], side[0]), side[-1] @ side[0])
    angle = -turn * np.linspace(0, 1, len(line))[:, None]
    side = np.cos(angle) * side + np.sin(angle) * np.cross(tangent, side)
    up = np.cross(tangent, side)
    outline = np.concatenate([section, section[:1]])
    ring = outline[None, :, :1] * side[:, None] + outline[None, :, 1:] * up[:, None]
    tree, thick = cKDTree(line), np.linalg.norm(section, axis=1).mean()

    def contains(points: Array) -> Mask:
        return np.asarray(tree.query(points)[0] < thick)

    return Solid(draw_triangles(grid_triangles(line[:, None] + ring)), contains)


def limbs(joints: Array, radii: Array, blend: float) -> Solid:
    """Grow round limbs together: a smooth union of capsules, as in living or moulded things.

    Args:
        joints: [L, 2, 3] both ends of each limb.
        radii: [L, 2] radius at both ends.
        blend: size of the fillet where limbs meet.
    """

    def level(points: Array) -> tuple[Array, Array, Array]:
        """Return the smooth signed distance [N], its gradient [N, 3] and the plain distance [N]."""
        axis = joints[:, 1] - joints[:, 0]
        along = np.einsum("nli,li->nl", points[:, None] - joints[:, 0], axis)
        share = np.clip(along / np.einsum("li,li->l", axis, axis), 0, 1)
        away = points[:, None] - joints[:, 0] - share[..., None] * axis
        length = np.linalg.norm(away, axis=2)
        distance = length - (radii[:, 0] + share * (radii[:, 1] - radii[:, 0]))
        nearest = distance.min(1)
        weight = np.exp((nearest[:, None] - distance) / blend)
        total = weight.sum(1)
        slope = np.einsum("nl,nli->ni", weight / (length + 1e-9), away) / total[:, None]
        return nearest - blend * np.log(total), slope, nearest

    def draw(density: float, rng: np.random.Generator) -> tuple[Array, Array]:
        pieces = []
        for ends, ball in zip(joints, radii, strict=True):
            pieces.append(_capsule_points(ends, ball, density, rng))
        points = np.concatenate(pieces)
        points = points[level(points)[2] > -1e-3]
        for _ in range(3):
            value, slope, _ = level(points)
            steep = np.einsum("ni,ni->n", slope, slope)
            points = points - (value / np.maximum(steep, 0.1))[:, None] * slope
        normals = level(points)[1]
        return points, normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)

    return Solid(draw, lambda points: np.asarray(level(points)[0] < 0))


def _capsule_points(ends: Array, radii: Array, density: float, rng: np.random.Generator) -> Array:
    """Draw points [N, 3] even in area on a capsule from `ends[0]` to `ends[1]`."""
    axis = ends[1] - ends[0]
    length = float(np.linalg.norm(axis))
    mean = float(radii.mean())
    side, ball = 2 * np.pi * mean * length, 4 * np.pi * mean**2
    direction = rng.standard_normal((round(density * (side + ball)), 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    axis = axis / max(length, 1e-9)
    along = direction @ axis
    wall = rng.random(len(direction)) < side / (side + ball)
    flat = direction - along[:, None] * axis
    flat /= np.linalg.norm(flat, axis=1, keepdims=True)
    share = np.where(wall, rng.random(len(direction)), along > 0)
    radius = radii[0] + share * (radii[1] - radii[0])
    out = np.where(wall[:, None], flat, direction)
    middle = ends[0] + (share * length)[:, None] * axis
    return np.asarray(middle + radius[:, None] * out)
